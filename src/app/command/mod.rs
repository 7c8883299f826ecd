//! Commands to devices: submitted by applications, sent by the device's shard, ended by the device's answer or
//! by time.
//!
//! The states are `engine::command`, whose turn it is `engine::queue`. Here they meet the device's state and
//! the store: `submit` takes a command, `send` sends what is next, `reply` takes what the device says,
//! `transit` makes rows, events and trace of each step,
//! and `converge` sends what a device's shadow lacks. [`Commands`] is what the API calls.

pub mod converge;
mod list;
pub mod load;
pub mod reply;
pub mod send;
mod story;
pub mod submit;
pub mod transit;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::order::{BesideCommand, Order, OrderError, Submit, Told};
use super::shards::ShardsLink;
use super::tasks::Tasks;
use crate::base::ids::{CommandId, DeviceId};
use crate::base::time::Clock;
use crate::store::commands::{CommandRecord, DownlinkKind, Strategy};
use crate::store::{Store, StoreError};

pub use list::{CommandFilter, CommandList};

/// Searches of histories at the same time: each holds a thread.
const SCANS: usize = 4;

/// What an operator sets under `[commands]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Commands that may wait for one device. 1 to 100.
    pub pending_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pending_max: 20 }
    }
}

/// A command as an application asks for it. Lengths and ranges were checked by the caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewCommand {
    pub service_id: String,
    pub command_name: String,
    pub paras: Map<String, Value>,
    pub strategy: Strategy,
    /// In force with `delay`.
    pub expire_time_s: u32,
}

/// What [`Commands`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
    pub shards: ShardsLink,
}

/// The commands of one server.
pub struct Commands {
    parts: Parts,
    scans: Arc<Semaphore>,
}

impl Commands {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            scans: Arc::new(Semaphore::new(SCANS)),
        }
    }

    /// Submits a command. `request_id`: the caller's own name for it; again with the same name, the
    /// same command is given back. Returns it as it was committed: PENDING, SENT, or FAILED when
    /// it was to be sent immediately and can't be. Errors: [`OrderError`].
    pub async fn submit(
        self: &Arc<Self>,
        device_id: &DeviceId,
        new: NewCommand,
        request_id: Option<&str>,
    ) -> Result<CommandRecord, OrderError> {
        let name = request_id.map(name_of);
        self.order(device_id, new, name, BesideCommand::default())
            .await
    }

    /// Submits a command, committed together with other changes or not at all.
    pub async fn submit_beside(
        self: &Arc<Self>,
        device_id: &DeviceId,
        new: NewCommand,
        beside: BesideCommand,
    ) -> Result<CommandRecord, OrderError> {
        self.order(device_id, new, None, beside).await
    }

    async fn order(
        &self,
        device_id: &DeviceId,
        new: NewCommand,
        name: Option<[u8; 16]>,
        beside: BesideCommand,
    ) -> Result<CommandRecord, OrderError> {
        let submit = Submit {
            id: CommandId {
                created_at: self.parts.clock.now(),
                seq: self.parts.store.allocate_seq()?,
            },
            digest: digest_of(&new),
            service_id: new.service_id,
            command_name: new.command_name,
            paras: new.paras,
            strategy: new.strategy,
            expire_time_s: new.expire_time_s,
            name,
            beside,
        };
        let order = Order::Submit(Box::new(submit));
        match self.parts.shards.order(device_id, order).await? {
            Told::Command(record) => Ok(*record),
            Told::Shadow(_) | Told::Replayed => Err(OrderError::Busy),
        }
    }

    /// A command of a device, whatever its state.
    pub fn show(
        &self,
        device_seq: u64,
        id: CommandId,
    ) -> Result<Option<CommandRecord>, StoreError> {
        let found = self.parts.store.command(device_seq, id)?;
        // What the server sends for reasons of its own is nobody's command.
        Ok(found.filter(|record| record.kind == DownlinkKind::Command))
    }
}

fn name_of(request_id: &str) -> [u8; 16] {
    let hash = Sha256::digest(request_id.as_bytes());
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(hash) {
        *to = from;
    }
    name
}

/// Tells a repetition from another command under the same name.
fn digest_of(new: &NewCommand) -> u64 {
    let strategy = match new.strategy {
        Strategy::Immediately => 0u8,
        Strategy::Delay => 1,
    };
    let mut hash = Sha256::new();
    for part in [&new.service_id, &new.command_name] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update([strategy]);
    hash.update(new.expire_time_s.to_be_bytes());
    hash.update(Value::Object(new.paras.clone()).to_string().as_bytes());
    let hash = hash.finalize();
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(hash) {
        *to = from;
    }
    u64::from_be_bytes(first)
}
