//! How many handshakes a source may begin: a token bucket for each, in a table of fixed size.
//! Sources that fall into the same place share it; the places are chosen by a seeded hash, so
//! nobody can choose his neighbour.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hashbrown::DefaultHashBuilder;

const PLACES: usize = 4096;

#[derive(Debug)]
pub(super) struct Sources {
    per_s: u32,
    hasher: DefaultHashBuilder,
    places: Box<[Option<Bucket>]>,
}

/// What a source may still begin, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left_milli: u64,
    at: Instant,
}

impl Sources {
    pub(super) fn new(per_s: u32) -> Self {
        Self {
            per_s,
            hasher: DefaultHashBuilder::default(),
            places: vec![None; PLACES].into(),
        }
    }

    /// Whether one more may begin: at most a second's worth at once.
    pub(super) fn take(&mut self, now: Instant, address: SocketAddr) -> bool {
        let full = u64::from(self.per_s) * 1000;
        let place = self.place_of(address);
        let Some(place) = self.places.get_mut(place) else {
            return true;
        };
        let bucket = place.get_or_insert(Bucket {
            left_milli: full,
            at: now,
        });
        let waited_ms = now.saturating_duration_since(bucket.at).as_millis();
        let gained = u64::try_from(waited_ms)
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::from(self.per_s));
        bucket.left_milli = bucket.left_milli.saturating_add(gained).min(full);
        bucket.at = now;
        match bucket.left_milli.checked_sub(1000) {
            Some(left) => {
                bucket.left_milli = left;
                true
            }
            None => false,
        }
    }

    fn place_of(&self, address: SocketAddr) -> usize {
        let hash = match address.ip() {
            IpAddr::V4(ip) => self.hasher.hash_one(u64::from(u32::from(ip))),
            // A customer has a /64 at least.
            IpAddr::V6(ip) => self.hasher.hash_one(u128::from(ip) >> 64),
        };
        usize::try_from(hash % PLACES as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_gets_its_share_and_another_its_own() {
        let mut sources = Sources::new(10);
        let now = Clock::now();
        let greedy: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let begun = (0..100).filter(|_| sources.take(now, greedy)).count();
        assert_eq!(begun, 10);
        assert!(!sources.take(now + Duration::from_millis(99), greedy));
        assert!(sources.take(now + Duration::from_millis(100), greedy));
        // One of many others must have a place of its own.
        let others = (1..=50).filter(|n| {
            let other = SocketAddr::from(([198, 51, 100, *n], 1000));
            sources.take(now, other)
        });
        assert!(others.count() > 40);
    }

    struct Clock;

    impl Clock {
        fn now() -> Instant {
            crate::base::time::Clock::System.instant()
        }
    }
}
