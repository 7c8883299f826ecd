//! Typed values, and payloads of every content format known here as paths with values
//! (OMA LwM2M TS Core 1.1 §7.4, annex C).
//!
//! ```text
//!  format   one value                               several values
//!  text     as `text.rs` says                       -
//!  opaque   the bytes                               -
//!  TLV      binary: integer 1, 2, 4 or 8 bytes;     entries of `tlv.rs`
//!           float 4 or 8 bytes; boolean 1 byte;
//!           time as integer; link two ids; text
//!           and opaque as they are
//! ```
//!
//! A payload says nothing of types (only the object's definition does), so it is read in two
//! steps: [`read`] gives places and raw values, [`Raw::value`] types one of them.

use std::borrow::Cow;

use super::path::Path;
use super::text::{self, TextError};
use super::tlv::{self, Entry, TlvError};
use crate::wire::coap::ContentFormat;

/// The data types of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    String,
    Integer,
    Unsigned,
    Float,
    Boolean,
    Opaque,
    /// Seconds since 1970, UTC.
    Time,
    ObjectLink,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::String => "UTF-8 text",
            Self::Integer => "an integer of 1 to 8 bytes",
            Self::Unsigned => "an unsigned integer of 1 to 8 bytes",
            Self::Float => "a float of 4 or 8 bytes",
            Self::Boolean => "one byte, 0 or 1",
            Self::Opaque => "bytes",
            Self::Time => "a time of 1 to 8 bytes",
            Self::ObjectLink => "an object link of 4 bytes",
        }
    }
}

/// A resource's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    String(&'a str),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Boolean(bool),
    Opaque(Cow<'a, [u8]>),
    /// Seconds since 1970, UTC.
    Time(i64),
    /// Object and instance.
    ObjectLink(u16, u16),
}

/// Why a payload or value can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    #[error("content format {0} is not one of 0, 42, 11542")]
    Format(u16),
    #[error("content format {format} holds a single value, {path} is not one")]
    NotSingle { format: u16, path: Path },
    #[error("{path} lies outside of {asked}")]
    Outside { path: Path, asked: Path },
    #[error("{len} bytes are not {}", wanted.name())]
    Binary { len: usize, wanted: Kind },
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Tlv(#[from] TlvError),
}

impl ValueError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Format(_) => "format",
            Self::NotSingle { .. } => "not_single",
            Self::Outside { .. } => "outside",
            Self::Binary { .. } => "binary",
            Self::Text(e) => e.kind(),
            Self::Tlv(e) => e.kind(),
        }
    }
}

/// A value without its type, in the notation of its content format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

impl<'a> Raw<'a> {
    /// The value as the type that its object's definition gives it.
    pub fn value(self, kind: Kind) -> Result<Value<'a>, ValueError> {
        match self {
            Self::Text(bytes) => from_text(bytes, kind),
            Self::Binary(bytes) => from_binary(bytes, kind).ok_or(ValueError::Binary {
                len: bytes.len(),
                wanted: kind,
            }),
        }
    }
}

/// What a payload, the answer to a read or an observation of `asked`, holds: places and values in
/// their order. An empty TLV payload holds none.
pub fn read<'a>(
    format: ContentFormat,
    asked: Path,
    payload: &'a [u8],
) -> Result<Vec<(Path, Raw<'a>)>, ValueError> {
    match format.modern() {
        ContentFormat::TEXT => Ok(vec![(single(format, asked)?, Raw::Text(payload))]),
        ContentFormat::OPAQUE => Ok(vec![(single(format, asked)?, Raw::Binary(payload))]),
        ContentFormat::TLV => {
            let mut found = Vec::new();
            for entry in tlv::decode(payload)? {
                place(&entry, asked, None, &mut found)?;
            }
            Ok(found)
        }
        ContentFormat(other) => Err(ValueError::Format(other)),
    }
}

/// A payload that writes one value to the resource or resource instance at `path`.
pub fn write(format: ContentFormat, path: Path, value: &Value<'_>) -> Result<Vec<u8>, ValueError> {
    match format.modern() {
        ContentFormat::TEXT => {
            single(format, path)?;
            Ok(to_text(value))
        }
        ContentFormat::OPAQUE => {
            single(format, path)?;
            Ok(to_binary(value))
        }
        ContentFormat::TLV => {
            let value = &to_binary(value);
            let entry = match path {
                Path::Resource(_, _, id) => Entry::Resource { id, value },
                Path::ResourceInstance(_, _, id, part) => Entry::Multiple {
                    id,
                    values: vec![(part, value)],
                },
                Path::Object(_) | Path::Instance(..) => {
                    return Err(ValueError::NotSingle {
                        format: format.0,
                        path,
                    });
                }
            };
            Ok(tlv::encode(&[entry])?)
        }
        ContentFormat(other) => Err(ValueError::Format(other)),
    }
}

/// `path`, when a format of a single value can speak of it.
const fn single(format: ContentFormat, path: Path) -> Result<Path, ValueError> {
    match path {
        Path::Resource(..) | Path::ResourceInstance(..) => Ok(path),
        Path::Object(_) | Path::Instance(..) => Err(ValueError::NotSingle {
            format: format.0,
            path,
        }),
    }
}

/// Puts the values of one TLV entry into place. The instance is that of the entry around it, else
/// the asked one, else 0: a device with one instance may leave it out (TS 1.0 §6.4.3).
fn place<'a>(
    entry: &Entry<'a>,
    asked: Path,
    around: Option<u16>,
    found: &mut Vec<(Path, Raw<'a>)>,
) -> Result<(), ValueError> {
    let object = asked.object();
    let instance = around.or_else(|| asked.instance()).unwrap_or(0);
    let mut put = |path: Path, value: &'a [u8]| {
        if !contains(asked, path) {
            return Err(ValueError::Outside { path, asked });
        }
        found.push((path, Raw::Binary(value)));
        Ok(())
    };
    match entry {
        Entry::Instance { id, resources } => {
            for resource in resources {
                place(resource, asked, Some(*id), found)?;
            }
            Ok(())
        }
        Entry::Resource { id, value } => {
            let path = match asked {
                // The reading of one resource instance, answered as if it were the resource.
                Path::ResourceInstance(_, _, resource, part) if resource == *id => {
                    Path::ResourceInstance(object, instance, resource, part)
                }
                _ => Path::Resource(object, instance, *id),
            };
            put(path, value)
        }
        Entry::Multiple { id, values } => values.iter().try_for_each(|(part, value)| {
            put(Path::ResourceInstance(object, instance, *id, *part), value)
        }),
        Entry::ResourceInstance { id, value } => {
            let Some(resource) = asked.resource() else {
                let (inner, outer) = ("resource instance", "reading of more than one resource");
                return Err(TlvError::Misplaced {
                    inner,
                    id: *id,
                    outer,
                }
                .into());
            };
            put(
                Path::ResourceInstance(object, instance, resource, *id),
                value,
            )
        }
    }
}

/// Whether `path` is `asked` or below it.
fn contains(asked: Path, path: Path) -> bool {
    let within = |asked: Option<u16>, got: Option<u16>| asked.is_none() || asked == got;
    let part = |path: Path| match path {
        Path::ResourceInstance(_, _, _, part) => Some(part),
        Path::Object(_) | Path::Instance(..) | Path::Resource(..) => None,
    };
    asked.object() == path.object()
        && within(asked.instance(), path.instance())
        && within(asked.resource(), path.resource())
        && within(part(asked), part(path))
}

fn from_text(bytes: &[u8], kind: Kind) -> Result<Value<'_>, ValueError> {
    Ok(match kind {
        Kind::String => Value::String(utf8(bytes).ok_or(ValueError::Binary {
            len: bytes.len(),
            wanted: kind,
        })?),
        Kind::Integer => Value::Integer(text::integer(bytes)?),
        Kind::Unsigned => Value::Unsigned(text::unsigned(bytes)?),
        Kind::Float => Value::Float(text::float(bytes)?),
        Kind::Boolean => Value::Boolean(text::boolean(bytes)?),
        Kind::Opaque => Value::Opaque(Cow::Owned(text::opaque(bytes)?)),
        Kind::Time => Value::Time(text::integer(bytes)?),
        Kind::ObjectLink => {
            let (object, instance) = text::object_link(bytes)?;
            Value::ObjectLink(object, instance)
        }
    })
}

fn from_binary(bytes: &[u8], kind: Kind) -> Option<Value<'_>> {
    Some(match kind {
        Kind::String => Value::String(utf8(bytes)?),
        Kind::Integer => Value::Integer(integer(bytes)?),
        Kind::Unsigned => Value::Unsigned(unsigned(bytes)?),
        Kind::Float => Value::Float(float(bytes)?),
        Kind::Boolean => Value::Boolean(match bytes {
            [0] => false,
            [1] => true,
            _ => return None,
        }),
        Kind::Opaque => Value::Opaque(Cow::Borrowed(bytes)),
        Kind::Time => Value::Time(integer(bytes)?),
        Kind::ObjectLink => {
            let [a, b, c, d] = *bytes else {
                return None;
            };
            Value::ObjectLink(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
        }
    })
}

/// Text without the zero bytes that C firmware leaves at its end.
fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .map(|text| text.trim_end_matches('\0'))
}

/// Sign-extended. The format knows 1, 2, 4 and 8 bytes; other lengths read without doubt too.
fn integer(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut full = [fill; 8];
    full.get_mut(8_usize.checked_sub(bytes.len())?..)?
        .copy_from_slice(bytes);
    Some(i64::from_be_bytes(full))
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    matches!(bytes.len(), 1..=8).then(|| {
        bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    })
}

/// Not-a-number and infinity are no readings.
fn float(bytes: &[u8]) -> Option<f64> {
    let number = match *bytes {
        [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
        _ => f64::from_be_bytes(bytes.try_into().ok()?),
    };
    number.is_finite().then_some(number)
}

fn to_text(value: &Value<'_>) -> Vec<u8> {
    match value {
        Value::String(text) => (*text).to_owned(),
        Value::Integer(number) | Value::Time(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => u8::from(*flag).to_string(),
        Value::Opaque(bytes) => text::write_opaque(bytes),
        Value::ObjectLink(object, instance) => format!("{object}:{instance}"),
    }
    .into_bytes()
}

fn to_binary(value: &Value<'_>) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(number) | Value::Time(number) => shortest(*number),
        Value::Unsigned(number) => shortest_unsigned(*number),
        Value::Float(number) => number.to_be_bytes().to_vec(),
        Value::Boolean(flag) => vec![u8::from(*flag)],
        Value::Opaque(bytes) => bytes.to_vec(),
        Value::ObjectLink(object, instance) => {
            [object.to_be_bytes(), instance.to_be_bytes()].concat()
        }
    }
}

fn shortest(number: i64) -> Vec<u8> {
    if let Ok(number) = i8::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = i16::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = i32::try_from(number) {
        number.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

fn shortest_unsigned(number: u64) -> Vec<u8> {
    if let Ok(number) = u8::try_from(number) {
        vec![number]
    } else if let Ok(number) = u16::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = u32::try_from(number) {
        number.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests;
