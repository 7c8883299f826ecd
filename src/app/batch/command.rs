//! One try of a subtask of `createAsyncCommands`: the device's shard takes the command and the
//! subtask's row in one commit.
//!
//! A subtask succeeds when its command was taken: what becomes of that is told of the command. One that
//! fails at once, as immediate ones do when the device is not there, fails its subtask for the same
//! reason; tried again, the subtask makes a new command. `output` is the command's id.

use serde_json::Value;

use super::Batches;
use super::attempt::{Job, Trouble, put, read};
use super::rows::note;
use crate::app::command::NewCommand;
use crate::app::order::BesideCommand;
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::engine::batch::{Input, State, Subtask};
use crate::store::catalog::{SubtaskError, SubtaskRecord};
use crate::store::commands::{CommandRecord, CommandStatus};

/// A subtask that was begun, with its row as it was before.
#[derive(Clone)]
struct Begun {
    subtask: Subtask,
    row: SubtaskRecord,
    at: Timestamp,
}

impl Begun {
    /// Where the subtask stands with this command, and the row that says so.
    fn end(&self, command: &CommandRecord) -> (State, SubtaskRecord) {
        let (mut subtask, mut row) = (self.subtask, self.row.clone());
        row.output = Some(command.id.to_string());
        let failed = command.status == CommandStatus::Failed;
        let input = match failed {
            true => Input::Fail { retriable: true },
            false => Input::Succeed,
        };
        subtask.step(self.at, input);
        note(&mut row, &subtask);
        row.error = failed.then(|| reason_of(command));
        (subtask.state, row)
    }
}

impl Batches {
    /// Sends the task's command to a device.
    pub(super) async fn send(
        &self,
        job: &Job,
        device_id: &DeviceId,
        row: SubtaskRecord,
        subtask: Subtask,
    ) -> Result<State, Trouble> {
        let new: NewCommand = read(job.work.as_ref())?;
        let at = self.parts.clock.now();
        let begun = Begun { subtask, row, at };
        let (then, task_seq, index) = (begun.clone(), job.seq, job.index);
        let beside =
            BesideCommand::new(move |command| vec![put(task_seq, index, then.end(command).1)]);
        let commands = &self.parts.commands;
        let command = commands.submit_beside(device_id, new, beside).await?;
        Ok(begun.end(&command).0)
    }
}

/// Why the command failed, as its result tells.
fn reason_of(command: &CommandRecord) -> SubtaskError {
    let detail = command.result.as_ref().map(|result| &result.detail);
    let text = |name: &str, other: &str| {
        let told = detail.and_then(|detail| detail.get(name));
        told.and_then(Value::as_str).unwrap_or(other).to_owned()
    };
    SubtaskError {
        error_code: text("error_code", "failed"),
        error_msg: text("error_msg", "the command failed"),
    }
}
