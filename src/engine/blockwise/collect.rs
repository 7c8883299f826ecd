//! Client, block2: a response's body, block by block (RFC 7959 §2.4). The blocks must follow one
//! another and carry the same ETag, or the parts would be of different bodies.

use super::{Settings, TransferError};
use crate::wire::coap::{Block, Message};

/// What has come of a body so far.
#[derive(Debug, Clone)]
pub struct Collector {
    body: Vec<u8>,
    /// That of the first block; none is a value too.
    etag: Option<Vec<u8>>,
    body_max: usize,
    szx_max: u8,
}

/// What a response means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collected {
    /// Ask for this block.
    Next(Block),
    /// The body is whole.
    Complete(Vec<u8>),
}

impl Collector {
    pub const fn new(settings: &Settings) -> Self {
        Self {
            body: Vec::new(),
            etag: None,
            body_max: settings.body_max,
            szx_max: settings.szx_max,
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Takes a response of success. After an error, or when the body is complete, it is over.
    pub fn receive(&mut self, response: &Message<'_>) -> Result<Collected, TransferError> {
        let payload = response.payload;
        let block = match response.options.block2() {
            Some(block) => block?,
            // As if it were the whole body: only so at the start.
            None => Block::new(0, false, Block::SZX_MAX)?,
        };
        let expected = self.body.len();
        let got = block.offset();
        if got != expected {
            return Err(TransferError::Gap { expected, got });
        }
        let etag = response.options.etag();
        if expected == 0 {
            self.etag = etag.map(<[u8]>::to_vec);
        } else if self.etag.as_deref() != etag {
            return Err(TransferError::Changed);
        }
        let (len, size) = (payload.len(), block.size());
        let whole = response.options.block2().is_none();
        if !whole && (len > size || (block.more() && len != size)) {
            return Err(TransferError::Length { len, size });
        }
        let announced = response
            .options
            .size2()
            .and_then(|len| usize::try_from(len).ok());
        let len = (expected + len).max(announced.unwrap_or(0));
        if len > self.body_max {
            return Err(TransferError::TooLarge {
                len,
                max: self.body_max,
            });
        }
        self.body.extend_from_slice(payload);
        if !block.more() {
            return Ok(Collected::Complete(std::mem::take(&mut self.body)));
        }
        self.next(block.szx()).map(Collected::Next)
    }

    /// The block after what is here, no larger than the sender's last ones.
    fn next(&self, szx: u8) -> Result<Block, TransferError> {
        let szx = szx.min(self.szx_max);
        let len = self.body.len();
        let size = 16 << szx;
        let error = TransferError::TooLarge {
            len,
            max: (Block::NUM_MAX as usize + 1) * size,
        };
        let num = u32::try_from(len / size).map_err(|_| error)?;
        Block::new(num, false, szx).map_err(|_| error)
    }
}
