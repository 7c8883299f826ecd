//! What devices answer, read: a version, a state or result of Object 5, the radio of Object 4. In text,
//! opaque or TLV, whatever was asked for.

use crate::engine::upgrade::Ask;
use crate::store::upgrades::PlaceRecord;
use crate::wire::coap::ContentFormat;
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
    Radio(Radio),
    /// It took the request.
    Done,
    Unreadable,
}

/// Object 4, connectivity monitoring: what matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Radio {
    pub(super) cell: Option<u64>,
    pub(super) rsrp_dbm: Option<i64>,
    pub(super) sinr_db: Option<i64>,
    /// Coverage enhancement level, 0 to 4.
    pub(super) ce_level: Option<i64>,
}

impl Radio {
    /// The pool of slots that the device belongs to; `None`: its cell is not known.
    pub(super) fn place(self) -> Option<PlaceRecord> {
        let cell = self.cell?;
        Some(PlaceRecord { cell, level: None })
    }
}

/// Reads the answer to `ask`.
pub(super) fn answer(ask: Ask, payload: &[u8], content_format: Option<u16>) -> Reading {
    match ask {
        Ask::WriteUri | Ask::ResetUri | Ask::Execute => Reading::Done,
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
    let raw = values.first().map(|(_, raw)| *raw);
    let Some(Ok(Value::String(text))) = raw.map(|raw| raw.value(Kind::String)) else {
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
    let (_, raw) = values.first()?;
    u8::try_from(integer(*raw)?).ok()
}

fn radio(path: &str, payload: &[u8], content_format: Option<u16>) -> Radio {
    let mut radio = Radio::default();
    for (path, raw) in read(path, payload, content_format) {
        match path.resource() {
            Some(RSRP) => radio.rsrp_dbm = integer(raw),
            Some(CELL) => radio.cell = integer(raw).and_then(|cell| u64::try_from(cell).ok()),
            Some(SINR) => radio.sinr_db = integer(raw),
            Some(CE_LEVEL) => radio.ce_level = integer(raw),
            _ => {}
        }
    }
    radio
}

fn integer(raw: Raw<'_>) -> Option<i64> {
    match raw.value(Kind::Integer) {
        Ok(Value::Integer(number)) => Some(number),
        // Some send what is an integer as a decimal number.
        Ok(_) | Err(_) => match raw.value(Kind::Float) {
            Ok(Value::Float(number)) if number.is_finite() => Some(rounded(number)),
            Ok(_) | Err(_) => None,
        },
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates, which is as good"
)]
fn rounded(number: f64) -> i64 {
    number.round() as i64
}

/// Without a content format it is TLV, or text where one value was asked for.
fn read<'a>(path: &str, payload: &'a [u8], content_format: Option<u16>) -> Vec<(Path, Raw<'a>)> {
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
    value::read(format, asked, payload).unwrap_or_default()
}
