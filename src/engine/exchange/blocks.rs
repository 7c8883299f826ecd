//! Blockwise transfers (RFC 7959) on top of single exchanges, in both roles.

use std::time::Instant;

use bytes::Bytes;

use super::Exchange;
use super::peer::{Pending, Queued, Transfer, Waiting};
use super::types::{
    Event, Failure, Incoming, Outputs, Part, Push, ReplyId, Request, Response, Resume, Settle,
    Timing,
};
use crate::engine::blockwise::{
    Collected, Collector, Received, Refusal, Sender, Sent, Settings, TransferError, etag, slice,
};
use crate::wire::coap::{Block, Builder, Code, Message, Token, Type, option};

/// What a request's blocks came to.
pub(super) enum Upload {
    /// It has no blocks.
    Whole,
    Complete {
        body: Bytes,
        repeated: bool,
    },
    /// More is to come, or it was refused: answered here.
    Answered,
}

/// The answer to a request, with type and message id: confirms its last block, and carries the
/// part of the body that was asked for.
pub(super) fn answer(head: (Type, u16), pending: &Pending, response: &Response) -> Builder {
    let (ty, msg_id) = head;
    if let Some(Part { block, etag }) = response.part {
        let builder = begin(head, pending, response).block2(block);
        return builder
            .option(option::ETAG, &etag)
            .payload(&response.payload);
    }
    let Ok((part, block)) = slice(&response.payload, pending.block2, Block::SZX_MAX) else {
        return Builder::new(ty, Code::BAD_REQUEST, msg_id, pending.token);
    };
    let mut builder = begin(head, pending, response);
    if let Some(block) = block {
        // Parts of different bodies must not be put together.
        builder = builder
            .block2(block)
            .option(option::ETAG, &etag(&response.payload));
    }
    builder.payload(part)
}

/// The answer but for its payload.
fn begin((ty, msg_id): (Type, u16), pending: &Pending, response: &Response) -> Builder {
    let mut builder = Builder::new(ty, response.code, msg_id, pending.token);
    for (number, value) in &response.options {
        builder = builder.option(*number, value);
    }
    match pending.block1 {
        Some(block) => builder.block1(block),
        None => builder,
    }
}

impl Exchange {
    /// Collects a request's body.
    pub(super) fn collect_upload(
        &mut self,
        now: Instant,
        id: ReplyId,
        datagram: &Bytes,
        out: &mut Outputs,
    ) -> Upload {
        let Ok(message) = Message::parse(datagram) else {
            return Upload::Answered;
        };
        let (code, block, size1) = match self.uploads.receive(now, &id.peer, &message) {
            Received::Whole => return Upload::Whole,
            Received::Complete { body, repeated, .. } => {
                return Upload::Complete { body, repeated };
            }
            Received::Continue(block) => (Code::CONTINUE, Some(block), None),
            Received::Refused(Refusal { code, block, size1 }) => (code, block, size1),
        };
        self.confirm_block(id, block);
        let options = size1.map(|size| {
            (
                option::SIZE1,
                option::Uint::new(u64::from(size)).as_bytes().to_vec(),
            )
        });
        // Not remembered for strangers: the newest block is known to the transfer itself, and
        // older ones come late only where a network reorders.
        let known = self
            .peers
            .get(&id.peer)
            .is_some_and(|peer| peer.forget_armed);
        let remember = known.then(|| Timing::default().max_transmit_span());
        let options = options.into_iter().collect();
        let response = Response {
            options,
            remember,
            ..Response::refusal(code)
        };
        self.respond(now, id, response, out);
        Upload::Answered
    }

    /// Goes on with a request of ours after an answer, or reports its end. `settle`: the answer
    /// waits for an acknowledgement.
    pub(super) fn continue_transfer(
        &mut self,
        now: Instant,
        mut transfer: Box<Transfer>,
        settle: Option<ReplyId>,
        answer: Incoming,
        out: &mut Outputs,
    ) {
        let mark = answer.mark;
        let (peer, token) = (transfer.request.peer, transfer.request.token);
        let acknowledge = |this: &mut Self, out: &mut Outputs| {
            if let Some(id) = settle {
                this.settle(now, id, Settle::Acknowledge, None, out);
            }
        };
        match transfer.answered(answer) {
            Ok(Progress::Next) => {
                acknowledge(self, out);
                if transfer.request.push.is_some() && transfer.asking.is_none() {
                    out.events.push(Event::Sent {
                        peer,
                        token,
                        done: transfer.sender.offset(),
                        total: transfer.sender.len(),
                    });
                }
                let serial = self.next_serial();
                if let Some(known) = self.peers.get_mut(&peer) {
                    // Ahead of what waits: a transfer is one exchange to the device.
                    let what = Queued::Request(transfer);
                    known.waiting.push_front(Waiting { serial, what });
                }
                self.next_turn(now, peer, out);
            }
            Ok(Progress::Done(message)) => {
                let settle = match (transfer.settle, settle) {
                    (Some(notification), _) => {
                        acknowledge(self, out);
                        Some(notification)
                    }
                    (None, settle) => settle,
                };
                let solicited = transfer.request.resume.is_none();
                out.events.push(Event::Response {
                    peer,
                    token,
                    settle,
                    solicited,
                    message,
                });
            }
            Err(_) => {
                acknowledge(self, out);
                self.fail(now, transfer, Failure::Blockwise, mark, out);
            }
        }
    }
}

/// What an answer leads to.
enum Progress {
    /// Send [`Transfer::datagram`].
    Next,
    /// The answer to the whole request.
    Done(Incoming),
}

impl Transfer {
    /// Error: a body to go on with does not go on; what waits for it comes back.
    pub(super) fn new(mut request: Request) -> Result<Self, Option<ReplyId>> {
        let settings = Settings::default();
        let payload = request.payload.clone();
        let sender = match request.push {
            Some(Push { from, szx }) => Sender::new(payload, szx).starting_at(from),
            None => Sender::new(payload, settings.szx_max),
        };
        let mut collector = Collector::new(&settings);
        let mut asking = None;
        let (mut first, mut settle) = (None, None);
        if let Some(Resume {
            first: part,
            settle: id,
        }) = &mut request.resume
        {
            settle = id.take();
            let received = part.message().map(|message| collector.receive(&message));
            let Some(Ok(Collected::Next(block))) = received else {
                return Err(settle);
            };
            asking = Some(block);
            first = Some(part.clone());
        }
        Ok(Self {
            request,
            sender,
            collector,
            asking,
            first,
            settle,
        })
    }

    /// Of the next datagram.
    pub(super) fn token(&self) -> Token {
        match self.asking {
            Some(_) => self.request.body_token,
            None => self.request.token,
        }
    }

    /// Nothing of the body follows the present block.
    pub(super) fn is_last(&self) -> bool {
        let more = |(block, _): (Option<Block>, &[u8])| block.is_some_and(Block::more);
        self.asking.is_some() || !self.sender.current().is_ok_and(more)
    }

    /// The device can't know it before it has the request: that of an observation is always the
    /// same.
    pub(super) fn has_fresh_token(&self) -> bool {
        let observes = |(number, _): &(u16, Vec<u8>)| *number == option::OBSERVE;
        self.asking.is_some() || !self.request.options.iter().any(observes)
    }

    fn answered(&mut self, answer: Incoming) -> Result<Progress, TransferError> {
        let Ok(message) = Message::parse(&answer.datagram) else {
            return Err(TransferError::Unexpected(Code::EMPTY));
        };
        if self.asking.is_none() {
            let block1 = message.options.block1().transpose()?;
            let sent = self
                .sender
                .answered(message.code, block1, message.options.size1())?;
            if sent == Sent::Next {
                return Ok(Progress::Next);
            }
        }
        let in_parts = self.asking.is_some() || message.options.block2().is_some();
        if !in_parts {
            return Ok(Progress::Done(answer));
        }
        if !message.code.is_success() {
            // An error to the first request is an answer; in the middle it ends the body.
            return match self.asking {
                None => Ok(Progress::Done(answer)),
                Some(_) => Err(TransferError::Unexpected(message.code)),
            };
        }
        match self.collector.receive(&message)? {
            Collected::Next(block) => {
                self.asking = Some(block);
                self.first.get_or_insert(answer);
                Ok(Progress::Next)
            }
            Collected::Complete(body) => {
                let mark = answer.mark;
                let mut whole = self.first.take().unwrap_or(answer);
                whole.body = Some(body.into());
                whole.mark = mark;
                Ok(Progress::Done(whole))
            }
        }
    }

    /// The datagram for the present block, or the whole request. `None`: the body is too long.
    pub(super) fn datagram(&self, msg_id: u16) -> Option<Bytes> {
        let Request { code, options, .. } = &self.request;
        let mut builder = Builder::new(Type::Confirmable, *code, msg_id, self.token());
        for (number, value) in options {
            // The rest of a body is asked for without observing again (RFC 7959 §3.4).
            if *number != option::OBSERVE || self.asking.is_none() {
                builder = builder.option(*number, value);
            }
        }
        if let Some(block) = self.asking {
            return Some(builder.block2(block).build().into());
        }
        let (block, payload) = self.sender.current().ok()?;
        if let Some(block) = block {
            builder = builder.block1(block);
            if block.num() == 0 {
                builder = builder.uint_option(option::SIZE1, self.sender.len() as u64);
            }
        }
        Some(builder.payload(payload).build().into())
    }
}
