//! The LwM2M registration interface (OMA LwM2M 1.0 to 1.2, "Client Registration"), as devices
//! really use it: what the query of a Register or Update says.
//!
//! Everything but `ep` is optional, unknown keys are ignored, values may be quoted. Fixtures with
//! every oddity seen in the field: `fixtures/lwm2m/registrations.tsv`.

use crate::base::ids::{IdError, NodeId};
use crate::base::time::Timestamp;

/// What a device that names no lifetime gets (LwM2M 1.0 §5.3.1).
pub const DEFAULT_LIFETIME_S: u32 = 86_400;

/// An update sent in the last moment may still be retransmitted for so long (RFC 7252 §4.8.2 with
/// 15 s and two retransmissions).
pub const LIFETIME_GRACE_S: u64 = 158;

/// Longest link list that is kept, in bytes.
pub const LINKS_MAX: usize = 4096;

/// What a Register says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    pub node_id: NodeId,
    /// As the device spells it.
    pub endpoint: String,
    pub lifetime_s: u32,
    pub version: Version,
    /// `U` when absent.
    pub binding: String,
    /// The device listens only after it has sent something.
    pub queue_mode: bool,
}

/// What an Update says: only what changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    pub lifetime_s: Option<u32>,
    pub binding: Option<String>,
    pub queue_mode: Option<bool>,
}

/// An LwM2M version that the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1_0,
    V1_1,
    V1_2,
}

impl Version {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }
}

/// Why a registration is refused before its device is looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    #[error("ep is missing")]
    NoEndpoint,
    #[error("ep {0}")]
    Endpoint(IdError),
    /// Answered 4.12: clients step down to an older version only on that.
    #[error("lwm2m is {0:?}, the server speaks 1.0, 1.1 and 1.2")]
    Version(String),
}

impl RegisterError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "no_endpoint",
            Self::Endpoint(_) => "endpoint",
            Self::Version(_) => "version",
        }
    }
}

impl Register {
    /// Reads the query of `POST /rd` or `POST /t/r`.
    pub fn parse<'a>(query: impl Iterator<Item = &'a str>) -> Result<Self, RegisterError> {
        let mut seen = Query::default();
        query.for_each(|pair| seen.add(pair));
        let endpoint = seen.endpoint.ok_or(RegisterError::NoEndpoint)?;
        let version = match seen.version {
            None | Some("1.0" | "1") => Version::V1_0,
            Some("1.1") => Version::V1_1,
            Some("1.2") => Version::V1_2,
            Some(other) => return Err(RegisterError::Version(other.to_owned())),
        };
        Ok(Self {
            node_id: NodeId::from_endpoint(endpoint).map_err(RegisterError::Endpoint)?,
            endpoint: endpoint.to_owned(),
            lifetime_s: seen.lifetime_s.unwrap_or(DEFAULT_LIFETIME_S),
            version,
            binding: seen.binding.unwrap_or("U").to_owned(),
            queue_mode: seen.queue_mode(),
        })
    }
}

impl Update {
    /// Reads the query of `POST /rd/<location>`.
    pub fn parse<'a>(query: impl Iterator<Item = &'a str>) -> Self {
        let mut seen = Query::default();
        query.for_each(|pair| seen.add(pair));
        Self {
            lifetime_s: seen.lifetime_s,
            binding: seen.binding.map(str::to_owned),
            queue_mode: seen.binding.is_some().then(|| seen.queue_mode()),
        }
    }
}

#[derive(Default)]
struct Query<'a> {
    endpoint: Option<&'a str>,
    lifetime_s: Option<u32>,
    version: Option<&'a str>,
    binding: Option<&'a str>,
    queue: bool,
    sleeps: bool,
}

impl<'a> Query<'a> {
    fn add(&mut self, pair: &'a str) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.trim().trim_matches('"');
        match key {
            "ep" => self.endpoint = Some(value),
            // One that is no number counts as absent: a device in the field can't be mended.
            "lt" => self.lifetime_s = value.parse().ok(),
            "lwm2m" => self.version = Some(value),
            "b" => self.binding = Some(value),
            "Q" => self.queue = true,
            "apn" => self.sleeps = is_sleeping_apn(value),
            _ => {}
        }
    }

    /// 1.0 writes `b=UQ`, 1.1 a bare `Q`; some modules sleep whatever they write.
    fn queue_mode(&self) -> bool {
        self.queue || self.sleeps || self.binding.is_some_and(|b| b.contains('Q'))
    }
}

/// Module vendors write the power saving mode into the access point name: `Ctnb`,
/// `psmA.eDRX0.ctnb`, `psmC.eDRX0.ctnb`; `Psm0.eDRX0` means without.
fn is_sleeping_apn(apn: &str) -> bool {
    let apn = apn.to_ascii_lowercase();
    apn == "ctnb" || (apn.starts_with("psm") && !apn.starts_with("psm0"))
}

/// When a registration ends if nothing more is heard; `None`: never (LwM2M 1.1, lifetime 0).
pub fn expires_at(updated_at: Timestamp, lifetime_s: u32) -> Option<Timestamp> {
    (lifetime_s > 0).then(|| updated_at.plus_s(u64::from(lifetime_s) + LIFETIME_GRACE_S))
}

/// A location as it stands in `/rd/<location>`: 13 characters, base 32 without look-alikes.
pub fn location_text(location: u64) -> String {
    let digit = |shift: u32| {
        let index = usize::try_from((location >> shift) & 31).unwrap_or(0);
        ALPHABET.get(index).copied().map_or('0', char::from)
    };
    (0..13).rev().map(|i| digit(i * 5)).collect()
}

/// Reads a location back; `None` for anything that [`location_text`] does not write.
pub fn parse_location(text: &str) -> Option<u64> {
    if text.len() != 13 {
        return None;
    }
    let mut location = 0u64;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|a| *a == byte)?;
        location = location.checked_mul(32)?.checked_add(digit as u64)?;
    }
    Some(location)
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_read_back() {
        for location in [0, 1, 31, 32, u64::MAX, 0x0123_4567_89ab_cdef] {
            let text = location_text(location);
            assert_eq!(text.len(), 13);
            assert_eq!(parse_location(&text), Some(location));
        }
        for text in [
            "",
            "0",
            "zzzzzzzzzzzzz",
            "00000000000u0",
            "0000000000000000",
        ] {
            assert_eq!(parse_location(text), None, "{text}");
        }
    }

    #[test]
    fn an_update_changes_only_what_it_names() {
        assert_eq!(Update::parse([].into_iter()), Update::default());
        let update = Update::parse(["lt=60", "b=UQ", "x"].into_iter());
        assert_eq!(
            (update.lifetime_s, update.queue_mode),
            (Some(60), Some(true))
        );
    }

    #[test]
    fn versions_beyond_ours_are_told_apart() {
        for version in ["1.3", "2.0", "x", ""] {
            let query = ["ep=a".to_owned(), format!("lwm2m={version}")];
            let error = Register::parse(query.iter().map(String::as_str)).unwrap_err();
            assert_eq!(error.kind(), "version");
        }
        assert_eq!(
            Register::parse(["lt=5"].into_iter()).unwrap_err().kind(),
            "no_endpoint"
        );
        assert_eq!(
            Register::parse(["ep=a b"].into_iter()).unwrap_err().kind(),
            "endpoint"
        );
    }
}
