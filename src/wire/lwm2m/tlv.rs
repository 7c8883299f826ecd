//! TLV, `application/vnd.oma.lwm2m+tlv` (OMA LwM2M TS Core 1.1 §7.4.4).
//!
//! ```text
//!  byte 0   | kind, 2 bits | id is 16 bits, 1 bit | length field, 2 bits | length, 3 bits |
//!           kind: 0 object instance, 1 resource instance, 2 multiple resource, 3 resource
//!           length field: 0 none, the low 3 bits count; else its number of bytes
//!  then     id: 1 or 2 bytes | length field: 0 to 3 bytes | value
//! ```
//!
//! Numbers are big-endian. The value of an object instance is resources and multiple resources,
//! that of a multiple resource is resource instances; so the depth is three at most.

use nom::bytes::complete::take;
use nom::combinator::map;
use nom::number::complete::{be_u8, be_u16, be_u24};
use nom::{IResult, Parser};

/// Entries in one payload: more is no reading of any known object, only a load on memory.
pub const ENTRIES_MAX: usize = 4096;

/// The longest value: 24 bits of length.
pub const VALUE_MAX: usize = (1 << 24) - 1;

/// One entry with what is inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Holds resources and multiple resources.
    Instance {
        id: u16,
        resources: Vec<Self>,
    },
    Resource {
        id: u16,
        value: &'a [u8],
    },
    /// A resource with instances: id and value of each.
    Multiple {
        id: u16,
        values: Vec<(u16, &'a [u8])>,
    },
    /// By itself only when the reading was of a resource instance.
    ResourceInstance {
        id: u16,
        value: &'a [u8],
    },
}

/// Why bytes are not TLV, or entries can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlvError {
    #[error("TLV ends within an entry, {left} bytes before the end")]
    Truncated { left: usize },
    #[error("TLV has {inner} {id} inside of {outer}")]
    Misplaced {
        inner: &'static str,
        id: u16,
        outer: &'static str,
    },
    #[error("TLV has more than {ENTRIES_MAX} entries")]
    TooMany,
    #[error("TLV value of {len} bytes, takes at most {VALUE_MAX}")]
    TooLong { len: usize },
    #[error("TLV holds {found} values, wanted one")]
    NotOne { found: usize },
}

impl TlvError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Truncated { .. } => "tlv_truncated",
            Self::Misplaced { .. } => "tlv_misplaced",
            Self::TooMany => "tlv_too_many",
            Self::TooLong { .. } => "tlv_too_long",
            Self::NotOne { .. } => "tlv_not_one",
        }
    }
}

/// Reads a whole payload. An empty one has no entries.
pub fn decode(payload: &[u8]) -> Result<Vec<Entry<'_>>, TlvError> {
    let mut left = ENTRIES_MAX;
    let mut entries = Vec::new();
    each(payload, &mut left, |kind, id, value, left| {
        entries.push(match kind {
            Kind::Instance => Entry::Instance {
                id,
                resources: resources(value, left)?,
            },
            Kind::Resource => Entry::Resource { id, value },
            Kind::Multiple => Entry::Multiple {
                id,
                values: values(value, left)?,
            },
            Kind::ResourceInstance => Entry::ResourceInstance { id, value },
        });
        Ok(())
    })?;
    Ok(entries)
}

/// What an object instance holds.
fn resources<'a>(bytes: &'a [u8], left: &mut usize) -> Result<Vec<Entry<'a>>, TlvError> {
    let mut entries = Vec::new();
    each(bytes, left, |kind, id, value, left| {
        entries.push(match kind {
            Kind::Resource => Entry::Resource { id, value },
            Kind::Multiple => Entry::Multiple {
                id,
                values: values(value, left)?,
            },
            Kind::Instance | Kind::ResourceInstance => {
                return Err(kind.misplaced(id, Kind::Instance));
            }
        });
        Ok(())
    })?;
    Ok(entries)
}

/// What a multiple resource holds.
fn values<'a>(bytes: &'a [u8], left: &mut usize) -> Result<Vec<(u16, &'a [u8])>, TlvError> {
    let mut values = Vec::new();
    each(bytes, left, |kind, id, value, _| match kind {
        Kind::ResourceInstance => {
            values.push((id, value));
            Ok(())
        }
        Kind::Instance | Kind::Resource | Kind::Multiple => Err(kind.misplaced(id, Kind::Multiple)),
    })?;
    Ok(values)
}

/// Hands every entry of `bytes` to `take`; `left` counts down what the payload may still hold.
fn each<'a>(
    bytes: &'a [u8],
    left: &mut usize,
    mut take: impl FnMut(Kind, u16, &'a [u8], &mut usize) -> Result<(), TlvError>,
) -> Result<(), TlvError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (after, (kind, id, value)) =
            entry(rest).map_err(|_| TlvError::Truncated { left: rest.len() })?;
        *left = left.checked_sub(1).ok_or(TlvError::TooMany)?;
        take(kind, id, value, left)?;
        rest = after;
    }
    Ok(())
}

/// Kind, id and value of the first entry. Fails only for want of bytes.
fn entry(input: &[u8]) -> IResult<&[u8], (Kind, u16, &[u8])> {
    let (rest, head) = be_u8(input)?;
    let (rest, id) = match head & 0x20 {
        0 => map(be_u8, u16::from).parse(rest)?,
        _ => be_u16(rest)?,
    };
    let (rest, len) = match (head >> 3) & 0b11 {
        0 => (rest, u32::from(head & 0b111)),
        1 => map(be_u8, u32::from).parse(rest)?,
        2 => map(be_u16, u32::from).parse(rest)?,
        _ => be_u24(rest)?,
    };
    let (rest, value) = take(len).parse(rest)?;
    Ok((rest, (Kind::from_bits(head >> 6), id, value)))
}

/// What an entry is, as its first two bits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Instance,
    ResourceInstance,
    Multiple,
    Resource,
}

impl Kind {
    const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::Instance,
            1 => Self::ResourceInstance,
            2 => Self::Multiple,
            _ => Self::Resource,
        }
    }

    const fn to_bits(self) -> u8 {
        match self {
            Self::Instance => 0,
            Self::ResourceInstance => 1,
            Self::Multiple => 2,
            Self::Resource => 3,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Instance => "object instance",
            Self::ResourceInstance => "resource instance",
            Self::Multiple => "multiple resource",
            Self::Resource => "resource",
        }
    }

    const fn misplaced(self, id: u16, outer: Self) -> TlvError {
        TlvError::Misplaced {
            inner: self.name(),
            id,
            outer: outer.name(),
        }
    }
}

/// The one opaque value of a wrapped notification of Object 19 (BinaryAppDataContainer): the
/// reading may be of the resource, of its one instance, or of the object instance around it; with
/// further resources beside (priority, time, format) the data is resource 0.
pub fn unwrap_opaque(payload: &[u8]) -> Result<&[u8], TlvError> {
    let entries = decode(payload)?;
    let entries = match entries.as_slice() {
        [Entry::Instance { resources, .. }] => resources,
        other => other,
    };
    match entries {
        [entry] => single(entry),
        several => several
            .iter()
            .find(|entry| {
                matches!(
                    entry,
                    Entry::Resource { id: 0, .. } | Entry::Multiple { id: 0, .. }
                )
            })
            .ok_or(TlvError::NotOne {
                found: several.len(),
            })
            .and_then(single),
    }
}

/// The value of an entry that has just one.
fn single<'a>(entry: &Entry<'a>) -> Result<&'a [u8], TlvError> {
    match entry {
        Entry::Resource { value, .. } | Entry::ResourceInstance { value, .. } => Ok(value),
        Entry::Multiple { values, .. } => match values.as_slice() {
            [(_, value)] => Ok(value),
            several => Err(TlvError::NotOne {
                found: several.len(),
            }),
        },
        Entry::Instance { resources, .. } => Err(TlvError::NotOne {
            found: resources.len(),
        }),
    }
}

/// Writes entries, each in its shortest form.
pub fn encode(entries: &[Entry<'_>]) -> Result<Vec<u8>, TlvError> {
    let mut out = Vec::new();
    for entry in entries {
        write_top(&mut out, entry)?;
    }
    Ok(out)
}

fn write_top(out: &mut Vec<u8>, entry: &Entry<'_>) -> Result<(), TlvError> {
    match entry {
        Entry::Instance { id, resources } => {
            let mut inner = Vec::new();
            for resource in resources {
                match resource {
                    Entry::Resource { .. } | Entry::Multiple { .. } => {
                        write_top(&mut inner, resource)?;
                    }
                    Entry::Instance { id, .. } => {
                        return Err(Kind::Instance.misplaced(*id, Kind::Instance));
                    }
                    Entry::ResourceInstance { id, .. } => {
                        return Err(Kind::ResourceInstance.misplaced(*id, Kind::Instance));
                    }
                }
            }
            write(out, Kind::Instance, *id, &inner)
        }
        Entry::Resource { id, value } => write(out, Kind::Resource, *id, value),
        Entry::Multiple { id, values } => {
            let mut inner = Vec::new();
            for (id, value) in values {
                write(&mut inner, Kind::ResourceInstance, *id, value)?;
            }
            write(out, Kind::Multiple, *id, &inner)
        }
        Entry::ResourceInstance { id, value } => write(out, Kind::ResourceInstance, *id, value),
    }
}

fn write(out: &mut Vec<u8>, kind: Kind, id: u16, value: &[u8]) -> Result<(), TlvError> {
    let len = value.len();
    let error = TlvError::TooLong { len };
    let [_, b, c, d] = u32::try_from(len).map_err(|_| error)?.to_be_bytes();
    let (length_bits, length): (u8, &[u8]) = match len {
        0..=7 => (d, &[]),
        8..=0xff => (1 << 3, &[d]),
        0x100..=0xffff => (2 << 3, &[c, d]),
        0x1_0000..=VALUE_MAX => (3 << 3, &[b, c, d]),
        _ => return Err(error),
    };
    let [high, low] = id.to_be_bytes();
    let (id_bit, id): (u8, &[u8]) = if high == 0 {
        (0, &[low])
    } else {
        (1 << 5, &[high, low])
    };
    out.push((kind.to_bits() << 6) | id_bit | length_bits);
    out.extend_from_slice(id);
    out.extend_from_slice(length);
    out.extend_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An entry that owns its values, to be borrowed from.
    type Values = Vec<(u16, Vec<u8>)>;

    #[derive(Debug, Clone)]
    enum Tree {
        Instance(u16, Vec<Self>),
        Resource(u16, Vec<u8>),
        Multiple(u16, Values),
        ResourceInstance(u16, Vec<u8>),
    }

    impl Tree {
        fn entry(&self) -> Entry<'_> {
            match self {
                Self::Instance(id, trees) => Entry::Instance {
                    id: *id,
                    resources: trees.iter().map(Self::entry).collect(),
                },
                Self::Resource(id, value) => Entry::Resource { id: *id, value },
                Self::Multiple(id, values) => Entry::Multiple {
                    id: *id,
                    values: values.iter().map(|(id, value)| (*id, &value[..])).collect(),
                },
                Self::ResourceInstance(id, value) => Entry::ResourceInstance { id: *id, value },
            }
        }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let bytes = |size| prop::collection::vec(any::<u8>(), size);
        prop_oneof![bytes(0..10), bytes(250..260)]
    }

    fn resource() -> impl Strategy<Value = Tree> {
        let values = prop::collection::vec((any::<u16>(), value()), 0..4);
        prop_oneof![
            (any::<u16>(), value()).prop_map(|(id, value)| Tree::Resource(id, value)),
            (any::<u16>(), values).prop_map(|(id, values)| Tree::Multiple(id, values)),
        ]
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let resources = prop::collection::vec(resource(), 0..4);
        prop_oneof![
            resource(),
            (any::<u16>(), value()).prop_map(|(id, value)| Tree::ResourceInstance(id, value)),
            (any::<u16>(), resources).prop_map(|(id, trees)| Tree::Instance(id, trees)),
        ]
    }

    #[test]
    fn lengths_at_the_edges_of_their_forms() {
        for (len, header) in [
            (7, &[0xc7, 1][..]),
            (8, &[0xc8, 1, 8]),
            (255, &[0xc8, 1, 255]),
            (256, &[0xd0, 1, 1, 0]),
            (65535, &[0xd0, 1, 255, 255]),
            (65536, &[0xd8, 1, 1, 0, 0]),
        ] {
            let value = vec![0x5a; len];
            let entry = Entry::Resource {
                id: 1,
                value: &value,
            };
            let bytes = encode(std::slice::from_ref(&entry)).unwrap();
            assert_eq!(&bytes[..header.len()], header);
            assert_eq!(decode(&bytes).unwrap(), [entry]);
        }
        let value = vec![0; VALUE_MAX + 1];
        let error = encode(&[Entry::Resource {
            id: 1,
            value: &value,
        }])
        .unwrap_err();
        assert_eq!(error.kind(), "tlv_too_long");
    }

    #[test]
    fn what_can_not_be_read_is_not_written() {
        let inner = Entry::ResourceInstance { id: 1, value: &[1] };
        let entry = Entry::Instance {
            id: 0,
            resources: vec![inner],
        };
        assert_eq!(encode(&[entry]).unwrap_err().kind(), "tlv_misplaced");
        let inner = Entry::Instance {
            id: 1,
            resources: vec![],
        };
        let entry = Entry::Instance {
            id: 0,
            resources: vec![inner],
        };
        assert_eq!(encode(&[entry]).unwrap_err().kind(), "tlv_misplaced");
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(entries) = decode(&bytes) {
                // Other forms of ids and lengths are read, the shortest are written.
                let shortest = encode(&entries).unwrap();
                prop_assert!(shortest.len() <= bytes.len());
                prop_assert_eq!(decode(&shortest).unwrap(), entries);
            }
            prop_assert!(unwrap_opaque(&bytes).is_err() || decode(&bytes).is_ok());
        }

        #[test]
        fn reads_what_it_wrote(trees in prop::collection::vec(tree(), 0..5)) {
            let entries: Vec<_> = trees.iter().map(Tree::entry).collect();
            let bytes = encode(&entries).unwrap();
            prop_assert_eq!(decode(&bytes).unwrap(), entries);
        }
    }
}
