//! Link lists (content format 40, RFC 6690).
//!
//! ```text
//!  list   link *( "," link )              link   "<" target ">" *( ";" name [ "=" value ] )
//!  value  "quoted, with \" escapes" | anything up to the next comma or semicolon
//!  </>;rt="oma.lwm2m";ct=11543,</1/0>,</3>;ver="1.1",</3/0>
//! ```
//!
//! Taken beyond the grammar, since modules write it: white space and line ends between the parts
//! (also a zero byte at the end), empty links (a trailing comma), empty parameters.

use std::borrow::Cow;

use nom::branch::alt;
use nom::bytes::complete::{is_not, take_till, take_while};
use nom::character::complete::{anychar, char, none_of};
use nom::combinator::{map, opt, recognize};
use nom::multi::{many0_count, many1_count};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

/// Links in one list: a device has tens of objects.
pub const LINKS_MAX: usize = 1024;

/// Parameters of one link.
pub const PARAMS_MAX: usize = 32;

/// One link with its parameters in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<'a> {
    pub target: &'a str,
    pub params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

impl Link<'_> {
    /// The value of the first parameter of that name; names don't tell case apart.
    pub fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .params
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        value.as_deref()
    }
}

/// Why text is not a link list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    #[error("link list is not UTF-8 from byte {at} on")]
    Text { at: usize },
    #[error("link list is malformed at byte {at}: {found:?}")]
    Syntax { at: usize, found: String },
    #[error(
        "link list has more than {LINKS_MAX} links or a link more than {PARAMS_MAX} parameters"
    )]
    TooMany,
}

impl LinkError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "link_text",
            Self::Syntax { .. } => "link_syntax",
            Self::TooMany => "link_too_many",
        }
    }
}

/// Reads a list; an empty payload is an empty list.
pub fn parse(payload: &[u8]) -> Result<Vec<Link<'_>>, LinkError> {
    let text = std::str::from_utf8(payload).map_err(|e| LinkError::Text {
        at: e.valid_up_to(),
    })?;
    let syntax = |rest: &str| LinkError::Syntax {
        at: text.len() - rest.len(),
        found: rest.chars().take(32).collect(),
    };
    let mut links = Vec::new();
    let mut rest = gap(text);
    while !rest.is_empty() {
        let (after, target) = target(rest).map_err(|_| syntax(rest))?;
        let (after, params) = params(after)?;
        rest = match separator(after) {
            Ok((after, _)) => after,
            Err(_) if after.is_empty() => after,
            Err(_) => return Err(syntax(after)),
        };
        if links.len() == LINKS_MAX {
            return Err(LinkError::TooMany);
        }
        links.push(Link { target, params });
    }
    Ok(links)
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\0')
}

fn blank(input: &str) -> IResult<&str, &str> {
    take_while(is_blank).parse(input)
}

/// What follows the empty links at the front.
fn gap(text: &str) -> &str {
    text.trim_start_matches(|c| is_blank(c) || c == ',')
}

fn separator(input: &str) -> IResult<&str, usize> {
    many1_count(delimited(blank, char(','), blank)).parse(input)
}

fn target(input: &str) -> IResult<&str, &str> {
    delimited(
        char('<'),
        take_till(|c| c == '>' || c == '<'),
        (char('>'), blank),
    )
    .parse(input)
}

type Param<'a> = (&'a str, Option<Cow<'a, str>>);

/// The parameters of a link and what follows them.
fn params(input: &str) -> Result<(&str, Vec<Param<'_>>), LinkError> {
    let mut params = Vec::new();
    let mut rest = input;
    while let Ok((after, found)) = param(rest) {
        if params.len() == PARAMS_MAX {
            return Err(LinkError::TooMany);
        }
        params.extend(found);
        rest = after;
    }
    Ok((rest, params))
}

/// `;name=value`, or a lone `;`.
fn param(input: &str) -> IResult<&str, Option<Param<'_>>> {
    let name = delimited(blank, is_not("=;,<>\" \t\r\n\0"), blank);
    let value = preceded((char('='), blank), alt((quoted, map(bare, Cow::Borrowed))));
    let pair = (name, opt(value));
    delimited(
        char(';'),
        alt((map(pair, Some), map(blank, |_| None))),
        blank,
    )
    .parse(input)
}

/// Up to the next separator, without blanks at its end.
fn bare(input: &str) -> IResult<&str, &str> {
    map(
        take_till(|c| matches!(c, ',' | ';' | '"' | '<')),
        |text: &str| text.trim_end_matches(is_blank),
    )
    .parse(input)
}

fn quoted(input: &str) -> IResult<&str, Cow<'_, str>> {
    let escaped = recognize((char('\\'), anychar));
    let plain = recognize(none_of("\\\""));
    let content = recognize(many0_count(alt((escaped, plain))));
    map(delimited(char('"'), content, char('"')), unescape).parse(input)
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
}

/// The list as a payload: every value quoted.
pub fn write(links: &[Link<'_>]) -> String {
    let mut out = String::new();
    for link in links {
        if !out.is_empty() {
            out.push(',');
        }
        out.push('<');
        out.push_str(link.target);
        out.push('>');
        for (name, value) in &link.params {
            out.push(';');
            out.push_str(name);
            let Some(value) = value else {
                continue;
            };
            out.push_str("=\"");
            for c in value.chars() {
                if matches!(c, '"' | '\\') {
                    out.push('\\');
                }
                out.push(c);
            }
            out.push('"');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_keep_their_order_and_case() {
        let links = parse(br#"</a>;Title="x\"y";ct=40;ct=41;obs"#).unwrap();
        let [link] = &links[..] else {
            panic!("one link: {links:?}");
        };
        assert_eq!(link.param("title"), Some("x\"y"));
        assert_eq!(link.param("ct"), Some("40"));
        assert_eq!(link.param("obs"), None);
        let names: Vec<_> = link.params.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["Title", "ct", "ct", "obs"]);
    }

    #[test]
    fn an_error_names_the_place() {
        let error = parse(b"</1/0>,oops").unwrap_err();
        assert_eq!(
            error,
            LinkError::Syntax {
                at: 7,
                found: "oops".to_owned()
            }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(parse(&bytes).is_err() || std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn any_text_like_a_list_never_panics(text in r#"([<>;,="\\ /a0]|</1/0>|;ct=4){0,24}"#) {
            if let Ok(links) = parse(text.as_bytes()) {
                let text = write(&links);
                prop_assert_eq!(parse(text.as_bytes()).unwrap(), links);
            }
        }

        #[test]
        fn reads_what_it_wrote(
            parts in prop::collection::vec(
                ("[^<>]{0,8}", prop::collection::vec(("[a-z*]{1,4}", prop::option::of(".{0,8}")), 0..4)),
                0..6,
            ),
        ) {
            let links: Vec<_> = parts
                .iter()
                .map(|(target, params)| Link {
                    target,
                    params: params
                        .iter()
                        .map(|(name, value)| (&name[..], value.as_deref().map(Cow::Borrowed)))
                        .collect(),
                })
                .collect();
            let text = write(&links);
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), links);
        }
    }
}
