//! A disk of the simulation: it dies, lies and falls mute when it is told to.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use strait::base::ids::{CommandId, DeviceId, FileId, NodeId, PackageId, ProductId};
use strait::base::peer::DeviceSeq;
use strait::store::catalog::{
    AppRecord, AuditRecord, CertificateRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    TaskRecord,
};
use strait::store::commands::{CommandRecord, SubmissionRecord};
use strait::store::find::{Find, Found, Leaving};
use strait::store::forwarding::{DeliveryRecord, ForwardingRecord, SetAsideQuery, SetAsideRecord};
use strait::store::memory::{Memory, MemoryStore};
use strait::store::packages::{PackageName, PackageNameRecord, PackageRecord};
use strait::store::records::{
    CodecRecord, DeviceRecord, EventRecord, ProductRecord, RawRecord, SessionRecord,
    SettingsRecord, StateRecord,
};
use strait::store::replays::{RawQuery, RawRow, ReplaysRecord};
use strait::store::{
    AuditQuery, Change, CommandQuery, Commit, CommitError, Completion, Expiry, Health,
    HistoryQuery, HistoryRow, Page, Store, StoreError,
};
use tokio::sync::oneshot;

/// Sees the changes of each commit that is durable, in order, once it is.
pub(crate) type Witness = Arc<Mutex<dyn FnMut(&[Change]) + Send>>;

/// A store whose commits end before the call returns, so that virtual time never runs ahead of
/// the committer's thread.
pub(crate) struct Disk {
    inner: MemoryStore,
    mute: AtomicBool,
    dead: AtomicBool,
    /// How many commits there are until the process dies at one, and whether that is durable.
    doom: Mutex<Option<(usize, bool)>>,
    lies: AtomicUsize,
    failed_at: Mutex<Option<Instant>>,
    unanswered: Mutex<Vec<oneshot::Sender<Result<(), CommitError>>>>,
    witness: Mutex<Option<Witness>>,
    swept_ms: AtomicU64,
}

/// Virtual time between sweeps.
const SWEEPS_EVERY_MS: u64 = 6 * 3_600_000;

impl Disk {
    /// What is on `memory` is found again.
    pub(crate) fn over(memory: &Memory) -> Self {
        Self {
            inner: MemoryStore::over(memory.clone()),
            mute: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            doom: Mutex::default(),
            lies: AtomicUsize::new(0),
            failed_at: Mutex::default(),
            unanswered: Mutex::default(),
            witness: Mutex::default(),
            swept_ms: AtomicU64::new(0),
        }
    }

    /// From now on somebody sees what becomes durable.
    pub(crate) fn set_witness(&self, witness: Witness) {
        *self.witness.lock().unwrap() = Some(witness);
    }

    /// Makes a commit durable, unless it fails.
    fn write(&self, commit: Commit) -> Result<(), CommitError> {
        let witness = self.witness.lock().unwrap().clone();
        let changes = witness.is_some().then(|| commit.changes.clone());
        let result = wait_for(self.inner.commit(commit));
        if let (Some(witness), Some(changes), Ok(())) = (witness, changes, &result) {
            (*witness.lock().unwrap())(&changes);
        }
        result
    }

    /// From now on commits are made durable, and nobody hears of it: the process is about to die.
    pub(crate) fn fall_mute(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    /// The process dies at the commit after so many: just before it, or when it is durable and nobody
    /// has heard of it.
    pub(crate) fn die_at(&self, commits: usize, durable: bool) {
        *self.doom.lock().unwrap() = Some((commits, durable));
    }

    /// The process is gone: whatever of it still runs in this one reaches the disk no more.
    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// It has died: whoever runs the server must drop it.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// The next `count` commits are said to have failed, and are durable.
    pub(crate) fn lie_next(&self, count: usize) {
        self.lies.store(count, Ordering::SeqCst);
    }

    /// When a commit failed last.
    pub(crate) fn failed_at(&self) -> Option<Instant> {
        *self.failed_at.lock().unwrap()
    }

    /// Whether this commit is the last one; `Some(true)`: a durable one.
    fn judge(&self) -> Option<bool> {
        let mut doom = self.doom.lock().unwrap();
        match &mut *doom {
            None => None,
            Some((0, durable)) => Some(*durable),
            Some((left, _)) => {
                *left -= 1;
                None
            }
        }
    }

    /// The next `count` commits fail.
    pub(crate) fn fail_next(&self, count: usize) {
        let error = StoreError::Full { free: 0, need: 1 };
        self.inner.faults().fail_next(count, &error);
    }
}

/// Waits for the committer's thread, inside a task as well.
fn wait_for(completion: Completion) -> Result<(), CommitError> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut completion = pin!(tokio::task::unconstrained(completion));
    loop {
        match completion.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl Store for Disk {
    fn commit(&self, commit: Commit) -> Completion {
        let (sender, completion) = Completion::new();
        let last = if self.is_dead() {
            Some(false)
        } else {
            self.judge()
        };
        if let Some(durable) = last {
            self.dead.store(true, Ordering::SeqCst);
            self.unanswered.lock().unwrap().push(sender);
            if !durable {
                return completion;
            }
            // Nobody waits for it.
            drop(self.write(commit));
            return completion;
        }
        let result = self.write(commit);
        let lies = |n: usize| n.checked_sub(1);
        let (set, seen) = (Ordering::SeqCst, Ordering::SeqCst);
        let result = match self.lies.fetch_update(set, seen, lies) {
            Ok(_) => Err(StoreError::Io("the disk lies".to_owned()).into()),
            Err(_) => result,
        };
        if matches!(result, Err(CommitError::Store(_))) {
            let now = tokio::time::Instant::now().into_std();
            *self.failed_at.lock().unwrap() = Some(now);
        }
        if self.mute.load(Ordering::SeqCst) {
            self.unanswered.lock().unwrap().push(sender);
        } else {
            sender.send(result).unwrap();
        }
        completion
    }

    fn allocate_seq(&self) -> Result<u64, StoreError> {
        self.inner.allocate_seq()
    }

    fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        self.inner.device(id)
    }

    fn device_by_node(&self, node: &NodeId) -> Result<Option<DeviceId>, StoreError> {
        self.inner.device_by_node(node)
    }

    fn devices(&self, page: &Page<'_>) -> Result<Vec<DeviceRecord>, StoreError> {
        self.inner.devices(page)
    }

    fn state(&self, id: &DeviceId) -> Result<Option<StateRecord>, StoreError> {
        self.inner.state(id)
    }

    fn each_device(
        &self,
        visit: &mut dyn FnMut(DeviceRecord, Option<StateRecord>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.each_device(visit)
    }

    fn device_by_seq(&self, seq: DeviceSeq) -> Result<Option<DeviceId>, StoreError> {
        self.inner.device_by_seq(seq)
    }

    fn session(&self, device: DeviceSeq) -> Result<Option<SessionRecord>, StoreError> {
        self.inner.session(device)
    }

    fn each_session(
        &self,
        visit: &mut dyn FnMut(SessionRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.each_session(visit)
    }

    fn product(&self, id: &ProductId) -> Result<Option<ProductRecord>, StoreError> {
        self.inner.product(id)
    }

    fn products(&self) -> Result<Vec<ProductRecord>, StoreError> {
        self.inner.products()
    }

    fn codec(&self, id: &ProductId) -> Result<Option<CodecRecord>, StoreError> {
        self.inner.codec(id)
    }

    fn codec_versions(&self, id: &ProductId) -> Result<Vec<(u64, CodecRecord)>, StoreError> {
        self.inner.codec_versions(id)
    }

    fn packages(&self) -> Result<Vec<PackageRecord>, StoreError> {
        self.inner.packages()
    }

    fn package(&self, id: &PackageId) -> Result<Option<PackageRecord>, StoreError> {
        self.inner.package(id)
    }

    fn package_name(&self, name: &PackageName) -> Result<Option<PackageNameRecord>, StoreError> {
        self.inner.package_name(name)
    }

    fn settings(&self, id: &ProductId) -> Result<Option<SettingsRecord>, StoreError> {
        self.inner.settings(id)
    }

    fn find(&self, find: &Find<'_>) -> Result<Found, StoreError> {
        self.inner.find(find)
    }

    fn leaving(&self) -> Arc<Leaving> {
        self.inner.leaving()
    }

    fn apps(&self) -> Result<Vec<AppRecord>, StoreError> {
        self.inner.apps()
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, StoreError> {
        self.inner.groups()
    }

    fn tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.inner.tasks()
    }

    fn subtasks(
        &self,
        task_seq: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, SubtaskRecord)>, StoreError> {
        self.inner.subtasks(task_seq, from, limit)
    }

    fn subtask_owners(&self) -> Result<Vec<u64>, StoreError> {
        self.inner.subtask_owners()
    }

    fn files(&self) -> Result<Vec<FileRecord>, StoreError> {
        self.inner.files()
    }

    fn file_content(&self, id: &FileId) -> Result<Option<FileContent>, StoreError> {
        self.inner.file_content(id)
    }

    fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        self.inner.certificates()
    }

    fn forwarding(&self) -> Result<Vec<ForwardingRecord>, StoreError> {
        self.inner.forwarding()
    }

    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        self.inner.audit(query)
    }

    fn command(&self, device_seq: u64, id: CommandId) -> Result<Option<CommandRecord>, StoreError> {
        self.inner.command(device_seq, id)
    }

    fn commands(&self, query: &CommandQuery<'_>) -> Result<Vec<CommandRecord>, StoreError> {
        self.inner.commands(query)
    }

    fn submission(
        &self,
        device_seq: u64,
        name: &[u8; 16],
    ) -> Result<Option<SubmissionRecord>, StoreError> {
        self.inner.submission(device_seq, name)
    }

    fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryRow>, StoreError> {
        self.inner.history(query)
    }

    fn raw_uplinks(&self, device_seq: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError> {
        self.inner.raw_uplinks(device_seq, limit)
    }

    fn raw_rows(&self, query: &RawQuery) -> Result<Vec<RawRow>, StoreError> {
        self.inner.raw_rows(query)
    }

    fn replays(&self, id: &ProductId) -> Result<Option<ReplaysRecord>, StoreError> {
        self.inner.replays(id)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<(u64, EventRecord)>, StoreError> {
        self.inner.events(after, limit)
    }

    fn deliveries(&self) -> Result<Vec<(u64, DeliveryRecord)>, StoreError> {
        self.inner.deliveries()
    }

    fn set_aside(&self, query: &SetAsideQuery) -> Result<Vec<SetAsideRecord>, StoreError> {
        self.inner.set_aside(query)
    }

    fn last_event(&self) -> u64 {
        self.inner.last_event()
    }

    /// Virtual days are short, and a look at every row each minute of them is dear.
    fn expire(&self, expiry: &Expiry, limit: usize) -> Result<usize, StoreError> {
        let since = expiry.events_before.as_ms();
        let last = self.swept_ms.swap(since, Ordering::SeqCst);
        if since.abs_diff(last) < SWEEPS_EVERY_MS {
            self.swept_ms.store(last, Ordering::SeqCst);
            return Ok(0);
        }
        self.inner.expire(expiry, limit)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
