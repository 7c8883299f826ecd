//! Which fragments a device was sent: what tells a download from the claim of one.
//!
//! Kept as a few runs, since devices load in order and ask again for single ones: 18 bytes,
//! whatever the package. What does not fit is forgotten, and then, as after a restart of the
//! platform that had not yet stored the last runs, the record is not *sure*: nothing is held
//! against the device.

/// More runs than this are not remembered.
pub const RUNS: usize = 4;

/// The fragments `first..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    pub first: u16,
    pub end: u16,
}

/// The fragments of one package that one device was sent, over all attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// In order, with a gap between each two; those after the last are empty.
    runs: [Run; RUNS],
    /// What is not here was not sent.
    sure: bool,
}

/// What the record says of a device that claims to have the whole package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It was sent all of it.
    Proven,
    /// Not all is known to have been sent, but it may have been.
    Possible,
    /// It was never sent all of it.
    Refuted,
}

impl Served {
    /// Nothing, and nothing ever before.
    pub const NOTHING: Self = Self {
        runs: [Run { first: 0, end: 0 }; RUNS],
        sure: true,
    };

    /// Nobody knows: the device may have all of it, from an earlier task.
    pub const UNKNOWN: Self = Self {
        sure: false,
        ..Self::NOTHING
    };

    /// From a stored record; what is no record is [`Self::UNKNOWN`].
    pub fn from_runs(runs: &[Run], sure: bool) -> Self {
        let mut space = [Run::default(); RUNS];
        let in_order = runs.windows(2).all(|pair| match pair {
            [a, b] => a.end < b.first,
            _ => false,
        });
        let whole = runs.iter().all(|run| run.first < run.end);
        match space.get_mut(..runs.len()) {
            Some(place) if in_order && whole => {
                place.copy_from_slice(runs);
                Self { runs: space, sure }
            }
            Some(_) | None => Self::UNKNOWN,
        }
    }

    /// In order, none empty.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().copied().filter(|run| run.first < run.end)
    }

    pub const fn is_sure(&self) -> bool {
        self.sure
    }

    /// Fragments that it was sent at least once.
    pub fn count(&self) -> u16 {
        // Apart from each other, so their sum is one more number of 16 bits.
        self.runs().map(|run| run.end - run.first).sum()
    }

    pub const fn doubt(&mut self) {
        self.sure = false;
    }

    /// The fragment is sent. The last one that can be numbered has no end in 16 bits and no
    /// package has it.
    pub fn add(&mut self, index: u16) {
        let Some(end) = index.checked_add(1) else {
            return;
        };
        let known = |run: &Run| (run.first..run.end).contains(&index);
        if self.runs.iter().any(known) {
            return;
        }
        // In order: the run that ends here goes on, and nothing follows it.
        let mut runs = [Run::default(); RUNS + 1];
        let mut len = 0;
        let mut added = Run { first: index, end };
        let mut placed = false;
        for run in self.runs() {
            if run.end == added.first {
                added.first = run.first;
            } else if run.first == added.end {
                added.end = run.end;
            } else {
                if run.first > added.end && !placed {
                    put(&mut runs, &mut len, added);
                    placed = true;
                }
                put(&mut runs, &mut len, run);
            }
        }
        if !placed {
            put(&mut runs, &mut len, added);
        }
        if len > RUNS {
            self.forget_smallest(&runs);
        } else {
            let [all @ .., _] = runs;
            self.runs = all;
        }
    }

    fn forget_smallest(&mut self, runs: &[Run; RUNS + 1]) {
        self.sure = false;
        let len = |run: &Run| run.end - run.first;
        let smallest = runs.iter().enumerate().min_by_key(|(_, run)| len(run));
        let Some((smallest, _)) = smallest else {
            return;
        };
        let rest = runs.iter().enumerate().filter(|(at, _)| *at != smallest);
        for (place, (_, run)) in self.runs.iter_mut().zip(rest) {
            *place = *run;
        }
    }

    /// What to make of a device that says it has all `count` fragments.
    pub fn claim(&self, count: u16) -> Claim {
        let whole = self.runs().any(|run| run.first == 0 && run.end >= count);
        match (whole, self.sure) {
            (true, _) => Claim::Proven,
            (false, true) => Claim::Refuted,
            (false, false) => Claim::Possible,
        }
    }
}

fn put(runs: &mut [Run; RUNS + 1], len: &mut usize, run: Run) {
    if let Some(place) = runs.get_mut(*len) {
        *place = run;
    }
    *len += 1;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn runs(served: &Served) -> Vec<(u16, u16)> {
        served.runs().map(|run| (run.first, run.end)).collect()
    }

    type Runs = &'static [(u16, u16)];

    #[test]
    fn runs_grow_meet_and_are_forgotten() {
        let cases: [(&[u16], Runs, bool); 7] = [
            (&[0, 1, 2, 3], &[(0, 4)], true),
            (&[0, 2, 1], &[(0, 3)], true),
            (&[5, 4, 4, 9], &[(4, 6), (9, 10)], true),
            (&[8, 6, 4, 2], &[(2, 3), (4, 5), (6, 7), (8, 9)], true),
            (&[8, 6, 4, 2, 3, 7, 5, 1, 0], &[(0, 9)], true),
            (&[65_534, 65_535], &[(65_534, 65_535)], true),
            (
                &[1, 3, 5, 7, 9, 11],
                &[(5, 6), (7, 8), (9, 10), (11, 12)],
                false,
            ),
        ];
        for (indices, want, sure) in cases {
            let mut served = Served::NOTHING;
            indices.iter().for_each(|index| served.add(*index));
            let got = (runs(&served), served.sure);
            assert_eq!(got, (want.to_vec(), sure), "{indices:?}");
        }
    }

    #[test]
    fn a_stored_record_that_is_none_is_no_evidence() {
        let run = |first, end| Run { first, end };
        let kept = Served::from_runs(&[run(0, 4), run(6, 7)], true);
        assert_eq!((runs(&kept), kept.sure), (vec![(0, 4), (6, 7)], true));
        for bad in [
            vec![run(4, 4)],
            vec![run(3, 5), run(5, 6)],
            vec![run(6, 7), run(0, 4)],
            vec![run(0, 1), run(2, 3), run(4, 5), run(6, 7), run(8, 9)],
        ] {
            assert_eq!(Served::from_runs(&bad, true), Served::UNKNOWN, "{bad:?}");
        }
    }

    proptest! {
        /// It says nothing that is not so, and while it is sure, it says all.
        #[test]
        fn the_record_never_lies(indices in prop::collection::vec(0u16..24, 0..60)) {
            let (mut served, mut truth) = (Served::NOTHING, BTreeSet::new());
            for index in indices {
                served.add(index);
                truth.insert(index);
                let told: BTreeSet<u16> = served.runs().flat_map(|r| r.first..r.end).collect();
                prop_assert!(told.is_subset(&truth));
                prop_assert!(told.contains(&index) || !served.sure);
                if served.sure {
                    prop_assert_eq!(&told, &truth);
                }
                let kept: Vec<Run> = served.runs().collect();
                prop_assert_eq!(Served::from_runs(&kept, served.sure), served);
                let whole = (0..8).all(|i| truth.contains(&i));
                let claim = served.claim(8);
                prop_assert!(whole || claim != Claim::Proven);
                prop_assert!(!whole || claim != Claim::Refuted);
            }
        }
    }
}
