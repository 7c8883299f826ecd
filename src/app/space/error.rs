//! Why a resource space could not be read or changed.

use crate::base::ids::AppId;
use crate::store::{CommitError, Guard, StoreError};

/// Why the service of resource spaces refused. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    #[error("app_id: there is no resource space {0}")]
    NotFound(AppId),
    /// Something else names a space that is not there.
    #[error("app_id: there is no resource space {0}, takes one that exists or none")]
    Unknown(AppId),
    #[error("app_name: there is a resource space {0:?} already, takes a name that none has")]
    NameTaken(String),
    #[error("app_name: there are {max} resource spaces, delete one first", max = super::SPACES_MAX)]
    TooMany,
    #[error("app_id: {0} is the default resource space, which stays")]
    IsDefault(AppId),
    /// Others changed the same space again and again.
    #[error("the resource space is being changed by others, try again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SpaceError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Unknown(_) => "unknown",
            Self::NameTaken(_) => "name_taken",
            Self::TooMany => "too_many",
            Self::IsDefault(_) => "is_default",
            Self::Contended => "contended",
            Self::Store(_) => "store",
        }
    }
}

/// A commit that can't be tried again.
pub(super) fn of_commit(error: CommitError) -> SpaceError {
    match error {
        CommitError::Conflict(Guard::AppExists(id)) => SpaceError::Unknown(id),
        CommitError::Conflict(_) => SpaceError::Contended,
        CommitError::Store(error) => error.into(),
    }
}
