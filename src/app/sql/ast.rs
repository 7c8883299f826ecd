//! What clauses are once they are read, and how they are printed: in the one way that reads back as
//! the same.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

/// `select`: one item at least.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Select(pub(super) Vec<Item>);

impl Select {
    pub(super) fn all() -> Self {
        Self(vec![Item::All])
    }

    pub(super) fn is_all(&self) -> bool {
        matches!(self.0.as_slice(), [Item::All])
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// `*`: every field of the event.
    All,
    Value {
        operand: Operand,
        /// What it is pushed under.
        key: String,
        /// Whether the key was given with AS.
        named: bool,
    },
}

/// `where`. `Any` and `All` have two parts at least; one directly inside its like was written in
/// brackets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    IsNull(Operand),
    IsNotNull(Operand),
    Compare(Operand, Comparison, Operand),
    /// A function that answers true or false.
    Holds(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Above,
    Below,
    AtLeast,
    AtMost,
    Equal,
    Unequal,
}

/// Every comparison as it is written, longer ones first; the first of each is how it is printed.
pub(super) const COMPARISONS: [(&str, Comparison); 7] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("<>", Comparison::Unequal),
    ("!=", Comparison::Unequal),
    (">", Comparison::Above),
    ("<", Comparison::Below),
    ("=", Comparison::Equal),
];

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Path(Path),
    /// A number, a text, true or false.
    Constant(Value),
    /// With as many texts as it takes.
    Call(Function, Vec<String>),
}

/// Steps from the top of the event, the first of them a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Not empty; without a dot when it is the first.
    Key(String),
    /// Of a list, from 0.
    Index(usize),
}

impl Path {
    /// What it is pushed under: as it is written, without quotes.
    pub(super) fn key(&self) -> String {
        let mut key = String::new();
        for step in &self.0 {
            match step {
                Step::Key(part) if key.is_empty() => key.push_str(part),
                Step::Key(part) => {
                    key.push('.');
                    key.push_str(part);
                }
                Step::Index(at) => key.push_str(&format!("[{at}]")),
            }
        }
        key
    }
}

/// Looks into `notify_data.header.tags` or `notify_data.body.services`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// Value of the tag with this key.
    Tag,
    /// Whether there is such a tag.
    ContainsTag,
    /// The first service with this id.
    Service,
    /// The list of all services with this id.
    Services,
    /// Whether there is such a service.
    ContainsServices,
    /// Properties of the first service with this id.
    ServiceProperties,
    /// One property of the first service with this id that has it, as it is: a number stays one.
    ServiceProperty,
}

/// Every function with its name and what it takes.
pub(super) const FUNCTIONS: [(&str, Function, &[&str]); 7] = [
    ("GET_TAG", Function::Tag, &["tag key"]),
    ("CONTAINS_TAG", Function::ContainsTag, &["tag key"]),
    ("GET_SERVICE", Function::Service, &["service id"]),
    ("GET_SERVICES", Function::Services, &["service id"]),
    (
        "CONTAINS_SERVICES",
        Function::ContainsServices,
        &["service id"],
    ),
    (
        "GET_SERVICE_PROPERTIES",
        Function::ServiceProperties,
        &["service id"],
    ),
    (
        "GET_SERVICE_PROPERTY",
        Function::ServiceProperty,
        &["service id", "property name"],
    ),
];

impl Function {
    /// Whether it can stand alone in `where`.
    pub(super) const fn is_truth(self) -> bool {
        matches!(self, Self::ContainsTag | Self::ContainsServices)
    }
}

/// Words that no path begins with, unless in quotes.
pub(super) const RESERVED: [&str; 10] = [
    "SELECT", "WHERE", "AS", "AND", "OR", "NOT", "IS", "NULL", "TRUE", "FALSE",
];

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|r| r.eq_ignore_ascii_case(word))
}

/// Letters of any script, digits and `_`.
pub(super) fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match item {
                Item::All => f.write_str("*")?,
                Item::Value {
                    operand,
                    key,
                    named: true,
                } => {
                    write!(f, "{operand} AS ")?;
                    print_name(f, key)?;
                }
                Item::Value { operand, .. } => write!(f, "{operand}")?,
            }
        }
        Ok(())
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(parts) => print_joined(f, parts, " OR ", |p| matches!(p, Self::Any(_))),
            Self::All(parts) => print_joined(f, parts, " AND ", Self::is_chain),
            Self::Not(inner) if inner.is_chain() => write!(f, "NOT ({inner})"),
            Self::Not(inner) => write!(f, "NOT {inner}"),
            Self::IsNull(operand) => write!(f, "{operand} IS NULL"),
            Self::IsNotNull(operand) => write!(f, "{operand} IS NOT NULL"),
            Self::Compare(left, comparison, right) => {
                let sign = COMPARISONS.iter().find(|(_, c)| c == comparison);
                let sign = sign.map_or("=", |(sign, _)| sign);
                write!(f, "{left} {sign} {right}")
            }
            Self::Holds(operand) => write!(f, "{operand}"),
        }
    }
}

impl Condition {
    const fn is_chain(&self) -> bool {
        matches!(self, Self::Any(_) | Self::All(_))
    }
}

fn print_joined(
    f: &mut Formatter<'_>,
    parts: &[Condition],
    word: &str,
    needs_brackets: fn(&Condition) -> bool,
) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(word)?;
        }
        match needs_brackets(part) {
            true => write!(f, "({part})")?,
            false => write!(f, "{part}")?,
        }
    }
    Ok(())
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{path}"),
            Self::Constant(Value::String(text)) => print_quoted(f, text, '\''),
            Self::Constant(Value::Bool(true)) => f.write_str("TRUE"),
            Self::Constant(Value::Bool(false)) => f.write_str("FALSE"),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Call(function, texts) => {
                let name = FUNCTIONS.iter().find(|(_, known, _)| known == function);
                write!(f, "{}(", name.map_or("", |(name, ..)| name))?;
                for (i, text) in texts.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    print_quoted(f, text, '\'')?;
                }
                f.write_str(")")
            }
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(at) => write!(f, "[{at}]")?,
                Step::Key(part) if i > 0 => {
                    f.write_str(".")?;
                    print_name(f, part)?;
                }
                Step::Key(part) if is_reserved(part) || begins_as_number(part) => {
                    print_quoted(f, part, '"')?;
                }
                Step::Key(part) => print_name(f, part)?,
            }
        }
        Ok(())
    }
}

fn begins_as_number(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_digit())
}

fn print_name(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    match !name.is_empty() && name.chars().all(is_of_word) {
        true => f.write_str(name),
        false => print_quoted(f, name, '"'),
    }
}

fn print_quoted(f: &mut Formatter<'_>, text: &str, mark: char) -> fmt::Result {
    let doubled = text.replace(mark, &format!("{mark}{mark}"));
    write!(f, "{mark}{doubled}{mark}")
}
