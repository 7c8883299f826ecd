//! A set of device `seq`s that is small when it holds few: the devices with one value of one attribute. One
//! lies inline, up to [`FEW_MAX`] in one piece, more in a bitmap. Clones share what is large; a
//! change copies it when a clone is about.

use std::sync::Arc;

use roaring::RoaringTreemap;

/// A bitmap of two costs half a kilobyte; 16 numbers cost 144 bytes.
const FEW_MAX: usize = 16;

/// Some devices, never none.
#[derive(Debug, Clone)]
pub enum Set {
    One(u64),
    /// Ascending.
    Few(Arc<[u64]>),
    Many(Arc<RoaringTreemap>),
}

impl Set {
    pub fn insert(&mut self, seq: u64) {
        match self {
            Self::One(one) => {
                if *one != seq {
                    let two = [seq.min(*one), seq.max(*one)];
                    *self = Self::Few(Arc::new(two));
                }
            }
            Self::Few(few) => {
                let Err(at) = few.binary_search(&seq) else {
                    return;
                };
                let (below, above) = few.split_at_checked(at).unwrap_or((few, &[]));
                let more = below.iter().chain([&seq]).chain(above).copied();
                *self = match few.len() < FEW_MAX {
                    true => Self::Few(more.collect()),
                    false => Self::Many(Arc::new(more.collect())),
                };
            }
            Self::Many(many) => {
                Arc::make_mut(many).insert(seq);
            }
        }
    }

    /// The set without this one; `None`: nothing is left.
    #[must_use]
    pub fn without(mut self, seq: u64) -> Option<Self> {
        match &mut self {
            Self::One(one) => (*one != seq).then_some(self),
            Self::Few(few) => {
                let rest: Vec<u64> = few.iter().copied().filter(|s| *s != seq).collect();
                match rest[..] {
                    [] => None,
                    [one] => Some(Self::One(one)),
                    _ => Some(Self::Few(rest.into())),
                }
            }
            Self::Many(many) => {
                let many = Arc::make_mut(many);
                many.remove(seq);
                match many.len() {
                    // Well below, so that a set at the edge does not change its form each time.
                    0..=8 if many.is_empty() => None,
                    0..=8 => Some(Self::Few(many.iter().collect())),
                    _ => Some(self),
                }
            }
        }
    }

    pub fn contains(&self, seq: u64) -> bool {
        match self {
            Self::One(one) => *one == seq,
            Self::Few(few) => few.binary_search(&seq).is_ok(),
            Self::Many(many) => many.contains(seq),
        }
    }

    pub fn bitmap(&self) -> Arc<RoaringTreemap> {
        match self {
            Self::One(one) => Arc::new([*one].into_iter().collect()),
            Self::Few(few) => Arc::new(few.iter().copied().collect()),
            Self::Many(many) => Arc::clone(many),
        }
    }

    /// Adds all of it to `to`.
    pub fn add_to(&self, to: &mut RoaringTreemap) {
        match self {
            Self::One(one) => {
                to.insert(*one);
            }
            Self::Few(few) => to.extend(few.iter().copied()),
            Self::Many(many) => *to |= &**many,
        }
    }

    /// Takes all of it from `from`.
    pub fn take_from(&self, from: &mut RoaringTreemap) {
        match self {
            Self::One(one) => {
                from.remove(*one);
            }
            Self::Few(few) => {
                for seq in few.iter() {
                    from.remove(*seq);
                }
            }
            Self::Many(many) => *from -= &**many,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(changes in prop::collection::vec((any::<bool>(), 0..40_u64), 0..200)) {
            let (mut set, mut want): (Option<Set>, BTreeSet<u64>) = (None, BTreeSet::new());
            for (add, seq) in changes {
                if add {
                    want.insert(seq);
                    match &mut set {
                        Some(set) => set.insert(seq),
                        None => set = Some(Set::One(seq)),
                    }
                } else {
                    want.remove(&seq);
                    set = set.and_then(|set| set.without(seq));
                }
                let got = set.as_ref().map(Set::bitmap).unwrap_or_default();
                prop_assert!(got.iter().eq(want.iter().copied()));
                prop_assert_eq!(set.is_none(), want.is_empty());
                let is_in = set.as_ref().is_some_and(|set| set.contains(seq));
                prop_assert_eq!(is_in, want.contains(&seq));
            }
        }
    }
}
