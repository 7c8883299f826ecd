//! Raw uplinks of a device get their effects: one durable step on the device's shard.
//!
//! What was raw is gone, history has it at its place in time, subscribers hear of it as late, and the
//! shadow has what it lacked. Nothing else of the device changes: it said nothing now, so it is not
//! seen, not answered, and nothing is sent for it.

use crate::app::command::reply::take_late_response;
use crate::app::command::submit::add;
use crate::app::envelope::{self, DeviceHeader};
use crate::app::note::Note;
use crate::app::order::{Late, OrderError, Read, Repair, Replay, Told};
use crate::app::report::services_json;
use crate::app::step::{Draft, Loaded, Outcome, Step};
use crate::base::time::Timestamp;
use crate::engine::shadow::merge_reported;
use crate::product::codec::ServiceReport;
use crate::store::Change;
use crate::store::records::{HistoryRecord, RawRecord, ShadowRecord};
use crate::store::replays::RawRow;

/// Takes what was read late. Errors: `NotFound` for another device with the id, `Overtaken` when its
/// state has changed since the repairs were found.
pub fn step(loaded: &Loaded, replay: &Replay, now: Timestamp) -> Step {
    let refusal = if loaded.device.seq != replay.device_seq {
        Some(OrderError::NotFound)
    } else if loaded.state.version != replay.state_version {
        Some(OrderError::Overtaken)
    } else {
        None
    };
    if let Some(error) = refusal {
        return Step {
            told: Some(Err(error)),
            ..Step::default()
        };
    }
    let mut draft = Draft::new(loaded, now);
    for late in &replay.uplinks {
        take(&mut draft, late);
    }
    add(&mut draft, &replay.beside);
    let mut step = draft.finish(Outcome::Done);
    step.told = Some(Ok(Told::Replayed));
    step.note = Some(told_of(replay));
    step
}

fn take(draft: &mut Draft<'_>, late: &Late) {
    let received_at = late.key.received_at;
    match &late.read {
        Read::Report {
            services,
            repairs,
            rest,
        } => {
            if !services.is_empty() {
                report(draft, services, received_at);
            }
            for repair in repairs {
                merge(draft, repair);
            }
            keep(draft, late, rest.as_deref());
        }
        Read::Response(response) => {
            let ended = take_late_response(draft, response, received_at);
            // The next in line may have waited for it.
            draft.follow |= ended.is_some();
            keep(draft, late, None);
        }
        Read::Nothing => keep(draft, late, None),
        Read::Unread(record) => keep(draft, late, Some(record)),
    }
}

/// History and event.
fn report(draft: &mut Draft<'_>, services: &[ServiceReport], received_at: Timestamp) {
    let device = &draft.loaded.device;
    let (device_seq, header) = (device.seq, DeviceHeader::from(device));
    let services = services_json(services, received_at);
    let now = draft.now;
    draft.tell(envelope::late_report(&header, &services, received_at, now));
    let record = Box::new(HistoryRecord {
        received_at,
        services,
    });
    draft.change(Change::AppendHistory { device_seq, record });
}

fn merge(draft: &mut Draft<'_>, repair: &Repair) {
    let shadow = &mut draft.state.shadow;
    let known = shadow
        .iter_mut()
        .find(|s| s.service_id == repair.service_id);
    match known {
        Some(known) => {
            merge_reported(&mut known.reported, &repair.properties);
            known.reported_at = repair.reported_at.or(known.reported_at);
        }
        None => shadow.push(ShadowRecord {
            service_id: repair.service_id.clone(),
            version: 0,
            reported: repair.properties.clone(),
            reported_at: repair.reported_at,
            desired: serde_json::Map::new(),
            desired_at: None,
        }),
    }
}

/// What stays of a raw uplink; `None`: nothing.
fn keep(draft: &mut Draft<'_>, late: &Late, rest: Option<&RawRecord>) {
    let (device_seq, key) = (draft.loaded.device.seq, late.key);
    draft.change(match rest {
        None => Change::DeleteRaw(device_seq, key),
        Some(record) => {
            let record = record.clone();
            let row = Box::new(RawRow { key, record });
            Change::PutRaw(device_seq, row)
        }
    });
}

fn told_of(replay: &Replay) -> Note {
    let is_unread = |late: &&Late| matches!(late.read, Read::Unread(_));
    let unread = replay.uplinks.iter().filter(is_unread).count();
    let read = replay.uplinks.len() - unread;
    Note::new(format!(
        "{read} uplinks that were kept raw are read now, {unread} stay"
    ))
}
