//! Who may do what over HTTP: roles, and the resource space that a credential may be bound to.

use serde::{Deserialize, Serialize};

use crate::base::ids::AppId;

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
