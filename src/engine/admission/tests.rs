use proptest::prelude::*;

use super::*;

const CELL: Place = Place {
    cell: 7,
    level: Some(2),
};

const fn at(s: u64) -> Timestamp {
    Timestamp::from_ms(s * 1000)
}

const fn rank(key: Key, ranked_s: u64, is_retry: bool) -> Rank {
    Rank {
        is_retry,
        ranked_at: at(ranked_s),
        key,
    }
}

#[test]
fn the_weaker_of_two_decides_the_level() {
    let radio = |rsrp, sinr, ce| Radio {
        cell: Some(1),
        rsrp_dbm: rsrp,
        sinr_db: sinr,
        ce_level: ce,
    };
    let cases = [
        (Some(-105), Some(7), None, Some(0)),
        (Some(-106), Some(30), None, Some(1)),
        (Some(-80), Some(6), None, Some(1)),
        (Some(-115), Some(-3), None, Some(1)),
        (Some(-116), Some(20), None, Some(2)),
        (Some(-80), Some(-4), None, Some(2)),
        // Outside of every range.
        (Some(-140), Some(-20), None, Some(2)),
        // One of them is not enough.
        (Some(-80), None, None, None),
        (Some(-80), None, Some(0), Some(0)),
        (None, None, Some(1), Some(0)),
        (None, None, Some(2), Some(1)),
        (None, None, Some(3), Some(2)),
        (None, None, Some(4), Some(2)),
        (None, None, Some(9), None),
        // Both are better than a level that may be old.
        (Some(-80), Some(20), Some(4), Some(0)),
    ];
    let table = Table::default();
    for (rsrp, sinr, ce, level) in cases {
        let got = table.place(&radio(rsrp, sinr, ce));
        assert_eq!(
            got,
            Some(Place { cell: 1, level }),
            "{rsrp:?} {sinr:?} {ce:?}"
        );
    }
    assert_eq!(table.place(&Radio::default()), None);
}

#[test]
fn slots_go_to_the_first_that_listens_and_sleepers_keep_their_rank() {
    let mut admission = Admission::default();
    admission.wait(CELL, rank(1, 10, false), None);
    admission.wait(CELL, rank(2, 20, false), Some(at(100)));
    admission.wait(CELL, rank(3, 5, true), Some(at(100)));
    // Level 2 has one slot: the sleeper is passed over, and the retry waits behind first attempts.
    assert_eq!(admission.next(at(30)), Some((2, CELL)));
    assert_eq!(admission.next(at(30)), None);
    admission.settle(2, true);
    admission.wait(CELL, rank(1, 10, false), Some(at(200)));
    let waiting = admission.waiting(3, at(30)).unwrap();
    assert_eq!((waiting.behind, waiting.taken, waiting.slots), (1, 1, 1));
    admission.leave(2);
    assert_eq!(admission.next(at(40)), Some((1, CELL)));
    // It could not be admitted, and waits on asleep: the next has the slot.
    admission.settle(1, false);
    assert_eq!(admission.next(at(40)), Some((3, CELL)));
    admission.settle(3, true);
    admission.leave(3);
    assert!(!admission.waiting(1, at(40)).unwrap().is_awake);
    // Whoever has fallen asleep meanwhile gets nothing.
    admission.wait(CELL, rank(1, 10, false), Some(at(50)));
    assert_eq!(admission.next(at(50)), None);
    assert_eq!(admission.len(), 1);
}

#[test]
fn a_limit_holds_a_pool_below_its_slots() {
    let mut admission = Admission::default();
    let place = Place {
        cell: 1,
        level: Some(0),
    };
    for key in 0..20 {
        admission.wait(place, rank(key, key, false), Some(at(1000)));
    }
    admission.limit(place, Some(12));
    let admitted = std::iter::from_fn(|| admission.next(at(1))).count();
    assert_eq!(admitted, 12);
    assert!(admission.waiting(15, at(1)).unwrap().for_airtime);
    admission.limit(place, None);
    assert_eq!(std::iter::from_fn(|| admission.next(at(1))).count(), 8);
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Wait(Key, u64, Option<u8>, bool, Option<u64>),
    Leave(Key),
    Settle(Key, bool),
    Hold(Key, u64),
    Next,
}

fn act() -> impl Strategy<Value = Act> {
    let key = 0u64..30;
    prop_oneof![
        (
            key.clone(),
            0u64..3,
            prop::option::of(0u8..3),
            any::<bool>(),
            prop::option::of(0u64..100)
        )
            .prop_map(|(k, c, l, r, a)| Act::Wait(k, c, l, r, a)),
        key.clone().prop_map(Act::Leave),
        (key.clone(), any::<bool>()).prop_map(|(k, ok)| Act::Settle(k, ok)),
        (key, 0u64..3).prop_map(|(k, c)| Act::Hold(k, c)),
        Just(Act::Next),
    ]
}

proptest! {
    /// Whatever happens: no pool admits beyond its slots, what is counted is what is held, and
    /// nothing is left when all have gone.
    #[test]
    fn slots_are_counted_right(acts in prop::collection::vec(act(), 0..200)) {
        let mut admission = Admission::default();
        for (now, act) in acts.into_iter().enumerate() {
            let now = at(now as u64);
            match act {
                Act::Wait(key, cell, level, is_retry, awake) => {
                    let rank = Rank { is_retry, ranked_at: now, key };
                    admission.wait(Place { cell, level }, rank, awake.map(at));
                }
                Act::Leave(key) => admission.leave(key),
                Act::Settle(key, admitted) => admission.settle(key, admitted),
                Act::Hold(key, cell) => admission.hold(key, Place { cell, level: Some(0) }),
                Act::Next => {
                    let before = admission.pools();
                    if let Some((_, place)) = admission.next(now) {
                        let pool = before.iter().find(|p| p.place == place).unwrap();
                        prop_assert!(pool.taken < pool.slots);
                    }
                }
            }
            let held = admission.entries.values().filter(|e| !matches!(e, Entry::Waits { .. }));
            let taken: u32 = admission.pools().iter().map(|p| p.taken).sum();
            prop_assert_eq!(held.count(), taken as usize);
            let waiting: usize = admission.pools().iter().map(|p| p.waiting).sum();
            prop_assert_eq!(waiting + taken as usize, admission.len());
        }
        for key in 0..30 {
            admission.leave(key);
        }
        prop_assert!(admission.is_empty());
        prop_assert!(admission.pools.is_empty());
    }
}
