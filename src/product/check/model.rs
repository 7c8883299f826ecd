//! A product model against the rules of the v5 API ("Products"): lengths in characters, value
//! alphabets, enums, duplicates, bounds in order, counts. Paths are those of the request body:
//! `service_capabilities[0].properties[1].min`.

use std::collections::HashSet;

use serde_json::Value;

use crate::product::check::Violation;
use crate::product::check::value::Limits;
use crate::product::decimal::Decimal;
use crate::product::profile::{Command, DataType, Event, Para, Profile, Property, Service};

/// Services of a model, and properties, commands and events of a service.
const ITEMS_MAX: usize = 500;
/// Characters of a bound's text.
const BOUND_MAX: usize = 16;
const UNIT_MAX: usize = 16;
const DESCRIPTION_MAX: usize = 128;
const NAME_MAX: usize = 64;
const PARA_NAME_MAX: usize = 32;
const EVENT_TYPE_MAX: usize = 32;
const RESPONSE_NAME_MAX: usize = 128;
/// Entries of an enum list, each at most as long as a name of the API.
const ENUM_MAX: usize = 500;
const METHODS: [&str; 7] = ["RWE", "RW", "RE", "WE", "E", "W", "R"];

/// Everything in a product model that the v5 API would refuse. Empty: the model is sound.
pub fn model(profile: &Profile) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let root = "service_capabilities";
    found.count(root, profile.services.len());
    found.unique(root, "service_id", &profile.services, |s| &s.service_id);
    for (at, service) in profile.services.iter().enumerate() {
        check_service(&mut found, &format!("{root}[{at}]"), service);
    }
    found.0
}

/// Whether a name takes this character: CJK, letters, digits and the listed punctuation.
/// Whether this is a Chinese character.
pub const fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

fn is_legal(c: char) -> bool {
    is_chinese(c) || c.is_ascii_alphanumeric() || "_?'#().,&%@!-".contains(c)
}

/// Why text is not a name of the v5 API (`zh+[A-Za-z0-9_?'#().,&%@!-]`) of up to `max`
/// characters: kind and message.
pub fn judge_name(text: &str, max: usize) -> Result<(), (&'static str, String)> {
    let len = text.chars().count();
    if len == 0 || len > max {
        let message = format!("got {len} characters, takes 1 to {max}");
        return Err(("length", message));
    }
    match text.chars().find(|c| !is_legal(*c)) {
        Some(c) => Err((
            "character",
            format!(
                "has the character {c:?}, takes Chinese characters, letters, digits and \
                 _?'#().,&%@!-"
            ),
        )),
        None => Ok(()),
    }
}

struct Found(Vec<Violation>);

impl Found {
    fn push(&mut self, kind: &'static str, path: String, message: String) {
        self.0.push(Violation::new(kind, path, message));
    }

    fn name(&mut self, path: &str, text: &str, max: usize) {
        if let Err((kind, message)) = judge_name(text, max) {
            self.push(kind, path.to_owned(), message);
        }
    }

    fn length(&mut self, path: String, text: Option<&str>, max: usize) {
        let len = text.map_or(0, |t| t.chars().count());
        if len > max {
            let message = format!("got {len} characters, takes at most {max}");
            self.push("length", path, message);
        }
    }

    fn count(&mut self, path: &str, len: usize) {
        if len > ITEMS_MAX {
            let message = format!("got {len} entries, takes at most {ITEMS_MAX}");
            self.push("count", path.to_owned(), message);
        }
    }

    fn unique<T>(&mut self, path: &str, key: &str, items: &[T], name: impl Fn(&T) -> &String) {
        let mut seen = HashSet::new();
        for (at, item) in items.iter().enumerate() {
            if !seen.insert(name(item)) {
                let message = format!("{:?} is there already", name(item));
                self.push("duplicate", format!("{path}[{at}].{key}"), message);
            }
        }
    }
}

fn check_service(found: &mut Found, path: &str, service: &Service) {
    found.name(&format!("{path}.service_id"), &service.service_id, NAME_MAX);
    found.name(
        &format!("{path}.service_type"),
        &service.service_type,
        NAME_MAX,
    );
    let description = service.description.as_deref();
    found.length(format!("{path}.description"), description, DESCRIPTION_MAX);

    let properties = format!("{path}.properties");
    found.count(&properties, service.properties.len());
    found.unique(&properties, "property_name", &service.properties, |p| {
        &p.property_name
    });
    for (at, property) in service.properties.iter().enumerate() {
        check_property(found, &format!("{properties}[{at}]"), property);
    }

    let commands = format!("{path}.commands");
    found.count(&commands, service.commands.len());
    found.unique(&commands, "command_name", &service.commands, |c| {
        &c.command_name
    });
    for (at, command) in service.commands.iter().enumerate() {
        check_command(found, &format!("{commands}[{at}]"), command);
    }

    let events = format!("{path}.events");
    found.count(&events, service.events.len());
    found.unique(&events, "event_type", &service.events, |e| &e.event_type);
    for (at, event) in service.events.iter().enumerate() {
        check_event(found, &format!("{events}[{at}]"), event);
    }
}

fn check_property(found: &mut Found, path: &str, property: &Property) {
    found.name(
        &format!("{path}.property_name"),
        &property.property_name,
        NAME_MAX,
    );
    if !METHODS.contains(&property.method.as_str()) {
        let message = format!("got {:?}, takes {}", property.method, METHODS.join(", "));
        found.push("enum", format!("{path}.method"), message);
    }
    let description = property.description.as_deref();
    found.length(format!("{path}.description"), description, DESCRIPTION_MAX);
    let sound = check_type(
        found,
        path,
        &Typed {
            data_type: property.data_type,
            enum_list: property.enum_list.as_deref(),
            min: property.min.as_deref(),
            max: property.max.as_deref(),
            step: property.step,
            unit: property.unit.as_deref(),
        },
    );
    let default = property.default_value.as_ref().filter(|v| !v.is_null());
    if let (true, Some(value)) = (sound, default) {
        check_default(found, path, property, value);
    }
}

fn check_default(found: &mut Found, path: &str, property: &Property, value: &Value) {
    if let Err((kind, message)) = Limits::of(property).judge(value) {
        found.push(kind, format!("{path}.default_value"), message);
    }
}

fn check_command(found: &mut Found, path: &str, command: &Command) {
    found.name(
        &format!("{path}.command_name"),
        &command.command_name,
        NAME_MAX,
    );
    check_paras(found, &format!("{path}.paras"), &command.paras);
    let responses = format!("{path}.responses");
    found.count(&responses, command.responses.len());
    found.unique(&responses, "response_name", &command.responses, |r| {
        &r.response_name
    });
    for (at, response) in command.responses.iter().enumerate() {
        let path = format!("{responses}[{at}]");
        let name = format!("{path}.response_name");
        found.name(&name, &response.response_name, RESPONSE_NAME_MAX);
        check_paras(found, &format!("{path}.paras"), &response.paras);
    }
}

fn check_event(found: &mut Found, path: &str, event: &Event) {
    let name = format!("{path}.event_type");
    found.name(&name, &event.event_type, EVENT_TYPE_MAX);
    check_paras(found, &format!("{path}.paras"), &event.paras);
}

fn check_paras(found: &mut Found, path: &str, paras: &[Para]) {
    found.count(path, paras.len());
    found.unique(path, "para_name", paras, |p| &p.para_name);
    for (at, para) in paras.iter().enumerate() {
        let path = format!("{path}[{at}]");
        found.name(&format!("{path}.para_name"), &para.para_name, PARA_NAME_MAX);
        let description = para.description.as_deref();
        found.length(format!("{path}.description"), description, DESCRIPTION_MAX);
        check_type(
            found,
            &path,
            &Typed {
                data_type: para.data_type,
                enum_list: para.enum_list.as_deref(),
                min: para.min.as_deref(),
                max: para.max.as_deref(),
                step: para.step,
                unit: para.unit.as_deref(),
            },
        );
    }
}

/// What properties and parameters share.
struct Typed<'a> {
    data_type: DataType,
    enum_list: Option<&'a [String]>,
    min: Option<&'a str>,
    max: Option<&'a str>,
    step: Option<f64>,
    unit: Option<&'a str>,
}

/// False when the limits themselves are wrong, so that no value can be judged by them.
fn check_type(found: &mut Found, path: &str, typed: &Typed<'_>) -> bool {
    let before = found.0.len();
    let low = check_bound(found, &format!("{path}.min"), typed.min);
    let high = check_bound(found, &format!("{path}.max"), typed.max);
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        let message = format!("got {low}, takes at most max, which is {high}");
        found.push("range", format!("{path}.min"), message);
    }
    if typed
        .step
        .is_some_and(|step| !step.is_finite() || step < 0.0)
    {
        let message = format!("got {}, takes 0 or more", typed.step.unwrap_or_default());
        found.push("range", format!("{path}.step"), message);
    }
    found.length(format!("{path}.unit"), typed.unit, UNIT_MAX);
    let list = typed.enum_list.unwrap_or_default();
    if list.len() > ENUM_MAX {
        let message = format!("got {} entries, takes at most {ENUM_MAX}", list.len());
        found.push("count", format!("{path}.enum_list"), message);
    }
    if typed.data_type == DataType::Enum && list.is_empty() {
        let message = "is missing, the data type enum needs at least one name".to_owned();
        found.push("missing", format!("{path}.enum_list"), message);
    }
    let mut seen = HashSet::new();
    for (at, entry) in list.iter().enumerate() {
        if !seen.insert(entry) {
            let message = format!("{entry:?} is there already");
            found.push("duplicate", format!("{path}.enum_list[{at}]"), message);
        }
    }
    found.0.len() == before
}

fn check_bound(found: &mut Found, path: &str, text: Option<&str>) -> Option<Decimal> {
    let text = text?;
    let len = text.chars().count();
    if len == 0 || len > BOUND_MAX {
        let message = format!("got {len} characters, takes 1 to {BOUND_MAX}");
        found.push("length", path.to_owned(), message);
        return None;
    }
    let number = Decimal::parse(text);
    if number.is_none() {
        let message = format!("got {text:?}, takes a decimal number");
        found.push("type", path.to_owned(), message);
    }
    number
}
