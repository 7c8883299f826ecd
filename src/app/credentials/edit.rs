//! Changes of the file with the credentials: the first admin, one more, one less.
//!
//! A change is written whole to a new file (mode 0600), synced, renamed over the old one, and the
//! directory synced: a reader sees the old or the new file, also after a power cut. Processes take
//! turns by a lock on `<data>/credentials.lock`. Comments that people wrote stay.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};
use zeroize::Zeroizing;

use super::file::{self, FileError};
use super::{Credential, Role};
use crate::base::ids::AppId;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;

/// Tries for the lock, and the wait between: ten seconds in all.
const LOCK_TRIES: u32 = 200;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// Characters of an access key: 100 bits.
const ACCESS_KEY_LEN: usize = 20;
/// Characters of a secret key and of a token: 260 bits.
const SECRET_LEN: usize = 52;

const HEADER: &str = "# Credentials of this server's HTTP API: keep them secret. `strait credentials`\n\
                      # adds, lists and revokes; a running server follows within seconds.\n\n";

/// The credentials in the file; without one, the first admin is made. True: it was.
pub fn open_or_create(data: &Path, now: Timestamp) -> Result<(Opened, bool), FileError> {
    let path = file::path_in(data);
    let is_new = match file::read(&path) {
        Ok(opened) => return Ok((opened, false)),
        Err(FileError::Missing { .. }) => {
            make_directory(data)?;
            let _lock = lock(data)?;
            create_first(data, now)?
        }
        Err(error) => return Err(error),
    };
    Ok((file::read(&path)?, is_new))
}

type Opened = (Vec<Credential>, file::Stamp);

/// Adds a credential with new keys; without a file, the first admin is made as well. True: it was.
pub fn add(
    data: &Path,
    role: Role,
    space: Option<AppId>,
    now: Timestamp,
) -> Result<(Credential, bool), FileError> {
    let _lock = lock(data)?;
    let is_new = create_first(data, now)?;
    let credential = generate(role, space, now)?;
    let mut document = load(data)?.1;
    let rows = document
        .entry("credentials")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(rows) = rows.as_array_of_tables_mut() else {
        return Err(FileError::Content {
            path: file::path_in(data).display().to_string(),
            line: 1,
            reason: "credentials: takes [[credentials]] tables, one for each".to_owned(),
        });
    };
    rows.push(table_of(&credential));
    save(data, &document)?;
    Ok((credential, is_new))
}

/// Takes a credential away. `force`: even the last admin.
pub fn revoke(data: &Path, access_key: &str, force: bool) -> Result<Credential, FileError> {
    let _lock = lock(data)?;
    let (credentials, mut document) = load(data)?;
    let (gone, left): (Vec<_>, Vec<_>) = credentials
        .into_iter()
        .partition(|c| c.access_key == access_key);
    let Some(gone) = gone.into_iter().next() else {
        return Err(FileError::Unknown {
            path: file::path_in(data).display().to_string(),
            access_key: access_key.to_owned(),
        });
    };
    if gone.rules_all() && !force && !left.iter().any(Credential::rules_all) {
        let access_key = access_key.to_owned();
        return Err(FileError::LastAdmin { access_key });
    }
    let named = |item: Option<&Item>| item.and_then(Item::as_str) == Some(access_key);
    if named(document.get("access_key")) {
        for name in ["access_key", "secret_key", "token", "created"] {
            document.remove(name);
        }
    } else if let Some(rows) = document.get_mut("credentials") {
        if let Some(rows) = rows.as_array_of_tables_mut() {
            rows.retain(|row| !named(row.get("access_key")));
        } else if let Some(rows) = rows.as_array_mut() {
            let key = |row: &toml_edit::Value| {
                let row = row.as_inline_table()?;
                Some(row.get("access_key")?.as_str()? == access_key)
            };
            rows.retain(|row| key(row) != Some(true));
        }
    }
    save(data, &document)?;
    Ok(gone)
}

/// Makes the file with the first admin where there is none. Holds the lock.
fn create_first(data: &Path, now: Timestamp) -> Result<bool, FileError> {
    let path = file::path_in(data);
    match fs::symlink_metadata(&path) {
        Ok(_) => return Ok(false),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(FileError::io(&path, &e)),
    }
    let admin = generate(Role::Admin, None, now)?;
    let mut document = DocumentMut::new();
    for (name, item) in table_of(&admin) {
        if name != "role" {
            document.insert(&name, item);
        }
    }
    document.decor_mut().set_prefix(HEADER);
    save(data, &document)?;
    Ok(true)
}

fn make_directory(data: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(data);
    made.map_err(|e| FileError::io(data, &e))
}

/// What is in the file: judged, and as it is written.
fn load(data: &Path) -> Result<(Vec<Credential>, DocumentMut), FileError> {
    let path = file::path_in(data);
    let (text, _) = file::read_text(&path)?;
    let credentials = file::parse(&text, &path)?;
    let document = text.parse().map_err(|_| FileError::Content {
        path: path.display().to_string(),
        line: 1,
        reason: "can't be edited: write it anew".to_owned(),
    })?;
    Ok((credentials, document))
}

fn table_of(credential: &Credential) -> Table {
    let mut table = Table::new();
    table.insert("access_key", value(&credential.access_key));
    table.insert("secret_key", value(credential.secret_key.expose()));
    table.insert("token", value(credential.token.expose()));
    table.insert("role", value(credential.role.as_str()));
    if let Some(space) = &credential.space {
        table.insert("app_id", value(space.as_str()));
    }
    if let Some(created) = credential.created {
        table.insert("created", value(created.rfc3339_ms()));
    }
    table
}

fn generate(role: Role, space: Option<AppId>, now: Timestamp) -> Result<Credential, FileError> {
    Ok(Credential {
        access_key: random_text(ACCESS_KEY_LEN)?.to_ascii_uppercase(),
        secret_key: Secret::new(random_text(SECRET_LEN)?),
        token: Secret::new(random_text(SECRET_LEN)?),
        role,
        space,
        created: Some(now),
    })
}

/// Five random bits a character, in letters and digits that are not taken for one another.
fn random_text(len: usize) -> Result<String, FileError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = Zeroizing::new(vec![0; len]);
    getrandom::fill(&mut bytes).map_err(|e| FileError::Random {
        reason: e.to_string(),
    })?;
    let letter = |b: &u8| LETTERS.get(usize::from(b & 31)).map(|l| char::from(*l));
    Ok(bytes.iter().filter_map(letter).collect())
}

/// Writes the file whole, or leaves it as it was. Holds the lock.
fn save(data: &Path, document: &DocumentMut) -> Result<(), FileError> {
    let path = file::path_in(data);
    let io = |e: std::io::Error| FileError::io(&path, &e);
    let text = Zeroizing::new(document.to_string());
    let fresh = data.join(format!("{}.new", file::FILE_NAME));
    // What a process left that died here. The name is only used under the lock.
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    let mut options = File::options();
    let mut out = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io)?;
    out.write_all(text.as_bytes()).map_err(io)?;
    out.sync_all().map_err(io)?;
    fs::rename(&fresh, &path).map_err(io)?;
    let directory = File::open(data).map_err(io)?;
    directory.sync_all().map_err(io)
}

/// Held while the file is changed; the kernel takes it back when the process dies.
fn lock(data: &Path) -> Result<File, FileError> {
    let path = data.join("credentials.lock");
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).mode(0o600);
    let file = opened.open(&path).map_err(|e| FileError::io(data, &e))?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_WAIT),
            Err(e) => return Err(FileError::io(&path, &e.into())),
        }
    }
    Err(FileError::Busy {
        path: file::path_in(data).display().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_772_366_400_000);

    fn keys(data: &Path) -> Vec<(String, Role)> {
        let (all, _) = file::read(&file::path_in(data)).unwrap();
        all.into_iter().map(|c| (c.access_key, c.role)).collect()
    }

    #[test]
    fn the_first_admin_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new");
        let ((first, _), is_new) = open_or_create(&data, NOW).unwrap();
        assert!(is_new && first.len() == 1 && first[0].rules_all());
        let path = file::path_in(&data);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let plain: toml::Table = text.parse().unwrap();
        assert_eq!(plain["access_key"].as_str(), Some(&*first[0].access_key));
        assert_eq!(
            plain["token"].as_str(),
            Some(first[0].token.expose().as_str())
        );
        let ((again, _), is_new) = open_or_create(&data, NOW).unwrap();
        assert_eq!((again, is_new), (first, false));
        assert!(!data.join("credentials.toml.new").exists());
    }

    #[test]
    fn rows_come_and_go_and_comments_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let space = AppId::parse("s1").unwrap();
        let (reader, is_new) = add(data, Role::ReadOnly, Some(space), NOW).unwrap();
        assert!(is_new);
        let path = file::path_in(data);
        let text = fs::read_to_string(&path).unwrap();
        let noted = text.replace("[[credentials]]", "# the billing system\n[[credentials]]");
        fs::write(&path, noted).unwrap();
        let (bound, is_new) = add(data, Role::Admin, reader.space.clone(), NOW).unwrap();
        assert!(!is_new);
        let admin = keys(data)[0].0.clone();
        // An admin of one space is no admin of the server.
        let refused = revoke(data, &admin, false).unwrap_err();
        assert_eq!(refused.kind(), "last_admin");
        assert_eq!(revoke(data, "nobody", true).unwrap_err().kind(), "unknown");
        let (second, _) = add(data, Role::Admin, None, NOW).unwrap();
        assert_eq!(revoke(data, &admin, false).unwrap().access_key, admin);
        let left = [
            (reader.access_key.clone(), Role::ReadOnly),
            (bound.access_key.clone(), Role::Admin),
            (second.access_key.clone(), Role::Admin),
        ];
        assert_eq!(keys(data), left);
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("# the billing system")
        );
        revoke(data, &second.access_key, true).unwrap();
        revoke(data, &bound.access_key, false).unwrap();
        revoke(data, &reader.access_key, false).unwrap();
        assert_eq!(keys(data), []);
    }

    #[test]
    fn changes_by_several_hands_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| add(data, Role::Operator, None, NOW).unwrap());
            }
        });
        let all = keys(data);
        assert_eq!(all.len(), 9, "{all:?}");
        assert_eq!(
            all.iter().filter(|(_, role)| *role == Role::Admin).count(),
            1
        );
    }

    #[test]
    fn a_file_that_is_wrong_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let path = file::path_in(data);
        fs::write(&path, "nonsense = 1\n").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let tries = [
            add(data, Role::Admin, None, NOW).unwrap_err(),
            revoke(data, "x", true).unwrap_err(),
            open_or_create(data, NOW).unwrap_err(),
        ];
        for error in tries {
            assert_eq!(error.kind(), "content", "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense = 1\n");
        let nowhere = add(&data.join("none"), Role::Admin, None, NOW).unwrap_err();
        assert_eq!(nowhere.kind(), "missing");
    }
}
