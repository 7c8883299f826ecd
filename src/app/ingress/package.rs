//! Files of packages by block: `GET /fw/<path>` on the sessions that devices already have (RFC 7959
//! §2.4).
//!
//! Any block of any size, at any time and again: nothing is remembered, so a download goes on after a sleep, a
//! new address or a restart of the server. Every answer has Block2 and the ETag of the file, also when one
//! block holds all of it.
//!
//! | code | why |
//! |---|---|
//! | 2.05 | the block |
//! | 4.00 | Block2 can't be read, or begins behind the end |
//! | 4.03 | no device is behind the peer, it is frozen, or it is of another product |
//! | 4.04 | no package has this path |
//! | 4.05 | another method than GET |
//! | 5.03 | the file or the store can't be read now |

use std::time::Duration;

use super::answer::{explain, unavailable};
use super::{Ingress, Routed};
use crate::app::package::ServedBlock;
use crate::base::ids::DeviceId;
use crate::base::peer::Peer;
use crate::engine::blockwise::window;
use crate::engine::exchange::{Part, Response};
use crate::store::StoreError;
use crate::store::packages::{PackageFile, PackageRecord};
use crate::store::records::DeviceRecord;
use crate::wire::coap::{Block, Code, Message};

impl Ingress {
    /// The block that a device asks for.
    pub(super) fn package_block(&self, path: &str, peer: Peer, message: &Message<'_>) -> Routed {
        let device = match self.device_at(peer) {
            Ok(Some(device)) if !device.frozen => device,
            Ok(_) => return Routed::Answer(Response::refusal(Code::FORBIDDEN)),
            Err(error) => return unavailable(&error),
        };
        // Some clients leave a query on the last segment.
        let path = path.split('?').next().unwrap_or_default();
        let Some(package) = self.packages.by_path(path) else {
            return Routed::Answer(Response::refusal(Code::NOT_FOUND));
        };
        let Some(file) = package.file else {
            return Routed::Answer(Response::refusal(Code::NOT_FOUND));
        };
        if package.product_id != device.product_id {
            return Routed::Answer(Response::refusal(Code::FORBIDDEN));
        }
        let asked = match message.options.block2() {
            None => None,
            Some(Ok(block)) => Some(block),
            Some(Err(error)) => return explain(Code::BAD_REQUEST, &error.to_string()),
        };
        self.cut(&package, file, &device.device_id, peer, asked)
    }

    fn cut(
        &self,
        package: &PackageRecord,
        file: PackageFile,
        device_id: &DeviceId,
        peer: Peer,
        asked: Option<Block>,
    ) -> Routed {
        let szx = szx_of(self.packages.settings().coap_block);
        // Who names no size gets the usual one; who does, any up to 1024.
        let szx_max = asked.map_or(szx, |_| Block::SZX_MAX);
        let len = usize::try_from(file.size).unwrap_or(usize::MAX);
        // Words of a refusal would be cut at the block that is asked for.
        let Ok(found) = window(len, asked, szx_max) else {
            return Routed::Answer(Response::refusal(Code::BAD_REQUEST));
        };
        let Ok(block) = found.block.map_or_else(|| Block::new(0, false, szx), Ok) else {
            return Routed::Answer(Response::refusal(Code::BAD_REQUEST));
        };
        let offset = u64::try_from(found.range.start).unwrap_or(u64::MAX);
        let read = self.packages.shelf().open(file);
        let read = read.and_then(|volume| Ok((volume.read(offset, found.range.len())?, volume)));
        let (payload, volume) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, package_id = %package.package_id, "a block can't be read");
                return Routed::Answer(Response::refusal(Code::SERVICE_UNAVAILABLE));
            }
        };
        self.figures.package_blocks.increment(1);
        self.figures.package_bytes.increment(payload.len() as u64);
        if let Some(progress) = self.packages.progress() {
            progress.block(&ServedBlock {
                device_id,
                peer,
                package_id: &package.package_id,
                offset,
                len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
                total: file.size,
            });
        }
        Routed::Serve(Response {
            payload,
            part: Some(Part {
                block,
                etag: volume.etag(),
            }),
            // A repetition is answered anew: the answer costs less than its memory.
            remember: Some(Duration::ZERO),
            ..Response::refusal(Code::CONTENT)
        })
    }

    /// The device behind a peer: by its DTLS identity, or by its registration.
    fn device_at(&self, peer: Peer) -> Result<Option<DeviceRecord>, StoreError> {
        match self.by_peer(peer)? {
            Some(device_id) => self.store.device(&device_id),
            None => Ok(None),
        }
    }
}

/// The exponent of a block size.
const fn szx_of(size: u32) -> u8 {
    let mut szx = 0;
    while szx < Block::SZX_MAX && (16 << szx) < size {
        szx += 1;
    }
    szx
}

#[cfg(test)]
mod tests {
    use super::szx_of;

    #[test]
    fn exponents_of_sizes() {
        let sizes = [0, 16, 32, 512, 1024, 4096].map(szx_of);
        assert_eq!(sizes, [0, 0, 1, 5, 6, 6]);
    }
}
