//! What the product's codec and model make of raw uplinks now.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::MODEL;
use super::repair::Known;
use super::taken::Taken;
use crate::app::codec_runner::CodecRunner;
use crate::app::order::{Late, Read};
use crate::app::report::describe;
use crate::base::ids::DeviceId;
use crate::product::check;
use crate::product::codec::call::{Call, Reply};
use crate::product::codec::{Codec, CodecError, Decoded, Uplink};
use crate::product::profile::Profile;
use crate::store::records::RawRecord;
use crate::store::replays::{RawRow, ReplayRecord, UnreadRecord};

/// Calls under way where codecs run.
const CALLS: usize = 8;

/// Kinds of which a replay tells.
const KINDS_TOLD: usize = 16;
/// Bytes and characters told of the first uplink of a kind.
const BYTES_TOLD: usize = 64;
const REASON_TOLD: usize = 200;

/// Decodes each, where the codec runs.
pub(super) async fn decode(
    pool: &dyn CodecRunner,
    codec: &Arc<dyn Codec>,
    rows: &[RawRow],
) -> Vec<Result<Decoded, CodecError>> {
    let calls = rows.iter().map(|row| {
        let uplink = Uplink {
            payload: &row.record.payload,
            received_at: row.record.received_at,
            f_port: None,
        };
        Call::decode(&uplink, false)
    });
    if let Some(outside) = codec.outside() {
        let under_way: Vec<_> = calls.map(|call| pool.call(outside, call)).collect();
        let replies = stream::iter(under_way).buffered(CALLS);
        return replies.map(decoded).collect().await;
    }
    let (codec, calls) = (Arc::clone(codec), calls.collect::<Vec<_>>());
    let count = calls.len();
    let work = move || -> Vec<_> {
        let each = calls.iter();
        each.map(|call| decoded(call.perform(&*codec))).collect()
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        let ended = CodecError::Unavailable {
            reason: "the codec broke off".to_owned(),
        };
        vec![Err(ended); count]
    })
}

fn decoded(reply: Result<Reply, CodecError>) -> Result<Decoded, CodecError> {
    match reply? {
        Reply::Decoded { decoded, .. } => Ok(decoded),
        _ => Err(CodecError::Unavailable {
            reason: "it answered another call".to_owned(),
        }),
    }
}

/// What becomes of an uplink.
pub(super) fn judge(
    profile: &Profile,
    row: &RawRow,
    decoded: Result<Decoded, CodecError>,
    mut taken: Taken,
    known: &mut Known,
) -> Late {
    let key = row.key;
    let raw = |kind: &str, reason: String| {
        Box::new(RawRecord {
            kind: kind.to_owned(),
            reason,
            ..row.record.clone()
        })
    };
    let read = match decoded {
        // What was taken of it stays known by its kind.
        Err(error) if row.record.kind == MODEL => Read::Unread(raw(MODEL, error.to_string())),
        Err(error) => Read::Unread(raw(error.kind(), error.to_string())),
        Ok(Decoded::Nothing) => Read::Nothing,
        Ok(Decoded::Response(response)) => Read::Response(response),
        Ok(Decoded::Report(mut report)) => {
            let violations = check::report(profile, &mut report);
            let says_nothing = report.services.iter().all(|s| s.properties.is_empty());
            taken.take_from(&mut report.services, row.record.received_at);
            report.services.retain(|s| !s.properties.is_empty());
            let services = report.services;
            let misfit = || raw(MODEL, describe(&violations));
            match (services.is_empty(), violations.is_empty()) {
                (true, true) if says_nothing => Read::Nothing,
                (true, true) => Read::Report {
                    services,
                    repairs: Vec::new(),
                    rest: None,
                },
                (true, false) => Read::Unread(misfit()),
                (false, fits) => {
                    let each = services.iter();
                    let received_at = row.record.received_at;
                    let repairs = each.filter_map(|s| known.repair(s, received_at)).collect();
                    Read::Report {
                        repairs,
                        services,
                        rest: (!fits).then(misfit),
                    }
                }
            }
        }
    };
    Late { key, read }
}

/// It stays as it was, for the same reason.
pub(super) fn is_unchanged(row: &RawRow, late: &Late) -> bool {
    match &late.read {
        Read::Unread(record) => **record == row.record,
        Read::Report { .. } | Read::Response(_) | Read::Nothing => false,
    }
}

/// Counts what became of an uplink.
pub(super) fn tally(replay: &mut ReplayRecord, device_id: &DeviceId, late: &Late) {
    let counts = &mut replay.counts;
    counts.found += 1;
    match &late.read {
        Read::Report { rest: None, .. } => counts.decoded += 1,
        Read::Report { rest: Some(_), .. } => counts.partly += 1,
        Read::Response(_) => counts.responses += 1,
        Read::Nothing => counts.empty += 1,
        Read::Unread(record) => {
            let known = replay.unread.iter_mut().find(|u| u.kind == record.kind);
            if let Some(known) = known {
                known.count += 1;
            } else if replay.unread.len() < KINDS_TOLD {
                let payload = record.payload.iter().take(BYTES_TOLD);
                replay.unread.push(UnreadRecord {
                    kind: record.kind.clone(),
                    count: 1,
                    device_id: device_id.clone(),
                    received_at: record.received_at,
                    payload: payload.copied().collect(),
                    reason: record.reason.chars().take(REASON_TOLD).collect(),
                });
            }
        }
    }
}

/// One word for metrics.
pub(super) const fn result_of(late: &Late) -> &'static str {
    match late.read {
        Read::Report { rest: None, .. } => "decoded",
        Read::Report { rest: Some(_), .. } => "partly",
        Read::Response(_) => "response",
        Read::Nothing => "empty",
        Read::Unread(_) => "unread",
    }
}
