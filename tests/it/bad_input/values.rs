//! What a field takes, and values around that: of another type, at its limits and over them.

use serde_json::{Value, json};

/// What a field takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    /// `[A-Za-z0-9_-]`, 1 to this many.
    Id(usize),
    /// Chinese characters, letters, digits and `_?'#().,&%@!-`: least and most.
    Name(usize, usize),
    /// The same without most of the signs: `_.-`.
    Tag(usize, usize),
    /// Anything of this length, which may mean more.
    Text(usize, usize),
    /// `[A-Za-z0-9_-]` of this length, which must be more than that: a hex key.
    Secret(usize, usize),
    /// 40 or 64 hexadecimal digits.
    Fingerprint,
    /// Two hexadecimal digits for each byte, up to so many.
    Hex(usize),
    /// Chinese characters, letters, digits and `_`: least and most.
    Letters(usize, usize),
    /// `[A-Za-z0-9_-]`, up to this many.
    MaybeId(usize),
    /// PEM of up to so many bytes: text that means more.
    Pem(usize),
    /// A decimal number in a text, of up to 16 characters.
    Decimal,
    Time,
    Bool,
    /// From 0 to this.
    Whole(u64),
    /// A whole number, from and to.
    Range(u64, u64),
    /// Any number, from and to.
    Number(f64, f64),
    Word(&'static [&'static str]),
    /// `http` or `https`, up to so many characters.
    Url(usize),
    /// A host name with or without a port, or nothing.
    Host(usize),
    /// Letters and digits: least and most.
    Plain(usize, usize),
    /// Letters, digits and `_.:|-`: least and most.
    Queue(usize, usize),
    /// With any fields.
    Object,
    /// With fields of its own.
    Struct,
    /// Least and most entries.
    List(usize, usize),
}

fn wrong_types(takes: Takes) -> Vec<(&'static str, Value)> {
    let all = [
        ("number", json!(1)),
        ("boolean", json!(true)),
        ("text", json!("x")),
        ("list", json!([])),
        ("object", json!({})),
    ];
    let own = match takes {
        Takes::Bool => "boolean",
        Takes::Whole(_) | Takes::Range(..) | Takes::Number(..) => "number",
        Takes::Object | Takes::Struct => "object",
        Takes::List(..) => "list",
        _ => "text",
    };
    all.into_iter().filter(|(name, _)| *name != own).collect()
}

pub(super) fn bad_values(takes: Takes) -> Vec<(&'static str, Value)> {
    let text = |n: usize| json!("a".repeat(n));
    let mut bad = wrong_types(takes);
    match takes {
        Takes::Id(max) => bad.extend([
            ("empty", json!("")),
            ("over its limit", text(max + 1)),
            ("very long", text(100_000)),
            ("with a slash", json!("a/b")),
            ("with dots", json!("../a")),
            ("with NUL", json!("a\0b")),
            ("with a space", json!("a b")),
            ("Chinese", json!("水")),
        ]),
        Takes::Name(min, max) => {
            bad.extend([
                ("over its limit", text(max + 1)),
                ("with <", json!("a<b")),
                ("with NUL", json!("a\0b")),
                ("with a line end", json!("a\r\nb")),
                ("with a space", json!("a b")),
            ]);
            if min > 0 {
                bad.push(("empty", json!("")));
            }
        }
        Takes::Tag(min, max) => {
            bad.extend([
                ("over its limit", text(max + 1)),
                ("with a quote", json!("a'b")),
                ("with NUL", json!("a\0b")),
                ("with a space", json!("a b")),
            ]);
            if min > 0 {
                bad.push(("empty", json!("")));
            }
        }
        Takes::Text(min, max) => {
            bad.push(("over its limit", text(max + 1)));
            if min > 0 {
                bad.push(("empty", json!("")));
            }
        }
        Takes::Secret(min, max) => bad.extend([
            ("empty", json!("")),
            ("under its limit", text(min - 1)),
            ("over its limit", text(max + 1)),
            ("odd", text(min + 1)),
            ("no hex", json!("ghijklmn")),
            ("with a space", json!("0011 2233")),
        ]),
        Takes::Hex(max) => bad.extend([
            ("over its limit", text(max + 2)),
            ("odd", json!("012")),
            ("no hex", json!("0g")),
            ("with NUL", json!("0\0")),
        ]),
        Takes::Letters(min, max) => {
            bad.extend([
                ("over its limit", text(max + 1)),
                ("with a hyphen", json!("a-b")),
                ("with a space", json!("a b")),
                ("with NUL", json!("a\0b")),
            ]);
            if min > 0 {
                bad.push(("empty", json!("")));
            }
        }
        Takes::MaybeId(max) => bad.extend([
            ("over its limit", text(max + 1)),
            ("with a slash", json!("a/b")),
            ("with NUL", json!("a\0b")),
            ("Chinese", json!("水")),
        ]),
        Takes::Pem(max) => bad.extend([
            ("empty", json!("")),
            ("over its limit", text(max + 1)),
            ("over its limit in bytes", json!("水".repeat(max / 2))),
            ("no PEM", json!("-----BEGIN CERTIFICATE-----")),
        ]),
        Takes::Decimal => bad.extend([
            ("empty", json!("")),
            ("over its limit", json!("1".repeat(17))),
            ("words", json!("ten")),
            ("a sign alone", json!("-")),
            ("a point alone", json!("1.")),
            ("two points", json!("1.2.3")),
            ("a large exponent", json!("1e300")),
            ("with a line between", json!("1_0")),
            ("not a number", json!("NaN")),
            ("with a space", json!(" 1")),
        ]),
        Takes::Time => bad.extend([
            ("a word", json!("soon")),
            ("a date", json!("2026-13-01")),
            ("no month", json!("20261301T000000Z")),
            ("another zone", json!("20260301T120000+0100")),
            ("over its limit", text(100)),
        ]),
        Takes::Range(min, max) => {
            bad.extend([
                ("over its limit", json!(max + 1)),
                ("negative", json!(-1)),
                ("with a fraction", json!(1.5)),
                ("in a text", json!("1")),
                ("very large", json!(1e300)),
            ]);
            if min > 0 {
                bad.push(("under its limit", json!(min - 1)));
            }
        }
        Takes::Number(min, max) => {
            bad.extend([
                ("under its limit", json!(min - 0.1)),
                ("in a text", json!("1")),
            ]);
            if max < f64::MAX {
                bad.push(("over its limit", json!(max + 0.1)));
            }
        }
        Takes::Fingerprint => bad.extend([
            ("empty", json!("")),
            ("of 39 digits", text(39)),
            ("of 41 digits", text(41)),
            ("of 65 digits", text(65)),
            ("no hex", json!("g".repeat(40))),
        ]),
        Takes::Struct => {}
        Takes::Bool => bad.push(("a word", json!("true"))),
        Takes::Whole(max) => bad.extend([
            ("over its limit", json!(max + 1)),
            ("negative", json!(-1)),
            ("with a fraction", json!(1.5)),
            ("in a text", json!("1")),
        ]),
        Takes::Word(words) => bad.extend([
            ("no word of it", json!("nonsense")),
            ("empty", json!("")),
            ("in small letters or large", json!(other_case(words[0]))),
        ]),
        Takes::Url(max) => bad.extend([
            ("empty", json!("")),
            ("over its limit", json!(url_of(max + 1))),
            ("without a scheme", json!("push.example.org/")),
            ("of another scheme", json!("ftp://push.example.org/")),
            ("without a host", json!("http:///path")),
            ("with a password", json!("http://a:b@push.example.org/")),
            ("with a fragment", json!("http://push.example.org/#a")),
            ("with NUL", json!("http://push.example.org/\0")),
            (
                "with a line end",
                json!("http://push.example.org/\r\nHost: a"),
            ),
        ]),
        Takes::Host(max) => bad.extend([
            ("over its limit", text(max + 1)),
            ("with a space", json!("push example")),
            ("with a slash", json!("push.example.org/")),
            ("with an empty label", json!("push..example.org")),
            ("with a long label", text(64)),
            ("with port 0", json!("push:0")),
            ("with NUL", json!("push\0")),
            ("Chinese", json!("水")),
        ]),
        Takes::Plain(min, max) => bad.extend([
            ("empty", json!("")),
            ("under its limit", text(min - 1)),
            ("over its limit", text(max + 1)),
            ("with a hyphen", json!("abc-123")),
            ("with NUL", json!("abc\0")),
            ("Chinese", json!("水水水")),
        ]),
        Takes::Queue(min, max) => bad.extend([
            ("empty", json!("")),
            ("under its limit", text(min - 1)),
            ("over its limit", text(max + 1)),
            ("with a slash", json!("queue/name")),
            ("with a space", json!("queue name")),
            ("with NUL", json!("queue\0name")),
            ("Chinese", json!("水".repeat(min))),
        ]),
        Takes::Object => bad.extend([
            ("too large", json!({"a": "a".repeat(40_000)})),
            ("too deep", json!({"a": nested(40)})),
        ]),
        Takes::List(min, max) => {
            bad.push(("too long", Value::from(vec![json!({}); max + 1])));
            if min > 0 {
                bad.push(("empty", json!([])));
            }
        }
    }
    bad
}

pub(super) fn good_values(takes: Takes) -> Vec<(&'static str, Value)> {
    let text = |n: usize| json!("a".repeat(n));
    match takes {
        Takes::Id(max) | Takes::Text(_, max) => vec![("at its limit", text(max))],
        Takes::Name(_, max) => vec![
            ("at its limit", json!("水".repeat(max))),
            ("with every sign", json!("_?'#().,&%@!-")),
        ],
        Takes::Tag(_, max) => vec![
            ("at its limit", json!("水".repeat(max))),
            ("signs", json!("a_.-")),
        ],
        Takes::Hex(max) => vec![("empty", json!("")), ("at its limit", text(max))],
        Takes::Letters(_, max) => vec![("at its limit", json!("水".repeat(max)))],
        Takes::MaybeId(max) => vec![("empty", json!("")), ("at its limit", text(max))],
        Takes::Decimal => ["-1", "+0.5", "1e-3", "1234567890123456"]
            .map(|number| (number, json!(number)))
            .to_vec(),
        Takes::Time => vec![("a time", json!("20260302T120000Z"))],
        Takes::Range(min, max) => vec![("lowest", json!(min)), ("highest", json!(max))],
        Takes::Number(min, max) => vec![("lowest", json!(min)), ("highest", json!(max))],
        Takes::Secret(min, max) => vec![("shortest", text(min)), ("longest", text(max))],
        Takes::Fingerprint => vec![("SHA-1", text(40)), ("SHA-256", text(64))],
        Takes::Bool => vec![("false", json!(false))],
        Takes::Whole(max) => vec![("0", json!(0)), ("at its limit", json!(max))],
        Takes::Word(words) => words.iter().map(|word| (*word, json!(word))).collect(),
        Takes::Url(max) => vec![("at its limit", json!(url_of(max)))],
        Takes::Host(max) => vec![
            ("empty", json!("")),
            (
                "at its limit",
                json!("a".repeat(61) + &".aaa".repeat((max - 67) / 4) + ":65535"),
            ),
        ],
        Takes::Plain(min, max) => vec![("shortest", text(min)), ("longest", text(max))],
        Takes::Queue(min, max) => vec![
            ("shortest", text(min)),
            ("longest", text(max)),
            ("with every sign", json!("aA0_.:|-")),
        ],
        Takes::Object => vec![("empty", json!({}))],
        Takes::List(..) | Takes::Struct | Takes::Pem(_) => Vec::new(),
    }
}

/// A URL of this length.
fn url_of(len: usize) -> String {
    let start = "https://push.example.org/";
    format!("{start}{}", "a".repeat(len - start.len()))
}

fn other_case(word: &str) -> String {
    match word.to_lowercase() == word {
        true => word.to_uppercase(),
        false => word.to_lowercase(),
    }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}
