//! What others tell the service of packages, and hear from it. Both are set once, by those who run
//! upgrades; until then nothing is in use and nobody listens.

use crate::base::ids::{DeviceId, PackageId, TaskId};
use crate::base::peer::Peer;

/// Who uses a package.
pub trait InUse: Send + Sync + 'static {
    /// A running task that uses it.
    fn task_of(&self, package: &PackageId) -> Option<TaskId>;
}

/// Hears of what devices fetch by CoAP. Called for every block, where all datagrams pass: it must not
/// block.
pub trait Progress: Send + Sync + 'static {
    fn block(&self, block: &ServedBlock<'_>);
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
