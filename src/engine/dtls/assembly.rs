//! Puts one handshake message together from its fragments (RFC 6347 §4.2.3), which may come in any
//! order, overlap and come again.

use crate::wire::dtls::handshake::{Fragment, MsgType};

/// Longest message taken: a hello with every known extension has under 600 bytes.
pub(super) const MESSAGE_MAX: usize = 2048;

/// Pieces that don't touch yet.
const RANGES_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Assembly {
    msg_type: MsgType,
    message_seq: u16,
    body: Vec<u8>,
    /// What is there: ascending, apart from each other.
    ranges: Vec<(usize, usize)>,
}

impl Assembly {
    /// `None`: the message is too long.
    pub(super) fn begin(fragment: &Fragment<'_>) -> Option<Self> {
        let len = usize::try_from(fragment.length).ok()?;
        (len <= MESSAGE_MAX).then(|| Self {
            msg_type: fragment.msg_type,
            message_seq: fragment.message_seq,
            body: vec![0; len],
            ranges: Vec::new(),
        })
    }

    /// Takes a fragment; those of another message are left out. `Some`: the message's body, whole.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>) -> Option<&[u8]> {
        let from = usize::try_from(fragment.offset).ok()?;
        let to = from.checked_add(fragment.body.len())?;
        if self.is_of(fragment)
            && let Some(place) = self.body.get_mut(from..to)
        {
            place.copy_from_slice(fragment.body);
            self.note(from, to);
        }
        let is_whole = self.body.is_empty() || self.ranges.as_slice() == [(0, self.body.len())];
        is_whole.then_some(self.body.as_slice())
    }

    /// Whether the fragment says that it is of this message.
    pub(super) fn is_of(&self, fragment: &Fragment<'_>) -> bool {
        fragment.msg_type == self.msg_type
            && fragment.message_seq == self.message_seq
            && usize::try_from(fragment.length) == Ok(self.body.len())
    }

    /// Whether the body has these bytes at this place, as far as it came.
    pub(super) fn has(&self, at: usize, bytes: &[u8]) -> bool {
        let place = at..at.saturating_add(bytes.len());
        self.body.get(place) == Some(bytes)
    }

    fn note(&mut self, from: usize, to: usize) {
        let (mut from, mut to) = (from, to);
        // All that touch the new range become one with it.
        self.ranges.retain(|(start, end)| {
            let touches = *start <= to && from <= *end;
            if touches {
                from = from.min(*start);
                to = to.max(*end);
            }
            !touches
        });
        if self.ranges.len() < RANGES_MAX {
            let at = self.ranges.partition_point(|(start, _)| *start < from);
            self.ranges.insert(at, (from, to));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fragment(body: &[u8], from: usize, to: usize) -> Fragment<'_> {
        Fragment {
            msg_type: MsgType::CLIENT_HELLO,
            message_seq: 0,
            length: u32::try_from(body.len()).unwrap(),
            offset: u32::try_from(from).unwrap(),
            body: &body[from..to],
        }
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_the_message(
            body in prop::collection::vec(any::<u8>(), 1..400),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..80_usize), 0..12),
        ) {
            let mut assembly = Assembly::begin(&fragment(&body, 0, 0)).unwrap();
            let mut covered = vec![false; body.len()];
            let mut done = false;
            let pieces = cuts.iter().map(|(at, len)| {
                let from = at.index(body.len());
                (from, (from + len).min(body.len()))
            });
            let rest = (0..body.len()).step_by(50).rev().map(|at| (at, (at + 50).min(body.len())));
            for (from, to) in pieces.chain(rest) {
                covered[from..to].fill(true);
                let whole = assembly.add(&fragment(&body, from, to)).map(<[u8]>::to_vec);
                let want = covered.iter().all(|c| *c);
                prop_assert_eq!(whole.is_some(), want, "{:?}", covered);
                if let Some(whole) = whole {
                    prop_assert_eq!(&whole, &body);
                    done = true;
                }
            }
            prop_assert!(done);
        }

        #[test]
        fn any_fragment_is_no_panic(
            fragments in prop::collection::vec(
                (0..3_u8, 0..2_u16, 0..3000_u32, 0..3000_u32, 0..100_usize), 1..20,
            ),
        ) {
            let bytes = [7; 100];
            let mut assembly = None;
            for (msg_type, message_seq, length, offset, len) in fragments {
                let body = &bytes[..len];
                let msg_type = MsgType(msg_type);
                let fragment = Fragment { msg_type, message_seq, length, offset, body };
                if assembly.is_none() {
                    assembly = Assembly::begin(&fragment);
                }
                if let Some(assembly) = &mut assembly {
                    assembly.add(&fragment);
                }
            }
        }
    }
}
