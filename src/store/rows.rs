//! What a row looks like: one byte of row format, then packed CBOR.
//!
//! ```text
//! 01  CBOR                                      a whole row, at most ROW_WHOLE_MAX bytes
//! 02  length u32  sealed bytes  CBOR            the same with a sealed part (sealed.rs)
//! ff  split id u64  parts u16  length u32       a longer one: its bytes lie in the parts table
//! ```
//!
//! Parts joined in order are the whole row again, with its format byte. A replaced value gets a
//! new split id, so that a reader never joins parts of two versions. Numbers are big-endian.
//! Errors: [`RowError`].

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::seal::SealError;
use super::{StoreError, keys};
use crate::base::cbor;
use crate::base::ids::{NodeId, ProductId};
use crate::base::limits::ROW_MAX;

/// Format of a row without a sealed part.
pub const ROW_FORMAT: u8 = 1;

/// Format of a row with a sealed part.
pub const SEALED_FORMAT: u8 = 2;

const SPLIT: u8 = 0xff;

/// Longest row that is not split. Half of the limit: sled writes a page of 17 rows, 21 after a
/// merge, as one log entry, and an entry over 128 KB leaves its log for `blobs/`.
pub const ROW_WHOLE_MAX: usize = ROW_MAX / 2;

/// Why bytes are not the expected row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    #[error("the row is empty")]
    Empty,
    #[error("row format is {found}, this version reads {want} there")]
    Format { found: u8, want: u8 },
    #[error("its sealed part has no {len} bytes")]
    SealedLength { len: u32 },
    #[error(transparent)]
    Sealed(#[from] SealError),
    #[error("{len} bytes are no split header")]
    Split { len: usize },
    #[error("the row has {got} bytes in parts, its header says {want}")]
    Length { got: usize, want: usize },
    #[error("the row would be {len} bytes long, it takes 65535 parts of {ROW_WHOLE_MAX} at most")]
    TooLong { len: usize },
    #[error(transparent)]
    Cbor(#[from] cbor::CborError),
}

impl RowError {
    /// Stable word for logs and messages; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Format { .. } => "format",
            Self::SealedLength { .. } => "sealed_length",
            Self::Sealed(_) => "sealed",
            Self::Split { .. } => "split",
            Self::Length { .. } => "length",
            Self::TooLong { .. } => "too_long",
            Self::Cbor(_) => "cbor",
        }
    }
}

/// Where the bytes of a split row lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    pub id: u64,
    pub parts: u16,
    pub len: u32,
}

impl Split {
    /// The plan to split `row`.
    pub fn plan(id: u64, row: &[u8]) -> Result<Self, RowError> {
        let parts = row.len().div_ceil(ROW_WHOLE_MAX);
        match (u16::try_from(parts), u32::try_from(row.len())) {
            (Ok(parts), Ok(len)) => Ok(Self { id, parts, len }),
            _ => Err(RowError::TooLong { len: row.len() }),
        }
    }

    /// The row that stands in for the split one.
    pub fn encode(self) -> Vec<u8> {
        let mut row = Vec::with_capacity(15);
        row.push(SPLIT);
        row.extend_from_slice(&self.id.to_be_bytes());
        row.extend_from_slice(&self.parts.to_be_bytes());
        row.extend_from_slice(&self.len.to_be_bytes());
        row
    }

    /// `None` when the row is a whole one.
    pub fn decode(row: &[u8]) -> Result<Option<Self>, RowError> {
        let Some((&SPLIT, rest)) = row.split_first() else {
            return Ok(None);
        };
        let fields = || {
            let (id, rest) = rest.split_first_chunk::<8>()?;
            let (parts, rest) = rest.split_first_chunk::<2>()?;
            let len: [u8; 4] = rest.try_into().ok()?;
            Some(Self {
                id: u64::from_be_bytes(*id),
                parts: u16::from_be_bytes(*parts),
                len: u32::from_be_bytes(len),
            })
        };
        fields().map(Some).ok_or(RowError::Split { len: row.len() })
    }
}

/// A value as a whole row, however long.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RowError> {
    let mut row = Vec::with_capacity(512);
    row.push(ROW_FORMAT);
    cbor::encode_into(value, &mut row)?;
    Split::plan(0, &row)?;
    Ok(row)
}

/// The value of a whole row.
pub fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, RowError> {
    match row.split_first() {
        None => Err(RowError::Empty),
        Some((&ROW_FORMAT, body)) => Ok(cbor::decode(body)?),
        Some((&found, _)) => Err(RowError::Format {
            found,
            want: ROW_FORMAT,
        }),
    }
}

/// A row that lies with a sealed part beside what everyone may read of it.
pub fn encode_beside<T: Serialize>(sealed: &[u8], value: &T) -> Result<Vec<u8>, RowError> {
    let len = u32::try_from(sealed.len()).map_err(|_| RowError::TooLong { len: sealed.len() })?;
    let mut row = Vec::with_capacity(sealed.len().saturating_add(512));
    row.push(SEALED_FORMAT);
    row.extend_from_slice(&len.to_be_bytes());
    row.extend_from_slice(sealed);
    cbor::encode_into(value, &mut row)?;
    Split::plan(0, &row)?;
    Ok(row)
}

/// The sealed part of a whole row, and the CBOR beside it.
pub fn split_sealed(row: &[u8]) -> Result<(&[u8], &[u8]), RowError> {
    let rest = match row.split_first() {
        None => return Err(RowError::Empty),
        Some((&SEALED_FORMAT, rest)) => rest,
        Some((&found, _)) => {
            let want = SEALED_FORMAT;
            return Err(RowError::Format { found, want });
        }
    };
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(RowError::Empty)?;
    let len = u32::from_be_bytes(*len);
    usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(RowError::SealedLength { len })
}

/// The value that is not sealed, in a whole row of either format. Needs no key.
pub fn decode_beside<T: DeserializeOwned>(row: &[u8]) -> Result<T, RowError> {
    if row.first() == Some(&SEALED_FORMAT) {
        let (_, body) = split_sealed(row)?;
        return Ok(cbor::decode(body)?);
    }
    decode(row)
}

/// The whole row: itself, or its parts joined. `None` when a part is not there.
pub fn join(
    row: Vec<u8>,
    read: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Ok(Some(split)) = Split::decode(&row) else {
        return Ok(Some(row));
    };
    let mut whole = Vec::new();
    for index in 0..split.parts {
        match read(&keys::part(split.id, index))? {
            Some(part) => whole.extend_from_slice(&part),
            None => return Ok(None),
        }
    }
    let complete = usize::try_from(split.len) == Ok(whole.len());
    Ok(complete.then_some(whole))
}

/// The first fields of a device row: what guards and indexes ask for.
#[derive(Debug, serde::Deserialize)]
pub struct DeviceHead {
    #[expect(dead_code, reason = "holds the place of the first field")]
    device_id: IgnoredAny,
    pub seq: u64,
    pub version: u64,
    pub node_id: NodeId,
    pub product_id: ProductId,
}

/// The first field of a state row.
#[derive(Debug, serde::Deserialize)]
pub struct StateHead {
    pub version: u64,
}

/// The first field of an event row.
#[derive(Debug, serde::Deserialize)]
pub struct EventHead {
    pub at: crate::base::time::Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::base::time::Timestamp;
    use crate::store::records::{
        EnvelopeRecord, EventRecord, HistoryRecord, RawRecord, RecentRecord, ShadowRecord,
        StateRecord,
    };

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e12..1e12_f64).prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,8}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    prop_compose! {
        fn states()(
            version in any::<u64>(),
            seen in any::<Option<u64>>(),
            location in any::<Option<u64>>(),
            next_msg_id in any::<u16>(),
            fields in prop::collection::vec((".{0,8}", values()), 0..6),
            service_id in ".{0,12}",
            recent in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
        ) -> StateRecord {
            let at = seen.map(Timestamp::from_ms);
            StateRecord {
                version,
                last_seen_at: at,
                location,
                next_msg_id,
                shadow: vec![ShadowRecord {
                    service_id,
                    version,
                    reported: fields.into_iter().collect(),
                    reported_at: at,
                    desired: Map::new(),
                    desired_at: None,
                }],
                recent: recent
                    .into_iter()
                    .map(|(key, at)| RecentRecord { key, at: Timestamp::from_ms(at) })
                    .collect(),
                ..StateRecord::default()
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let row = [&[ROW_FORMAT], &bytes[..]].concat();
            let sealed = [&[SEALED_FORMAT, 0, 0, 0], &bytes[..]].concat();
            for bytes in [&bytes, &row, &sealed] {
                drop(Split::decode(bytes));
                drop(decode::<StateRecord>(bytes));
                drop(decode::<EventRecord>(bytes));
                drop(decode_beside::<DeviceHead>(bytes));
            }
        }

        #[test]
        fn changed_rows_are_no_panic(state in states(), at in any::<usize>(), to in any::<u8>()) {
            let mut row = encode(&state).unwrap();
            let at = at % row.len();
            row[at] = to;
            drop(decode::<StateRecord>(&row));
        }

        #[test]
        fn states_come_back(state in states()) {
            let row = encode(&state).unwrap();
            prop_assert_eq!(decode::<StateHead>(&row).unwrap().version, state.version);
            prop_assert_eq!(decode::<StateRecord>(&row).unwrap(), state);
        }

        #[test]
        fn reports_come_back(ms in any::<u64>(), text in ".{0,99}", bytes in any::<Vec<u8>>()) {
            let at = Timestamp::from_ms(ms);
            let history = HistoryRecord { received_at: at, services: text.clone() };
            let row = encode(&history).unwrap();
            prop_assert_eq!(decode::<HistoryRecord>(&row).unwrap(), history);
            let raw = RawRecord {
                received_at: at,
                payload: bytes,
                kind: text.clone(),
                reason: text.clone(),
            };
            prop_assert_eq!(decode::<RawRecord>(&encode(&raw).unwrap()).unwrap(), raw);
            let envelope = EnvelopeRecord {
                resource: text.clone(),
                event: text.clone(),
                device_id: None,
                json: text,
                app_id: None,
            };
            let event = EventRecord { at, envelopes: vec![envelope.clone(), envelope] };
            let row = encode(&event).unwrap();
            prop_assert_eq!(decode::<EventHead>(&row).unwrap().at, at);
            prop_assert_eq!(decode::<EventRecord>(&row).unwrap(), event);
        }

        #[test]
        fn split_headers_come_back(id in any::<u64>(), parts in any::<u16>(), len in any::<u32>()) {
            let split = Split { id, parts, len };
            prop_assert_eq!(Split::decode(&split.encode()).unwrap(), Some(split));
        }
    }

    #[test]
    fn wrong_rows_are_named() {
        let table: [(&[u8], &str); 6] = [
            (&[], "empty"),
            (&[2, 0xa0], "format"),
            (&[9, 0xa0], "format"),
            (&[1], "cbor"),
            (&[1, 0xa0], "cbor"),
            (&[1, 0xff, 0xff], "cbor"),
        ];
        for (row, kind) in table {
            assert_eq!(
                decode::<StateRecord>(row).unwrap_err().kind(),
                kind,
                "{row:x?}"
            );
        }
        let sealed: [(&[u8], &str); 6] = [
            (&[], "empty"),
            (&[1, 0xa0], "format"),
            (&[2, 0, 0, 0], "empty"),
            (&[2, 0, 0, 0, 1], "sealed_length"),
            (&[2, 0xff, 0xff, 0xff, 0xff, 0], "sealed_length"),
            (&[2, 0, 0, 0, 1, 7], "fine"),
        ];
        for (row, kind) in sealed {
            let got = split_sealed(row)
                .as_ref()
                .map_or_else(RowError::kind, |_| "fine");
            assert_eq!(got, kind, "{row:x?}");
        }
        assert_eq!(Split::decode(&[0xff, 1, 2]).unwrap_err().kind(), "split");
        assert_eq!(Split::decode(&[1, 2, 3]).unwrap(), None);
    }
}
