//! JSON of a request (RFC 8259): as `serde_json` reads it, but a key that an object has twice is a
//! mistake. Readers differ in which of the two counts, so nobody knows what was meant.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::input::quoted;

/// Reads one whole text. Errors: no JSON, a key given twice, nested too deep, with line and column.
pub fn parse(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Any.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Any;

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            found.push(item);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if found.contains_key(&key) {
                let problem = format!("the key {} is given twice", quoted(&key));
                return Err(Error::custom(problem));
            }
            found.insert(key, fields.next_value_seed(Self)?);
        }
        Ok(Value::Object(found))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_given_twice_is_a_mistake_at_any_depth() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"[{"b": {"a": 1, "b": 2, "a": null}}]"#,
            "{\"a\": 1, \"\\u0061\": 2}",
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with("the key \"a\" is given twice at line 1"));
        }
        let fine = r#"{"a": {"a": [{"a": 1}, {"a": 1}]}, "A": 1}"#;
        assert_eq!(parse(fine).ok(), serde_json::from_str(fine).ok());
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for text in ["", "{", "{} x", "nul", "\"\0\"", "1e999", &deep] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_else_is_as_serde_json_reads_it(text in r#"[-0-9eE.,:{}\[\]" a-btrue]{0,24}"#) {
            let want = serde_json::from_str::<Value>(&text).ok();
            match (parse(&text), want) {
                (Err(error), Some(_)) => prop_assert!(error.to_string().contains("twice")),
                (got, want) => prop_assert_eq!(got.ok(), want),
            }
        }
    }
}
