//! Reads of the device and connectivity objects (LwM2M objects 3 and 4), and what requests and answers
//! look like between the device and its upgrade.
//!
//! Without Accept, and with a TLV format, an answer is TLV; one resource can be had as text (0); another
//! Accept gets 4.06. A resource that is not there gets 4.04.

use std::time::Duration;

use crate::sim::message;
use crate::sim::tlv;

/// Content formats.
pub(super) const TEXT: u16 = 0;
/// The number that TLV had before it was registered.
const TLV_LEGACY: u16 = 1542;
const NOT_ACCEPTABLE: u8 = 0x86;

/// A request of the server for object 3, 4 or 5.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub code: u8,
    /// `5/0/3`
    pub path: &'a str,
    pub token: &'a [u8],
    pub observe: Option<u32>,
    pub format: Option<u16>,
    pub accept: Option<u16>,
    pub block1: Option<u32>,
    pub payload: &'a [u8],
}

/// See [`Reply::Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u8,
    pub format: Option<u16>,
    pub observe: Option<u32>,
    pub block1: Option<u32>,
    pub payload: Vec<u8>,
    /// It goes so late.
    pub after: Duration,
}

impl Answer {
    pub(super) const fn of(code: u8) -> Self {
        Self {
            code,
            format: None,
            observe: None,
            block1: None,
            payload: Vec::new(),
            after: Duration::ZERO,
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The device has no such object.
    Foreign,
    /// Not even an acknowledgement.
    Silence,
    Answer(Answer),
}

/// A value that can be read.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    /// Instances of a resource.
    Texts(Vec<String>),
    Numbers(Vec<i64>),
}

impl Value {
    pub(super) fn tlv(&self, id: u8) -> Vec<u8> {
        match self {
            Self::Text(text) => tlv::resource(id, text.as_bytes()),
            Self::Number(number) => tlv::resource(id, &tlv::integer(*number)),
            Self::Texts(texts) => {
                let values: Vec<_> = texts.iter().map(String::as_bytes).collect();
                tlv::multiple(id, &values)
            }
            Self::Numbers(numbers) => {
                let values: Vec<_> = numbers.iter().map(|n| tlv::integer(*n)).collect();
                let values: Vec<_> = values.iter().map(Vec::as_slice).collect();
                tlv::multiple(id, &values)
            }
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Texts(_) | Self::Numbers(_) => None,
        }
    }
}

/// Reads one resource, or all of them when `resource` is `None`.
pub(super) fn read(values: &[(u8, Value)], resource: Option<u8>, accept: Option<u16>) -> Answer {
    let wanted = |id: u8| resource.is_none_or(|wanted| wanted == id);
    let found: Vec<_> = values.iter().filter(|(id, _)| wanted(*id)).collect();
    if found.is_empty() {
        return Answer::of(message::NOT_FOUND);
    }
    let (format, payload) = match accept {
        None | Some(message::FORMAT_TLV | TLV_LEGACY) => {
            let body = found.iter().flat_map(|(id, value)| value.tlv(*id));
            (message::FORMAT_TLV, Some(body.collect()))
        }
        Some(TEXT) if resource.is_some() => {
            let text = found.first().and_then(|(_, value)| value.text());
            (TEXT, text.map(String::into_bytes))
        }
        Some(_) => (TEXT, None),
    };
    match payload {
        Some(payload) => Answer {
            format: Some(format),
            payload,
            ..Answer::of(message::CONTENT)
        },
        None => Answer::of(NOT_ACCEPTABLE),
    }
}

/// The resource of a path `5/0` or `5/0/3`; `Err` for any other.
pub(super) fn resource(path: &str) -> Result<Option<u8>, ()> {
    let mut parts = path.split('/').skip(1);
    if parts.next() != Some("0") {
        return Err(());
    }
    let resource = parts.next().map(|text| text.parse().map_err(drop));
    match parts.next() {
        Some(_) => Err(()),
        None => resource.transpose(),
    }
}

/// Object 3 of a device with these versions.
pub(super) fn device(firmware: &str, software: &str) -> Vec<(u8, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    vec![
        (0, text("Strait")),
        (1, text("simulated")),
        (2, text("0001")),
        (3, text(firmware)),
        (9, Value::Number(87)),
        (16, text("U")),
        (19, text(software)),
    ]
}
