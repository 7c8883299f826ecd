//! Where a device is in the network, as its connectivity object (LwM2M object 4) says it, or fails to.
//!
//! RSRP in dBm, SINR in dB. Coverage levels are the platform's: 0 is good, 2 is the edge of the cell; the
//! weaker of RSRP and SINR decides. The object's own coverage enhancement level (resource 13) counts otherwise:
//! 0 and 1 are level 0, 2 is level 1, 3 and 4 are level 2.

use super::objects::{Answer, Value, read};
use crate::sim::message;

/// NB-IoT.
const BEARER: i64 = 7;

/// What the connectivity object of a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CellObject {
    /// Version 1.0: no SINR.
    V1_0,
    /// SINR in resource 11.
    V1_1,
    /// Version 1.3: SINR and the coverage enhancement level.
    V1_3,
    /// Version 1.3 of a modem that does not tell its SINR.
    LevelOnly,
    /// RSRP and SINR are not there, the cell is.
    CellOnly,
    /// The whole can't be read (4.05), each resource can.
    Piecemeal,
    /// There is no such object.
    Absent,
}

impl CellObject {
    pub const ALL: [Self; 7] = [
        Self::V1_0,
        Self::V1_1,
        Self::V1_3,
        Self::LevelOnly,
        Self::CellOnly,
        Self::Piecemeal,
        Self::Absent,
    ];

    /// How the registration lists the object.
    pub(crate) const fn link(self) -> &'static str {
        match self {
            Self::V1_0 | Self::CellOnly => "</4/0>,",
            Self::V1_1 | Self::Piecemeal => "</4>;ver=1.1,</4/0>,",
            Self::V1_3 | Self::LevelOnly => "</4>;ver=\"1.3\",</4/0>,",
            Self::Absent => "",
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Radio {
    /// 28 bits.
    pub cell_id: u32,
    pub rsrp_dbm: i16,
    pub sinr_db: i16,
    /// 0 to 4.
    pub enhancement: u8,
    pub object: CellObject,
}

impl Radio {
    /// Values within a coverage level, 0 to 2, drawn by chance. Often one of the two is better than
    /// the level.
    #[must_use]
    pub fn drawn(rng: &mut fastrand::Rng, cell_id: u32, level: u8, object: CellObject) -> Self {
        let rsrp = |rng: &mut fastrand::Rng, level| match level {
            0 => rng.i16(-105..=-70),
            1 => rng.i16(-115..=-106),
            _ => rng.i16(-125..=-116),
        };
        let sinr = |rng: &mut fastrand::Rng, level| match level {
            0 => rng.i16(7..=25),
            1 => rng.i16(-3..=6),
            _ => rng.i16(-8..=-4),
        };
        let level = level.min(2);
        let better = rng.u8(..=level);
        let (of_rsrp, of_sinr) = if rng.bool() {
            (level, better)
        } else {
            (better, level)
        };
        Self {
            cell_id: cell_id & 0x0fff_ffff,
            rsrp_dbm: rsrp(rng, of_rsrp),
            sinr_db: sinr(rng, of_sinr),
            enhancement: match level {
                0 => rng.u8(..=1),
                1 => 2,
                _ => rng.u8(3..=4),
            },
            object,
        }
    }

    fn values(&self) -> Vec<(u8, Value)> {
        let object = self.object;
        let has_signal = object != CellObject::CellOnly;
        let has_sinr = has_signal && !matches!(object, CellObject::V1_0 | CellObject::LevelOnly);
        let has_level = matches!(object, CellObject::V1_3 | CellObject::LevelOnly);
        let number = |n: i64| Value::Number(n);
        let mut out = vec![
            (0, number(BEARER)),
            (1, Value::Numbers(vec![BEARER])),
            (2, number(i64::from(self.rsrp_dbm))),
            (3, number(-11)),
            (4, Value::Texts(vec!["10.64.0.7".to_owned()])),
            (7, Value::Texts(vec!["psmA.eDRX0.ctnb".to_owned()])),
            (8, number(i64::from(self.cell_id))),
            (9, number(11)),
            (10, number(460)),
            (11, number(i64::from(self.sinr_db))),
            (13, number(i64::from(self.enhancement))),
        ];
        out.retain(|(id, _)| match id {
            2 | 3 => has_signal,
            11 => has_sinr,
            13 => has_level,
            _ => true,
        });
        out
    }

    /// The answer to a read of the object.
    pub(crate) fn read(&self, resource: Option<u8>, accept: Option<u16>) -> Answer {
        match (self.object, resource) {
            (CellObject::Absent, _) => Answer::of(message::NOT_FOUND),
            (CellObject::Piecemeal, None) => Answer::of(message::NOT_ALLOWED),
            _ => read(&self.values(), resource, accept),
        }
    }
}

impl Default for Radio {
    fn default() -> Self {
        Self {
            cell_id: 1,
            rsrp_dbm: -90,
            sinr_db: 15,
            enhancement: 0,
            object: CellObject::V1_1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Bytes written by hand after the format's rules.
    #[test]
    fn each_version_of_the_object_says_what_it_has() {
        let radio = |object| Radio {
            cell_id: 0x0abc_def1,
            rsrp_dbm: -120,
            sinr_db: -5,
            enhancement: 3,
            object,
        };
        let start = "c100078301410007";
        let signal = "c10288c103f5";
        let middle = "88040c";
        let cell = "c4080abcdef1";
        let nets = "c1090bc20a01cc";
        let cases = [
            (CellObject::V1_0, true, ""),
            (CellObject::V1_1, true, "c10bfb"),
            (CellObject::V1_3, true, "c10bfbc10d03"),
            (CellObject::LevelOnly, true, "c10d03"),
            (CellObject::CellOnly, false, ""),
        ];
        for (object, has_signal, end) in cases {
            let answer = radio(object).read(None, None);
            assert_eq!((answer.code, answer.format), (0x45, Some(11542)));
            let body = hex(&answer.payload);
            assert!(body.starts_with(start), "{object:?}: {body}");
            assert_eq!(body.contains(signal), has_signal, "{object:?}: {body}");
            assert!(body.contains(middle) && body.contains(cell), "{body}");
            assert!(
                body.ends_with(&format!("{nets}{end}")),
                "{object:?}: {body}"
            );
        }
        for (object, code) in [(CellObject::Absent, 0x84), (CellObject::Piecemeal, 0x85)] {
            assert_eq!(radio(object).read(None, None).code, code);
        }
        let one = radio(CellObject::Piecemeal).read(Some(8), None);
        assert_eq!(hex(&one.payload), cell);
        let text = radio(CellObject::V1_1).read(Some(2), Some(0));
        assert_eq!((text.format, &text.payload[..]), (Some(0), &b"-120"[..]));
        assert_eq!(radio(CellObject::V1_0).read(Some(11), None).code, 0x84);
        assert_eq!(radio(CellObject::V1_0).read(None, Some(60)).code, 0x86);
    }

    #[test]
    fn drawn_values_are_of_their_level() {
        let mut rng = fastrand::Rng::with_seed(3);
        for n in 0..300u16 {
            let level = u8::try_from(n % 3).unwrap();
            let radio = Radio::drawn(&mut rng, 7, level, CellObject::V1_3);
            let of_rsrp = match radio.rsrp_dbm {
                -105.. => 0,
                -115..=-106 => 1,
                _ => 2,
            };
            let of_sinr = match radio.sinr_db {
                7.. => 0,
                -3..=6 => 1,
                _ => 2,
            };
            assert_eq!(of_rsrp.max(of_sinr), level, "{radio:?}");
        }
    }
}
