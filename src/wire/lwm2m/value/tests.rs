//! Typed values in every format.

use proptest::prelude::*;

use super::*;

fn values(format: ContentFormat, asked: &str, payload: &[u8]) -> Result<String, &'static str> {
    let found = read(format, Path::parse(asked).unwrap(), payload).map_err(|e| e.kind())?;
    let words = found.iter().map(|(path, raw)| {
        let (Raw::Text(bytes) | Raw::Binary(bytes)) = raw;
        format!("{path}={bytes:02x?}")
    });
    Ok(words.collect::<Vec<_>>().join(" "))
}

#[test]
fn payloads_are_put_into_place() {
    type Row = (
        u16,
        &'static str,
        &'static [u8],
        Result<&'static str, &'static str>,
    );
    let cases: [Row; 22] = [
        (0, "/3/0/3", b"1", Ok("/3/0/3=[31]")),
        (1541, "/3/0/3", b"1", Ok("/3/0/3=[31]")),
        (42, "/19/0/0", &[1, 2], Ok("/19/0/0=[01, 02]")),
        (42, "/3/0/6/1", &[1], Ok("/3/0/6/1=[01]")),
        (11542, "/5/0/3", &[0xc1, 3, 0], Ok("/5/0/3=[00]")),
        (1542, "/5/0/3", &[0xc1, 3, 0], Ok("/5/0/3=[00]")),
        (
            11542,
            "/5/0",
            &[0xc1, 3, 0, 0xc1, 5, 1],
            Ok("/5/0/3=[00] /5/0/5=[01]"),
        ),
        (11542, "/4", &[0x03, 2, 0xc1, 2, 0x9f], Ok("/4/2/2=[9f]")),
        // The instance around is left out, or written where it was not asked for.
        (11542, "/4", &[0xc1, 2, 0x9f], Ok("/4/0/2=[9f]")),
        (11542, "/4/0", &[0x03, 0, 0xc1, 2, 0x9f], Ok("/4/0/2=[9f]")),
        (
            11542,
            "/3/0",
            &[0x86, 6, 0x41, 0, 1, 0x41, 1, 5],
            Ok("/3/0/6/0=[01] /3/0/6/1=[05]"),
        ),
        (
            11542,
            "/3/0/6/1",
            &[0x83, 6, 0x41, 1, 5],
            Ok("/3/0/6/1=[05]"),
        ),
        (11542, "/3/0/6/1", &[0x41, 1, 5], Ok("/3/0/6/1=[05]")),
        (11542, "/3/0/6/1", &[0xc1, 6, 5], Ok("/3/0/6/1=[05]")),
        (11542, "/3/0", &[], Ok("")),
        (11542, "/3/0/9", &[0xc1, 3, 0], Err("outside")),
        (11542, "/4/0", &[0x03, 1, 0xc1, 2, 0x9f], Err("outside")),
        (11542, "/3/0/6/1", &[0x41, 0, 5], Err("outside")),
        (11542, "/3/0", &[0x41, 0, 5], Err("tlv_misplaced")),
        (11542, "/3/0", &[0xc2, 0], Err("tlv_truncated")),
        (0, "/3/0", b"1", Err("not_single")),
        (112, "/3/0/3", b"1", Err("format")),
    ];
    for (format, asked, payload, want) in cases {
        let got = values(ContentFormat(format), asked, payload);
        assert_eq!(
            got.as_deref().map_err(|e| *e),
            want,
            "{format} {asked} {payload:02x?}"
        );
    }
}

#[test]
fn binary_values() {
    let opaque = |bytes: &'static [u8]| Some(Value::Opaque(Cow::Borrowed(bytes)));
    let cases: [(Kind, &'static [u8], Option<Value<'static>>); 23] = [
        (Kind::Integer, &[0x9f], Some(Value::Integer(-97))),
        (Kind::Integer, &[0x0e, 0xd8], Some(Value::Integer(3800))),
        // Not a length of the format, but without doubt: a 28-bit cell id in three bytes.
        (
            Kind::Integer,
            &[0x01, 0x00, 0x00],
            Some(Value::Integer(65536)),
        ),
        (Kind::Integer, &[0xff, 0xff, 0xff], Some(Value::Integer(-1))),
        (
            Kind::Integer,
            &[0x80, 0, 0, 0, 0, 0, 0, 0],
            Some(Value::Integer(i64::MIN)),
        ),
        (Kind::Integer, &[], None),
        (Kind::Integer, &[0; 9], None),
        (Kind::Unsigned, &[0xff; 8], Some(Value::Unsigned(u64::MAX))),
        (Kind::Unsigned, &[], None),
        (
            Kind::Time,
            &[0x51, 0x82, 0x42, 0x8f],
            Some(Value::Time(1_367_491_215)),
        ),
        (Kind::Float, &[0x40, 0x60, 0, 0], Some(Value::Float(3.5))),
        (
            Kind::Float,
            &[0x40, 0x0c, 0, 0, 0, 0, 0, 0],
            Some(Value::Float(3.5)),
        ),
        (Kind::Float, &[0x7f, 0xc0, 0, 0], None),
        (Kind::Float, &[0x40, 0x60], None),
        (Kind::Boolean, &[1], Some(Value::Boolean(true))),
        (Kind::Boolean, &[2], None),
        (Kind::Boolean, &[], None),
        (Kind::String, b"V1.0\0\0", Some(Value::String("V1.0"))),
        (Kind::String, &[0xff], None),
        (Kind::Opaque, &[], opaque(&[])),
        (Kind::Opaque, &[0xff, 0], opaque(&[0xff, 0])),
        (
            Kind::ObjectLink,
            &[0, 0x42, 0, 1],
            Some(Value::ObjectLink(66, 1)),
        ),
        (Kind::ObjectLink, &[0, 0x42, 0], None),
    ];
    for (kind, bytes, want) in cases {
        assert_eq!(
            Raw::Binary(bytes).value(kind).ok(),
            want,
            "{kind:?} {bytes:02x?}"
        );
    }
}

#[test]
fn payloads_that_write() {
    let uri = Value::String("coap://[2001:db8::1]/pkg/7");
    let cases = [
        (
            ContentFormat::TEXT,
            "/5/0/1",
            uri.clone(),
            Ok(b"coap://[2001:db8::1]/pkg/7".to_vec()),
        ),
        (
            ContentFormat::TEXT,
            "/1/0/1",
            Value::Integer(-5),
            Ok(b"-5".to_vec()),
        ),
        (
            ContentFormat::TEXT,
            "/3/0/9",
            Value::Float(1e21),
            Ok(b"1000000000000000000000".to_vec()),
        ),
        (
            ContentFormat::TEXT,
            "/1/0/6",
            Value::Boolean(true),
            Ok(b"1".to_vec()),
        ),
        (
            ContentFormat::TLV,
            "/1/0/1",
            Value::Integer(300),
            Ok(vec![0xc2, 1, 1, 0x2c]),
        ),
        (
            ContentFormat::TLV,
            "/3/0/6/1",
            Value::Integer(-1),
            Ok(vec![0x83, 6, 0x41, 1, 0xff]),
        ),
        (
            ContentFormat::OPAQUE,
            "/19/1/0",
            Value::Opaque(Cow::Borrowed(&[1, 2])),
            Ok(vec![1, 2]),
        ),
        (
            ContentFormat::TLV,
            "/3/0",
            Value::Integer(1),
            Err("not_single"),
        ),
        (
            ContentFormat::TEXT,
            "/3",
            Value::Integer(1),
            Err("not_single"),
        ),
        (
            ContentFormat::CBOR,
            "/3/0/1",
            Value::Integer(1),
            Err("format"),
        ),
    ];
    for (format, path, value, want) in cases {
        let got = write(format, Path::parse(path).unwrap(), &value).map_err(|e| e.kind());
        assert_eq!(got, want, "{format:?} {path} {value:?}");
    }
}

fn value() -> impl Strategy<Value = (Kind, Value<'static>)> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        any::<i64>().prop_map(|number| (Kind::Integer, Value::Integer(number))),
        (-70_000..70_000i64).prop_map(|number| (Kind::Integer, Value::Integer(number))),
        any::<u64>().prop_map(|number| (Kind::Unsigned, Value::Unsigned(number))),
        (0..70_000u64).prop_map(|number| (Kind::Unsigned, Value::Unsigned(number))),
        any::<i64>().prop_map(|number| (Kind::Time, Value::Time(number))),
        prop::num::f64::NORMAL.prop_map(|number| (Kind::Float, Value::Float(number))),
        any::<bool>().prop_map(|flag| (Kind::Boolean, Value::Boolean(flag))),
        bytes.prop_map(|bytes| (Kind::Opaque, Value::Opaque(Cow::Owned(bytes)))),
        any::<(u16, u16)>().prop_map(|(a, b)| (Kind::ObjectLink, Value::ObjectLink(a, b))),
        Just((Kind::String, Value::String("Zähler 7"))),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    value().prop_map(|(kind, _)| kind)
}

proptest! {
    #[test]
    fn any_bytes_never_panic(
        kind in kind(),
        format in prop::sample::select(vec![0u16, 42, 11542, 1542, 60]),
        path in prop::sample::select(vec!["/3", "/3/0", "/3/0/6", "/3/0/6/1"]),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let asked = Path::parse(path).unwrap();
        for (path, raw) in read(ContentFormat(format), asked, &payload).unwrap_or_default() {
            prop_assert!(contains(asked, path));
            if let Ok(value) = raw.value(kind) {
                prop_assert!(write(ContentFormat::TLV, Path::Resource(3, 0, 1), &value).is_ok());
            }
        }
    }

    #[test]
    fn reads_what_it_wrote(
        (kind, value) in value(),
        format in prop::sample::select(vec![0u16, 42, 11542]),
        path in prop::sample::select(vec!["/3/0/6", "/3/0/6/300"]),
    ) {
        let path = Path::parse(path).unwrap();
        let payload = write(ContentFormat(format), path, &value).unwrap();
        let found = read(ContentFormat(format), path, &payload).unwrap();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].0, path);
        prop_assert_eq!(found[0].1.value(kind).unwrap(), value);
    }
}
