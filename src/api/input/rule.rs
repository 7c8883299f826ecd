//! What a text takes: alphabet and length in characters.

use serde_json::{Value, json};

use super::sketch::put;

use crate::product::check;

/// Characters of [`Alphabet::Name`], as a regular expression has them between brackets. Those above
/// U+FFFF stand for themselves: engines don't agree on how to write them.
const NAME_CLASS: &str = "A-Za-z0-9_?'#().,&%@!\\-\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\
    \u{20000}-\u{323af}";

/// The same for [`Alphabet::Word`].
const WORD_CLASS: &str = "A-Za-z0-9_\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\
    \u{20000}-\u{323af}";

/// The same for [`Alphabet::Tag`].
const TAG_CLASS: &str = "A-Za-z0-9_.\\-\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\
    \u{20000}-\u{323af}";

/// Alphabet and length of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRule {
    pub alphabet: Alphabet,
    /// In characters.
    pub min: usize,
    pub max: usize,
}

/// Which characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Chinese characters, letters, digits and `_?'#().,&%@!-`.
    Name,
    /// Chinese characters, letters, digits and `_`.
    Word,
    /// Chinese characters, letters, digits and `_.-`.
    Tag,
    /// `[A-Za-z0-9_-]`
    Id,
    /// Letters and digits.
    Plain,
    /// `[A-Za-z0-9_.-]`: versions of packages.
    Version,
    /// `[A-Za-z0-9_.:|-]`: names of queues.
    Queue,
    Hex,
    /// Two hexadecimal digits for each byte.
    HexBytes,
    /// 40 hexadecimal digits or 64: a SHA-1 or SHA-256 digest.
    Digest,
    /// A decimal number, with one digit of exponent at most: a bound of a product model.
    Decimal,
    Any,
}

impl TextRule {
    /// A name that must not be empty.
    pub const fn name(max: usize) -> Self {
        Self::new(Alphabet::Name, 1, max)
    }

    /// Characters of a name, or nothing.
    pub const fn note(max: usize) -> Self {
        Self::new(Alphabet::Name, 0, max)
    }

    /// Any characters, or nothing.
    pub const fn any(max: usize) -> Self {
        Self::new(Alphabet::Any, 0, max)
    }

    /// A SHA-1 or SHA-256 digest.
    pub const fn digest() -> Self {
        Self::new(Alphabet::Digest, 40, 64)
    }

    pub const fn new(alphabet: Alphabet, min: usize, max: usize) -> Self {
        Self { alphabet, min, max }
    }

    /// What is wrong with `text`. The text itself is not repeated: it may be a secret.
    pub fn problem(&self, text: &str) -> Option<String> {
        let len = text.chars().count();
        if len < self.min || len > self.max {
            return Some(format!("got {len} characters, takes {}", self.takes()));
        }
        let wrong = |legal: fn(char) -> bool| text.chars().find(|c| !legal(*c));
        let found = match self.alphabet {
            Alphabet::Any => None,
            Alphabet::Name if text.is_empty() => None,
            Alphabet::Name => return check::judge_name(text, self.max).err().map(|e| e.1),
            Alphabet::Word => {
                wrong(|c| c.is_ascii_alphanumeric() || c == '_' || check::is_chinese(c))
            }
            Alphabet::Tag => {
                wrong(|c| c.is_ascii_alphanumeric() || "_.-".contains(c) || check::is_chinese(c))
            }
            Alphabet::Id => wrong(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
            Alphabet::Plain => wrong(|c| c.is_ascii_alphanumeric()),
            Alphabet::Version => wrong(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)),
            Alphabet::Queue => wrong(|c| c.is_ascii_alphanumeric() || "_.:|-".contains(c)),
            Alphabet::Hex => wrong(|c| c.is_ascii_hexdigit()),
            Alphabet::HexBytes if !len.is_multiple_of(2) => {
                return Some(format!("got {len} digits, takes an even number"));
            }
            Alphabet::Digest if len != 40 && len != 64 => {
                return Some(format!("got {len} characters, takes {}", self.takes()));
            }
            Alphabet::HexBytes | Alphabet::Digest => wrong(|c| c.is_ascii_hexdigit()),
            Alphabet::Decimal => {
                let problem = || format!("is no number, takes {}", self.takes());
                return (!is_decimal(text)).then(problem);
            }
        };
        found.map(|c| format!("has the character {c:?}, takes {}", self.takes()))
    }

    /// `1 to 64 characters: letters, digits, _ and -`
    pub fn takes(&self) -> String {
        let length = match self.min {
            0 => format!("up to {} characters", self.max),
            min => format!("{min} to {} characters", self.max),
        };
        let alphabet = match self.alphabet {
            Alphabet::Any => return length,
            Alphabet::Name => "Chinese characters, letters, digits and _?'#().,&%@!-",
            Alphabet::Word => "Chinese characters, letters, digits and _",
            Alphabet::Tag => "Chinese characters, letters, digits and _.-",
            Alphabet::Id => "letters, digits, _ and -",
            Alphabet::Plain => "letters and digits",
            Alphabet::Version => "letters, digits and _.-",
            Alphabet::Queue => "letters, digits and _.:|-",
            Alphabet::Hex => "hexadecimal digits",
            Alphabet::HexBytes => "two hexadecimal digits for each byte",
            Alphabet::Digest => return "40 hexadecimal digits (SHA-1) or 64 (SHA-256)".to_owned(),
            Alphabet::Decimal => "a decimal number",
        };
        format!("{length}: {alphabet}")
    }

    /// As JSON Schema, which counts characters as we do.
    pub fn schema(&self) -> Value {
        let mut schema = json!({"type": "string"});
        if self.min > 0 {
            put(&mut schema, "minLength", json!(self.min));
        }
        put(&mut schema, "maxLength", json!(self.max));
        let class = match self.alphabet {
            Alphabet::Any => return schema,
            Alphabet::HexBytes | Alphabet::Digest | Alphabet::Decimal => {
                let pattern = match self.alphabet {
                    Alphabet::HexBytes => "^([0-9A-Fa-f]{2})*$",
                    Alphabet::Digest => "^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$",
                    _ => "^[+-]?[0-9]+(\\.[0-9]+)?([Ee][+-]?[0-9])?$",
                };
                put(&mut schema, "pattern", json!(pattern));
                return schema;
            }
            Alphabet::Name => NAME_CLASS,
            Alphabet::Word => WORD_CLASS,
            Alphabet::Tag => TAG_CLASS,
            Alphabet::Id => "A-Za-z0-9_-",
            Alphabet::Plain => "A-Za-z0-9",
            Alphabet::Version => "A-Za-z0-9_.-",
            Alphabet::Queue => "A-Za-z0-9_.:|-",
            Alphabet::Hex => "0-9A-Fa-f",
        };
        let repeat = if self.min > 0 { '+' } else { '*' };
        put(
            &mut schema,
            "pattern",
            json!(format!("^[{class}]{repeat}$")),
        );
        schema
    }

    /// A text that it takes, as short as can be.
    pub fn example(&self) -> String {
        "0".repeat(self.min)
    }
}

/// `-12.50`, `1e-3`: what every number of this form is, `product::decimal` holds.
fn is_decimal(text: &str) -> bool {
    let is_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let text = unsigned(text);
    let (number, exponent) = text.split_once(['E', 'e']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let exponent = unsigned(exponent);
    is_digits(whole) && is_digits(fraction) && is_digits(exponent) && exponent.len() == 1
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}
