//! When a shard has to look at a device that stays silent: a timer wheel over its devices.
//!
//! The wheel only says when to look; what is due follows from the device's state (`timers`). Only a
//! device's earliest timer counts, the others find that they are not it (`Directory::disarm`), so an
//! uplink that moves a deadline later costs nothing here. Ticks are seconds of the wall clock.

use std::sync::Arc;
use std::time::Duration;

use super::directory::Directory;
use crate::base::ids::DeviceId;
use crate::base::time::{Clock, Timestamp};
use crate::base::wheel::Wheel;

/// Looked at again so often, should the wall clock be set.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// A timer that is due is not looked at more often.
pub const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(10);

/// The deadlines of one shard's devices.
pub struct Deadlines {
    clock: Clock,
    directory: Arc<Directory>,
    wheel: Wheel<DeviceId>,
    /// The wheel's time, to notice when the wall clock is set back.
    wheel_s: u64,
    /// Fired, and not looked at yet.
    due: Vec<(u64, DeviceId)>,
}

impl Deadlines {
    pub fn new(clock: Clock, directory: Arc<Directory>) -> Self {
        let wheel_s = clock.now().as_ms() / 1000;
        Self {
            clock,
            directory,
            wheel: Wheel::new(wheel_s),
            wheel_s,
            due: Vec::new(),
        }
    }

    /// Looks at the device then, unless it does so before anyway.
    pub fn arm(&mut self, device_id: &DeviceId, deadline: Option<Timestamp>) {
        let Some(at) = deadline else {
            return;
        };
        // Rounded up: a timer never fires early.
        let at_s = at.as_ms().div_ceil(1000);
        if self.directory.arm(device_id, at_s) {
            self.wheel.add(at_s, device_id.clone());
        }
    }

    /// How long until [`Deadlines::turn`] is worth calling.
    pub fn wait(&self) -> Option<Duration> {
        let now_ms = self.clock.now().as_ms();
        let at_ms = match self.due.is_empty() {
            true => self.wheel.next()? * 1000,
            false => now_ms,
        };
        let wait = Duration::from_millis(at_ms.saturating_sub(now_ms));
        Some(wait.clamp(LOOK_AT_MOST_EVERY, LOOK_EVERY))
    }

    /// Whether a device waits to be looked at.
    pub fn is_due(&self) -> bool {
        let now_s = self.clock.now().as_ms() / 1000;
        !self.due.is_empty() || self.wheel.next().is_some_and(|at_s| at_s <= now_s)
    }

    /// Lets the timers fire whose time has come.
    pub fn turn(&mut self) {
        let now_s = self.clock.now().as_ms() / 1000;
        if now_s < self.wheel_s {
            self.turn_back(now_s);
        }
        self.wheel_s = now_s;
        self.wheel.expire(now_s, &mut self.due);
    }

    /// The next device to look at, of those whose timer fired.
    pub fn pop(&mut self) -> Option<DeviceId> {
        while let Some((at_s, device_id)) = self.due.pop() {
            if self.directory.disarm(&device_id, at_s) {
                return Some(device_id);
            }
        }
        None
    }

    /// The wall clock was set back: deadlines are in its time, so they are placed anew.
    fn turn_back(&mut self, now_s: u64) {
        let mut all = Vec::with_capacity(self.wheel.len());
        self.wheel.expire(u64::MAX >> 1, &mut all);
        self.wheel = Wheel::new(now_s);
        for (at_s, device_id) in all {
            self.wheel.add(at_s, device_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    #[test]
    fn a_device_is_looked_at_once_at_its_earliest_deadline() {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let mut deadlines = Deadlines::new(clock.clone(), Arc::new(Directory::default()));
        let at = |s: u64| Some(Timestamp::from_ms(1_000_000).plus_s(s));
        deadlines.arm(&id("a"), at(100));
        deadlines.arm(&id("a"), at(50));
        deadlines.arm(&id("a"), at(200));
        // The wheel may want to sort before, never after.
        assert!(deadlines.wait().unwrap() <= Duration::from_secs(50));
        clock.advance(Duration::from_secs(49));
        deadlines.turn();
        assert_eq!(deadlines.pop(), None);
        clock.advance(Duration::from_secs(200));
        assert!(deadlines.is_due());
        deadlines.turn();
        assert_eq!(deadlines.pop(), Some(id("a")));
        assert_eq!(deadlines.pop(), None);
    }

    #[test]
    fn a_clock_that_is_set_back_stalls_nothing() {
        let clock = Clock::manual(Timestamp::from_ms(10_000_000));
        let directory = Arc::new(Directory::default());
        let mut deadlines = Deadlines::new(clock, Arc::clone(&directory));
        deadlines.arm(&id("a"), Some(Timestamp::from_ms(20_000_000)));
        let earlier = Clock::manual(Timestamp::from_ms(1_000_000));
        deadlines.clock = earlier.clone();
        deadlines.turn();
        deadlines.arm(&id("b"), Some(Timestamp::from_ms(2_000_000)));
        assert_eq!(deadlines.pop(), None);
        earlier.advance(Duration::from_secs(1_000));
        deadlines.turn();
        assert_eq!(deadlines.pop(), Some(id("b")));
        earlier.advance(Duration::from_secs(18_000));
        deadlines.turn();
        assert_eq!(deadlines.pop(), Some(id("a")));
    }
}
