//! One device's commands: which goes next, and whose an answer is.
//!
//! Queued commands go one after the other, the next when the one before has ended. What is sent
//! immediately may overtake them, unless the codec can't tell whose an answer is: then commands of the
//! device are strictly serial. An answer belongs to the command whose token or correlation id (`mid`) it
//! carries; one with neither to the only command that it can belong to, and to nobody's when an
//! earlier command may still be answered.

/// A command that was sent and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub mid: u16,
    /// Its answer carries the mid.
    pub by_mid: bool,
    /// An answer is possible: the message is on its way, or there.
    pub on_air: bool,
}

/// Whether a queued command may go: nothing is open.
pub const fn may_go(open: &[Open]) -> bool {
    open.is_empty()
}

/// Whether a command may go at once although others are open: their answers, and its own, can be told apart.
pub fn may_overtake(open: &[Open]) -> bool {
    open.iter().all(|other| other.by_mid && other.on_air)
}

/// Whose an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// That of the open commands.
    Open(usize),
    /// That of the resting ones.
    Rested(usize),
    /// It could be that of a command that rests, or of the one that is open: nobody's.
    Ambiguous,
    /// No command that it could belong to.
    Nobody,
}

/// Whose an answer with this `mid`, or none, is. `rested`: mids of resting commands whose answer carries them;
/// `debts`: commands that rest and whose answer carries none.
pub fn owner(mid: Option<u16>, open: &[Open], rested: &[u16], debts: u32) -> Owner {
    if let Some(mid) = mid {
        let is_it = |one: &Open| one.by_mid && one.on_air && one.mid == mid;
        if let Some(at) = open.iter().position(is_it) {
            return Owner::Open(at);
        }
        return match rested.iter().position(|other| *other == mid) {
            Some(at) => Owner::Rested(at),
            None => Owner::Nobody,
        };
    }
    let mut candidates = open
        .iter()
        .enumerate()
        .filter(|(_, one)| one.on_air && !one.by_mid);
    match (candidates.next(), candidates.next(), debts) {
        (Some((at, _)), None, 0) => Owner::Open(at),
        (None, _, 0) => Owner::Nobody,
        (_, _, _) => Owner::Ambiguous,
    }
}

/// The correlation id after `last`, from 1 to 65535, that none of `used` has.
pub fn next_mid(last: u16, used: &[u16]) -> u16 {
    let mut mid = last;
    // Ends, since fewer than 65535 are ever in use.
    for _ in 0..=used.len() {
        mid = match mid {
            u16::MAX => 1,
            below => below + 1,
        };
        if !used.contains(&mid) {
            break;
        }
    }
    mid
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn open(mid: u16, by_mid: bool) -> Open {
        Open {
            mid,
            by_mid,
            on_air: true,
        }
    }

    #[test]
    fn answers_find_their_command() {
        let waiting = Open {
            on_air: false,
            ..open(9, true)
        };
        type Case = (Option<u16>, Vec<Open>, Vec<u16>, u32, Owner);
        let cases: Vec<Case> = vec![
            (Some(7), vec![open(7, true)], vec![], 0, Owner::Open(0)),
            (
                Some(7),
                vec![open(8, true), open(7, true)],
                vec![],
                0,
                Owner::Open(1),
            ),
            (Some(7), vec![open(8, true)], vec![7], 0, Owner::Rested(0)),
            (Some(7), vec![open(8, true)], vec![], 0, Owner::Nobody),
            (Some(9), vec![waiting], vec![], 0, Owner::Nobody),
            (Some(7), vec![open(7, false)], vec![], 0, Owner::Nobody),
            (None, vec![open(7, false)], vec![], 0, Owner::Open(0)),
            (
                None,
                vec![open(7, true), open(8, false)],
                vec![],
                0,
                Owner::Open(1),
            ),
            (None, vec![open(7, true)], vec![], 0, Owner::Nobody),
            (None, vec![open(7, false)], vec![], 1, Owner::Ambiguous),
            (None, vec![], vec![], 1, Owner::Ambiguous),
            (None, vec![open(7, false)], vec![6], 0, Owner::Open(0)),
        ];
        for (mid, open, rested, debts, want) in cases {
            assert_eq!(
                owner(mid, &open, &rested, debts),
                want,
                "{mid:?} {open:?} {rested:?}"
            );
        }
    }

    #[test]
    fn who_may_go() {
        assert!(may_go(&[]) && !may_go(&[open(1, true)]));
        assert!(may_overtake(&[]) && may_overtake(&[open(1, true)]));
        assert!(!may_overtake(&[open(1, false)]));
    }

    #[test]
    fn correlation_ids_go_round_past_those_in_use() {
        assert_eq!(next_mid(0, &[]), 1);
        assert_eq!(next_mid(u16::MAX, &[]), 1);
        assert_eq!(next_mid(4, &[6, 5]), 7);
        assert_eq!(next_mid(u16::MAX - 1, &[u16::MAX, 1]), 2);
    }
}
