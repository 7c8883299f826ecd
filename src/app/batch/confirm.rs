//! Orders to confirm upgrades: a task with `need_confirm` begins those targets alone that somebody
//! has confirmed.

use super::orders::{OrderResult, Row, changed, state};
use super::rows::{CHUNK, subtask_of};
use super::{BatchError, Batches, Entry};
use crate::engine::batch::{Phase, State};

impl Batches {
    /// Confirms all (`targets` empty: no results), or these.
    pub(super) async fn confirm(
        &self,
        entry: &Entry,
        targets: Option<&[String]>,
    ) -> Result<Vec<OrderResult>, BatchError> {
        if !matches!(entry.task.phase, Phase::Scheduled { .. } | Phase::Running) {
            return Err(state(entry, "takes a task that waits or is processing"));
        }
        let seq = entry.record.seq;
        let (chosen, results) = match targets {
            None => {
                let rows = self.rows_where(seq, |row| row.unconfirmed).await?;
                (rows, Vec::new())
            }
            Some(targets) => self.rows_to_confirm(entry, targets).await?,
        };
        if chosen.is_empty() && targets.is_none() {
            return Err(state(entry, "no target of it waits to be confirmed"));
        }
        for chunk in chosen.chunks(CHUNK) {
            let confirmed = chunk.iter().map(|(index, row)| {
                let mut row = row.clone();
                row.unconfirmed = false;
                let subtask = subtask_of(&row, entry.policy());
                changed(entry, *index, &row, &subtask)
            });
            self.commit(confirmed.collect()).await?;
            let mut board = self.board();
            let there = board.entries.get_mut(&seq);
            if let Some(live) = there.and_then(|there| there.live.as_mut()) {
                for (index, _) in chunk {
                    if live.unconfirmed.remove(index) {
                        live.add(*index, State::Waiting);
                    }
                }
            }
        }
        Ok(results)
    }

    async fn rows_to_confirm(
        &self,
        entry: &Entry,
        targets: &[String],
    ) -> Result<(Vec<Row>, Vec<OrderResult>), BatchError> {
        let named = self.rows_named(entry.record.seq, targets).await?;
        let (mut chosen, mut results) = (Vec::new(), Vec::new());
        for target in targets {
            let rows = named.get(target).into_iter().flatten();
            let mut problem = Some("the task has no such target".to_owned());
            for (index, row) in rows {
                if row.unconfirmed {
                    problem = None;
                    chosen.push((*index, row.clone()));
                    break;
                }
                let word = self.standing(entry, *index, row).state.word();
                problem = Some(format!(
                    "it is {word}, takes one that waits to be confirmed"
                ));
            }
            results.push(OrderResult {
                target: target.clone(),
                problem,
            });
        }
        Ok((chosen, results))
    }
}
