//! Checks that need the whole codec: ids that tell messages apart, names of commands, replies to
//! commands and sets, answers to reports.

use crate::product::codec::table::program::{Direction, Kind, Message, Program, Role, Word};
use crate::product::codec::table::source::{Errors, Place};
use crate::product::codec::table::{answer, encode};

/// Checks how messages go together. When the header's id could not be read, they are not told
/// apart by it: every one of them would be wrong for the same reason.
pub(super) fn check(errors: &mut Errors<'_>, program: &mut Program, id_is_broken: bool) {
    check_commands(errors, program);
    check_sets(errors, program);
    if !id_is_broken {
        check_ids(errors, program);
        check_replies(errors, program);
        check_answers(errors, program);
    }
}

/// Each id names one message that devices send, and one that they get.
fn check_ids(errors: &mut Errors<'_>, program: &mut Program) {
    for (at, message) in program.messages.iter().enumerate() {
        let down = message.direction.is_sent();
        let earlier = program.messages.iter().take(at);
        let mut same = earlier.filter(|m| m.direction.is_sent() == down);
        if program.id.is_none() {
            if !down && same.next().is_some() {
                errors.add_hint(
                    &message.place,
                    "without an id nothing tells this message from the one before",
                    "add id = { at = 0, type = \"u8\" } to codec",
                );
            }
            if !down {
                program.inbound.push((0, at));
            }
            continue;
        }
        let Some(id) = message.id else { continue };
        if let Some(first) = same.find(|m| m.id == Some(id)) {
            let text = format!("id {id:#x} is there already");
            let line = errors.line_of(&first.place);
            let who = if down {
                "the platform sends"
            } else {
                "devices send"
            };
            let hint = format!("{line} has it, and each id names one message that {who}");
            errors.add_hint(&message.place, text, hint);
        }
        if !down {
            program.inbound.push((id, at));
        }
    }
    program.inbound.sort_unstable();
}

fn check_commands(errors: &mut Errors<'_>, program: &Program) {
    let mut seen: Vec<(&str, Option<&str>, &Place)> = Vec::new();
    for message in &program.messages {
        let (Direction::Down, Some(name)) = (message.direction, message.name.as_deref()) else {
            continue;
        };
        let service = message.service.as_deref();
        let clash = |(n, s, _): &&(&str, Option<&str>, &Place)| {
            *n == name && (*s == service || s.is_none() || service.is_none())
        };
        if let Some((_, _, first)) = seen.iter().find(clash) {
            let text = format!("command {name} is there already");
            let line = errors.line_of(first);
            let hint = format!("{line} has it: two of one name need different services");
            errors.add_hint(&message.place, text, hint);
        }
        seen.push((name, service, &message.place));
    }
}

/// What sets nothing has no use.
fn check_sets(errors: &mut Errors<'_>, program: &Program) {
    for message in &program.messages {
        if message.direction == Direction::Set && encode::names(message.fields()).is_empty() {
            let text = "the message sets no property: name them with `n`";
            errors.add(&message.place, text);
        }
    }
}

/// A reply is a response, and the mid of the one is the mid of the other.
fn check_replies(errors: &mut Errors<'_>, program: &Program) {
    for message in &program.messages {
        let Some((id, place)) = &message.reply else {
            continue;
        };
        let of_id = |m: &&Message| m.id == Some(*id) && !m.direction.is_sent();
        let Some(reply) = program.messages.iter().find(of_id) else {
            let text = format!("no message that devices send has id {id:#x}");
            let hint = "a reply is a message with dir = \"response\" and this id";
            errors.add_hint(place, text, hint);
            continue;
        };
        if reply.direction != Direction::Response {
            let text = format!("message {id:#x} is a report, a reply needs dir = \"response\"");
            errors.add(place, text);
            continue;
        }
        let what = match message.direction {
            Direction::Set => "set",
            _ => "command",
        };
        match (mid(message), mid(reply)) {
            (Some(sent), Some(back)) if sent.bytes != back.bytes => {
                let text = format!(
                    "the {what}'s mid has {} bytes, that of its reply {}",
                    sent.bytes, back.bytes
                );
                errors.add(place, text);
            }
            (Some(_), None) => errors.add_hint(
                place,
                format!("the {what} has a mid, its reply {id:#x} has none to match"),
                "give the reply a field with match = \"mid\"",
            ),
            (None, Some(_)) => errors.add_hint(
                place,
                format!("reply {id:#x} matches a mid that the {what} does not send"),
                format!("give the {what} a field with auto = \"mid\""),
            ),
            _ => {}
        }
    }
}

/// An answer is one, some report names it, and each that does has what it echoes.
fn check_answers(errors: &mut Errors<'_>, program: &Program) {
    let is_answer = |m: &&Message| m.direction == Direction::Answer;
    for message in &program.messages {
        let Some((id, place)) = &message.answer else {
            continue;
        };
        let of_id = |m: &&Message| m.id == Some(*id);
        let mut sent = program.messages.iter().filter(|m| m.direction.is_sent());
        match sent.find(of_id) {
            Some(found) if is_answer(&found) => {
                for problem in answer::problems(message, found) {
                    errors.add(place, format!("answer {id:#x} echoes {problem}"));
                }
            }
            Some(_) => {
                let text = format!("message {id:#x} is no answer, that needs dir = \"answer\"");
                errors.add(place, text);
            }
            None => errors.add_hint(
                place,
                format!("no message that devices get has id {id:#x}"),
                "an answer is a message with dir = \"answer\" and this id",
            ),
        }
    }
    for message in program.messages.iter().filter(is_answer) {
        let named = |m: &Message| m.answer.as_ref().map(|(id, _)| *id) == message.id;
        if message.id.is_some() && !program.messages.iter().any(named) {
            errors.add_hint(
                &message.place,
                "no report has this answer",
                "give a report the key `answer` with this id",
            );
        }
    }
}

fn mid(message: &Message) -> Option<Word> {
    message
        .fields()
        .filter(|f| f.role == Role::Mid)
        .find_map(|f| match f.kind {
            Kind::Int { word, .. } => Some(word),
            _ => None,
        })
}
