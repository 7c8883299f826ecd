//! Why a group could not be read or changed.

use crate::app::device::DeviceError;
use crate::app::search::SearchError;
use crate::app::space::SpaceError;
use crate::base::ids::GroupId;
use crate::store::StoreError;

/// Why the service of groups refused. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    #[error("group_id: there is no group {0}")]
    NotFound(GroupId),
    #[error("name: there is a group {name:?} in the resource space, takes one that no group has")]
    NameTaken { name: String },
    #[error("there are {max} groups already, no more are taken")]
    TooMany { max: usize },
    #[error("there are {max} dynamic groups already, no more are taken")]
    TooManyDynamic { max: usize },
    #[error("group_id: the group has groups below it, delete them first")]
    HasBelow,
    #[error("group_id: the group is dynamic, its rule alone says which devices are in it")]
    Dynamic,
    #[error("dynamic_group_rule: {0}")]
    Rule(#[from] SearchError),
    /// A well-formed value that does not go with the rest.
    #[error("{field}: {problem}")]
    Invalid {
        field: &'static str,
        problem: String,
    },
    /// Others changed the same group again and again.
    #[error("the group is being changed by others, try again")]
    Contended,
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GroupError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::NameTaken { .. } => "name_taken",
            Self::TooMany { .. } => "too_many",
            Self::TooManyDynamic { .. } => "too_many_dynamic",
            Self::HasBelow => "has_below",
            Self::Dynamic => "dynamic",
            Self::Rule(_) => "rule",
            Self::Invalid { .. } => "invalid",
            Self::Contended => "contended",
            Self::Space(e) => e.kind(),
            Self::Device(e) => e.kind(),
            Self::Store(_) => "store",
        }
    }
}
