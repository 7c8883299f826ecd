//! Sets of devices by text, in the order of the texts: what begins alike lies together. Entries lie in segments of
//! some hundred. A clone costs nothing and stays as it is: a change copies the segment that it is in when
//! a clone is about, and the list of segments.

use std::sync::Arc;

use super::Set;

/// Entries of the largest segment.
const SEGMENT_MAX: usize = 256;

/// A segment with fewer joins the one before it, if there is room.
const SEGMENT_MIN: usize = 64;

/// A text with its devices.
pub(super) type Entry = (Box<[u8]>, Set);

type Segment = Vec<Entry>;

/// Texts, each with one device at least. No segment is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Dictionary(Arc<Vec<Arc<Segment>>>);

impl Dictionary {
    pub(super) fn get(&self, text: &[u8]) -> Option<&Set> {
        let segment = self.0.get(self.around(text))?;
        let at = place(segment, text).ok()?;
        segment.get(at).map(|(_, set)| set)
    }

    /// Entries from `text` on, in order.
    pub(super) fn starting_at<'a>(
        &'a self,
        text: &[u8],
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let around = self.around(text);
        let mut segments = self.0.get(around..).unwrap_or_default().iter();
        let first = segments.next().map_or(&[][..], |segment| {
            let (Ok(at) | Err(at)) = place(segment, text);
            segment.get(at..).unwrap_or_default()
        });
        first.iter().chain(segments.flat_map(|s| s.iter()))
    }

    /// Entries that begin so, in order.
    pub(super) fn beginning_with(&self, prefix: &[u8]) -> impl Iterator<Item = &Entry> {
        self.starting_at(prefix)
            .take_while(move |(text, _)| text.starts_with(prefix))
    }

    pub(super) fn insert(&mut self, text: &[u8], seq: u64) {
        let around = self.around(text);
        let segments = Arc::make_mut(&mut self.0);
        let Some(segment) = segments.get_mut(around) else {
            segments.push(Arc::new(vec![(text.into(), Set::One(seq))]));
            return;
        };
        let segment = Arc::make_mut(segment);
        match place(segment, text) {
            Ok(at) => {
                if let Some((_, set)) = segment.get_mut(at) {
                    set.insert(seq);
                }
            }
            Err(at) => segment.insert(at, (text.into(), Set::One(seq))),
        }
        if segment.len() > SEGMENT_MAX {
            // What is loaded in order leaves full segments behind.
            let at = match place(segment, text) {
                Ok(at) if at + 1 == segment.len() => at,
                _ => segment.len() / 2,
            };
            let upper = segment.split_off(at);
            segment.shrink_to_fit();
            segments.insert(around + 1, Arc::new(upper));
        }
    }

    pub(super) fn remove(&mut self, text: &[u8], seq: u64) {
        let around = self.around(text);
        let segments = Arc::make_mut(&mut self.0);
        let Some(segment) = segments.get_mut(around).map(Arc::make_mut) else {
            return;
        };
        let Ok(at) = place(segment, text) else {
            return;
        };
        let (text, set) = segment.remove(at);
        if let Some(rest) = set.without(seq) {
            segment.insert(at, (text, rest));
        }
        match segment.len() {
            0 => drop(segments.remove(around)),
            len if len < SEGMENT_MIN => join(segments, around),
            _ => {}
        }
    }

    /// The place of the segment that has the text, or would.
    fn around(&self, text: &[u8]) -> usize {
        let begins = |segment: &Arc<Segment>| segment.first().is_some_and(|(t, _)| **t <= *text);
        self.0.partition_point(begins).saturating_sub(1)
    }
}

fn place(segment: &Segment, text: &[u8]) -> Result<usize, usize> {
    segment.binary_search_by(|(other, _)| (**other).cmp(text))
}

/// Lets the segment before take over, if it has room.
fn join(segments: &mut Vec<Arc<Segment>>, at: usize) {
    let len = |at: usize| segments.get(at).map_or(0, |segment| segment.len());
    let Some(before) = at.checked_sub(1) else {
        return;
    };
    if len(before) + len(at) > SEGMENT_MAX / 2 {
        return;
    }
    let segment = Arc::unwrap_or_clone(segments.remove(at));
    if let Some(before) = segments.get_mut(before) {
        Arc::make_mut(before).extend(segment);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<Vec<u8>, BTreeSet<u64>>;

    fn text(n: u16) -> Vec<u8> {
        format!("{}{n}", ["a", "ab", "b"][usize::from(n % 3)]).into_bytes()
    }

    fn seqs(set: &Set) -> BTreeSet<u64> {
        set.bitmap().iter().collect()
    }

    fn check(dictionary: &Dictionary, model: &Model) {
        let held = |(text, set): &Entry| (text.to_vec(), seqs(set));
        for prefix in ["", "a", "ab", "ab1", "a1", "a29", "b", "b2", "c"] {
            let prefix = prefix.as_bytes();
            let got: Vec<_> = dictionary.beginning_with(prefix).map(held).collect();
            let want = model.iter().filter(|(text, _)| text.starts_with(prefix));
            let want: Vec<_> = want.map(|(t, s)| (t.clone(), s.clone())).collect();
            assert_eq!(got, want);
        }
        for n in (0..1500).step_by(70) {
            assert_eq!(
                dictionary.get(&text(n)).map(seqs),
                model.get(&text(n)).cloned()
            );
        }
        for segment in dictionary.0.iter() {
            assert!((1..=SEGMENT_MAX).contains(&segment.len()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_an_ordered_map_and_clones_stay(
            changes in prop::collection::vec((0..1500_u16, 1..700_u16, any::<bool>(), 0..3_u64), 1..12),
        ) {
            let (mut dictionary, mut model) = (Dictionary::default(), Model::new());
            for (first, count, add, seq) in changes {
                let (kept, was) = (dictionary.clone(), model.clone());
                for n in first..first + count {
                    let text = text(n);
                    if add {
                        dictionary.insert(&text, seq);
                        model.entry(text).or_default().insert(seq);
                        continue;
                    }
                    dictionary.remove(&text, seq);
                    if let Some(seqs) = model.get_mut(&text) {
                        seqs.remove(&seq);
                    }
                    model.retain(|_, seqs| !seqs.is_empty());
                }
                check(&dictionary, &model);
                check(&kept, &was);
            }
        }
    }
}
