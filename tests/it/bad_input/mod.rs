//! Requests made from what the API reference lists: each field and query parameter of the wrong
//! type, missing, null, empty, at and over its limit, with an illegal character, outside its words.
//!
//! A [`Call`] says what an operation takes; [`check`] sends everything that it does not, and compares
//! the answers and what the server holds before and after. Whoever adds an operation adds a call.

use axum::http::Method;
use serde_json::{Value, json};
use strait::store::Store;

use crate::api::Server;

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
    /// Hexadecimal digits, exactly so many.
    Fingerprint,
    Bool,
    /// From 0 to this.
    Whole(u64),
    Word(&'static [&'static str]),
    /// With any fields.
    Object,
    /// Least and most entries.
    List(usize, usize),
}

/// One field of a body, or one query parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// In the body: `/auth_info/secret`; of a query the name.
    pub(crate) place: &'static str,
    pub(crate) takes: Takes,
    pub(crate) needed: bool,
}

pub(crate) const fn needed(place: &'static str, takes: Takes) -> Field {
    Field {
        place,
        takes,
        needed: true,
    }
}

pub(crate) const fn optional(place: &'static str, takes: Takes) -> Field {
    Field {
        place,
        takes,
        needed: false,
    }
}

/// An operation, a request that it takes, and what it takes.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Without `?`.
    pub(crate) query: &'static str,
    /// `None`: it takes no body.
    pub(crate) body: Option<Value>,
    pub(crate) body_fields: Vec<Field>,
    pub(crate) query_fields: Vec<QueryField>,
}

/// A query parameter with values that are refused: code and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryField {
    pub(crate) name: &'static str,
    pub(crate) bad: &'static [(&'static str, &'static str)],
    /// Values at its limits.
    pub(crate) good: &'static [&'static str],
}

const INVALID: &str = "IOTDA.000006";

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

/// One request and what must come of it.
struct Case {
    about: String,
    query: String,
    body: Option<Value>,
    /// `None`: this field is not refused.
    refused: Option<&'static str>,
    /// What the message must name.
    named: String,
}

/// Sends everything that the calls don't take; tells every answer that is not as it should be.
pub(crate) async fn check(server: &Server, calls: &[Call]) {
    let mut failures = Vec::new();
    let mut count = 0;
    for call in calls {
        for case in cases(call) {
            count += 1;
            let before = holds(server);
            let answer = server
                .call(
                    call.method.clone(),
                    &url(call, &case.query),
                    case.body.as_ref(),
                )
                .await;
            let (status, code, message) = answer.error();
            let fits = match case.refused {
                Some(want) => status == 400 && code == want && message.contains(&case.named),
                // Something else may be wrong with a value at its limit, this field is not.
                None => {
                    // What the model lacks is not the form of a field.
                    let form = ["has ", "got ", "is "].map(|word| format!("{}{word}", case.named));
                    let is_form = form.iter().any(|start| message.contains(start));
                    status < 500 && (!is_form || message.contains("the model has"))
                }
            };
            if !fits {
                failures.push(format!(
                    "{} {} {}: {status} {code} {message:.200}\n  want {:?} {:?}",
                    call.method, call.path, case.about, case.refused, case.named
                ));
            }
            if case.refused.is_some() && holds(server) != before {
                failures.push(format!("{} {}: changed something", call.path, case.about));
            }
        }
    }
    assert!(count > 0, "nothing was sent");
    assert!(
        failures.is_empty(),
        "{} of {count}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn url(call: &Call, query: &str) -> String {
    match query {
        "" => call.path.clone(),
        query => format!("{}?{query}", call.path),
    }
}

/// All that a request could change.
pub(crate) fn holds(server: &Server) -> String {
    let store = &server.store;
    let mut devices = Vec::new();
    store
        .each_device(&mut |device, state| {
            devices.push(format!("{device:?} {state:?}"));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    devices.sort_unstable();
    let (groups, products) = (store.groups().unwrap(), store.products().unwrap());
    let (apps, last) = (store.apps().unwrap(), store.last_event());
    format!("{devices:?} {groups:?} {products:?} {apps:?} {last}")
}

fn cases(call: &Call) -> Vec<Case> {
    let mut cases = Vec::new();
    for field in &call.query_fields {
        let with = |value: &str| {
            let others = call
                .query
                .split('&')
                .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(field.name));
            let mut pairs: Vec<String> = others.map(str::to_owned).collect();
            pairs.push(format!("{}={value}", field.name));
            pairs.join("&")
        };
        let case = |value: &str, refused| Case {
            about: format!("{}={value:.60}", field.name),
            query: with(value),
            body: call.body.clone(),
            refused,
            named: format!("{}: ", field.name),
        };
        cases.extend(
            field
                .bad
                .iter()
                .map(|(code, value)| case(value, Some(*code))),
        );
        cases.extend(field.good.iter().map(|value| case(value, None)));
        let twice = field.good.first().copied().unwrap_or("a");
        cases.push(Case {
            query: format!("{}&{}={twice}", with(twice), field.name),
            about: format!("{} twice", field.name),
            ..case(twice, Some(INVALID))
        });
    }
    let Some(body) = &call.body else {
        return cases;
    };
    let case = |about: String, body: Value, refused, named: &str| Case {
        about,
        query: call.query.to_owned(),
        body: Some(body),
        refused,
        named: named.to_owned(),
    };
    for wrong in [json!([]), json!("x"), json!(1), json!(true), json!(null)] {
        cases.push(case(
            format!("body {wrong}"),
            wrong,
            Some(INVALID),
            "body: got ",
        ));
    }
    for field in &call.body_fields {
        let name = path_of(field.place);
        let named = format!("{name}: ");
        let mut push = |about: &str, value: Option<Value>, refused: Option<&'static str>| {
            let changed = put(body, field.place, value);
            cases.push(case(format!("{name} {about}"), changed, refused, &named));
        };
        let is_needed = field.needed.then_some(INVALID);
        push("absent", None, is_needed);
        push("null", Some(Value::Null), is_needed);
        for (about, value) in bad_values(field.takes) {
            push(about, Some(value), Some(INVALID));
        }
        for (about, value) in good_values(field.takes) {
            push(about, Some(value), None);
        }
    }
    cases
}

/// `/shadow/0/service_id` as errors name it: `shadow[0].service_id`.
fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(at) => path.push_str(&format!("[{at}]")),
            Err(_) if path.is_empty() => path.push_str(part),
            Err(_) => path.push_str(&format!(".{part}")),
        }
    }
    path
}

/// The body with one field changed or taken away; what leads to it is made.
fn put(body: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut changed = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if let Some(top) = parent.strip_prefix('/').filter(|top| !top.contains('/'))
        && changed[top].is_null()
    {
        changed[top] = json!({});
    }
    let parent = changed.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(map), Some(value)) => drop(map.insert(name.to_owned(), value)),
        (Value::Object(map), None) => drop(map.shift_remove(name)),
        (Value::Array(list), value) => list[name.parse::<usize>().unwrap()] = value.into(),
        (other, _) => panic!("{pointer}: nothing to change in {other}"),
    }
    changed
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
        Takes::Whole(_) => "number",
        Takes::Object => "object",
        Takes::List(..) => "list",
        _ => "text",
    };
    all.into_iter().filter(|(name, _)| *name != own).collect()
}

fn bad_values(takes: Takes) -> Vec<(&'static str, Value)> {
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
        Takes::Fingerprint => bad.extend([
            ("empty", json!("")),
            ("of 39 digits", text(39)),
            ("of 41 digits", text(41)),
            ("of 65 digits", text(65)),
            ("no hex", json!("g".repeat(40))),
        ]),
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
        Takes::Object => bad.extend([
            ("too large", json!({"a": "a".repeat(20_000)})),
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

fn good_values(takes: Takes) -> Vec<(&'static str, Value)> {
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
        Takes::Secret(min, max) => vec![("shortest", text(min)), ("longest", text(max))],
        Takes::Fingerprint => vec![("SHA-1", text(40)), ("SHA-256", text(64))],
        Takes::Bool => vec![("false", json!(false))],
        Takes::Whole(max) => vec![("0", json!(0)), ("at its limit", json!(max))],
        Takes::Word(words) => words.iter().map(|word| (*word, json!(word))).collect(),
        Takes::Object => vec![("empty", json!({}))],
        Takes::List(..) => Vec::new(),
    }
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
