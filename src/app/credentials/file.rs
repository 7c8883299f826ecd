//! The file with the credentials: `<data>/credentials.toml`, mode 0600.
//!
//! ```toml
//! access_key = "…"      # these three: the first admin
//! secret_key = "…"
//! token = "…"
//! created = "2026-03-01T12:00:00.000Z"
//!
//! [[credentials]]       # and any number of these
//! access_key = "…"
//! secret_key = "…"
//! token = "…"
//! role = "operator"     # admin, operator, read-only
//! app_id = "…"          # optional: bound to this resource space
//! created = "…"         # optional
//! ```
//!
//! Errors name the line and never show what stands there. A file that group or others may read is
//! refused: its secrets are not secret.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use super::{Credential, Digested, Role};
use crate::base::ids::AppId;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;

/// Its name in the data directory.
pub const FILE_NAME: &str = "credentials.toml";

/// Longest file: some ten thousand credentials.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Longest access key.
const ACCESS_KEY_MAX: usize = 128;

/// Secret keys and tokens: shorter ones can be guessed, longer ones do not fit a header.
const SECRET_LEN: std::ops::RangeInclusive<usize> = 16..=512;

/// Why the file can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    #[error("{path} is missing")]
    Missing { path: String },
    #[error("{path}: {reason}")]
    Io { path: String, reason: String },
    #[error("{path} has mode {mode:o}, so others may read its secrets: chmod 600 {path}")]
    Mode { path: String, mode: u32 },
    #[error("{path} has {len} bytes, takes up to {FILE_MAX}")]
    Large { path: String, len: u64 },
    #[error("{path}, line {line}: {reason}")]
    Content {
        path: String,
        line: usize,
        reason: String,
    },
    /// Another process holds the lock for too long.
    #[error("{path} is being changed by another process, try again")]
    Busy { path: String },
    #[error("{path} has no credential with the access key {access_key}")]
    Unknown { path: String, access_key: String },
    #[error(
        "{access_key} is the last admin without a resource space: without it nobody could manage \
         spaces or read the audit log; add another one first, or say --force"
    )]
    LastAdmin { access_key: String },
    #[error("no random numbers for a key: {reason}")]
    Random { reason: String },
}

impl FileError {
    /// Stable word for logs; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Io { .. } => "io",
            Self::Mode { .. } => "mode",
            Self::Large { .. } => "large",
            Self::Content { .. } => "content",
            Self::Busy { .. } => "busy",
            Self::Unknown { .. } => "unknown",
            Self::LastAdmin { .. } => "last_admin",
            Self::Random { .. } => "random",
        }
    }

    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        let path = path.display().to_string();
        match error.kind() {
            ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io {
                path,
                reason: error.to_string(),
            },
        }
    }
}

/// Tells one state of the file from another, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    len: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            len: meta.len(),
            mode: meta.mode(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Where the credentials of a server with this data directory are.
pub fn path_in(data: &Path) -> PathBuf {
    data.join(FILE_NAME)
}

/// The credentials in the file, and its stamp as it was read.
pub fn read(path: &Path) -> Result<(Vec<Credential>, Stamp), FileError> {
    let (text, stamp) = read_text(path)?;
    Ok((parse(&text, path)?, stamp))
}

/// The text of the file, after a look at who else may read it.
pub(super) fn read_text(path: &Path) -> Result<(Zeroizing<String>, Stamp), FileError> {
    let io = |e: std::io::Error| FileError::io(path, &e);
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    let shown = path.display().to_string();
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Mode { path: shown, mode });
    }
    if meta.len() > FILE_MAX {
        let len = meta.len();
        return Err(FileError::Large { path: shown, len });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let got = file.take(FILE_MAX).read_to_end(&mut bytes);
    got.map_err(io)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok((Zeroizing::new(text.to_owned()), Stamp::of(&meta))),
        Err(error) => Err(FileError::Content {
            path: shown,
            line: line_of(&bytes, error.valid_up_to()),
            reason: "is not UTF-8".to_owned(),
        }),
    }
}

fn line_of(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.iter().filter(|b| **b == b'\n').count() + 1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    access_key: Option<Spanned<String>>,
    secret_key: Option<Spanned<Secret<String>>>,
    token: Option<Spanned<Secret<String>>>,
    created: Option<Spanned<String>>,
    #[serde(default)]
    credentials: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    access_key: Spanned<String>,
    secret_key: Spanned<Secret<String>>,
    token: Spanned<Secret<String>>,
    role: Role,
    app_id: Option<Spanned<String>>,
    created: Option<Spanned<String>>,
}

/// Reads the text of the file; `path` is for messages.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Credential>, FileError> {
    let wrong = |span: Range<usize>, reason: String| FileError::Content {
        path: path.display().to_string(),
        line: line_of(text.as_bytes(), span.start),
        reason,
    };
    // The message alone: the display of the error quotes the line, secrets and all.
    let document: Document = toml::from_str(text)
        .map_err(|e| wrong(e.span().unwrap_or(0..0), e.message().to_owned()))?;
    let mut rows = Vec::with_capacity(document.credentials.len() + 1);
    match (document.access_key, document.secret_key, document.token) {
        (Some(access_key), Some(secret_key), Some(token)) => rows.push(Row {
            access_key,
            secret_key,
            token,
            role: Role::Admin,
            app_id: None,
            created: document.created,
        }),
        (None, None, None) => {}
        _ => {
            let reason = "access_key, secret_key and token of the first admin belong together";
            return Err(wrong(0..0, reason.to_owned()));
        }
    }
    rows.extend(document.credentials);
    let mut seen = Seen::default();
    let checked = rows.into_iter().map(|row| row.check(&mut seen));
    checked
        .collect::<Result<_, _>>()
        .map_err(|(span, reason)| wrong(span, reason))
}

/// Access keys and tokens so far.
#[derive(Default)]
struct Seen {
    access_keys: HashSet<String>,
    tokens: HashSet<Digested>,
}

type Mistake = (Range<usize>, String);

impl Row {
    fn check(self, seen: &mut Seen) -> Result<Credential, Mistake> {
        let key = self.access_key.get_ref();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=ACCESS_KEY_MAX).contains(&key.len()) || !key.bytes().all(plain) {
            let reason = format!("access_key: takes 1 to {ACCESS_KEY_MAX} of A-Z a-z 0-9 - _");
            return Err((self.access_key.span(), reason));
        }
        if !seen.access_keys.insert(key.clone()) {
            let reason = "access_key: another credential has the same one".to_owned();
            return Err((self.access_key.span(), reason));
        }
        let secrets = [("secret_key", &self.secret_key), ("token", &self.token)];
        for (name, secret) in secrets {
            let text = secret.get_ref().expose();
            if !SECRET_LEN.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
                let (min, max) = (SECRET_LEN.start(), SECRET_LEN.end());
                let reason = format!("{name}: takes {min} to {max} visible ASCII characters");
                return Err((secret.span(), reason));
            }
        }
        let token = super::digest(self.token.get_ref().expose().as_bytes());
        if !seen.tokens.insert(token) {
            let reason = "token: another credential has the same one".to_owned();
            return Err((self.token.span(), reason));
        }
        let space = self
            .app_id
            .map(|id| AppId::parse(id.get_ref()).map_err(|e| (id.span(), format!("app_id: {e}"))));
        let created = self.created.map(|at| {
            let reason = "created: takes a time such as 2026-03-01T12:00:00.000Z";
            Timestamp::parse(at.get_ref()).ok_or_else(|| (at.span(), reason.to_owned()))
        });
        Ok(Credential {
            access_key: self.access_key.into_inner(),
            secret_key: self.secret_key.into_inner(),
            token: self.token.into_inner(),
            role: self.role,
            space: space.transpose()?,
            created: created.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "access_key = \"AK\"\nsecret_key = \"0123456789abcdef\"\n\
                         token = \"fedcba9876543210\"\n";

    fn parsed(text: &str) -> Result<Vec<Credential>, String> {
        parse(text, Path::new("f")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_first_admin_and_rows() {
        let text = format!(
            "{ADMIN}[[credentials]]\naccess_key = \"B\"\nsecret_key = \"{0}\"\ntoken = \"{0}\"\n\
             role = \"read-only\"\napp_id = \"s1\"\ncreated = \"2026-03-01T12:00:00.000Z\"\n",
            "x".repeat(512)
        );
        let got = parsed(&text).unwrap();
        let roles: Vec<_> = got
            .iter()
            .map(|c| (c.access_key.as_str(), c.role))
            .collect();
        assert_eq!(roles, [("AK", Role::Admin), ("B", Role::ReadOnly)]);
        assert_eq!(got[1].space.as_ref().unwrap().as_str(), "s1");
        assert_eq!(got[1].created.unwrap().compact(), "20260301T120000Z");
        assert_eq!(parsed("").unwrap(), []);
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_without_secrets() {
        let row = |change: (&str, &str)| {
            let base = format!(
                "{ADMIN}\n[[credentials]]\naccess_key = \"B\"\nsecret_key = \"hush-hush-hush-hush\"\n\
                 token = \"mumble-mumble-mumble\"\nrole = \"operator\"\n"
            );
            assert!(base.contains(change.0), "{}", change.0);
            base.replace(change.0, change.1)
        };
        let cases = [
            (
                row(("\"B\"", "\"AK\"")),
                6,
                "access_key: another credential",
            ),
            (row(("\"B\"", "\"\"")), 6, "access_key: takes 1 to 128"),
            (row(("\"B\"", "\"a b\"")), 6, "access_key: takes"),
            (
                row(("hush-hush-hush-hush", "hush")),
                7,
                "secret_key: takes 16 to 512",
            ),
            (
                row(("hush-hush", "hush hush")),
                7,
                "secret_key: takes 16 to 512",
            ),
            (
                row(("mumble-mumble-mumble", "fedcba9876543210")),
                8,
                "token: another",
            ),
            (row(("operator", "boss")), 9, "unknown variant `boss`"),
            (row(("role", "rule")), 9, "unknown field `rule`"),
            (
                row(("token = \"fedcba9876543210\"\n", "")),
                1,
                "belong together",
            ),
            (
                row(("\"hush-hush-hush-hush\"", "\"hush-hush-hush-hush")),
                7,
                "",
            ),
            (
                row(("role = ", "app_id = \"a b\"\nrole = ")),
                9,
                "app_id: has the character ' '",
            ),
            (
                row(("role = ", "created = \"now\"\nrole = ")),
                9,
                "created: takes a time",
            ),
        ];
        for (text, line, reason) in cases {
            let got = parsed(&text).unwrap_err();
            assert!(got.starts_with(&format!("f, line {line}: ")), "{got}");
            assert!(got.contains(reason), "{got}: {reason}");
            assert!(!got.contains("hush") && !got.contains("mumble"), "{got}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(dir.path());
        assert_eq!(read(&path).unwrap_err().kind(), "missing");
        std::fs::write(&path, ADMIN).unwrap();
        for (mode, refused) in [(0o640, true), (0o604, true), (0o600, false), (0o400, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            match read(&path) {
                Ok((got, _)) => assert!(!refused && got.len() == 1, "{mode:o}"),
                Err(error) => {
                    assert!(refused, "{mode:o}: {error}");
                    let want = format!("mode {mode:o}, so others may read its secrets: chmod 600");
                    assert!(error.to_string().contains(&want), "{error}");
                }
            }
        }
        let noise = [
            b"access_key = 1\n\xff".as_slice(),
            &[b'#'; 4 * 1024 * 1024 + 1],
        ];
        for (bytes, want) in noise
            .into_iter()
            .zip([", line 2: is not UTF-8", "takes up to"])
        {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String) {
            drop(parsed(&text));
        }
    }
}
