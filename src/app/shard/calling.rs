//! Calls on codecs that run elsewhere, and the steps that wait for them.
//!
//! A step is a plain function and waits for nothing. It gets a [`Memo`] in the codec's place, which answers
//! what is known; when it was asked for more, the step is void, the call is made, and the input
//! begins again with the answer:
//!
//! ```text
//! begin -> load -> step -> memo asked? -- no --> commit
//!   ^                           | yes: the device's line is held
//!   '------ answer known <--- call
//! ```
//!
//! The time of the first try stays the time of the input: it is part of a call, and a call is
//! recognised by all its parts. Answers belong to one codec: when the product has another one meanwhile,
//! they are void, and the new one is asked from the start; so no input is read by two codecs. What fails as
//! unavailable is an answer, too: the uplink is kept raw and the command fails, with the reason.
//!
//! Bounds: rounds of one input with one codec, calls under way of one codec and in all; beyond them an input is refused
//! as overload, as behind a full line. Calls end by themselves: who performs them has a watchdog.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hashbrown::HashMap;

use super::Shard;
use crate::app::order::OrderError;
use crate::app::product::ProductRuntime;
use crate::app::product::rates::Sort;
use crate::app::step::{Input, Loaded};
use crate::base::ids::DeviceId;
use crate::base::time::{Clock, Timestamp};
use crate::product::codec::CodecError;
use crate::product::codec::call::{Call, Known, Memo, Outside, Reply};

/// Calls of one codec for one input. A report takes two, each command that goes with it one; property sets of a script
/// that can't combine them one for each property.
const ROUNDS_MAX: u8 = 100;
/// Calls of one shard under way.
const CALLS_MAX: usize = 4096;
/// Of these, for one codec: a slow one leaves room for the others.
const CALLS_PER_CODEC_MAX: usize = 1024;

/// What earlier tries of an input leave for the next.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Commits that met a conflict.
    pub(super) tries: u8,
    /// What was asked so far; nothing for codecs that run here.
    asked: Option<Box<Asked>>,
}

#[derive(Debug)]
struct Asked {
    /// The codec that gave the answers.
    tag: Arc<str>,
    known: Vec<Known>,
    rounds: u8,
    /// When the input was first tried.
    at: Timestamp,
}

/// A call to be made.
pub(super) struct Asking {
    call: Call,
    codec: Outside,
    product: Arc<ProductRuntime>,
}

/// A call that was made, with what waits for it.
pub(super) struct Called {
    device_id: DeviceId,
    input: Input,
    attempt: Attempt,
    tag: Arc<str>,
    call: Call,
    reply: Result<Reply, CodecError>,
}

/// The calls under way.
#[derive(Default)]
pub(super) struct Calls {
    running: FuturesUnordered<BoxFuture<'static, Box<Called>>>,
    /// By the codec's tag.
    counts: HashMap<Arc<str>, usize>,
}

impl Attempt {
    /// The time of the input.
    pub(super) fn time(&self, clock: &Clock) -> Timestamp {
        self.asked.as_ref().map_or_else(|| clock.now(), |a| a.at)
    }

    /// Nothing came of the input so far.
    pub(super) const fn is_first(&self) -> bool {
        self.tries == 0 && self.asked.is_none()
    }

    /// What stands for the product's codec, if that runs elsewhere.
    pub(super) fn memo(&mut self, loaded: &Loaded) -> Option<Memo> {
        let outside = outside_of(loaded)?;
        let known = match &mut self.asked {
            Some(asked) if asked.tag == outside.tag => std::mem::take(&mut asked.known),
            Some(_) | None => Vec::new(),
        };
        Some(Memo::new(known))
    }

    /// Takes the memo back. What the step asked for and is not known: the step is void, then.
    pub(super) fn asks(&mut self, loaded: &mut Loaded, now: Timestamp) -> Option<Asking> {
        let memo = loaded.memo.take()?;
        let call = memo.asked();
        let (codec, product) = (outside_of(loaded)?.clone(), loaded.product.clone()?);
        if call.is_none() && self.asked.is_none() {
            return None;
        }
        let asked = self.asked.get_or_insert_with(|| {
            Box::new(Asked {
                tag: Arc::clone(&codec.tag),
                known: Vec::new(),
                rounds: 0,
                at: now,
            })
        });
        if asked.tag != codec.tag {
            asked.tag = Arc::clone(&codec.tag);
            asked.rounds = 0;
        }
        asked.known = memo.into_known();
        let call = call?;
        if asked.rounds >= ROUNDS_MAX {
            let device_id = &loaded.device.device_id;
            tracing::warn!(%device_id, "one input asks its codec over {ROUNDS_MAX} times");
            return None;
        }
        asked.rounds += 1;
        Some(Asking {
            call,
            codec,
            product,
        })
    }
}

/// The product's codec, if it runs elsewhere.
fn outside_of(loaded: &Loaded) -> Option<&Outside> {
    loaded.product.as_deref()?.codec.as_deref()?.outside()
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next that has ended; `None` when none is under way.
    pub(super) async fn next(&mut self) -> Option<Box<Called>> {
        let called = self.running.next().await?;
        if let Some(count) = self.counts.get_mut(&called.tag) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&called.tag);
            }
        }
        Some(called)
    }

    fn has_room(&self, codec: &Outside) -> bool {
        let own = self.counts.get(&codec.tag).copied().unwrap_or_default();
        self.running.len() < CALLS_MAX && own < CALLS_PER_CODEC_MAX
    }

    fn push(&mut self, tag: &Arc<str>, call: BoxFuture<'static, Box<Called>>) {
        *self.counts.entry(Arc::clone(tag)).or_default() += 1;
        self.running.push(call);
    }
}

impl Shard {
    /// Makes the call that the void step asked for.
    pub(super) async fn ask(
        &mut self,
        device_id: DeviceId,
        input: Input,
        attempt: Attempt,
        asking: Asking,
    ) {
        let Asking {
            call,
            codec,
            product,
        } = asking;
        if !self.calls.has_room(&codec) {
            self.parts.figures.overloaded.increment(1);
            self.again(&device_id, &input);
            self.refuse_for_now(&input, OrderError::Busy).await;
            return;
        }
        self.lines.entry(device_id.clone()).or_default();
        let (codecs, clock) = (Arc::clone(&self.parts.codecs), self.parts.clock.clone());
        let tag = Arc::clone(&codec.tag);
        let calling = async move {
            let began = clock.instant();
            let reply = codecs.call(&codec, call.clone()).await;
            let took = clock.instant().saturating_duration_since(began);
            count(&product, &call, &reply, took);
            Box::new(Called {
                device_id,
                input,
                attempt,
                tag: codec.tag,
                call,
                reply,
            })
        };
        self.calls.push(&tag, Box::pin(calling));
    }

    /// A call ended: the input begins again, then the next in line.
    pub(super) async fn called(&mut self, called: Box<Called>) {
        let Called {
            device_id,
            input,
            mut attempt,
            tag,
            call,
            reply,
        } = *called;
        let line = self.lines.remove(&device_id).unwrap_or_default();
        if let Some(asked) = attempt.asked.as_mut().filter(|asked| asked.tag == tag) {
            asked.known.push((call, reply));
        }
        self.begin(device_id.clone(), input, attempt).await;
        self.resume(device_id, line).await;
    }
}

fn count(product: &ProductRuntime, call: &Call, reply: &Result<Reply, CodecError>, took: Duration) {
    let sort = match call {
        Call::Decode { .. } => Sort::Decode,
        Call::Encode { .. } => Sort::Encode,
        Call::EncodeProperties { .. } => Sort::Set,
        Call::Answer { .. } => Sort::Answer,
        Call::DecodeDownlink { .. } => return,
    };
    product.rates.count(sort, reply.as_ref().err(), took);
}
