//! Sets and answers: which message, which values, what comes back.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::properties::{field, samples};
use crate::product::codec::table::{TableCodec, load};
use crate::product::codec::text::{hex, unhex};
use crate::product::codec::{AnswerTo, Codec, Downlink, EncodeProperties, PropertySet};

const SETS: &str = r#"
codec = { id = { at = 0, type = "u8" } }
[[message]]
id = 1
dir = "set"
service = "S"
fields = [
  { n = "mid", t = "u16", auto = "mid" },
  { n = "a", t = "u8" },
  { t = "bits8", optional = true, bits = [{ n = "b", at = 0 }, { n = "c", at = 1 }] },
  { n = "d", t = "u8", optional = true },
]
[[message]]
id = 2
dir = "set"
service = "S"
fields = [
  { t = "u8", const = 0xaa },
  { t = "tlv", tag = "u8", len = "u8", cases = {
    1 = { n = "d", t = "u8" },
    2 = { n = "e", t = "u8" },
    3 = { fields = [{ n = "f", t = "u8" }, { n = "g", t = "u8" }] },
    4 = { n = "h", t = "u8", many = true },
  } },
]
[[message]]
id = 3
dir = "set"
service = "T"
fields = [{ n = "list", t = "array", count = "u8", of = { t = "u8" } }]
"#;

fn set(
    codec: &TableCodec,
    (service_id, wanted, known): (&str, &Value, &Value),
) -> Result<PropertySet, String> {
    let set = EncodeProperties {
        service_id,
        wanted: wanted.as_object().unwrap(),
        known: known.as_object().unwrap(),
        mid: 0x0102,
    };
    let sent = codec.encode_properties(&set);
    sent.map_err(|e| format!("{}: {e}", e.kind()))
}

#[test]
fn the_first_message_with_a_wanted_property_sets_it() {
    let codec = load(SETS, None).unwrap();
    let none = json!({});
    let all = json!({ "a": 9, "b": true, "c": false, "d": 8, "e": 7, "f": 6, "g": 5 });
    let rows = [
        ("S", json!({ "a": 1 }), &none, Ok(("01010201", "a"))),
        // Known values fill what is there up to the last of them.
        ("S", json!({ "a": 1 }), &all, Ok(("010102010108", "a"))),
        ("S", json!({ "d": 1 }), &all, Ok(("010102090101", "d"))),
        (
            "S",
            json!({ "c": true, "e": 1 }),
            &all,
            Ok(("010102090308", "c")),
        ),
        // In a loop only what is wanted goes along, with what shares its entry.
        ("S", json!({ "e": 1 }), &all, Ok(("02aa020101", "e"))),
        (
            "S",
            json!({ "f": 1, "e": 2 }),
            &all,
            Ok(("02aa02010203020105", "f e")),
        ),
        (
            "S",
            json!({ "h": [1, 2] }),
            &none,
            Ok(("02aa040101040102", "h")),
        ),
        (
            "T",
            json!({ "list": [1, 2] }),
            &all,
            Ok(("03020102", "list")),
        ),
        // What is null is not wanted.
        (
            "S",
            json!({ "a": null, "e": 1 }),
            &none,
            Ok(("02aa020101", "e")),
        ),
        ("S", json!({ "d": 1 }), &none, Err("field: a: is missing")),
        (
            "S",
            json!({ "a": 1, "d": 1 }),
            &none,
            Err("field: bits8: is missing, and d comes after it"),
        ),
        (
            "S",
            json!({ "a": 1, "b": true }),
            &none,
            Err("field: c: is missing"),
        ),
        ("S", json!({ "f": 1 }), &none, Err("field: g: is missing")),
        (
            "S",
            json!({ "a": 256 }),
            &none,
            Err("field: a: is 256 on the wire, takes 0 to 255"),
        ),
        (
            "S",
            json!({ "x": 1 }),
            &all,
            Err("no_property_set: no message sets x of service S"),
        ),
        (
            "T",
            json!({ "a": 1 }),
            &all,
            Err("no_property_set: no message sets a of service T"),
        ),
        (
            "S",
            json!({ "a": null }),
            &all,
            Err("no_property_set: no message sets a of service S"),
        ),
        (
            "S",
            none.clone(),
            &all,
            Err("no_property_set: no message sets nothing of service S"),
        ),
    ];
    for (service, wanted, known, want) in rows {
        let got = set(&codec, (service, &wanted, known));
        let got = got.map(|sent| (hex(&sent.bytes), sent.covered.join(" ")));
        let want = want.map(|(hex, covered)| (hex.to_owned(), covered.to_owned()));
        assert_eq!(
            got,
            want.map_err(str::to_owned),
            "{service} {wanted} {known}"
        );
    }
}

const ANSWERS: &str = r#"
codec = { endian = "le", id = { at = 0, type = "u8" }, crc = { type = "sum8" } }
[[message]]
id = 1
dir = "up"
service = "S"
answer = 0x41
fields = [
  { n = "seq", t = "u16", as = "echo" },
  { n = "serial", t = "bcd", len = 3 },
  { t = "bits8", bits = [{ n = "turn", at = 4, w = 4, as = "echo" }, { n = "on", at = 0 }] },
  { n = "at", t = "unix32" },
  { n = "note", t = "ascii", len = "u8" },
  { n = "key", t = "bytes", len = 2, as = "echo" },
  { n = "last", t = "i8" },
]
[[message]]
id = 2
dir = "up"
service = "S"
answer = 0x42
fields = [{ n = "last", t = "i8" }]
[[message]]
id = 0x41
dir = "answer"
fields = [
  { t = "u24", endian = "be", auto = "request.seq" },
  { t = "bytes", len = 3, auto = "request.serial" },
  { t = "bits8", bits = [
    { at = 0, w = 4, auto = "request.turn" },
    { at = 6, auto = "has_more" },
    { at = 7, auto = "errcode" },
  ] },
  { t = "u32", auto = "request.at" },
  { t = "u16", auto = "request.key" },
  { t = "bytes", len = 2, auto = "request.key" },
  { t = "u8", auto = "request.last" },
]
[[message]]
id = 0x42
dir = "answer"
fields = [{ t = "u8", auto = "errcode" }, { t = "u16" }]
"#;

fn summed(text: &str) -> Vec<u8> {
    let mut bytes = unhex(text).unwrap();
    bytes.push(bytes.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b)));
    bytes
}

#[test]
fn answers_echo_what_they_name() {
    let bytes = ANSWERS.replace("  { t = \"u16\", auto = \"request.key\" },\n", "");
    // A number is no echo of bytes.
    let mistakes = load(ANSWERS, None).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].message.contains("`key`, which is no number"));
    let codec = load(&bytes, None).unwrap();
    let head = "01 3412 202142 a1 d151325f";
    let rows = [
        (
            summed(&format!("{head} 03616263 beef ff")),
            (0, false),
            Ok("41 001234 202142 0a d151325f beef ff"),
        ),
        (
            summed(&format!("{head} 00 beef 01")),
            (1, true),
            Ok("41 001234 202142 ca d151325f beef 01"),
        ),
        // Broken after the last echo: refused by its own number.
        (
            summed(&format!("{head} 00 beef 01 ff")),
            (1, false),
            Ok("41 001234 202142 8a d151325f beef 01"),
        ),
        (
            summed(&format!("{head} 00 beef")),
            (1, false),
            Err("truncated"),
        ),
        (summed("02"), (1, false), Ok("42 01 0000")),
        (summed("77"), (0, false), Ok("")),
        (vec![2, 0, 0], (0, false), Err("checksum")),
        (vec![], (0, false), Err("truncated")),
    ];
    for (request, (errcode, has_more), want) in rows {
        let request = request.as_slice();
        let got = codec.answer(&AnswerTo {
            request,
            errcode,
            has_more,
        });
        let want = want.map(|text: &str| match text {
            "" => None,
            text => Some(hex(&summed(text))),
        });
        let got = got
            .map(|bytes| bytes.map(|b| hex(&b)))
            .map_err(|e| e.kind());
        assert_eq!(got, want, "{}", hex(request));
    }
}

#[test]
fn responses_with_a_mid_are_known() {
    let [gas, parking, smoke, light, water] = samples().try_into().unwrap();
    let rows = [
        (&gas, "GasMeter", "VALVE", true),
        (&gas, "GasMeter", "SELF_TEST", false),
        (&gas, "GasMeter", "SYNC_TIME", false),
        (&smoke, "smokerdector", "SET_ALARM", true),
        (&light, "Light", "SET_SCHEDULE", true),
        (&light, "Controller", "SET_SCHEDULE", false),
        (&parking, "Parking", "NONE", false),
        (&water, "WaterMeterBasic", "SET_VALVE", true),
        (&water, "WaterMeterBasic", "SET_REPORT", false),
    ];
    for (codec, service_id, command_name, want) in rows {
        let got = codec.answers_by_mid(&crate::product::codec::Encode {
            service_id,
            command_name,
            paras: &Map::new(),
            mid: 1,
        });
        assert_eq!(got, want, "{service_id} {command_name}");
    }
}

proptest! {
    #[test]
    fn sets_of_generated_codecs_come_back(
        fields in proptest::collection::vec((field(), any::<bool>()), 1..12), mid in 1_u16..,
    ) {
        let mut source = "codec = { id = { at = 0, type = \"u8\" }, crc = { type = \"crc16\" } }\n\
             [[message]]\nid = 1\ndir = \"set\"\nservice = \"S\"\nfields = [\n\
             { n = \"mid\", t = \"u16\", auto = \"mid\" },\n".to_owned();
        let (mut wanted, mut known) = (Map::new(), Map::new());
        for (at, ((declaration, value), is_wanted)) in fields.iter().enumerate() {
            let name = format!("f{at}");
            writeln!(source, "{},", declaration.replace('@', &name)).unwrap();
            // The first is wanted in any case, and what is wanted goes before what is known.
            if *is_wanted || at == 0 {
                wanted.insert(name.clone(), value.clone());
                known.insert(name, Value::Null);
            } else {
                known.insert(name, value.clone());
            }
        }
        source.push_str("]\n");
        let codec = load(&source, None)
            .map_err(|e| TestCaseError::fail(format!("{e:?}\n{source}")))?;
        let set = EncodeProperties { service_id: "S", wanted: &wanted, known: &known, mid };
        let sent = codec.encode_properties(&set)
            .map_err(|e| TestCaseError::fail(format!("{e}\n{source}\n{wanted:?} {known:?}")))?;
        let names: Vec<&String> = wanted.keys().collect();
        prop_assert_eq!(sent.covered.iter().collect::<Vec<_>>(), names);
        let back = codec.decode_downlink(&sent.bytes).unwrap()
            .map_err(|e| TestCaseError::fail(format!("{e}\n{source}")))?;
        let mut properties = known;
        properties.extend(wanted);
        let service_id = "S".to_owned();
        prop_assert_eq!(back, Downlink::Set { service_id, properties, mid: Some(mid) });
    }

    /// Whatever stands around it, the number of a report comes back in its answer.
    #[test]
    fn answers_of_generated_codecs_echo(
        before in proptest::collection::vec((0_usize..4, any::<[u8; 4]>()), 0..6),
        seq: u32, junk in proptest::collection::vec(any::<u8>(), 0..9),
        errcode in 0_u8..2, has_more: bool, little: bool,
    ) {
        let endian = if little { "le" } else { "be" };
        let mut source = format!(
            "codec = {{ endian = {endian:?}, id = {{ at = 0, type = \"u8\" }} }}\n[[message]]\n\
             id = 1\ndir = \"up\"\nservice = \"S\"\nanswer = 2\nfields = [\n"
        );
        let mut request = vec![1];
        for (at, (sort, bytes)) in before.iter().enumerate() {
            let (declaration, taken) = match sort {
                0 => ("t = \"i32\"", &bytes[..]),
                1 => ("t = \"u8\"", &bytes[..1]),
                2 => ("t = \"bytes\", len = 4", &bytes[..]),
                _ => ("t = \"bytes\", len = \"u8\"", &[2, bytes[0], bytes[1]][..]),
            };
            writeln!(source, "{{ n = \"f{at}\", {declaration} }},").unwrap();
            request.extend(taken);
        }
        source.push_str("{ n = \"seq\", t = \"u32\", as = \"echo\" },\n");
        request.extend(if little { seq.to_le_bytes() } else { seq.to_be_bytes() });
        request.extend(junk);
        source.push_str(
            "]\n[[message]]\nid = 2\ndir = \"answer\"\nfields = [{ t = \"u8\", auto = \"errcode\" },\n\
             { t = \"u8\", auto = \"has_more\" }, { t = \"u40\", endian = \"be\", \
             auto = \"request.seq\" }]\n",
        );
        let codec = load(&source, None)
            .map_err(|e| TestCaseError::fail(format!("{e:?}\n{source}")))?;
        let report = AnswerTo { request: &request, errcode, has_more };
        let sent = codec.answer(&report).unwrap().unwrap();
        let mut want = vec![2, errcode, u8::from(has_more), 0];
        want.extend(seq.to_be_bytes());
        prop_assert_eq!(&sent, &want);
        let back = codec.decode_downlink(&sent).unwrap().unwrap();
        let errcode = Some(u64::from(errcode));
        prop_assert_eq!(back, Downlink::Answer { errcode, has_more: Some(has_more) });
        // As much of the report as holds the number is enough, and less is not.
        let cut = request.len();
        for len in 0..cut {
            let request = &request[..len];
            let _outcome = codec.answer(&AnswerTo { request, ..report });
        }
    }
}
