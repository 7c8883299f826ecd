//! What the sample products' firmware makes of a command: reads its bytes, carries it out and writes
//! the response, all by hand, as the rest of [`payload`](super).
//!
//! | product | command | response |
//! |---|---|---|
//! | water-meter | 81, mid, state; CRC | 82, mid, code (0 ok, 1 fail), valve; CRC |
//! | gas-meter | 68 81, mid, action; sum, 16 | 68 82, mid, code, state; sum, 16 |
//! | smoke-detector | 03, mid, value | 02, mid, errcode, value |
//! | street-light | 0201 or 0202, mid, value; CRC | 0301, mid, done; CRC |
//! | street-light | 0203, mid, name, count, entries; CRC | 0303, mid, code, stored; CRC |
//!
//! | product | property set | report of it |
//! |---|---|---|
//! | water-meter | 84, period, leak limit unless it stays; CRC | 04, period, leak limit; CRC |
//!
//! Two-byte ids of the street light come low byte first, and so does its mid. Commands without a
//! response (water-meter 83, gas-meter 83 and 84) are carried out silently. Bytes that are no command
//! of the product, or whose checksum is wrong, are `None`: firmware drops them.

use serde_json::{Value, json};

use super::{Product, Readings, gas_sum, with_modbus_crc, with_xmodem_crc};
use crate::sim::device::Reaction;

/// How it went, as the device tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    Done,
    Failed,
    /// Done, and the answer names another command: its mid is one too high.
    WrongMid,
}

/// A command as the firmware understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// 0 opens, 1 closes.
    WaterValve {
        mid: u16,
        state: u8,
    },
    WaterReport,
    /// Minutes, and hundredths of a cubic metre per hour.
    WaterSettings {
        period_min: u16,
        leak_limit: Option<u16>,
    },
    /// 0 closes, 1 opens, 2 locks.
    GasValve {
        mid: u16,
        action: u8,
    },
    GasOther,
    Alarm {
        mid: u16,
        value: u8,
    },
    Switch {
        mid: u16,
        is_on: bool,
    },
    Dim {
        mid: u16,
        percent: u8,
    },
    Schedule {
        mid: u16,
        entries: u8,
    },
}

impl Command {
    /// Reads the bytes that a device of this product was sent.
    pub fn read(product: Product, bytes: &[u8]) -> Option<Self> {
        match product {
            Product::WaterMeter => read_water(bytes),
            Product::GasMeter => read_gas(bytes),
            Product::SmokeDetector => match *bytes {
                [0x03, high, low, value] => Some(Self::Alarm {
                    mid: u16::from_be_bytes([high, low]),
                    value,
                }),
                _ => None,
            },
            Product::StreetLight => read_light(bytes),
            Product::ParkingSensor => None,
        }
    }

    /// The platform's correlation id; `None` where the command has none.
    pub const fn mid(self) -> Option<u16> {
        match self {
            Self::WaterValve { mid, .. }
            | Self::GasValve { mid, .. }
            | Self::Alarm { mid, .. }
            | Self::Switch { mid, .. }
            | Self::Dim { mid, .. }
            | Self::Schedule { mid, .. } => Some(mid),
            Self::WaterReport | Self::WaterSettings { .. } | Self::GasOther => None,
        }
    }

    /// The response; `None` where the product has none for it.
    pub fn response(self, verdict: Verdict) -> Option<Vec<u8>> {
        let is_done = verdict != Verdict::Failed;
        let code = u8::from(!is_done);
        let told = |mid: u16| match verdict {
            Verdict::WrongMid => mid.checked_add(1).unwrap_or(1),
            Verdict::Done | Verdict::Failed => mid,
        };
        match self {
            Self::WaterReport | Self::WaterSettings { .. } | Self::GasOther => None,
            Self::WaterValve { mid, state } => {
                let valve = if is_done { state } else { 3 }; // 3: fault
                let [high, low] = told(mid).to_be_bytes();
                Some(with_modbus_crc(vec![0x82, high, low, code, valve]))
            }
            Self::GasValve { mid, action } => {
                let state = if is_done && action == 2 { 2 } else { 0 };
                let [high, low] = told(mid).to_be_bytes();
                Some(gas_sum(vec![0x68, 0x82, high, low, code, state]))
            }
            Self::Alarm { mid, value } => {
                let [high, low] = told(mid).to_be_bytes();
                let value = if is_done { value } else { 0 };
                Some(vec![0x02, high, low, code, value])
            }
            Self::Switch { mid, .. } | Self::Dim { mid, .. } => {
                let [low, high] = told(mid).to_le_bytes();
                let response = vec![0x01, 0x03, low, high, u8::from(is_done)];
                Some(with_xmodem_crc(response))
            }
            Self::Schedule { mid, entries } => {
                let [low, high] = told(mid).to_le_bytes();
                let stored = if is_done { entries } else { 0 };
                let response = vec![0x03, 0x03, low, high, code, stored];
                Some(with_xmodem_crc(response))
            }
        }
    }
}

impl Product {
    /// Service, name and parameters of a command that the product's devices answer, if it has one.
    pub fn sample_command(self) -> Option<(&'static str, &'static str, Value)> {
        match self {
            Self::WaterMeter => Some(("WaterMeterBasic", "SET_VALVE", json!({"state": "closed"}))),
            Self::GasMeter => Some(("GasMeter", "VALVE", json!({"action": "close"}))),
            Self::SmokeDetector => Some(("smokerdector", "SET_ALARM", json!({"value": 1}))),
            Self::StreetLight => Some(("Light", "SWITCH", json!({"on": true}))),
            Self::ParkingSensor => None,
        }
    }

    /// Whether bytes that one of its devices sends are the answer to a command, and no report.
    pub fn is_response(self, bytes: &[u8]) -> bool {
        match self {
            Self::WaterMeter => bytes.first() == Some(&0x82),
            Self::GasMeter => bytes.get(1) == Some(&0x82),
            Self::SmokeDetector => bytes.first() == Some(&0x02),
            Self::StreetLight => bytes.get(1) == Some(&0x03),
            Self::ParkingSensor => false,
        }
    }
}

impl Readings {
    /// The firmware's reaction to a downlink. What a command that was done changes shows in the
    /// reports that follow.
    pub fn take(&mut self, bytes: &[u8], verdict: Verdict) -> Reaction {
        let Some(command) = Command::read(self.product, bytes) else {
            return Reaction::Nothing;
        };
        if verdict != Verdict::Failed {
            self.apply(command);
        }
        match command {
            Command::WaterSettings { .. } if verdict == Verdict::Failed => Reaction::Nothing,
            Command::WaterSettings { .. } => Reaction::Report(self.water_settings()),
            _ => command
                .response(verdict)
                .map_or(Reaction::Nothing, Reaction::Answer),
        }
    }

    /// Sent when they change.
    fn water_settings(&self) -> Vec<u8> {
        let [period_high, period_low] = self.period_min.to_be_bytes();
        let [limit_high, limit_low] = self.leak_limit.to_be_bytes();
        with_modbus_crc(vec![0x04, period_high, period_low, limit_high, limit_low])
    }

    const fn apply(&mut self, command: Command) {
        match command {
            Command::WaterValve { state, .. } => self.valve = state,
            Command::GasValve { action, .. } => self.valve = action,
            Command::Switch { is_on, .. } => self.brightness = Some(if is_on { 100 } else { 0 }),
            Command::Dim { percent, .. } => self.brightness = Some(percent),
            Command::WaterSettings {
                period_min,
                leak_limit,
            } => {
                self.period_min = period_min;
                if let Some(limit) = leak_limit {
                    self.leak_limit = limit;
                }
            }
            Command::WaterReport
            | Command::GasOther
            | Command::Alarm { .. }
            | Command::Schedule { .. } => {}
        }
    }
}

fn read_water(bytes: &[u8]) -> Option<Command> {
    let body = without_tail(bytes, 2, with_modbus_crc)?;
    match *body {
        [0x81, high, low, state @ 0..=1] => Some(Command::WaterValve {
            mid: u16::from_be_bytes([high, low]),
            state,
        }),
        [0x83, _, _] | [0x83, _, _, _, _, _, _] => Some(Command::WaterReport),
        [0x84, high, low] => Some(Command::WaterSettings {
            period_min: u16::from_be_bytes([high, low]),
            leak_limit: None,
        }),
        [0x84, high, low, limit_high, limit_low] => Some(Command::WaterSettings {
            period_min: u16::from_be_bytes([high, low]),
            leak_limit: Some(u16::from_be_bytes([limit_high, limit_low])),
        }),
        _ => None,
    }
}

fn read_gas(bytes: &[u8]) -> Option<Command> {
    let body = without_tail(bytes, 2, gas_sum)?;
    match *body {
        [0x68, 0x81, high, low, action @ 0..=2] => Some(Command::GasValve {
            mid: u16::from_be_bytes([high, low]),
            action,
        }),
        [0x68, 0x83 | 0x84, ..] => Some(Command::GasOther),
        _ => None,
    }
}

fn read_light(bytes: &[u8]) -> Option<Command> {
    let body = without_tail(bytes, 2, with_xmodem_crc)?;
    let [id, 0x02, low, high, rest @ ..] = body else {
        return None;
    };
    let mid = u16::from_le_bytes([*low, *high]);
    match (*id, rest) {
        (0x01, [flags]) => Some(Command::Switch {
            mid,
            is_on: flags & 1 == 1,
        }),
        (0x02, [percent] | [percent, _]) => Some(Command::Dim {
            mid,
            percent: *percent,
        }),
        // Eight bytes of name, then the count and three bytes for each entry.
        (0x03, rest) => {
            let entries = rest.get(8)? & 0x0f;
            let is_whole = rest.len() == 9 + 3 * usize::from(entries);
            is_whole.then_some(Command::Schedule { mid, entries })
        }
        _ => None,
    }
}

/// What stands before the checksum of `len` bytes, if that is right.
fn without_tail(bytes: &[u8], len: usize, complete: fn(Vec<u8>) -> Vec<u8>) -> Option<&[u8]> {
    let body = bytes.get(..bytes.len().checked_sub(len)?)?;
    (complete(body.to_vec()) == bytes).then_some(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
        let pairs = digits.chunks(2);
        pairs
            .map(|p| u8::try_from(p[0] << 4 | p[1]).unwrap())
            .collect()
    }

    /// Commands and responses are those of the sample codecs' own fixtures, where they have them.
    #[test]
    fn every_product_answers_its_commands() {
        use Product::{GasMeter, ParkingSensor, SmokeDetector, StreetLight, WaterMeter};
        let rows = [
            (
                WaterMeter,
                "81ffff019818",
                Some(65535),
                "82ffff0001",
                "82ffff0103",
            ),
            (WaterMeter, "83003c8039", None, "", ""),
            (
                GasMeter,
                "6881010202ee16",
                Some(258),
                "688201020002ef16",
                "688201020100ee16",
            ),
            (GasMeter, "68835f3251d19e16", None, "", ""),
            (
                SmokeDetector,
                "03000101",
                Some(1),
                "0200010001",
                "0200010100",
            ),
            (
                SmokeDetector,
                "03123400",
                Some(4660),
                "0212340000",
                "0212340100",
            ),
            (
                StreetLight,
                "01020100016028",
                Some(1),
                "0103010001169c",
                "0103010000",
            ),
            (
                StreetLight,
                "020201001e6d24",
                Some(1),
                "0103010001169c",
                "0103010000",
            ),
            (
                StreetLight,
                "0302010077696e746572000002c003646405146055",
                Some(1),
                "03030100000276c4",
                "03030100010065b7",
            ),
            (ParkingSensor, "1016dd0c50fb1ff9", None, "", ""),
        ];
        for (product, command, mid, done, failed) in rows {
            let read = Command::read(product, &bytes(command));
            assert_eq!(read.and_then(Command::mid), mid, "{product:?} {command}");
            for (verdict, want) in [(Verdict::Done, done), (Verdict::Failed, failed)] {
                let reaction = Readings::new(product, 1).take(&bytes(command), verdict);
                let got = match &reaction {
                    Reaction::Answer(answer) => answer.as_slice(),
                    _ => &[],
                };
                // Rows without a fixture's checksum are given without it.
                assert!(
                    got.starts_with(&bytes(want)),
                    "{product:?} {command} {got:02x?}"
                );
                assert_eq!(got.is_empty(), want.is_empty(), "{product:?} {command}");
                assert!(got.len() <= want.len() / 2 + 2);
            }
        }
    }

    #[test]
    fn broken_commands_are_dropped() {
        for (product, command) in [
            (Product::WaterMeter, "81ffff019819"),
            (Product::WaterMeter, ""),
            (Product::GasMeter, "6881010202ee17"),
            (Product::SmokeDetector, "030001"),
            (Product::StreetLight, "01020100016029"),
        ] {
            assert_eq!(Command::read(product, &bytes(command)), None, "{command}");
        }
    }

    #[test]
    fn what_was_done_shows_in_the_next_report() {
        let at = crate::base::time::Timestamp::from_ms(0);
        let mut meter = Readings::new(Product::WaterMeter, 1);
        meter.take(&bytes("81ffff019818"), Verdict::Failed);
        assert_eq!(meter.payload(at)[17] >> 4, 0);
        meter.take(&bytes("81ffff019818"), Verdict::Done);
        assert_eq!(meter.payload(at)[17] >> 4, 1);
        let mut light = Readings::new(Product::StreetLight, 1);
        light.take(&bytes("020201001e6d24"), Verdict::Done);
        assert_eq!(light.payload(at)[2], 30 << 1 | 1);
    }

    #[test]
    fn a_water_meter_reports_the_settings_that_it_was_given() {
        let mut meter = Readings::new(Product::WaterMeter, 1);
        let whole = with_modbus_crc(vec![0x84, 0, 15, 0, 120]);
        let period = with_modbus_crc(vec![0x84, 0, 30]);
        for (set, verdict, want) in [
            (&whole, Verdict::Failed, None),
            (&whole, Verdict::Done, Some([0x04, 0, 15, 0, 120])),
            (&period, Verdict::Done, Some([0x04, 0, 30, 0, 120])),
        ] {
            let reaction = meter.take(set, verdict);
            let want = want.map(|body| with_modbus_crc(body.to_vec()));
            assert_eq!(reaction, want.map_or(Reaction::Nothing, Reaction::Report));
        }
        let mut broken = whole;
        broken[1] ^= 1;
        assert_eq!(meter.take(&broken, Verdict::Done), Reaction::Nothing);
    }

    #[test]
    fn answers_and_reports_are_told_apart() {
        let at = crate::base::time::Timestamp::from_ms(0);
        for product in Product::ALL {
            for seed in 0..50 {
                let report = Readings::new(product, seed).payload(at);
                assert!(!product.is_response(&report), "{product:?} {report:02x?}");
            }
        }
        for (product, answer) in [
            (Product::WaterMeter, "82ffff0001"),
            (Product::GasMeter, "688201020002ef16"),
            (Product::SmokeDetector, "0200010001"),
            (Product::StreetLight, "0103010001169c"),
        ] {
            assert!(product.is_response(&bytes(answer)), "{product:?}");
        }
    }

    #[test]
    fn a_wrong_mid_is_another_one_but_never_zero() {
        for (mid, want) in [(1, 2), (65535, 1)] {
            let command = Command::Alarm { mid, value: 1 };
            let response = command.response(Verdict::WrongMid).unwrap();
            assert_eq!(response[1..3], u16::to_be_bytes(want));
            assert_eq!(response[3], 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for product in Product::ALL {
                Readings::new(product, 1).take(&bytes, Verdict::Done);
            }
        }
    }
}
