//! The subtasks of a batch task, by page: newest first, as all lists of the v5 API.

use std::collections::BTreeSet;

use super::rows::{NO_RETRY, subtask_of};
use super::{BatchError, Batches, TaskDetail};
use crate::base::ids::{AppId, TaskId};
use crate::engine::batch::State;
use crate::store::catalog::{SubtaskError, SubtaskRecord};

/// Which subtasks.
#[derive(Debug, Clone)]
pub struct DetailQuery {
    /// A word of [`State::word`].
    pub status: Option<&'static str>,
    pub target: Option<String>,
    /// Only those with a smaller index.
    pub before: Option<u64>,
    pub offset: usize,
    pub limit: usize,
}

/// One subtask.
#[derive(Debug, Clone)]
pub struct Detail {
    pub index: u32,
    pub target: String,
    pub status: &'static str,
    pub output: Option<String>,
    pub error: Option<SubtaskError>,
}

/// One page, with its task.
#[derive(Debug)]
pub struct DetailPage {
    pub task: TaskDetail,
    pub details: Vec<Detail>,
    /// All that match, on whatever page.
    pub count: u64,
}

impl Batches {
    /// One page of a task's subtasks.
    pub async fn details(
        &self,
        id: &TaskId,
        space: Option<&AppId>,
        query: &DetailQuery,
    ) -> Result<DetailPage, BatchError> {
        let entry = self.entry(id, space)?;
        let task = self.detail(&entry)?;
        let (rows, count) = match (query.status, &query.target) {
            (None, None) => {
                let rows = self.page_of(entry.record.seq, entry.record.total, query)?;
                (rows, u64::from(entry.record.total))
            }
            _ => self.found(entry.record.seq, query).await?,
        };
        let running = self.running_of(entry.record.seq);
        let details = rows.into_iter().map(|(index, row)| Detail {
            index,
            status: word_in(&running, index, &row),
            target: row.target,
            output: row.output,
            error: row.error,
        });
        Ok(DetailPage {
            details: details.collect(),
            task,
            count,
        })
    }

    /// Indexes have no gaps, so the place of a page is known.
    fn page_of(
        &self,
        seq: u64,
        total: u32,
        query: &DetailQuery,
    ) -> Result<Vec<(u32, SubtaskRecord)>, BatchError> {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let before = query.before.and_then(|n| u32::try_from(n).ok());
        let end = before
            .unwrap_or(total)
            .min(total)
            .saturating_sub(small(query.offset));
        let start = end.saturating_sub(small(query.limit));
        let limit = usize::try_from(end.saturating_sub(start)).unwrap_or(query.limit);
        let mut rows = self.parts.store.subtasks(seq, start, limit)?;
        rows.reverse();
        Ok(rows)
    }

    /// Looks at every row.
    async fn found(
        &self,
        seq: u64,
        query: &DetailQuery,
    ) -> Result<(Vec<(u32, SubtaskRecord)>, u64), BatchError> {
        let running = self.running_of(seq);
        let (status, target) = (query.status, query.target.clone());
        let rows = self.rows_where(seq, move |row| {
            // Running or waiting is told below: no row says it.
            let word = subtask_of(row, NO_RETRY).state.word();
            let waits = word == State::Waiting.word();
            status.is_none_or(|s| s == word || (waits && s == State::Processing.word()))
                && target.as_ref().is_none_or(|t| *t == row.target)
        });
        let mut rows = rows.await?;
        if let Some(status) = query.status {
            rows.retain(|(index, row)| word_in(&running, *index, row) == status);
        }
        let count = rows.len() as u64;
        let before = |index: u32| query.before.is_none_or(|before| u64::from(index) < before);
        let page = rows.into_iter().rev().filter(|(index, _)| before(*index));
        let page = page.skip(query.offset).take(query.limit);
        Ok((page.collect(), count))
    }

    fn running_of(&self, seq: u64) -> BTreeSet<u32> {
        let board = self.board();
        let live = board
            .entries
            .get(&seq)
            .and_then(|entry| entry.live.as_ref());
        live.map(|live| live.running.clone()).unwrap_or_default()
    }
}

fn word_in(running: &BTreeSet<u32>, index: u32, row: &SubtaskRecord) -> &'static str {
    match subtask_of(row, NO_RETRY).state {
        State::Waiting if running.contains(&index) => State::Processing.word(),
        state => state.word(),
    }
}
