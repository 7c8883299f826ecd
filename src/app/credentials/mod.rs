//! Who may do what over HTTP: roles, the resource space that a credential may be bound to, and the
//! credentials that a running server knows.
//!
//! They come from a file ([`mod@file`]), which the command line edits ([`edit`]) and a running server
//! follows ([`watch`]). Tokens are found by their SHA-256 digest, so no comparison tells how much of
//! a guess was right; secret keys leave this module for the check of a signature alone.

pub mod edit;
pub mod file;
pub mod watch;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::ids::AppId;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;

/// What a credential allows. Ordered: each allows what those before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads; dry runs count as reading.
    ReadOnly,
    /// Reads and writes what is in resource spaces.
    Operator,
    /// Everything: resource spaces themselves, the audit log.
    Admin,
}

impl Role {
    /// As in the credentials file and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The access key; `None`: nobody has to say who he is (`--no-auth`).
    pub access_key: Option<String>,
    pub role: Role,
    /// Sees and changes this resource space alone; `None`: all of them.
    pub space: Option<AppId>,
}

impl Caller {
    /// Whoever reaches a server without authentication.
    pub const fn anyone() -> Self {
        Self {
            access_key: None,
            role: Role::Admin,
            space: None,
        }
    }

    /// Whether what belongs to `space` is there for this caller.
    pub fn may_see(&self, space: &AppId) -> bool {
        self.space.as_ref().is_none_or(|own| own == space)
    }
}

/// One row of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub access_key: String,
    pub secret_key: Secret<String>,
    pub token: Secret<String>,
    pub role: Role,
    pub space: Option<AppId>,
    /// `None`: written by hand, without.
    pub created: Option<Timestamp>,
}

impl Credential {
    /// Who uses this credential.
    pub fn caller(&self) -> Caller {
        Caller {
            access_key: Some(self.access_key.clone()),
            role: self.role,
            space: self.space.clone(),
        }
    }

    /// May change everything: a role, and no space that binds it.
    pub fn rules_all(&self) -> bool {
        self.role == Role::Admin && self.space.is_none()
    }
}

type Digested = [u8; 32];

/// Credentials by what callers show. Access keys and tokens are unique.
#[derive(Default)]
pub struct KeySet {
    by_access_key: HashMap<String, Arc<Credential>>,
    by_token: HashMap<Digested, Arc<Credential>>,
}

impl FromIterator<Credential> for KeySet {
    fn from_iter<I: IntoIterator<Item = Credential>>(credentials: I) -> Self {
        let mut set = Self::default();
        for credential in credentials {
            let credential = Arc::new(credential);
            let token = digest(credential.token.expose().as_bytes());
            set.by_token.insert(token, Arc::clone(&credential));
            let key = credential.access_key.clone();
            set.by_access_key.insert(key, credential);
        }
        set
    }
}

impl KeySet {
    pub fn len(&self) -> usize {
        self.by_access_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_access_key.is_empty()
    }

    /// Whether anybody may change everything.
    pub fn has_admin(&self) -> bool {
        self.by_access_key.values().any(|c| c.rules_all())
    }
}

fn digest(token: &[u8]) -> Digested {
    Sha256::digest(token).into()
}

/// How far the time of a signature may be from the server's, unless it is set.
pub const CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

/// What a running server knows of its callers.
pub struct Credentials {
    /// `None`: nobody has to say who he is.
    known: Option<RwLock<Arc<KeySet>>>,
    /// How far the time of a signature may be from the server's, either way.
    pub clock_skew: Duration,
}

impl Credentials {
    /// Whoever reaches the server may do everything (`--no-auth`).
    pub const fn nobody_asked() -> Self {
        Self {
            known: None,
            clock_skew: CLOCK_SKEW,
        }
    }

    /// Only these callers.
    pub fn of(set: KeySet, clock_skew: Duration) -> Self {
        Self {
            known: Some(RwLock::new(Arc::new(set))),
            clock_skew,
        }
    }

    /// Whether everybody passes.
    pub const fn is_open(&self) -> bool {
        self.known.is_none()
    }

    pub fn by_access_key(&self, access_key: &str) -> Option<Arc<Credential>> {
        self.now()?.by_access_key.get(access_key).map(Arc::clone)
    }

    pub fn by_token(&self, token: &[u8]) -> Option<Arc<Credential>> {
        self.now()?.by_token.get(&digest(token)).map(Arc::clone)
    }

    /// Whether the credential of this caller is there, with the same role and space.
    pub fn stands(&self, caller: &Caller) -> bool {
        let key = caller.access_key.as_deref().unwrap_or_default();
        let found = self.by_access_key(key);
        self.is_open() || found.is_some_and(|credential| credential.caller() == *caller)
    }

    /// From now on, these. Nothing changes when nobody is asked.
    pub fn replace(&self, set: KeySet) {
        if let Some(known) = &self.known {
            *known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        }
    }

    fn now(&self) -> Option<Arc<KeySet>> {
        let known = self.known.as_ref()?;
        Some(Arc::clone(
            &known.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("known", &self.now().map(|set| set.len()))
            .finish_non_exhaustive()
    }
}
