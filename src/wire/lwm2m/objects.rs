//! The objects that a registration's link list names (OMA LwM2M TS Core 1.1 §6.2.1, 1.0 §5.3.1).
//!
//! ```text
//!  </lwm2m>;rt="oma.lwm2m";ct=11543   the root, `/` when no link says so, and its formats
//!  </lwm2m/3>;ver=1.1                 an object with its version
//!  </lwm2m/3/0>                       an instance
//! ```
//!
//! Modules deviate, and all of this is taken: no root link, or one without `rt`; `ct` with one
//! number or a quoted list; versions in quotes, and on an instance; targets without their first
//! slash, with one too many at the end, or of resources. Targets that are no objects, or lie
//! outside of the root, are passed over.

use std::fmt;

use super::link::{self, Link, LinkError};
use super::path::Path;

/// Content formats that a root link may list.
const FORMATS_MAX: usize = 16;

/// What a device has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectList {
    /// What stands before every path: empty, or `/lwm2m`.
    pub root: String,
    /// Content formats beyond those of its version, as the root link says.
    pub formats: Vec<u16>,
    /// By ascending id, each once.
    pub objects: Vec<Object>,
}

/// One object of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub id: u16,
    pub version: Option<Version>,
    /// Ascending, each once.
    pub instances: Vec<u16>,
}

impl ObjectList {
    /// Reads the payload of a registration.
    pub fn parse(payload: &[u8]) -> Result<Self, LinkError> {
        let links = link::parse(payload)?;
        let mut list = Self::default();
        let is_root = |link: &&Link<'_>| is_lwm2m(link) && Path::parse(link.target).is_err();
        let root = links
            .iter()
            .find(is_root)
            .or_else(|| links.iter().find(|link| matches!(link.target, "/" | "")));
        if let Some(link) = root {
            let path = link.target.trim_matches('/');
            if !path.is_empty() {
                list.root = format!("/{path}");
            }
            list.formats = formats(link.param("ct").unwrap_or_default());
        }
        let root = list.root.trim_start_matches('/').to_owned();
        for link in &links {
            if let Some(path) = path_below(&root, link.target) {
                list.add(path, link.param("ver").and_then(Version::parse));
            }
        }
        Ok(list)
    }

    fn add(&mut self, path: Path, version: Option<Version>) {
        let id = path.object();
        let at = match self.objects.binary_search_by_key(&id, |object| object.id) {
            Ok(at) => at,
            Err(at) => {
                self.objects.insert(
                    at,
                    Object {
                        id,
                        version: None,
                        instances: Vec::new(),
                    },
                );
                at
            }
        };
        let Some(object) = self.objects.get_mut(at) else {
            return;
        };
        object.version = object.version.or(version);
        if let Some(instance) = path.instance()
            && let Err(at) = object.instances.binary_search(&instance)
        {
            object.instances.insert(at, instance);
        }
    }

    pub fn object(&self, id: u16) -> Option<&Object> {
        let at = self
            .objects
            .binary_search_by_key(&id, |object| object.id)
            .ok()?;
        self.objects.get(at)
    }

    /// Whether `/id/instance` was named.
    pub fn has_instance(&self, id: u16, instance: u16) -> bool {
        self.object(id)
            .is_some_and(|object| object.instances.binary_search(&instance).is_ok())
    }
}

/// The resource type may be one of several, separated by spaces.
fn is_lwm2m(link: &Link<'_>) -> bool {
    let types = link.param("rt").unwrap_or_default();
    types
        .split(' ')
        .any(|ty| ty.eq_ignore_ascii_case("oma.lwm2m"))
}

fn formats(text: &str) -> Vec<u16> {
    let numbers = text.split(' ').filter_map(|number| number.parse().ok());
    numbers.take(FORMATS_MAX).collect()
}

/// The object path of a target below `root` (without slashes around it).
fn path_below(root: &str, target: &str) -> Option<Path> {
    let target = target.strip_prefix('/').unwrap_or(target);
    let rest = target.strip_prefix(root)?;
    let rest = if root.is_empty() {
        rest
    } else {
        rest.strip_prefix('/')?
    };
    Path::parse(rest.strip_suffix('/').unwrap_or(rest)).ok()
}

/// As a device writes it: the root first, then each object with its instances.
impl fmt::Display for ObjectList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = &self.root;
        write!(
            f,
            "<{}>;rt=\"oma.lwm2m\"",
            if root.is_empty() { "/" } else { root }
        )?;
        match self.formats.as_slice() {
            [] => {}
            [one] => write!(f, ";ct={one}")?,
            [first, others @ ..] => {
                write!(f, ";ct=\"{first}")?;
                others
                    .iter()
                    .try_for_each(|format| write!(f, " {format}"))?;
                f.write_str("\"")?;
            }
        }
        for Object {
            id,
            version,
            instances,
        } in &self.objects
        {
            match version {
                Some(version) => write!(f, ",<{root}/{id}>;ver={version}")?,
                None if instances.is_empty() => write!(f, ",<{root}/{id}>")?,
                None => {}
            }
            instances
                .iter()
                .try_for_each(|instance| write!(f, ",<{root}/{id}/{instance}>"))?;
        }
        Ok(())
    }
}

/// A version of an object or of LwM2M, `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    pub major: u8,
    pub minor: u8,
}

impl Version {
    /// Reads `1.1`, with or without quotes around it; `1` is 1.0.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches('"');
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn asks_by_object_and_instance() {
        let list = ObjectList::parse(b"</19/0>,</19/1>,</2>").unwrap();
        assert!(list.has_instance(19, 1));
        assert!(!list.has_instance(19, 2));
        assert!(!list.has_instance(2, 0));
        assert_eq!(list.object(2).map(|object| object.instances.len()), Some(0));
        assert_eq!(list.object(3), None);
    }

    #[test]
    fn is_written_as_a_device_would() {
        let text =
            "</lwm2m>;rt=\"oma.lwm2m\";ct=\"60 112\",</lwm2m/2>,</lwm2m/3>;ver=1.1,</lwm2m/3/0>";
        assert_eq!(
            ObjectList::parse(text.as_bytes()).unwrap().to_string(),
            text
        );
    }

    proptest! {
        #[test]
        fn any_text_like_a_list_never_panics(
            text in r#"(</?[0-9]{0,2}/?[0-9]?>|[<>;,="]|;ct=4|;rt=oma.lwm2m|;ver=1.1){0,16}"#,
        ) {
            if let Ok(list) = ObjectList::parse(text.as_bytes()) {
                prop_assert_eq!(ObjectList::parse(list.to_string().as_bytes()).unwrap(), list);
            }
        }

        #[test]
        fn reads_what_it_wrote(
            root in "(/[a-z]{1,8}){0,2}",
            formats in prop::collection::vec(any::<u16>(), 0..FORMATS_MAX),
            objects in prop::collection::btree_map(
                0..u16::MAX,
                (
                    prop::option::of((any::<u8>(), any::<u8>())),
                    prop::collection::btree_set(0..u16::MAX, 0..4),
                ),
                0..8,
            ),
        ) {
            let objects: BTreeMap<_, _> = objects;
            let objects = objects
                .into_iter()
                .map(|(id, (version, instances))| Object {
                    id,
                    version: version.map(|(major, minor)| Version { major, minor }),
                    instances: instances.into_iter().collect(),
                })
                .collect();
            let list = ObjectList { root, formats, objects };
            prop_assert_eq!(ObjectList::parse(list.to_string().as_bytes()).unwrap(), list);
        }
    }
}
