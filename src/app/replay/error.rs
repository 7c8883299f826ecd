//! Why a replay could not be begun, found or stopped.

use crate::app::product::ProductError;
use crate::store::{CommitError, StoreError};

/// Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    #[error(transparent)]
    Product(#[from] ProductError),
    #[error("replay_id: the product has no replay {0}")]
    NotFound(u32),
    #[error("replay {0} of the product goes on, stop it first or wait for its end")]
    Running(u32),
    #[error("the codec is quarantined: {0}; release it first")]
    Quarantined(String),
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReplayError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Product(e) => e.kind(),
            Self::NotFound(_) => "not_found",
            Self::Running(_) => "running",
            Self::Quarantined(_) => "quarantined",
            Self::Invalid { .. } => "invalid",
            Self::Stopping => "stopping",
            Self::Store(e) => e.kind(),
        }
    }
}

/// A commit whose only guard is that the product is there.
pub(super) fn of_commit(error: CommitError, id: &crate::base::ids::ProductId) -> ReplayError {
    match error {
        CommitError::Conflict(_) => ProductError::NotFound(id.clone()).into(),
        CommitError::Store(error) => error.into(),
    }
}
