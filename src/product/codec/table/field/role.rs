//! `as`, `auto`, `match` and `result`: fields with a meaning of their own.

use toml::de::DeValue;

use crate::product::codec::table::field::{Reader, Stand, Type};
use crate::product::codec::table::program::{Direction, ECHO_PREFIX, Role};
use crate::product::codec::table::source::{Place, Section};

impl Reader<'_, '_> {
    pub(super) fn special_role(
        &mut self,
        section: &Section<'_, '_>,
        of_type: Type,
        plain: Role,
        stand: Stand,
    ) -> Option<Role> {
        let mut role = plain;
        if let Some((text, place)) = section.text(self.errors, "auto") {
            role = self
                .auto_role(section, (text, &place), of_type, stand)
                .unwrap_or(role);
        }
        if let Some((text, place)) = section.text(self.errors, "match") {
            if text == "mid" {
                if self.direction != Direction::Response || !self.is_top(stand) {
                    let message = "`match` belongs to a field of a message with dir = \"response\"";
                    self.errors.add(&place, message);
                } else {
                    self.check_mid(section, of_type);
                }
                role = Role::Mid;
            } else {
                let message = format!("`match` is {text:?}, takes \"mid\"");
                self.errors.add(&place, message);
            }
        }
        if let Some((text, place)) = section.text(self.errors, "as") {
            role = self.meaning_of_as(section, (text, &place), of_type, role)?;
        }
        if section.flag(self.errors, "result") == Some(true) {
            if self.direction != Direction::Response || self.nested {
                let message = "`result` belongs to a field of a message with dir = \"response\"";
                self.errors.add(&section.place_of("result"), message);
            }
            if role == Role::Value || role == Role::Padding {
                role = Role::Result;
            }
            if !section.has("n") {
                let message = "a result needs a name: give it one with `n`";
                self.errors.add(&section.place, message);
            }
        }
        if self.direction == Direction::Answer && section.has("optional") {
            let message = "`optional` means nothing in an answer: all of it is written";
            self.errors.add(&section.place_of("optional"), message);
        }
        Some(role)
    }

    fn is_top(&self, stand: Stand) -> bool {
        !self.nested && stand == Stand::List
    }

    fn check_mid(&mut self, section: &Section<'_, '_>, of_type: Type) {
        if !matches!(of_type, Type::Int { bytes, signed: false } if bytes >= 2) {
            let message = "a mid is 1 to 65535: it needs u16 or wider";
            self.errors.add(&section.place_of("t"), message);
        }
    }

    /// What the platform fills in by itself.
    fn auto_role(
        &mut self,
        section: &Section<'_, '_>,
        (text, place): (&str, &Place),
        of_type: Type,
        stand: Stand,
    ) -> Option<Role> {
        let takes = match self.direction {
            Direction::Answer => r#""errcode", "has_more" or "request.<field>""#,
            _ => "\"mid\"",
        };
        let is_number = matches!(of_type, Type::Int { signed: false, .. });
        let (role, fits) = match (self.direction, text) {
            (Direction::Answer, "errcode") => (Role::Errcode, is_number),
            (Direction::Answer, "has_more") => (Role::HasMore, is_number),
            (Direction::Answer, _)
                if text.len() > ECHO_PREFIX.len() && text.starts_with(ECHO_PREFIX) =>
            {
                let fixed = matches!(of_type, Type::Bytes) && has_own_length(section);
                (Role::Echo, is_number || fixed)
            }
            (Direction::Up | Direction::Response | Direction::Down | Direction::Set, "mid") => {
                (Role::Mid, true)
            }
            _ => {
                let message = format!("`auto` is {text:?}, takes {takes}");
                self.errors.add(place, message);
                return None;
            }
        };
        if !self.direction.is_sent() || !self.is_top(stand) {
            let message =
                "`auto` belongs to a field of a message with dir = \"down\", \"set\" or \"answer\"";
            self.errors.add(place, message);
        } else if role == Role::Mid {
            self.check_mid(section, of_type);
        } else if !fits {
            let message = match role {
                Role::Echo => "an echo needs an unsigned integer, or bytes with a number as `len`",
                _ => "it needs an unsigned integer",
            };
            self.errors
                .add(place, format!("`auto` is {text:?}: {message}"));
        }
        if section.has("const") {
            let message = "`const` and `auto` are two values: give one of them";
            self.errors.add(&section.place_of("const"), message);
        }
        Some(role)
    }

    /// What errors call an echo, and what says which field it repeats.
    pub(super) fn echo_label(&mut self, section: &Section<'_, '_>, role: Role) -> Option<String> {
        if role != Role::Echo || self.direction != Direction::Answer {
            return None;
        }
        let (text, _) = section.text(self.errors, "auto")?;
        Some(text.to_owned())
    }

    /// An answer has nothing to take values from.
    pub(super) fn refuse_value(&mut self, label: &str, place: &Place) {
        if self.direction == Direction::Answer && self.depth == 0 {
            let message = format!(
                "an answer takes no values: give `{label}` the key `auto` or `const`, or leave out \
                 its name"
            );
            self.errors.add(place, message);
        }
    }

    fn meaning_of_as(
        &mut self,
        section: &Section<'_, '_>,
        (text, place): (&str, &Place),
        of_type: Type,
        plain: Role,
    ) -> Option<Role> {
        let role = match (text, of_type) {
            ("event_time", Type::Unix { .. }) => Role::EventTime,
            ("event_time", _) => {
                let message = "`as = \"event_time\"` needs unix32 or unix64";
                self.errors.add(place, message);
                return None;
            }
            ("has_more", Type::Int { .. }) => Role::HasMore,
            ("echo", Type::Int { .. } | Type::Bytes) => {
                if !section.has("n") {
                    let message = "an echo needs a name: give it one with `n`";
                    self.errors.add(&section.place, message);
                }
                Role::Echo
            }
            ("string", Type::Int { .. }) => return Some(plain),
            _ => {
                let hint = "takes \"event_time\" (unix32, unix64), \"has_more\" or \"string\" \
                            (integers), \"echo\" (integers, bytes)";
                let message = format!("`as` is {text:?}, which means nothing for this type");
                self.errors.add_hint(place, message, hint);
                return None;
            }
        };
        if self.direction != Direction::Up || self.nested {
            let message =
                format!("`as = {text:?}` belongs to a field of a message with dir = \"up\"");
            self.errors.add(place, message);
        }
        Some(role)
    }
}

/// Whether `len` is a number.
fn has_own_length(section: &Section<'_, '_>) -> bool {
    let len = section.raw("len");
    len.is_some_and(|len| matches!(len.get_ref(), DeValue::Integer(_)))
}
