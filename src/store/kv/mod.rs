//! The store contract over any ordered key-value engine.
//!
//! [`Kv`] is what an engine gives; [`KvStore`] makes a [`Store`] of it:
//!
//! ```text
//! commit() -> encode on the caller's thread (plan.rs) -> bounded queue
//!   -> committer thread (committer.rs): takes what waits, at most BATCH_MAX commits;
//!      guards and changes one by one against engine + batch (draft.rs);
//!      one atomic engine batch; sync; completions
//! reads    -> straight to the engine (reader.rs)
//! ```
//!
//! The committer is the only writer, so it may remember versions (heads.rs). Reads may see a
//! commit shortly before it is durable; events are shown only when they are. Searches (find.rs) work on an index
//! in memory (`store/index`), which the committer changes when a batch is durable, before it answers.

mod catalog;
mod commands;
mod committer;
mod deliveries;
mod draft;
mod expiry;
mod find;
mod guards;
mod heads;
mod health;
mod load;
mod packages;
mod plan;
mod reader;
mod replays;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use super::catalog::{
    AppRecord, AuditRecord, CertificateRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    TaskRecord,
};
use super::commands::{CommandRecord, SubmissionRecord};
pub use super::engine::{Kv, Order, Visit, Writes};
use super::find::{Find, Found, Leaving};
use super::forwarding::{DeliveryRecord, ForwardingRecord, SetAsideQuery, SetAsideRecord};
use super::index::Index;
use super::keys::{self, Meta};
use super::packages::{PackageName, PackageNameRecord, PackageRecord};
use super::records::{
    CodecRecord, DeviceRecord, EventRecord, ProductRecord, RawRecord, SessionRecord,
    SettingsRecord, StateRecord,
};
use super::replays::{RawQuery, RawRow, ReplaysRecord};
use super::seal::Sealer;
use super::{
    AuditQuery, CommandQuery, Commit, CommitError, Completion, Expiry, Health, HistoryQuery,
    HistoryRow, Page, Store, StoreError, StoreSettings,
};
use crate::base::ids::{CommandId, DeviceId, FileId, NodeId, PackageId, ProductId};
use crate::base::peer::DeviceSeq;
use committer::{Committer, Job};
use plan::Plan;
use reader::Reader;

/// A store over an engine. Dropping it commits what waits, then closes the engine.
#[derive(Debug)]
pub struct KvStore<E: Kv> {
    shared: Arc<Shared<E>>,
    queue: RwLock<Option<SyncSender<Job>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    expiry: expiry::Cursor,
}

/// What the committer and the callers share.
#[derive(Debug)]
struct Shared<E> {
    engine: E,
    sealer: Sealer,
    /// Held for microseconds at a time.
    index: RwLock<Index>,
    /// Commits that changed a session.
    session_commits: AtomicU64,
    /// Newest durable event.
    last_event: AtomicU64,
    /// The next sequence number to give, and the durable bound it must stay below.
    seq_next: AtomicU64,
    seq_end: AtomicU64,
    /// Why commits can't succeed.
    trouble: Mutex<Option<String>>,
    /// When the batch in hand was begun, ms; 0 when there is none.
    batch_since_ms: AtomicU64,
}

/// Sessions ended in one step.
const END_STEP: usize = 4096;

impl<E> Shared<E> {
    const fn new(engine: E, sealer: Sealer, index: Index) -> Self {
        Self {
            engine,
            sealer,
            index: RwLock::new(index),
            session_commits: AtomicU64::new(0),
            last_event: AtomicU64::new(0),
            seq_next: AtomicU64::new(1),
            seq_end: AtomicU64::new(1),
            trouble: Mutex::new(None),
            batch_since_ms: AtomicU64::new(0),
        }
    }

    fn index_now(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_changing(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> String {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone().unwrap_or_default()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn take_seq(&self) -> Option<u64> {
        let end = self.seq_end.load(Ordering::SeqCst);
        self.seq_next
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |next| {
                (next < end).then(|| next.saturating_add(1))
            })
            .ok()
    }
}

impl<E: Kv> KvStore<E> {
    /// Opens the store in an engine: migrates older formats, then starts the committer. Errors:
    /// `StoreError::Key` when the database was sealed with another key.
    pub fn start(engine: E, settings: &StoreSettings, sealer: Sealer) -> Result<Self, StoreError> {
        super::migrate::migrate(&engine, &sealer)?;
        let index = Reader::new(&engine, &sealer).index()?;
        let shared = Arc::new(Shared::new(engine, sealer, index));
        let (queue, jobs) = sync_channel(settings.queue_len.max(1));
        let committer = Committer::load(Arc::clone(&shared), jobs)?;
        let thread = std::thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(|e| StoreError::Io(format!("can't start the committer thread: {e}")))?;
        Ok(Self {
            shared,
            queue: RwLock::new(Some(queue)),
            committer: Mutex::new(Some(thread)),
            expiry: expiry::Cursor::default(),
        })
    }

    /// A store that was never opened: everything fails with `Closed`.
    pub(super) fn closed(engine: E, sealer: Sealer, reason: &StoreError) -> Self {
        let shared = Shared::new(engine, sealer, Index::default());
        shared.set_trouble(Some(reason.to_string()));
        Self {
            shared: Arc::new(shared),
            queue: RwLock::new(None),
            committer: Mutex::new(None),
            expiry: expiry::Cursor::default(),
        }
    }

    /// The engine below, for tests and tools.
    pub fn engine(&self) -> &E {
        &self.shared.engine
    }

    /// Commits what waits, then closes the engine. Later calls fail with `Closed`.
    pub fn close(&self) {
        let queue = self
            .queue
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(queue);
        self.shared.engine.release();
        let thread = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            if thread.join().is_err() {
                crate::bug!("the committer thread panicked");
            }
            self.shared.engine.close();
        }
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else {
            return Err(StoreError::Closed);
        };
        queue.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    fn reader(&self) -> Reader<'_, E> {
        Reader::new(&self.shared.engine, &self.shared.sealer)
    }

    /// Counts the commits that changed a session since the store was opened.
    pub fn session_commits(&self) -> u64 {
        self.shared.session_commits.load(Ordering::SeqCst)
    }

    /// Ends every session; returns how many there were. Blocks until they are gone for good.
    pub(super) fn end_sessions(&self) -> Result<u64, StoreError> {
        let (from, to) = keys::Table::Sessions.span();
        let mut ended = 0_u64;
        loop {
            let rows = self.reader().rows(&from, &to, Order::Ascending, END_STEP)?;
            if rows.is_empty() {
                return Ok(ended);
            }
            ended = ended.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
            let keys = rows.into_iter().map(|(key, _)| key).collect();
            self.run(|done| Job::Delete { keys, done })?;
        }
    }

    /// Writes a row of the meta table. Blocks until it is durable.
    pub(super) fn note(&self, row: Meta, value: Vec<u8>) -> Result<(), StoreError> {
        let key = keys::meta(row);
        let row = value;
        self.run(|done| Job::Note { key, row, done })
    }

    /// Has the committer do something, and waits for it.
    fn run(
        &self,
        job: impl FnOnce(SyncSender<Result<(), StoreError>>) -> Job,
    ) -> Result<(), StoreError> {
        let (done, result) = sync_channel(1);
        self.enqueue(job(done))?;
        result.recv().map_err(|_| StoreError::Closed)?
    }
}

impl<E: Kv> Drop for KvStore<E> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<E: Kv> Store for KvStore<E> {
    fn commit(&self, commit: Commit) -> Completion {
        let (done, completion) = Completion::new();
        let plan = match Plan::encode(commit, &self.shared.sealer) {
            Ok(plan) => plan,
            Err(e) => {
                resolve(done, Err(e.into()));
                return completion;
            }
        };
        let sessions = plan.sessions;
        let job = Job::Commit {
            plan: Box::new(plan),
            done,
        };
        match self.enqueue(job) {
            Ok(()) => {
                // After it took its place in the queue: who saw the count is behind it there.
                let count = u64::from(sessions);
                self.shared
                    .session_commits
                    .fetch_add(count, Ordering::SeqCst);
                completion
            }
            Err(e) => {
                // A refused job is gone with its sender, so the answer takes a new pair.
                let (done, completion) = Completion::new();
                resolve(done, Err(e.into()));
                completion
            }
        }
    }

    fn allocate_seq(&self) -> Result<u64, StoreError> {
        loop {
            if let Some(seq) = self.shared.take_seq() {
                return Ok(seq);
            }
            self.run(|done| Job::Reserve { done })?;
        }
    }

    fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        self.reader().device(id)
    }

    fn device_by_node(&self, node: &NodeId) -> Result<Option<DeviceId>, StoreError> {
        self.reader().device_by_node(node)
    }

    fn devices(&self, page: &Page<'_>) -> Result<Vec<DeviceRecord>, StoreError> {
        self.reader().devices(page)
    }

    fn state(&self, id: &DeviceId) -> Result<Option<StateRecord>, StoreError> {
        self.reader().state(id)
    }

    fn find(&self, find: &Find<'_>) -> Result<Found, StoreError> {
        self.reader().find(find, &self.shared.index)
    }

    fn each_device(
        &self,
        visit: &mut dyn FnMut(DeviceRecord, Option<StateRecord>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.reader().each_device(visit)
    }

    fn device_by_seq(&self, seq: DeviceSeq) -> Result<Option<DeviceId>, StoreError> {
        self.reader().device_by_seq(seq)
    }

    fn session(&self, device: DeviceSeq) -> Result<Option<SessionRecord>, StoreError> {
        self.reader().session(device)
    }

    fn each_session(
        &self,
        visit: &mut dyn FnMut(SessionRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.reader().each_session(visit)
    }

    fn product(&self, id: &ProductId) -> Result<Option<ProductRecord>, StoreError> {
        self.reader().product(id)
    }

    fn products(&self) -> Result<Vec<ProductRecord>, StoreError> {
        self.reader().products()
    }

    fn codec(&self, id: &ProductId) -> Result<Option<CodecRecord>, StoreError> {
        self.reader().codec(id)
    }

    fn codec_versions(&self, id: &ProductId) -> Result<Vec<(u64, CodecRecord)>, StoreError> {
        self.reader().codec_versions(id)
    }

    fn settings(&self, id: &ProductId) -> Result<Option<SettingsRecord>, StoreError> {
        self.reader().settings(id)
    }

    fn packages(&self) -> Result<Vec<PackageRecord>, StoreError> {
        self.reader().packages()
    }

    fn package(&self, id: &PackageId) -> Result<Option<PackageRecord>, StoreError> {
        self.reader().package(id)
    }

    fn package_name(&self, name: &PackageName) -> Result<Option<PackageNameRecord>, StoreError> {
        self.reader().package_name(name)
    }

    fn leaving(&self) -> Arc<Leaving> {
        self.shared.index_now().leaving()
    }

    fn apps(&self) -> Result<Vec<AppRecord>, StoreError> {
        self.reader().apps()
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, StoreError> {
        self.reader().groups()
    }

    fn tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.reader().tasks()
    }

    fn subtasks(
        &self,
        task_seq: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, SubtaskRecord)>, StoreError> {
        self.reader().subtasks(task_seq, from, limit)
    }

    fn subtask_owners(&self) -> Result<Vec<u64>, StoreError> {
        self.reader().subtask_owners()
    }

    fn files(&self) -> Result<Vec<FileRecord>, StoreError> {
        self.reader().files()
    }

    fn file_content(&self, id: &FileId) -> Result<Option<FileContent>, StoreError> {
        self.reader().file_content(id)
    }

    fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        self.reader().certificates()
    }

    fn forwarding(&self) -> Result<Vec<ForwardingRecord>, StoreError> {
        self.reader().forwarding()
    }

    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        self.reader().audit(query)
    }

    fn command(&self, device_seq: u64, id: CommandId) -> Result<Option<CommandRecord>, StoreError> {
        self.reader().command(device_seq, id)
    }

    fn commands(&self, query: &CommandQuery<'_>) -> Result<Vec<CommandRecord>, StoreError> {
        self.reader().commands(query)
    }

    fn submission(
        &self,
        device_seq: u64,
        name: &[u8; 16],
    ) -> Result<Option<SubmissionRecord>, StoreError> {
        self.reader().submission(device_seq, name)
    }

    fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryRow>, StoreError> {
        self.reader().history(query)
    }

    fn raw_uplinks(&self, device_seq: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError> {
        self.reader().raw_uplinks(device_seq, limit)
    }

    fn raw_rows(&self, query: &RawQuery) -> Result<Vec<RawRow>, StoreError> {
        self.reader().raw_rows(query)
    }

    fn replays(&self, id: &ProductId) -> Result<Option<ReplaysRecord>, StoreError> {
        self.reader().replays(id)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<(u64, EventRecord)>, StoreError> {
        self.reader().events(after, self.last_event(), limit)
    }

    fn deliveries(&self) -> Result<Vec<(u64, DeliveryRecord)>, StoreError> {
        self.reader().deliveries()
    }

    fn set_aside(&self, query: &SetAsideQuery) -> Result<Vec<SetAsideRecord>, StoreError> {
        self.reader().set_aside(query)
    }

    fn last_event(&self) -> u64 {
        self.shared.last_event.load(Ordering::SeqCst)
    }

    fn expire(&self, expiry: &Expiry, limit: usize) -> Result<usize, StoreError> {
        let keys = self
            .expiry
            .expired(&self.reader(), expiry, self.last_event(), limit)?;
        if keys.rows == 0 {
            return Ok(0);
        }
        let rows = keys.rows;
        self.run(|done| Job::Delete {
            keys: keys.keys,
            done,
        })?;
        Ok(rows)
    }

    fn health(&self) -> Health {
        self.health_now()
    }
}

/// Tells the caller how its commit went; a caller that no longer waits is fine.
fn resolve(
    done: tokio::sync::oneshot::Sender<Result<(), CommitError>>,
    result: Result<(), CommitError>,
) {
    drop(done.send(result));
}
