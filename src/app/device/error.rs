//! Why a device could not be read or changed.

use crate::app::product::ProductError;
use crate::app::space::SpaceError;
use crate::base::ids::{DeviceId, ProductId};
use crate::store::{CommitError, Guard, StoreError};

/// Why a device's service refused. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    #[error("device_id: there is no device {0}")]
    NotFound(DeviceId),
    #[error("{field}: there is a device with {value} already, takes one that no device has")]
    Exists { field: &'static str, value: String },
    #[error("product_id: there is no product {0}, create it first")]
    NoProduct(ProductId),
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A well-formed value that does not go with the rest.
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
    /// Several of them, each with its field.
    #[error("{}", .0.join("; "))]
    Mistakes(Vec<String>),
    /// Others changed the same device again and again.
    #[error("the device is being changed by others, try again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeviceError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Exists { .. } => "exists",
            Self::NoProduct(_) => "no_product",
            Self::Space(e) => e.kind(),
            Self::Invalid { .. } | Self::Mistakes(_) => "invalid",
            Self::Contended => "contended",
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

impl From<ProductError> for DeviceError {
    fn from(error: ProductError) -> Self {
        match error {
            ProductError::NotFound(id) => Self::NoProduct(id),
            ProductError::Space(error) => Self::Space(error),
            ProductError::Store(error) => Self::Store(error),
            other => Self::invalid("product_id", other),
        }
    }
}

/// A commit that can't be tried again.
pub(super) fn of_commit(error: CommitError) -> DeviceError {
    match error {
        CommitError::Conflict(Guard::DeviceAbsent(id)) => DeviceError::Exists {
            field: "device_id",
            value: id.to_string(),
        },
        CommitError::Conflict(Guard::NodeFree(id)) => DeviceError::Exists {
            field: "node_id",
            value: id.to_string(),
        },
        CommitError::Conflict(Guard::ProductExists(id)) => DeviceError::NoProduct(id),
        // The product's space is being deleted, and the product with it.
        CommitError::Conflict(Guard::AppExists(id)) => SpaceError::Unknown(id).into(),
        CommitError::Conflict(_) => DeviceError::Contended,
        CommitError::Store(error) => error.into(),
    }
}
