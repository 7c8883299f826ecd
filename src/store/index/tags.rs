//! Devices by their tags: a dictionary of keys, and one of keys with their values.
//!
//! ```text
//! keys     city→{…}  floor→{…}
//! pairs    city ff Berlin→{…}  city ff Bonn→{…}  floor ff 1→{…}
//! ```
//! The byte `ff` is in no UTF-8, so it parts the two. A distinct tag costs 40 bytes and the allocation of its texts
//! (8 to 32 bytes more than they are long), with the segment's room to spare 75 to 150 bytes; its devices take a
//! bit to two bytes each where they are many, a single one nothing. A distinct key costs as much once more. Measured:
//! 84 bytes for `serial` with a number of its own for each device.
//!
//! Whatever asks for one key is a look-up or a span of neighbours. A value without its key, or with the beginning
//! of one, is looked up behind each key that there is; where keys are many, their tags are walked.

use roaring::RoaringTreemap;

use super::Set;
use super::dictionary::Dictionary;
use crate::store::find::TagText;
use crate::store::records::TagRecord;

/// Between key and value.
const PARTS: u8 = 0xff;

/// Tags that are loaded in one go. They are put in order first, so that neighbours come one after the other.
const LOAD: usize = 1 << 16;

/// Tags of one key in a row that are looked at before the next ones are leapt over.
const LEAP: u32 = 8;

/// Every tag with its devices.
#[derive(Debug, Clone, Default)]
pub struct Tags {
    keys: Dictionary,
    pairs: Dictionary,
    /// Loaded, and not in the dictionaries yet.
    waiting: Vec<(Pair, u64)>,
}

/// Key and value in one.
pub(super) type Pair = Box<[u8]>;

pub(super) fn pair(tag: &TagRecord) -> Pair {
    joined(&tag.tag_key, &tag.tag_value).into()
}

fn joined(key: &str, value: &str) -> Vec<u8> {
    let mut pair = Vec::with_capacity(key.len() + 1 + value.len());
    pair.extend_from_slice(key.as_bytes());
    pair.push(PARTS);
    pair.extend_from_slice(value.as_bytes());
    pair
}

fn parts(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |byte| *byte == PARTS);
    let key = parts.next().unwrap_or_default();
    (key, parts.next().unwrap_or_default())
}

impl Tags {
    /// Adds a device's tags. They are found after [`Self::loaded`].
    pub(super) fn load(&mut self, seq: u64, tags: &[Pair]) {
        let tags = tags.iter().map(|tag| (tag.clone(), seq));
        self.waiting.extend(tags);
        if self.waiting.len() >= LOAD {
            self.take_waiting();
        }
    }

    pub(super) fn loaded(&mut self) {
        self.take_waiting();
        self.waiting = Vec::new();
    }

    fn take_waiting(&mut self) {
        self.waiting.sort_unstable();
        for (pair, seq) in self.waiting.drain(..) {
            self.keys.insert(parts(&pair).0, seq);
            self.pairs.insert(&pair, seq);
        }
    }

    /// The device has `new` now, where it had `old`.
    pub(super) fn change(&mut self, seq: u64, old: &[Pair], new: &[Pair]) {
        for pair in old.iter().filter(|pair| !new.contains(pair)) {
            let (key, _) = parts(pair);
            self.pairs.remove(pair, seq);
            if !new.iter().any(|other| parts(other).0 == key) {
                self.keys.remove(key, seq);
            }
        }
        for pair in new.iter().filter(|pair| !old.contains(pair)) {
            self.pairs.insert(pair, seq);
            self.keys.insert(parts(pair).0, seq);
        }
    }

    /// The devices with such a tag, when that is one look-up.
    pub(super) fn look_up(&self, key: &TagText, value: &TagText) -> Option<Option<&Set>> {
        match (key, value) {
            (TagText::Is(key), TagText::Is(value)) => Some(self.pairs.get(&joined(key, value))),
            (TagText::Is(key), TagText::Any) => Some(self.keys.get(key.as_bytes())),
            _ => None,
        }
    }

    /// The devices with such a tag.
    pub fn search(&self, key: &TagText, value: &TagText) -> RoaringTreemap {
        let mut found = Union::default();
        match (key, value) {
            (TagText::Is(key), TagText::Is(value)) => {
                found.extend(self.pairs.get(&joined(key, value)));
            }
            (TagText::Is(key), TagText::Any) => found.extend(self.keys.get(key.as_bytes())),
            (TagText::Is(key), TagText::Begins(value)) => {
                let prefix = joined(key, value);
                let pairs = self.pairs.beginning_with(&prefix);
                found.extend(pairs.map(|(_, set)| set));
            }
            (TagText::Begins(_) | TagText::Any, TagText::Any) => {
                let keys = self.keys.beginning_with(key.text().as_bytes());
                found.extend(keys.map(|(_, set)| set));
            }
            (TagText::Begins(_) | TagText::Any, TagText::Is(_) | TagText::Begins(_)) => {
                self.values(key.text().as_bytes(), value, &mut found);
            }
        }
        found.all()
    }

    /// Adds who has such a value behind a key that begins so.
    fn values(&self, prefix: &[u8], wanted: &TagText, found: &mut Union) {
        let mut pairs = self.pairs.starting_at(prefix);
        let (mut last, mut misses): (&[u8], _) = (&[], 0);
        while let Some((pair, set)) = pairs.next().filter(|(pair, _)| pair.starts_with(prefix)) {
            let (key, value) = parts(pair);
            if wanted.fits_bytes(value) {
                misses = 0;
                found.extend(Some(set));
                continue;
            }
            misses = match key == last {
                true => misses + 1,
                false => 0,
            };
            last = key;
            if misses > LEAP {
                misses = 0;
                let mut next = [key, &[PARTS], wanted.text().as_bytes()].concat();
                if **pair >= *next {
                    // Behind the last value of the key.
                    next = [key, &[PARTS, PARTS]].concat();
                }
                pairs = self.pairs.starting_at(&next);
            }
        }
    }
}

/// Sets put together: small ones are sorted first, so that each number is put behind the others.
#[derive(Default)]
struct Union {
    few: Vec<u64>,
    many: RoaringTreemap,
}

impl Union {
    fn all(self) -> RoaringTreemap {
        let Self { mut few, mut many } = self;
        few.sort_unstable();
        few.dedup();
        many |= RoaringTreemap::from_iter(few);
        many
    }
}

impl<'a> Extend<&'a Set> for Union {
    fn extend<T: IntoIterator<Item = &'a Set>>(&mut self, sets: T) {
        for set in sets {
            match set {
                Set::One(one) => self.few.push(*one),
                Set::Few(few) => self.few.extend_from_slice(few),
                Set::Many(many) => self.many |= &**many,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag_text() -> impl Strategy<Value = TagText> {
        prop_oneof![
            Just(TagText::Any),
            "[ab]{0,3}".prop_map(TagText::Is),
            "[abc]{0,3}".prop_map(TagText::Begins),
        ]
    }

    /// Enough tags of one key for leaps, enough keys for none.
    fn tags() -> impl Strategy<Value = Vec<(u64, TagRecord)>> {
        let shapes = prop_oneof![
            Just(("[ab]{1,2}", "[ab水]{0,5}")),
            Just(("[ab]{0,6}", "[ab]{0,1}"))
        ];
        let one = |(key, value)| {
            (0..50_u64, key, value).prop_map(|(seq, tag_key, tag_value)| {
                let tag = TagRecord { tag_key, tag_value };
                (seq, tag)
            })
        };
        shapes.prop_flat_map(move |shape| prop::collection::vec(one(shape), 0..300))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_search_finds_what_fits(
            put in tags(),
            kept in 0..150_usize,
            asked in prop::collection::vec((tag_text(), tag_text()), 40),
        ) {
            let mut index = Tags::default();
            let of = |seq: u64, put: &[(u64, TagRecord)]| -> Vec<Pair> {
                let own = put.iter().filter(|(other, _)| *other == seq);
                own.map(|(_, tag)| pair(tag)).collect()
            };
            let left = &put[..kept.min(put.len())];
            for seq in 0..50 {
                match seq % 2 {
                    0 => index.load(seq, &of(seq, &put)),
                    _ => index.change(seq, &[], &of(seq, &put)),
                }
            }
            index.loaded();
            for seq in 0..50 {
                index.change(seq, &of(seq, &put), &of(seq, left));
            }
            for (key, value) in asked {
                let fits = |tag: &TagRecord| key.fits(&tag.tag_key) && value.fits(&tag.tag_value);
                let want = left.iter().filter(|(_, tag)| fits(tag)).map(|(seq, _)| *seq);
                let want: RoaringTreemap = want.collect();
                prop_assert_eq!(index.search(&key, &value), want.clone(), "{:?} {:?}", key, value);
                if let Some(found) = index.look_up(&key, &value) {
                    let found = found.map(Set::bitmap).unwrap_or_default();
                    prop_assert_eq!(&*found, &want, "{:?} {:?}", key, value);
                }
            }
        }
    }
}
