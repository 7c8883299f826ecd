//! Calls on a codec as data, and what comes of them: for codecs whose code runs elsewhere.
//!
//! [`Call::perform`] does what is asked; [`Outside`] is a codec that can't be called in place, and
//! [`Memo`] lets plain code use one: it answers what is known already, and notes the one thing that is
//! asked for next. Who runs such code performs that call where the codec is, and begins again with the
//! answer.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    AnswerTo, Codec, CodecError, Decoded, Downlink, Encode, EncodeProperties, Kind, PropertySet,
    TraceEntry, Uplink, text,
};
use crate::base::time::Timestamp;

/// One call on a codec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    Decode {
        #[serde(with = "serde_bytes")]
        payload: Vec<u8>,
        received_at: Timestamp,
        f_port: Option<u8>,
        /// Which bytes became which field is wanted, too.
        traced: bool,
    },
    Encode {
        service_id: String,
        command_name: String,
        paras: Map<String, Value>,
        mid: u16,
    },
    EncodeProperties {
        service_id: String,
        wanted: Map<String, Value>,
        known: Map<String, Value>,
        mid: u16,
    },
    Answer {
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
        errcode: u8,
        has_more: bool,
    },
    DecodeDownlink {
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}

/// What a call gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Decoded {
        decoded: Decoded,
        trace: Vec<TraceEntry>,
    },
    Encoded {
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// The device's answer carries the mid.
        by_mid: bool,
    },
    Set(PropertySet),
    Answer(Option<serde_bytes::ByteBuf>),
    /// `None`: this codec cannot tell.
    Downlink(Option<Result<Downlink, CodecError>>),
}

impl Call {
    pub fn decode(uplink: &Uplink<'_>, traced: bool) -> Self {
        Self::Decode {
            payload: uplink.payload.to_vec(),
            received_at: uplink.received_at,
            f_port: uplink.f_port,
            traced,
        }
    }

    pub fn encode(command: &Encode<'_>) -> Self {
        Self::Encode {
            service_id: command.service_id.to_owned(),
            command_name: command.command_name.to_owned(),
            paras: command.paras.clone(),
            mid: command.mid,
        }
    }

    pub fn encode_properties(set: &EncodeProperties<'_>) -> Self {
        Self::EncodeProperties {
            service_id: set.service_id.to_owned(),
            wanted: set.wanted.clone(),
            known: set.known.clone(),
            mid: set.mid,
        }
    }

    pub fn answer(report: &AnswerTo<'_>) -> Self {
        Self::Answer {
            request: report.request.to_vec(),
            errcode: report.errcode,
            has_more: report.has_more,
        }
    }

    /// One word for metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Decode { .. } => "decode",
            Self::Encode { .. } => "encode",
            Self::EncodeProperties { .. } => "set",
            Self::Answer { .. } => "answer",
            Self::DecodeDownlink { .. } => "decode_downlink",
        }
    }

    /// Calls a codec that is here.
    pub fn perform(&self, codec: &dyn Codec) -> Result<Reply, CodecError> {
        match self {
            Self::Decode {
                payload,
                received_at,
                f_port,
                traced,
            } => {
                let uplink = Uplink {
                    payload,
                    received_at: *received_at,
                    f_port: *f_port,
                };
                let mut trace = Vec::new();
                let decoded = codec.decode(&uplink, traced.then_some(&mut trace))?;
                Ok(Reply::Decoded { decoded, trace })
            }
            Self::Encode {
                service_id,
                command_name,
                paras,
                mid,
            } => {
                let command = Encode {
                    service_id,
                    command_name,
                    paras,
                    mid: *mid,
                };
                let bytes = codec.encode(&command)?;
                let by_mid = codec.answers_by_mid(&command);
                Ok(Reply::Encoded { bytes, by_mid })
            }
            Self::EncodeProperties {
                service_id,
                wanted,
                known,
                mid,
            } => {
                let set = EncodeProperties {
                    service_id,
                    wanted,
                    known,
                    mid: *mid,
                };
                codec.encode_properties(&set).map(Reply::Set)
            }
            Self::Answer {
                request,
                errcode,
                has_more,
            } => {
                let report = AnswerTo {
                    request,
                    errcode: *errcode,
                    has_more: *has_more,
                };
                let bytes = codec.answer(&report)?;
                Ok(Reply::Answer(bytes.map(Into::into)))
            }
            Self::DecodeDownlink { bytes } => Ok(Reply::Downlink(codec.decode_downlink(bytes))),
        }
    }
}

/// What a codec needs to know besides its source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Options {
    /// The service that the data of a TS013 script becomes (product setting `ts013_service`).
    pub ts013_service: Option<String>,
    /// The ids of the model's services, in its order; empty without a model.
    pub services: Vec<String>,
    /// The product's settings say that its author is trusted: it may run inside the server. That
    /// changes nothing of what it does, so it is no part of the tag.
    #[serde(default)]
    pub trusted: bool,
    /// Where the clock of encoders stands; it runs otherwise.
    pub stands_at: Option<Timestamp>,
}

/// A codec whose code does not run in this process, or not on the thread that calls it. Its own
/// methods answer [`CodecError::Unavailable`]: see the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    pub kind: Kind,
    /// SHA-256 of source and options in hex: codecs with the same tag are the same.
    pub tag: Arc<str>,
    pub source: Arc<[u8]>,
    pub options: Arc<Options>,
}

impl Outside {
    pub fn new(kind: Kind, source: &[u8], options: Options) -> Self {
        let mut digest = Sha256::new();
        digest.update([kind as u8]);
        let service = options.ts013_service.iter();
        for text in service.chain(&options.services) {
            digest.update(text);
            digest.update([0]);
        }
        digest.update([0]);
        digest.update(source);
        Self {
            kind,
            tag: text::hex(&digest.finalize()).into(),
            source: source.into(),
            options: Arc::new(options),
        }
    }

    fn elsewhere<T>() -> Result<T, CodecError> {
        Err(CodecError::Unavailable {
            reason: "the codec does not run here".to_owned(),
        })
    }
}

impl Codec for Outside {
    fn decode(
        &self,
        _uplink: &Uplink<'_>,
        _trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        Self::elsewhere()
    }

    fn encode(&self, _command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        Self::elsewhere()
    }

    fn encode_properties(&self, _set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        Self::elsewhere()
    }

    fn answer(&self, _report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        Self::elsewhere()
    }

    fn outside(&self) -> Option<&Outside> {
        Some(self)
    }
}

/// A call with what came of it.
pub type Known = (Call, Result<Reply, CodecError>);

/// Stands for an [`Outside`] codec: answers what is known, and notes what is asked besides.
#[derive(Debug)]
pub struct Memo {
    known: Vec<Known>,
    asked: Mutex<Option<Call>>,
}

impl Memo {
    pub const fn new(known: Vec<Known>) -> Self {
        Self {
            known,
            asked: Mutex::new(None),
        }
    }

    /// The first call that nothing is known of. What was done with the codec since then is void.
    pub fn asked(&self) -> Option<Call> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it knew.
    pub fn into_known(self) -> Vec<Known> {
        self.known
    }

    fn look_up(&self, call: Call) -> Result<Reply, CodecError> {
        if let Some((_, reply)) = self.known.iter().find(|(known, _)| *known == call) {
            return reply.clone();
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get_or_insert(call);
        Outside::elsewhere()
    }
}

impl Codec for Memo {
    fn decode(
        &self,
        uplink: &Uplink<'_>,
        trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        match self.look_up(Call::decode(uplink, trace.is_some()))? {
            Reply::Decoded { decoded, trace: of } => {
                if let Some(trace) = trace {
                    trace.extend(of);
                }
                Ok(decoded)
            }
            _ => Outside::elsewhere(),
        }
    }

    fn encode(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        match self.look_up(Call::encode(command))? {
            Reply::Encoded { bytes, .. } => Ok(bytes),
            _ => Outside::elsewhere(),
        }
    }

    fn answers_by_mid(&self, command: &Encode<'_>) -> bool {
        let found = self.look_up(Call::encode(command));
        matches!(found, Ok(Reply::Encoded { by_mid: true, .. }))
    }

    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        match self.look_up(Call::encode_properties(set))? {
            Reply::Set(set) => Ok(set),
            _ => Outside::elsewhere(),
        }
    }

    fn answer(&self, report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        match self.look_up(Call::answer(report))? {
            Reply::Answer(bytes) => Ok(bytes.map(serde_bytes::ByteBuf::into_vec)),
            _ => Outside::elsewhere(),
        }
    }
}
