//! Values of flags: durations with a unit, probabilities, hex, server addresses. Each error says
//! what it got and what it takes.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::base::secret::Secret;

/// Why a flag's value is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("{0:?} is no duration, takes a number and ms, s, m, h or d: 500ms, 10s, 1.5h")]
    Duration(String),
    #[error("{0:?} is no probability, takes 0 to 1")]
    Probability(String),
    #[error("{0:?} is no hex, takes an even number of the digits 0-9 and a-f")]
    Hex(String),
    #[error("{0:?} is no address, takes HOST:PORT")]
    Address(String),
    #[error("{got:?} is no pre-shared key, takes 1 to 64 bytes as hex")]
    Psk { got: String },
    #[error("{0:?} is no package size, takes 1 byte to 16M: 65536, 64K, 1M")]
    PackageSize(String),
}

impl ValueError {
    /// Stable word; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Duration(_) => "duration",
            Self::Probability(_) => "probability",
            Self::Hex(_) => "hex",
            Self::Address(_) => "address",
            Self::Psk { .. } => "psk",
            Self::PackageSize(_) => "package_size",
        }
    }
}

/// Largest package of a simulated campaign; an hour at the best level is 3 MB.
const PACKAGE_MAX: u32 = 16 * 1024 * 1024;
/// Longest duration a flag takes: ten years.
const DURATION_MAX_S: f64 = 315_360_000.0;

/// `500ms`, `10s`, `2m`, `1.5h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || ValueError::Duration(text.to_owned());
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = number * scale;
    if !(0.0..=DURATION_MAX_S).contains(&seconds) {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// A duration that is not zero.
pub fn some_duration(text: &str) -> Result<Duration, ValueError> {
    duration(text).and_then(|d| {
        if d.is_zero() {
            Err(ValueError::Duration(text.to_owned()))
        } else {
            Ok(d)
        }
    })
}

/// Bytes of a package: `65536`, `64K`, `1M`.
pub fn package_size(text: &str) -> Result<u32, ValueError> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (text.get(..text.len() - 1), 1024),
        Some(b'M' | b'm') => (text.get(..text.len() - 1), 1024 * 1024),
        _ => (Some(text), 1),
    };
    let bytes = number.and_then(|n| n.parse::<u32>().ok());
    let bytes = bytes.and_then(|n| n.checked_mul(unit));
    bytes
        .filter(|bytes| (1..=PACKAGE_MAX).contains(bytes))
        .ok_or_else(|| ValueError::PackageSize(text.to_owned()))
}

pub fn probability(text: &str) -> Result<f64, ValueError> {
    let value: Option<f64> = text.parse().ok();
    let value = value.filter(|p| (0.0..=1.0).contains(p));
    value.ok_or_else(|| ValueError::Probability(text.to_owned()))
}

/// Bytes as hex digits, and hex digits as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

pub fn hex_bytes(text: &str) -> Result<HexBytes, ValueError> {
    let wrong = || ValueError::Hex(text.to_owned());
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits.filter(|d| d.len() % 2 == 0).ok_or_else(wrong)?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => high << 4 | low,
        _ => 0,
    });
    Ok(HexBytes(pairs.collect()))
}

/// Bytes as lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Longest pre-shared key in bytes (RFC 4279 §5.3 asks for 64 at least).
const PSK_MAX: usize = 64;
/// Stands for a missing value of `--psk`.
pub const EACH: &str = "each";

/// Keys of secured devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Psk {
    /// A random one for each.
    Each,
    /// This one for all.
    Shared(Secret<Vec<u8>>),
}

/// A key as hex digits, or [`EACH`].
pub fn psk(text: &str) -> Result<Psk, ValueError> {
    if text == EACH {
        return Ok(Psk::Each);
    }
    let key = hex_bytes(text).ok().map(|bytes| bytes.0);
    let key = key.filter(|key| (1..=PSK_MAX).contains(&key.len()));
    let key = key.ok_or_else(|| ValueError::Psk {
        got: text.to_owned(),
    })?;
    Ok(Psk::Shared(Secret::new(key)))
}

/// Where a server that speaks CoAP at `coap` speaks it secured, when nothing else is said.
pub const fn coaps_of(mut coap: SocketAddr) -> SocketAddr {
    const COAPS: u16 = 5684;
    coap.set_port(COAPS);
    coap
}

/// The first address of a host name and port.
pub fn address(text: &str) -> Result<SocketAddr, ValueError> {
    let mut found = text.to_socket_addrs().ok();
    let first = found.as_mut().and_then(Iterator::next);
    first.ok_or_else(|| ValueError::Address(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let cases = [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1.5h", Some(5_400_000)),
            ("2m", Some(120_000)),
            ("7d", Some(604_800_000)),
            ("0s", Some(0)),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1e300d", None),
            ("NaNs", None),
            ("5 weeks", None),
        ];
        for (text, ms) in cases {
            let got = duration(text).ok().map(|d| d.as_millis());
            assert_eq!(got, ms, "{text}");
        }
        assert!(some_duration("0s").is_err());
    }

    #[test]
    fn other_values_say_what_they_take() {
        assert_eq!(probability("0.05"), Ok(0.05));
        assert_eq!(probability("5%").unwrap_err().kind(), "probability");
        assert_eq!(probability("1.01").unwrap_err().kind(), "probability");
        assert_eq!(hex_bytes("00fF").unwrap().0, [0, 255]);
        assert_eq!(hex_bytes("0g").unwrap_err().kind(), "hex");
        assert_eq!(hex_bytes("123").unwrap_err().kind(), "hex");
        assert_eq!(to_hex(&[0, 255]), "00ff");
        assert_eq!(psk("each"), Ok(Psk::Each));
        assert_eq!(psk("00ff"), Ok(Psk::Shared(Secret::new(vec![0, 255]))));
        for wrong in ["", "0", "key", &"00".repeat(65)] {
            assert_eq!(psk(wrong).unwrap_err().kind(), "psk", "{wrong}");
        }
        for (text, bytes) in [("500", 500), ("64K", 65_536), ("1M", 1_048_576)] {
            assert_eq!(package_size(text), Ok(bytes));
        }
        for text in ["", "K", "0", "17M", "5000M", "1.5K", "é"] {
            let error = package_size(text).unwrap_err();
            assert_eq!(error.kind(), "package_size", "{text}");
        }
        let coap = address("127.0.0.1:5683").unwrap();
        assert_eq!(coaps_of(coap).to_string(), "127.0.0.1:5684");
        assert_eq!(address("127.0.0.1:5683").unwrap().port(), 5683);
        assert_eq!(address("127.0.0.1").unwrap_err().kind(), "address");
    }
}
