//! Fields of a message, from their tables to compiled form.
//!
//! Each type takes its own keys, and a key that it does not take is a mistake with its place.
//! What needs several fields at once (order, sizes, replies) is checked in `layout`.

mod bits;
mod kinds;
mod meaning;
mod role;

use toml::Spanned;
use toml::de::DeValue;

use crate::product::codec::table::program::{Direction, Field, REFERENCES_MAX, Role, Word};
use crate::product::codec::table::source::{Errors, Place, Section, closest};

pub(super) use bits::BIT_KEYS;

/// Groups, arrays and TLV loops inside each other.
const DEPTH_MAX: usize = 6;
/// Fields of one list.
const FIELDS_MAX: usize = 512;

/// Every key that some field takes.
pub(super) const ALL_KEYS: [&str; 29] = [
    "n", "t", "at", "w", "signed", "service", "optional", "endian", "as", "dec", "scale", "offset",
    "enum", "other", "const", "auto", "match", "result", "len", "enc", "count", "of", "max", "tag",
    "unknown", "bits", "cases", "fields", "many",
];

/// What all fields of one message share while they are read.
pub(super) struct Reader<'e, 's> {
    pub(super) errors: &'e mut Errors<'s>,
    pub(super) direction: Direction,
    pub(super) little: bool,
    /// The message's own service.
    pub(super) service: Option<String>,
    /// All services of the message, in the order of their first field.
    pub(super) services: Vec<String>,
    /// Kept values so far.
    pub(super) registers: usize,
    /// Groups, arrays and TLV loops around the current field.
    pub(super) depth: usize,
    /// Whether the current field is a member of an object rather than of a service.
    pub(super) nested: bool,
}

/// Names of one object or message.
#[derive(Default)]
pub(super) struct Scope {
    taken: Vec<(usize, String)>,
    /// Fields so far that a later one may refer to.
    stored: Vec<(String, usize)>,
    /// Names that some field of the list refers to.
    referenced: Vec<String>,
    /// All names of the list.
    listed: Vec<String>,
}

/// Where a field stands: that decides whether it needs a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    List,
    Element,
    Case,
}

/// What `t` says.
#[derive(Clone, Copy)]
enum Type {
    Int { bytes: usize, signed: bool },
    Float { bytes: usize },
    Bits { bytes: usize },
    Bcd,
    Text { ascii: bool },
    Bytes,
    Unix { bytes: usize },
    Array,
    Tlv,
    Group,
}

impl Type {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "f32" => Self::Float { bytes: 4 },
            "f64" => Self::Float { bytes: 8 },
            "bcd" => Self::Bcd,
            "ascii" => Self::Text { ascii: true },
            "utf8" => Self::Text { ascii: false },
            "bytes" => Self::Bytes,
            "unix32" => Self::Unix { bytes: 4 },
            "unix64" => Self::Unix { bytes: 8 },
            "array" => Self::Array,
            "tlv" => Self::Tlv,
            "group" => Self::Group,
            _ => {
                let cut = text.find(|c: char| c.is_ascii_digit())?;
                let (word, size) = text.split_at(cut);
                let bytes = whole_bytes(size)?;
                match word {
                    "u" => Self::Int {
                        bytes,
                        signed: false,
                    },
                    "i" => Self::Int {
                        bytes,
                        signed: true,
                    },
                    "bits" => Self::Bits { bytes },
                    _ => return None,
                }
            }
        })
    }

    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Int { .. } => &[
                "n", "t", "service", "optional", "endian", "as", "dec", "scale", "offset", "enum",
                "other", "const", "auto", "match", "result",
            ],
            Self::Float { .. } => &["n", "t", "service", "optional", "endian", "dec"],
            Self::Bits { .. } => &["t", "service", "optional", "endian", "bits"],
            Self::Bcd => &[
                "n", "t", "service", "optional", "endian", "len", "dec", "scale", "offset",
            ],
            Self::Text { .. } => &["n", "t", "service", "optional", "endian", "len", "const"],
            Self::Bytes => &[
                "n", "t", "service", "optional", "endian", "len", "enc", "as", "const", "auto",
            ],
            Self::Unix { .. } => &["n", "t", "service", "optional", "endian", "as", "dec"],
            Self::Array => &[
                "n", "t", "service", "optional", "endian", "count", "max", "of",
            ],
            Self::Tlv => &[
                "n", "t", "service", "optional", "endian", "tag", "len", "unknown", "cases",
            ],
            Self::Group => &["n", "t", "service", "optional", "fields"],
        }
    }
}

/// Every type.
pub(super) const TYPES: [&str; 35] = [
    "u8", "u16", "u24", "u32", "u40", "u48", "u56", "u64", "i8", "i16", "i24", "i32", "i40", "i48",
    "i56", "i64", "f32", "f64", "bits8", "bits16", "bits24", "bits32", "bits40", "bits48",
    "bits56", "bits64", "bcd", "ascii", "utf8", "bytes", "unix32", "unix64", "array", "tlv",
    "group",
];

/// The same for who reads a hint.
const TYPES_LISTED: &str = "u8 to u64, i8 to i64 and bits8 to bits64 in steps of 8 bits, f32, f64, \
                            bcd, ascii, utf8, bytes, unix32, unix64, array, tlv, group";

/// What other languages call the types.
const ALIASES: [(&str, &str); 22] = [
    ("bool", "bits8"),
    ("boolean", "bits8"),
    ("byte", "u8"),
    ("char", "ascii"),
    ("date", "unix32"),
    ("datetime", "unix32"),
    ("double", "f64"),
    ("enum", "u8"),
    ("float", "f32"),
    ("hex", "bytes"),
    ("int", "i32"),
    ("integer", "i32"),
    ("list", "array"),
    ("long", "i64"),
    ("object", "group"),
    ("short", "i16"),
    ("str", "utf8"),
    ("string", "utf8"),
    ("struct", "group"),
    ("text", "utf8"),
    ("time", "unix32"),
    ("timestamp", "unix32"),
];

/// The type that somebody means who wrote another word: `uint16_t`, `float`, `u17`.
fn type_like(text: &str) -> Option<&'static str> {
    let word = text.to_ascii_lowercase();
    let word = word.strip_suffix("_t").unwrap_or(&word);
    if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| *alias == word) {
        return Some(meant);
    }
    let short = ["uint", "int", "float"].iter().find_map(|long| {
        let size = word.strip_prefix(long)?;
        Some(format!("{}{size}", long.get(..1)?))
    });
    let exact = |name: &&&str| Some(**name) == short.as_deref();
    let found = TYPES.iter().find(exact).copied();
    found.or_else(|| closest(text, TYPES.into_iter()))
}

/// The keys of fields of a type; none for a word that is no type.
pub(super) fn keys_of(name: &str) -> &'static [&'static str] {
    Type::parse(name).map_or(&[], Type::keys)
}

/// `8`, `16`, … `64` as 1 to 8 bytes.
fn whole_bytes(bits: &str) -> Option<usize> {
    match bits {
        "8" => Some(1),
        "16" => Some(2),
        "24" => Some(3),
        "32" => Some(4),
        "40" => Some(5),
        "48" => Some(6),
        "56" => Some(7),
        "64" => Some(8),
        _ => None,
    }
}

/// `u8` to `u64` as its number of bytes.
pub(super) fn unsigned(text: &str) -> Option<usize> {
    whole_bytes(text.strip_prefix('u')?)
}

/// Reads an `endian` key: whether the little end comes first.
pub(super) fn little(errors: &mut Errors<'_>, section: &Section<'_, '_>, default: bool) -> bool {
    match section.text(errors, "endian") {
        None => default,
        Some(("be", _)) => false,
        Some(("le", _)) => true,
        Some((other, place)) => {
            let message = format!("`endian` is {other:?}, takes \"be\" or \"le\"");
            errors.add(&place, message);
            default
        }
    }
}

impl Reader<'_, '_> {
    /// The fields of one list; what is wrong in it is reported and left out.
    pub(super) fn list(
        &mut self,
        items: &[Spanned<DeValue<'_>>],
        scope: &mut Scope,
        stand: Stand,
    ) -> Vec<Field> {
        if let Some(extra) = items.get(FIELDS_MAX) {
            let message = format!("a list takes at most {FIELDS_MAX} fields");
            self.errors.add(&extra.span(), message);
            return Vec::new();
        }
        self.note_references(items, scope);
        let mut fields = Vec::with_capacity(items.len());
        for item in items {
            let Some(section) = Section::of(item, self.errors, "a field") else {
                continue;
            };
            fields.extend(self.field(&section, scope, stand));
        }
        fields
    }

    /// Collects which names are there and which are referred to, so that a length knows that it
    /// is one before the field it measures is read.
    fn note_references(&self, items: &[Spanned<DeValue<'_>>], scope: &mut Scope) {
        let mut silent = Errors::new("");
        for item in items {
            let Some(section) = Section::of(item, &mut silent, "") else {
                continue;
            };
            for key in ["len", "count"] {
                if let Some((name, _)) = section.text(&mut silent, key)
                    && unsigned(name).is_none()
                {
                    scope.referenced.push(name.to_owned());
                }
            }
            let own = section.text(&mut silent, "n");
            scope.listed.extend(own.map(|(name, _)| name.to_owned()));
            for bit in section.list(&mut silent, "bits").map_or(&[][..], |b| b.0) {
                let bit = Section::of(bit, &mut silent, "");
                let name = bit.and_then(|b| b.text(&mut silent, "n"));
                scope.listed.extend(name.map(|(name, _)| name.to_owned()));
            }
        }
    }

    fn field(
        &mut self,
        section: &Section<'_, '_>,
        scope: &mut Scope,
        stand: Stand,
    ) -> Option<Field> {
        let of_type = self.of_type(section)?;
        let what = section
            .text(self.errors, "t")
            .map_or("group", |(text, _)| text);
        let mut keys = of_type.keys().to_vec();
        if stand == Stand::Case {
            keys.push("many");
        }
        section.allow(self.errors, what, &keys, &ALL_KEYS);
        let name = section.name(self.errors, "n");
        let label = match (&name, stand) {
            (Some((name, _)), _) => (*name).to_owned(),
            (None, _) => what.to_owned(),
        };
        let container = matches!(of_type, Type::Bits { .. } | Type::Tlv);
        if matches!(of_type, Type::Array | Type::Group) && name.is_none() && stand == Stand::List {
            let message = format!("{what} has no name: give it one with `n`");
            self.errors.add(&section.place, message);
        }
        let mut role = if name.is_some() || stand == Stand::Element || container {
            Role::Value
        } else {
            Role::Padding
        };
        if matches!(of_type, Type::Group) && stand == Stand::Case {
            role = Role::Value;
        }
        if section.has("const") {
            role = Role::Padding;
        }
        role = self.special_role(section, of_type, role, stand)?;
        let label = self.echo_label(section, role).unwrap_or(label);
        if role == Role::Value && !matches!(of_type, Type::Bits { .. }) {
            self.refuse_value(&label, &section.place);
        }
        let named = name.as_ref().map(|(n, p)| (*n, p));
        let store = self.store(section, scope, named, &mut role, of_type);
        let slot = self.slot(section, role, container);
        if let Some((name, place)) = named {
            self.claim(scope, slot, name, place);
        }
        let kind = self.kind(section, scope, of_type, (&label, name.is_some()))?;
        Some(Field {
            label,
            named: name.is_some(),
            role,
            slot,
            optional: section.flag(self.errors, "optional").unwrap_or(false),
            store,
            kind,
            place: section.place.clone(),
        })
    }

    fn of_type(&mut self, section: &Section<'_, '_>) -> Option<Type> {
        if !section.has("t") {
            if section.has("fields") {
                return Some(Type::Group);
            }
            let message = "the field has no type: give it one with `t`";
            self.errors.add(&section.place, message);
            return None;
        }
        let (text, place) = section.text(self.errors, "t")?;
        let found = Type::parse(text);
        if found.is_none() {
            let message = format!("unknown type {text:?}");
            match type_like(text) {
                Some(near) => {
                    let hint = format!("did you mean {near:?}?");
                    self.errors.add_hint(&place, message, hint);
                }
                None => {
                    let hint = format!("types are {TYPES_LISTED}");
                    self.errors.add_hint(&place, message, hint);
                }
            }
        }
        found
    }

    /// Gives a length that something refers to a place to be kept.
    fn store(
        &mut self,
        section: &Section<'_, '_>,
        scope: &mut Scope,
        name: Option<(&str, &Place)>,
        role: &mut Role,
        of_type: Type,
    ) -> Option<usize> {
        let (name, place) = name?;
        if !scope.referenced.iter().any(|r| r == name) {
            return None;
        }
        let plain = ![
            "dec", "scale", "offset", "enum", "as", "const", "auto", "match", "result",
        ]
        .iter()
        .any(|key| section.has(key));
        let optional = section.flag(self.errors, "optional") == Some(true);
        if !matches!(of_type, Type::Int { signed: false, .. }) || !plain || optional {
            let message = format!(
                "`{name}` counts bytes or elements of another field: it needs an unsigned \
                 integer that is neither scaled, named nor optional"
            );
            self.errors.add(place, message);
            return None;
        }
        *role = Role::Length;
        self.register(scope, name, place)
    }

    fn register(&mut self, scope: &mut Scope, name: &str, place: &Place) -> Option<usize> {
        if self.registers >= REFERENCES_MAX {
            let message = format!("a message takes at most {REFERENCES_MAX} lengths by name");
            self.errors.add(place, message);
            return None;
        }
        let slot = self.registers;
        self.registers += 1;
        scope.stored.push((name.to_owned(), slot));
        Some(slot)
    }

    /// Which service takes the value.
    fn slot(&mut self, section: &Section<'_, '_>, role: Role, container: bool) -> usize {
        let own = section.name(self.errors, "service");
        if let Some((_, place)) = &own
            && (self.nested || self.direction != Direction::Up)
        {
            let message = "`service` belongs to properties of a message with dir = \"up\"";
            self.errors.add(place, message);
            return 0;
        }
        if self.nested || self.direction != Direction::Up {
            return 0;
        }
        let service = own
            .map(|(name, _)| name.to_owned())
            .or_else(|| self.service.clone());
        let Some(service) = service else {
            if role == Role::Value && !container {
                let name = section.text(self.errors, "n");
                let name = name.map_or_else(|| "the value".into(), |(n, _)| format!("`{n}`"));
                let message = format!("{name} belongs to no service");
                let hint = "give the message or the field a `service`";
                self.errors.add_hint(&section.place, message, hint);
            }
            return 0;
        };
        if role != Role::Value || (container && !section.has("n")) {
            return 0;
        }
        self.slot_of(service)
    }

    fn slot_of(&mut self, service: String) -> usize {
        match self.services.iter().position(|s| *s == service) {
            Some(at) => at,
            None => {
                self.services.push(service);
                self.services.len() - 1
            }
        }
    }

    fn claim(&mut self, scope: &mut Scope, slot: usize, name: &str, place: &Place) {
        if scope.taken.iter().any(|(s, n)| *s == slot && n == name) {
            let message = format!("`{name}` is there already");
            self.errors.add(place, message);
        }
        scope.taken.push((slot, name.to_owned()));
    }

    /// An integer type of the given key, such as a prefix or a tag.
    fn word(&mut self, text: &str, place: &Place, key: &str, little: bool) -> Option<Word> {
        let Some(bytes) = unsigned(text).filter(|bytes| *bytes <= 4) else {
            let message = format!("`{key}` is {text:?}, takes \"u8\", \"u16\", \"u24\" or \"u32\"");
            self.errors.add(place, message);
            return None;
        };
        Some(Word { bytes, little })
    }
}
