//! The one place that knows the CBOR library (serde_cbor, unmaintained, RUSTSEC-2021-0127; see
//! `docs/decisions/0003-cbor.md`).
//!
//! Values are written packed: structs as maps keyed by field index, so a renamed field changes
//! nothing on disk and a new last field with a default reads old rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not the expected CBOR, or a value can't be written.
#[derive(Debug, thiserror::Error)]
#[error("CBOR: {0}")]
pub struct CborError(String);

/// The value as packed CBOR, appended to `out`.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CborError> {
    let mut serializer =
        serde_cbor::Serializer::new(serde_cbor::ser::IoWrite::new(out)).packed_format();
    value
        .serialize(&mut serializer)
        .map_err(|e| CborError(e.to_string()))
}

/// The value as packed CBOR.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
    let mut out = Vec::with_capacity(256);
    encode_into(value, &mut out)?;
    Ok(out)
}

/// The value in `bytes`. Trailing bytes are an error. Nesting is limited by the library.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    serde_cbor::from_slice(bytes).map_err(|e| CborError(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Row {
        name: String,
        #[serde(default)]
        added_later: Option<u8>,
    }

    #[test]
    fn reads_what_it_wrote() {
        let row = Row {
            name: "a".into(),
            added_later: Some(7),
        };
        assert_eq!(decode::<Row>(&encode(&row).unwrap()).unwrap(), row);
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [
            &[][..],
            &[0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(decode::<Row>(bytes).is_err());
        }
    }
}
