//! What devices fetch by CoAP, block by block, on its way to their shards: told from time to time, as it
//! passes where all datagrams pass.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use tokio::sync::mpsc;

use super::UpgradeOrder;
use crate::app::package::{Progress, ServedBlock};
use crate::base::ids::DeviceId;
use crate::base::time::{Clock, Timestamp};

/// How often it is told how far a download is, in ms.
const PACE_MS: u64 = 30_000;
/// Downloads of which it is known when they were told; more are told block by block.
const TOLD_MAX: usize = 100_000;
/// News that wait to be told; further ones are dropped.
const FETCHES: usize = 4096;
/// What is counted, in bytes.
const UNIT: u64 = 512;

/// How far devices are.
#[derive(Debug)]
pub struct Fetches {
    told_at: Mutex<HashMap<DeviceId, Timestamp>>,
    told: mpsc::Sender<(DeviceId, UpgradeOrder)>,
    clock: Clock,
}

impl Fetches {
    /// With what the line takes.
    pub fn new(clock: Clock) -> (Self, mpsc::Receiver<(DeviceId, UpgradeOrder)>) {
        let (told, fetches) = mpsc::channel(FETCHES);
        let told_at = Mutex::default();
        let fetches_of = Self {
            told_at,
            told,
            clock,
        };
        (fetches_of, fetches)
    }

    /// Whether it is time to tell of a device again.
    fn is_due(&self, device_id: &DeviceId, ends: bool) -> bool {
        let now = self.clock.now();
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        match told_at.get_mut(device_id) {
            Some(at) if !ends && now.since_ms(*at) < PACE_MS => return false,
            Some(_) if ends => {
                told_at.remove(device_id);
            }
            Some(at) => *at = now,
            None => {
                if told_at.len() >= TOLD_MAX {
                    told_at.clear();
                }
                told_at.insert(device_id.clone(), now);
            }
        }
        true
    }
}

impl Progress for Fetches {
    /// The first block is told at once, what follows from time to time, and the last.
    fn block(&self, block: &ServedBlock<'_>) {
        let end = block.offset.saturating_add(u64::from(block.len));
        if !self.is_due(block.device_id, end >= block.total) {
            return;
        }
        let units = |bytes: u64| u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let order = UpgradeOrder::Fetched {
            done: units(end),
            total: units(block.total),
        };
        // When nobody keeps up, the next one tells more.
        drop(self.told.try_send((block.device_id.clone(), order)));
    }

    /// Every block: a device that lost the server goes on where it was, and knows no other place.
    fn pushed(&self, device_id: &DeviceId, done: u64, total: u64) {
        let bytes = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let order = UpgradeOrder::Pushed {
            done: bytes(done),
            total: bytes(total),
        };
        drop(self.told.try_send((device_id.clone(), order)));
    }
}
