//! Devices in the order of a text, without the text: what lies on disk in order (node ids, names) is cut into
//! segments of some hundred rows, and of each segment memory holds its smallest key and the `seq`s in it.
//!
//! ```text
//! on disk    a1 a2 a3 | b1 b2 b3 b4 | c1 c2 …      rows, in order of keys
//! in memory  ""→{…}     "b1"→{…}      "c1"→{…}     a fence, and the seqs up to the next one
//! ```
//! A span of keys is the union of the segments inside it, and at most two pieces of segments, which are read from
//! disk. A segment that has grown is cut anew from disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Devices of a segment when it is made.
const SEGMENT: usize = 512;

/// A segment with more is cut.
const SEGMENT_MAX: usize = 768;

/// A segment with fewer joins the one before it, if there is room.
const SEGMENT_MIN: usize = 64;

/// Devices that a full segment has room for beyond those it holds.
const SLACK: usize = 32;

/// Segments by their fences. The first has the empty fence.
#[derive(Debug)]
pub struct Ordered(BTreeMap<Box<[u8]>, Arc<Vec<u64>>>);

/// The devices between two keys.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// Whole segments.
    pub inside: Vec<Arc<Vec<u64>>>,
    /// What is to be read from disk: keys, from inclusive to exclusive.
    pub edges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Ordered {
    fn default() -> Self {
        Self(BTreeMap::from([(Box::default(), Arc::default())]))
    }
}

impl Ordered {
    /// Adds a row that lies behind all others: for loading.
    pub fn push(&mut self, key: &[u8], seq: u64) {
        if let Some(mut last) = self.0.last_entry()
            && last.get().len() < SEGMENT
        {
            let seqs = Arc::make_mut(last.get_mut());
            if seqs.is_empty() {
                seqs.reserve_exact(SEGMENT);
            }
            seqs.push(seq);
            return;
        }
        let mut seqs = Vec::with_capacity(SEGMENT);
        seqs.push(seq);
        self.0.insert(key.into(), Arc::new(seqs));
    }

    pub fn insert(&mut self, key: &[u8], seq: u64) {
        if let Some((_, segment)) = self.0.range_mut::<[u8], _>(up_to(key)).next_back() {
            let seqs = Arc::make_mut(segment);
            if seqs.len() == seqs.capacity() {
                seqs.reserve_exact(SLACK);
            }
            seqs.push(seq);
        }
    }

    pub fn remove(&mut self, key: &[u8], seq: u64) {
        let Some((fence, segment)) = self.0.range_mut::<[u8], _>(up_to(key)).next_back() else {
            return;
        };
        let seqs = Arc::make_mut(segment);
        if let Some(at) = seqs.iter().position(|other| *other == seq) {
            seqs.swap_remove(at);
        }
        if seqs.len() < SEGMENT_MIN && !fence.is_empty() {
            let (fence, rest) = (fence.clone(), Arc::clone(segment));
            self.join(&fence, &rest);
        }
    }

    /// Lets the segment before take over, if it has room.
    fn join(&mut self, fence: &[u8], rest: &[u64]) {
        let before = (Bound::Unbounded, Bound::Excluded(fence));
        let Some((_, segment)) = self.0.range_mut::<[u8], _>(before).next_back() else {
            return;
        };
        if segment.len().saturating_add(rest.len()) <= SEGMENT {
            Arc::make_mut(segment).extend_from_slice(rest);
            self.0.remove(fence);
        }
    }

    /// The keys of the segment around `key`, if it must be cut: its fence and the next one.
    pub fn grown(&self, key: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let (fence, segment) = self.0.range::<[u8], _>(up_to(key)).next_back()?;
        let behind = (Bound::Excluded(&**fence), Bound::Unbounded);
        let next = self.0.range::<[u8], _>(behind).next();
        (segment.len() > SEGMENT_MAX).then(|| (fence.to_vec(), next.map(|(next, _)| next.to_vec())))
    }

    /// Cuts the segment with this fence: `rows` are its rows as they lie on disk.
    pub fn cut(&mut self, fence: &[u8], rows: &[(Vec<u8>, u64)]) {
        let pieces = rows.len().div_ceil(SEGMENT).max(1);
        let size = rows.len().div_ceil(pieces).max(1);
        self.0.insert(fence.into(), Arc::default());
        for (n, piece) in rows.chunks(size).enumerate() {
            let seqs = Arc::new(piece.iter().map(|(_, seq)| *seq).collect());
            match piece.first() {
                Some((key, _)) if n > 0 => drop(self.0.insert(key.as_slice().into(), seqs)),
                _ => drop(self.0.insert(fence.into(), seqs)),
            }
        }
    }

    /// The devices with keys from `from` (inclusive) to `to` (exclusive).
    pub fn span(&self, from: &[u8], to: &[u8]) -> Span {
        let mut span = Span::default();
        let first = self.0.range::<[u8], _>(up_to(from)).next_back();
        let first = first.map_or_else(Box::default, |(fence, _)| fence.clone());
        let onward = (Bound::Included(&*first), Bound::Unbounded);
        let mut segments = self.0.range::<[u8], _>(onward).peekable();
        while let Some((fence, seqs)) = segments.next().filter(|(fence, _)| &***fence < to) {
            let next = segments.peek().map(|(fence, _)| &***fence);
            match next {
                Some(next) if &**fence >= from && next <= to => span.inside.push(Arc::clone(seqs)),
                _ => {
                    let end = next.map_or(to, |next| next.min(to));
                    span.edges.push((from.max(fence).to_vec(), end.to_vec()));
                }
            }
        }
        span
    }
}

const fn up_to(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What lies on disk: keys with their numbers.
    type Disk = BTreeMap<Vec<u8>, u64>;

    fn key(n: u16) -> Vec<u8> {
        format!("k{n:05}").into_bytes()
    }

    /// Changes disk and memory, and cuts what has grown, as the committer does.
    fn change(disk: &mut Disk, ordered: &mut Ordered, n: u16, add: bool) {
        let (key, seq) = (key(n), u64::from(n));
        let was_in = disk.contains_key(&key);
        match add {
            true if !was_in => {
                disk.insert(key.clone(), seq);
                ordered.insert(&key, seq);
            }
            false if was_in => {
                disk.remove(&key);
                ordered.remove(&key, seq);
            }
            _ => {}
        }
        if let Some((fence, next)) = ordered.grown(&key) {
            let next = next.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = disk.range((Bound::Included(fence.clone()), next));
            let rows: Vec<_> = rows.map(|(key, seq)| (key.clone(), *seq)).collect();
            ordered.cut(&fence, &rows);
        }
    }

    fn found(disk: &Disk, ordered: &Ordered, from: &[u8], to: &[u8]) -> Vec<u64> {
        let span = ordered.span(from, to);
        assert!(span.edges.len() <= 2, "{:?}", span.edges);
        let mut found: Vec<u64> = span.inside.iter().flat_map(|s| s.iter().copied()).collect();
        for (from, to) in span.edges {
            let rows: Vec<u64> = disk.range(from..to).map(|(_, seq)| *seq).collect();
            assert!(rows.len() <= SEGMENT_MAX);
            found.extend(rows);
        }
        found.sort_unstable();
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn spans_are_what_lies_on_disk(
            loaded in 0..3000_u16,
            changes in prop::collection::vec((0..4000_u16, 1..900_u16, any::<bool>()), 0..12),
            spans in prop::collection::vec((0..4000_u16, 0..4000_u16), 8),
        ) {
            let (mut disk, mut ordered) = (Disk::new(), Ordered::default());
            for n in 0..loaded {
                disk.insert(key(n), u64::from(n));
                ordered.push(&key(n), u64::from(n));
            }
            for (first, count, add) in changes {
                for n in first..first + count {
                    change(&mut disk, &mut ordered, n, add);
                }
            }
            for (from, to) in spans {
                let (from, to) = (key(from.min(to)), key(from.max(to)));
                let want: Vec<u64> = disk.range(from.clone()..to.clone()).map(|r| *r.1).collect();
                prop_assert_eq!(found(&disk, &ordered, &from, &to), want);
            }
        }
    }
}
