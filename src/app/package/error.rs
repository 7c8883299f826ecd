//! Why a package could not be read, kept or changed.

use crate::app::product::ProductError;
use crate::base::ids::{PackageId, TaskId};
use crate::store::package_files::FilesError;
use crate::store::packages::FileHash;
use crate::store::{CommitError, Guard, StoreError};

/// Why the service of packages refused. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    #[error("package_id: there is no package {0}")]
    NotFound(PackageId),
    /// A value that is wrong by itself, or does not go with the rest.
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
    #[error("the file has {}, takes up to {max} bytes (packages.size_max_mb)", size_text(*.size))]
    TooLarge {
        /// `None`: more came than was allowed.
        size: Option<u64>,
        max: u64,
    },
    #[error("{what}: {problem}")]
    Full { what: &'static str, problem: String },
    #[error(
        "version: package {package_id} of this product and type has version {version} already; \
         delete it first, or take another version"
    )]
    Taken {
        package_id: PackageId,
        version: String,
    },
    #[error(
        "version: {version} of this product and type means the file with SHA-256 {bound} for ever, \
         got {got}; a device that goes on with its download would put two files together: take \
         another version"
    )]
    Bound {
        version: String,
        bound: FileHash,
        got: FileHash,
    },
    #[error(
        "{field}: package {package_id} of this version and file has {has}, got {got}; delete it \
         first, or send it without {field}"
    )]
    Differs {
        field: &'static str,
        package_id: PackageId,
        has: String,
        got: String,
    },
    #[error(
        "package_id: package {package_id} is used by the running task {task_id}; stop it first"
    )]
    InUse {
        package_id: PackageId,
        task_id: TaskId,
    },
    #[error(
        "package_id: package {package_id} has no file yet; upload it with PUT /v1/packages for \
         the same product, type and version"
    )]
    NoFile { package_id: PackageId },
    #[error("token: {0}")]
    Token(&'static str),
    #[error("{max} packages are being uploaded, try later (packages.uploads_max)")]
    Busy { max: usize },
    /// Others changed the same package again and again.
    #[error("the package is being changed by others, try again")]
    Contended,
    /// The body did not come whole.
    #[error("{0}")]
    Broken(String),
    /// The body came too slowly.
    #[error("{0}")]
    Slow(String),
    #[error(transparent)]
    Product(#[from] ProductError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn size_text(size: Option<u64>) -> String {
    size.map_or_else(|| "more".to_owned(), |size| format!("{size} bytes"))
}

impl PackageError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::TooLarge { .. } => "too_large",
            Self::Full { .. } => "full",
            Self::Taken { .. } => "taken",
            Self::Bound { .. } => "bound",
            Self::Differs { .. } => "differs",
            Self::InUse { .. } => "in_use",
            Self::NoFile { .. } => "no_file",
            Self::Token(_) => "token",
            Self::Busy { .. } => "busy",
            Self::Contended => "contended",
            Self::Broken(_) => "broken",
            Self::Slow(_) => "slow",
            Self::Product(e) => e.kind(),
            Self::Files(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }
}

/// A value that is refused.
pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> PackageError {
    PackageError::Invalid {
        field: field.into(),
        problem: problem.into(),
    }
}

/// A commit that changed nothing.
pub(super) fn of_commit(error: CommitError) -> PackageError {
    match error {
        CommitError::Conflict(Guard::ProductExists(id)) => ProductError::NotFound(id).into(),
        CommitError::Conflict(_) => PackageError::Contended,
        CommitError::Store(error) => error.into(),
    }
}
