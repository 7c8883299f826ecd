//! The server's admission as the gate of a simulated cell. It hears what a server hears: measurements,
//! acknowledgements, ends; nothing of the simulator's parameters.

use crate::base::time::Timestamp;
use crate::engine::admission::coverage::{CellId, Level, Place, Pool};
use crate::engine::admission::{Admission, Settings};
use crate::sim::cell::campaign::Gate;

/// The simulated cell's identity.
const CELL: CellId = CellId(1);

/// The admission of one cell.
#[derive(Debug)]
pub(super) struct Desk {
    admission: Admission,
    /// When each device woke up last, by its number.
    woke_at: Vec<Timestamp>,
}

impl Desk {
    pub(super) fn new(settings: Settings, devices: u32) -> Self {
        Self {
            admission: Admission::new(settings),
            woke_at: vec![Timestamp::default(); devices as usize],
        }
    }

    fn wakes(&mut self, now_ms: u64, device: u32) {
        if let Some(woke_at) = self.woke_at.get_mut(device as usize) {
            *woke_at = Timestamp::from_ms(now_ms);
        }
    }
}

impl Gate for Desk {
    fn measured(&mut self, now_ms: u64, device: u32, level: usize, attempt: u32) {
        self.wakes(now_ms, device);
        let level = match level {
            0 => Level::Zero,
            1 => Level::One,
            _ => Level::Two,
        };
        let place = Place {
            cell: CELL,
            pool: Pool::Level(level),
        };
        let attempt = u8::try_from(attempt).unwrap_or(u8::MAX);
        let now = Timestamp::from_ms(now_ms);
        self.admission.measured(now, device.into(), place, attempt);
    }

    fn awake(&mut self, now_ms: u64, device: u32) {
        self.wakes(now_ms, device);
        self.admission.awake(device.into());
    }

    fn asleep(&mut self, _now_ms: u64, device: u32) {
        self.admission.asleep(device.into());
    }

    fn keeps_awake(&mut self, now_ms: u64, device: u32) -> bool {
        let woke_at = self.woke_at.get(device as usize);
        let woke_at = woke_at.copied().unwrap_or_default();
        let now = Timestamp::from_ms(now_ms);
        let granted = self.admission.keep_awake(now, device.into(), woke_at);
        granted.is_some()
    }

    fn acknowledged(&mut self, now_ms: u64, device: u32, done: u32, total: u32) {
        let now = Timestamp::from_ms(now_ms);
        self.admission.acknowledged(now, device.into(), done, total);
    }

    fn ended(&mut self, _now_ms: u64, device: u32) {
        self.admission.leave(device.into());
    }

    fn admitted(&mut self, now_ms: u64, to: &mut Vec<u32>) {
        let now = Timestamp::from_ms(now_ms);
        while let Some(device) = self.admission.next(now) {
            self.admission.confirm(device);
            to.extend(u32::try_from(device));
        }
    }
}
