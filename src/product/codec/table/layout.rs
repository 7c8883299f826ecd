//! Checks that need a whole message: order and sizes of fields, the place of id and checksum, what
//! a message has once at most.

use crate::base::limits::BODY_MAX;
use crate::product::codec::table::program::{
    Case, Field, Kind, Message, Program, Role, Word, min_size,
};
use crate::product::codec::table::source::Errors;

/// Checks every message by itself.
pub(super) fn check(errors: &mut Errors<'_>, program: &mut Program) {
    let from_end = program.checksum.as_ref().map_or(0, |c| c.from_end);
    let after = program
        .checksum
        .as_ref()
        .map_or(0, |c| c.from_end - c.word.bytes);
    for message in &mut program.messages {
        split_tail(errors, message, after);
        if let Some(id) = program.id {
            place_id(errors, message, id.at, id.word);
        }
        check_order(errors, &message.body);
        let least = min_size(&message.body).saturating_add(from_end);
        if least > BODY_MAX {
            let text = format!("the message takes at least {least} bytes, at most {BODY_MAX} fit");
            errors.add(&message.place, text);
        }
        check_roles(errors, message);
    }
}

/// Moves the fields of the last `after` bytes behind the checksum.
fn split_tail(errors: &mut Errors<'_>, message: &mut Message, after: usize) {
    let mut size = 0;
    let mut cut = message.body.len();
    while size < after {
        let last = cut.checked_sub(1).and_then(|at| message.body.get(at));
        let Some(bytes) = last.and_then(Field::fixed_size) else {
            break;
        };
        size += bytes;
        cut -= 1;
    }
    if size != after {
        let text = format!(
            "{after} bytes follow the checksum: the last fields must take exactly that, they \
             take {size}"
        );
        errors.add(&message.place, text);
        return;
    }
    message.tail = message.body.split_off(cut);
}

/// Puts the id between the fields that stand before and after it.
fn place_id(errors: &mut Errors<'_>, message: &mut Message, at: usize, word: Word) {
    let mut offset = 0;
    let mut index = 0;
    while offset < at {
        let Some(field) = message.body.get(index) else {
            let text =
                format!("the id is at {at}, and the fields before it take only {offset} bytes");
            let hint = "bytes without a meaning are filler, such as { t = \"bytes\", len = 2 }";
            errors.add_hint(&message.place, text, hint);
            return;
        };
        match field.fixed_size() {
            Some(bytes) if offset + bytes <= at => offset += bytes,
            _ => {
                let text = format!("`{}` reaches into the id at {at}", field.label);
                let hint = format!("fields before the id have fixed sizes and end at byte {at}");
                errors.add_hint(&field.place, text, hint);
                return;
            }
        }
        index += 1;
    }
    let id = Field {
        label: "id".to_owned(),
        named: false,
        role: Role::Padding,
        slot: 0,
        optional: false,
        store: None,
        kind: Kind::Id(word),
        place: message.place.clone(),
    };
    message.body.insert(index, id);
}

/// Optional fields come last, and a field that takes all that is left last of all. A TLV loop
/// may be followed by optional fields too short to be one of its entries.
fn check_order(errors: &mut Errors<'_>, fields: &[Field]) {
    let mut optional: Option<&Field> = None;
    let mut rest: Option<&Field> = None;
    let mut after_rest = 0_usize;
    for field in fields {
        if let Some(greedy) = rest {
            after_rest = after_rest.saturating_add(field.min_size());
            let short = matches!(&greedy.kind, Kind::Tlv { .. })
                && after_rest < entry_size(greedy)
                && is_short(field);
            if !short {
                let text = format!(
                    "`{}` comes after `{}`, which takes all bytes that are left",
                    field.label, greedy.label
                );
                errors.add_hint(&field.place, text, "move it up, or give the other a length");
            }
        } else if let Some(earlier) = optional
            && !field.optional
        {
            let text = format!(
                "`{}` comes after `{}`, which is optional, and must be optional too",
                field.label, earlier.label
            );
            errors.add_hint(&field.place, text, "give it optional = true, or move it up");
        }
        if field.optional {
            optional = Some(field);
        }
        if field.takes_rest() && rest.is_none() {
            rest = Some(field);
        }
        check_inner(errors, field);
    }
}

fn check_inner(errors: &mut Errors<'_>, field: &Field) {
    match &field.kind {
        Kind::Group(fields) => check_order(errors, fields),
        Kind::Array { of, .. } => check_inner(errors, &of.field),
        Kind::Tlv { cases, len, .. } => {
            for case in cases {
                check_order(errors, &case.fields);
                let open = case.fields.iter().any(|f| f.optional || f.takes_rest());
                if len.is_none() && open && case.fields.len() > 1 {
                    let text = "without `len` in the tlv, a case needs a length of its own";
                    if let Some(first) = case.fields.first() {
                        errors.add(&first.place, text);
                    }
                }
            }
        }
        Kind::Id(_)
        | Kind::Int { .. }
        | Kind::Float { .. }
        | Kind::Bits { .. }
        | Kind::Bcd { .. }
        | Kind::Text { .. }
        | Kind::Bytes { .. }
        | Kind::Unix { .. } => {}
    }
}

/// Fewest bytes of one entry of a TLV loop.
pub(super) fn entry_size(field: &Field) -> usize {
    let Kind::Tlv {
        tag, len, cases, ..
    } = &field.kind
    else {
        return 0;
    };
    let least = |case: &Case| min_size(&case.fields);
    tag.bytes
        + match len {
            Some(len) => len.bytes,
            None => cases.iter().map(least).min().unwrap_or(0),
        }
}

fn is_short(field: &Field) -> bool {
    field.optional
        && matches!(
            &field.kind,
            Kind::Int { .. } | Kind::Float { .. } | Kind::Bits { .. } | Kind::Unix { .. }
        )
}

/// One mid, one result, one event time.
fn check_roles(errors: &mut Errors<'_>, message: &Message) {
    let mut found: Vec<(Role, &Field)> = Vec::new();
    for field in message.fields() {
        for role in field.roles() {
            let what = match role {
                Role::Mid => "mid",
                Role::Result => "result",
                Role::EventTime => "event time",
                Role::HasMore => "has_more",
                Role::Errcode => "errcode",
                Role::Value | Role::Padding | Role::Length | Role::Echo => continue,
            };
            if found.iter().any(|(r, _)| *r == role) {
                errors.add(&field.place, format!("this is the message's second {what}"));
            }
            found.push((role, field));
        }
    }
}
