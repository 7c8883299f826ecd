//! Server, block1: collects the bodies of requests (RFC 7959 §2.5, §2.9; RFC 9175 §3.3).
//!
//! ```text
//!  block 0 ---------------> Receiving --- block at the next offset, more ---> Receiving
//!  (again: from the start)      |  \----- the same block again: the same answer
//!                               |  \----- any other offset: 4.08, and nothing changes
//!                               +-- the last block ---> Done: body handed out
//!                                      \- the last block again: handed out again
//! ```
//!
//! A transfer is known by its sender, method, path, query and Request-Tags. It ends by its
//! lifetime, by a further transfer of a sender that has too many, and, when done, for want of
//! room. What others send ends none.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Settings;
use crate::wire::coap::{Block, BlockError, Code, Message, option};

/// Bodies in the making.
#[derive(Debug)]
pub struct Uploads<K> {
    settings: Settings,
    senders: HashMap<K, Vec<Transfer>>,
    /// Transfers of all senders.
    count: usize,
    /// Of them, those done.
    done: usize,
    /// Bytes in all bodies.
    bytes: usize,
    /// Nothing expires before.
    sweep_at: Option<Instant>,
    /// When abandoned transfers may be looked for again.
    pressed_until: Option<Instant>,
}

#[derive(Debug)]
struct Transfer {
    /// Method, path, query and tags.
    resource: Box<[u8]>,
    content_format: Option<u16>,
    body: Body,
    /// The newest block.
    last: Block,
    expires_at: Instant,
}

#[derive(Debug)]
enum Body {
    Receiving(Vec<u8>),
    Done(Bytes),
}

impl Body {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Receiving(bytes) => bytes,
            Self::Done(bytes) => bytes,
        }
    }

    const fn is_done(&self) -> bool {
        match self {
            Self::Receiving(_) => false,
            Self::Done(_) => true,
        }
    }
}

/// Under pressure, a transfer lives so long without a new block: two retransmissions of a slow
/// device.
const UNTOUCHED_MAX: Duration = Duration::from_secs(45);

/// What a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// No Block1: the payload is the body.
    Whole,
    /// Answer 2.31 with this Block1.
    Continue(Block),
    /// The body is whole; the final answer carries this Block1. `repeated`: it was handed out
    /// before, and the sender did not get the answer.
    Complete {
        body: Bytes,
        block: Block,
        repeated: bool,
    },
    Refused(Refusal),
}

/// An answer that refuses a block; after 4.13 the transfer is over, else it may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// The Block1 option of the answer.
    pub block: Option<Block>,
    /// The Size1 option of the answer: the bytes that would be taken.
    pub size1: Option<u32>,
}

impl Refusal {
    const fn new(code: Code, block: Block) -> Self {
        Self {
            code,
            block: Some(block),
            size1: None,
        }
    }
}

impl<K: Clone + Eq + Hash> Uploads<K> {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            senders: HashMap::new(),
            count: 0,
            done: 0,
            bytes: 0,
            sweep_at: None,
            pressed_until: None,
        }
    }

    /// Transfers held.
    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a request of `sender`: the identity of its session, else its address.
    pub fn receive(&mut self, now: Instant, sender: &K, request: &Message<'_>) -> Received {
        let block = match request.options.block1() {
            None => return Received::Whole,
            Some(Ok(block)) => block,
            Some(Err(e)) => {
                let code = match e {
                    BlockError::Length { .. } => Code::BAD_OPTION,
                    BlockError::Size | BlockError::Number { .. } => Code::BAD_REQUEST,
                };
                return Received::Refused(Refusal {
                    code,
                    block: None,
                    size1: None,
                });
            }
        };
        self.sweep(now);
        match self.take(now, sender, request, block) {
            Ok(received) => received,
            Err(refusal) => Received::Refused(refusal),
        }
    }

    fn take(
        &mut self,
        now: Instant,
        sender: &K,
        request: &Message<'_>,
        block: Block,
    ) -> Result<Received, Refusal> {
        let resource = resource(request);
        let payload = request.payload;
        if payload.len() > block.size() || (block.more() && payload.len() != block.size()) {
            return Err(Refusal::new(Code::BAD_REQUEST, block));
        }
        let announced = request
            .options
            .size1()
            .and_then(|len| usize::try_from(len).ok());
        let len = (block.offset() + payload.len()).max(announced.unwrap_or(0));
        if len > self.settings.body_max {
            self.remove(sender, &resource);
            let size1 = u32::try_from(self.settings.body_max).ok();
            return Err(Refusal {
                code: Code::REQUEST_ENTITY_TOO_LARGE,
                block: Some(block),
                size1,
            });
        }
        if block.num() == 0 {
            return self.begin(now, sender, resource, request, block);
        }
        self.go_on(now, sender, &resource, request, block)
    }

    /// Block 0: whatever was there of the same key is forgotten.
    fn begin(
        &mut self,
        now: Instant,
        sender: &K,
        resource: Box<[u8]>,
        request: &Message<'_>,
        block: Block,
    ) -> Result<Received, Refusal> {
        self.remove(sender, &resource);
        if !block.more() {
            // Complete at once, and not remembered: an equal one may be a new request.
            let body = Bytes::copy_from_slice(request.payload);
            return Ok(Received::Complete {
                body,
                block,
                repeated: false,
            });
        }
        self.make_room(now, request.payload.len());
        let own = self.senders.get(sender).map_or(0, Vec::len);
        if own >= self.settings.per_sender_max.max(1) {
            self.remove_oldest(sender);
        }
        if self.is_full(request.payload.len(), 1) {
            return Err(Refusal::new(Code::SERVICE_UNAVAILABLE, block));
        }
        let expires_at = now + self.settings.lifetime;
        self.sweep_at = Some(self.sweep_at.map_or(expires_at, |at| at.min(expires_at)));
        self.count += 1;
        self.bytes += request.payload.len();
        self.senders
            .entry(sender.clone())
            .or_default()
            .push(Transfer {
                resource,
                content_format: request.options.content_format(),
                body: Body::Receiving(request.payload.to_vec()),
                last: block,
                expires_at,
            });
        Ok(Received::Continue(self.answer(block)))
    }

    /// A block beyond the first.
    fn go_on(
        &mut self,
        now: Instant,
        sender: &K,
        resource: &[u8],
        request: &Message<'_>,
        block: Block,
    ) -> Result<Received, Refusal> {
        let incomplete = Refusal::new(Code::REQUEST_ENTITY_INCOMPLETE, block);
        let payload = request.payload;
        self.make_room(now, payload.len());
        let full = self.is_full(payload.len(), 0);
        let answer = self.answer(block);
        let transfer = find(&mut self.senders, sender, resource).ok_or(incomplete)?;
        let alike = transfer.content_format == request.options.content_format();
        let repeated = transfer.last == block && transfer.body.as_slice().ends_with(payload);
        let body = match &mut transfer.body {
            Body::Done(body) if repeated && alike => {
                let body = body.clone();
                return Ok(Received::Complete {
                    body,
                    block: answer,
                    repeated: true,
                });
            }
            Body::Receiving(_) if repeated && alike => return Ok(Received::Continue(answer)),
            Body::Receiving(body) if alike && block.offset() == body.len() => body,
            Body::Receiving(_) | Body::Done(_) => return Err(incomplete),
        };
        if full {
            return Err(Refusal::new(Code::SERVICE_UNAVAILABLE, block));
        }
        body.extend_from_slice(payload);
        self.bytes += payload.len();
        transfer.last = block;
        transfer.expires_at = now + self.settings.lifetime;
        if block.more() {
            return Ok(Received::Continue(answer));
        }
        let body = Bytes::from(std::mem::take(body));
        transfer.body = Body::Done(body.clone());
        self.done += 1;
        Ok(Received::Complete {
            body,
            block: answer,
            repeated: false,
        })
    }

    /// The Block1 of an answer: that of the request, with the size that is wanted from now on.
    fn answer(&self, block: Block) -> Block {
        let szx = block.szx().min(self.settings.szx_max);
        Block::new(block.num(), block.more(), szx).unwrap_or(block)
    }

    const fn is_full(&self, bytes: usize, transfers: usize) -> bool {
        self.bytes + bytes > self.settings.bytes_max
            || self.count + transfers > self.settings.total_max
    }

    /// When one more transfer of so many bytes would find no room: forgets what is done, then what
    /// was not touched for a while, so that abandoned ones keep nobody out for their whole
    /// lifetime. Looks at all of them, so at most once a second.
    fn make_room(&mut self, now: Instant, bytes: usize) {
        if self.done > 0 && self.is_full(bytes, 1) {
            self.retain(|transfer| !transfer.body.is_done());
        }
        let may_look = self.pressed_until.is_none_or(|until| now >= until);
        if may_look && self.is_full(bytes, 1) {
            self.pressed_until = Some(now + Duration::from_secs(1));
            let lifetime = self.settings.lifetime;
            self.retain(|transfer| now + lifetime < transfer.expires_at + UNTOUCHED_MAX);
        }
    }

    /// Forgets what is past its lifetime. Called with every block; call it too when none comes.
    pub fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| now >= at) {
            self.retain(|transfer| transfer.expires_at > now);
        }
    }

    /// When [`Uploads::sweep`] is next worth calling.
    pub const fn deadline(&self) -> Option<Instant> {
        self.sweep_at
    }

    fn retain(&mut self, keep: impl Fn(&Transfer) -> bool) {
        (self.count, self.done, self.bytes, self.sweep_at) = (0, 0, 0, None);
        self.senders.retain(|_, transfers| {
            transfers.retain(&keep);
            for transfer in &*transfers {
                self.count += 1;
                self.done += usize::from(transfer.body.is_done());
                self.bytes += transfer.body.as_slice().len();
                let at = transfer.expires_at;
                self.sweep_at = Some(self.sweep_at.map_or(at, |earliest| earliest.min(at)));
            }
            !transfers.is_empty()
        });
    }

    fn remove_oldest(&mut self, sender: &K) {
        let oldest = self
            .senders
            .get(sender)
            .and_then(|transfers| transfers.iter().min_by_key(|transfer| transfer.expires_at))
            .map(|transfer| transfer.resource.clone());
        if let Some(resource) = oldest {
            self.remove(sender, &resource);
        }
    }

    fn remove(&mut self, sender: &K, resource: &[u8]) {
        let Some(transfers) = self.senders.get_mut(sender) else {
            return;
        };
        let Some(at) = transfers
            .iter()
            .position(|transfer| *transfer.resource == *resource)
        else {
            return;
        };
        let transfer = transfers.swap_remove(at);
        self.count -= 1;
        self.done -= usize::from(transfer.body.is_done());
        self.bytes -= transfer.body.as_slice().len();
        if transfers.is_empty() {
            self.senders.remove(sender);
        }
    }
}

fn find<'a, K: Eq + Hash>(
    senders: &'a mut HashMap<K, Vec<Transfer>>,
    sender: &K,
    resource: &[u8],
) -> Option<&'a mut Transfer> {
    let mut transfers = senders.get_mut(sender)?.iter_mut();
    transfers.find(|transfer| *transfer.resource == *resource)
}

/// What tells a sender's transfers apart, as bytes: the method; then number, length and value of
/// each option that counts. An absent Request-Tag is not an empty one.
fn resource(request: &Message<'_>) -> Box<[u8]> {
    let mut key = vec![request.code.to_byte()];
    for option in request.options.iter() {
        if matches!(
            option.number,
            option::URI_PATH | option::URI_QUERY | option::REQUEST_TAG
        ) {
            key.extend_from_slice(&option.number.to_be_bytes());
            key.extend_from_slice(&option.value.len().to_be_bytes());
            key.extend_from_slice(option.value);
        }
    }
    key.into()
}
