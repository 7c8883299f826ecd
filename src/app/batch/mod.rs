//! Batch tasks: the same done to many targets, one subtask each, over hours and restarts.
//!
//! A task's subtasks are written first, in chunks, then its record, which makes it a task; rows
//! without a record are left by a crash and swept at start. One task of the process, the runner,
//! begins subtasks, some at a time over all tasks and by turns between them, and carries out orders
//! (stop, retry, delete), so that a record has one writer. What a subtask does and the row that
//! says so are one commit: nothing is done twice, and nothing is done without a trace. A store that
//! fails is waited for; it is no failure of a subtask.
//!
//! Files for batch tasks are in `files.rs`, read by `sheet/`. Errors: [`BatchError`].

mod attempt;
mod board;
mod campaign;
mod command;
mod confirm;
mod create;
mod details;
mod error;
mod files;
mod judge;
mod looking;
mod orders;
mod rows;
mod runner;
mod shadow;
pub mod sheet;
mod stops;
mod targets;
mod upgrade;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::app::command::Commands;
use crate::app::device::Devices;
use crate::app::envelope;
use crate::app::group::Groups;
use crate::app::outbox::Outbox;
use crate::app::product::Products;
use crate::app::shadow::Shadows;
use crate::app::shards::ShardsLink;
use crate::app::space::Spaces;
use crate::app::tasks::Tasks;
use crate::app::trace::Tracer;
use crate::app::upgrade::Packages;
use crate::base::ids::{AppId, TaskId};
use crate::base::time::{Clock, Timestamp};
use crate::bug;
use crate::engine::batch::{Counts, Status};
use crate::store::catalog::{TaskRecord, TaskType};
use crate::store::records::EventRecord;
use crate::store::{Change, Store, StoreError};
use board::{Board, Entry};
use orders::Request;

pub use campaign::{CampaignChange, CampaignPolicy, Why};
pub use create::{Input, NewSubtask, NewTask, Refused, Work};
pub use details::{Detail, DetailPage, DetailQuery};
pub use error::BatchError;
pub use files::NewFile;
pub use orders::{OrderKind, OrderResult};
pub use targets::SUBTASKS_MAX;

/// Orders that wait for the runner; who brings more waits.
const REQUESTS: usize = 64;

/// What an operator sets under `[batch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Tasks that are not over.
    pub tasks_running_max: usize,
    /// Tasks in all.
    pub tasks_max: usize,
    /// Subtasks under way at the same time, over all tasks.
    pub in_flight_max: usize,
    pub files_max: usize,
    /// Size of one file.
    pub file_kb: usize,
}

/// 10 tasks and 4 MB are what the service of the API's maker takes.
impl Default for Settings {
    fn default() -> Self {
        Self {
            tasks_running_max: 10,
            tasks_max: 10_000,
            in_flight_max: 32,
            files_max: 100,
            file_kb: 4096,
        }
    }
}

/// What [`Batches`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
    pub devices: Arc<Devices>,
    pub products: Arc<Products>,
    pub spaces: Arc<Spaces>,
    pub groups: Arc<Groups>,
    pub shadows: Arc<Shadows>,
    pub tracer: Arc<Tracer>,
    pub commands: Arc<Commands>,
    pub outbox: Arc<Outbox>,
    pub shards: ShardsLink,
    pub packages: Arc<dyn Packages>,
    pub settings: Settings,
    /// Devices of campaigns under way at the same time, over all campaigns.
    pub begun_max: usize,
}

/// The batch tasks of one server.
pub struct Batches {
    parts: Parts,
    board: Mutex<Board>,
    requests: mpsc::Sender<Request>,
    /// Something is to do.
    wake: Notify,
    /// Devices may get slots that could not before.
    admission: Notify,
    /// Files are read and added one after the other.
    one_file: Semaphore,
}

/// A task as it is now.
#[derive(Debug, Clone)]
pub struct TaskDetail {
    pub record: TaskRecord,
    pub status: Status,
    pub counts: Counts,
    /// The first of its targets, when the caller named them one by one.
    pub targets: Vec<String>,
}

/// Which tasks to list.
#[derive(Debug, Clone)]
pub struct TaskQuery {
    /// `None`: of a type that this server has no tasks of.
    pub task_type: Option<TaskType>,
    pub status: Option<Status>,
    pub app_id: Option<AppId>,
    /// The caller sees this space alone.
    pub space: Option<AppId>,
    /// Only those with a smaller `seq`.
    pub before: Option<u64>,
    pub offset: usize,
    pub limit: usize,
}

/// One page.
#[derive(Debug)]
pub struct TaskPage {
    pub tasks: Vec<TaskDetail>,
    /// All that match, on whatever page.
    pub count: u64,
}

impl Batches {
    /// Reads every task, and the subtasks of those that are not over, and lets them go on. Must be
    /// called inside a tokio runtime.
    pub fn start(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let mut board = Board::default();
        for record in parts.store.tasks()?.into_iter().rev() {
            board.insert(Entry::load(record, &*parts.store)?);
        }
        let mut orphans = parts.store.subtask_owners()?;
        orphans.retain(|seq| !board.entries.contains_key(seq));
        let (requests, asked) = mpsc::channel(REQUESTS);
        let tasks = parts.tasks.clone();
        let batches = Arc::new(Self {
            parts,
            board: Mutex::new(board),
            requests,
            wake: Notify::new(),
            admission: Notify::new(),
            one_file: Semaphore::new(1),
        });
        for seq in orphans {
            tracing::info!(
                task_seq = seq,
                "rows of a batch task that never was, removing them"
            );
            batches.sweep(seq);
        }
        let runner = runner::Runner::new(Arc::clone(&batches));
        tasks.spawn("batch runner", runner.run(asked, tasks.stop()));
        Ok(batches)
    }

    /// Has the runner look what is due. It does by itself when something is, and at least each minute.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// Forgets the tasks of a space that is being deleted; their rows are the caller's to remove.
    /// What runs is finished, and the row of that is swept at the next start.
    pub fn forget_space(&self, id: &AppId) {
        let mut board = self.board();
        board.entries.retain(|_, entry| entry.record.app_id != *id);
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task whose targets are of this space alone (`None`: any task) as it is now.
    fn entry(&self, id: &TaskId, space: Option<&AppId>) -> Result<Entry, BatchError> {
        let missing = || BatchError::NotFound(id.clone());
        let seq = seq_of(id).ok_or_else(missing)?;
        let board = self.board();
        let entry = board.entries.get(&seq).filter(|entry| {
            entry.record.task_id == *id
                && is_shown(&entry.record, space)
                && self.parts.spaces.check(&entry.record.app_id).is_ok()
        });
        let entry = entry.ok_or_else(missing)?;
        // What waits is the runner's: it is long, and nobody else needs it.
        Ok(Entry {
            record: entry.record.clone(),
            task: entry.task,
            live: None,
        })
    }

    /// The task as it is now.
    pub fn show(&self, id: &TaskId, space: Option<&AppId>) -> Result<TaskDetail, BatchError> {
        self.detail(&self.entry(id, space)?)
    }

    fn detail(&self, entry: &Entry) -> Result<TaskDetail, BatchError> {
        let mut targets = Vec::new();
        if entry.record.has_targets {
            let rows = self
                .parts
                .store
                .subtasks(entry.record.seq, 0, TARGETS_SHOWN)?;
            targets.extend(rows.into_iter().map(|(_, row)| row.target));
        }
        Ok(TaskDetail {
            status: entry.status(),
            counts: entry.task.counts,
            record: entry.record.clone(),
            targets,
        })
    }

    /// One page of the tasks that match, newest first.
    pub fn list(&self, query: &TaskQuery) -> Result<TaskPage, BatchError> {
        let mut count = 0;
        let mut entries = Vec::new();
        {
            let board = self.board();
            let fits = |entry: &&Entry| {
                query.task_type == Some(entry.record.task_type)
                    && is_shown(&entry.record, query.space.as_ref())
                    && self.parts.spaces.check(&entry.record.app_id).is_ok()
                    && query.status.is_none_or(|status| status == entry.status())
                    && query
                        .app_id
                        .as_ref()
                        .is_none_or(|id| *id == entry.record.app_id)
            };
            let mut to_skip = query.offset;
            for entry in board.entries.values().rev().filter(fits) {
                count += 1;
                if query
                    .before
                    .is_some_and(|before| entry.record.seq >= before)
                {
                    continue;
                }
                if to_skip > 0 {
                    to_skip -= 1;
                } else if entries.len() < query.limit {
                    entries.push(Entry {
                        record: entry.record.clone(),
                        task: entry.task,
                        live: None,
                    });
                }
            }
        }
        let tasks = entries.iter().map(|entry| self.detail(entry));
        Ok(TaskPage {
            tasks: tasks.collect::<Result<_, _>>()?,
            count,
        })
    }
}

/// Tells subscribers how a task stands. That it is being stopped is no status of theirs.
fn event(record: &TaskRecord, status: Status, at: Timestamp) -> Option<Change> {
    if status == Status::Stopping {
        return None;
    }
    let envelope = envelope::batch_task(record, status.word(), at);
    let envelope = envelope.inspect_err(|e| bug!("a batch task's event can't be written: {e}"));
    let envelopes = vec![envelope.ok()?];
    Some(Change::Emit(Box::new(EventRecord { at, envelopes })))
}

/// A task that reaches into other spaces is for callers of all spaces, whatever space it is in.
fn is_shown(task: &TaskRecord, space: Option<&AppId>) -> bool {
    space.is_none() || task.space.as_ref() == space
}

/// Targets that a task is shown with; its details list all of them.
const TARGETS_SHOWN: usize = 100;

/// A task's id is its `seq` in 24 hexadecimal digits, so that it is a marker, too.
fn task_id(seq: u64) -> Result<TaskId, BatchError> {
    TaskId::parse(&format!("{seq:024x}")).map_err(|e| BatchError::invalid("task_id", e))
}

fn seq_of(id: &TaskId) -> Option<u64> {
    u64::from_str_radix(id.as_str(), 16).ok()
}
