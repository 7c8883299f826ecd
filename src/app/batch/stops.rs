//! Orders to stop a task, or some of its targets. What waits is stopped at once. Of what runs, upgrades
//! are told to their devices' shards, and other things are finished.

use futures_util::future::join_all;

use super::orders::{OrderResult, changed, state};
use super::{BatchError, Batches, Entry};
use crate::app::upgrade::line::Campaigns;
use crate::engine::batch::{Input, Order, Phase, State};
use crate::store::StoreError;

impl Batches {
    pub(super) async fn stop_all(&self, mut entry: Entry) -> Result<Vec<OrderResult>, BatchError> {
        let now = self.parts.clock.now();
        if entry.task.step(now, Order::Stop).is_none() {
            return Err(state(&entry, "takes a task that waits or is processing"));
        }
        let seq = entry.record.seq;
        self.put_stopping(entry).await?;
        // A small task is stopped when the caller hears of it, unless something runs. What the
        // store refuses now, the runner does later.
        if self.stop_some(seq).await.is_ok() && self.board().finished().contains(&seq) {
            drop(self.finish(seq).await);
        }
        Ok(Vec::new())
    }

    /// Writes that a task is being stopped.
    pub(super) async fn put_stopping(&self, mut entry: Entry) -> Result<(), StoreError> {
        self.put(&mut entry).await?;
        let mut board = self.board();
        if let Some(there) = board.entries.get_mut(&entry.record.seq) {
            (there.record, there.task.phase) = (entry.record, entry.task.phase);
            there.stop_begun();
        }
        Ok(())
    }

    pub(super) async fn stop_these(
        &self,
        entry: &Entry,
        targets: &[String],
    ) -> Result<Vec<OrderResult>, BatchError> {
        if !matches!(entry.task.phase, Phase::Scheduled { .. } | Phase::Running) {
            return Err(state(entry, "takes a task that waits or is processing"));
        }
        let rows = self.rows_named(entry.record.seq, targets).await?;
        let now = self.parts.clock.now();
        let is_campaign = entry.record.campaign.is_some();
        let (mut stopped, mut changes) = (Vec::new(), Vec::new());
        let (mut results, mut begun) = (Vec::new(), Vec::new());
        for target in targets {
            let mut problem = Some("the task has no such target".to_owned());
            for (index, row) in rows.get(target).into_iter().flatten() {
                let mut subtask = self.standing(entry, *index, row);
                let before = subtask.state;
                if is_campaign && before == State::Processing {
                    problem = None;
                    begun.push((results.len(), *index));
                    break;
                }
                if subtask.step(now, Input::Stop).is_none() {
                    problem = Some(not_stopped(before));
                    continue;
                }
                problem = None;
                stopped.push(*index);
                changes.push(changed(entry, *index, row, &subtask));
                break;
            }
            results.push(OrderResult {
                target: target.clone(),
                problem,
            });
        }
        self.commit(changes).await?;
        let seq = entry.record.seq;
        self.mark_stopped(seq, &stopped);
        let ended = begun.into_iter().map(|(at, index)| async move {
            let problem = self.stop_begun(seq, index).await;
            (at, problem)
        });
        for (at, problem) in join_all(ended).await {
            if let Some(result) = results.get_mut(at) {
                result.problem = problem;
            }
        }
        Ok(results)
    }

    /// Stops an upgrade that is under way; why it was not.
    async fn stop_begun(&self, seq: u64, index: u32) -> Option<String> {
        let state = match self.stop_once(seq, index).await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, task_seq = seq, "an upgrade was not stopped");
                return Some("it can't be stopped just now, try again".to_owned());
            }
        };
        if state == State::Processing {
            return Some("it installs already, and ends by itself".to_owned());
        }
        self.settled(seq, index, state);
        (state != State::Stopped).then(|| not_stopped(state))
    }
}

fn not_stopped(state: State) -> String {
    format!("it is {}, takes one that waits", state.word())
}
