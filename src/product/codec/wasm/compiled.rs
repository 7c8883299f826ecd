//! Machine code of components by the SHA-256 of their source, the last used first. Bounded by number
//! and by size of the sources, to which that of the code is in proportion.

use sha2::{Digest, Sha256};
use wasmtime::component::InstancePre;

use super::instance::Held;

const COUNT_MAX: usize = 64;
const BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) type Hash = [u8; 32];

#[derive(Default)]
pub(super) struct Compiled {
    entries: Vec<(Hash, usize, InstancePre<Held>)>,
}

impl Compiled {
    pub(super) fn hash(source: &[u8]) -> Hash {
        Sha256::digest(source).into()
    }

    pub(super) fn find(&mut self, hash: &Hash) -> Option<InstancePre<Held>> {
        let at = self.entries.iter().position(|(key, ..)| key == hash)?;
        let entry = self.entries.remove(at);
        let ready = entry.2.clone();
        self.entries.insert(0, entry);
        Some(ready)
    }

    /// Drops the longest unused when there is too much; the newest stays.
    pub(super) fn keep(&mut self, hash: Hash, len: usize, ready: InstancePre<Held>) {
        self.entries.retain(|(key, ..)| *key != hash);
        self.entries.insert(0, (hash, len, ready));
        let mut bytes = 0;
        let fitting = self.entries.iter().take_while(|(_, len, _)| {
            bytes += len;
            bytes <= BYTES_MAX
        });
        let kept = fitting.count().clamp(1, COUNT_MAX);
        self.entries.truncate(kept);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }
}
