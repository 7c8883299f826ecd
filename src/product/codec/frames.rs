//! What the server and its codec workers say to each other over two pipes.
//!
//! A frame is its length (four bytes, big endian, without themselves) and packed CBOR: an [`Order`]
//! going to the worker, a [`Notice`] coming back. The worker says [`Notice::Ready`] first; then each
//! [`Order::Run`] gets one [`Notice::Done`], in the order of the orders, written before the next one
//! is begun. Errors: [`FrameError`], after which the rest of the stream means nothing.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::call::{Call, Options, Reply};
use super::{CodecError, Kind, LoadError};
use crate::base::cbor::{self, CborError};
use crate::base::limits::CODEC_WASM_MAX;

/// Longest frame, without its length: the longest source and the largest call fit well.
pub const FRAME_MAX: usize = CODEC_WASM_MAX + 1024 * 1024;
/// Bytes of the length.
const HEAD: usize = 4;

/// To the worker. `C` is [`Call`], or a reference where one is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order<C = Call> {
    Run(Task<C>),
    /// Drops what is in a slot.
    Forget {
        slot: u32,
    },
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task<C = Call> {
    /// Comes back with the answer.
    pub id: u64,
    /// The codec's place in the worker.
    pub slot: u32,
    /// Loaded into the slot first, instead of what was there.
    pub load: Option<Source>,
    /// `None`: the codec shall be loaded, no more.
    pub call: Option<C>,
}

/// A codec to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub kind: Kind,
    #[serde(with = "serde_bytes")]
    pub source: Vec<u8>,
    pub options: Options,
}

/// From the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// It has given up what it needs not, and takes orders.
    Ready,
    Done(Done),
}

/// What came of a [`Task`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub id: u64,
    pub outcome: Outcome,
    /// What it took, loading included.
    pub micros: u64,
    /// What the codec holds in memory now.
    pub heap_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Reply(Result<Reply, CodecError>),
    Loaded,
    /// Nothing can be called. The slot remembers it.
    NotLoaded(Vec<LoadError>),
}

/// Why bytes are no frame, or a value is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("a frame of {len} bytes, the longest has {FRAME_MAX}")]
    Long { len: usize },
    #[error(transparent)]
    Content(#[from] CborError),
}

impl FrameError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Long { .. } => "long",
            Self::Content(_) => "content",
        }
    }
}

/// Appends one frame. After an error `out` is as it was.
pub fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let begin = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let written = cbor::encode_into(value, out).map_err(FrameError::from);
    let len = out.len() - begin - HEAD;
    let head = u32::try_from(len).map(u32::to_be_bytes);
    match (written, head, out.get_mut(begin..begin + HEAD)) {
        (Ok(()), Ok(head), Some(place)) if len <= FRAME_MAX => {
            place.copy_from_slice(&head);
            Ok(())
        }
        (written, ..) => {
            out.truncate(begin);
            written.and(Err(FrameError::Long { len }))
        }
    }
}

/// Takes a stream of bytes apart.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where the next frame begins.
    at: usize,
}

impl Frames {
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
        } else if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, when it is whole.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if len > FRAME_MAX {
            return Err(FrameError::Long { len });
        }
        let Some(content) = rest.get(..len) else {
            return Ok(None);
        };
        let value = cbor::decode(content)?;
        self.at += HEAD + len;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::base::time::Timestamp;
    use crate::product::codec::{Decoded, Downlink, PropertySet, Response, TraceEntry};
    use crate::product::codec::{Report, ServiceReport};

    fn calls() -> Vec<Call> {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let odd = map(json!({"a": -1, "b": [1.5, null, "ü"], "c": {"d": u64::MAX}, "e": 1.0}));
        vec![
            Call::Decode {
                payload: vec![0, 255],
                received_at: Timestamp::from_ms(1),
                f_port: Some(7),
                traced: true,
            },
            Call::Encode {
                service_id: "S".to_owned(),
                command_name: "C".to_owned(),
                paras: odd.clone(),
                mid: 65535,
            },
            Call::EncodeProperties {
                service_id: "S".to_owned(),
                wanted: odd.clone(),
                known: Map::new(),
                mid: 1,
            },
            Call::Answer {
                request: vec![1],
                errcode: 1,
                has_more: true,
            },
            Call::DecodeDownlink { bytes: vec![] },
        ]
    }

    fn outcomes() -> Vec<Outcome> {
        let odd = json!({"a": -1, "b": 1.0, "c": [u64::MAX, i64::MIN]});
        let odd = odd.as_object().cloned().unwrap_or_default();
        let report = Report {
            services: vec![ServiceReport {
                service_id: "S".to_owned(),
                properties: odd.clone(),
                event_time: Some(Timestamp::from_ms(5)),
            }],
            has_more: true,
        };
        let entry = TraceEntry {
            at: 1,
            len: 2,
            field: "f".to_owned(),
            value: json!(1.5),
        };
        let mistake = LoadError {
            line: 1,
            column: 2,
            message: "m".to_owned(),
            hint: None,
        };
        let ok = |reply| Outcome::Reply(Ok(reply));
        vec![
            ok(Reply::Decoded {
                decoded: Decoded::Report(report),
                trace: vec![entry],
            }),
            ok(Reply::Decoded {
                decoded: Decoded::Response(Response {
                    mid: None,
                    succeeded: false,
                    response_name: None,
                    paras: odd.clone(),
                }),
                trace: vec![],
            }),
            ok(Reply::Encoded {
                bytes: vec![1, 2],
                by_mid: true,
            }),
            ok(Reply::Set(PropertySet {
                bytes: vec![3],
                covered: vec!["p".to_owned()],
            })),
            ok(Reply::Answer(None)),
            ok(Reply::Answer(Some(vec![9].into()))),
            ok(Reply::Downlink(None)),
            ok(Reply::Downlink(Some(Ok(Downlink::Command {
                command_name: "C".to_owned(),
                paras: odd,
                mid: Some(1),
            })))),
            Outcome::Reply(Err(CodecError::Truncated {
                field: "f".to_owned(),
                at: 1,
                need: 2,
                have: 3,
            })),
            Outcome::Loaded,
            Outcome::NotLoaded(vec![
                mistake.clone(),
                LoadError {
                    hint: Some("h".to_owned()),
                    ..mistake
                },
            ]),
        ]
    }

    #[test]
    fn every_order_and_notice_reads_back() {
        let mut bytes = Vec::new();
        let mut orders = vec![Order::Forget { slot: 3 }];
        for (id, call) in (0..).zip(calls()) {
            orders.push(Order::Run(Task {
                id,
                slot: 1,
                load: (id == 1).then(|| Source {
                    kind: Kind::Script,
                    source: b"let a".to_vec(),
                    options: Options {
                        ts013_service: Some("S".to_owned()),
                        services: vec!["S".to_owned()],
                        trusted: false,
                        stands_at: Some(Timestamp::from_ms(7)),
                    },
                }),
                call: (id != 2).then_some(call),
            }));
        }
        for order in &orders {
            append(order, &mut bytes).unwrap();
        }
        let mut frames = Frames::default();
        let mut read: Vec<Order> = Vec::new();
        // Byte by byte: a frame may come in any pieces.
        for byte in bytes {
            frames.extend(&[byte]);
            read.extend(frames.take().unwrap());
        }
        assert_eq!(read, orders);

        for (id, outcome) in (0..).zip(outcomes()) {
            let notice = Notice::Done(Done {
                id,
                outcome,
                micros: 12,
                heap_bytes: 34,
            });
            let mut bytes = Vec::new();
            append(&notice, &mut bytes).unwrap();
            let mut frames = Frames::default();
            frames.extend(&bytes);
            assert_eq!(frames.take::<Notice>().unwrap(), Some(notice));
        }
    }

    #[test]
    fn what_is_written_by_reference_reads_as_the_value() {
        for call in calls() {
            let mut bytes = Vec::new();
            let task = Task {
                id: 1,
                slot: 2,
                load: None,
                call: Some(&call),
            };
            append(&Order::Run(task), &mut bytes).unwrap();
            let mut frames = Frames::default();
            frames.extend(&bytes);
            match frames.take::<Order>().unwrap() {
                Some(Order::Run(task)) => assert_eq!(task.call, Some(call)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_neither_written_nor_awaited() {
        let mut bytes = vec![1, 2];
        let error = append(&"x".repeat(FRAME_MAX), &mut bytes).unwrap_err();
        assert_eq!((error.kind(), bytes), ("long", vec![1, 2]));
        let mut frames = Frames::default();
        frames.extend(&[0xff; 4]);
        assert_eq!(frames.take::<Notice>().unwrap_err().kind(), "long");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            for head in [false, true] {
                let mut frames = Frames::default();
                if head {
                    frames.extend(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
                }
                frames.extend(&bytes);
                while let Ok(Some(_)) = frames.take::<Notice>() {}
                while let Ok(Some(_)) = frames.take::<Order>() {}
            }
        }

        #[test]
        fn frames_come_out_as_they_went_in(texts: Vec<String>, piece in 1_usize..64) {
            let mut bytes = Vec::new();
            for text in &texts {
                append(text, &mut bytes).unwrap();
            }
            let mut frames = Frames::default();
            let mut read: Vec<String> = Vec::new();
            for piece in bytes.chunks(piece) {
                frames.extend(piece);
                while let Some(text) = frames.take().unwrap() {
                    read.push(text);
                }
            }
            prop_assert_eq!(read, texts);
        }
    }
}
