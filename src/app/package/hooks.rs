//! What others tell the service of packages, and hear from it. Both are set by those who run
//! upgrades; until then nothing is in use and nobody listens.

use crate::base::ids::{DeviceId, PackageId, TaskId};
use crate::base::peer::Peer;

/// Who uses a package.
pub trait InUse: Send + Sync + 'static {
    /// A running task that uses it.
    fn task_of(&self, package: &PackageId) -> Option<TaskId>;
}

/// Hears of what devices get by CoAP. Called for every block, where all datagrams pass: it must not
/// block.
pub trait Progress: Send + Sync + 'static {
    /// A device fetched a block.
    fn block(&self, block: &ServedBlock<'_>);

    /// A device took a block that was written to it: `done` bytes of `total` now, fewer than before if it
    /// begins anew.
    fn pushed(&self, device_id: &DeviceId, done: u64, total: u64);
}

/// A block that was answered. Repetitions are told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedBlock<'a> {
    pub device_id: &'a DeviceId,
    pub peer: Peer,
    pub package_id: &'a PackageId,
    pub offset: u64,
    pub len: u32,
    /// Bytes of the whole file.
    pub total: u64,
}
