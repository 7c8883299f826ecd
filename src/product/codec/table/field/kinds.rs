//! The types of fields and the keys of each.

use crate::base::limits::BODY_MAX;
use crate::product::codec::table::field::DEPTH_MAX;
use crate::product::codec::table::field::{Reader, Scope, Stand, Type, little};
use crate::product::codec::table::program::{
    Case, Element, Field, Kind, Meaning, Role, Size, Word,
};
use crate::product::codec::table::source::{Section, closest, integer_key, integer_of};
use crate::product::codec::text;
use toml::de::DeValue;

const CASES_MAX: usize = 128;

impl Reader<'_, '_> {
    pub(super) fn kind(
        &mut self,
        section: &Section<'_, '_>,
        scope: &mut Scope,
        of_type: Type,
        (label, named): (&str, bool),
    ) -> Option<Kind> {
        let is_little = little(self.errors, section, self.little);
        let word = |bytes| Word {
            bytes,
            little: is_little,
        };
        match of_type {
            Type::Int { bytes, signed } => Some(Kind::Int {
                word: word(bytes),
                signed,
                constant: self.constant(section, word(bytes).max()),
                meaning: self.meaning(section, bytes * 8, signed, Meaning::Number),
            }),
            Type::Float { bytes } => {
                let dec = section.bounded(self.errors, "dec", 0..=15);
                if dec.is_some() && self.direction.is_sent() {
                    let place = section.place_of("dec");
                    let message = "`dec` rounds a float, which nothing that is sent can undo";
                    self.errors.add(&place, message);
                }
                Some(Kind::Float {
                    word: word(bytes),
                    dec,
                })
            }
            Type::Bits { bytes } => self.bits(section, scope, word(bytes)),
            Type::Bcd => Some(Kind::Bcd {
                size: self.size(section, scope, "len", is_little)?,
                little: is_little && section.has("endian"),
                scale: self.scale(section),
            }),
            Type::Text { ascii } => {
                let constant = section.text(self.errors, "const");
                let constant = constant.map(|(text, _)| text.as_bytes().to_vec());
                let size = self.sized_constant(section, scope, constant.as_deref(), is_little)?;
                Some(Kind::Text {
                    ascii,
                    size,
                    constant,
                })
            }
            Type::Bytes => self.bytes(section, scope, is_little),
            Type::Unix { bytes } => {
                let ms = section.bounded(self.errors, "dec", 3..=3).is_some();
                if ms && bytes != 8 {
                    let place = section.place_of("dec");
                    self.errors
                        .add(&place, "milliseconds since 1970 need unix64");
                }
                Some(Kind::Unix {
                    word: word(bytes),
                    ms,
                })
            }
            Type::Array => self.deeper(section, |r| r.array(section, scope, label, is_little)),
            Type::Tlv => self.deeper(section, |r| r.tlv(section, scope, named, is_little)),
            Type::Group => self.deeper(section, |r| r.group(section, scope, named)),
        }
    }

    fn deeper(
        &mut self,
        section: &Section<'_, '_>,
        read: impl FnOnce(&mut Self) -> Option<Kind>,
    ) -> Option<Kind> {
        if self.depth >= DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            self.errors.add(&section.place, message);
            return None;
        }
        self.depth += 1;
        let kind = read(self);
        self.depth -= 1;
        kind
    }

    /// A number of bytes or elements, a type in front of them, an earlier field, or the rest.
    fn size(
        &mut self,
        section: &Section<'_, '_>,
        scope: &Scope,
        key: &str,
        is_little: bool,
    ) -> Option<Size> {
        let Some(value) = section.raw(key) else {
            return Some(Size::Rest);
        };
        let place = value.span();
        let DeValue::String(text) = value.get_ref() else {
            let (number, _) = integer_of(value, self.errors, key)?;
            return match usize::try_from(number) {
                Ok(n) if (1..=BODY_MAX).contains(&n) => Some(Size::Fixed(n)),
                _ => {
                    let message = format!("`{key}` is {number}, takes 1 to {BODY_MAX}");
                    self.errors.add(&place, message);
                    None
                }
            };
        };
        if super::unsigned(text).is_some() {
            return self.word(text, &place, key, is_little).map(Size::Prefixed);
        }
        if let Some((_, slot)) = scope.stored.iter().find(|(name, _)| name == text) {
            return Some(Size::Stored(*slot));
        }
        if scope.taken.iter().any(|(_, name)| name == text) {
            // It comes before and is no length: that was said where it stands.
            return None;
        }
        if scope.listed.iter().any(|name| name == text) {
            let message = format!("`{key}` refers to `{text}`, which does not come before it");
            self.errors.add(&place, message);
            return None;
        }
        let message = format!("`{key}` refers to `{text}`, and no field before it has that name");
        let hint = match closest(text, scope.listed.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "takes a number, a type such as \"u8\", or the name of an earlier field".into(),
        };
        self.errors.add_hint(&place, message, hint);
        None
    }

    /// The size of a constant is its own, unless `len` says so too.
    fn sized_constant(
        &mut self,
        section: &Section<'_, '_>,
        scope: &Scope,
        constant: Option<&[u8]>,
        is_little: bool,
    ) -> Option<Size> {
        let Some(constant) = constant else {
            return self.size(section, scope, "len", is_little);
        };
        if constant.is_empty() {
            self.errors
                .add(&section.place_of("const"), "`const` is empty");
            return None;
        }
        match section.raw("len") {
            None => Some(Size::Fixed(constant.len())),
            Some(_) => match self.size(section, scope, "len", is_little)? {
                Size::Fixed(n) if n == constant.len() => Some(Size::Fixed(n)),
                _ => {
                    let message = format!(
                        "`const` is {} bytes long, `len` must be too",
                        constant.len()
                    );
                    self.errors.add(&section.place_of("len"), message);
                    None
                }
            },
        }
    }

    fn bytes(&mut self, section: &Section<'_, '_>, scope: &Scope, is_little: bool) -> Option<Kind> {
        let base64 = match section.text(self.errors, "enc") {
            None | Some(("hex", _)) => false,
            Some(("base64", _)) => true,
            Some((other, place)) => {
                let message = format!("`enc` is {other:?}, takes \"hex\" or \"base64\"");
                self.errors.add(&place, message);
                false
            }
        };
        let mut constant = None;
        if let Some((hex, place)) = section.text(self.errors, "const") {
            constant = text::unhex(hex);
            if constant.is_none() {
                let message =
                    format!("`const` is {hex:?}, takes pairs of hex digits such as \"6816\"");
                self.errors.add(&place, message);
                return None;
            }
        }
        let size = self.sized_constant(section, scope, constant.as_deref(), is_little)?;
        Some(Kind::Bytes {
            base64,
            size,
            constant,
        })
    }

    fn array(
        &mut self,
        section: &Section<'_, '_>,
        scope: &Scope,
        label: &str,
        is_little: bool,
    ) -> Option<Kind> {
        let count = self.size(section, scope, "count", is_little);
        let most = i128::try_from(BODY_MAX).unwrap_or(i128::MAX);
        let max = section.bounded(self.errors, "max", 1..=most);
        if max.is_some() && matches!(count, Some(Size::Fixed(_))) {
            let message = "`max` means nothing beside a fixed `count`";
            self.errors.add(&section.place_of("max"), message);
        }
        if !section.has("of") {
            let message = "the array has no element: give it one with `of`";
            self.errors.add(&section.place, message);
            return None;
        }
        let of = section.section(self.errors, "of")?;
        let was_nested = std::mem::replace(&mut self.nested, true);
        let field = self.field(&of, &mut Scope::default(), Stand::Element);
        self.nested = was_nested;
        let mut field = field?;
        if field.label == "group" {
            field.label = label.to_owned();
        }
        let count = count?;
        let min = field.min_size();
        let unfit = match &field.kind {
            Kind::Bits { .. } => Some("bits stand in a group: of = { fields = [...] }"),
            _ if field.named => Some("an element has no name of its own: leave out `n`"),
            Kind::Tlv { .. } => Some("a tlv loop has no end inside an array"),
            _ if field.role != Role::Value => {
                Some("an element is a value: leave out `as`, `auto`, `const` and `match`")
            }
            _ if field.optional => Some("an element cannot be optional"),
            _ if field.takes_rest() => Some("an element needs a length of its own"),
            _ if min == 0 => Some("an element may be empty: the array would never end"),
            _ => None,
        };
        if let Some(message) = unfit {
            self.errors.add(&of.place, message);
            return None;
        }
        let of = Box::new(Element { field, min });
        Some(Kind::Array { count, max, of })
    }

    fn group(&mut self, section: &Section<'_, '_>, scope: &mut Scope, named: bool) -> Option<Kind> {
        if !section.has("fields") {
            self.errors.add(&section.place, "a group needs `fields`");
            return None;
        }
        let (items, _) = section.list(self.errors, "fields")?;
        if items.is_empty() {
            let place = section.place_of("fields");
            self.errors.add(&place, "a group needs at least one field");
            return None;
        }
        // A nameless group of a TLV case stands for its fields: they keep their service, and
        // their names are names of the list around it.
        let mut own = Scope::default();
        let was_nested = self.nested;
        if named {
            self.nested = true;
        } else {
            own.taken = std::mem::take(&mut scope.taken);
        }
        let fields = self.list(items, &mut own, Stand::List);
        if !named {
            scope.taken = own.taken;
        }
        self.nested = was_nested;
        Some(Kind::Group(fields))
    }

    fn tlv(
        &mut self,
        section: &Section<'_, '_>,
        scope: &mut Scope,
        named: bool,
        is_little: bool,
    ) -> Option<Kind> {
        let (tag, place) = section.text(self.errors, "tag").or_else(|| {
            if !section.has("tag") {
                let message = "a tlv needs the type of its tags: `tag = \"u8\"`";
                self.errors.add(&section.place, message);
            }
            None
        })?;
        let tag = self.word(tag, &place, "tag", is_little)?;
        let len = match section.text(self.errors, "len") {
            Some((text, place)) => Some(self.word(text, &place, "len", is_little)?),
            None => None,
        };
        let skip_unknown = match section.text(self.errors, "unknown") {
            None | Some(("error", _)) => false,
            Some(("skip", place)) => {
                if len.is_none() {
                    let message = "`unknown = \"skip\"` needs `len`: nothing else says how much";
                    self.errors.add(&place, message);
                }
                true
            }
            Some((other, place)) => {
                let message = format!("`unknown` is {other:?}, takes \"skip\" or \"error\"");
                self.errors.add(&place, message);
                false
            }
        };
        if !section.has("cases") {
            self.errors.add(&section.place, "a tlv needs `cases`");
            return None;
        }
        let table = section.section(self.errors, "cases")?;
        let was_nested = self.nested;
        self.nested |= named;
        let mut own = Scope::default();
        let members = if named { &mut own } else { scope };
        let cases = self.cases(&table, members, tag, len);
        self.nested = was_nested;
        Some(Kind::Tlv {
            tag,
            len,
            skip_unknown,
            cases,
        })
    }

    fn cases(
        &mut self,
        table: &Section<'_, '_>,
        scope: &mut Scope,
        tag: Word,
        len: Option<Word>,
    ) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for (key, place, value) in table.entries() {
            let Some(code) = integer_key(key).filter(|code| *code <= tag.max()) else {
                let message = format!("{key:?} is no tag, takes 0 to {} such as 0x10", tag.max());
                self.errors.add(&place, message);
                continue;
            };
            if cases.iter().any(|case| case.tag == code) {
                let message = format!("tag {key} is there already");
                let hint =
                    "a tag that comes several times in one payload is one case with many = true";
                self.errors.add_hint(&place, message, hint);
            }
            if cases.len() == CASES_MAX {
                let message = format!("a tlv takes at most {CASES_MAX} cases");
                self.errors.add(&place, message);
                break;
            }
            let Some(section) = Section::of(value, self.errors, &format!("case {key}")) else {
                continue;
            };
            cases.extend(self.case(&section, scope, code, len.is_some()));
        }
        if table.entries().is_empty() {
            let message =
                "`cases` is empty, takes at least one such as 0x10 = { n = \"x\", t = \"u8\" }";
            self.errors.add(&table.place, message);
        }
        cases
    }

    /// A field with the key `many` besides its own.
    fn case(
        &mut self,
        section: &Section<'_, '_>,
        scope: &mut Scope,
        tag: u64,
        measured: bool,
    ) -> Option<Case> {
        let many = section.flag(self.errors, "many") == Some(true);
        let field = self.field(section, scope, Stand::Case)?;
        if field.optional {
            let place = section.place_of("optional");
            self.errors.add(&place, "a case is optional as it is");
        }
        if field.takes_rest() && !measured {
            let message = "without `len` in the tlv, a case needs a length of its own";
            self.errors.add(&section.place, message);
        }
        let single = section.has("n") && field.role == Role::Value;
        if many && !single {
            let place = section.place_of("many");
            self.errors.add(&place, "`many` needs one named value: `n`");
        }
        let fields = match field {
            Field {
                kind: Kind::Group(fields),
                ..
            } if !section.has("n") => fields,
            field => vec![field],
        };
        Some(Case { tag, many, fields })
    }
}
