//! Durable state. [`Store`] is the contract: typed reads, and [`Store::commit`], one atomic durable
//! step. A completed commit survives `kill -9` and power cuts.
//!
//! A commit names what it read ([`Guard`]) and what it changes ([`Change`]): both are plain data,
//! so that an implementation may live on another machine. The contract assumes nothing about how
//! many processes use the store.

pub mod archive;
pub mod catalog;
pub mod check;
pub mod commands;
mod damage;
pub mod disk;
pub mod engine;
pub mod facts;
pub mod find;
pub mod fjall;
pub mod forwarding;
pub mod generation;
pub mod index;
pub mod key_file;
pub mod keys;
pub mod kv;
pub mod lock;
pub mod memory;
pub mod migrate;
pub mod package_files;
pub mod packages;
pub mod query;
pub mod records;
pub mod replays;
mod room;
pub mod rows;
pub mod seal;
pub mod sealed;
mod settings;
pub mod sled;
pub mod upgrades;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::base::ids::{
    AppId, CertificateId, CommandId, DeviceId, FileId, GroupId, NodeId, PackageId, ProductId,
};
use crate::base::peer::DeviceSeq;
use catalog::{
    AppRecord, AuditRecord, CertificateRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    TaskRecord,
};
use commands::{CommandRecord, SubmissionRecord};
use find::{Find, Found, Leaving};
use forwarding::{
    DeliveryRecord, ForwardingKey, ForwardingRecord, SetAsideKey, SetAsideQuery, SetAsideRecord,
};
use key_file::KeyError;
use packages::{PackageName, PackageNameRecord, PackageRecord};
pub use query::{AuditQuery, CommandQuery, Expiry, HistoryKey, HistoryQuery, HistoryRow, Page};
use records::{
    CodecRecord, DeviceRecord, EventRecord, HistoryRecord, ProductRecord, RawRecord, SessionRecord,
    SettingsRecord, StateRecord,
};
use replays::{RawQuery, RawRow, ReplaysRecord};
pub use settings::StoreSettings;

/// Durable state, shared by all layers above.
pub trait Store: Send + Sync + 'static {
    /// Checks every guard, applies every change, all or nothing, and makes it durable. Enqueues
    /// and returns at once; the completion resolves when the change is on disk.
    fn commit(&self, commit: Commit) -> Completion;

    /// A number for a new device or product: ascending, never given twice, also over restarts.
    fn allocate_seq(&self) -> Result<u64, StoreError>;

    fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError>;
    fn device_by_node(&self, node: &NodeId) -> Result<Option<DeviceId>, StoreError>;
    /// Devices by descending `seq`.
    fn devices(&self, page: &Page<'_>) -> Result<Vec<DeviceRecord>, StoreError>;
    fn state(&self, id: &DeviceId) -> Result<Option<StateRecord>, StoreError>;
    /// The devices that fit a condition.
    fn find(&self, find: &Find<'_>) -> Result<Found, StoreError>;
    /// Visits every device with its state, in no order, until the visitor breaks.
    fn each_device(
        &self,
        visit: &mut dyn FnMut(DeviceRecord, Option<StateRecord>) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// The device with this `seq`.
    fn device_by_seq(&self, seq: DeviceSeq) -> Result<Option<DeviceId>, StoreError>;
    fn session(&self, device: DeviceSeq) -> Result<Option<SessionRecord>, StoreError>;
    /// Visits every session, in no order, until the visitor breaks.
    fn each_session(
        &self,
        visit: &mut dyn FnMut(SessionRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    fn product(&self, id: &ProductId) -> Result<Option<ProductRecord>, StoreError>;
    /// Every product, by descending `seq`.
    fn products(&self) -> Result<Vec<ProductRecord>, StoreError>;
    fn codec(&self, id: &ProductId) -> Result<Option<CodecRecord>, StoreError>;
    /// The codecs that were uploaded for a product and are kept, each with its `seq`, newest first.
    fn codec_versions(&self, id: &ProductId) -> Result<Vec<(u64, CodecRecord)>, StoreError>;
    fn settings(&self, id: &ProductId) -> Result<Option<SettingsRecord>, StoreError>;

    /// Every package, by descending `seq`.
    fn packages(&self) -> Result<Vec<PackageRecord>, StoreError>;
    fn package(&self, id: &PackageId) -> Result<Option<PackageRecord>, StoreError>;
    /// Who has a name, and the file that it is bound to: also after its package was deleted.
    fn package_name(&self, name: &PackageName) -> Result<Option<PackageNameRecord>, StoreError>;

    /// What is being deleted, as [`Store::find`] sees it now.
    fn leaving(&self) -> Arc<Leaving>;
    /// Every resource space, by descending `seq`.
    fn apps(&self) -> Result<Vec<AppRecord>, StoreError>;
    /// Every group, by descending `seq`.
    fn groups(&self) -> Result<Vec<GroupRecord>, StoreError>;
    /// Every batch task, by descending `seq`.
    fn tasks(&self) -> Result<Vec<TaskRecord>, StoreError>;
    /// Subtasks of a task with their indexes, ascending from `from`.
    fn subtasks(
        &self,
        task_seq: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, SubtaskRecord)>, StoreError>;
    /// The `seq` of every task that has subtasks, ascending, whether or not there is such a task.
    fn subtask_owners(&self) -> Result<Vec<u64>, StoreError>;
    /// Every file for batch tasks, by descending `seq`.
    fn files(&self) -> Result<Vec<FileRecord>, StoreError>;
    fn file_content(&self, id: &FileId) -> Result<Option<FileContent>, StoreError>;
    /// Every CA certificate, by descending `seq`.
    fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError>;
    /// Rules, actions, policies and the rest of forwarding: kind by kind, each by descending `seq`.
    fn forwarding(&self) -> Result<Vec<ForwardingRecord>, StoreError>;
    /// Rows of the audit log, newest first: of times from `from` (inclusive) to `to` (exclusive),
    /// below the row with the key `before`.
    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError>;

    /// A command of a device, open or ended.
    fn command(&self, device_seq: u64, id: CommandId) -> Result<Option<CommandRecord>, StoreError>;
    /// Commands of a device that fit, newest first.
    fn commands(&self, query: &CommandQuery<'_>) -> Result<Vec<CommandRecord>, StoreError>;
    /// What a submission with this name made.
    fn submission(
        &self,
        device_seq: u64,
        name: &[u8; 16],
    ) -> Result<Option<SubmissionRecord>, StoreError>;

    /// Reported data of one device, newest first.
    fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryRow>, StoreError>;
    /// Uplinks that no codec could decode, newest first.
    fn raw_uplinks(&self, device_seq: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError>;
    /// The same, oldest first, with their places.
    fn raw_rows(&self, query: &RawQuery) -> Result<Vec<RawRow>, StoreError>;
    /// The newest replays of a product's raw uplinks.
    fn replays(&self, id: &ProductId) -> Result<Option<ReplaysRecord>, StoreError>;

    /// Events with a position above `after`, ascending.
    fn events(&self, after: u64, limit: usize) -> Result<Vec<(u64, EventRecord)>, StoreError>;
    /// How far the pushes of each action have come, by its `seq`.
    fn deliveries(&self) -> Result<Vec<(u64, DeliveryRecord)>, StoreError>;
    /// Pushes that their subscriber refused again and again.
    fn set_aside(&self, query: &SetAsideQuery) -> Result<Vec<SetAsideRecord>, StoreError>;
    /// Position of the newest event ever written, 0 when there is none.
    fn last_event(&self) -> u64;

    /// Deletes history, raw uplinks, events and audit rows older than these times, at most `limit` rows in one
    /// call; returns how many. Blocks until they are gone. The search of one call is bounded, too:
    /// fewer than `limit` does not mean that nothing is left.
    fn expire(&self, expiry: &Expiry, limit: usize) -> Result<usize, StoreError>;

    /// Whether commits can succeed now.
    fn health(&self) -> Health;
}

/// One atomic durable step.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub guards: Vec<Guard>,
    pub changes: Vec<Change>,
}

/// What must hold when the commit is applied; else it conflicts and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// No device has this id.
    DeviceAbsent(DeviceId),
    /// The device exists and its record has this `version`.
    DeviceVersion(DeviceId, u64),
    /// The device exists and its `seq` is this one: it was not deleted and created anew.
    DeviceSeq(DeviceId, u64),
    /// No device has this node id.
    NodeFree(NodeId),
    /// The state record has this `version`; 0 when there is none yet.
    StateVersion(DeviceId, u64),
    /// The device's session has this number; `None`: it has none.
    SessionNumber(DeviceSeq, Option<u64>),
    /// The device has no session with a higher number.
    SessionUpTo(DeviceSeq, u64),
    ProductAbsent(ProductId),
    /// There is such a product, and it is not being deleted.
    ProductExists(ProductId),
    /// The resource space's record has this `version`; 0 when there is none.
    AppVersion(AppId, u64),
    /// There is such a resource space, and it is not being deleted.
    AppExists(AppId),
    /// The group's record has this `version`; 0 when there is none.
    GroupVersion(GroupId, u64),
    /// The record of the batch task with this `seq` has this `version`; 0 when there is none.
    TaskVersion(u64, u64),
    /// The certificate's record has this `version`; 0 when there is none.
    CertificateVersion(CertificateId, u64),
    /// The record has this `version`; 0 when there is none.
    ForwardingVersion(ForwardingKey, u64),
    /// The package's record has this `version`; 0 when there is none.
    PackageVersion(PackageId, u64),
    /// The record of the package's name has this `version`; 0 when there is none.
    PackageNameVersion(PackageName, u64),
    /// The product exists and its record has this `version`.
    ProductVersion(ProductId, u64),
    /// No device belongs to the product.
    ProductUnused(ProductId),
    /// The product's settings have this `version`; 0 when there are none.
    SettingsVersion(ProductId, u64),
    /// The codec bundle has this ETag; `None`: there is no codec.
    CodecTag(ProductId, Option<String>),
}

/// One change of durable state. Puts replace.
#[derive(Debug, Clone)]
pub enum Change {
    /// Writes the record and its indexes (node id, name, product, order).
    PutDevice(Box<DeviceRecord>),
    /// Removes record, indexes, state, session and queued commands. History, raw uplinks and ended commands
    /// are keyed by `seq`: they can't be reached any more and go by age.
    DeleteDevice(DeviceId),
    PutState(DeviceId, Box<StateRecord>),
    /// Replaces the device's session.
    PutSession(Box<SessionRecord>),
    /// Ends the device's session, if it has one.
    DeleteSession(DeviceSeq),
    PutProduct(Box<ProductRecord>),
    /// Removes record, codec with its versions, settings and replays.
    DeleteProduct(ProductId),
    PutCodec(ProductId, Box<CodecRecord>),
    DeleteCodec(ProductId),
    /// A codec that was uploaded, by its `seq`.
    PutCodecVersion(ProductId, u64, Box<CodecRecord>),
    DeleteCodecVersion(ProductId, u64),
    PutSettings(ProductId, Box<SettingsRecord>),
    PutPackage(Box<PackageRecord>),
    /// Its name stays bound to its file.
    DeletePackage(PackageId),
    PutPackageName(PackageName, PackageNameRecord),
    PutApp(Box<AppRecord>),
    DeleteApp(AppId),
    PutGroup(Box<GroupRecord>),
    DeleteGroup(GroupId),
    PutTask(Box<TaskRecord>),
    /// Removes the record; its subtasks are removed with [`Change::DeleteSubtasks`] before.
    DeleteTask(u64),
    PutSubtask {
        task_seq: u64,
        index: u32,
        record: Box<SubtaskRecord>,
    },
    /// Removes the subtasks with these indexes, where they are.
    DeleteSubtasks {
        task_seq: u64,
        indexes: Range<u32>,
    },
    PutFile(Box<FileRecord>, Box<FileContent>),
    DeleteFile(FileId),
    PutCertificate(Box<CertificateRecord>),
    DeleteCertificate(CertificateId),
    PutForwarding(Box<ForwardingRecord>),
    DeleteForwarding(ForwardingKey),
    PutAudit(Box<AuditRecord>),
    /// An open command, as it is now.
    PutCommand {
        device_seq: u64,
        record: Box<CommandRecord>,
    },
    /// A command that has ended, or rests: it moves from the queue to the history. What no application
    /// asked for leaves nothing.
    EndCommand {
        device_seq: u64,
        record: Box<CommandRecord>,
    },
    PutSubmission {
        device_seq: u64,
        name: [u8; 16],
        record: SubmissionRecord,
    },
    AppendHistory {
        device_seq: u64,
        record: Box<HistoryRecord>,
    },
    KeepRaw {
        device_seq: u64,
        record: Box<RawRecord>,
    },
    /// Another reading of a raw uplink, in its place.
    PutRaw(u64, Box<RawRow>),
    /// A raw uplink was read after all.
    DeleteRaw(u64, HistoryKey),
    PutReplays(ProductId, Box<ReplaysRecord>),
    PutDelivery {
        action_seq: u64,
        record: Box<DeliveryRecord>,
    },
    /// What was set aside is deleted before, row by row.
    DeleteDelivery {
        action_seq: u64,
    },
    PutSetAside {
        action_seq: u64,
        record: Box<SetAsideRecord>,
    },
    DeleteSetAside {
        action_seq: u64,
        key: SetAsideKey,
    },
    /// Takes the next position, in commit order.
    Emit(Box<EventRecord>),
}

/// Resolves when the commit is durable, or has failed and changed nothing.
#[derive(Debug)]
pub struct Completion(tokio::sync::oneshot::Receiver<Result<(), CommitError>>);

impl Completion {
    /// A completion and the sender that resolves it. A dropped sender counts as unavailable.
    pub fn new() -> (tokio::sync::oneshot::Sender<Result<(), CommitError>>, Self) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (sender, Self(receiver))
    }

    /// Waits on a thread that may block.
    pub fn wait(self) -> Result<(), CommitError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }
}

impl Future for Completion {
    type Output = Result<(), CommitError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0)
            .poll(context)
            .map(|sent| sent.unwrap_or_else(|_| Err(closed())))
    }
}

fn closed() -> CommitError {
    CommitError::Store(StoreError::Closed)
}

/// Why a commit changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A guard did not hold: somebody else was faster.
    #[error("conflict: {0:?} does not hold")]
    Conflict(Guard),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the store can't serve. All but `Corrupt` may pass by themselves.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("the disk is full: {free} bytes free, {need} needed")]
    Full { free: u64, need: u64 },
    #[error("the store failed: {0}")]
    Io(String),
    /// More waits than the committer may hold.
    #[error("the store has too much to do")]
    Busy,
    #[error("the store is closed")]
    Closed,
    /// The data directory is used by another process.
    #[error("{path} is in use by another process")]
    InUse { path: String },
    #[error(
        "{path} is damaged: {reason}; `strait store check` tells more, \
         a backup helps: `strait store import`"
    )]
    Corrupt { path: String, reason: String },
    #[error("{path} has format {found}, this version reads up to {newest}")]
    Format {
        path: String,
        found: u32,
        newest: u32,
    },
    /// There is no usable sealing key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl StoreError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::Io(_) => "io",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::InUse { .. } => "in_use",
            Self::Corrupt { .. } => "corrupt",
            Self::Format { .. } => "format",
            Self::Key(e) => e.kind(),
        }
    }
}

impl CommitError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Store(e) => e.kind(),
        }
    }
}

/// Whether commits can succeed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// With the reason, for `/readyz` and the log.
    Unavailable(String),
}
