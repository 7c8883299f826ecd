//! Why a batch task or a file for one could not be read or changed.

use super::sheet::SheetError;
use crate::app::space::SpaceError;
use crate::base::ids::{FileId, TaskId};
use crate::store::StoreError;

/// Why the service of batch tasks refused. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    #[error("task_id: there is no batch task {0}")]
    NotFound(TaskId),
    #[error("file_id: there is no file {0}")]
    NoFile(FileId),
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A well-formed value that does not go with the rest.
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
    /// The task's state does not allow it.
    #[error("the task is {status}: {problem}")]
    State {
        status: &'static str,
        problem: &'static str,
    },
    #[error("{what} is reached: {max}; {remedy}")]
    Limit {
        what: &'static str,
        max: usize,
        remedy: &'static str,
    },
    #[error("file: {0}")]
    Sheet(#[from] SheetError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BatchError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::NoFile(_) => "no_file",
            Self::Space(_) => "space",
            Self::Invalid { .. } => "invalid",
            Self::State { .. } => "state",
            Self::Limit { .. } => "limit",
            Self::Sheet(error) => error.kind(),
            Self::Store(_) => "store",
        }
    }

    pub(super) fn invalid(field: impl Into<String>, problem: impl ToString) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}
