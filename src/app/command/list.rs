//! Lists of a device's commands, on a thread that may block: a history is long, and what fits in it
//! may be rare. Few such searches run at a time.

use std::sync::Arc;

use super::Commands;
use crate::base::ids::CommandId;
use crate::base::time::Timestamp;
use crate::store::commands::{CommandRecord, CommandStatus};
use crate::store::{CommandQuery, StoreError};

/// Commands read in one go.
const CHUNK: usize = 256;

/// Which of a device's commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandFilter {
    /// Those that ended or rest; else those that are open.
    pub ended: bool,
    /// By time of creation: `from` inclusive, `to` exclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub status: Option<CommandStatus>,
    pub command_name: Option<String>,
}

/// Which page of them, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandList {
    pub filter: CommandFilter,
    /// Only those before this one.
    pub before: Option<CommandId>,
    pub offset: usize,
    pub limit: usize,
}

impl CommandFilter {
    fn query(&self, device_seq: u64, before: Option<CommandId>, limit: usize) -> CommandQuery<'_> {
        CommandQuery {
            device_seq,
            ended: self.ended,
            from: self.from,
            to: self.to,
            before,
            status: self.status,
            command_name: self.command_name.as_deref(),
            limit,
        }
    }
}

impl Commands {
    /// One page.
    pub async fn list(
        self: &Arc<Self>,
        device_seq: u64,
        list: CommandList,
    ) -> Result<Vec<CommandRecord>, StoreError> {
        self.search(move |this| {
            let wanted = list.offset.saturating_add(list.limit);
            let query = list.filter.query(device_seq, list.before, wanted);
            let mut found = this.parts.store.commands(&query)?;
            found.drain(..list.offset.min(found.len()));
            Ok(found)
        })
        .await
    }

    /// How many fit, on whatever page.
    pub async fn count(
        self: &Arc<Self>,
        device_seq: u64,
        filter: CommandFilter,
    ) -> Result<u64, StoreError> {
        self.search(move |this| {
            let (mut count, mut before) = (0_u64, None);
            loop {
                let query = filter.query(device_seq, before, CHUNK);
                let found = this.parts.store.commands(&query)?;
                count = count.saturating_add(found.len() as u64);
                before = found.last().map(|last| last.id);
                if found.len() < CHUNK {
                    return Ok(count);
                }
            }
        })
        .await
    }

    async fn search<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // Closed never happens: the semaphore lives as long as the service.
        let turn = Arc::clone(&self.scans).acquire_owned().await.ok();
        let this = Arc::clone(self);
        let searching = tokio::task::spawn_blocking(move || {
            // Kept until the search is over, also when nobody waits for it any more.
            let _turn = turn;
            work(&this)
        });
        searching.await.map_err(|_| StoreError::Closed)?
    }
}
