//! A commit as the committer takes it: records are rows already, encoded on the caller's thread,
//! with the few fields beside them that the committer needs; secrets are sealed by then. Errors:
//! `StoreError::Io` for a value that can't be written, which names the record.

use serde::Serialize;

use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::store::commands::DownlinkKind;
use crate::store::facts::{DeviceFacts, StateFacts};
use crate::store::index::Owner;
use crate::store::keys::Table;
use crate::store::rows::{self, RowError};
use crate::store::seal::Sealer;
use crate::store::{Change, Commit, Guard, StoreError, sealed};

/// One commit, encoded.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) guards: Vec<Guard>,
    pub(super) steps: Vec<Step>,
    /// Bytes of all rows.
    pub(super) bytes: u64,
    /// It changes a session.
    pub(super) sessions: bool,
}

/// One change, encoded.
#[derive(Debug)]
pub(super) enum Step {
    Device {
        facts: Box<DeviceFacts>,
        row: Vec<u8>,
    },
    DeleteDevice(DeviceId),
    State {
        id: DeviceId,
        facts: Box<StateFacts>,
        row: Vec<u8>,
    },
    /// A product or a space: what others belong to.
    Owner {
        key: Vec<u8>,
        /// `None` removes it.
        row: Option<Vec<u8>>,
        /// Removed with it.
        more: Vec<Vec<u8>>,
        /// Being deleted.
        deleting: bool,
        owner: Owner,
    },
    /// A row that nothing else depends on.
    Put {
        key: Vec<u8>,
        row: Vec<u8>,
    },
    /// Two rows that belong together.
    PutTwo([(Vec<u8>, Vec<u8>); 2]),
    /// Removes rows.
    Remove(Vec<Vec<u8>>),
    /// A row that takes another's place, if it stays at all.
    Move {
        from: Vec<u8>,
        to: Option<(Vec<u8>, Vec<u8>)>,
    },
    /// A row of history or raw: the committer gives it a serial.
    Timed {
        table: Table,
        device_seq: u64,
        received_at: Timestamp,
        row: Vec<u8>,
    },
    /// The committer gives it a position.
    Event {
        row: Vec<u8>,
    },
}

impl Step {
    fn bytes(&self) -> usize {
        match self {
            Self::Device { row, .. }
            | Self::State { row, .. }
            | Self::Put { row, .. }
            | Self::Timed { row, .. }
            | Self::Event { row } => row.len(),
            Self::Owner { row, .. } => row.as_ref().map_or(0, Vec::len),
            Self::PutTwo(rows) => rows.iter().map(|(_, row)| row.len()).sum(),
            Self::Move { to, .. } => to.as_ref().map_or(0, |(_, row)| row.len()),
            Self::DeleteDevice(_) | Self::Remove(_) => 0,
        }
    }
}

impl Plan {
    pub(super) fn encode(commit: Commit, sealer: &Sealer) -> Result<Self, StoreError> {
        let mut steps = Vec::with_capacity(commit.changes.len());
        let mut sessions = false;
        for change in commit.changes {
            sessions |= matches!(change, Change::PutSession(_) | Change::DeleteSession(_));
            let name = change_name(&change);
            let step = encode_change(change, sealer)
                .map_err(|e| StoreError::Io(format!("{name} can't be written: {e}")))?;
            steps.push(step);
        }
        let bytes = steps.iter().map(Step::bytes).sum::<usize>();
        Ok(Self {
            guards: commit.guards,
            steps,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            sessions,
        })
    }
}

fn encode_change(change: Change, sealer: &Sealer) -> Result<Step, RowError> {
    use crate::store::keys;
    Ok(match change {
        Change::PutDevice(mut record) => Step::Device {
            row: sealed::encode_device(&mut record, sealer)?,
            facts: Box::new(DeviceFacts::from(*record)),
        },
        Change::DeleteDevice(id) => Step::DeleteDevice(id),
        Change::PutState(id, record) => Step::State {
            row: rows::encode(&*record)?,
            facts: Box::new(StateFacts::from(&*record)),
            id,
        },
        Change::PutSession(record) => Step::Put {
            key: keys::session(record.device_seq),
            row: sealed::encode_session(&record, sealer)?,
        },
        Change::DeleteSession(device) => Step::Remove(vec![keys::session(device)]),
        Change::PutProduct(record) => Step::Owner {
            key: keys::product(&record.product_id),
            row: Some(rows::encode(&*record)?),
            more: Vec::new(),
            deleting: record.deleting,
            owner: Owner::Product(record.product_id),
        },
        Change::DeleteProduct(id) => Step::Owner {
            key: keys::product(&id),
            row: None,
            more: vec![keys::codec(&id), keys::settings(&id), keys::replays(&id)],
            deleting: false,
            owner: Owner::Product(id),
        },
        Change::PutCodec(id, record) => Step::Put {
            key: keys::codec(&id),
            row: rows::encode(&*record)?,
        },
        Change::DeleteCodec(id) => Step::Remove(vec![keys::codec(&id)]),
        Change::PutCodecVersion(id, seq, record) => put(keys::codec_version(&id, seq), &*record)?,
        Change::DeleteCodecVersion(id, seq) => Step::Remove(vec![keys::codec_version(&id, seq)]),
        Change::PutSettings(id, record) => Step::Put {
            key: keys::settings(&id),
            row: rows::encode(&*record)?,
        },
        Change::PutPackage(record) => put(keys::package(&record.package_id), &*record)?,
        Change::DeletePackage(id) => Step::Remove(vec![keys::package(&id)]),
        Change::PutPackageName(name, record) => put(keys::package_name(&name), &record)?,
        Change::PutApp(record) => Step::Owner {
            key: keys::app(&record.app_id),
            row: Some(rows::encode(&*record)?),
            more: Vec::new(),
            deleting: record.deleting,
            owner: Owner::App(record.app_id),
        },
        Change::DeleteApp(id) => Step::Owner {
            key: keys::app(&id),
            row: None,
            more: Vec::new(),
            deleting: false,
            owner: Owner::App(id),
        },
        Change::PutGroup(record) => put(keys::group(&record.group_id), &*record)?,
        Change::DeleteGroup(id) => Step::Remove(vec![keys::group(&id)]),
        Change::PutTask(record) => put(keys::task(record.seq), &*record)?,
        Change::DeleteTask(seq) => Step::Remove(vec![keys::task(seq)]),
        Change::PutSubtask {
            task_seq,
            index,
            mut record,
        } => {
            let key = keys::subtask(task_seq, index);
            let row = sealed::encode_subtask(&key, &mut record, sealer)?;
            Step::Put { key, row }
        }
        Change::DeleteSubtasks { task_seq, indexes } => Step::Remove(
            indexes
                .map(|index| keys::subtask(task_seq, index))
                .collect(),
        ),
        Change::PutFile(record, content) => {
            let key = keys::content(&record.file_id);
            let bytes = sealed::encode_content(&key, &content, sealer)?;
            let file = (keys::file(&record.file_id), rows::encode(&*record)?);
            Step::PutTwo([file, (key, bytes)])
        }
        Change::DeleteFile(id) => Step::Remove(vec![keys::file(&id), keys::content(&id)]),
        Change::PutCertificate(record) => put(keys::certificate(&record.certificate_id), &*record)?,
        Change::DeleteCertificate(id) => Step::Remove(vec![keys::certificate(&id)]),
        Change::PutForwarding(record) => {
            let key = keys::forwarding(&record.key());
            let row = sealed::encode_forwarding(&key, &record, sealer)?;
            Step::Put { key, row }
        }
        Change::DeleteForwarding(key) => Step::Remove(vec![keys::forwarding(&key)]),
        Change::PutAudit(record) => put(keys::audit(record.at, record.seq), &*record)?,
        Change::PutCommand { device_seq, record } => {
            put(keys::command(Table::Queue, device_seq, record.id), &*record)?
        }
        Change::EndCommand { device_seq, record } => {
            let kept = match record.kind {
                DownlinkKind::Command => {
                    let key = keys::command(Table::Ended, device_seq, record.id);
                    Some((key, rows::encode(&*record)?))
                }
                DownlinkKind::Properties | DownlinkKind::Answer => None,
            };
            Step::Move {
                from: keys::command(Table::Queue, device_seq, record.id),
                to: kept,
            }
        }
        Change::PutSubmission {
            device_seq,
            name,
            record,
        } => put(keys::submission(device_seq, &name), &record)?,
        Change::AppendHistory { device_seq, record } => Step::Timed {
            table: Table::History,
            device_seq,
            received_at: record.received_at,
            row: rows::encode(&*record)?,
        },
        Change::KeepRaw { device_seq, record } => Step::Timed {
            table: Table::Raw,
            device_seq,
            received_at: record.received_at,
            row: rows::encode(&*record)?,
        },
        Change::PutRaw(device_seq, row) => {
            put(keys::timed(Table::Raw, device_seq, row.key), &row.record)?
        }
        Change::DeleteRaw(device_seq, key) => {
            Step::Remove(vec![keys::timed(Table::Raw, device_seq, key)])
        }
        Change::PutReplays(id, record) => put(keys::replays(&id), &*record)?,
        Change::PutDelivery { action_seq, record } => put(keys::delivery(action_seq), &*record)?,
        Change::DeleteDelivery { action_seq } => Step::Remove(vec![keys::delivery(action_seq)]),
        Change::PutSetAside { action_seq, record } => {
            put(keys::set_aside(action_seq, record.key()), &*record)?
        }
        Change::DeleteSetAside { action_seq, key } => {
            Step::Remove(vec![keys::set_aside(action_seq, key)])
        }
        Change::Emit(record) => Step::Event {
            row: rows::encode(&*record)?,
        },
    })
}

fn put<T: Serialize>(key: Vec<u8>, record: &T) -> Result<Step, RowError> {
    let row = rows::encode(record)?;
    Ok(Step::Put { key, row })
}

const fn change_name(change: &Change) -> &'static str {
    match change {
        Change::PutDevice(_) => "a device record",
        Change::DeleteDevice(_) => "the deletion of a device",
        Change::PutState(..) => "a device state",
        Change::PutSession(_) => "a session record",
        Change::DeleteSession(_) => "the end of a session",
        Change::PutProduct(_) => "a product record",
        Change::DeleteProduct(_) => "the deletion of a product",
        Change::PutCodec(..) => "a codec record",
        Change::DeleteCodec(_) => "the deletion of a codec",
        Change::PutCodecVersion(..) => "a version of a codec",
        Change::DeleteCodecVersion(..) => "the deletion of a version of a codec",
        Change::PutSettings(..) => "a settings record",
        Change::PutPackage(_) => "a package",
        Change::DeletePackage(_) => "the deletion of a package",
        Change::PutPackageName(..) => "the name of a package",
        Change::PutApp(_) => "a resource space",
        Change::DeleteApp(_) => "the deletion of a resource space",
        Change::PutGroup(_) => "a group",
        Change::DeleteGroup(_) => "the deletion of a group",
        Change::PutTask(_) => "a batch task",
        Change::DeleteTask(_) => "the deletion of a batch task",
        Change::PutSubtask { .. } => "a subtask",
        Change::DeleteSubtasks { .. } => "the deletion of subtasks",
        Change::PutFile(..) => "a file",
        Change::DeleteFile(_) => "the deletion of a file",
        Change::PutCertificate(_) => "a certificate",
        Change::DeleteCertificate(_) => "the deletion of a certificate",
        Change::PutForwarding(_) => "a record of forwarding",
        Change::DeleteForwarding(_) => "the deletion of a record of forwarding",
        Change::PutAudit(_) => "an audit record",
        Change::PutCommand { .. } => "a command",
        Change::EndCommand { .. } => "the end of a command",
        Change::PutSubmission { .. } => "a submission",
        Change::AppendHistory { .. } => "a history record",
        Change::KeepRaw { .. } => "a raw uplink",
        Change::PutRaw(..) => "another reading of a raw uplink",
        Change::DeleteRaw(..) => "the end of a raw uplink",
        Change::PutReplays(..) => "the replays of a product",
        Change::PutDelivery { .. } => "the progress of pushes",
        Change::DeleteDelivery { .. } => "the end of pushes",
        Change::PutSetAside { .. } => "a push that was set aside",
        Change::DeleteSetAside { .. } => "the end of a push that was set aside",
        Change::Emit(_) => "an event",
    }
}
