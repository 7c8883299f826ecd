//! What waits behind the window, in sums: an action that is far behind knows how much that is and
//! how old, without holding it. Filled by a scan ahead of the window, which itself comes to the
//! same events later.

use std::collections::VecDeque;

use crate::base::time::Timestamp;

/// Sums of one stretch of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The last position.
    pub end: u64,
    /// Pushes that events up to there make, and the bytes of their bodies.
    pub pushes: u64,
    pub bytes: u64,
    pub oldest: Timestamp,
    pub newest: Timestamp,
}

/// Stretches of events behind the window.
#[derive(Debug, Default)]
pub struct Ledger {
    buckets: VecDeque<Bucket>,
    scanned_to: u64,
    pushes: u64,
    bytes: u64,
}

/// A bucket takes no more when it has this many bytes, or spans this time: 1 GB are 4096 buckets.
const BUCKET_BYTES: u64 = 256 * 1024;
const BUCKET_BYTES_LEAST: u64 = 1024;
const BUCKET_MS: u64 = 60_000;

impl Ledger {
    /// How far the scan has come; 0 when it is empty.
    pub const fn scanned_to(&self) -> u64 {
        self.scanned_to
    }

    pub const fn pushes(&self) -> u64 {
        self.pushes
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn oldest_at(&self) -> Option<Timestamp> {
        self.buckets.front().map(|bucket| bucket.oldest)
    }

    /// Notes an event behind all before it: how many pushes it makes, and of how many bytes.
    /// `most`: bytes that may wait, for what is too much goes by buckets.
    pub fn note(&mut self, position: u64, at: Timestamp, (pushes, bytes): (u64, u64), most: u64) {
        self.scanned_to = position;
        if pushes == 0 {
            if let Some(last) = self.buckets.back_mut() {
                last.end = position;
            }
            return;
        }
        self.pushes = self.pushes.saturating_add(pushes);
        self.bytes = self.bytes.saturating_add(bytes);
        let full = (most / 128).clamp(BUCKET_BYTES_LEAST, BUCKET_BYTES);
        match self.buckets.back_mut() {
            Some(last) if last.bytes < full && at.since_ms(last.oldest) < BUCKET_MS => {
                last.end = position;
                last.pushes = last.pushes.saturating_add(pushes);
                last.bytes = last.bytes.saturating_add(bytes);
                last.newest = last.newest.max(at);
            }
            _ => self.buckets.push_back(Bucket {
                end: position,
                pushes,
                bytes,
                oldest: at,
                newest: at,
            }),
        }
    }

    /// The window has come to `position`, and took these pushes of this event.
    pub fn passed(&mut self, position: u64, pushes: u64, bytes: u64) {
        if position > self.scanned_to {
            return;
        }
        if let Some(front) = self.buckets.front_mut() {
            front.pushes = front.pushes.saturating_sub(pushes);
            front.bytes = front.bytes.saturating_sub(bytes);
            self.pushes = self.pushes.saturating_sub(pushes);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        while self.buckets.front().is_some_and(|b| b.end <= position) {
            self.pop_oldest();
        }
        if position >= self.scanned_to {
            *self = Self::default();
        }
    }

    /// Takes out the oldest stretch.
    pub fn pop_oldest(&mut self) -> Option<Bucket> {
        let oldest = self.buckets.pop_front()?;
        self.pushes = self.pushes.saturating_sub(oldest.pushes);
        self.bytes = self.bytes.saturating_sub(oldest.bytes);
        Some(oldest)
    }

    /// The newest time of the oldest stretch.
    pub fn oldest_ends_at(&self) -> Option<Timestamp> {
        self.buckets.front().map(|bucket| bucket.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_the_scan_and_the_window() {
        let mut ledger = Ledger::default();
        let ms = Timestamp::from_ms;
        // Every third event is none of the rule's.
        for position in 1..=30_000 {
            let pushes = u64::from(position % 3 != 0);
            ledger.note(position, ms(position), (pushes, pushes * 100), u64::MAX);
        }
        assert_eq!((ledger.pushes(), ledger.bytes()), (20_000, 2_000_000));
        assert!((8..20).contains(&ledger.buckets.len()));
        assert_eq!(ledger.oldest_at(), Some(ms(1)));
        for position in 1..=100 {
            let pushes = u64::from(position % 3 != 0);
            ledger.passed(position, pushes, pushes * 100);
        }
        assert_eq!(ledger.pushes(), 20_000 - 67);
        let first = ledger.pop_oldest().unwrap();
        assert_eq!(ledger.pushes(), 20_000 - 67 - first.pushes);
        assert!(first.newest < ledger.oldest_at().unwrap());
        for position in first.end + 1..=30_000 {
            let pushes = u64::from(position % 3 != 0);
            ledger.passed(position, pushes, pushes * 100);
        }
        assert_eq!(
            (ledger.pushes(), ledger.bytes(), ledger.scanned_to()),
            (0, 0, 0)
        );
        assert_eq!(ledger.pop_oldest(), None);
    }
}
