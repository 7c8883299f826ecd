//! What a script gives, as JSON: by the rules of `JSON.stringify`, natively and bounded.

use rquickjs::atom::PredefinedAtom;
use rquickjs::function::This;
use rquickjs::{Atom, Coerced, Ctx, Object, Value as Js};
use serde_json::{Map, Number, Value};

use crate::base::limits::{CODEC_DEPTH_MAX, CODEC_OUTPUT_MAX};
use crate::product::codec::CodecError;

/// Beyond it a double no longer holds every integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Bytes of a typed array that are read: one more than anything takes.
const BYTES_MAX: u32 = 64 * 1024 + 1;

/// Why a value is no JSON.
pub(super) enum Odd {
    /// A getter or `toJSON` threw.
    Threw(rquickjs::Error),
    Codec(CodecError),
}

impl From<rquickjs::Error> for Odd {
    fn from(error: rquickjs::Error) -> Self {
        Self::Threw(error)
    }
}

/// Reads a value; functions, symbols and undefined are nothing.
pub(super) fn json_of<'js>(ctx: &Ctx<'js>, value: &Js<'js>) -> Result<Option<Value>, Odd> {
    let mut left = CODEC_OUTPUT_MAX;
    read(ctx, value, 0, &mut left)
}

fn read<'js>(
    ctx: &Ctx<'js>,
    value: &Js<'js>,
    depth: usize,
    left: &mut usize,
) -> Result<Option<Value>, Odd> {
    if depth > CODEC_DEPTH_MAX {
        let max = CODEC_DEPTH_MAX;
        return Err(Odd::Codec(CodecError::Depth { max }));
    }
    spend(left, 1)?;
    if value.is_null() {
        return Ok(Some(Value::Null));
    }
    if let Some(flag) = value.as_bool() {
        return Ok(Some(Value::Bool(flag)));
    }
    if let Some(number) = value.as_int() {
        return Ok(Some(number.into()));
    }
    if let Some(number) = value.as_float() {
        return Ok(Some(number_of(number)));
    }
    if let Some(text) = value.as_string() {
        let Ok(text) = text.to_string() else {
            let reason = "a text has half of a surrogate pair, which JSON can't hold".to_owned();
            return Err(Odd::Codec(CodecError::Script { reason }));
        };
        spend(left, text.len())?;
        return Ok(Some(Value::String(text)));
    }
    if value.is_big_int() {
        let digits = value.get::<Coerced<String>>()?.0;
        spend(left, digits.len())?;
        let exact = digits.parse::<i64>().ok();
        let exact = exact.filter(|n| n.unsigned_abs() <= 1 << 53);
        return Ok(Some(exact.map_or(Value::String(digits), Into::into)));
    }
    if value.is_function() || value.is_undefined() || value.is_symbol() {
        return Ok(None);
    }
    let Some(object) = value.as_object() else {
        return Ok(None);
    };
    if let Some(told) = to_json(object)? {
        return read(ctx, &told, depth + 1, left);
    }
    if let Some(array) = object.as_array() {
        // Not `Array::len`: a length beyond 2^31 is no number to it.
        let len: f64 = object.get(PredefinedAtom::Length)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the length of an array is whole, from 0 to 2^32"
        )]
        let len = len as usize;
        return elements(ctx, len, |at| array.get(at), depth, left).map(Some);
    }
    if let Some(bytes) = bytes_in(object) {
        spend(left, bytes.len() * 2)?;
        return Ok(Some(bytes.into()));
    }
    let mut map = Map::new();
    // Atoms rather than texts, which the engine would have to look up again.
    for atom in object.keys::<Atom<'js>>() {
        let atom = atom?;
        let key = atom.to_string()?;
        spend(left, key.len())?;
        let inner: Js<'js> = object.get(atom)?;
        if let Some(inner) = read(ctx, &inner, depth + 1, left)? {
            map.insert(key, inner);
        }
    }
    Ok(Some(Value::Object(map)))
}

fn elements<'js>(
    ctx: &Ctx<'js>,
    len: usize,
    at: impl Fn(usize) -> rquickjs::Result<Js<'js>>,
    depth: usize,
    left: &mut usize,
) -> Result<Value, Odd> {
    // Each takes a character at least: a sparse array of billions is refused at once.
    spend(left, len)?;
    let mut list = Vec::with_capacity(len);
    for index in 0..len {
        let one = read(ctx, &at(index)?, depth + 1, left)?;
        list.push(one.unwrap_or(Value::Null));
    }
    Ok(Value::Array(list))
}

/// What `toJSON` says, as dates and buffers have it.
fn to_json<'js>(object: &Object<'js>) -> Result<Option<Js<'js>>, Odd> {
    let method: Js<'js> = object.get(PredefinedAtom::ToJSON)?;
    let Some(method) = method.as_function() else {
        return Ok(None);
    };
    if bytes_in(object).is_some() {
        return Ok(None);
    }
    Ok(Some(method.call((This(object.clone()),))?))
}

/// The content of a `Uint8Array`, and so of a `Buffer`.
pub(super) fn bytes_in(object: &Object<'_>) -> Option<Vec<u8>> {
    let array = object.as_typed_array::<u8>()?;
    let len = u32::try_from(array.len()).ok()?.min(BYTES_MAX);
    let byte = |at: u32| object.get::<_, u8>(at).ok();
    (0..len).map(byte).collect()
}

fn number_of(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
        return Value::from(number as i64);
    }
    // NaN and infinity are null, as in JSON.stringify.
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), Odd> {
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(Odd::Codec(CodecError::Output {
            max: CODEC_OUTPUT_MAX,
        })),
    }
}

/// The bytes of a message: a list of numbers from -128 to 255, a typed array, or hex. `None`: nothing.
pub(super) fn message_of<'js>(ctx: &Ctx<'js>, value: &Js<'js>) -> Result<Option<Vec<u8>>, Odd> {
    if value.is_null() || value.is_undefined() {
        return Ok(None);
    }
    if let Some(bytes) = value.as_object().and_then(bytes_in) {
        return Ok(Some(bytes));
    }
    let given = json_of(ctx, value)?.unwrap_or_default();
    let odd = |reason: String| Odd::Codec(CodecError::Script { reason });
    match given {
        Value::Array(list) => {
            let byte = |(at, one): (usize, &Value)| {
                let number = one.as_i64().filter(|n| (-128..=255).contains(n));
                // Two's complement, as bytes are signed in some places.
                let byte = number.and_then(|n| u8::try_from(n & 0xff).ok());
                byte.ok_or_else(|| {
                    odd(format!(
                        "byte {at} of the message is {one}, takes -128 to 255"
                    ))
                })
            };
            let bytes: Result<Vec<u8>, Odd> = list.iter().enumerate().map(byte).collect();
            bytes.map(Some)
        }
        Value::String(text) => match crate::product::codec::text::unhex(&text) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(odd(
                "the message is text, takes a list of bytes or hex".to_owned()
            )),
        },
        other => Err(odd(format!(
            "the message is {}, takes a list of bytes",
            super::fault::bounded(&other.to_string())
        ))),
    }
}
