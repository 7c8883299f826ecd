//! The audit log: who asked for which write, from where, and what came of it.
//!
//! A row is durable before the write begins, and without it there is no write. It is written again,
//! under the same key, with how the write ended: a row without a status is a write whose end the
//! server did not live to see. Rows go by age (`store.audit_days`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::credentials::Caller;
use crate::base::time::{Clock, Timestamp};
use crate::store::catalog::AuditRecord;
use crate::store::{AuditQuery, Change, Commit, CommitError, Completion, Store, StoreError};

/// Longest path, target and address kept, in bytes.
const TEXT_MAX: usize = 512;

/// Rows read from the store at once.
const STEP: usize = 500;

/// Rows looked at for one page: rare ones are found page by page.
const ROWS_MAX: usize = 20_000;

/// Writes and reads the log.
pub struct Audit {
    store: Arc<dyn Store>,
    clock: Clock,
    /// Tells rows of one millisecond apart. Begins anywhere, so that a process does not write over
    /// rows of the one before when the clock steps back.
    next: AtomicU64,
}

/// A write that is asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub from: String,
    pub request_id: String,
    pub method: String,
    pub path: String,
    pub operation: &'static str,
    pub targets: Vec<(String, String)>,
}

/// A row without its end.
#[must_use = "how it ended is to be written, too"]
#[derive(Debug)]
pub struct Entry {
    record: AuditRecord,
}

/// Which rows: all that fit every condition.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub access_key: Option<String>,
    pub operation: Option<String>,
    /// Value of any target.
    pub target: Option<String>,
    pub status: Option<u16>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Below the row with this key.
    pub before: Option<(Timestamp, u64)>,
    pub limit: usize,
}

/// Rows, newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditPage {
    pub rows: Vec<AuditRecord>,
    /// Where to go on; `None`: there is no more.
    pub next: Option<(Timestamp, u64)>,
}

impl Audit {
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            next: AtomicU64::new(u64::from(fastrand::u32(..)) << 31),
        }
    }

    /// Writes the row. Without it nothing may be changed: an error is the answer to the request.
    pub async fn begin(&self, caller: &Caller, asked: Asked) -> Result<Entry, StoreError> {
        let targets = asked.targets.into_iter();
        let record = AuditRecord {
            at: self.clock.now(),
            seq: self.next.fetch_add(1, Ordering::Relaxed),
            access_key: caller.access_key.clone(),
            role: caller.role.as_str().to_owned(),
            from: bounded(asked.from),
            request_id: bounded(asked.request_id),
            method: asked.method,
            path: bounded(asked.path),
            operation: asked.operation.to_owned(),
            targets: targets.map(|(n, v)| (n, bounded(v))).collect(),
            status: None,
            error_code: None,
        };
        match self.put(&record).await {
            Ok(()) => Ok(Entry { record }),
            Err(error) => {
                metrics::counter!("strait_audit_failed_total").increment(1);
                Err(match error {
                    CommitError::Store(error) => error,
                    // It has no guards.
                    CommitError::Conflict(_) => StoreError::Busy,
                })
            }
        }
    }

    /// Writes how it ended. A failure is logged: the write itself is done. `made`: what the request
    /// named or created beside its path.
    pub async fn end(
        &self,
        entry: Entry,
        status: u16,
        error_code: Option<&str>,
        made: Vec<(String, String)>,
    ) {
        let mut record = AuditRecord {
            status: Some(status),
            error_code: error_code.map(str::to_owned),
            ..entry.record
        };
        let made = made.into_iter().map(|(name, value)| (name, bounded(value)));
        record.targets.extend(made);
        if let Err(error) = self.put(&record).await {
            metrics::counter!("strait_audit_failed_total").increment(1);
            tracing::error!(
                %error, request_id = record.request_id, operation = record.operation,
                access_key = record.access_key, status,
                "the audit log lacks how a request ended"
            );
        }
    }

    fn put(&self, record: &AuditRecord) -> Completion {
        self.store.commit(Commit {
            guards: Vec::new(),
            changes: vec![Change::PutAudit(Box::new(record.clone()))],
        })
    }

    /// One page of the log. Blocks.
    pub fn list(&self, wanted: &Wanted) -> Result<AuditPage, StoreError> {
        let mut page = AuditPage::default();
        let mut before = wanted.before;
        let mut looked_at = 0;
        loop {
            let rows = self.store.audit(&AuditQuery {
                from: wanted.from,
                to: wanted.to,
                before,
                limit: STEP,
            })?;
            looked_at += rows.len();
            let is_end = rows.len() < STEP;
            for row in rows {
                let place = (row.at, row.seq);
                if wanted.fits(&row) {
                    if page.rows.len() >= wanted.limit {
                        page.next = before;
                        return Ok(page);
                    }
                    page.rows.push(row);
                }
                before = Some(place);
            }
            if is_end {
                return Ok(page);
            }
            if looked_at >= ROWS_MAX {
                page.next = before;
                return Ok(page);
            }
        }
    }
}

impl Wanted {
    fn fits(&self, row: &AuditRecord) -> bool {
        let is = |wanted: &Option<String>, got: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| got == Some(wanted))
        };
        let target = self.target.as_ref();
        is(&self.access_key, row.access_key.as_deref())
            && is(&self.operation, Some(&row.operation))
            && self.status.is_none_or(|status| row.status == Some(status))
            && target.is_none_or(|target| row.targets.iter().any(|(_, value)| value == target))
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn pages_go_on_where_they_ended_through_rows_that_do_not_fit() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let audit = Audit::new(store, Clock::manual(Timestamp::from_ms(5000)));
        for n in 0..1500_u16 {
            let asked = Asked {
                path: "é".repeat(400),
                targets: vec![("device_id".to_owned(), format!("d{}", n % 500))],
                operation: if n % 3 == 0 { "third" } else { "other" },
                ..Asked::default()
            };
            let entry = audit.begin(&Caller::anyone(), asked).await.unwrap();
            audit.end(entry, 200 + n % 2, None, Vec::new()).await;
        }
        let mut wanted = Wanted {
            operation: Some("third".to_owned()),
            status: Some(201),
            limit: 100,
            ..Wanted::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = audit.list(&wanted).unwrap();
            assert!(page.rows.len() <= 100);
            seen.extend(page.rows.iter().map(|row| (row.at, row.seq)));
            assert!(page.rows.iter().all(|row| row.path.len() == TEXT_MAX));
            wanted.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 250);
        assert!(seen.is_sorted_by(|a, b| a > b));
        let one = Wanted {
            target: Some("d7".to_owned()),
            limit: 10,
            ..Wanted::default()
        };
        assert_eq!(audit.list(&one).unwrap().rows.len(), 3);
    }
}
