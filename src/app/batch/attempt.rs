//! One try of one subtask: what the single call of the API does, with the subtask's row in the
//! same commit. A failure is recorded by a commit of its own.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::create::of_commit;
use super::rows::{note, subtask_of};
use super::{Batches, Entry};
use crate::app::device::{Beside, DeviceDetail, DeviceError, DevicePatch, NewDevice};
use crate::app::order::OrderError;
use crate::app::tasks::Stop;
use crate::base::ids::{AppId, DeviceId};
use crate::bug;
use crate::engine::batch::{Input, RetryPolicy, State};
use crate::store::catalog::{SubtaskError, SubtaskRecord, TaskType};
use crate::store::{Change, Commit, StoreError};

/// First and longest pause while the store can't be used.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(50);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A subtask to try.
pub(super) struct Job {
    pub(super) seq: u64,
    pub(super) index: u32,
    task_type: TaskType,
    pub(super) work: Option<Value>,
    space: Option<AppId>,
    pub(super) policy: RetryPolicy,
    /// Of what upgrades.
    pub(super) package_id: Option<String>,
}

/// What became of it.
pub(super) struct Done {
    pub(super) seq: u64,
    pub(super) index: u32,
    pub(super) became: Became,
}

pub(super) enum Became {
    Ended(State),
    /// The server stops; it begins anew after the next start.
    GivenUp,
    /// An upgrade that others carry on.
    UnderWay,
    /// It was told to stop, and goes on: it installs.
    GoesOn,
}

/// Why a try came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl Job {
    pub(super) fn of(entry: &Entry, index: u32) -> Self {
        let record = &entry.record;
        Self {
            seq: record.seq,
            index,
            task_type: record.task_type,
            work: record.work.clone(),
            space: record.space.clone(),
            policy: entry.policy(),
            package_id: record.campaign.as_ref().map(|c| c.package_id.clone()),
        }
    }

    pub(super) const fn became(&self, became: Became) -> Done {
        Done {
            seq: self.seq,
            index: self.index,
            became,
        }
    }
}

impl Batches {
    /// Tries until the store has taken the outcome, or the server stops.
    pub(super) async fn attempt(self: Arc<Self>, job: Job, mut stop: Stop) -> Done {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.attempt_once(&job).await {
                Ok(state) => return job.became(Became::Ended(state)),
                Err(error) => {
                    tracing::warn!(%error, task_seq = job.seq, "a subtask waits for the store");
                }
            }
            tokio::select! {
                () = stop.requested() => return job.became(Became::GivenUp),
                () = tokio::time::sleep(pause) => pause = PAUSE_MAX.min(pause * 2),
            }
        }
    }

    async fn attempt_once(&self, job: &Job) -> Result<State, StoreError> {
        let Some(row) = self.row(job.seq, job.index)? else {
            bug!("subtask {} of task {} has no row", job.index, job.seq);
            return Ok(State::Removed);
        };
        let mut subtask = subtask_of(&row, job.policy);
        if subtask.state.is_ended() {
            return Ok(subtask.state); // a commit that looked failed was not
        }
        subtask.step(self.parts.clock.now(), Input::Due);
        subtask.step(self.parts.clock.now(), Input::Begin);
        let mut success = subtask;
        success.step(self.parts.clock.now(), Input::Succeed);
        let mut done = row.clone();
        note(&mut done, &success);
        (done.input, done.error) = (None, None);
        let (task_seq, index, is_new) =
            (job.seq, job.index, job.task_type == TaskType::CreateDevices);
        let beside: Beside = Arc::new(move |detail| {
            let mut record = done.clone();
            record.output = is_new.then(|| output_of(detail));
            vec![put(task_seq, index, record)]
        });
        let ended = match job.task_type {
            TaskType::CreateAsyncCommands => match self.target(job, &row) {
                Ok(id) => self.send(job, &id, row.clone(), subtask).await,
                Err(error) => Err(error.into()),
            },
            _ => {
                let done = self.perform(job, &row, beside).await;
                done.map(|()| success.state).map_err(Trouble::from)
            }
        };
        match ended {
            Ok(state) => Ok(state),
            Err(trouble) if trouble.passes() => Err(trouble.store()),
            Err(error) => {
                let fail = Input::Fail { retriable: true };
                subtask.step(self.parts.clock.now(), fail);
                let mut failed = row;
                note(&mut failed, &subtask);
                failed.error = Some(error.error());
                let commit = Commit {
                    guards: Vec::new(),
                    changes: vec![put(task_seq, index, failed)],
                };
                self.parts.store.commit(commit).await.map_err(of_commit)?;
                Ok(subtask.state)
            }
        }
    }

    /// The use case itself.
    async fn perform(
        &self,
        job: &Job,
        row: &SubtaskRecord,
        beside: Beside,
    ) -> Result<(), DeviceError> {
        let devices = &self.parts.devices;
        if job.task_type == TaskType::CreateDevices {
            let mut new: NewDevice = read(row.input.as_ref())?;
            self.bind(&mut new, job.space.as_ref())?;
            return devices.create_beside(new, beside).await.map(drop);
        }
        let id = self.target(job, row)?;
        match job.task_type {
            // Done elsewhere.
            TaskType::CreateDevices
            | TaskType::CreateAsyncCommands
            | TaskType::FirmwareUpgrade
            | TaskType::SoftwareUpgrade => Ok(()),
            TaskType::DeleteDevices => {
                devices.delete_beside(id.clone(), beside).await?;
                self.parts.tracer.stop(&id);
                Ok(())
            }
            TaskType::FreezeDevices => devices.set_frozen(id, true, beside).await,
            TaskType::UnfreezeDevices => devices.set_frozen(id, false, beside).await,
            TaskType::UpdateDevices => {
                let patch: DevicePatch = read(row.input.as_ref().or(job.work.as_ref()))?;
                devices.update_beside(id, patch, beside).await.map(drop)
            }
            TaskType::UpdateDeviceShadows => self.desire(id, job.work.as_ref(), beside).await,
        }
    }

    /// The device that a subtask is about. For a task that is bound to a space, one of another is not there.
    pub(super) fn target(&self, job: &Job, row: &SubtaskRecord) -> Result<DeviceId, DeviceError> {
        let id = DeviceId::parse(&row.target).map_err(|e| invalid("device_id", e))?;
        if let Some(space) = &job.space
            && self.parts.devices.show(&id)?.device.app_id != *space
        {
            return Err(DeviceError::NotFound(id));
        }
        Ok(id)
    }

    /// A device of a task that is bound to a space is of that space, as its product is.
    fn bind(&self, new: &mut NewDevice, space: Option<&AppId>) -> Result<(), DeviceError> {
        let Some(space) = space else {
            return Ok(());
        };
        let product = self.parts.products.runtime(&new.product_id);
        if product.is_none_or(|product| product.record.app_id != *space) {
            return Err(DeviceError::NoProduct(new.product_id.clone()));
        }
        if let Some(other) = new.app_id.as_ref().filter(|id| *id != space) {
            let problem = format!("got {other}, takes {space}, the caller's resource space");
            return Err(invalid("app_id", problem));
        }
        if let Some(gateway) = &new.gateway_id
            && let Some(device) = self.parts.store.device(gateway)?
            && device.app_id != *space
        {
            let problem = format!("there is no device {gateway}, takes one or none");
            return Err(invalid("gateway_id", problem));
        }
        new.app_id = Some(space.clone());
        Ok(())
    }
}

pub(super) fn put(task_seq: u64, index: u32, record: SubtaskRecord) -> Change {
    Change::PutSubtask {
        task_seq,
        index,
        record: Box::new(record),
    }
}

/// Which device was made. Its secret is shown with the device alone.
fn output_of(detail: &DeviceDetail) -> String {
    let device = &detail.device;
    json!({"device_id": device.device_id, "node_id": device.node_id}).to_string()
}

impl Trouble {
    /// Stable word for rows.
    fn kind(&self) -> &'static str {
        match self {
            Self::Device(error) => error.kind(),
            Self::Order(error) => error.kind(),
        }
    }

    fn as_store(&self) -> Option<&StoreError> {
        match self {
            Self::Device(DeviceError::Store(error)) | Self::Order(OrderError::Store(error)) => {
                Some(error)
            }
            Self::Device(_) | Self::Order(_) => None,
        }
    }

    /// Whether waiting helps by itself.
    pub(super) fn passes(&self) -> bool {
        match (self.as_store(), self) {
            (Some(error), _) => matches!(
                error,
                StoreError::Full { .. } | StoreError::Io(_) | StoreError::Busy | StoreError::Closed
            ),
            (None, Self::Device(error)) => matches!(error, DeviceError::Contended),
            (None, Self::Order(error)) => {
                matches!(error, OrderError::Busy | OrderError::Overtaken)
            }
        }
    }

    /// Of what passes: what is waited for.
    pub(super) fn store(&self) -> StoreError {
        self.as_store().cloned().unwrap_or(StoreError::Busy)
    }

    /// For the row.
    pub(super) fn error(&self) -> SubtaskError {
        SubtaskError {
            error_code: self.kind().to_owned(),
            error_msg: self.told(),
        }
    }

    /// Internal text never reaches a caller.
    fn told(&self) -> String {
        match self.as_store() {
            Some(error) => {
                tracing::warn!(%error, "a subtask failed because of the store");
                "what the server holds of the device can't be read, its operator knows more"
                    .to_owned()
            }
            None => self.to_string(),
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(input: Option<&Value>) -> Result<T, DeviceError> {
    let input = input.cloned().unwrap_or_default();
    serde_json::from_value(input).map_err(|e| {
        bug!("a subtask's input can't be read: {e}");
        invalid("document", "can't be read any more, create the task anew")
    })
}

fn invalid(field: &str, problem: impl ToString) -> DeviceError {
    DeviceError::Invalid {
        field: field.to_owned(),
        problem: problem.to_string(),
    }
}
