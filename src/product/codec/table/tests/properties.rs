//! Arbitrary bytes never panic; commands of generated codecs come back as they were.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{profile_of, root};
use crate::base::limits::CODEC_OUTPUT_MAX;
use crate::base::time::Timestamp;
use crate::product::codec::table::{TableCodec, load};
use crate::product::codec::{
    AnswerTo, Codec, CodecError, Decoded, Downlink, Encode, Uplink, fixture,
};

fn decode(codec: &TableCodec, payload: &[u8]) -> Result<Decoded, CodecError> {
    let uplink = Uplink {
        payload,
        received_at: Timestamp::from_ms(0),
        f_port: None,
    };
    let mut trace = Vec::new();
    let traced = codec.decode(&uplink, Some(&mut trace));
    let plain = codec.decode(&uplink, None);
    assert_eq!(traced, plain, "a trace changes nothing");
    for entry in trace {
        assert!(entry.at + entry.len <= payload.len(), "{entry:?}");
    }
    plain
}

pub(super) fn samples() -> Vec<TableCodec> {
    let entries = std::fs::read_dir(root().join("codecs")).unwrap();
    let mut dirs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    let mut all = Vec::new();
    for dir in dirs {
        let Ok(source) = std::fs::read_to_string(dir.join("codec.toml")) else {
            // A sample of another kind.
            continue;
        };
        all.push(load(&source, Some(&profile_of(&dir))).unwrap());
    }
    assert_eq!(all.len(), 5);
    all
}

/// One field of every type.
const EVERYTHING: &str = include_str!("../../../../../fixtures/codec/tables/everything.toml");

#[test]
fn any_bytes_are_a_value_or_an_error() {
    let codecs = samples();
    let water = codecs.last().unwrap();
    let answer = |codec: &TableCodec, request: &[u8]| {
        let _outcome = codec.answer(&AnswerTo {
            request,
            errcode: 1,
            has_more: true,
        });
    };
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..200), id in 0_u8..6)| {
        for codec in &codecs {
            let _outcome = decode(codec, &bytes);
            let _outcome = codec.decode_downlink(&bytes);
            answer(codec, &bytes);
        }
        // With a known id and a right checksum the fields get to see them too.
        let mut framed = vec![id];
        framed.extend(&bytes);
        let crc = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS).checksum(&framed);
        framed.extend(crc.to_le_bytes());
        let _outcome = decode(water, &framed);
        answer(water, &framed);
    });
}

proptest! {
    #[test]
    fn any_bytes_through_every_type(
        bytes in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..400),
    ) {
        let codec = load(EVERYTHING, None).unwrap();
        if let Ok(decoded) = decode(&codec, &bytes) {
            prop_assert!(decoded.to_json().to_string().len() < CODEC_OUTPUT_MAX);
        }
    }

    #[test]
    fn any_source_loads_or_says_why(source in "[a-z0-9=\\[\\]{}\"\n ,.#-]{0,300}") {
        if let Err(errors) = load(&source, None) {
            prop_assert!(!errors.is_empty());
        }
    }

    /// A mutated sample source never panics the loader, and what loads never panics a decode.
    #[test]
    fn mutated_sources_load_or_say_why(
        at in 0_usize..2400, with in "[a-z0-9=\\[\\]{}\" ]{0,3}", cut in 0_usize..12,
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let path = root().join("codecs/water-meter/codec.toml");
        let mut source = std::fs::read_to_string(path).unwrap();
        let from = at.min(source.len());
        let to = (from + cut).min(source.len());
        source.replace_range(from..to, &with);
        match load(&source, None) {
            Ok(codec) => {
                let _outcome = decode(&codec, &bytes);
            }
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }

    #[test]
    fn commands_of_generated_codecs_come_back(
        fields in proptest::collection::vec(field(), 1..12),
        little: bool, crc in prop_oneof![
            Just(None), Just(Some("crc16-modbus")), Just(Some("sum8")), Just(Some("crc24-openpgp")),
        ],
        mid in 1_u16.., id: u16,
    ) {
        let mut source = format!(
            "codec = {{ endian = {:?}, id = {{ at = 0, type = \"u16\" }}{} }}\n[[message]]\n\
             id = {id}\nname = \"GO\"\ndir = \"down\"\nfields = [\n\
             {{ n = \"mid\", t = \"u16\", auto = \"mid\" }},\n",
            if little { "le" } else { "be" },
            crc.map(|name| format!(", crc = {{ type = {name:?} }}")).unwrap_or_default(),
        );
        let mut paras = Map::new();
        for (at, (declaration, value)) in fields.iter().enumerate() {
            let name = format!("f{at}");
            writeln!(source, "{},", declaration.replace('@', &name)).unwrap();
            paras.insert(name, value.clone());
        }
        source.push_str("]\n");
        let codec = load(&source, None)
            .map_err(|e| TestCaseError::fail(format!("{e:?}\n{source}")))?;
        let command = Encode { service_id: "any", command_name: "GO", paras: &paras, mid };
        let bytes = codec.encode(&command)
            .map_err(|e| TestCaseError::fail(format!("{e}\n{source}\n{paras:?}")))?;
        let back = codec.decode_downlink(&bytes).unwrap()
            .map_err(|e| TestCaseError::fail(format!("{e}\n{source}\n{paras:?}")))?;
        let command_name = "GO".to_owned();
        prop_assert_eq!(back, Downlink::Command { command_name, paras, mid: Some(mid) });
        // One byte less is no such command any more.
        let short = &bytes[..bytes.len() - 1];
        prop_assert!(codec.decode_downlink(short).unwrap().is_err());
    }
}

/// A field's declaration, with `@` for its name, and a value of it. All have their own length.
pub(super) fn field() -> impl Strategy<Value = (String, Value)> {
    let plain = |t: &str, v: Value| (format!("{{ n = \"@\", t = \"{t}\" }}"), v);
    prop_oneof![
        any::<u8>().prop_map(move |v| plain("u8", json!(v))),
        any::<i16>().prop_map(move |v| plain("i16", json!(v))),
        any::<i32>().prop_map(move |v| plain("i32", json!(v))),
        (0_u64..=1 << 53).prop_map(move |v| plain("u64", json!(v))),
        ((1_u64 << 53) + 1..).prop_map(move |v| plain("u64", json!(v.to_string()))),
        any::<i64>().prop_map(|v| (
            "{ n = \"@\", t = \"i64\", as = \"string\" }".to_owned(),
            json!(v.to_string()),
        )),
        (0_u32..1 << 24).prop_map(move |v| plain("u24", json!(v))),
        any::<f64>()
            .prop_filter("JSON has no NaN", |f| f.is_finite())
            .prop_map(move |v| plain("f64", json!(v))),
        "[ -~]{0,20}".prop_map(|v| (
            "{ n = \"@\", t = \"ascii\", len = \"u8\" }".to_owned(),
            json!(v),
        )),
        "[a-zé中]{0,6}"
            .prop_map(|v| ("{ n = \"@\", t = \"utf8\", len = 18 }".to_owned(), json!(v),)),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(|v| (
            "{ n = \"@\", t = \"bytes\", len = \"u16\", enc = \"base64\" }".to_owned(),
            json!(crate::product::codec::text::base64(&v)),
        )),
        "[0-9]{6}".prop_map(|v| ("{ n = \"@\", t = \"bcd\", len = 3 }".to_owned(), json!(v))),
        any::<u32>().prop_map(|v| (
            "{ n = \"@\", t = \"unix32\" }".to_owned(),
            json!(Timestamp::from_ms(u64::from(v) * 1000).compact()),
        )),
        (any::<i32>(), 0_u32..9).prop_map(|(v, dec)| (
            format!("{{ n = \"@\", t = \"i32\", dec = {dec} }}"),
            crate::product::decimal::json(i128::from(v), dec),
        )),
        any::<u16>().prop_map(|v| (
            "{ n = \"@\", t = \"u16\", scale = 0.1, offset = -40 }".to_owned(),
            crate::product::decimal::json(i128::from(v) - 400, 1),
        )),
        (0_usize..3).prop_map(|at| (
            "{ n = \"@\", t = \"u8\", enum = { 7 = \"a\", 9 = \"b\", 200 = \"c\" } }".to_owned(),
            json!(["a", "b", "c"][at]),
        )),
        any::<bool>().prop_map(|v| (
            "{ t = \"bits8\", bits = [{ n = \"@\", at = 5 }] }".to_owned(),
            json!(v),
        )),
        (-64_i32..64).prop_map(|v| (
            "{ t = \"bits32\", bits = [{ at = 0, w = 9 }, \
             { n = \"@\", at = 20, w = 7, signed = true }] }"
                .to_owned(),
            json!(v),
        )),
        proptest::collection::vec(any::<u16>(), 0..5).prop_map(|v| (
            "{ n = \"@\", t = \"array\", count = \"u8\", of = { t = \"u16\" } }".to_owned(),
            json!(v),
        )),
        proptest::collection::vec((any::<u8>(), any::<bool>()), 0..4).prop_map(|v| (
            "{ n = \"@\", t = \"array\", count = \"u8\", of = { fields = [\
             { n = \"a\", t = \"u8\" }, { t = \"bits8\", bits = [{ n = \"b\", at = 7 }] }] } }"
                .to_owned(),
            Value::Array(v.iter().map(|(a, b)| json!({ "a": a, "b": b })).collect()),
        )),
    ]
}

/// A table with most of the language loads, and a payload means what was computed by hand.
#[test]
fn the_water_meter_of_the_language_description() {
    let source = include_str!("../../../../../fixtures/codec/tables/wm1.toml");
    let examples = include_str!("../../../../../fixtures/codec/tables/wm1.json");
    let codec = load(source, None).unwrap();
    for example in fixture::parse(examples).unwrap() {
        let verdict = fixture::run(&codec, None, &example);
        assert_eq!(verdict.failures, [], "{}", example.name);
    }
}

/// A few payload bytes that would become more JSON than the limit are refused early.
#[test]
fn output_is_bounded() {
    let name = "n".repeat(120);
    let source = format!(
        "[[message]]\ndir = \"up\"\nservice = \"S\"\nfields = [{{ n = \"a\", t = \"array\", \
         of = {{ fields = [{{ n = \"{name}\", t = \"u8\" }}] }} }}]\n"
    );
    let codec = load(&source, None).unwrap();
    assert!(decode(&codec, &[0; 100]).is_ok());
    assert_eq!(decode(&codec, &[0; 60_000]).unwrap_err().kind(), "output");
}

/// Hostile sources end in errors, soon and without a stack that runs over.
#[test]
fn hostile_sources_end_soon() {
    let deep = "[".repeat(100_000);
    let sources = [
        format!("codec = {deep}"),
        format!("codec = {}", "{ a = ".repeat(40_000)),
        "k = 1\n".repeat(40_000),
        (0..30_000).map(|n| format!("k{n} = 1\n")).collect(),
        format!(
            "[[message]]\ndir = \"up\"\nfields = [{}]\n",
            "{ n = \"a\", t = \"u8\" },".repeat(10_000)
        ),
    ];
    for source in sources {
        assert!(!load(&source, None).unwrap_err().is_empty());
    }
}
