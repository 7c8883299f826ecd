//! Plausible bytes of the sample products, written by hand here, so that the server's codecs are
//! checked by something that shares nothing with them.
//!
//! | product | frame |
//! |---|---|
//! | water-meter | id, fields, CRC-16/MODBUS low byte first: report (1) or alarm (2) |
//! | gas-meter | 68, id, serial, tag-length-value entries, sum of the bytes before, 16 |
//! | smoke-detector | id 0, level, temperature |
//! | street-light | little-endian: id, fields, CRC-16/XMODEM high byte first |
//! | parking-sensor | bit fields, 7 or 8 bytes, no id |
//!
//! Readings drift as in the field: volumes only grow, lamps burn at night, cars come and go. What
//! the products make of commands is in `command`; devices that speak JSON are in `json`.

mod command;
mod json;

use crate::base::time::Timestamp;
pub use command::{Command, Verdict};
pub use json::JsonDevice;

/// The sample products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    WaterMeter,
    GasMeter,
    SmokeDetector,
    StreetLight,
    ParkingSensor,
}

impl Product {
    pub const ALL: [Self; 5] = [
        Self::WaterMeter,
        Self::GasMeter,
        Self::SmokeDetector,
        Self::StreetLight,
        Self::ParkingSensor,
    ];

    /// Name of its folder under `codecs/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WaterMeter => "water-meter",
            Self::GasMeter => "gas-meter",
            Self::SmokeDetector => "smoke-detector",
            Self::StreetLight => "street-light",
            Self::ParkingSensor => "parking-sensor",
        }
    }
}

/// Readings of one device over time.
#[derive(Debug)]
pub struct Readings {
    product: Product,
    rng: fastrand::Rng,
    /// Reports so far.
    count: u32,
    serial: u32,
    /// Litres, or watt hours.
    total: u32,
    /// As the last command left it: of a water meter 0 open, 1 closed; of a gas meter 0 closed, 1 open,
    /// 2 locked.
    valve: u8,
    /// Percent, when a command said so.
    brightness: Option<u8>,
    /// Of a water meter: minutes between reports, and the flow that counts as a leak, in hundredths of
    /// a cubic metre per hour. The simulation's schedule does not follow the first.
    period_min: u16,
    leak_limit: u16,
}

impl Readings {
    pub fn new(product: Product, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            product,
            serial: rng.u32(..100_000_000),
            total: rng.u32(..1_000_000),
            rng,
            count: 0,
            valve: match product {
                Product::GasMeter => 1,
                _ => 0,
            },
            brightness: None,
            period_min: 60,
            leak_limit: 150,
        }
    }

    /// The bytes of the next report.
    pub fn payload(&mut self, at: Timestamp) -> Vec<u8> {
        self.count = self.count.wrapping_add(1);
        self.total = self.total.wrapping_add(self.rng.u32(..500));
        let unix_s = u32::try_from(at.as_ms() / 1000).unwrap_or(u32::MAX);
        match self.product {
            Product::WaterMeter if self.count.is_multiple_of(8) => self.water_alarm(unix_s),
            Product::WaterMeter => self.water_report(unix_s),
            Product::GasMeter => self.gas_report(unix_s),
            Product::SmokeDetector => self.smoke(),
            Product::StreetLight if self.count.is_multiple_of(4) => self.light_environment(),
            Product::StreetLight => self.light_status(),
            Product::ParkingSensor => self.parking(),
        }
    }

    fn water_report(&mut self, unix_s: u32) -> Vec<u8> {
        let flow = self.rng.i16(0..300);
        let (voltage, level) = (self.rng.u8(33..37), self.rng.u8(40..=100));
        let leak = u8::from(self.rng.u8(..) < 10); // now and then
        let flags = leak | self.valve << 4;
        let intervals: Vec<u16> = (0..self.rng.usize(..5))
            .map(|_| self.rng.u16(..400))
            .collect();
        let mut out = vec![0x01];
        out.extend(bcd(self.serial));
        out.extend(unix_s.to_be_bytes());
        out.extend(self.total.to_le_bytes());
        out.extend(flow.to_be_bytes());
        out.extend([voltage, level, flags]);
        out.push(u8::try_from(intervals.len()).unwrap_or(0));
        out.extend(intervals.iter().flat_map(|i| i.to_be_bytes()));
        with_modbus_crc(out)
    }

    fn water_alarm(&mut self, unix_s: u32) -> Vec<u8> {
        let alarm = self.rng.choice([1, 2, 3, 16, 17]).unwrap_or(1);
        let mut out = vec![0x02];
        out.extend(unix_s.to_be_bytes());
        out.extend([alarm, self.rng.u8(..2)]);
        with_modbus_crc(out)
    }

    fn gas_report(&mut self, unix_s: u32) -> Vec<u8> {
        let temperature = 400 + self.rng.u16(..300); // 0 to 30 degrees
        let pressure = 400 + self.rng.u16(..20); // 100 to 105 kPa
        let voltage = 3_300 + self.rng.u16(..400);
        let mut entries = Vec::new();
        entry(&mut entries, 0x01, &self.total.to_be_bytes());
        entry(&mut entries, 0x02, &temperature.to_be_bytes());
        entry(&mut entries, 0x03, &pressure.to_be_bytes());
        entry(&mut entries, 0x04, &voltage.to_be_bytes());
        if self.count.is_multiple_of(3) {
            let hours = 2 + self.rng.u32(..3);
            let mut history = unix_s.saturating_sub(hours * 3600).to_be_bytes().to_vec();
            history.push(60); // minutes
            for hour in 0..hours {
                let then = self.total.saturating_sub((hours - hour) * 40);
                history.extend(then.to_be_bytes());
            }
            entry(&mut entries, 0x10, &history);
        }
        let is_locked = self.valve == 2;
        let state = if is_locked { 2 } else { 0 };
        entry(&mut entries, 0x20, &[u8::from(self.valve == 1), state]);
        gas_frame(self.serial, &entries)
    }

    fn smoke(&mut self) -> Vec<u8> {
        let fire = self.rng.u8(..) < 16;
        let level = if fire { self.rng.u8(60..120) } else { 0 };
        let temperature = 15 + self.rng.u16(..15) + u16::from(level);
        let mut out = vec![0x00, level];
        out.extend(temperature.to_be_bytes());
        out
    }

    fn light_status(&mut self) -> Vec<u8> {
        let on = self.rng.bool();
        let by_itself = if on { self.rng.u8(20..=100) } else { 0 };
        let brightness = self.brightness.unwrap_or(by_itself).min(100);
        let on = brightness > 0;
        let power = u16::from(brightness) * 6; // tenths of a watt
        let runtime_s = u64::from(self.total) * 36;
        let faults: &[u8] = if self.rng.u8(..) < 16 { &[3] } else { &[] };
        light_status(
            [u8::from(on), brightness],
            power,
            self.total,
            runtime_s,
            faults,
        )
    }

    fn light_environment(&mut self) -> Vec<u8> {
        let lux = self.rng.f32() * 900.0;
        let mut out = vec![0x02, 0x01, 0x02, 0x00];
        out.extend(self.serial.to_le_bytes());
        out.extend(lux.to_le_bytes());
        out.extend(self.rng.i8(-10..35).to_le_bytes());
        with_xmodem_crc(out)
    }

    fn parking(&mut self) -> Vec<u8> {
        let occupied = self.rng.bool();
        let axes = [(); 3].map(|()| self.rng.i32(-512..512));
        let (level, duration) = (self.rng.u16(50..=100), self.rng.u16(..512));
        let temperature = self.rng.bool().then(|| self.rng.i8(-20..70));
        parking(occupied, level, duration, axes, temperature)
    }
}

/// Eight decimal digits, two in each byte.
fn bcd(serial: u32) -> [u8; 4] {
    let mut rest = serial;
    let mut out = [0; 4];
    for byte in out.iter_mut().rev() {
        let [.., pair] = (rest % 100).to_be_bytes();
        *byte = ((pair / 10) << 4) | (pair % 10);
        rest /= 100;
    }
    out
}

fn entry(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    out.extend(value.iter().take(255));
}

/// The serial has twelve digits, of which eight are used.
fn gas_frame(serial: u32, entries: &[u8]) -> Vec<u8> {
    let mut out = vec![0x68, 0x01, 0x00, 0x00];
    out.extend(bcd(serial));
    out.extend(entries);
    gas_sum(out)
}

/// The sum of the bytes before it, and 16.
fn gas_sum(mut out: Vec<u8>) -> Vec<u8> {
    let sum = out.iter().fold(0u8, |sum, b| sum.wrapping_add(*b));
    out.extend([sum, 0x16]);
    out
}

/// `lamp` is on (0 or 1) and brightness in percent; tenths of a watt, watt hours, seconds.
fn light_status(lamp: [u8; 2], power: u16, energy: u32, runtime_s: u64, faults: &[u8]) -> Vec<u8> {
    let [on, brightness] = lamp;
    let mut out = vec![0x01, 0x01, on | brightness << 1];
    out.extend(power.to_le_bytes());
    out.extend(energy.to_le_bytes());
    out.extend(runtime_s.to_le_bytes());
    out.push(u8::try_from(faults.len()).unwrap_or(0));
    out.extend(faults);
    with_xmodem_crc(out)
}

fn parking(
    occupied: bool,
    level: u16,
    duration_min: u16,
    axes: [i32; 3],
    half_degrees: Option<i8>,
) -> Vec<u8> {
    let mut out = vec![0x10 | u8::from(occupied)];
    out.extend((level & 0x7f | duration_min << 7).to_be_bytes());
    // Three signed numbers of ten bits each, the first lowest.
    let packed = axes.iter().rev().fold(0u32, |sum, axis| {
        let [a, b, ..] = axis.to_le_bytes();
        sum << 10 | u32::from(u16::from_le_bytes([a, b]) & 0x3ff)
    });
    out.extend(packed.to_le_bytes());
    out.extend(half_degrees.into_iter().flat_map(i8::to_le_bytes));
    out
}

/// CRC-16/MODBUS: reflected polynomial a001, starts at ffff; low byte first.
fn with_modbus_crc(mut out: Vec<u8>) -> Vec<u8> {
    let mut crc = 0xffffu16;
    for byte in &out {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xa001
            } else {
                crc >> 1
            };
        }
    }
    out.extend(crc.to_le_bytes());
    out
}

/// CRC-16/XMODEM: polynomial 1021, starts at 0; high byte first.
fn with_xmodem_crc(mut out: Vec<u8>) -> Vec<u8> {
    let mut crc = 0u16;
    for byte in &out {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
        }
    }
    out.extend(crc.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Expected bytes are those of the sample codecs' own fixtures.
    #[test]
    fn frames_are_those_of_the_products() {
        let mut alarm = vec![0x02];
        alarm.extend(0x5f32_51d1u32.to_be_bytes());
        alarm.extend([1, 1]);
        assert_eq!(hex(&with_modbus_crc(alarm)), "025f3251d101018d3e");
        assert_eq!(
            hex(&light_status([1, 80], 425, 1_234_567, 86_400, &[0, 3])),
            "0101a1a90187d6120080510100000000000200034e64"
        );
        assert_eq!(
            hex(&light_status([0, 0], 0, 0, 0, &[])),
            "010100000000000000000000000000000000e0d3"
        );
        assert_eq!(
            hex(&parking(true, 93, 45, [12, -300, 511], None)),
            "1116dd0c50fb1f"
        );
        assert_eq!(
            hex(&parking(false, 93, 45, [12, -300, 511], Some(-7))),
            "1016dd0c50fb1ff9"
        );
        let mut entries = Vec::new();
        entry(&mut entries, 0x10, &[0x5f, 0x32, 0x51, 0xd1, 0x3c]);
        assert_eq!(
            hex(&gas_frame(23_456_789, &entries)),
            "680100002345678910055f3251d13c".to_owned() + &hex(&sum_of(&entries))
        );
        assert_eq!(hex(&bcd(20_210_042)), "20210042");
    }

    /// Sum and end byte, counted another way than the frame does.
    fn sum_of(entries: &[u8]) -> [u8; 2] {
        let head = [0x68u32, 0x01, 0x23, 0x45, 0x67, 0x89];
        let total: u32 = head
            .into_iter()
            .chain(entries.iter().map(|b| u32::from(*b)))
            .sum();
        [(total % 256).to_be_bytes()[3], 0x16]
    }

    #[test]
    fn readings_differ_over_time_but_not_for_the_same_seed() {
        for product in Product::ALL {
            let series = |seed| -> Vec<Vec<u8>> {
                let mut readings = Readings::new(product, seed);
                (0..50)
                    .map(|n| readings.payload(Timestamp::from_ms(n * 1000)))
                    .collect()
            };
            let first = series(1);
            assert_eq!(first, series(1));
            assert_ne!(first, series(2));
            let distinct: std::collections::BTreeSet<_> = first.iter().collect();
            assert!(distinct.len() > 10, "{product:?}: {}", distinct.len());
            assert!(
                first.iter().all(|p| (3..200).contains(&p.len())),
                "{product:?}"
            );
        }
    }
}
