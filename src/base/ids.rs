//! Identifiers as newtypes, so that a node id is never taken for a device id.
//!
//! Each is a cheap clone (`Arc<str>`). Parsing checks length and alphabet once, at the boundary:
//! `[A-Za-z0-9_-]`, 1 to the type's `MAX_LEN` characters (the limits of the v5 API).

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::time::Timestamp;

/// The alphabet, as a regular expression.
pub const PATTERN: &str = "^[A-Za-z0-9_-]+$";

/// Why text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("is empty, takes 1 to {max} characters")]
    Empty { max: usize },
    #[error("has {len} characters, takes at most {max}")]
    TooLong { len: usize, max: usize },
    #[error("has the character {found:?}, takes letters, digits, '_' and '-'")]
    Character { found: char },
}

impl IdError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "empty",
            Self::TooLong { .. } => "too_long",
            Self::Character { .. } => "character",
        }
    }
}

fn check(text: &str, max: usize) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { max });
    }
    let len = text.chars().count();
    if len > max {
        return Err(IdError::TooLong { len, max });
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match text.chars().find(|c| !legal(*c)) {
        Some(found) => Err(IdError::Character { found }),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest text this id takes, in characters.
            pub const MAX_LEN: usize = $max;

            /// Checks length and alphabet.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, Self::MAX_LEN)?;
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let max = Self::MAX_LEN;
                json_schema!({
                    "type": "string", "pattern": PATTERN, "minLength": 1, "maxLength": max
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// The platform's name of a device, by default `<product_id>_<node_id>`.
    DeviceId,
    128
);
id!(
    /// What the device calls itself: the LwM2M endpoint name, an IMEI as a rule. Globally unique.
    NodeId,
    64
);
id!(
    /// A product: one model, one codec, many devices.
    ProductId,
    36
);
id!(
    /// A resource space of the v5 API.
    AppId,
    36
);
id!(
    /// A device group.
    GroupId,
    36
);
id!(
    /// A batch task.
    TaskId,
    36
);
id!(
    /// A file uploaded for batch tasks.
    FileId,
    36
);
id!(
    /// A firmware or software package.
    PackageId,
    36
);
id!(
    /// A CA certificate of devices.
    CertificateId,
    36
);
id!(
    /// A routing rule.
    RuleId,
    36
);
id!(
    /// An action of a routing rule.
    ActionId,
    36
);
id!(
    /// A backlog or flow-control policy.
    PolicyId,
    36
);
id!(
    /// A queue of the AMQP face.
    QueueId,
    36
);
id!(
    /// The key of an access code.
    AccessKey,
    36
);
id!(
    /// A CA certificate of subscribers: the `cert_id` of an action.
    PushCertificateId,
    36
);

/// A command: when it was created and its number, which is never given twice. Shown as a UUID of
/// version 7 (RFC 9562 §5.7): 48 bits of ms, then the number in the place of its counter and chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandId {
    pub created_at: Timestamp,
    pub seq: u64,
}

impl CommandId {
    const SEQ_BITS: u64 = 62;

    /// Reads what `Display` wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let dashes = [8, 13, 18, 23];
        let is_uuid = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(i, b)| match dashes.contains(&i) {
                    true => b == b'-',
                    false => b.is_ascii_hexdigit(),
                });
        if !is_uuid {
            return None;
        }
        let hex: String = text.chars().filter(|c| *c != '-').collect();
        let bits = u128::from_str_radix(&hex, 16).ok()?;
        let ms = u64::try_from(bits >> 80).ok()?;
        let seq = u64::try_from(bits & ((1 << Self::SEQ_BITS) - 1)).ok()?;
        let id = Self {
            created_at: Timestamp::from_ms(ms),
            seq,
        };
        (id.bits() == bits).then_some(id)
    }

    fn bits(self) -> u128 {
        let ms = u128::from(self.created_at.as_ms() & ((1 << 48) - 1));
        let seq = u128::from(self.seq & ((1 << Self::SEQ_BITS) - 1));
        ms << 80 | 7 << 76 | 0b10 << 62 | seq
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.bits());
        let mut at = 0;
        for (i, len) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            let part = hex.get(at..at + len).unwrap_or_default();
            let dash = if i > 0 { "-" } else { "" };
            write!(f, "{dash}{part}")?;
            at += len;
        }
        Ok(())
    }
}

impl AppId {
    /// The resource space of what names none.
    pub fn default_space() -> Self {
        Self("default".into())
    }
}

impl NodeId {
    /// Reads an LwM2M endpoint name as a node id: an IMEI as is, or `urn:imei:…`,
    /// `urn:imei-imsi:IMEI-IMSI` (the IMEI counts), `urn:dev:…` with or without its scheme
    /// (RFC 9039), as modules in the field write them.
    pub fn from_endpoint(endpoint: &str) -> Result<Self, IdError> {
        let lower = endpoint.to_ascii_lowercase();
        let strip = |prefix: &str| {
            lower
                .starts_with(prefix)
                .then(|| endpoint.get(prefix.len()..).unwrap_or_default())
        };
        let node = if let Some(rest) = strip("urn:imei:") {
            rest
        } else if let Some(rest) = strip("urn:imei-imsi:") {
            rest.split('-').next().unwrap_or(rest)
        } else if let Some(rest) = strip("urn:dev:") {
            rest.rsplit(':').next().unwrap_or(rest)
        } else {
            endpoint
        };
        Self::parse(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_ids_read_back() {
        let id = |ms, seq| CommandId {
            created_at: Timestamp::from_ms(ms),
            seq,
        };
        for id in [
            id(0, 0),
            id(1_790_000_000_000, 4097),
            id((1 << 48) - 1, (1 << 62) - 1),
        ] {
            assert_eq!(CommandId::parse(&id.to_string()), Some(id), "{id}");
        }
        let text = id(1_790_000_000_000, 4097).to_string();
        assert_eq!(text, "01a0c450-6c00-7000-8000-000000001001");
        for wrong in [
            "",
            "x",
            "01a0c450-6c00-4000-8000-000000001001",
            &text.replace('-', "0"),
        ] {
            assert_eq!(CommandId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn endpoint_names_become_node_ids() {
        let cases = [
            ("867725038317248", "867725038317248"),
            ("urn:imei:867725038317248", "867725038317248"),
            ("URN:IMEI:867725038317248", "867725038317248"),
            (
                "urn:imei-imsi:867725038317248-460012345678901",
                "867725038317248",
            ),
            ("urn:dev:os:32473-123456", "32473-123456"),
            ("urn:dev:ops:32473-Meter-5067", "32473-Meter-5067"),
            ("meter_7", "meter_7"),
        ];
        for (endpoint, node) in cases {
            assert_eq!(
                NodeId::from_endpoint(endpoint).unwrap().as_str(),
                node,
                "{endpoint}"
            );
        }
        for endpoint in ["", "urn:imei:", "a b", "näh", &"9".repeat(65)] {
            assert!(NodeId::from_endpoint(endpoint).is_err(), "{endpoint}");
        }
    }
}
