//! What devices answer, read: a version, a state or result of Object 5, the radio of Object 4. In text,
//! opaque, TLV, SenML or CBOR, whatever was asked for.

use crate::engine::admission::coverage::{CellId, Measurement};
use crate::engine::upgrade::Ask;
use crate::wire::coap::ContentFormat;
use crate::wire::lwm2m::senml::{self, Scalar};
use crate::wire::lwm2m::value::{self, Raw};
use crate::wire::lwm2m::{Kind, Path, Value};

/// Longest version that is taken from a device, in bytes.
const VERSION_MAX: usize = 256;

/// Resources of `/4/0`.
const RSRP: u16 = 2;
const CELL: u16 = 8;
const SINR: u16 = 11;
const CE_LEVEL: u16 = 13;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    Version(String),
    State(u8),
    Result(u8),
    Delivery(u8),
    Radio(Measurement),
    /// It took the request.
    Done,
    Unreadable,
}

/// Reads the answer to `ask`.
pub(super) fn answer(ask: Ask, payload: &[u8], content_format: Option<u16>) -> Reading {
    match ask {
        Ask::WriteUri
        | Ask::ResetUri
        | Ask::Push
        | Ask::Execute
        | Ask::NewVersion
        | Ask::Install => Reading::Done,
        Ask::Delivery => match number("/5/0/9", payload, content_format) {
            Some(delivery) => Reading::Delivery(delivery),
            None => Reading::Unreadable,
        },
        Ask::Version => version(payload, content_format),
        Ask::ObserveState => match number("/5/0/3", payload, content_format) {
            Some(state) => Reading::State(state),
            None => Reading::Unreadable,
        },
        Ask::ObserveResult | Ask::Result => match number("/5/0/5", payload, content_format) {
            Some(result) => Reading::Result(result),
            None => Reading::Unreadable,
        },
        Ask::Coverage => Reading::Radio(radio("/4/0", payload, content_format)),
        Ask::Cell => Reading::Radio(radio("/4/0/8", payload, content_format)),
    }
}

fn version(payload: &[u8], content_format: Option<u16>) -> Reading {
    let values = read("/3/0/3", payload, content_format);
    let Some((_, Scalar::Text(text))) = values.first() else {
        return Reading::Unreadable;
    };
    // Some pad it.
    let text = text.trim_matches(['\0', ' ']);
    match text.len() <= VERSION_MAX {
        true => Reading::Version(text.to_owned()),
        false => Reading::Unreadable,
    }
}

fn number(path: &str, payload: &[u8], content_format: Option<u16>) -> Option<u8> {
    let values = read(path, payload, content_format);
    let (_, value) = values.first()?;
    u8::try_from(integer(value)?).ok()
}

fn radio(path: &str, payload: &[u8], content_format: Option<u16>) -> Measurement {
    let mut radio = Measurement::default();
    for (path, value) in read(path, payload, content_format) {
        let number = integer(&value);
        match path.resource() {
            Some(RSRP) => radio.rsrp_dbm = number.map(clamped),
            Some(CELL) => radio.cell = number.and_then(|cell| u64::try_from(cell).ok()).map(CellId),
            Some(SINR) => radio.sinr_db = number.map(clamped),
            Some(CE_LEVEL) => {
                radio.enhancement_level = number.and_then(|level| u8::try_from(level).ok());
            }
            _ => {}
        }
    }
    radio
}

/// What is beyond is as weak or as strong as can be.
fn clamped(value: i64) -> i32 {
    let bound = if value < 0 { i32::MIN } else { i32::MAX };
    i32::try_from(value).unwrap_or(bound)
}

fn integer(value: &Scalar) -> Option<i64> {
    match value {
        Scalar::Integer(number) => Some(*number),
        // Some send what is an integer as a decimal number.
        Scalar::Number(number) if number.is_finite() => Some(rounded(*number)),
        Scalar::Number(_) | Scalar::Flag(_) | Scalar::Text(_) | Scalar::Bytes(_) => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates, which is as good"
)]
const fn rounded(number: f64) -> i64 {
    number.round() as i64
}

/// The values at their places. Without a content format it is TLV, or text where one value was asked
/// for. What can't be read holds none.
fn read(path: &str, payload: &[u8], content_format: Option<u16>) -> Vec<(Path, Scalar)> {
    let Ok(asked) = Path::parse(path) else {
        return Vec::new();
    };
    let format = content_format.map_or_else(
        || match asked.resource() {
            Some(_) => ContentFormat::TEXT,
            None => ContentFormat::TLV,
        },
        ContentFormat,
    );
    if let Ok(found) = senml::read(format, asked, payload) {
        return found;
    }
    let found = value::read(format, asked, payload).unwrap_or_default();
    let scalar = |(path, raw): (Path, Raw<'_>)| {
        let number = raw
            .value(Kind::Integer)
            .ok()
            .or_else(|| raw.value(Kind::Float).ok());
        let is_text = path == Path::Resource(3, 0, 3);
        let value = match number.filter(|_| !is_text) {
            Some(Value::Integer(number)) => Scalar::Integer(number),
            Some(Value::Float(number)) => Scalar::Number(number),
            _ => match raw.value(Kind::String) {
                Ok(Value::String(text)) => Scalar::Text(text.to_owned()),
                Ok(_) | Err(_) => return None,
            },
        };
        Some((path, value))
    };
    found.into_iter().filter_map(scalar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_real_devices_are_read() {
        let state = |n| Reading::State(n);
        let cases: [(Ask, Option<u16>, &[u8], Reading); 9] = [
            // TLV of one byte, as a widespread client notifies.
            (Ask::ObserveState, Some(11542), b"\xc1\x03\x02", state(2)),
            (Ask::ObserveState, Some(1542), b"\xc1\x03\x00", state(0)),
            (Ask::ObserveState, Some(0), b"1", state(1)),
            (Ask::ObserveState, None, b"3", state(3)),
            (
                Ask::Result,
                Some(110),
                br#"[{"n":"/5/0/5","v":8}]"#,
                Reading::Result(8),
            ),
            (
                Ask::Version,
                Some(0),
                b"V1.0\0\0",
                Reading::Version("V1.0".to_owned()),
            ),
            (
                Ask::Version,
                Some(0),
                b"10",
                Reading::Version("10".to_owned()),
            ),
            (Ask::ObserveState, Some(0), b"what", Reading::Unreadable),
            (Ask::Execute, None, b"", Reading::Done),
        ];
        for (ask, format, payload, want) in cases {
            assert_eq!(answer(ask, payload, format), want, "{ask:?} {payload:?}");
        }
    }

    #[test]
    fn the_radio_is_read_whole() {
        // RSRP -101, cell 0x0123456, SINR 5: TLV as a 1.1 client sends it.
        let tlv = b"\xc1\x02\x9b\xc4\x08\x00\x12\x34\x56\xc1\x0b\x05";
        let want = Measurement {
            cell: Some(CellId(0x12_3456)),
            rsrp_dbm: Some(-101),
            sinr_db: Some(5),
            enhancement_level: None,
        };
        assert_eq!(
            answer(Ask::Coverage, tlv, Some(11542)),
            Reading::Radio(want)
        );
        let none = answer(Ask::Coverage, b"", Some(11542));
        assert_eq!(none, Reading::Radio(Measurement::default()));
    }
}
