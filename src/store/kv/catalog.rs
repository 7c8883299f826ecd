//! Reads of what applications arrange around devices, and of the audit log.

use serde::de::DeserializeOwned;

use super::Kv;
use super::Order;
use super::reader::{Reader, corrupt};
use crate::base::ids::FileId;
use crate::store::catalog::{
    AppRecord, AuditRecord, CertificateRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    TaskRecord,
};
use crate::store::forwarding::ForwardingRecord;
use crate::store::keys::{self, Table};
use crate::store::{AuditQuery, StoreError};

impl<E: Kv> Reader<'_, E> {
    pub(super) fn apps(&self) -> Result<Vec<AppRecord>, StoreError> {
        self.table(Table::Apps, |app: &AppRecord| app.seq)
    }

    pub(super) fn groups(&self) -> Result<Vec<GroupRecord>, StoreError> {
        self.table(Table::Groups, |group: &GroupRecord| group.seq)
    }

    pub(super) fn tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.table(Table::Tasks, |task: &TaskRecord| task.seq)
    }

    pub(super) fn files(&self) -> Result<Vec<FileRecord>, StoreError> {
        self.table(Table::Files, |file: &FileRecord| file.seq)
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        self.table(Table::Certificates, |one: &CertificateRecord| one.seq)
    }

    pub(super) fn forwarding(&self) -> Result<Vec<ForwardingRecord>, StoreError> {
        let (from, to) = Table::Forwarding.span();
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Ascending, usize::MAX)? {
            found.extend(self.open_forwarding(&key, row)?);
        }
        found.sort_by_key(|record| (record.kind(), std::cmp::Reverse(record.seq())));
        Ok(found)
    }

    /// A whole table, newest first.
    pub(super) fn table<T: DeserializeOwned>(
        &self,
        table: Table,
        seq: fn(&T) -> u64,
    ) -> Result<Vec<T>, StoreError> {
        let (from, to) = table.span();
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Ascending, usize::MAX)? {
            found.extend(self.decode::<T>(&key, row)?);
        }
        found.sort_by_key(|record| std::cmp::Reverse(seq(record)));
        Ok(found)
    }

    pub(super) fn subtasks(
        &self,
        task_seq: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, SubtaskRecord)>, StoreError> {
        let from = keys::subtask(task_seq, from);
        let to = match task_seq.checked_add(1) {
            Some(next) => keys::subtask(next, 0),
            None => Table::Subtasks.span().1,
        };
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Ascending, limit)? {
            let Some((_, index)) = keys::split_subtask(&key) else {
                return Err(corrupt(self.engine(), &key, "the key has another shape"));
            };
            let record = self.open_subtask(&key, row)?;
            found.extend(record.map(|record| (index, record)));
        }
        Ok(found)
    }

    /// Hops from one task's subtasks to the next task's.
    pub(super) fn subtask_owners(&self) -> Result<Vec<u64>, StoreError> {
        let (mut from, to) = Table::Subtasks.span();
        let mut owners = Vec::new();
        while let Some((key, _)) = self.rows(&from, &to, Order::Ascending, 1)?.first() {
            let Some((task_seq, _)) = keys::split_subtask(key) else {
                return Err(corrupt(self.engine(), key, "the key has another shape"));
            };
            owners.push(task_seq);
            match task_seq.checked_add(1) {
                Some(next) => from = keys::subtask(next, 0),
                None => break,
            }
        }
        Ok(owners)
    }

    pub(super) fn file_content(&self, id: &FileId) -> Result<Option<FileContent>, StoreError> {
        let key = keys::content(id);
        match self.engine().get(&key)? {
            None => Ok(None),
            Some(row) => self.open_content(&key, row),
        }
    }

    pub(super) fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        let (start, end) = Table::Audit.span();
        let from = query.from.map_or(start, |at| keys::audit(at, 0));
        let ends = [query.to.map(|at| (at, 0)), query.before];
        let to = ends.into_iter().flatten().min();
        let to = to.map_or(end, |(at, seq)| keys::audit(at, seq));
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Descending, query.limit)? {
            found.extend(self.decode::<AuditRecord>(&key, row)?);
        }
        Ok(found)
    }
}
