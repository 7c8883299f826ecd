//! A commit under way, and what waits for it.

use super::calling::Attempt;
use crate::app::step::{Input, Step};
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::store::{CommitError, Completion};

/// A commit under way, with what follows it.
pub(super) struct Pending {
    pub(super) device_id: DeviceId,
    pub(super) input: Input,
    pub(super) step: Step,
    pub(super) attempt: Attempt,
    /// When the step was taken.
    pub(super) at: Timestamp,
}

/// Resolves with the commit.
pub(super) struct Committing {
    pub(super) completion: Completion,
    pub(super) pending: Option<Box<Pending>>,
}

impl Future for Committing {
    type Output = (Option<Box<Pending>>, Result<(), CommitError>);

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let result = std::task::ready!(std::pin::Pin::new(&mut self.completion).poll(context));
        std::task::Poll::Ready((self.pending.take(), result))
    }
}
