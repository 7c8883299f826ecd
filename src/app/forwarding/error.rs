//! Why something of forwarding could not be read or changed.

use crate::app::space::SpaceError;
use crate::app::sql::SqlError;
use crate::base::ids::{ActionId, PolicyId, PushCertificateId, QueueId, RuleId};
use crate::store::{CommitError, Guard, StoreError};

/// Why the service of forwarding refused. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardingError {
    #[error("rule_id: there is no rule {0}")]
    NoRule(RuleId),
    #[error("action_id: there is no action {0}")]
    NoAction(ActionId),
    #[error("policy_id: there is no policy {0}")]
    NoPolicy(PolicyId),
    #[error("queue_id: there is no queue {0}")]
    NoQueue(QueueId),
    #[error("cert_id: there is no certificate {0}")]
    NoCertificate(PushCertificateId),
    #[error("{place}: has {max} {what}, delete one first")]
    TooMany {
        /// What holds them: `rule_id`, or `server`.
        place: &'static str,
        what: &'static str,
        max: usize,
    },
    #[error("queue_name: there is a queue {0:?} already, takes a name that none has")]
    QueueExists(String),
    /// `actions`: their ids.
    #[error("cert_id: {id} is in use, first take it out of the actions {actions}")]
    CertificateUsed {
        id: PushCertificateId,
        actions: String,
    },
    #[error("{field}: {problem}")]
    Invalid {
        field: &'static str,
        problem: String,
    },
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// Somebody else changed the same record meanwhile.
    #[error("this is being changed by others, try again")]
    Contended,
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ForwardingError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoRule(_) => "no_rule",
            Self::NoAction(_) => "no_action",
            Self::NoPolicy(_) => "no_policy",
            Self::NoQueue(_) => "no_queue",
            Self::NoCertificate(_) => "no_certificate",
            Self::TooMany { .. } => "too_many",
            Self::QueueExists(_) => "queue_exists",
            Self::CertificateUsed { .. } => "certificate_used",
            Self::Invalid { .. } => "invalid",
            Self::Sql(e) => e.kind(),
            Self::Contended => "contended",
            Self::Space(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }
}

impl From<CommitError> for ForwardingError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(Guard::AppExists(id)) => SpaceError::Unknown(id).into(),
            CommitError::Conflict(_) => Self::Contended,
            CommitError::Store(error) => error.into(),
        }
    }
}

pub(super) fn invalid(field: &'static str, problem: impl Into<String>) -> ForwardingError {
    ForwardingError::Invalid {
        field,
        problem: problem.into(),
    }
}
