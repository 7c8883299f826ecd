//! Order and shape of keys.

use super::*;

#[test]
fn keys_sort_as_their_rows_are_read() {
    let at = |ms, serial| HistoryKey {
        received_at: Timestamp::from_ms(ms),
        serial,
    };
    let product = |text| ProductId::parse(text).unwrap();
    let ascending = [
        order(1),
        order(255),
        order(256),
        member(&product("a"), 300),
        member(&product("a-b"), 1),
        member(&product("b"), 1),
        history(1, at(999, 7)),
        history(1, at(1000, 0)),
        history(1, at(1000, 1)),
        history(2, at(0, 0)),
        event(9),
        event(u64::MAX),
        part(1, 2),
        part(1, 256),
    ];
    assert!(ascending.is_sorted(), "{ascending:x?}");
}

#[test]
fn names_lie_in_their_spans_alone() {
    let names = [
        "",
        "a",
        "a\0",
        "a\0b",
        "a\0\u{1}",
        "a\u{1}",
        "ab",
        "b",
        "\u{10ffff}",
        "ä",
    ];
    for name in names {
        for seq in [0, 1, u64::MAX] {
            let key = super::name(name, seq);
            assert_eq!(indexed_seq(&key, b"d"), Some(seq));
            for other in names {
                let (from, to) = names_of(other);
                assert_eq!(from <= key && key < to, name == other, "{name:?} {other:?}");
                let (from, to) = names_with(other);
                let is_in = from <= key && key < to;
                assert_eq!(is_in, name.starts_with(other), "{name:?} {other:?}");
            }
        }
    }
}

#[test]
fn members_of_one_product_stay_apart_from_longer_names() {
    let (from, to) = members(&ProductId::parse("a").unwrap());
    let inside = member(&ProductId::parse("a").unwrap(), u64::MAX);
    let outside = member(&ProductId::parse("a-").unwrap(), 0);
    assert!(from <= inside && inside < to);
    assert!(outside < from || outside >= to);
}

#[test]
fn timed_keys_come_back() {
    let at = HistoryKey {
        received_at: Timestamp::from_ms(1_700_000_000_123),
        serial: 42,
    };
    assert_eq!(split_timed(&history(7, at)), Some((7, at)));
    assert_eq!(split_timed(&event(1)), None);
    assert_eq!(leading_number(&event(77)), Some(77));
}
