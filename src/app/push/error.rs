//! Why a request about pushes fails.

use crate::base::ids::ActionId;
use crate::store::StoreError;

/// Errors of [`super::Pushes`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum PushError {
    #[error("there is no action {0}")]
    NotFound(ActionId),
    #[error("the rule of the action {0} is not active: activate it first")]
    Idle(ActionId),
    #[error("positions: no push of the event at position {0} is set aside")]
    NotSetAside(u64),
    /// The server stops.
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PushError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Idle(_) => "idle",
            Self::NotSetAside(_) => "not_set_aside",
            Self::Stopping => "stopping",
            Self::Store(error) => error.kind(),
        }
    }
}
