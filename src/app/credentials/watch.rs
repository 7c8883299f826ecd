//! Follows the file with the credentials while the server runs: what is added or revoked counts
//! within two seconds. A file that is missing or wrong changes nothing but the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::file::{self, FileError, Stamp};
use super::{Credentials, KeySet};
use crate::app::tasks::Stop;

/// How often the file is looked at.
pub const EVERY: Duration = Duration::from_secs(1);

/// What was last found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Read(Stamp),
    /// Reported with this message; not again while the file stays so.
    Wrong(Option<Stamp>),
}

/// Looks at the file every `every` until `stop`. `read`: the stamp of what `credentials` holds.
pub async fn run(
    credentials: Arc<Credentials>,
    path: PathBuf,
    read: Stamp,
    every: Duration,
    mut stop: Stop,
) {
    let mut found = Found::Read(read);
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(every) => {}
        }
        let (held, looked_at) = (Arc::clone(&credentials), path.clone());
        let before = found.clone();
        let look = tokio::task::spawn_blocking(move || look(&held, &looked_at, before));
        if let Ok(now) = look.await {
            found = now;
        }
    }
}

fn look(credentials: &Credentials, path: &PathBuf, before: Found) -> Found {
    let stamp = std::fs::metadata(path).map(|meta| Stamp::of(&meta)).ok();
    let is_same = match &before {
        Found::Read(read) => stamp == Some(*read),
        Found::Wrong(wrong) => stamp == *wrong,
    };
    if is_same {
        return before;
    }
    match file::read(path) {
        Ok((rows, stamp)) => {
            let set: KeySet = rows.into_iter().collect();
            if !set.has_admin() {
                tracing::warn!(file = %path.display(), "no credential is an admin's");
            }
            tracing::info!(file = %path.display(), credentials = set.len(), "credentials changed");
            credentials.replace(set);
            Found::Read(stamp)
        }
        Err(error @ FileError::Missing { .. }) => {
            tracing::error!(%error, "the credentials stay as they were");
            Found::Wrong(None)
        }
        Err(error) => {
            tracing::error!(%error, "the credentials stay as they were");
            Found::Wrong(stamp)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CLOCK_SKEW, Role, edit};
    use super::*;
    use crate::base::time::Timestamp;

    #[test]
    fn a_change_counts_and_a_broken_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let now = Timestamp::from_ms(0);
        let ((rows, stamp), _) = edit::open_or_create(data, now).unwrap();
        let credentials = Credentials::of(rows.into_iter().collect(), CLOCK_SKEW);
        let path = file::path_in(data);
        let mut found = Found::Read(stamp);
        let (added, _) = edit::add(data, Role::Operator, None, now).unwrap();
        let token = added.token.expose().as_bytes();
        assert!(credentials.by_token(token).is_none());
        found = look(&credentials, &path, found);
        assert_eq!(
            credentials.by_token(token).unwrap().caller(),
            credentials
                .by_access_key(&added.access_key)
                .unwrap()
                .caller()
        );
        assert!(matches!(
            look(&credentials, &path, found.clone()),
            Found::Read(_)
        ));
        let good = std::fs::read_to_string(&path).unwrap();
        for broken in [Some("access_key = "), None] {
            match broken {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            found = look(&credentials, &path, found);
            assert!(matches!(found, Found::Wrong(_)), "{broken:?}");
            assert!(credentials.by_token(token).is_some(), "{broken:?}");
            assert_eq!(look(&credentials, &path, found.clone()), found);
        }
        std::fs::write(&path, good).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        edit::revoke(data, &added.access_key, false).unwrap();
        found = look(&credentials, &path, found);
        assert!(matches!(found, Found::Read(_)));
        assert!(credentials.by_token(token).is_none());
    }
}
