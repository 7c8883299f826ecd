//! What an application asks of a device's shard, and how it is answered: through a [`Ticket`], once it is
//! durable. The shard alone writes what the device's state holds, so that nobody overtakes anybody.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::upgrading::{Began, UpgradeOrder};
use crate::base::ids::CommandId;
use crate::base::time::Timestamp;
use crate::product::check::Violation;
use crate::product::codec::{Response, ServiceReport};
use crate::store::commands::{CommandRecord, Strategy};
use crate::store::records::{RawRecord, ShadowRecord};
use crate::store::{Change, Guard, HistoryKey, StoreError};

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Order {
    /// A command goes down.
    Submit(Box<Submit>),
    /// The desired half of the shadow changes.
    Desire(Box<Desire>),
    /// Raw uplinks were read late.
    Replay(Box<Replay>),
    /// A campaign, or the line of those that wait for a slot.
    Upgrade(UpgradeOrder),
}

/// A command to send. Shapes and limits that need no model were checked by the caller.
#[derive(Debug, Clone)]
pub struct Submit {
    pub id: CommandId,
    pub service_id: String,
    pub command_name: String,
    pub paras: Map<String, Value>,
    pub strategy: Strategy,
    pub expire_time_s: u32,
    /// The caller's own name for this submission: with the same one again, it gets the same command.
    pub name: Option<[u8; 16]>,
    /// Of what is asked for, to tell a repetition from a mistake.
    pub digest: u64,
    pub beside: BesideCommand,
}

/// What is committed with a command, made from the command as that commit leaves it. A repetition
/// of a submission commits nothing.
#[derive(Clone)]
pub struct BesideCommand(Arc<ChangesOf>);

type ChangesOf = dyn Fn(&CommandRecord) -> Vec<Change> + Send + Sync;

impl BesideCommand {
    pub fn new(changes: impl Fn(&CommandRecord) -> Vec<Change> + Send + Sync + 'static) -> Self {
        Self(Arc::new(changes))
    }

    pub fn changes(&self, command: &CommandRecord) -> Vec<Change> {
        (self.0)(command)
    }
}

/// Nothing.
impl Default for BesideCommand {
    fn default() -> Self {
        Self::new(|_| Vec::new())
    }
}

impl fmt::Debug for BesideCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BesideCommand")
    }
}

/// A change of the desired half of a shadow.
#[derive(Debug, Clone)]
pub struct Desire {
    pub what: Wish,
    pub beside: Beside,
}

#[derive(Debug, Clone)]
pub enum Wish {
    /// Services with their desired properties.
    Set(Vec<DesiredService>),
    /// The whole shadow goes, what was reported too.
    Clear,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredService {
    pub service_id: String,
    /// Empty: nothing is desired any more; `null`: this property is not.
    pub desired: Map<String, Value>,
    /// The version that the caller has seen.
    pub version: Option<u64>,
}

/// Raw uplinks of a device, oldest first, as they were read late. All of it or nothing.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Of the device whose they are.
    pub device_seq: u64,
    /// Of the state that the repairs were found with.
    pub state_version: u64,
    pub uplinks: Vec<Late>,
    pub beside: Beside,
}

#[derive(Debug, Clone)]
pub struct Late {
    /// Where it lies among the raw ones.
    pub key: HistoryKey,
    pub read: Read,
}

/// What a raw uplink says, read late.
#[derive(Debug, Clone)]
pub enum Read {
    Report {
        /// What the model takes. Empty: all of it was taken before.
        services: Vec<ServiceReport>,
        /// What of it the shadow lacks.
        repairs: Vec<Repair>,
        /// What stays, when the model doesn't take all of it.
        rest: Option<Box<RawRecord>>,
    },
    Response(Response),
    Nothing,
    /// It stays, for this reason.
    Unread(Box<RawRecord>),
}

/// Reported properties that the shadow lacks, or has from an older uplink.
#[derive(Debug, Clone, PartialEq)]
pub struct Repair {
    pub service_id: String,
    pub properties: Map<String, Value>,
    /// The newest time of the service's values, when this makes it newer.
    pub reported_at: Option<Timestamp>,
}

/// What is committed with it, or not at all.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    pub guards: Vec<Guard>,
    pub changes: Vec<Change>,
}

/// What is durable now.
#[derive(Debug, Clone)]
pub enum Told {
    Command(Box<CommandRecord>),
    Shadow(Vec<ShadowRecord>),
    Replayed,
    Upgrade(Began),
}

/// Why an order came to nothing. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    #[error("device_id: there is no such device")]
    NotFound,
    /// What does not fit the product model, each with its place.
    #[error("{}", in_words(.0))]
    Model(Vec<Violation>),
    #[error("{max} commands wait for the device already, the next is taken when one has ended")]
    Full { max: usize },
    #[error("X-Request-Id: another command was submitted with it")]
    NameTaken,
    #[error("shadow[{at}].version: the shadow has version {is}, got {got}: read it again")]
    Version { at: usize, got: u64, is: u64 },
    /// Too much is under way for this device.
    #[error("the device has too much to do, try again")]
    Busy,
    /// What was to be committed with it has changed meanwhile.
    #[error("it was changed by others meanwhile, try again")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OrderError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Model(_) => "model",
            Self::Full { .. } => "full",
            Self::NameTaken => "name_taken",
            Self::Version { .. } => "version",
            Self::Busy => "busy",
            Self::Overtaken => "overtaken",
            Self::Store(e) => e.kind(),
        }
    }
}

fn in_words(violations: &[Violation]) -> String {
    let each = violations
        .iter()
        .map(|v| format!("{}: {}", v.path, v.message));
    each.collect::<Vec<_>>().join("; ")
}

/// Where the answer to an order goes. The first answer counts; a ticket that is dropped unanswered tells
/// whoever waits that the server stops.
#[derive(Debug, Clone)]
pub struct Ticket(Arc<Mutex<Option<Answer>>>);

type Answer = oneshot::Sender<Result<Told, OrderError>>;

impl Ticket {
    /// A ticket, and what waits for it.
    pub fn new() -> (Self, oneshot::Receiver<Result<Told, OrderError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    pub fn answer(&self, result: Result<Told, OrderError>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // Who asked may have gone: what is durable stays so.
            drop(sender.send(result));
        }
    }
}
