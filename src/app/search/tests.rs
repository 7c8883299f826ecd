//! Any text is read without a panic, what is printed reads back, errors tell their place, and the
//! filter is what the condition says.

use proptest::prelude::*;

use super::*;
use crate::store::find::{Filter, TagText};

fn value() -> impl Strategy<Value = Value> {
    let id = "[A-Za-z0-9_-]{1,12}";
    prop_oneof![
        id.prop_map(|t| Value::App(AppId::parse(&t).unwrap())),
        id.prop_map(|t| Value::Device(DeviceId::parse(&t).unwrap())),
        id.prop_map(|t| Value::Gateway(DeviceId::parse(&t).unwrap())),
        id.prop_map(|t| Value::Product(ProductId::parse(&t).unwrap())),
        id.prop_map(|t| Value::Node(NodeId::parse(&t).unwrap())),
        id.prop_map(|t| Value::Group(GroupId::parse(&t).unwrap())),
        "\\PC{0,12}".prop_map(Value::Name),
        "['%a水]{0,6}".prop_map(Value::SwVersion),
        "\\PC{0,12}".prop_map(Value::FwVersion),
        prop::sample::select(value::STATUSES.map(|s| s.1).to_vec()).prop_map(Value::Status),
        prop::sample::select(value::NODE_KINDS.map(|s| s.1).to_vec()).prop_map(Value::NodeType),
        edge().prop_map(Value::Edge),
    ]
}

fn edge() -> impl Strategy<Value = Edge> {
    prop_oneof![
        (0_u64..4_000_000_000_000).prop_map(|ms| Edge::CreateTime(Timestamp::from_ms(ms))),
        (0_u128..1 << 96).prop_map(Edge::Marker),
    ]
}

fn leaf() -> impl Strategy<Value = Expr> {
    let same = |values: Vec<Value>| {
        let first = values.first().cloned().unwrap();
        let kind = std::mem::discriminant(&first);
        let mut values = values;
        values.retain(|v| std::mem::discriminant(v) == kind && !matches!(v, Value::Edge(_)));
        if values.is_empty() {
            values.push(first);
        }
        values
    };
    let lists = || prop::collection::vec(value(), 1..6).prop_map(same);
    let named = prop::sample::select(vec![
        Named::DeviceName,
        Named::NodeId,
        Named::TagKey,
        Named::TagValue,
    ]);
    prop_oneof![
        value().prop_map(Expr::Is),
        value().prop_map(Expr::IsNot),
        lists().prop_map(Expr::In),
        lists().prop_map(Expr::NotIn),
        edge().prop_map(Expr::Above),
        edge().prop_map(Expr::Below),
        (named, "[^%]{1,9}").prop_map(|(named, prefix)| Expr::Like(named, prefix)),
        "\\PC{0,9}".prop_map(|key| Expr::Is(Value::TagKey(key))),
        "\\PC{0,9}".prop_map(|key| Expr::IsNot(Value::TagKey(key))),
        "\\PC{0,9}".prop_map(|value| Expr::Is(Value::TagValue(value))),
        "\\PC{0,9}".prop_map(|value| Expr::IsNot(Value::TagValue(value))),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(2, 16, 4, |inner| {
        let parts = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![parts.clone().prop_map(Expr::Or), parts.prop_map(Expr::And),]
    })
}

fn any_statement() -> impl Strategy<Value = Statement> {
    let columns = prop::sample::subsequence(COLUMNS.map(|c| c.1).to_vec(), 1..=17);
    let select = prop_oneof![
        Just(Select::All),
        Just(Select::Count),
        columns.prop_map(Select::Columns),
    ];
    let order = prop::sample::select(vec![FindOrder::NewestFirst, FindOrder::OldestFirst]);
    let page = (0..=OFFSET_MAX, 0..=ROWS_MAX);
    (select, prop::option::of(expr()), order, page).prop_map(
        |(select, condition, order, (offset, rows))| Statement {
            select,
            condition,
            order,
            offset,
            rows,
        },
    )
}

/// Words of the language in any order.
fn word_salad() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "select",
        "*",
        "from",
        "device",
        "where",
        "and",
        "or",
        "not",
        "in",
        "like",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        ">",
        "'a'",
        "'a%'",
        "''",
        "'",
        "tag_key",
        "tag_value",
        "node_id",
        "marker",
        "status",
        "'ONLINE'",
        "order",
        "by",
        "limit",
        "5",
        "count",
        "水",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC{0,80}") {
        drop(statement(&text));
        drop(condition(&text));
    }

    #[test]
    fn any_words_are_read(text in word_salad()) {
        let len = text.chars().count();
        for error in [statement(&text).err(), condition(&text).err()].into_iter().flatten() {
            let told = error.to_string();
            let at = told.strip_prefix("at character ").and_then(|t| t.split(':').next());
            let at: usize = at.unwrap().parse().unwrap();
            prop_assert!((1..=len + 1).contains(&at), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_printed_reads_back(made in any_statement()) {
        let text = made.to_string();
        prop_assert_eq!(statement(&text), Ok(made), "{}", text);
    }
}

#[test]
fn errors_tell_place_and_what_is_taken() {
    let many = |n: usize| vec!["node_id = 'a'"; n].join(" or ");
    let list = |n: usize| format!("node_id in ({})", vec!["'a'"; n].join(","));
    let cases = [
        ("", "at character 1: found the end, takes select"),
        (
            "drop table device",
            "at character 1: found drop, takes select",
        ),
        (
            "select",
            "at character 7: found the end, takes *, count(*) or columns",
        ),
        (
            "select count(2) from device",
            "at character 14: found 2, takes * or 1",
        ),
        (
            "select secret from device",
            "at character 8: found secret, takes *",
        ),
        (
            "select * from products",
            "at character 15: found products, takes device",
        ),
        (
            "select * from device;",
            "at character 21: found ';', takes words",
        ),
        (
            "select * from device union",
            "at character 22: found union, takes where",
        ),
        (
            "select * from device limit 51",
            "at character 28: found 51, takes a whole number from 0 to 50",
        ),
        (
            "select * from device limit 501,1",
            "at character 28: found 501, takes a whole number from 0 to 500",
        ),
        (
            "select * from device limit 1,51",
            "at character 30: found 51",
        ),
        (
            "select * from device order by name",
            "at character 31: found name, takes marker",
        ),
        (
            "where",
            "at character 27: found the end, takes ( or a field: app_id",
        ),
        (
            "where secret = 'a'",
            "at character 28: found secret, takes ( or a field",
        ),
        (
            "where node_id",
            "at character 35: found the end, takes =, !=, like, in or not in after node_id",
        ),
        (
            "where node_id > 'a'",
            "at character 36: found >, takes =, !=, like",
        ),
        (
            "where node_id = 5",
            "at character 38: found 5, takes a text in single quotes",
        ),
        (
            "where node_id = 'a",
            "at character 38: the text that begins here has no closing quote",
        ),
        (
            "where node_id = 'a b'",
            "at character 38: node_id has the character ' '",
        ),
        ("where device_name = '水' and x", "at character 50: found x"),
        (
            "where device_name like 'ab'",
            "at character 45: device_name got \"ab\", takes the beginning",
        ),
        (
            "where device_name like '%b%'",
            "at character 45: device_name got \"%b%\"",
        ),
        (
            "where status = 'online'",
            "at character 37: status got \"online\", takes one of ONLINE",
        ),
        (
            "where create_time > 'now'",
            "at character 42: create_time got \"now\", takes a time like",
        ),
        (
            "where marker < '5'",
            "at character 37: marker got \"5\", takes 24 hexadecimal digits",
        ),
        (
            "where tag_value > 'a'",
            "at character 38: found >, takes =, != or like after tag_value",
        ),
        (
            "where tag_value like 'a'",
            "at character 43: tag_value got \"a\", takes the beginning",
        ),
        (
            "where tag_key in ('k')",
            "at character 36: found in, takes =, != or like after tag_key",
        ),
        (
            "where (node_id = 'a'",
            "at character 42: found the end, takes and, or or )",
        ),
        (
            "where node_id not like 'a%'",
            "at character 40: found like, takes in",
        ),
        (
            "where node_id in ()",
            "at character 40: found ), takes a text",
        ),
        (
            "where node_id in ('a' 'b')",
            "at character 44: found the text \"b\", takes , or )",
        ),
        (&format!("where {}", many(51)), "more than 50 comparisons"),
        (
            &format!("where {}", list(101)),
            "more than 100 values in a list",
        ),
        (
            &format!("where {}node_id = 'a'", "(".repeat(9)),
            "at character 36: more than 8 brackets",
        ),
        (
            &" ".repeat(16_385),
            "got 16385 characters, takes up to 16384",
        ),
    ];
    let mut failures = Vec::new();
    for (text, want) in cases {
        let text = match text.starts_with("where") {
            true => format!("select * from device {text}"),
            false => text.to_owned(),
        };
        let told = statement(&text).unwrap_err().to_string();
        if !told.contains(want) {
            failures.push(format!("{text:.80}\n got {told}\nwant {want}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    for good in [
        many(50),
        list(100),
        format!("{}node_id = 'a'{}", "(".repeat(8), ")".repeat(8)),
    ] {
        condition(&good).unwrap();
    }
}

#[test]
fn keywords_may_be_in_any_case_and_defaults_are_told() {
    let read = statement("SELECT * FROM device WHERE node_id='a' AND NOT_A = 'b'");
    assert!(read.is_err(), "a field is not a keyword");
    let read = statement("Select count( 1 ) From device Where node_id Like 'a%'").unwrap();
    assert_eq!(
        (read.select, read.order),
        (Select::Count, FindOrder::NewestFirst)
    );
    assert_eq!((read.offset, read.rows), (0, 10));
    let read =
        statement("select device_id,status,device_id from device order by marker limit 20 , 5");
    let read = read.unwrap();
    assert_eq!(
        read.select,
        Select::Columns(vec![Column::DeviceId, Column::Status])
    );
    assert_eq!(read.order, FindOrder::OldestFirst);
    assert_eq!((read.offset, read.rows), (20, 5));
}

#[test]
fn and_binds_before_or() {
    let compiled = |text: &str| filter(&condition(text).unwrap(), &|_| Filter::Group(7));
    let node = |id: &str| Filter::Node(NodeId::parse(id).unwrap());
    let not = |filter| Filter::Not(Box::new(filter));
    let cases = [
        (
            "node_id='a' or node_id='b' and group_id='g'",
            Filter::Or(vec![
                node("a"),
                Filter::And(vec![node("b"), Filter::Group(7)]),
            ]),
        ),
        (
            "(node_id='a' or node_id='b') and group_id<>'g'",
            Filter::And(vec![
                Filter::Or(vec![node("a"), node("b")]),
                not(Filter::Group(7)),
            ]),
        ),
        ("device_name = 'it''s'", Filter::Name("it's".into())),
        (
            "node_id not in ('a','b')",
            not(Filter::Or(vec![node("a"), node("b")])),
        ),
        ("marker < '00000000000000000000000a'", Filter::SeqBelow(10)),
        ("marker < 'ffffffffffffffffffffffff'", Filter::All),
        (
            "marker > 'ffffffffffffffffffffffff'",
            Filter::Or(Vec::new()),
        ),
    ];
    for (text, want) in cases {
        assert_eq!(compiled(text), want, "{text}");
    }
}

#[test]
fn a_value_is_of_the_key_that_stands_with_it() {
    let compiled = |text: &str| filter(&condition(text).unwrap(), &|_| Filter::All);
    let text = |text: &str| match (text, text.strip_suffix('%')) {
        ("", _) => TagText::Any,
        (_, Some(prefix)) => TagText::Begins(prefix.into()),
        (whole, None) => TagText::Is(whole.into()),
    };
    let tag = |key: &str, value: &str| Filter::Tag {
        key: text(key),
        value: text(value),
    };
    let not = |filter| Filter::Not(Box::new(filter));
    let (and, or) = (Filter::And, Filter::Or);
    let cases = [
        ("tag_key like 'k%'", tag("k%", "")),
        ("tag_value='v'", tag("", "v")),
        ("tag_value!='v'", not(tag("", "v"))),
        ("tag_value like 'v%'", tag("", "v%")),
        (
            "tag_key='k' or tag_value='v'",
            or(vec![tag("k", ""), tag("", "v")]),
        ),
        (
            "tag_key='k' and tag_value='v' and tag_key='l' and tag_value like 'w%'",
            and(vec![
                tag("k", ""),
                tag("k", "v"),
                tag("l", ""),
                tag("l", "w%"),
            ]),
        ),
        (
            "tag_key='k' and tag_value!='v'",
            and(vec![tag("k", ""), not(tag("k", "v"))]),
        ),
        (
            "tag_key!='k' and tag_value='v'",
            and(vec![not(tag("k", "")), tag("", "v")]),
        ),
        (
            "tag_value='v' and tag_key like 'k%'",
            and(vec![tag("k%", "v"), tag("k%", "")]),
        ),
        (
            "tag_key='k' and tag_key='l' and tag_value='v' and tag_value!='w'",
            and(vec![
                tag("k", ""),
                tag("l", ""),
                tag("l", "v"),
                not(tag("l", "w")),
            ]),
        ),
        (
            "tag_key='k' and (tag_value='v' or tag_value='w' and tag_key='l')",
            and(vec![
                tag("k", ""),
                or(vec![tag("k", "v"), and(vec![tag("l", "w"), tag("l", "")])]),
            ]),
        ),
        (
            "(tag_key='k' or tag_key='l') and tag_value='v'",
            and(vec![
                or(vec![tag("k", ""), tag("l", "")]),
                or(vec![tag("k", "v"), tag("l", "v")]),
            ]),
        ),
    ];
    for (text, want) in cases {
        assert_eq!(compiled(text), want, "{text}");
    }
}
