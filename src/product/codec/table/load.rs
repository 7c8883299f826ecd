//! From the text of `codec.toml` to a program: the header, the messages, and then the checks
//! that need the whole.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::base::limits::CODEC_SOURCE_MAX;
use crate::product::codec::LoadError;
use crate::product::codec::table::checksum::Sum;
use crate::product::codec::table::field::{Reader, Scope, Stand, little, unsigned};
use crate::product::codec::table::program::{Checksum, Direction, IdField, Message, Program, Word};
use crate::product::codec::table::source::{Errors, Place, Section};
use crate::product::codec::table::{layout, links, model};
use crate::product::profile::Profile;

pub(super) const FILE_KEYS: [&str; 2] = ["codec", "message"];
pub(super) const CODEC_KEYS: [&str; 4] = ["name", "endian", "id", "crc"];
pub(super) const ID_KEYS: [&str; 3] = ["at", "type", "endian"];
pub(super) const CRC_KEYS: [&str; 4] = ["type", "at", "endian", "from"];
pub(super) const MESSAGE_KEYS: [&str; 9] = [
    "id", "name", "dir", "service", "reply", "answer", "fields", "endian", "has_more",
];
pub(super) const MESSAGES_MAX: usize = 1024;
const DIRECTIONS: &str = r#""up", "down", "response", "set" or "answer""#;

/// What the header says about every message.
pub(super) struct Header {
    name: String,
    little: bool,
    /// Whether the source has an id at all, right or wrong.
    has_id: bool,
    pub(super) id: Option<IdField>,
    pub(super) checksum: Option<Checksum>,
}

/// Compiles a codec; every mistake is listed, in the order of the file.
pub(super) fn compile(source: &str, profile: Option<&Profile>) -> Result<Program, Vec<LoadError>> {
    let mut errors = Errors::new(source);
    if source.len() > CODEC_SOURCE_MAX {
        let message = format!(
            "the source has {} bytes, takes at most {CODEC_SOURCE_MAX}",
            source.len()
        );
        errors.add(&(0..0), message);
        return Err(errors.finish());
    }
    let (document, broken) = DeTable::parse_recoverable(source);
    // A file that is no TOML reads as something else than its author wrote: one sort at a time.
    if !broken.is_empty() {
        refuse_syntax(&mut errors, source, &broken);
        return Err(errors.finish());
    }
    let root = Section::new(document.get_ref(), 0..0);
    root.allow(&mut errors, "the file", &FILE_KEYS, &[]);
    let header = read_header(&mut errors, &root);
    let mut messages = Vec::new();
    if let Some(DeValue::Table(_)) = root.raw("message").map(Spanned::get_ref) {
        let place = root.place_of("message");
        let text = "`message` is one table, takes a list of them";
        errors.add_hint(&place, text, "write [[message]]");
    } else if root.has("message") {
        if let Some((items, _)) = root.list(&mut errors, "message") {
            if items.len() > MESSAGES_MAX {
                let place = root.place_of("message");
                errors.add(
                    &place,
                    format!("a codec takes at most {MESSAGES_MAX} messages"),
                );
            }
            for item in items.iter().take(MESSAGES_MAX) {
                messages.extend(read_message(&mut errors, &header, item));
            }
        }
    } else {
        errors.add(
            &(0..0),
            "the codec has no message: give it one with [[message]]",
        );
    }
    let id_is_broken = header.has_id && header.id.is_none();
    let mut program = Program {
        name: header.name,
        id: header.id,
        checksum: header.checksum,
        messages,
        inbound: Vec::new(),
    };
    layout::check(&mut errors, &mut program);
    links::check(&mut errors, &mut program, id_is_broken);
    if let Some(profile) = profile {
        model::check(&mut errors, &program, profile);
    }
    if errors.count() > 0 {
        return Err(errors.finish());
    }
    Ok(program)
}

/// What the first line with a mistake says: later ones mostly follow from it.
fn refuse_syntax(errors: &mut Errors<'_>, source: &str, broken: &[toml::de::Error]) {
    let place_of = |error: &toml::de::Error| error.span().unwrap_or(0..0);
    let first = broken.iter().map(|e| place_of(e).start).min().unwrap_or(0);
    let until = source.get(first..).and_then(|rest| rest.find('\n'));
    let until = until.map_or(source.len(), |length| first + length);
    let before = source.get(..first).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = source.get(line_start..until).unwrap_or_default().trim();
    let hint = if source.trim_start().starts_with('{') {
        Some("this looks like JSON, and codec.toml is TOML: key = value")
    } else if line.starts_with('[') {
        Some("is a list or a table above it left open?")
    } else {
        None
    };
    let mut places = Vec::new();
    // Of several at one place the last is the innermost: the string, not the table around it.
    for error in broken.iter().rev() {
        let place = place_of(error);
        if place.start > until || places.contains(&place.start) {
            continue;
        }
        places.push(place.start);
        let message = format!("not TOML: {}", error.message());
        match hint.filter(|_| place.start == first) {
            Some(hint) => errors.add_hint(&place, message, hint),
            None => errors.add(&place, message),
        }
    }
}

fn read_header(errors: &mut Errors<'_>, root: &Section<'_, '_>) -> Header {
    let mut header = Header {
        name: String::new(),
        little: false,
        has_id: false,
        id: None,
        checksum: None,
    };
    let Some(section) = root.section(errors, "codec") else {
        return header;
    };
    section.allow(errors, "codec", &CODEC_KEYS, &[]);
    if let Some((name, _)) = section.name(errors, "name") {
        name.clone_into(&mut header.name);
    }
    header.little = little(errors, &section, false);
    header.has_id = section.has("id");
    if let Some(id) = section.section(errors, "id") {
        header.id = read_id(errors, &id, header.little);
    }
    if let Some(crc) = section.section(errors, "crc") {
        header.checksum = read_checksum(errors, &crc, header.little);
    }
    header
}

fn read_id(errors: &mut Errors<'_>, section: &Section<'_, '_>, default: bool) -> Option<IdField> {
    section.allow(errors, "id", &ID_KEYS, &[]);
    let at = match section.has("at") {
        true => section.bounded(errors, "at", 0..=255),
        false => Some(0),
    };
    let little = little(errors, section, default);
    let Some((text, place)) = section.text(errors, "type") else {
        if !section.has("type") {
            errors.add(&section.place, "the id needs a `type`, such as \"u8\"");
        }
        return None;
    };
    let Some(bytes) = unsigned(text) else {
        let message = format!("`type` is {text:?}, takes \"u8\" to \"u64\"");
        errors.add(&place, message);
        return None;
    };
    Some(IdField {
        at: at?,
        word: Word { bytes, little },
    })
}

fn read_checksum(
    errors: &mut Errors<'_>,
    section: &Section<'_, '_>,
    default: bool,
) -> Option<Checksum> {
    section.allow(errors, "crc", &CRC_KEYS, &[]);
    let little = little(errors, section, default);
    let Some((name, place)) = section.text(errors, "type") else {
        if !section.has("type") {
            errors.add(
                &section.place,
                "the crc needs a `type`, such as \"crc16-modbus\"",
            );
        }
        return None;
    };
    let Some((sum, bytes)) = Sum::by_name(name) else {
        let message = format!("unknown checksum {name:?}");
        let hint = match Sum::closest_name(name) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "takes sum8, xor8 or a name of the CRC catalogue such as crc16-modbus".into(),
        };
        errors.add_hint(&place, message, hint);
        return None;
    };
    let mut from_end = bytes;
    if let Some((at, place)) = section.integer(errors, "at") {
        let width = i128::try_from(bytes).unwrap_or(0);
        if (-255..=-width).contains(&at) {
            from_end = usize::try_from(-at).unwrap_or(bytes);
        } else {
            let message = format!(
                "`at` is {at}, takes -255 to -{width}: it counts from the end and {name} has \
                 {width} bytes"
            );
            errors.add(&place, message);
        }
    }
    let start = match section.has("from") {
        true => section.bounded(errors, "from", 0..=255)?,
        false => 0,
    };
    Some(Checksum {
        sum,
        start,
        from_end,
        word: Word { bytes, little },
    })
}

fn read_message(
    errors: &mut Errors<'_>,
    header: &Header,
    item: &Spanned<DeValue<'_>>,
) -> Option<Message> {
    let section = Section::of(item, errors, "a message")?;
    section.allow(errors, "a message", &MESSAGE_KEYS, &CODEC_KEYS);
    let id = read_message_id(errors, header, &section);
    let direction = read_direction(errors, &section)?;
    let name = section
        .name(errors, "name")
        .map(|(name, _)| name.to_owned());
    if direction == Direction::Down && name.is_none() {
        let message = "a message with dir = \"down\" needs a `name`: the command's";
        errors.add(&section.place, message);
    }
    let service = read_service(errors, &section, direction);
    let reply = read_link(errors, &section, "reply", direction);
    let answer = read_link(errors, &section, "answer", direction);
    let has_more = section.flag(errors, "has_more") == Some(true);
    if has_more && direction != Direction::Up {
        let place = section.place_of("has_more");
        errors.add(&place, "`has_more` belongs to a message with dir = \"up\"");
    }
    let little = little(errors, &section, header.little);
    let mut reader = Reader {
        errors,
        direction,
        little,
        service: service.clone(),
        services: Vec::new(),
        registers: 0,
        depth: 0,
        nested: false,
    };
    let body = match section.list(reader.errors, "fields") {
        Some((items, _)) => reader.list(items, &mut Scope::default(), Stand::List),
        None => Vec::new(),
    };
    let services = std::mem::take(&mut reader.services);
    Some(Message {
        id,
        name,
        direction,
        service,
        reply,
        answer,
        has_more,
        services,
        body,
        tail: Vec::new(),
        place: section.place,
    })
}

/// The message's own service, where its direction has one.
fn read_service(
    errors: &mut Errors<'_>,
    section: &Section<'_, '_>,
    direction: Direction,
) -> Option<String> {
    let service = section.name(errors, "service");
    let nothing = match direction {
        Direction::Response => "a response: it answers its command",
        Direction::Answer => "an answer: it answers its report",
        Direction::Set if !section.has("service") => {
            let message =
                "a message with dir = \"set\" needs a `service`: whose properties it sets";
            errors.add(&section.place, message);
            return None;
        }
        Direction::Up | Direction::Down | Direction::Set => {
            return service.map(|(name, _)| name.to_owned());
        }
    };
    if let Some((_, place)) = service {
        errors.add(&place, format!("`service` means nothing for {nothing}"));
    }
    None
}

/// `reply` of what devices are told to do, `answer` of reports: the id of another message.
fn read_link(
    errors: &mut Errors<'_>,
    section: &Section<'_, '_>,
    key: &str,
    direction: Direction,
) -> Option<(u64, Place)> {
    let (id, place) = section.integer(errors, key)?;
    let belongs = match (key, direction) {
        ("reply", Direction::Down | Direction::Set) | ("answer", Direction::Up) => {
            let known = u64::try_from(id);
            if known.is_err() {
                errors.add(
                    &place,
                    format!("`{key}` is {id}, takes the id of a message"),
                );
            }
            return Some((known.ok()?, place));
        }
        ("reply", _) => "dir = \"down\" or \"set\"",
        _ => "dir = \"up\"",
    };
    errors.add(
        &place,
        format!("`{key}` belongs to a message with {belongs}"),
    );
    None
}

fn read_direction(errors: &mut Errors<'_>, section: &Section<'_, '_>) -> Option<Direction> {
    match section.text(errors, "dir") {
        Some(("up", _)) => Some(Direction::Up),
        Some(("down", _)) => Some(Direction::Down),
        Some(("response", _)) => Some(Direction::Response),
        Some(("set", _)) => Some(Direction::Set),
        Some(("answer", _)) => Some(Direction::Answer),
        Some((other, place)) => {
            let message = format!("`dir` is {other:?}, takes {DIRECTIONS}");
            errors.add(&place, message);
            None
        }
        None => {
            if !section.has("dir") {
                let message = format!("the message needs a `dir`: {DIRECTIONS}");
                errors.add(&section.place, message);
            }
            None
        }
    }
}

fn read_message_id(
    errors: &mut Errors<'_>,
    header: &Header,
    section: &Section<'_, '_>,
) -> Option<u64> {
    let Some((number, place)) = section.integer(errors, "id") else {
        if header.has_id && !section.has("id") {
            errors.add(
                &section.place,
                "the message needs an `id`: the codec has one",
            );
        }
        return None;
    };
    let Some(field) = header.id else {
        if header.has_id {
            return None;
        }
        errors.add_hint(
            &place,
            "the codec says nowhere that messages have an id",
            "add id = { at = 0, type = \"u8\" } to codec",
        );
        return None;
    };
    match u64::try_from(number) {
        Ok(id) if id <= field.word.max() => Some(id),
        _ => {
            let message = format!("`id` is {number}, takes 0 to {}", field.word.max());
            errors.add(&place, message);
            None
        }
    }
}
