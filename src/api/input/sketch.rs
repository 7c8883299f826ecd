//! What a reader asks for, written down: the functions that read requests describe them as well.
//!
//! A reader runs once over nothing, in recording mode: each getter of [`Fields`] and [`Query`]
//! writes name and rule into a [`Sketch`] and gives a value that the rule takes. `has` answers
//! false, so that `missing` is reached and says that the field is required. The outcome is JSON
//! Schema 2020-12.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::{Fields, Problems, Query};
use crate::base::ids::{IdError, PATTERN};

/// Both forms of a time: `20260131T235959Z`, and `2026-01-31T23:59:59.999Z` with or without
/// milliseconds. Days that a month never has are no times; February 29 of a common year is none
/// either, but no pattern says so.
const TIME: &str = "^(\
    (19[7-9][0-9]|[2-9][0-9]{3})((0[13578]|1[02])(0[1-9]|[12][0-9]|3[01])|(0[469]|11)(0[1-9]|[12][0-9]|30)|\
    02(0[1-9]|[12][0-9]))T([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z|\
    (19[7-9][0-9]|[2-9][0-9]{3})-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|\
    02-(0[1-9]|[12][0-9]))T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{3})?Z)$";

/// An object, as far as it was asked about.
#[derive(Debug, Default)]
pub struct Sketch {
    fields: RefCell<Vec<(String, Shape)>>,
    required: RefCell<Vec<String>>,
    /// Other fields are refused.
    is_closed: Cell<bool>,
}

#[derive(Debug)]
enum Shape {
    /// A schema that is known at once.
    Plain(Value),
    Object(Rc<Sketch>),
    List {
        of: Rc<Sketch>,
        count: RangeInclusive<usize>,
    },
}

/// A parameter of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub is_required: bool,
    pub schema: Value,
}

/// The schema of the object that `reader` reads.
pub fn body_schema(reader: fn(&Fields<'_>)) -> Value {
    let (sketch, problems, nothing) = (Rc::default(), Problems::default(), Map::new());
    reader(&Fields::recording(Rc::clone(&sketch), &problems, &nothing));
    sketch.schema()
}

/// The parameters that `reader` reads, in the order of its asking.
pub fn query_parameters(reader: fn(&Query<'_>)) -> Vec<Parameter> {
    let (sketch, problems) = (Rc::<Sketch>::default(), Problems::default());
    reader(&Query::recording(Rc::clone(&sketch), &problems));
    let fields = sketch.fields.borrow();
    let described = fields.iter().map(|(name, shape)| Parameter {
        name: name.clone(),
        is_required: sketch.required.borrow().contains(name),
        schema: shape.schema(),
    });
    described.collect()
}

impl Sketch {
    /// A field whose schema is known. The first word on a name counts.
    pub(super) fn plain(&self, name: &str, schema: Value) {
        self.put(name, || Shape::Plain(schema));
    }

    /// An object inside, to be asked about.
    pub(super) fn object(&self, name: &str) -> Rc<Self> {
        let inner = Rc::<Self>::default();
        self.put(name, || Shape::Object(Rc::clone(&inner)));
        inner
    }

    /// A list of so many objects, one of which is to be asked about.
    pub(super) fn list(&self, name: &str, count: RangeInclusive<usize>) -> Rc<Self> {
        let of = Rc::<Self>::default();
        let shared = Rc::clone(&of);
        self.put(name, || Shape::List { of: shared, count });
        of
    }

    pub(super) fn require(&self, name: &str) {
        let mut required = self.required.borrow_mut();
        if !required.iter().any(|known| known == name) {
            required.push(name.to_owned());
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
    }

    fn put(&self, name: &str, shape: impl FnOnce() -> Shape) {
        let mut fields = self.fields.borrow_mut();
        if !fields.iter().any(|(known, _)| known == name) {
            fields.push((name.to_owned(), shape()));
        }
    }

    fn schema(&self) -> Value {
        let required = self.required.borrow();
        let mut properties = Map::new();
        for (name, shape) in self.fields.borrow().iter() {
            let schema = match required.contains(name) {
                true => shape.schema(),
                false => or_null(shape.schema()),
            };
            properties.insert(name.clone(), schema);
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            put(&mut schema, "required", json!(*required));
        }
        if self.is_closed.get() {
            put(&mut schema, "additionalProperties", json!(false));
        }
        schema
    }
}

impl Shape {
    fn schema(&self) -> Value {
        match self {
            Self::Plain(schema) => schema.clone(),
            Self::Object(sketch) => sketch.schema(),
            Self::List { of, count } => items(of.schema(), count),
        }
    }
}

/// `null` counts as absent.
fn or_null(mut schema: Value) -> Value {
    if let Some(Value::String(one)) = schema.get("type") {
        let either = json!([one, "null"]);
        put(&mut schema, "type", either);
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
    schema
}

/// Sets a field of what is known to be an object.
pub(in crate::api) fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(fields) = object {
        fields.insert(name.to_owned(), value.into());
    }
}

/// One of these words.
pub(super) fn words(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// A list of so many of these.
pub(super) fn items(of: Value, count: &RangeInclusive<usize>) -> Value {
    let mut schema = json!({"type": "array", "items": of});
    if *count.start() > 0 {
        put(&mut schema, "minItems", json!(count.start()));
    }
    put(&mut schema, "maxItems", json!(count.end()));
    schema
}

pub(super) fn time() -> Value {
    json!({"type": "string", "pattern": TIME})
}

/// Schema of an identifier, and one that its parser takes.
pub(super) fn id<T>(parse: fn(&str) -> Result<T, IdError>) -> (Value, Option<T>) {
    let mut schema = json!({"type": "string", "minLength": 1, "pattern": PATTERN});
    if let Err(IdError::Empty { max }) = parse("") {
        put(&mut schema, "maxLength", json!(max));
    }
    let any = ["x", "000000000000000000000000"];
    let made = any.into_iter().find_map(|text| parse(text).ok());
    (schema, made)
}
