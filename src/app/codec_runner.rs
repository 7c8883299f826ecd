//! Who runs codecs that have code of their own: the pool of worker processes, and in tests whatever tells
//! when a call ends.

use futures_util::future::BoxFuture;

use super::codec_pool::{CodecPool, Quarantine};
use crate::product::codec::call::{Call, Outside, Reply};
use crate::product::codec::{CodecError, LoadError};

/// Runs codecs that can't be called in place.
pub trait CodecRunner: Send + Sync {
    /// Performs a call where the codec runs; ends within a bounded time. Errors: those of the codec; `limit` when it was ended;
    /// `unavailable` when it is quarantined or too much waits.
    fn call<'a>(
        &'a self,
        codec: &'a Outside,
        call: Call,
    ) -> BoxFuture<'a, Result<Reply, CodecError>>;

    /// Loads a codec and gives every mistake. It runs its top level.
    fn check<'a>(&'a self, codec: &'a Outside) -> BoxFuture<'a, Result<(), Vec<LoadError>>>;

    /// Whether a codec is quarantined: since when, and why.
    fn quarantined(&self, codec: &Outside) -> Option<Quarantine>;

    /// Lets a quarantined codec run again.
    fn release(&self, codec: &Outside);
}

impl CodecRunner for CodecPool {
    fn call<'a>(
        &'a self,
        codec: &'a Outside,
        call: Call,
    ) -> BoxFuture<'a, Result<Reply, CodecError>> {
        Box::pin(self.call(codec, call))
    }

    fn check<'a>(&'a self, codec: &'a Outside) -> BoxFuture<'a, Result<(), Vec<LoadError>>> {
        Box::pin(self.check(codec))
    }

    fn quarantined(&self, codec: &Outside) -> Option<Quarantine> {
        self.quarantined(codec)
    }

    fn release(&self, codec: &Outside) {
        self.release(codec);
    }
}
