//! The radio of one device: loses, repeats and delays datagrams, by chance from a seed.
//!
//! Probabilities are 0.0 to 1.0 for each datagram in each direction; a delay is uniform between
//! zero and its maximum. No clock: the caller asks for what is due.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Datagrams under way at most; what is more is lost, as a radio's buffer would.
const UNDER_WAY_MAX: usize = 256;

/// How bad the radio is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    pub loss: f64,
    pub duplicates: f64,
    pub delay_max: Duration,
}

/// One direction of one device's radio.
#[derive(Debug)]
pub struct Link {
    quality: Quality,
    rng: fastrand::Rng,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    pub lost: u64,
    pub repeated: u64,
}

impl Link {
    pub fn new(quality: Quality, seed: u64) -> Self {
        Self {
            quality,
            rng: fastrand::Rng::with_seed(seed),
            under_way: VecDeque::new(),
            lost: 0,
            repeated: 0,
        }
    }

    /// Sends a datagram on its way.
    pub fn push(&mut self, now: Instant, datagram: Vec<u8>) {
        if self.rng.f64() < self.quality.loss || self.under_way.len() >= UNDER_WAY_MAX {
            self.lost += 1;
            return;
        }
        if self.rng.f64() < self.quality.duplicates {
            self.repeated += 1;
            let at = now + self.quality.delay_max.mul_f64(self.rng.f64());
            self.under_way.push_back((at, datagram.clone()));
        }
        let at = now + self.quality.delay_max.mul_f64(self.rng.f64());
        self.under_way.push_back((at, datagram));
    }

    /// A datagram that arrives by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let due = self.under_way.iter().position(|(at, _)| *at <= now)?;
        self.under_way.remove(due).map(|(_, datagram)| datagram)
    }

    /// When the next datagram arrives.
    pub fn deadline(&self) -> Option<Instant> {
        self.under_way.iter().map(|(at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{Clock, Timestamp};

    fn arrivals(quality: Quality, seed: u64) -> Vec<Vec<u8>> {
        let now = Clock::manual(Timestamp::from_ms(0)).instant();
        let mut link = Link::new(quality, seed);
        let mut out = Vec::new();
        for n in 0..100u8 {
            link.push(now, vec![n]);
            while let Some(datagram) = link.pop(now + quality.delay_max) {
                out.push(datagram);
            }
        }
        out
    }

    #[test]
    fn a_good_radio_brings_everything_once_in_order() {
        let got = arrivals(Quality::default(), 1);
        assert_eq!(got, (0..100u8).map(|n| vec![n]).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_radio_loses_and_repeats_the_same_way_for_the_same_seed() {
        let quality = Quality {
            loss: 0.3,
            duplicates: 0.2,
            delay_max: Duration::from_secs(1),
        };
        let got = arrivals(quality, 7);
        assert_eq!(got, arrivals(quality, 7));
        assert_ne!(got, arrivals(quality, 8));
        let distinct: std::collections::BTreeSet<_> = got.iter().collect();
        assert!((50..90).contains(&distinct.len()), "{}", distinct.len());
        assert!(got.len() > distinct.len(), "nothing was repeated");
    }

    #[test]
    fn a_delayed_datagram_waits() {
        let now = Clock::manual(Timestamp::from_ms(0)).instant();
        let quality = Quality {
            delay_max: Duration::from_secs(1),
            ..Quality::default()
        };
        let mut link = Link::new(quality, 3);
        link.push(now, vec![1]);
        let at = link.deadline().unwrap();
        assert!(at > now && at <= now + Duration::from_secs(1));
        assert_eq!(link.pop(now), None);
        assert_eq!(link.pop(at), Some(vec![1]));
        assert_eq!(link.deadline(), None);
    }
}
