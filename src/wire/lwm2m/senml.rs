//! Payloads of LwM2M 1.1 and later: SenML (RFC 8428) in JSON (110) and CBOR (112), the JSON of LwM2M
//! 1.0 (11543), the CBOR of 1.2 (11544) and a single CBOR value (60). Reading alone: what is written
//! to devices is text or TLV.
//!
//! ```text
//! SenML JSON   [{"bn":"/4/0/","n":"2","v":-95},{"n":"8","v":12345},{"n":"4/0","vs":"10.0.0.1"}]
//! SenML CBOR   the same with labels: bn -2, n 0, v 2, vs 3, vb 4, vd 8
//! 1.0 JSON     {"bn":"/4/0/","e":[{"n":"2","v":-95}]}, text "sv", flags "bv"
//! 1.2 CBOR     {[4, 0]: {2: -95, 8: 12345}}
//! ```
//! A base name holds for all entries that follow. Entries without a value of a known kind are passed
//! over. Errors: [`SenmlError`].

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::path::Path;
use crate::base::cbor;
use crate::wire::coap::ContentFormat;

/// Entries of a payload; more are refused.
const ENTRIES_MAX: usize = 256;

/// A value, as the payload types it.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Integer(i64),
    Number(f64),
    Flag(bool),
    Text(String),
    Bytes(Vec<u8>),
}

/// Why a payload can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SenmlError {
    #[error("content format {0} is not one of 60, 110, 112, 11543, 11544")]
    Format(u16),
    #[error("{0}")]
    Syntax(String),
    #[error("the payload is no list of entries")]
    Shape,
    #[error("the payload has more than {ENTRIES_MAX} entries")]
    TooMany,
}

impl SenmlError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Format(_) => "format",
            Self::Syntax(_) => "syntax",
            Self::Shape => "shape",
            Self::TooMany => "too_many",
        }
    }
}

/// What a payload, the answer to a read or an observation of `asked`, holds: places and values in
/// their order.
pub fn read(
    format: ContentFormat,
    asked: Path,
    payload: &[u8],
) -> Result<Vec<(Path, Scalar)>, SenmlError> {
    let node = match format.modern() {
        ContentFormat(110 | 11543) => {
            serde_json::from_slice(payload).map_err(|e| SenmlError::Syntax(e.to_string()))?
        }
        ContentFormat(60 | 112 | 11544) => {
            cbor::decode(payload).map_err(|e| SenmlError::Syntax(e.to_string()))?
        }
        ContentFormat(other) => return Err(SenmlError::Format(other)),
    };
    let mut found = Found::default();
    match (format.modern().0, node) {
        (60, node) => found.put(Some(asked), node.scalar())?,
        (11544, Node::Map(map)) => found.nested(&mut Vec::new(), map)?,
        (11543, Node::Map(map)) => {
            let base = text_at(&map, &Key::Name("bn")).unwrap_or_default();
            let Some(Node::List(entries)) = at(map, &Key::Name("e")) else {
                return Err(SenmlError::Shape);
            };
            found.entries(base, entries)?;
        }
        (_, Node::List(entries)) => found.entries(String::new(), entries)?,
        (_, _) => return Err(SenmlError::Shape),
    }
    Ok(found.0)
}

#[derive(Default)]
struct Found(Vec<(Path, Scalar)>);

impl Found {
    fn put(&mut self, path: Option<Path>, value: Option<Scalar>) -> Result<(), SenmlError> {
        if self.0.len() >= ENTRIES_MAX {
            return Err(SenmlError::TooMany);
        }
        self.0.extend(path.zip(value));
        Ok(())
    }

    fn entries(&mut self, mut base: String, entries: Vec<Node>) -> Result<(), SenmlError> {
        for entry in entries {
            let Node::Map(map) = entry else {
                return Err(SenmlError::Shape);
            };
            if let Some(name) =
                text_at(&map, &Key::Name("bn")).or_else(|| text_at(&map, &Key::Label(-2)))
            {
                base = name;
            }
            let name = text_at(&map, &Key::Name("n")).or_else(|| text_at(&map, &Key::Label(0)));
            let path = Path::parse(&format!("{base}{}", name.unwrap_or_default())).ok();
            let mut value = None;
            for (key, node) in map {
                let is_value = match &key {
                    Node::Text(name) => {
                        matches!(name.as_str(), "v" | "vs" | "vb" | "vd" | "sv" | "bv")
                    }
                    Node::Integer(label) => matches!(label, 2 | 3 | 4 | 8),
                    _ => false,
                };
                if is_value {
                    value = node.scalar();
                }
            }
            self.put(path, value)?;
        }
        Ok(())
    }

    /// Maps in maps: each key is one segment of the path, or several in a list.
    fn nested(&mut self, above: &mut Vec<u16>, map: Vec<(Node, Node)>) -> Result<(), SenmlError> {
        for (key, node) in map {
            let depth = above.len();
            let keys = match key {
                Node::List(keys) => keys,
                key => vec![key],
            };
            for key in keys {
                let Node::Integer(id) = key else {
                    return Err(SenmlError::Shape);
                };
                above.push(u16::try_from(id).map_err(|_| SenmlError::Shape)?);
            }
            match node {
                Node::Map(inner) if above.len() < 4 => self.nested(above, inner)?,
                Node::Map(_) => return Err(SenmlError::Shape),
                value => {
                    let path = match *above.as_slice() {
                        [o, i, r] => Some(Path::Resource(o, i, r)),
                        [o, i, r, part] => Some(Path::ResourceInstance(o, i, r, part)),
                        _ => None,
                    };
                    self.put(path, value.scalar())?;
                }
            }
            above.truncate(depth);
        }
        Ok(())
    }
}

/// A field's name in JSON, or its label in CBOR.
enum Key {
    Name(&'static str),
    Label(i64),
}

fn is_key(node: &Node, key: &Key) -> bool {
    match (node, key) {
        (Node::Text(text), Key::Name(name)) => text == name,
        (Node::Integer(got), Key::Label(label)) => got == label,
        _ => false,
    }
}

fn at(map: Vec<(Node, Node)>, key: &Key) -> Option<Node> {
    map.into_iter()
        .find(|(k, _)| is_key(k, key))
        .map(|(_, v)| v)
}

fn text_at(map: &[(Node, Node)], key: &Key) -> Option<String> {
    let (_, value) = map.iter().find(|(k, _)| is_key(k, key))?;
    match value {
        Node::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// JSON or CBOR, whatever its shape.
#[derive(Debug, PartialEq)]
enum Node {
    Null,
    Integer(i64),
    Number(f64),
    Flag(bool),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Node {
    fn scalar(self) -> Option<Scalar> {
        match self {
            Self::Integer(number) => Some(Scalar::Integer(number)),
            Self::Number(number) => Some(Scalar::Number(number)),
            Self::Flag(flag) => Some(Scalar::Flag(flag)),
            Self::Text(text) => Some(Scalar::Text(text)),
            Self::Bytes(bytes) => Some(Scalar::Bytes(bytes)),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^63 nothing is counted")]
        Ok(i64::try_from(number).map_or(Node::Number(number as f64), Node::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Node, E> {
        Ok(Node::Bytes(bytes.to_vec()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [u16; 5] = [60, 110, 112, 11543, 11544];

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// The same radio in each format: RSRP -95, cell 12345, an address.
    #[test]
    fn every_format_is_read() {
        let resource = |r| Path::Resource(4, 0, r);
        let want = vec![
            (resource(2), Scalar::Integer(-95)),
            (resource(8), Scalar::Integer(12345)),
            (
                Path::ResourceInstance(4, 0, 4, 0),
                Scalar::Text("10.0.0.1".to_owned()),
            ),
        ];
        let json =
            br#"[{"bn":"/4/0/","n":"2","v":-95},{"n":"8","v":12345},{"n":"4/0","vs":"10.0.0.1"}]"#;
        let old = br#"{"bn":"/4/0/","e":[{"n":"2","v":-95},{"n":"8","v":12345},{"n":"4/0","sv":"10.0.0.1"}]}"#;
        let senml = unhex(
            "83 a3 21 65 2f342f302f 00 61 32 02 38 5e a2 00 61 38 02 19 3039 \
             a2 00 63 342f30 03 68 31302e302e302e31",
        );
        let nested = unhex("a1 82 04 00 a3 02 38 5e 08 19 3039 04 a1 00 68 31302e302e302e31");
        let asked = Path::Instance(4, 0);
        for (format, payload) in [
            (110, &json[..]),
            (11543, &old[..]),
            (112, &senml),
            (11544, &nested),
        ] {
            let got = read(ContentFormat(format), asked, payload);
            assert_eq!(got.as_ref(), Ok(&want), "{format}");
        }
        let one = read(ContentFormat(60), resource(8), &unhex("193039"));
        assert_eq!(one, Ok(vec![(resource(8), Scalar::Integer(12345))]));
    }

    #[test]
    fn what_is_no_payload_says_so() {
        let cases = [
            (110, &b"{}"[..], "shape"),
            (110, b"[1]", "shape"),
            (110, b"[", "syntax"),
            (11543, b"{\"bn\":\"/4\"}", "shape"),
            (11544, b"\xa1\x61\x61\x01", "shape"),
            (42, b"", "format"),
        ];
        for (format, payload, kind) in cases {
            let got = read(ContentFormat(format), Path::Instance(4, 0), payload);
            assert_eq!(got.unwrap_err().kind(), kind, "{format} {payload:?}");
        }
        let many = format!(
            "[{}]",
            vec![r#"{"n":"/4/0/2","v":1}"#; ENTRIES_MAX + 1].join(",")
        );
        let got = read(ContentFormat(110), Path::Instance(4, 0), many.as_bytes());
        assert_eq!(got, Err(SenmlError::TooMany));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for format in FORMATS {
                drop(read(ContentFormat(format), Path::Instance(4, 0), &bytes));
            }
        }
    }
}
