//! Which codecs one worker has loaded, and which of them it must forget for others.
//!
//! Bounded by number and by what they hold in memory together, as the worker tells it with each
//! answer: the longest unused goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Codecs that one worker has loaded.
const SLOTS_MAX: usize = 64;
/// What they may hold together, beside the one that is called.
const HEAP_MAX: u64 = 128 * 1024 * 1024;

/// After so long a codec that could not be loaded is tried again: a busy machine may have been why.
const RETRY: Duration = Duration::from_secs(1);

/// Where a codec is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: u32,
    /// It must be loaded first.
    pub(super) is_new: bool,
}

#[derive(Debug)]
struct Slot {
    number: u32,
    used: u64,
    heap_bytes: u64,
    /// Since when it is known that it can't be loaded.
    broken_since: Option<Instant>,
}

/// The slots of one worker.
#[derive(Debug, Default)]
pub(super) struct Slots {
    codecs: HashMap<Arc<str>, Slot>,
    uses: u64,
    next: u32,
}

impl Slots {
    /// Where a codec is or comes to be, and the slots that are given up for it.
    pub(super) fn place(&mut self, tag: &Arc<str>, now: Instant) -> (Place, Vec<u32>) {
        self.uses += 1;
        if let Some(slot) = self.codecs.get_mut(tag) {
            slot.used = self.uses;
            let again = |since: &mut Instant| now.duration_since(*since) >= RETRY;
            let place = Place {
                slot: slot.number,
                is_new: slot.broken_since.take_if(again).is_some(),
            };
            return (place, Vec::new());
        }
        let mut forgotten = Vec::new();
        while self.codecs.len() >= SLOTS_MAX || self.heap_bytes() > HEAP_MAX {
            let oldest = self.codecs.iter().min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(tag, _)| Arc::clone(tag)) else {
                break;
            };
            forgotten.extend(self.codecs.remove(&oldest).map(|slot| slot.number));
        }
        let number = self.next;
        // Four thousand million loads later the first slots are long forgotten.
        self.next = self.next.wrapping_add(1);
        let slot = Slot {
            number,
            used: self.uses,
            heap_bytes: 0,
            broken_since: None,
        };
        self.codecs.insert(Arc::clone(tag), slot);
        let place = Place {
            slot: number,
            is_new: true,
        };
        (place, forgotten)
    }

    /// Forgets a codec that was not sent after all.
    pub(super) fn remove(&mut self, tag: &str) {
        self.codecs.remove(tag);
    }

    /// What the worker says that a codec holds.
    pub(super) fn weigh(&mut self, tag: &str, heap_bytes: u64) {
        if let Some(slot) = self.codecs.get_mut(tag) {
            slot.heap_bytes = heap_bytes;
        }
    }

    /// The worker could not load a codec, and says so until it is told to try again.
    pub(super) fn mark_broken(&mut self, tag: &str, now: Instant) {
        if let Some(slot) = self.codecs.get_mut(tag) {
            slot.broken_since.get_or_insert(now);
        }
    }

    fn heap_bytes(&self) -> u64 {
        self.codecs.values().map(|slot| slot.heap_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_when_there_are_too_many_or_they_are_too_large() {
        let now = Instant::now();
        let mut slots = Slots::default();
        let tags: Vec<Arc<str>> = (0..=SLOTS_MAX).map(|n| n.to_string().into()).collect();
        for tag in tags.iter().take(SLOTS_MAX) {
            assert_eq!(slots.place(tag, now).1, Vec::<u32>::new());
        }
        let (first, _) = slots.place(&tags[0], now);
        assert_eq!((first.slot, first.is_new), (0, false));
        let (last, forgotten) = slots.place(&tags[SLOTS_MAX], now);
        assert_eq!((last.is_new, forgotten), (true, vec![1]));
        assert!(slots.place(&tags[1], now).0.is_new);

        let mut slots = Slots::default();
        for tag in tags.iter().take(4) {
            slots.place(tag, now);
            slots.weigh(tag, HEAP_MAX / 4 + 1);
        }
        assert_eq!(slots.place(&tags[4], now).1, vec![0]);
    }

    #[test]
    fn what_could_not_be_loaded_is_tried_again_later() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        let tag: Arc<str> = "broken".into();
        slots.place(&tag, now);
        slots.mark_broken(&tag, now);
        let soon = now + RETRY / 2;
        assert!(!slots.place(&tag, soon).0.is_new);
        slots.mark_broken(&tag, soon);
        let later = now + RETRY;
        assert!(slots.place(&tag, later).0.is_new);
        assert!(!slots.place(&tag, later).0.is_new, "once");
    }
}
