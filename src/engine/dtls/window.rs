//! The replay window of a session (RFC 6347 §4.1.2.6): which of the newest 64 records came.

/// Width of the window.
const WIDTH: u64 = 64;

/// The highest number received and, as bits, which of the 64 up to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// One above the highest number; 0: nothing was received yet.
    next: u64,
    /// Bit n: the number `next - 1 - n` was received.
    seen: u64,
}

impl Window {
    /// Everything up to `highest` counts as received.
    pub(super) const fn closed_at(highest: Option<u64>) -> Self {
        match highest {
            Some(highest) => Self {
                next: highest.saturating_add(1),
                seen: u64::MAX,
            },
            None => Self { next: 0, seen: 0 },
        }
    }

    pub(super) const fn highest(self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Above everything that was received.
    pub(super) const fn is_newest(self, seq: u64) -> bool {
        seq >= self.next
    }

    /// Whether the number may be new. Only an authenticated record may then be noted.
    pub(super) const fn admits(self, seq: u64) -> bool {
        if seq >= self.next {
            return true;
        }
        let age = self.next - 1 - seq;
        age < WIDTH && self.seen & (1 << age) == 0
    }

    pub(super) const fn note(&mut self, seq: u64) {
        if seq >= self.next {
            let shift = seq - self.next + 1;
            self.seen = if shift >= WIDTH {
                1
            } else {
                self.seen << shift | 1
            };
            self.next = seq + 1;
        } else {
            let age = self.next - 1 - seq;
            if age < WIDTH {
                self.seen |= 1 << age;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list: each number is admitted once, and only within 64 of the highest.
        #[test]
        fn each_number_is_admitted_once(numbers in prop::collection::vec(0..300_u64, 0..200)) {
            let mut window = Window::default();
            let mut seen = Vec::new();
            for seq in numbers {
                let highest = seen.iter().max().copied();
                let is_old = highest.is_some_and(|highest| seq + WIDTH <= highest);
                prop_assert_eq!(window.admits(seq), !seen.contains(&seq) && !is_old);
                prop_assert_eq!(window.is_newest(seq), highest.is_none_or(|h| seq > h));
                if window.admits(seq) {
                    window.note(seq);
                    seen.push(seq);
                }
                prop_assert_eq!(window.highest(), seen.iter().max().copied());
            }
        }
    }

    #[test]
    fn a_closed_window_takes_only_what_is_newer() {
        let window = Window::closed_at(Some(100));
        assert!(!window.admits(100));
        assert!(!window.admits(40));
        assert!(window.admits(101));
        assert!(Window::closed_at(None).admits(0));
    }
}
