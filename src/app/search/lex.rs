//! Text into tokens with their places. White space separates and is dropped; a text is between
//! single quotes and doubles those inside it. Anything that begins no token is an error.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{map, value};
use nom::multi::fold_many0;
use nom::sequence::delimited;
use nom::{IResult, Parser};

use super::SearchError;

/// Characters of a token that an error shows.
const SHOWN: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Letters, digits and `_`: a keyword, a field, a number.
    Word(&'a str),
    /// Without its quotes.
    Text(String),
    /// `!=` and `<>`
    Unequal,
    Symbol(char),
}

/// A token and the character that it begins at, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<'a> {
    pub(super) at: usize,
    pub(super) token: Token<'a>,
}

impl Token<'_> {
    /// As an error shows it.
    pub(super) fn describe(&self) -> String {
        let short = |text: &str| -> String {
            let mut shown: String = text.chars().take(SHOWN).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            shown
        };
        match self {
            Self::Word(word) => short(word),
            Self::Text(text) => format!("the text {:?}", short(text)),
            Self::Unequal => "!=".to_owned(),
            Self::Symbol(symbol) => symbol.to_string(),
        }
    }
}

/// Every token of the text, and the place behind its last character.
pub(super) fn tokens(text: &str) -> Result<(Vec<Placed<'_>>, usize), SearchError> {
    let mut found = Vec::new();
    let (mut rest, mut at) = (text, 1_usize);
    loop {
        let (after, space) = spaces(rest).unwrap_or((rest, ""));
        at += space.chars().count();
        let Some(next) = after.chars().next() else {
            return Ok((found, at));
        };
        let Ok((behind, token)) = token(after) else {
            return Err(match next {
                '\'' => SearchError::Unclosed { at },
                other => SearchError::Unexpected {
                    at,
                    found: format!("{other:?}"),
                    takes: "words, 'texts', numbers and ( ) , * = != <> > <".to_owned(),
                },
            });
        };
        found.push(Placed { at, token });
        let taken = after.len().saturating_sub(behind.len());
        at += after.get(..taken).unwrap_or_default().chars().count();
        rest = behind;
    }
}

fn spaces(input: &str) -> IResult<&str, &str> {
    take_while(char::is_whitespace).parse(input)
}

fn token(input: &str) -> IResult<&str, Token<'_>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    alt((
        map(quoted, Token::Text),
        map(take_while1(is_word), Token::Word),
        value(Token::Unequal, alt((tag("!="), tag("<>")))),
        map(one_of("(),*=<>"), Token::Symbol),
    ))
    .parse(input)
}

fn quoted(input: &str) -> IResult<&str, String> {
    let piece = alt((is_not("'"), value("'", tag("''"))));
    let body = fold_many0(piece, String::new, |mut text, piece: &str| {
        text.push_str(piece);
        text
    });
    delimited(char('\''), body, char('\'')).parse(input)
}
