//! Query parameters that many operations take, with what they refuse.

use super::QueryField;

pub(crate) const INVALID: &str = "IOTDA.000006";

/// `limit`, `offset` and `marker`, as every list takes them.
pub(crate) const PAGE: [QueryField; 3] = [
    QueryField {
        name: "limit",
        bad: &[
            ("IOTDA.000017", "0"),
            ("IOTDA.000017", "51"),
            ("IOTDA.000017", "-1"),
            ("IOTDA.000017", "+1"),
            ("IOTDA.000017", "1.5"),
            ("IOTDA.000017", "ten"),
            ("IOTDA.000017", ""),
            ("IOTDA.000017", "99999999999999999999"),
        ],
        good: &["1", "50"],
    },
    QueryField {
        name: "offset",
        bad: &[
            (INVALID, "501"),
            (INVALID, "-1"),
            (INVALID, "x"),
            (INVALID, ""),
        ],
        good: &["0", "500"],
    },
    QueryField {
        name: "marker",
        bad: &[
            ("IOTDA.000018", ""),
            ("IOTDA.000018", "fffffffffffffffffffffff"),
            ("IOTDA.000018", "fffffffffffffffffffffffff"),
            ("IOTDA.000018", "gggggggggggggggggggggggg"),
            ("IOTDA.000018", "00000000000000000000000%00"),
        ],
        good: &["ffffffffffffffffffffffff", "000000000000000000000000"],
    },
];

pub(crate) const ID_36: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const ID_37: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub(crate) const APP: QueryField = QueryField {
    name: "app_id",
    bad: &[
        (INVALID, ""),
        (INVALID, "a.b"),
        (INVALID, ID_37),
        (INVALID, "a%00"),
    ],
    good: &[ID_36],
};

pub(crate) const fn time(name: &'static str) -> QueryField {
    QueryField {
        name,
        bad: &[
            ("IOTDA.000009", ""),
            ("IOTDA.000009", "2026-13-01"),
            ("IOTDA.000009", "20261301T000000Z"),
            ("IOTDA.000009", "now"),
        ],
        good: &["20260101T000000Z"],
    }
}

/// One of these words; `bad` is none of them.
pub(crate) const fn word(name: &'static str, good: &'static [&'static str]) -> QueryField {
    QueryField {
        name,
        bad: &[(INVALID, ""), (INVALID, "nonsense"), (INVALID, "%00")],
        good,
    }
}

pub(crate) const BOOL: &[&str] = &["true", "false"];

/// Chinese characters, letters, digits and signs, up to 64.
pub(crate) const fn name(name: &'static str) -> QueryField {
    QueryField {
        name,
        bad: &[
            (INVALID, ""),
            (INVALID, "a%3Cb"),
            (INVALID, "a%00b"),
            (INVALID, "a%0d%0ab"),
            (INVALID, NAME_65),
        ],
        good: &["%E6%B0%B4"],
    }
}

/// The same, up to 256.
pub(crate) fn long_name(name: &'static str) -> QueryField {
    let over: &'static str = "a".repeat(257).leak();
    let full: &'static str = "a".repeat(256).leak();
    QueryField {
        name,
        bad: vec![
            (INVALID, ""),
            (INVALID, "a%3Cb"),
            (INVALID, "a%00b"),
            (INVALID, over),
        ]
        .leak(),
        good: vec![full, "%E6%B0%B4"].leak(),
    }
}

const NAME_65: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Any text of up to `max`.
pub(crate) fn text(name: &'static str, max: usize) -> QueryField {
    let over: &'static str = "a".repeat(max + 1).leak();
    let full: &'static str = "a".repeat(max).leak();
    QueryField {
        name,
        bad: vec![(INVALID, over)].leak(),
        good: vec![full].leak(),
    }
}

/// A marker of 32 digits.
pub(crate) const LONG_MARKER: QueryField = QueryField {
    name: "marker",
    bad: &[
        ("IOTDA.000018", ""),
        ("IOTDA.000018", "ffffffffffffffffffffffff"),
        ("IOTDA.000018", "gggggggggggggggggggggggggggggggg"),
        ("IOTDA.000018", "fffffffffffffffffffffffffffffffff"),
    ],
    good: &["ffffffffffffffffffffffffffffffff"],
};
