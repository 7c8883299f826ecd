//! Why a product could not be read or changed.

use crate::app::space::SpaceError;
use crate::base::ids::ProductId;
use crate::product::codec::{CodecError, LoadError};
use crate::store::{CommitError, Guard, StoreError};

/// Why a product's service refused. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProductError {
    #[error("product_id: there is no product {0}")]
    NotFound(ProductId),
    #[error("product_id: there is a product {0} already, takes a new id or none")]
    Exists(ProductId),
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A well-formed value that does not go with the rest.
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
    #[error("product {0} has no codec; upload one with PUT /v1/products/{0}/codec")]
    NoCodec(ProductId),
    #[error(
        "product {product_id} has no codec version {which}; GET /v1/products/{product_id}/codec/versions \
         lists those that are kept"
    )]
    NoVersion {
        product_id: ProductId,
        which: String,
    },
    #[error("the codec has {} mistakes, line:column {}", .0.len(), first(.0))]
    Mistakes(Vec<LoadError>),
    /// The codec ran and said no.
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("{header}: {problem}")]
    Precondition {
        header: &'static str,
        problem: String,
    },
    /// Others changed the same thing again and again.
    #[error("the product is being changed by others, try again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn first(mistakes: &[LoadError]) -> String {
    mistakes
        .first()
        .map_or_else(String::new, ToString::to_string)
}

impl ProductError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Exists(_) => "exists",
            Self::Space(e) => e.kind(),
            Self::Invalid { .. } => "invalid",
            Self::NoCodec(_) => "no_codec",
            Self::NoVersion { .. } => "no_version",
            Self::Mistakes(_) => "mistakes",
            Self::Codec(_) => "codec",
            Self::Precondition { .. } => "precondition",
            Self::Contended => "contended",
            Self::Store(_) => "store",
        }
    }
}

/// What a failed guard means to the caller; `None`: somebody was faster, try again.
pub(super) fn of_conflict(guard: Guard) -> Option<ProductError> {
    match guard {
        Guard::ProductAbsent(id) => Some(ProductError::Exists(id)),
        Guard::ProductExists(id) => Some(ProductError::NotFound(id)),
        Guard::AppExists(id) => Some(SpaceError::Unknown(id).into()),
        _ => None,
    }
}

/// A commit that can't be tried again.
pub(super) fn of_commit(error: CommitError) -> ProductError {
    match error {
        CommitError::Conflict(guard) => of_conflict(guard).unwrap_or(ProductError::Contended),
        CommitError::Store(error) => error.into(),
    }
}
