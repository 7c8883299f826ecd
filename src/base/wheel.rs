//! A hierarchical timer wheel without a clock of its own.
//!
//! Time is a number of ticks (the caller says what a tick is). Adding and expiring cost the same
//! for ten timers and for ten million: six levels of 64 slots each, every level 64 times coarser.
//! Timers are not cancelled: an owner ignores a key whose deadline has moved, or adds it again.

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
const TOP: u32 = 5;

/// The slot of a level, from a tick shifted to that level.
#[expect(clippy::cast_possible_truncation, reason = "masked to six bits")]
const fn index(shifted: u64) -> usize {
    (shifted & (SLOTS as u64 - 1)) as usize
}

/// Keys by deadline.
#[derive(Debug)]
pub struct Wheel<K> {
    now: u64,
    len: usize,
    /// Bit `i` of `occupied[level]` is set when slot `i` of that level holds anything.
    occupied: [u64; LEVELS],
    slots: Vec<Vec<(u64, K)>>,
    /// Due at or before `now` when added.
    due: Vec<(u64, K)>,
}

impl<K> Wheel<K> {
    /// An empty wheel whose time is `now` ticks.
    pub fn new(now: u64) -> Self {
        let slots = std::iter::repeat_with(Vec::new)
            .take(LEVELS * SLOTS)
            .collect();
        Self {
            now,
            len: 0,
            occupied: [0; LEVELS],
            slots,
            due: Vec::new(),
        }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `key`, due at tick `deadline`; one in the past is due at once.
    pub fn add(&mut self, deadline: u64, key: K) {
        self.len += 1;
        self.place(deadline, key);
    }

    fn place(&mut self, deadline: u64, key: K) {
        if deadline <= self.now {
            self.due.push((deadline, key));
            return;
        }
        // The highest bit in which deadline and now differ tells the level: below the top level,
        // the slot then lies ahead within the level's present turn.
        let differing = 63 - (deadline ^ self.now).leading_zeros();
        let level = (differing / SLOT_BITS).min(TOP);
        let shift = SLOT_BITS * level;
        // Beyond the wheel's range: the farthest slot, and placed anew from there.
        let farthest = (self.now >> shift) + SLOTS as u64 - 1;
        let slot = index((deadline >> shift).min(farthest));
        let level = level as usize;
        if let (Some(list), Some(bits)) = (
            self.slots.get_mut(level * SLOTS + slot),
            self.occupied.get_mut(level),
        ) {
            list.push((deadline, key));
            *bits |= 1 << slot;
        }
    }

    /// The tick at which [`Wheel::expire`] is next worth calling: never later than the earliest
    /// deadline, possibly earlier (then it only sorts finer). `None` when empty.
    pub fn next(&self) -> Option<u64> {
        if !self.due.is_empty() {
            return Some(self.now);
        }
        (0..=TOP).filter_map(|level| self.next_in(level)).min()
    }

    fn next_in(&self, level: u32) -> Option<u64> {
        let bits = *self.occupied.get(level as usize)?;
        let shift = SLOT_BITS * level;
        let current = index(self.now >> shift);
        let ahead = (1..=SLOTS).find(|ahead| bits & (1 << ((current + ahead) % SLOTS)) != 0)?;
        Some(((self.now >> shift) + ahead as u64) << shift)
    }

    /// Moves time to `now` and hands every key due by then to `out`, with its deadline.
    pub fn expire(&mut self, now: u64, out: &mut Vec<(u64, K)>) {
        while let Some(at) = self.next().filter(|at| *at <= now.max(self.now)) {
            self.now = self.now.max(at);
            self.turn();
            self.len -= self.due.len();
            out.append(&mut self.due);
        }
        self.now = self.now.max(now);
    }

    /// Places anew what lies in the slots that begin at the present tick.
    fn turn(&mut self) {
        for level in (0..=TOP).rev() {
            let shift = SLOT_BITS * level;
            if self.now & ((1 << shift) - 1) != 0 {
                continue;
            }
            let slot = index(self.now >> shift);
            let level = level as usize;
            let Some(bits) = self.occupied.get_mut(level) else {
                continue;
            };
            if *bits & (1 << slot) == 0 {
                continue;
            }
            *bits &= !(1 << slot);
            let Some(list) = self.slots.get_mut(level * SLOTS + slot) else {
                continue;
            };
            for (deadline, key) in std::mem::take(list) {
                self.place(deadline, key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_far_deadline_waits_its_time() {
        let mut wheel = Wheel::new(1000);
        let far = 1000 + (1u64 << 40);
        wheel.add(far, "far");
        let mut out = Vec::new();
        wheel.expire(far - 1, &mut out);
        assert!(out.is_empty());
        wheel.expire(far, &mut out);
        assert_eq!(out, [(far, "far")]);
        assert!(wheel.is_empty());
    }

    proptest! {
        /// Whatever is added in whatever order comes out by its deadline, never early, never lost.
        #[test]
        fn every_timer_fires_once_and_in_time(
            start in 0u64..1 << 45,
            timers in prop::collection::vec((0u64..1 << 38, 0u64..100_000), 1..60),
        ) {
            let mut wheel = Wheel::new(start);
            let mut now = start;
            let mut pending = Vec::new();
            for (delay, step) in timers {
                let deadline = now + delay;
                wheel.add(deadline, deadline);
                pending.push(deadline);
                now += step;
                let mut out = Vec::new();
                wheel.expire(now, &mut out);
                for (deadline, key) in out {
                    prop_assert_eq!(deadline, key);
                    prop_assert!(deadline <= now);
                    let at = pending.iter().position(|d| *d == key).unwrap();
                    pending.swap_remove(at);
                }
                prop_assert!(pending.iter().all(|d| *d > now));
                if let (Some(next), Some(first)) = (wheel.next(), pending.iter().min()) {
                    prop_assert!(next <= *first && next > now);
                }
            }
            let mut out = Vec::new();
            wheel.expire(u64::MAX >> 2, &mut out);
            prop_assert_eq!(out.len(), pending.len());
            prop_assert!(wheel.is_empty());
        }
    }
}
