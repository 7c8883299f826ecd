//! A call that waits for its answer.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::product::codec::CodecError;
use crate::product::codec::call::{Call, Outside};
use crate::product::codec::frames::{Done, Outcome};

/// What came of a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) micros: u64,
    pub(super) heap_bytes: u64,
}

impl From<Done> for Answer {
    fn from(done: Done) -> Self {
        Self {
            outcome: done.outcome,
            micros: done.micros,
            heap_bytes: done.heap_bytes,
        }
    }
}

impl From<CodecError> for Answer {
    fn from(error: CodecError) -> Self {
        Self {
            outcome: Outcome::Reply(Err(error)),
            micros: 0,
            heap_bytes: 0,
        }
    }
}

/// One call, or the wish to load a codec and no more.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) codec: Outside,
    pub(super) call: Option<Call>,
    /// Workers that somebody outside ended while they did this.
    pub(super) deaths: u8,
    pub(super) reply: oneshot::Sender<Answer>,
    /// Its place among all that wait.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Request {
    /// Nobody may wait any more, which is no harm.
    pub(super) fn answer(self, answer: impl Into<Answer>) {
        drop(self.reply.send(answer.into()));
    }
}

/// An error that says why the codec does not run.
pub(super) fn unavailable(reason: impl Into<String>) -> CodecError {
    let reason = reason.into();
    CodecError::Unavailable { reason }
}
