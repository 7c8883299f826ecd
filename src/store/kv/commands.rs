//! Reads of commands.

use std::ops::ControlFlow;

use super::Kv;
use super::Order;
use super::reader::Reader;
use crate::base::ids::CommandId;
use crate::store::commands::{CommandRecord, DownlinkKind, SubmissionRecord};
use crate::store::keys::{self, Table};
use crate::store::{CommandQuery, StoreError};

/// Rows read in one go.
const CHUNK: usize = 64;

impl<E: Kv> Reader<'_, E> {
    pub(super) fn command(
        &self,
        device_seq: u64,
        id: CommandId,
    ) -> Result<Option<CommandRecord>, StoreError> {
        let open = self.record(&keys::command(Table::Queue, device_seq, id))?;
        match open {
            Some(open) => Ok(Some(open)),
            None => self.record(&keys::command(Table::Ended, device_seq, id)),
        }
    }

    pub(super) fn commands(
        &self,
        query: &CommandQuery<'_>,
    ) -> Result<Vec<CommandRecord>, StoreError> {
        let table = match query.ended {
            true => Table::Ended,
            false => Table::Queue,
        };
        let (start, end) = keys::of_device(table, query.device_seq);
        let at = |time| keys::command_at(table, query.device_seq, time, 0);
        let from = query.from.map_or(start, at);
        let before = query
            .before
            .map(|id| keys::command(table, query.device_seq, id));
        let ends = [query.to.map(at), before];
        let mut to = ends.into_iter().flatten().min().unwrap_or(end);
        let mut found = Vec::new();
        while found.len() < query.limit && from < to {
            let rows = self.rows(&from, &to, Order::Descending, CHUNK)?;
            let Some((last, _)) = rows.last() else {
                break;
            };
            to.clone_from(last);
            for (key, row) in rows {
                if let Some(record) = self.decode::<CommandRecord>(&key, row)?
                    && fits(query, &record)
                    && take(&mut found, record, query.limit).is_break()
                {
                    break;
                }
            }
        }
        Ok(found)
    }

    pub(super) fn submission(
        &self,
        device_seq: u64,
        name: &[u8; 16],
    ) -> Result<Option<SubmissionRecord>, StoreError> {
        self.record(&keys::submission(device_seq, name))
    }
}

/// Only what an application asked for is listed.
fn fits(query: &CommandQuery<'_>, record: &CommandRecord) -> bool {
    record.kind == DownlinkKind::Command
        && query.status.is_none_or(|status| record.status == status)
        && query
            .command_name
            .is_none_or(|name| record.command_name == name)
}

fn take(found: &mut Vec<CommandRecord>, record: CommandRecord, limit: usize) -> ControlFlow<()> {
    found.push(record);
    match found.len() < limit {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}
