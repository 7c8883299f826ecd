//! Fields against the product model: each exists there, with a type that fits.

use crate::product::codec::table::program::{
    Bit, Direction, Element, Field, Kind, Meaning, Message, Program, Role, Size,
};
use crate::product::codec::table::source::{Errors, Place, closest};
use crate::product::profile::{Command, DataType, Para, Profile, Property};

pub(super) fn check(errors: &mut Errors<'_>, program: &Program, profile: &Profile) {
    for message in &program.messages {
        match message.direction {
            Direction::Up => check_report(errors, message, profile),
            Direction::Down => check_command(errors, message, profile),
            Direction::Response => check_response(errors, program, message, profile),
            Direction::Set => check_set(errors, message, profile),
            Direction::Answer => {}
        }
    }
}

/// A value that a message gives or takes.
struct Given<'a> {
    name: &'a str,
    slot: usize,
    shape: Shape<'a>,
    result: bool,
    place: &'a Place,
}

/// What JSON a field becomes.
enum Shape<'a> {
    /// An integer of at most so many bits.
    Integer(usize),
    Decimal,
    Text,
    Time,
    Bool,
    Enum(Vec<&'a str>),
    Texts,
    Json,
}

fn check_report(errors: &mut Errors<'_>, message: &Message, profile: &Profile) {
    for given in given(message) {
        if let Some(service_id) = message.services.get(given.slot) {
            check_property(errors, &given, service_id, profile);
        }
    }
}

/// What a set writes must be there, fit, and be the platform's to write.
fn check_set(errors: &mut Errors<'_>, message: &Message, profile: &Profile) {
    let Some(service_id) = &message.service else {
        return;
    };
    for given in given(message) {
        let Some(property) = check_property(errors, &given, service_id, profile) else {
            continue;
        };
        if !property.is_writable() {
            let text = format!(
                "property {} of service {service_id} has method {}, a set takes those with W",
                given.name, property.method
            );
            errors.add(given.place, text);
        }
    }
}

fn check_property<'p>(
    errors: &mut Errors<'_>,
    given: &Given<'_>,
    service_id: &str,
    profile: &'p Profile,
) -> Option<&'p Property> {
    let Some(service) = profile.service(service_id) else {
        let known = profile.services.iter().map(|s| s.service_id.as_str());
        let text = format!("the product model has no service {service_id}");
        unknown(errors, given.place, text, service_id, known);
        return None;
    };
    let Some(property) = service.property(given.name) else {
        let known = service.properties.iter().map(|p| p.property_name.as_str());
        let text = format!("service {service_id} has no property {}", given.name);
        unknown(errors, given.place, text, given.name, known);
        return None;
    };
    let list = property.enum_list.as_deref();
    check_shape(errors, given, property.data_type, list);
    Some(property)
}

fn check_command(errors: &mut Errors<'_>, message: &Message, profile: &Profile) {
    let Some(name) = message.name.as_deref() else {
        return;
    };
    let commands = commands_of(message, profile);
    if commands.is_empty() {
        unknown_command(errors, message, name, profile);
    }
    for command in commands {
        for given in given(message) {
            check_para(errors, &given, &command.paras, name);
        }
    }
}

fn unknown_command(errors: &mut Errors<'_>, message: &Message, name: &str, profile: &Profile) {
    let services = profile.services.iter();
    let Some(service) = &message.service else {
        let known = services.flat_map(|s| s.commands.iter().map(|c| c.command_name.as_str()));
        let text = format!("the product model has no command {name}");
        unknown(errors, &message.place, text, name, known);
        return;
    };
    match profile.service(service) {
        Some(found) => {
            let known = found.commands.iter().map(|c| c.command_name.as_str());
            let text = format!("service {service} has no command {name}");
            unknown(errors, &message.place, text, name, known);
        }
        None => {
            let known = services.map(|s| s.service_id.as_str());
            let text = format!("the product model has no service {service}");
            unknown(errors, &message.place, text, service, known);
        }
    }
}

fn commands_of<'p>(message: &Message, profile: &'p Profile) -> Vec<&'p Command> {
    let wanted = |service_id: &str| message.service.as_deref().is_none_or(|s| s == service_id);
    let name = message.name.as_deref().unwrap_or_default();
    let services = profile.services.iter();
    services
        .filter(|s| wanted(&s.service_id))
        .filter_map(|s| s.command(name))
        .collect()
}

/// A response's values are parameters of a response of a command that it answers.
fn check_response(
    errors: &mut Errors<'_>,
    program: &Program,
    message: &Message,
    profile: &Profile,
) {
    let answered = |m: &&Message| {
        m.reply
            .as_ref()
            .is_some_and(|(id, _)| Some(*id) == message.id)
    };
    let mut asked = program.messages.iter().filter(answered).peekable();
    if asked.peek().is_some() && asked.clone().all(|m| m.direction == Direction::Set) {
        // The model describes no responses to sets.
        return;
    }
    let mut commands: Vec<&Command> = asked
        .filter(|m| m.direction == Direction::Down)
        .flat_map(|m| commands_of(m, profile))
        .collect();
    if commands.is_empty() {
        commands = profile.services.iter().flat_map(|s| &s.commands).collect();
    }
    let responses: Vec<_> = commands
        .iter()
        .flat_map(|c| &c.responses)
        .filter(|r| message.name.as_ref().is_none_or(|n| *n == r.response_name))
        .collect();
    if let (true, Some(name)) = (responses.is_empty(), &message.name) {
        let known = commands.iter().flat_map(|c| &c.responses);
        let known = known.map(|r| r.response_name.as_str());
        let text = format!("no command that it answers has a response {name}");
        unknown(errors, &message.place, text, name, known);
        return;
    }
    let paras: Vec<Para> = responses.iter().flat_map(|r| r.paras.clone()).collect();
    for given in given(message) {
        // The result says how it went; the model may list it, and need not.
        if given.result && !paras.iter().any(|p| p.para_name == given.name) {
            continue;
        }
        let what = message.name.as_deref().unwrap_or("of the response");
        check_para(errors, &given, &paras, what);
    }
}

fn check_para(errors: &mut Errors<'_>, given: &Given<'_>, paras: &[Para], of: &str) {
    match paras.iter().find(|p| p.para_name == given.name) {
        Some(para) => check_shape(errors, given, para.data_type, para.enum_list.as_deref()),
        None => {
            let known = paras.iter().map(|p| p.para_name.as_str());
            let text = format!("{of} has no parameter {}", given.name);
            unknown(errors, given.place, text, given.name, known);
        }
    }
}

fn unknown<'a>(
    errors: &mut Errors<'_>,
    place: &Place,
    text: String,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) {
    if errors.is_full() {
        errors.add(place, text);
        return;
    }
    let known: Vec<&str> = known.collect();
    let hint = match closest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => "the model has none".to_owned(),
        None => {
            let listed: Vec<&str> = known.into_iter().take(12).collect();
            format!("the model has {}", listed.join(", "))
        }
    };
    errors.add_hint(place, text, hint);
}

fn check_shape(
    errors: &mut Errors<'_>,
    given: &Given<'_>,
    takes: DataType,
    enum_list: Option<&[String]>,
) {
    let (gives, fits, hint) = match &given.shape {
        Shape::Integer(bits) => (
            "an integer",
            match takes {
                DataType::Int => *bits <= 32,
                DataType::Long | DataType::Decimal => true,
                _ => false,
            },
            match (takes, bits) {
                (DataType::Int, 33..) => "over 32 bits need the type long",
                (DataType::String, _) => "add as = \"string\"",
                (DataType::Boolean, _) => "a boolean is one bit: t = \"bits8\"",
                (DataType::Enum, _) => "add enum = [...] with the names of the codes",
                (DataType::DateTime, _) => "a time is t = \"unix32\" or \"unix64\"",
                _ => "",
            },
        ),
        Shape::Decimal => (
            "a decimal",
            takes == DataType::Decimal,
            match takes {
                DataType::Int | DataType::Long => "the model's data_type must be decimal for it",
                _ => "",
            },
        ),
        Shape::Text => (
            "a string",
            takes == DataType::String,
            match takes {
                DataType::Int | DataType::Long | DataType::Decimal => {
                    "a number is an integer type, or bcd with `dec`"
                }
                DataType::Enum => "an enum is an unsigned integer with `enum`",
                _ => "",
            },
        ),
        Shape::Time => (
            "a DateTime",
            matches!(takes, DataType::DateTime | DataType::String),
            "",
        ),
        Shape::Bool => ("a boolean", takes == DataType::Boolean, ""),
        Shape::Enum(labels) => {
            if matches!(takes, DataType::Enum | DataType::String) {
                check_labels(errors, given, labels, enum_list);
            }
            (
                "an enum",
                matches!(takes, DataType::Enum | DataType::String),
                "",
            )
        }
        Shape::Texts => (
            "a string list",
            matches!(takes, DataType::StringList | DataType::JsonObject),
            "",
        ),
        Shape::Json => ("a list or an object", takes == DataType::JsonObject, ""),
    };
    if fits {
        return;
    }
    let wide = match (&given.shape, takes) {
        (Shape::Integer(bits), DataType::Int) => format!(" of {bits} bits"),
        _ => String::new(),
    };
    let text = format!(
        "`{}` gives {gives}{wide}, the model takes {}",
        given.name,
        name_of(takes)
    );
    if hint.is_empty() {
        errors.add(given.place, text);
    } else {
        errors.add_hint(given.place, text, hint);
    }
}

fn check_labels(
    errors: &mut Errors<'_>,
    given: &Given<'_>,
    labels: &[&str],
    enum_list: Option<&[String]>,
) {
    let list = enum_list.unwrap_or_default();
    if list.is_empty() {
        return;
    }
    for label in labels.iter().filter(|l| !list.iter().any(|e| e == **l)) {
        let text = format!(
            "`{}` gives {label:?}, the model takes {}",
            given.name,
            list.join(", ")
        );
        errors.add(given.place, text);
    }
}

const fn name_of(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Int => "an int",
        DataType::Long => "a long",
        DataType::Decimal => "a decimal",
        DataType::String => "a string",
        DataType::DateTime => "a DateTime",
        DataType::JsonObject => "a jsonObject",
        DataType::Enum => "an enum",
        DataType::Boolean => "a boolean",
        DataType::StringList => "a string list",
    }
}

fn given(message: &Message) -> Vec<Given<'_>> {
    let mut all = Vec::new();
    for field in message.fields() {
        collect(field, &mut all);
    }
    all
}

fn collect<'a>(field: &'a Field, all: &mut Vec<Given<'a>>) {
    if !field.is_value() {
        return;
    }
    let shape = match &field.kind {
        Kind::Bits { bits, .. } => {
            all.extend(bits.iter().filter_map(given_bit));
            return;
        }
        // A loop with a name gives an object; one without gives the values of its cases.
        Kind::Tlv { cases, .. } if !field.named => {
            for case in cases {
                for inner in &case.fields {
                    let from = all.len();
                    collect(inner, all);
                    if case.many {
                        all.iter_mut().skip(from).for_each(make_list);
                    }
                }
            }
            return;
        }
        kind => shape_of(kind),
    };
    all.push(Given {
        name: &field.label,
        slot: field.slot,
        shape,
        result: field.role == Role::Result,
        place: &field.place,
    });
}

fn make_list(given: &mut Given<'_>) {
    given.shape = match given.shape {
        Shape::Text | Shape::Time | Shape::Enum(_) => Shape::Texts,
        _ => Shape::Json,
    };
}

fn given_bit(bit: &Bit) -> Option<Given<'_>> {
    let value = matches!(bit.role, Role::Value | Role::Result);
    value.then(|| Given {
        name: &bit.label,
        slot: bit.slot,
        shape: shape_of_meaning(&bit.meaning, bit.width),
        result: bit.role == Role::Result,
        place: &bit.place,
    })
}

fn shape_of_meaning(meaning: &Meaning, bits: usize) -> Shape<'_> {
    match meaning {
        Meaning::Number => Shape::Integer(bits),
        Meaning::Text => Shape::Text,
        Meaning::Bool => Shape::Bool,
        Meaning::Scaled(scale) if scale.places == 0 => Shape::Integer(bits),
        Meaning::Scaled(_) => Shape::Decimal,
        Meaning::Enum(table) => {
            let labels = table.labels.iter().map(|(_, l)| l.as_str());
            Shape::Enum(labels.chain(table.other.as_deref()).collect())
        }
    }
}

fn shape_of(kind: &Kind) -> Shape<'_> {
    match kind {
        Kind::Id(word) => Shape::Integer(word.bytes * 8),
        Kind::Int { word, meaning, .. } => shape_of_meaning(meaning, word.bytes * 8),
        Kind::Float { .. } => Shape::Decimal,
        Kind::Bcd {
            scale: Some(scale),
            size,
            ..
        } if scale.places == 0 => match size {
            // Two digits take less than eight bits.
            Size::Fixed(bytes) => Shape::Integer(bytes * 8),
            Size::Prefixed(_) | Size::Stored(_) | Size::Rest => Shape::Integer(64),
        },
        Kind::Bcd { scale: Some(_), .. } => Shape::Decimal,
        Kind::Bcd { .. } | Kind::Text { .. } | Kind::Bytes { .. } => Shape::Text,
        Kind::Unix { .. } => Shape::Time,
        Kind::Array { of, .. } => shape_of_array(of),
        Kind::Bits { .. } | Kind::Tlv { .. } | Kind::Group(_) => Shape::Json,
    }
}

fn shape_of_array(of: &Element) -> Shape<'_> {
    match shape_of(&of.field.kind) {
        Shape::Text | Shape::Time | Shape::Enum(_) => Shape::Texts,
        _ => Shape::Json,
    }
}
