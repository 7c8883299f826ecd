//! Clauses say what the tables say they do, errors tell their place, any text is read and any event
//! is judged without a panic, and what is printed reads back.

use proptest::prelude::*;
use serde_json::{Map, Number, json};

use super::ast::{Comparison, FUNCTIONS, Item, Operand, Path, Step};
use super::*;

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = table.lines();
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| line.split('\t').collect())
}

#[test]
fn filters_make_of_events_what_the_table_says() {
    let events: Value =
        serde_json::from_str(include_str!("../../../fixtures/sql/events.json")).unwrap();
    let mut failures = Vec::new();
    for row in rows(include_str!("../../../fixtures/sql/filters.tsv")) {
        let [event, select, condition, want] = row[..] else {
            panic!("bad fixture row: {row:?}");
        };
        let filter = match Filter::parse(Some(select), Some(condition)) {
            Ok(filter) => filter,
            Err(error) => {
                failures.push(format!("{select} | {condition}: {error}"));
                continue;
            }
        };
        let want: Option<Value> = (want != "no").then(|| serde_json::from_str(want).unwrap());
        let event = &events[event];
        let got = filter.apply(event);
        if got != want {
            let got = got.map(|value| value.to_string());
            failures.push(format!("{select} | {condition}: {got:?}"));
        }
        // The same from text, and from what is printed.
        let text = event.to_string();
        let pushed = filter.apply_text(&text).unwrap();
        assert_eq!(pushed.map(|p| serde_json::from_str(&p).unwrap()), want);
        let printed = filter.condition_text();
        let again = Filter::parse(Some(&filter.select_text()), printed.as_deref());
        assert_eq!(again, Ok(filter), "{printed:?}");
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn errors_tell_clause_place_and_what_is_taken() {
    let mut failures = Vec::new();
    let told = |clause: &str, text: &str| match clause {
        "select" => Filter::parse(Some(text), None),
        _ => Filter::parse(None, Some(text)),
    };
    for row in rows(include_str!("../../../fixtures/sql/errors.tsv")) {
        let [clause, text, want] = row[..] else {
            panic!("bad fixture row: {row:?}");
        };
        let got = told(clause, text).err().map(|error| error.to_string());
        if !got.as_deref().is_some_and(|got| got.starts_with(want)) {
            failures.push(format!("{text}\n  got  {got:?}\n  want {want}"));
        }
    }
    let many = |n: usize, one: &str, by: &str| vec![one; n].join(by);
    let names = |n: usize| (0..n).map(|i| format!("a{i}")).collect::<Vec<_>>();
    let long = |n: usize| format!("'{}' AS x", "水".repeat(n - 7));
    let bounds = [
        ("select", long(CLAUSE_MAX), ""),
        (
            "select",
            long(CLAUSE_MAX + 1),
            "select: got 2501 characters, takes up to 2500",
        ),
        ("select", names(ITEMS_MAX).join(","), ""),
        (
            "select",
            names(ITEMS_MAX + 1).join(", "),
            "select: column 241: more than 50 selected values",
        ),
        ("where", many(TESTS_MAX, "a=1", " OR "), ""),
        (
            "where",
            many(TESTS_MAX + 1, "a=1", " OR "),
            "where: column 701: more than 100 tests",
        ),
        ("where", format!("{} = 1", many(PARTS_MAX, "a", ".")), ""),
        (
            "where",
            format!("b = {} = 1", many(PARTS_MAX + 1, "a", ".")),
            "where: column 5: more than 40 parts of a path",
        ),
    ];
    for (clause, text, want) in bounds {
        let got = told(clause, &text).err().map(|error| error.to_string());
        let got = got.unwrap_or_default();
        if got.is_empty() != want.is_empty() || !got.starts_with(want) {
            failures.push(format!("{clause} of {}: {got}", text.len()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn what_passes_whole_is_not_written_anew() {
    // Not as serde_json would print it.
    let json = r#"{ "a" : 1.50 }"#;
    let text = |select, condition| {
        let filter = Filter::parse(select, condition).unwrap();
        let pushed = filter.apply_text(json).unwrap();
        (filter.is_identity(), pushed.map(Cow::into_owned))
    };
    let whole = Some(json.to_owned());
    assert_eq!(text(None, None), (true, whole.clone()));
    assert_eq!(text(Some(" "), Some("\n")), (true, whole.clone()));
    assert_eq!(text(Some("SELECT *"), None), (true, whole.clone()));
    assert_eq!(text(None, Some("a > 1")), (false, whole));
    assert_eq!(text(None, Some("a > 2")), (false, None));
    let part = Some(r#"{"a":1.5}"#.to_owned());
    assert_eq!(text(Some("a"), None), (false, part));
    assert_eq!(Filter::parse(None, None), Ok(Filter::all()));
    // What need not be read is not judged.
    assert!(Filter::all().apply_text("{").is_ok());
    let filter = Filter::parse(None, Some("a = 1")).unwrap();
    assert!(filter.apply_text("{").is_err());
}

#[test]
fn of_a_star_and_a_name_the_later_counts() {
    let event = json!({"a": 1, "b": 2});
    let pushed = |select| Filter::parse(Some(select), None).unwrap().apply(&event);
    assert_eq!(pushed("*, 'x' AS a"), Some(json!({"a": "x", "b": 2})));
    assert_eq!(pushed("'x' AS a, *"), Some(json!({"a": 1, "b": 2})));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "a",
        "b",
        "notify_data",
        "header",
        "body",
        "tags",
        "services",
        "tag_key",
        "tag_value",
        "service_id",
        "properties",
    ]);
    leaf.prop_recursive(6, 48, 4, move |inner| {
        let fields = prop::collection::vec((key.clone(), inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::Array),
            fields.prop_map(|fields| {
                let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v));
                Value::Object(fields.collect::<Map<_, _>>())
            }),
        ]
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        "[a-z_]{1,4}".prop_map(Step::Key),
        "\\PC{1,6}".prop_map(Step::Key),
        "[\"'.]{1,3}".prop_map(Step::Key),
        (0_usize..20).prop_map(Step::Index),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    let words = [
        "a",
        "b",
        "notify_data",
        "and",
        "5",
        "0x",
        "a-b",
        "q\"",
        "水",
        " ",
    ];
    let first = prop::sample::select(words.map(str::to_owned).to_vec());
    (first, prop::collection::vec(step(), 0..5)).prop_map(|(first, rest)| {
        let mut steps = vec![Step::Key(first)];
        steps.extend(rest);
        Path(steps)
    })
}

fn operand() -> impl Strategy<Value = Operand> {
    let numbers = prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", Number::from_f64),
    ];
    let call = (
        prop::sample::select(FUNCTIONS.to_vec()),
        "[a-c']{0,2}",
        "\\PC{0,4}",
    );
    prop_oneof![
        path().prop_map(Operand::Path),
        numbers.prop_map(|n| Operand::Constant(Value::Number(n))),
        "\\PC{0,6}".prop_map(|t| Operand::Constant(Value::String(t))),
        any::<bool>().prop_map(|b| Operand::Constant(Value::Bool(b))),
        call.prop_map(|((_, function, wanted), first, second)| {
            Operand::Call(function, [first, second][..wanted.len()].to_vec())
        }),
    ]
}

fn a_condition() -> impl Strategy<Value = Condition> {
    let comparisons = vec![
        Comparison::Above,
        Comparison::Below,
        Comparison::AtLeast,
        Comparison::AtMost,
        Comparison::Equal,
        Comparison::Unequal,
    ];
    let truths: Vec<_> = FUNCTIONS.iter().filter(|f| f.1.is_truth()).collect();
    let leaf = prop_oneof![
        operand().prop_map(Condition::IsNull),
        operand().prop_map(Condition::IsNotNull),
        (operand(), prop::sample::select(comparisons), operand())
            .prop_map(|(left, comparison, right)| Condition::Compare(left, comparison, right)),
        (prop::sample::select(truths), "[a-c]{0,2}").prop_map(|((_, function, _), text)| {
            Condition::Holds(Operand::Call(*function, vec![text]))
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts.clone().prop_map(Condition::Any),
            parts.prop_map(Condition::All),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn a_select() -> impl Strategy<Value = Select> {
    let name = prop_oneof!["[a-z_]{1,32}", "\\PC{1,8}", Just("as".to_owned())];
    let item = prop_oneof![
        Just(Item::All),
        path().prop_map(|path| Item::Value {
            key: path.key(),
            operand: Operand::Path(path),
            named: false,
        }),
        (operand(), name).prop_map(|(operand, key)| Item::Value {
            operand,
            key,
            named: true,
        }),
    ];
    prop::collection::vec(item, 1..6).prop_map(|items| {
        let mut kept: Vec<Item> = Vec::new();
        for item in items {
            if kept
                .iter()
                .all(|k| parse::key_of(k) != parse::key_of(&item))
            {
                kept.push(item);
            }
        }
        Select(kept)
    })
}

/// Words of the language in any order.
fn word_salad() -> impl Strategy<Value = String> {
    let words = vec![
        "select",
        "WHERE",
        "as",
        "and",
        "or",
        "not",
        "is",
        "null",
        "true",
        "*",
        "(",
        ")",
        "(",
        ",",
        ".",
        "[",
        "]",
        "0",
        "=",
        "!=",
        "<",
        ">",
        "-",
        "1",
        "2.5",
        "1e9",
        "'a'",
        "'",
        "''",
        "\"",
        "\"a.b\"",
        "a",
        "b.c",
        "a[0]",
        "notify_data.body",
        "GET_TAG('a')",
        "CONTAINS_TAG(",
        "水",
        "get_service_property('a','b')",
    ];
    prop::collection::vec(prop::sample::select(words), 0..24).prop_map(|words| words.join(" "))
}

/// Both clauses from one text: errors tell a place in it, what is taken judges the event and reads
/// back.
fn check(text: &str, event: &Value) -> Result<(), TestCaseError> {
    let len = text.chars().count();
    for (select, condition) in [(Some(text), None), (None, Some(text))] {
        match Filter::parse(select, condition) {
            Err(error) => {
                let at = error.column();
                prop_assert!((1..=len + 1).contains(&at), "{text}: {error}");
                let is_select = error.clause() == Clause::Select;
                prop_assert_eq!(is_select, select.is_some());
            }
            Ok(filter) => {
                let got = filter.apply(event);
                prop_assert_eq!(got.is_some(), filter.takes(event));
                let printed = filter.condition_text();
                let again = Filter::parse(Some(&filter.select_text()), printed.as_deref());
                prop_assert_eq!(again, Ok(filter));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_read_and_any_event_judged(text in "\\PC{0,80}", event in any_json()) {
        check(&text, &event)?;
    }

    #[test]
    fn any_words_are_read(text in word_salad(), event in any_json()) {
        check(&text, &event)?;
    }

    #[test]
    fn what_is_printed_reads_back(
        select in a_select(),
        condition in prop::option::of(a_condition()),
        event in any_json(),
    ) {
        let made = Filter { select, condition };
        let (select, condition) = (made.select_text(), made.condition_text());
        let fits = |text: &str| text.chars().count() <= CLAUSE_MAX;
        prop_assume!(fits(&select) && condition.as_deref().is_none_or(fits));
        let read = Filter::parse(Some(&select), condition.as_deref());
        prop_assert_eq!(read.as_ref(), Ok(&made), "{} | {:?}", select, condition);
        prop_assert_eq!(read.unwrap().apply(&event), made.apply(&event));
    }
}
