//! What DTLS sessions need of the app: keys by identity, and a durable place for sessions.
//!
//! A session belongs to a device and is stored under it, one for each. It is stored only while the
//! device has the key that it came from and may connect: freezing, deleting or another secret in
//! between refuses it.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hashbrown::HashMap;

use super::product::Products;
use super::trace::{Direction, TraceEntry, Tracer};
use crate::base::ids::{DeviceId, NodeId};
use crate::base::peer::{DeviceSeq, Mark};
use crate::base::secret::Secret;
use crate::base::time::{Clock, Timestamp};
use crate::engine::dtls::crypto::Suite;
use crate::net::dtls::{Durable, Ended, Known, Report, Stored, Unavailable, Unknown, Unstored};
use crate::product::codec::text::unhex;
use crate::product::settings::Psk;
use crate::store::records::{DeviceRecord, SessionRecord, StateRecord};
use crate::store::{Change, Commit, CommitError, Guard, Store, StoreError};

/// Keys and stored sessions.
#[derive(Clone)]
pub struct Sessions {
    pub store: Arc<dyn Store>,
    pub products: Arc<Products>,
    pub tracer: Arc<Tracer>,
    pub clock: Clock,
}

/// Stored sessions on their way into memory at start.
#[derive(Debug, Default)]
pub struct Resuming {
    found: HashMap<DeviceSeq, SessionRecord>,
    /// With when their devices were last heard.
    ready: Vec<(Option<Timestamp>, Stored)>,
}

impl Resuming {
    /// Reads every session.
    pub fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let mut found = HashMap::new();
        store.each_session(&mut |session| {
            found.insert(session.device_seq, session);
            ControlFlow::Continue(())
        })?;
        Ok(Self {
            found,
            ready: Vec::new(),
        })
    }

    /// Takes on the session of a device that is there and may use it.
    pub fn join(&mut self, device: &DeviceRecord, state: &StateRecord) {
        let Some(record) = self.found.remove(&DeviceSeq(device.seq)) else {
            return;
        };
        if device.frozen {
            return;
        }
        if let Some(mut stored) = stored_of(record) {
            note(&mut stored, state.received);
            self.ready.push((state.last_seen_at, stored));
        }
    }

    /// Those that may go on, the device heard last first. Sessions of devices that are gone stay
    /// behind.
    pub fn finish(self) -> Vec<Stored> {
        let Self { found, mut ready } = self;
        if !found.is_empty() {
            tracing::warn!(sessions = found.len(), "stored sessions without a device");
        }
        ready.sort_by_key(|(heard_at, _)| std::cmp::Reverse(*heard_at));
        ready.into_iter().map(|(_, stored)| stored).collect()
    }
}

impl Durable for Sessions {
    fn device(&self, identity: &[u8]) -> Result<Known, Unknown> {
        let device = self.by_identity(identity)?.ok_or(Unknown::Identity)?;
        if device.frozen {
            return Err(Unknown::Frozen);
        }
        Ok(Known {
            device: DeviceSeq(device.seq),
            key: self.key_of(&device).ok_or(Unknown::Secret)?,
            version: device.version,
        })
    }

    fn session(&self, device: DeviceSeq) -> Result<Option<Stored>, Unavailable> {
        let read = || -> Result<Option<Stored>, StoreError> {
            let Some(record) = self.store.session(device)? else {
                return Ok(None);
            };
            let state = self.store.state(&record.device_id)?;
            let mut stored = stored_of(record);
            if let Some(stored) = &mut stored {
                note(stored, state.and_then(|state| state.received));
            }
            Ok(stored)
        };
        read().map_err(|error| {
            tracing::warn!(device = device.0, %error, "a stored session can't be read");
            Unavailable
        })
    }

    fn establish(
        &self,
        session: &Stored,
        known: Known,
    ) -> BoxFuture<'static, Result<(), Unstored>> {
        let (this, session) = (self.clone(), session.clone());
        async move { this.store_first(&session, known).await }.boxed()
    }

    fn reserve(&self, session: &Stored) -> BoxFuture<'static, bool> {
        let before = match self.store.session(session.device) {
            Ok(Some(before)) if before.number == session.number => before,
            Ok(_) => return async { false }.boxed(),
            Err(error) => {
                tracing::warn!(%error, "a session's numbers can't be reserved");
                return async { false }.boxed();
            }
        };
        let record = record_of(session, before.device_id, before.established_at);
        let guards = vec![Guard::SessionNumber(session.device, Some(session.number))];
        let changes = vec![Change::PutSession(Box::new(record))];
        let done = self.store.commit(Commit { guards, changes });
        async move {
            let result = done.await;
            if let Err(CommitError::Store(error)) = &result {
                tracing::warn!(%error, "a session's numbers can't be reserved");
            }
            result.is_ok()
        }
        .boxed()
    }

    fn forget(&self, device: DeviceSeq, number: u64) -> BoxFuture<'static, ()> {
        let done = self.store.commit(Commit {
            guards: vec![Guard::SessionNumber(device, Some(number))],
            changes: vec![Change::DeleteSession(device)],
        });
        async move {
            if let Err(CommitError::Store(error)) = done.await {
                tracing::warn!(device = device.0, %error, "an ended session stays stored");
            }
        }
        .boxed()
    }

    fn numbers(&self, count: usize) -> BoxFuture<'static, Vec<u64>> {
        let store = Arc::clone(&self.store);
        let numbers = tokio::task::spawn_blocking(move || {
            let given: Result<Vec<u64>, StoreError> =
                (0..count).map(|_| store.allocate_seq()).collect();
            given.unwrap_or_else(|error| {
                tracing::warn!(%error, "no session numbers");
                Vec::new()
            })
        });
        async move { numbers.await.unwrap_or_default() }.boxed()
    }

    fn report(&self, report: &Report) {
        let device_id = match report.device {
            Some(device) => self.store.device_by_seq(device).ok().flatten(),
            None => self
                .by_identity(&report.identity)
                .ok()
                .flatten()
                .map(|device| device.device_id),
        };
        let told = describe(report);
        tracing::debug!(
            address = %report.address,
            identity = ?String::from_utf8_lossy(&report.identity),
            device_id = device_id.as_ref().map_or("", DeviceId::as_str),
            result = report.what.kind(),
            "{}", told.summary
        );
        if let Some(device_id) = device_id {
            self.tracer.record(
                &device_id,
                TraceEntry {
                    time: self.clock.now(),
                    ..told
                },
            );
        }
    }
}

/// Tries of a commit whose device is edited meanwhile.
const TRIES: usize = 5;

impl Sessions {
    /// Stores a session while the device's record is the one that its key came from, or one with
    /// the same key that lets the device connect.
    async fn store_first(&self, session: &Stored, known: Known) -> Result<(), Unstored> {
        let read = |error: StoreError| for_now(&error);
        let device_id = self.store.device_by_seq(session.device).map_err(read)?;
        let device_id = device_id.ok_or(Unstored::Refused)?;
        // A handshake that began before the present session's must not replace it: its Finished
        // was held back on the way. Also when that later session has ended since.
        let state = self.store.state(&device_id).map_err(read)?;
        let mark = state.and_then(|state| state.received);
        if mark.is_some_and(|mark| mark.session > session.number) {
            return Err(Unstored::Refused);
        }
        let mut version = known.version;
        for _ in 0..TRIES {
            let guards = vec![
                Guard::DeviceSeq(device_id.clone(), session.device.0),
                Guard::DeviceVersion(device_id.clone(), version),
                Guard::SessionUpTo(session.device, session.number),
            ];
            let record = record_of(session, device_id.clone(), self.clock.now());
            let changes = vec![Change::PutSession(Box::new(record))];
            match self.store.commit(Commit { guards, changes }).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Store(error)) => return Err(for_now(&error)),
                Err(CommitError::Conflict(Guard::DeviceVersion(..))) => {}
                Err(CommitError::Conflict(_)) => return Err(Unstored::Refused),
            }
            // Renamed, say: that is no reason to shake hands again.
            let device = self.store.device(&device_id).map_err(read)?;
            let same_key = |device: &DeviceRecord| self.key_of(device).as_ref() == Some(&known.key);
            version = device
                .filter(|device| !device.frozen && same_key(device))
                .ok_or(Unstored::Refused)?
                .version;
        }
        Err(Unstored::ForNow)
    }

    /// The device that a PSK identity names: by its node id, in any of the forms of an endpoint
    /// name.
    fn by_identity(&self, identity: &[u8]) -> Result<Option<DeviceRecord>, Unknown> {
        let Ok(text) = std::str::from_utf8(identity) else {
            return Ok(None);
        };
        let Ok(node) = NodeId::from_endpoint(text) else {
            return Ok(None);
        };
        let found = self.store.device_by_node(&node).and_then(|device_id| {
            device_id.map_or(Ok(None), |device_id| self.store.device(&device_id))
        });
        let found = found.map_err(|error| {
            tracing::warn!(%error, "a device can't be looked up");
            Unknown::Unavailable
        })?;
        // With its product, a device is gone from the moment when the deletion of that begins.
        Ok(found.filter(|device| self.products.runtime(&device.product_id).is_some()))
    }

    /// The secret as a key, read as the product's settings say.
    fn key_of(&self, device: &DeviceRecord) -> Option<Secret<Vec<u8>>> {
        let secret = device.auth.secret.expose();
        let psk = self
            .products
            .runtime(&device.product_id)
            .map(|product| product.settings.psk)
            .unwrap_or_default();
        let key = match psk {
            Psk::Hex => unhex(secret)?,
            Psk::Text => secret.clone().into_bytes(),
        };
        (!key.is_empty()).then(|| Secret::new(key))
    }
}

fn for_now(error: &StoreError) -> Unstored {
    tracing::warn!(%error, "a session can't be stored, so its handshake waits");
    Unstored::ForNow
}

/// What came since the session's row was written.
fn note(stored: &mut Stored, mark: Option<Mark>) {
    let is_newer = |mark: &Mark| {
        mark.session == stored.number && stored.received.is_none_or(|seq| mark.seq > seq)
    };
    if let Some(mark) = mark.filter(is_newer) {
        stored.received = Some(mark.seq);
        stored.address = mark.address;
        stored.is_proven = mark.is_proven;
    }
}

fn record_of(session: &Stored, device_id: DeviceId, established_at: Timestamp) -> SessionRecord {
    SessionRecord {
        device_seq: session.device,
        device_id,
        number: session.number,
        own_cid: session.own_cid,
        peer_cid: session.peer_cid.to_vec(),
        address: session.address,
        address_proven: session.is_proven,
        suite: session.suite.code(),
        encrypt_then_mac: session.encrypt_then_mac,
        return_routability: session.return_routability,
        key_block: session.key_block.clone(),
        verify_data: session.verify_data.to_vec(),
        finished_seq: session.finished_seq,
        send_reserved: session.send_reserved,
        received: session.received,
        established_at,
    }
}

/// `None` for one that this version can't go on with.
fn stored_of(record: SessionRecord) -> Option<Stored> {
    Some(Stored {
        device: record.device_seq,
        number: record.number,
        own_cid: record.own_cid,
        peer_cid: record.peer_cid.into(),
        address: record.address,
        is_proven: record.address_proven,
        suite: Suite::from_code(record.suite)?,
        encrypt_then_mac: record.encrypt_then_mac,
        return_routability: record.return_routability,
        key_block: record.key_block,
        verify_data: record.verify_data.as_slice().try_into().ok()?,
        finished_seq: record.finished_seq,
        send_reserved: record.send_reserved,
        received: record.received,
    })
}

/// The report for people; the time is the caller's to set.
fn describe(report: &Report) -> TraceEntry {
    let from = report.address;
    let failed = |why: &str, hint: &str| {
        (
            format!("DTLS handshake from {from} failed"),
            Some(why.to_owned()),
            Some(hint.to_owned()),
        )
    };
    let (summary, error, hint) = match &report.what {
        Ended::Connected {
            suite,
            extended_master_secret,
            connection_id,
        } => {
            let with = |is: bool, what: &'static str| if is { what } else { "" };
            let summary = format!(
                "DTLS session with {} from {from}{}{}",
                suite.name(),
                with(*connection_id, ", connection id"),
                with(*extended_master_secret, ", extended master secret"),
            );
            (summary, None, None)
        }
        Ended::WrongKey => failed(
            "its Finished does not verify: the device, or somebody in its name, has another key",
            "compare the key in the device with the device's secret, and the product setting \
             \"psk\": hex digits stand for bytes, or the text itself is the key",
        ),
        Ended::Unknown(Unknown::Identity) => failed(
            "no device has this identity",
            "the PSK identity is the device's node_id: create the device, or correct it there",
        ),
        Ended::Unknown(Unknown::Frozen) => failed("the device is frozen", "unfreeze it"),
        Ended::Unknown(Unknown::Secret) => failed(
            "the device's secret is not hex",
            "reset the secret to hex digits, or set the product's \"psk\" to \"text\"",
        ),
        Ended::Unknown(Unknown::Unavailable) => failed("the store can't tell now", "see the log"),
        Ended::NoSuite => failed(
            "no common cipher suite",
            "compare what the device offers with the setting dtls.suites",
        ),
        Ended::NoVersion => failed("the client takes no DTLS 1.2", "update its DTLS library"),
        Ended::TimedOut => failed(
            "the device fell silent",
            "the answers did not reach it, or it gave up: compare its timeouts with \
             dtls.retransmit_s",
        ),
        Ended::NotStored => failed(
            "meanwhile the device was frozen, got another key or a newer session",
            "it tries again by itself",
        ),
        Ended::Closed { alert: 0 } => (format!("DTLS session closed from {from}"), None, None),
        Ended::Closed { alert } => (
            format!("DTLS session ended from {from}"),
            Some(format!("the device sent the fatal alert {alert}")),
            Some("its DTLS library gives that number a meaning (RFC 5246 §7.2)".to_owned()),
        ),
    };
    let identity = String::from_utf8_lossy(&report.identity);
    TraceEntry {
        time: Timestamp::from_ms(0),
        kind: "dtls",
        direction: Direction::Up,
        summary,
        hex: None,
        detail: (!identity.is_empty())
            .then(|| serde_json::json!({"identity": identity, "result": report.what.kind()})),
        error,
        hint,
        unbound_only: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        Stored {
            device: DeviceSeq(1),
            number: 5,
            own_cid: None,
            peer_cid: Box::default(),
            address: ([192, 0, 2, 1], 2).into(),
            suite: Suite::Ccm8,
            encrypt_then_mac: false,
            is_proven: true,
            return_routability: false,
            key_block: Secret::new(vec![7; 40]),
            verify_data: [0; 12],
            finished_seq: 3,
            send_reserved: 1024,
            received: Some(200),
        }
    }

    /// The row is written with each reservation, the mark with each effect: the newer counts.
    #[test]
    fn only_a_newer_mark_tells_where_the_device_is() {
        for (session, seq, moves) in [
            (5, 201, true),
            (5, 200, false),
            (5, 9, false),
            (4, 300, false),
        ] {
            let mut stored = stored();
            let address = ([192, 0, 2, 1], 1).into();
            let mark = Mark {
                session,
                seq,
                address,
                is_proven: false,
            };
            note(&mut stored, Some(mark));
            assert_eq!(stored.address == address, moves, "{session} {seq}");
            assert_eq!(stored.is_proven, !moves, "{session} {seq}");
            assert_eq!(stored.received, Some(if moves { seq } else { 200 }));
        }
    }
}
