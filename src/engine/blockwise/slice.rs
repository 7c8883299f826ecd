//! Server, block2: which part of a body a request gets (RFC 7959 §2.4). Blocks may be asked for
//! in any order and again, so nothing is remembered; that the body stayed the same is for the
//! client to see, by the ETag.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::wire::coap::Block;

/// The part of a body that answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Bytes of the body.
    pub range: Range<usize>,
    /// The Block2 option of the answer. None when none was asked for and the body fits.
    pub block: Option<Block>,
}

/// The block asked for begins beyond the body's end: 4.00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("block at offset {offset} of a body of {len} bytes")]
pub struct PastEnd {
    pub offset: usize,
    pub len: usize,
}

impl PastEnd {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        "past_end"
    }
}

/// What part of a body of `len` bytes answers `asked`, the request's Block2, in blocks of at most
/// the exponent `szx_max`. The body itself may lie on disk.
pub fn window(len: usize, asked: Option<Block>, szx_max: u8) -> Result<Window, PastEnd> {
    let szx_max = szx_max.min(Block::SZX_MAX);
    let (offset, szx) = match asked {
        Some(block) => (block.offset(), block.szx().min(szx_max)),
        None => (0, szx_max),
    };
    let past_end = PastEnd { offset, len };
    if offset >= len && offset > 0 {
        return Err(past_end);
    }
    let size = 16 << szx;
    let end = len.min(offset + size);
    if asked.is_none() && end == len {
        return Ok(Window {
            range: 0..len,
            block: None,
        });
    }
    // In smaller blocks than asked for, the offset may lie beyond the last number.
    let num = u32::try_from(offset / size).map_err(|_| past_end)?;
    let block = Block::new(num, end < len, szx).map_err(|_| past_end)?;
    Ok(Window {
        range: offset..end,
        block: Some(block),
    })
}

/// The same for a body in memory: the payload and the Block2 option of the answer.
pub fn slice(
    body: &[u8],
    asked: Option<Block>,
    szx_max: u8,
) -> Result<(&[u8], Option<Block>), PastEnd> {
    let Window { range, block } = window(body.len(), asked, szx_max)?;
    Ok((body.get(range).unwrap_or_default(), block))
}

/// An ETag of a body: the same for the same bytes, also after a restart.
pub fn etag(body: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(body);
    let mut tag = [0; 8];
    for (to, from) in tag.iter_mut().zip(digest) {
        *to = from;
    }
    tag
}
