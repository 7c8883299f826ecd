//! Paths of the LwM2M object tree, written `/object/instance/resource/resource instance`, each a
//! decimal number up to 65534 without leading zeros (OMA LwM2M TS Core 1.1 §7.1; 65535 is
//! reserved).

use std::fmt;
use std::str::FromStr;

/// A place in the object tree of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// `/3`
    Object(u16),
    /// `/3/0`
    Instance(u16, u16),
    /// `/3/0/9`
    Resource(u16, u16, u16),
    /// `/3/0/6/1`
    ResourceInstance(u16, u16, u16, u16),
}

/// Why text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path has {0} levels, takes 1 to 4")]
    Depth(usize),
    #[error("path has the segment {0:?}, takes numbers up to 65534")]
    Segment(String),
}

impl PathError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Depth(_) => "path_depth",
            Self::Segment(_) => "path_segment",
        }
    }
}

impl Path {
    /// Reads `/3/0/9`; the first slash may be missing.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(PathError::Depth(0));
        }
        Self::from_segments(text.split('/'))
    }

    /// Reads the segments of a path, as they stand in Uri-Path options.
    pub fn from_segments<'a>(
        segments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, PathError> {
        let mut ids = [0; 4];
        let mut depth = 0;
        for segment in segments {
            let number = number(segment).ok_or_else(|| PathError::Segment(abbreviate(segment)))?;
            if let Some(id) = ids.get_mut(depth) {
                *id = number;
            }
            depth += 1;
        }
        let [object, instance, resource, part] = ids;
        match depth {
            1 => Ok(Self::Object(object)),
            2 => Ok(Self::Instance(object, instance)),
            3 => Ok(Self::Resource(object, instance, resource)),
            4 => Ok(Self::ResourceInstance(object, instance, resource, part)),
            depth => Err(PathError::Depth(depth)),
        }
    }

    pub const fn object(self) -> u16 {
        match self {
            Self::Object(object)
            | Self::Instance(object, _)
            | Self::Resource(object, _, _)
            | Self::ResourceInstance(object, _, _, _) => object,
        }
    }

    pub const fn instance(self) -> Option<u16> {
        match self {
            Self::Object(_) => None,
            Self::Instance(_, instance)
            | Self::Resource(_, instance, _)
            | Self::ResourceInstance(_, instance, _, _) => Some(instance),
        }
    }

    pub const fn resource(self) -> Option<u16> {
        match self {
            Self::Object(_) | Self::Instance(..) => None,
            Self::Resource(_, _, resource) | Self::ResourceInstance(_, _, resource, _) => {
                Some(resource)
            }
        }
    }
}

/// A decimal number up to 65534 in its one spelling.
fn number(segment: &str) -> Option<u16> {
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = segment == "0" || !segment.starts_with('0');
    let number = segment.parse().ok()?;
    (digits && canonical && number != u16::MAX).then_some(number)
}

/// The first characters: a stranger's text does not fill the log.
fn abbreviate(text: &str) -> String {
    text.chars().take(32).collect()
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(a) => write!(f, "/{a}"),
            Self::Instance(a, b) => write!(f, "/{a}/{b}"),
            Self::Resource(a, b, c) => write!(f, "/{a}/{b}/{c}"),
            Self::ResourceInstance(a, b, c, d) => write!(f, "/{a}/{b}/{c}/{d}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_as_text() {
        let cases = [
            ("/3", Ok(Path::Object(3))),
            ("3/0", Ok(Path::Instance(3, 0))),
            ("/19/1/0", Ok(Path::Resource(19, 1, 0))),
            ("/3/0/6/65534", Ok(Path::ResourceInstance(3, 0, 6, 65534))),
            ("", Err("path_depth")),
            ("/", Err("path_depth")),
            ("/1/2/3/4/5", Err("path_depth")),
            ("/3//9", Err("path_segment")),
            ("/3/0/", Err("path_segment")),
            ("//3", Err("path_segment")),
            ("/03", Err("path_segment")),
            ("/+3", Err("path_segment")),
            ("/65535", Err("path_segment")),
            ("/rd/5", Err("path_segment")),
        ];
        for (text, want) in cases {
            let got = Path::parse(text).map_err(|e| e.kind());
            assert_eq!(got, want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_never_panics_and_reads_back(text in "[/0-9a+]{0,12}|.{0,12}") {
            if let Ok(path) = Path::parse(&text) {
                let canonical = path.to_string();
                prop_assert_eq!(canonical.trim_start_matches('/'), text.trim_start_matches('/'));
                prop_assert_eq!(Path::parse(&canonical), Ok(path));
            }
        }
    }
}
