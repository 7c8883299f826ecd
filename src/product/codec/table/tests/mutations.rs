//! Codecs that load, changed as typing and careless hands change them: each loads or says why, and
//! what loads keeps its promises to any payload.

use std::fmt::Write;
use std::fs;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::{profile_of, root};
use crate::base::limits::CODEC_OUTPUT_MAX;
use crate::base::time::Timestamp;
use crate::product::codec::table::field::TYPES;
use crate::product::codec::table::{TableCodec, load};
use crate::product::codec::{AnswerTo, Codec, Encode, EncodeProperties, LoadError, Uplink};
use crate::product::profile::Profile;

/// One change of a source. Places are taken modulo what there is.
#[derive(Debug, Clone)]
enum Change {
    Swap(usize, usize),
    Replace(usize, &'static str),
    Number(usize, &'static str),
    Delete(usize),
    DeleteLine(usize),
    RepeatLine(usize),
}

const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "7",
    "8",
    "64",
    "255",
    "256",
    "65535",
    "65536",
    "0xffffffff",
    "18446744073709551616",
    "0.5",
    "1e300",
];

const WORDS: [&str; 20] = [
    "\"up\"",
    "\"down\"",
    "\"response\"",
    "\"set\"",
    "\"answer\"",
    "\"mid\"",
    "\"request.seq\"",
    "\"event_time\"",
    "\"echo\"",
    "\"has_more\"",
    "optional",
    "const",
    "count",
    "len",
    "of",
    "fields",
    "many",
    "true",
    "{",
    "]",
];

fn change() -> impl Strategy<Value = Change> {
    let any_type = prop::sample::select(TYPES.to_vec());
    prop_oneof![
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::Swap(a, b)),
        (any::<usize>(), prop::sample::select(WORDS.to_vec()))
            .prop_map(|(at, word)| Change::Replace(at, word)),
        (any::<usize>(), any_type).prop_map(|(at, word)| Change::Replace(at, word)),
        (any::<usize>(), prop::sample::select(NUMBERS.to_vec()))
            .prop_map(|(at, number)| Change::Number(at, number)),
        any::<usize>().prop_map(Change::Delete),
        any::<usize>().prop_map(Change::DeleteLine),
        any::<usize>().prop_map(Change::RepeatLine),
    ]
}

/// Words, numbers and single other characters.
fn tokens(source: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let end = match word(first) {
            true => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        all.push(token);
        rest = after;
    }
    all
}

fn apply(source: &str, change: &Change) -> String {
    let mut parts = match change {
        Change::DeleteLine(_) | Change::RepeatLine(_) => source.split_inclusive('\n').collect(),
        _ => tokens(source),
    };
    if parts.is_empty() {
        return String::new();
    }
    let count = parts.len();
    match change {
        Change::Swap(a, b) => parts.swap(a % count, b % count),
        Change::Replace(at, word) => parts[at % count] = word,
        Change::Number(at, number) => {
            let is_number = |t: &str| t.starts_with(|c: char| c.is_ascii_digit());
            let places: Vec<usize> = (0..count).filter(|n| is_number(parts[*n])).collect();
            if !places.is_empty() {
                parts[places[at % places.len()]] = number;
            }
        }
        Change::Delete(at) | Change::DeleteLine(at) => {
            parts.remove(at % count);
        }
        Change::RepeatLine(at) => parts.insert(at % count, parts[at % count]),
    }
    parts.concat()
}

fn sources() -> Vec<(String, Option<Profile>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("codecs")).unwrap() {
        let dir = entry.unwrap().path();
        if let Ok(source) = fs::read_to_string(dir.join("codec.toml")) {
            all.push((source.clone(), None));
            all.push((source, Some(profile_of(&dir))));
        }
    }
    for entry in fs::read_dir(root().join("fixtures/codec/tables")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            all.push((fs::read_to_string(path).unwrap(), None));
        }
    }
    assert!(all.len() >= 13);
    all
}

/// Everything that can be asked of a codec, with bytes and values that mean little to it.
fn try_all(codec: &TableCodec, payload: &[u8]) {
    let mut trace = Vec::new();
    let uplink = Uplink {
        payload,
        received_at: Timestamp::from_ms(0),
        f_port: None,
    };
    if let Ok(decoded) = codec.decode(&uplink, Some(&mut trace)) {
        // Names of services and the frame around the values are not counted.
        assert!(decoded.to_json().to_string().len() < CODEC_OUTPUT_MAX + 16 * 1024);
    }
    let answer = codec.answer(&AnswerTo {
        request: payload,
        errcode: 1,
        has_more: true,
    });
    if let Ok(Some(bytes)) = answer {
        codec.decode_downlink(&bytes).unwrap().unwrap();
    }
    let _outcome = codec.decode_downlink(payload);
    let values = json!({ "mid": 1, "state": "open", "period_min": 5, "open": 1, "level": 2.5 });
    let values: &Map<_, _> = values.as_object().unwrap();
    for (service, command_name) in codec.commands() {
        let _outcome = codec.encode(&Encode {
            service_id: service.unwrap_or("any"),
            command_name,
            paras: values,
            mid: 7,
        });
    }
    let _outcome = codec.encode_properties(&EncodeProperties {
        service_id: "WaterMeterBasic",
        wanted: values,
        known: values,
        mid: 7,
    });
}

proptest! {
    #[test]
    fn changed_codecs_load_or_say_why(
        which: usize,
        changes in proptest::collection::vec(change(), 1..6),
        payloads in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..80), 1..4,
        ),
    ) {
        let all = sources();
        let (source, profile) = &all[which % all.len()];
        let source = changes.iter().fold(source.clone(), |s, change| apply(&s, change));
        match load(&source, profile.as_ref()) {
            Ok(codec) => payloads.iter().for_each(|payload| try_all(&codec, payload)),
            Err(errors) => judge(&source, &errors)?,
        }
    }
}

/// Mistakes are in the order of the file, within it, and not too many to read.
fn judge(source: &str, errors: &[LoadError]) -> Result<(), TestCaseError> {
    prop_assert!((1..=201).contains(&errors.len()));
    let lines = u32::try_from(source.matches('\n').count() + 1).unwrap();
    for error in errors {
        prop_assert!(!error.message.is_empty());
        prop_assert!((1..=lines).contains(&error.line), "{error:?}\n{source}");
    }
    let places = |e: &LoadError| (e.line, e.column);
    prop_assert!(errors.is_sorted_by_key(places), "{errors:?}");
    Ok(())
}

/// Mistakes without number cost no more time or memory than the first two hundred of them.
#[test]
fn mistakes_without_number_end_soon() {
    let report = |fields: &str| {
        format!("[[message]]\ndir = \"up\"\nservice = \"S\"\nfields = [\n{fields}]\n")
    };
    let many = |count: usize, of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<String>();
    let bits = many(8000, &|n| format!("{{ n = \"b{n}\", at = 0 }},"));
    let unknown = many(20, &|m| {
        report(&many(500, &|n| {
            format!("{{ n = \"f{m}x{n}\", t = \"u8\" }},")
        }))
    });
    let sources = [
        report(&format!("{{ t = \"bits64\", bits = [{bits}] }}")),
        report(&many(512, &|n| {
            format!("{{ n = \"a\", t = \"u8\", k{n} = 1 }},")
        })),
        many(9000, &|n| format!("[[message]]\nid{n} = 1\n")),
        "k = \n".repeat(40_000),
        unknown,
    ];
    let mut model = String::new();
    for n in 0..500 {
        let comma = if n > 0 { "," } else { "" };
        let name = "p".repeat(50);
        write!(
            model,
            "{comma}{{\"property_name\": \"{name}{n}\", \"data_type\": \"int\", \"method\": \"R\"}}"
        )
        .unwrap();
    }
    let model =
        format!("[{{\"service_id\": \"S\", \"service_type\": \"S\", \"properties\": [{model}]}}]");
    let profile: Profile = serde_json::from_str(&model).unwrap();
    for source in sources {
        let errors = load(&source, Some(&profile)).unwrap_err();
        assert!(errors.len() <= 201, "{}", errors.len());
        let told: usize = errors.iter().map(|e| e.to_string().len()).sum();
        assert!(told < 64 * 1024, "{told} bytes of messages");
    }
}
