//! Client, block1: a request's body, block by block (RFC 7959 §2.3, §2.5, §2.9).
//!
//! ```text
//!  current() -> send -> answered(2.31) -> current() -> … -> answered(final code): Done
//!                       4.13: from the start, in smaller blocks
//!                       4.08: from the start; the receiver lost what it had
//! ```

use bytes::Bytes;

use super::TransferError;
use crate::wire::coap::{Block, Code};

/// How often a body is sent again from its start after 4.08.
const RESTARTS_MAX: u8 = 2;

/// A body on its way.
#[derive(Debug, Clone)]
pub struct Sender {
    body: Bytes,
    szx: u8,
    /// Where the block that is being sent begins.
    offset: usize,
    /// Whether Block1 is written although the body would fit: the receiver refused it whole.
    forced: bool,
    restarts: u8,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Send [`Sender::current`] now.
    Next,
    /// The transfer is over, and the answer is that to the whole request.
    Done,
}

impl Sender {
    /// `szx` is the exponent of the first block's size, at most 6.
    pub fn new(body: Bytes, szx: u8) -> Self {
        let szx = szx.min(Block::SZX_MAX);
        Self {
            body,
            szx,
            offset: 0,
            forced: false,
            restarts: 0,
        }
    }

    /// The body from `offset` on: the receiver has what is before. From the start, if no block can
    /// begin there. Errors of a receiver that has not: 4.08, and it is sent from the start.
    pub fn starting_at(self, offset: usize) -> Self {
        let fits = |szx: &u8| offset.is_multiple_of(16 << szx);
        let szx = (0..=self.szx).rev().find(fits);
        match szx {
            Some(szx) if offset > 0 && offset < self.body.len() => Self {
                offset,
                szx,
                forced: true,
                ..self
            },
            _ => self,
        }
    }

    /// Bytes before the block that is being sent.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    const fn size(&self) -> usize {
        16 << self.szx
    }

    /// Block1 (none when the body fits into one message) and payload of the request to send.
    pub fn current(&self) -> Result<(Option<Block>, &[u8]), TransferError> {
        let end = self.end();
        let payload = self.body.get(self.offset..end).unwrap_or_default();
        if self.body.len() <= self.size() && !self.forced {
            return Ok((None, payload));
        }
        let too_large = TransferError::TooLarge {
            len: self.body.len(),
            max: (Block::NUM_MAX as usize + 1) * self.size(),
        };
        let num = u32::try_from(self.offset / self.size()).map_err(|_| too_large)?;
        let block = Block::new(num, end < self.body.len(), self.szx).map_err(|_| too_large)?;
        Ok((Some(block), payload))
    }

    /// Bytes in the whole body, for the Size1 option of the first block.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    fn end(&self) -> usize {
        self.body.len().min(self.offset + self.size())
    }

    /// Takes the answer to the request that [`Sender::current`] gave: its code, Block1 and Size1.
    pub fn answered(
        &mut self,
        code: Code,
        block: Option<Block>,
        size1: Option<u32>,
    ) -> Result<Sent, TransferError> {
        match code {
            Code::REQUEST_ENTITY_TOO_LARGE => self.shrink(block, size1),
            Code::REQUEST_ENTITY_INCOMPLETE => self.restart(block),
            code if code.is_success() => self.advance(code, block),
            _ => Ok(Sent::Done),
        }
    }

    fn advance(&mut self, code: Code, block: Option<Block>) -> Result<Sent, TransferError> {
        let (current, _) = self.current()?;
        let more = current.is_some_and(Block::more);
        if !more {
            // 2.31 to the last block: the receiver waits for what does not exist.
            return match code {
                Code::CONTINUE => Err(TransferError::Unexpected(code)),
                _ => Ok(Sent::Done),
            };
        }
        match block {
            // The receiver's size is what it wants from now on; the number is that of the request.
            Some(block) if current.is_some_and(|current| current.num() == block.num()) => {
                self.offset = self.end();
                self.szx = self.szx.min(block.szx());
            }
            Some(block) => {
                let got = block.offset();
                return Err(TransferError::Gap {
                    expected: self.offset,
                    got,
                });
            }
            None if code == Code::CONTINUE => self.offset = self.end(),
            // A final answer to a part: the receiver took the part for the whole.
            None => return Err(TransferError::Unexpected(code)),
        }
        Ok(Sent::Next)
    }

    /// From the start, in blocks smaller than those refused.
    fn shrink(&mut self, block: Option<Block>, size1: Option<u32>) -> Result<Sent, TransferError> {
        let len = self.body.len();
        if let Some(max) = size1.and_then(|max| usize::try_from(max).ok())
            && max < len
            && block.is_none_or(|block| block.szx() >= self.szx)
        {
            return Err(TransferError::TooLarge { len, max });
        }
        let smaller = match block {
            Some(block) if block.szx() < self.szx => Some(block.szx()),
            // Blocks that hold the body whole would be no smaller.
            _ => self
                .szx
                .checked_sub(1)
                .map(|szx| szx.min(Block::szx_for(len.saturating_sub(1)))),
        };
        self.szx = smaller.ok_or(TransferError::Refused(Code::REQUEST_ENTITY_TOO_LARGE))?;
        self.offset = 0;
        self.forced = true;
        Ok(Sent::Next)
    }

    fn restart(&mut self, block: Option<Block>) -> Result<Sent, TransferError> {
        if self.restarts == RESTARTS_MAX {
            return Err(TransferError::Refused(Code::REQUEST_ENTITY_INCOMPLETE));
        }
        self.restarts += 1;
        self.offset = 0;
        self.szx = block.map_or(self.szx, |block| block.szx().min(self.szx));
        Ok(Sent::Next)
    }
}
