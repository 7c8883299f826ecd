//! Creation of a batch task: limits, targets, rows in chunks, and at last the record.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::board::Entry;
use super::rows::CHUNK;
use super::{BatchError, Batches, SUBTASKS_MAX, TaskDetail, task_id};
use crate::app::command::NewCommand;
use crate::app::device::{DevicePatch, NewDevice};
use crate::app::order::DesiredService;
use crate::app::space::SpaceError;
use crate::base::ids::{AppId, FileId, GroupId};
use crate::base::time::Timestamp;
use crate::bug;
use crate::engine::batch::SCHEDULE_AHEAD_MAX_MS;
use crate::store::catalog::{
    CampaignRecord, CountsRecord, PolicyRecord, SubtaskError, SubtaskRecord, SubtaskState,
    TaskPhase, TaskRecord, TaskType,
};
use crate::store::{Change, Commit, CommitError, Guard, StoreError};

/// A task to create. Formats and lengths were checked by the caller.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The caller's own when absent, else the default space.
    pub app_id: Option<AppId>,
    /// Only devices of this space are changed; `None`: of all.
    pub space: Option<AppId>,
    pub task_name: String,
    pub task_type: TaskType,
    pub task_mode: Option<String>,
    pub need_confirm: Option<bool>,
    pub task_ext_info: Option<Value>,
    /// The caller named the targets one by one.
    pub has_targets: bool,
    /// Its devices are the targets.
    pub groups: Vec<GroupId>,
    pub targets_filter: Option<Value>,
    pub subtasks: Vec<NewSubtask>,
    pub document: Option<Value>,
    pub document_source: Option<FileId>,
    pub work: Option<Work>,
    pub policy: Option<PolicyRecord>,
    /// What devices are upgraded with, of a task that does that.
    pub package_id: Option<String>,
}

/// What is done to each target that has no input of its own, where the task's type does not say it.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Work {
    Update(DevicePatch),
    Send(NewCommand),
    Desire(Vec<DesiredService>),
}

/// One target.
#[derive(Debug, Clone)]
pub struct NewSubtask {
    pub target: String,
    pub input: Input,
}

/// What to do to one target.
#[derive(Debug, Clone)]
pub enum Input {
    /// What the task does to each.
    Common,
    Create(Box<NewDevice>),
    Update(DevicePatch),
    /// It can't be done: the subtask has failed.
    Refused(Refused),
}

/// Why a target is refused from the start.
#[derive(Debug, Clone)]
pub struct Refused {
    pub error_code: String,
    pub error_msg: String,
}

/// A place among the tasks, until the task is there or is given up.
struct Place<'a>(&'a Batches, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut board = self.0.board();
        board.creating.remove(&self.1);
    }
}

impl Batches {
    /// Creates a task, which runs at once or when its time has come.
    pub async fn create(self: &Arc<Self>, new: NewTask) -> Result<TaskDetail, BatchError> {
        let this = Arc::clone(self);
        let work = async move { this.create_now(new).await };
        match self.parts.tasks.finish("batch create", work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }

    async fn create_now(self: &Arc<Self>, new: NewTask) -> Result<TaskDetail, BatchError> {
        let now = self.parts.clock.now();
        let app_id = self.space_of(&new)?;
        check_schedule(new.policy.as_ref(), now)?;
        let seq = self.parts.store.allocate_seq()?;
        let _place = self.reserve(seq, new.package_id.clone())?;
        let members = self.members_of(&new).await?;
        let mut rows = rows_of(&new, members)?;
        if let Some(package_id) = &new.package_id {
            rows = self.judge_targets(&new, package_id, rows).await?;
        }
        let scheduled = new.policy.as_ref().is_some_and(|p| p.schedule_at.is_some());
        let record = TaskRecord {
            version: 1,
            task_id: task_id(seq)?,
            seq,
            app_id: app_id.clone(),
            task_name: new.task_name,
            task_type: new.task_type,
            task_mode: new.task_mode,
            need_confirm: new.need_confirm,
            task_ext_info: new.task_ext_info,
            has_targets: new.has_targets,
            targets_filter: new.targets_filter,
            document: new.document,
            document_source: new.document_source,
            work: new.work.as_ref().map(written).transpose()?,
            space: new.space,
            policy: new.policy,
            total: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            phase: match scheduled {
                true => TaskPhase::Scheduled,
                false => TaskPhase::Running,
            },
            counts: CountsRecord::default(),
            status_desc: None,
            created_at: now,
            ended_at: None,
            campaign: new.package_id.map(|package_id| CampaignRecord {
                package_id,
                paused: false,
                canary: None,
                window: None,
            }),
        };
        let mut entry = Entry::new(record);
        for (index, row) in (0..).zip(&rows) {
            entry.join(index, row);
        }
        if let Err(error) = self.write(&entry, rows).await {
            self.sweep(seq);
            return Err(error);
        }
        let detail = self.detail(&entry)?;
        self.board().insert(entry);
        // Its space may be on its way out since the commit, and have been looked for tasks already.
        if self.parts.spaces.check(&app_id).is_err() {
            self.forget_space(&app_id);
        }
        self.wake();
        Ok(detail)
    }

    /// The task's space: it must be there.
    pub(super) fn space_of(&self, new: &NewTask) -> Result<AppId, BatchError> {
        let wanted = new.app_id.clone().or_else(|| new.space.clone());
        let space = wanted.unwrap_or_else(AppId::default_space);
        self.parts.spaces.check(&space)?;
        Ok(space)
    }

    /// A package of a task in the making is in use already.
    fn reserve(&self, seq: u64, package: Option<String>) -> Result<Place<'_>, BatchError> {
        let settings = &self.parts.settings;
        let mut board = self.board();
        if board.running() >= settings.tasks_running_max {
            return Err(BatchError::Limit {
                what: "the number of batch tasks that run or wait for their time",
                max: settings.tasks_running_max,
                remedy: "wait until one has ended, or stop one",
            });
        }
        if board.entries.len().saturating_add(board.creating.len()) >= settings.tasks_max {
            return Err(BatchError::Limit {
                what: "the number of batch tasks",
                max: settings.tasks_max,
                remedy: "delete some that have ended",
            });
        }
        board.creating.insert(seq, package);
        drop(board);
        Ok(Place(self, seq))
    }

    /// The devices of its groups. Many take long to find, so elsewhere than where others wait.
    pub(super) async fn members_of(
        self: &Arc<Self>,
        new: &NewTask,
    ) -> Result<Vec<String>, BatchError> {
        if new.groups.is_empty() {
            return Ok(Vec::new());
        }
        let (this, groups, space) = (Arc::clone(self), new.groups.clone(), new.space.clone());
        let find = move || this.members(&groups, space.as_ref());
        let found = tokio::task::spawn_blocking(find).await;
        found.map_err(|_| StoreError::Closed)?
    }

    /// The rows in chunks, then the record.
    async fn write(&self, entry: &Entry, rows: Vec<SubtaskRecord>) -> Result<(), BatchError> {
        let record = &entry.record;
        let task_seq = record.seq;
        let mut rows = (0..).zip(rows).peekable();
        while rows.peek().is_some() {
            let chunk = rows.by_ref().take(CHUNK);
            let changes = chunk.map(|(index, record)| Change::PutSubtask {
                task_seq,
                index,
                record: Box::new(record),
            });
            let commit = Commit {
                guards: Vec::new(),
                changes: changes.collect(),
            };
            self.parts.store.commit(commit).await.map_err(of_commit)?;
        }
        let commit = Commit {
            guards: vec![
                Guard::TaskVersion(task_seq, 0),
                Guard::AppExists(record.app_id.clone()),
            ],
            changes: [Change::PutTask(Box::new(record.clone()))]
                .into_iter()
                .chain(super::event(record, entry.status(), record.created_at))
                .collect(),
        };
        match self.parts.store.commit(commit).await {
            Err(CommitError::Conflict(Guard::AppExists(id))) => {
                return Err(SpaceError::Unknown(id).into());
            }
            other => other.map_err(of_commit)?,
        }
        self.parts.outbox.notify();
        Ok(())
    }
}

/// A row for each target, and for each device of its groups.
pub(super) fn rows_of(
    new: &NewTask,
    members: Vec<String>,
) -> Result<Vec<SubtaskRecord>, BatchError> {
    let members = members.into_iter().map(|target| NewSubtask {
        target,
        input: Input::Common,
    });
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    for one in new.subtasks.iter().cloned().chain(members) {
        // The same twice at once: done once. What has an input of its own is told apart by it.
        if matches!(one.input, Input::Common) && !seen.insert(one.target.clone()) {
            continue;
        }
        rows.push(row_of(one)?);
    }
    let field = match () {
        () if !new.groups.is_empty() => "targets_filter.group_ids",
        () if new.document_source.is_some() => "document_source",
        () if new.task_type == TaskType::CreateDevices => "document.devices",
        () => "targets",
    };
    if rows.is_empty() || rows.len() > SUBTASKS_MAX {
        let problem = format!("got {} targets, takes 1 to {SUBTASKS_MAX}", rows.len());
        return Err(BatchError::invalid(field, problem));
    }
    Ok(rows)
}

/// A conflict can't be: a task's record has one writer.
pub(super) fn of_commit(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        CommitError::Conflict(guard) => {
            bug!("a batch task has two writers: {guard:?}");
            StoreError::Busy
        }
    }
}

fn row_of(one: NewSubtask) -> Result<SubtaskRecord, BatchError> {
    let mut row = SubtaskRecord {
        target: one.target,
        input: None,
        refused: false,
        state: SubtaskState::Waiting,
        tries: 0,
        output: None,
        error: None,
        unconfirmed: false,
    };
    match one.input {
        Input::Common => {}
        Input::Create(new) => row.input = Some(written(&*new)?),
        Input::Update(patch) => row.input = Some(written(&patch)?),
        Input::Refused(why) => {
            row.refused = true;
            row.state = SubtaskState::Fail;
            row.error = Some(SubtaskError {
                error_code: why.error_code,
                error_msg: why.error_msg,
            });
        }
    }
    Ok(row)
}

fn written<T: Serialize>(value: &T) -> Result<Value, BatchError> {
    serde_json::to_value(value).map_err(|e| BatchError::invalid("document", e))
}

/// Now or later, within seven days. Callers name whole seconds.
fn check_schedule(policy: Option<&PolicyRecord>, now: Timestamp) -> Result<(), BatchError> {
    let Some(at) = policy.and_then(|policy| policy.schedule_at) else {
        return Ok(());
    };
    let second = |at: Timestamp| at.as_ms() / 1000;
    let last = now.plus_ms(SCHEDULE_AHEAD_MAX_MS);
    if second(at) < second(now) || at > last {
        let problem = format!(
            "got {}, takes a time from {} to {}",
            at.compact(),
            now.compact(),
            last.compact()
        );
        return Err(BatchError::invalid("task_policy.schedule_time", problem));
    }
    Ok(())
}
