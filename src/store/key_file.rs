//! The file that holds the sealing key: 64 hex digits and a line end, mode 0600. It may lie outside
//! the data directory. Made at the first start: under another name first, synced, renamed, and its
//! directory synced, so that no row is sealed with a key that a power cut takes away.
//!
//! Errors: [`KeyError`]. None of them is mended by a new key: what is sealed opens with the old
//! one alone.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::seal::{CHECK_LEN, KEY_LEN, Sealer};

/// Longer files are no keys; the rest is not read.
const FILE_MAX: u64 = 256;

/// Why there is no usable sealing key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error(
        "{path} is missing, and what is in {database} is sealed with it: put the key file back, \
         or name its place (store.sealing_key; for `strait store`, --sealing-key); \
         a new key can't open anything"
    )]
    Missing { path: String, database: String },
    #[error("{path} holds no sealing key: {reason}; put back the copy that was made of it")]
    Malformed { path: String, reason: String },
    #[error(
        "the sealing key in {path} does not fit {database}: it was sealed with another one; \
         name that one (store.sealing_key; for `strait store`, --sealing-key)"
    )]
    Other { path: String, database: String },
    #[error(
        "the sealing key in {path}: {reason}; store.sealing_key (for `strait store`, \
         --sealing-key) names its place"
    )]
    Io { path: String, reason: String },
}

impl KeyError {
    /// Stable word for logs and messages; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "key_missing",
            Self::Malformed { .. } => "key_malformed",
            Self::Other { .. } => "key_other",
            Self::Io { .. } => "key_io",
        }
    }

    fn io(path: &Path, e: &io::Error) -> Self {
        Self::Io {
            path: path.display().to_string(),
            reason: e.to_string(),
        }
    }
}

impl Sealer {
    /// The sealer with the key in this file, which must be there. Warns when others may read it.
    pub fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let io = |e: io::Error| KeyError::io(path, &e);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                file = %path.display(),
                mode = format!("{mode:o}"),
                "others may read the sealing key: it should have mode 600"
            );
        }
        let mut text = Zeroizing::new(Vec::with_capacity(256));
        file.take(FILE_MAX).read_to_end(&mut text).map_err(io)?;
        let key = parse(&text).map_err(|reason| KeyError::Malformed {
            path: path.display().to_string(),
            reason,
        })?;
        Ok(Some(Self::named(*key, path.display().to_string())))
    }

    /// The sealer for a database with this check value; `None`: nothing is sealed yet, and a key
    /// is made where there is none.
    pub fn open_or_create(
        path: &Path,
        database: &str,
        check: Option<[u8; CHECK_LEN]>,
    ) -> Result<Self, KeyError> {
        let Some(check) = check else {
            return match Self::read(path)? {
                Some(sealer) => Ok(sealer),
                None => Self::create(path),
            };
        };
        Self::read_fitting(path, database, check)
    }

    /// The sealer for a database or archive with this check value.
    pub fn read_fitting(
        path: &Path,
        database: &str,
        check: [u8; CHECK_LEN],
    ) -> Result<Self, KeyError> {
        let sealer = Self::read(path)?.ok_or_else(|| KeyError::Missing {
            path: path.display().to_string(),
            database: database.to_owned(),
        })?;
        sealer.must_fit(database, check)?;
        Ok(sealer)
    }

    /// Whether this is the key of a database or archive with this check value.
    pub fn must_fit(&self, database: &str, check: [u8; CHECK_LEN]) -> Result<(), KeyError> {
        if self.check_value() == check {
            return Ok(());
        }
        Err(KeyError::Other {
            path: self.place().to_owned(),
            database: database.to_owned(),
        })
    }

    fn create(path: &Path) -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        getrandom::fill(&mut *key).map_err(|e| KeyError::Io {
            path: path.display().to_string(),
            reason: format!("no random numbers for a key: {e}"),
        })?;
        let mut text = Zeroizing::new(String::with_capacity(KEY_LEN.saturating_mul(2)));
        for byte in key.iter() {
            for digit in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
        }
        write_new(path, text.as_bytes()).map_err(|e| KeyError::io(path, &e))?;
        tracing::info!(
            file = %path.display(),
            "made a sealing key: keep a copy apart from the data, what it seals opens with no other"
        );
        Ok(Self::named(*key, path.display().to_string()))
    }
}

fn parse(text: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, String> {
    let text = text.trim_ascii();
    let want = KEY_LEN.saturating_mul(2);
    if text.len() != want {
        return Err(format!(
            "{want} hex digits are right, it has {}",
            text.len()
        ));
    }
    let mut key = Zeroizing::new([0; KEY_LEN]);
    for (byte, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digits = digits
            .iter()
            .map(|digit| char::from(*digit).to_digit(16).unwrap_or(256));
        let value = digits.fold(0, |value, digit| value * 16 + digit);
        *byte = u8::try_from(value)
            .map_err(|_| format!("{want} hex digits are right, it has other characters"))?;
    }
    Ok(key)
}

/// Writes a file that is there as a whole or not at all, also after a power cut.
fn write_new(path: &Path, line: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|dir| *dir != Path::new(""));
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let mut part = path.as_os_str().to_owned();
    part.push(".new");
    let part = PathBuf::from(part);
    // What a crash left of an earlier try was never used.
    match fs::remove_file(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(line)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        let made = Sealer::open_or_create(&path, "db", None).unwrap();
        let check = made.check_value();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 65);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for check in [None, Some(check)] {
            let again = Sealer::open_or_create(&path, "db", check).unwrap();
            assert_eq!(again.check_value(), made.check_value());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let other = dir.path().join("other.key");
        let other = Sealer::open_or_create(&other, "db", None).unwrap();
        assert_ne!(other.check_value(), check);
    }

    #[test]
    fn wrong_keys_are_named_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        let check = Sealer::new([1; KEY_LEN]).check_value();
        let open = |check| Sealer::open_or_create(&path, "data/store", check);
        let table = [
            (None, "key_missing"),
            (Some(String::new()), "key_malformed"),
            (Some("00".repeat(31)), "key_malformed"),
            (Some("0g".repeat(32)), "key_malformed"),
            (Some("é".repeat(32)), "key_malformed"),
            (Some("00".repeat(500)), "key_malformed"),
            (Some("02".repeat(32)), "key_other"),
            (Some("01".repeat(32)), "fine"),
            (Some(format!(" {}\r\n", "01".repeat(32))), "fine"),
        ];
        for (text, want) in table {
            if let Some(text) = &text {
                fs::write(&path, text).unwrap();
            }
            let got = open(Some(check));
            assert_eq!(got.as_ref().map_or_else(KeyError::kind, |_| "fine"), want);
            if let Err(e) = got {
                let shown = e.to_string();
                assert!(shown.contains(path.to_str().unwrap()), "{shown}");
                assert!(!shown.contains("0101"), "{shown}");
            }
            assert_eq!(fs::read_to_string(&path).ok(), text);
        }
        fs::write(&path, "no key").unwrap();
        assert_eq!(open(None).unwrap_err().kind(), "key_malformed");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(open(None).unwrap_err().kind(), "key_io");
    }
}
