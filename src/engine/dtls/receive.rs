//! Datagrams in: each record goes to its handshake or session, or is dropped and counted.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::handshake::{self, Handshake, NoMatch, Proof, State};
use super::sessions::{Index, Keys, Slot, cid_of, number_of};
use super::types::{CID_LEN, Cid, Ended, HandshakeId, Lookup, Outputs, Received, Report, Want};
use super::{Dtls, NUMBER_MAX, close_notify};
use crate::base::peer::Mark;
use crate::engine::exchange::Route;
use crate::wire::dtls::alert::{Alert, AlertDescription, AlertLevel};
use crate::wire::dtls::handshake::{
    ClientHello, Fragment, HelloPrefix, HelloVerifyRequest, MsgType, fragments, message,
};
use crate::wire::dtls::{ContentType, Record, VERSION_1_2, record};

/// Records taken from one datagram; a flight has at most four.
const RECORDS_MAX: usize = 16;

/// Messages and fragments taken from one record.
const FRAGMENTS_MAX: usize = 8;

/// Ended handshakes that may stand in the line of those begun.
const BEGUN_SPARE: usize = 1024;

/// First byte of the messages of RFC 9853 §5.
const PATH_CHALLENGE: u8 = 0;
const PATH_RESPONSE: u8 = 1;

/// What became of a record of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    /// It does not open.
    Forged,
    Replayed,
    /// No session has this connection id or address, or none of this epoch.
    Unknown,
}

impl Dtls {
    /// Takes one datagram.
    pub fn receive(
        &mut self,
        now: Instant,
        address: SocketAddr,
        datagram: &[u8],
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) {
        let mut rest = datagram;
        for _ in 0..RECORDS_MAX {
            if rest.is_empty() {
                return;
            }
            let Ok((record, next)) = record::parse(rest, CID_LEN) else {
                self.counters.records_malformed += 1;
                return;
            };
            let len = rest.len() - next.len();
            let bytes = rest.get(..len).unwrap_or_default();
            rest = next;
            if record.epoch == 0 && record.content_type != ContentType::TLS12_CID {
                self.plain(now, address, &record, lookup, out);
            } else {
                self.protected(address, &record, bytes, lookup, out);
            }
        }
        self.counters.records_malformed += u64::from(!rest.is_empty());
    }

    /// An unprotected record: part of a handshake, or nothing.
    fn plain(
        &mut self,
        now: Instant,
        address: SocketAddr,
        record: &Record<'_>,
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) {
        match record.content_type {
            ContentType::HANDSHAKE => {}
            // Says nothing that the epoch does not.
            ContentType::CHANGE_CIPHER_SPEC => return,
            _ => {
                self.counters.records_plaintext += 1;
                return;
            }
        }
        for fragment in fragments(record.fragment).take(FRAGMENTS_MAX) {
            let Ok(fragment) = fragment else {
                self.counters.records_malformed += 1;
                return;
            };
            if fragment.msg_type == MsgType::CLIENT_HELLO {
                self.hello(now, address, record, &fragment, out);
            } else {
                self.key_exchange(address, &fragment, lookup, out);
            }
        }
    }

    /// A hello, or a fragment of one.
    fn hello(
        &mut self,
        now: Instant,
        address: SocketAddr,
        record: &Record<'_>,
        fragment: &Fragment<'_>,
        out: &mut Outputs,
    ) {
        let id = self.pending_hello(address);
        if fragment.offset > 0 {
            // The first fragment has the cookie; before it nothing is kept.
            match id {
                Some(id) => self.more_hello(id, fragment, out),
                None => self.counters.cookies_refused += 1,
            }
            return;
        }
        let Ok(hello) = ClientHello::parse_prefix(fragment.body) else {
            self.counters.records_malformed += 1;
            return;
        };
        self.cookies.turn(now, self.random.as_mut());
        if !self.cookies.is_good(address, &hello) {
            if fragment.is_whole() && ClientHello::parse(fragment.body).is_ok() {
                self.verify(address, record, fragment.message_seq, &hello, out);
            } else {
                self.counters.cookies_refused += 1;
            }
            return;
        }
        if let Some(known) = self.handshakes.get_mut(&address)
            && known.is_of(fragment.message_seq, &hello.random)
        {
            // The client repeats itself: our flight was lost. One that has answered it got it.
            if known.derived().is_none() {
                self.counters.flights_repeated += 1;
                out.datagrams.push((address, known.flight().into()));
            }
            return;
        }
        if let Some(id) = id {
            self.more_hello(id, fragment, out);
            return;
        }
        self.counters.cookies_valid += 1;
        if !self.sources.take(now, address) {
            self.counters.throttled += 1;
            return;
        }
        if let Some(id) = self.begin(now, address, record, fragment) {
            self.more_hello(id, fragment, out);
        }
    }

    /// The handshake whose hello is still coming from this address.
    fn pending_hello(&self, address: SocketAddr) -> Option<HandshakeId> {
        let handshake = self.handshakes.get(&address)?;
        matches!(handshake.state, State::Hello(_)).then_some(HandshakeId {
            address,
            serial: handshake.serial,
        })
    }

    /// HelloVerifyRequest: never longer than the hello, which has 2 bytes of version, 32 of random
    /// and more.
    fn verify(
        &mut self,
        address: SocketAddr,
        record: &Record<'_>,
        message_seq: u16,
        hello: &HelloPrefix<'_>,
        out: &mut Outputs,
    ) {
        let cookie = self.cookies.bake(address, hello);
        let mut body = Vec::with_capacity(32);
        HelloVerifyRequest {
            version: VERSION_1_2,
            cookie: &cookie,
        }
        .write(&mut body);
        let mut request = Vec::with_capacity(48);
        message(
            &mut request,
            MsgType::HELLO_VERIFY_REQUEST,
            message_seq,
            &body,
        );
        let mut datagram = Vec::with_capacity(64);
        record::write(
            &mut datagram,
            ContentType::HANDSHAKE,
            VERSION_1_2,
            0,
            record.seq,
            &request,
        );
        self.counters.cookies_sent += 1;
        out.datagrams.push((address, datagram.into()));
    }

    /// Keeps a new handshake; the oldest gives way when there are too many.
    fn begin(
        &mut self,
        now: Instant,
        address: SocketAddr,
        record: &Record<'_>,
        fragment: &Fragment<'_>,
    ) -> Option<HandshakeId> {
        while self.handshakes.len() >= self.settings.handshakes_max.max(1) {
            let oldest = self.begun.pop_front()?;
            let found = self.handshakes.get(&oldest.address);
            if found.is_some_and(|handshake| handshake.serial == oldest.serial) {
                self.handshakes.remove(&oldest.address);
                self.counters.crowded_out += 1;
            }
        }
        self.serial = self.serial.wrapping_add(1);
        let id = HandshakeId {
            address,
            serial: self.serial,
        };
        let handshake = Handshake::new(self.serial, record, fragment)?;
        self.handshakes.insert(address, Box::new(handshake));
        self.begun.push_back(id);
        // Those that ended leave the line when they are the most of it.
        if self.begun.len() > 2 * self.handshakes.len() + BEGUN_SPARE {
            let handshakes = &self.handshakes;
            self.begun.retain(|id| {
                let alive = handshakes.get(&id.address);
                alive.is_some_and(|handshake| handshake.serial == id.serial)
            });
        }
        let at = handshake::repeat_at(now, &self.settings, 0);
        self.arm(at, id);
        Some(id)
    }

    /// A fragment of a hello whose cookie is good: answers when it is whole.
    fn more_hello(&mut self, id: HandshakeId, fragment: &Fragment<'_>, out: &mut Outputs) {
        let Some(handshake) = self.handshakes.get_mut(&id.address) else {
            return;
        };
        let State::Hello(assembly) = &mut handshake.state else {
            return;
        };
        let Some(body) = assembly.add(fragment).map(<[u8]>::to_vec) else {
            return;
        };
        let Ok(hello) = ClientHello::parse(&body) else {
            self.counters.records_malformed += 1;
            self.handshakes.remove(&id.address);
            return;
        };
        // Only a client that takes a connection id needs the number now.
        let cid = match hello.extensions.connection_id {
            Some(_) => self.take_cid(),
            None => Some([0; CID_LEN]),
        };
        let (Some(cid), Some(handshake)) = (cid, self.handshakes.get_mut(&id.address)) else {
            self.handshakes.remove(&id.address);
            return;
        };
        let random = self.random.as_mut();
        match handshake.answer(&hello, &body, &self.settings, cid, random) {
            Ok(()) => {
                let datagram = handshake.flight();
                out.datagrams.push((id.address, datagram.into()));
            }
            Err(no_match) => {
                let seq = handshake.record_seq;
                self.handshakes.remove(&id.address);
                refuse(id.address, seq, no_match, out);
            }
        }
    }

    fn take_number(&mut self) -> Option<u64> {
        self.numbers
            .pop_front()
            .filter(|number| *number <= NUMBER_MAX)
    }

    fn take_cid(&mut self) -> Option<Cid> {
        let mut random = [0; 3];
        self.random.fill(&mut random);
        Some(cid_of(self.take_number()?, random))
    }

    fn key_exchange(
        &mut self,
        address: SocketAddr,
        fragment: &Fragment<'_>,
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) {
        let Some(handshake) = self.handshakes.get_mut(&address) else {
            return;
        };
        let early = handshake.key_exchange(fragment, lookup, self.random.as_mut());
        for bytes in early.into_iter().flatten() {
            if let Ok((record, _)) = record::parse(&bytes, CID_LEN) {
                self.prove_handshake(address, &record, &bytes, out);
            }
        }
    }

    /// A protected record: the Finished of a handshake, or of a session.
    fn protected(
        &mut self,
        address: SocketAddr,
        record: &Record<'_>,
        bytes: &[u8],
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) {
        let session = match Cid::try_from(record.cid) {
            Ok(cid) => self.sessions.by_cid(&cid),
            Err(_) => self.sessions.by_address(address),
        };
        // Without connection ids, epoch 1 may be that of the session or of a handshake beside it.
        let is_pending = self.handshakes.contains_key(&address);
        let fate = match session {
            Some(index) => self.session_record(index, address, record, lookup, out),
            None => Fate::Unknown,
        };
        if fate == Fate::Taken {
            return;
        }
        let proof = if is_pending {
            self.prove_handshake(address, record, bytes, out)
        } else {
            Proof::No
        };
        match (proof, fate) {
            (Proof::Proved | Proof::Other, _) | (_, Fate::Taken) => {}
            (Proof::Wrong, _) | (Proof::No, Fate::Forged) => self.counters.records_bad_mac += 1,
            (Proof::No, Fate::Replayed) => self.counters.records_replayed += 1,
            // It may be the Finished that overtook its key exchange.
            (Proof::No, Fate::Unknown) => self.counters.records_unknown += u64::from(!is_pending),
        }
    }

    /// Tries a record as the Finished of the handshake under way at this address.
    fn prove_handshake(
        &mut self,
        address: SocketAddr,
        record: &Record<'_>,
        bytes: &[u8],
        out: &mut Outputs,
    ) -> Proof {
        let Some(handshake) = self.handshakes.get_mut(&address) else {
            return Proof::No;
        };
        let proof = handshake.prove(record, bytes, &mut self.scratch);
        match proof {
            Proof::Proved => {}
            Proof::Wrong => {
                if let Some(report) = failure(address, handshake) {
                    out.reports.push(report);
                }
                return proof;
            }
            Proof::No | Proof::Other => return proof,
        }
        let number = match handshake.own_cid() {
            Some(cid) => Some(number_of(&cid)),
            None => self.take_number(),
        };
        let Some(handshake) = self.handshakes.get_mut(&address) else {
            return proof;
        };
        let id = HandshakeId {
            address,
            serial: handshake.serial,
        };
        if let Some((session, version)) = number.and_then(|n| handshake.store(address, n)) {
            out.wants.push(Want::Establish {
                handshake: id,
                session: Box::new(session),
                version,
            });
        }
        proof
    }

    /// A record for a session: what it carries is seen to only when it is authentic and new.
    fn session_record(
        &mut self,
        index: Index,
        address: SocketAddr,
        record: &Record<'_>,
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) -> Fate {
        if record.epoch != super::session::EPOCH {
            return Fate::Unknown;
        }
        // Judged before anything is opened or fetched: an old number is old, forged or not.
        if !self.admits(index, record.seq) {
            return Fate::Replayed;
        }
        let is_here = self.sessions.slot(index).is_some_and(Slot::is_here);
        if !is_here && !self.wake(index, lookup, out) {
            return Fate::Unknown;
        }
        let Some(slot) = self.sessions.slot_mut(index) else {
            return Fate::Unknown;
        };
        let Keys::Here(session) = &mut slot.keys else {
            return Fate::Unknown;
        };
        self.scratch.clear();
        let Some(content_type) = session.open(record, &mut self.scratch) else {
            return Fate::Forged;
        };
        self.counters.records_ok += 1;
        let is_newest = session.window.is_newest(record.seq);
        session.window.note(record.seq);
        // RFC 9146 §6: only the newest record tells where the device is. One without connection id
        // was found by its address.
        let mut route = if slot.is_proven {
            Route::Proven
        } else {
            Route::Unproven
        };
        let mut challenge = false;
        if address != slot.address && is_newest {
            slot.address = address;
            slot.is_proven = false;
            route = Route::Moved;
            challenge = session.return_routability;
            self.counters.moved += 1;
        }
        let mark = Mark {
            session: slot.number,
            seq: record.seq,
            address: slot.address,
        };
        let device = slot.device;
        self.sessions.touch(index);
        if challenge {
            self.challenge(index, out);
        }
        match content_type {
            ContentType::APPLICATION_DATA => {
                out.received.push(Received {
                    device,
                    payload: Bytes::copy_from_slice(&self.scratch),
                    mark,
                    route,
                });
            }
            ContentType::HANDSHAKE => self.late_handshake(index, out),
            ContentType::ALERT => self.alert(index, out),
            ContentType::RETURN_ROUTABILITY => self.routability(index, address, out),
            _ => {}
        }
        Fate::Taken
    }

    /// Whether the number may be new; judged before anything is opened or fetched.
    fn admits(&self, index: Index, seq: u64) -> bool {
        self.sessions
            .slot(index)
            .is_some_and(|slot| match &slot.keys {
                Keys::Here(session) => session.window.admits(seq),
                Keys::Stored { received } => received.is_none_or(|received| seq > received),
            })
    }

    /// An authentic handshake message in a session, in `scratch`.
    fn late_handshake(&mut self, index: Index, out: &mut Outputs) {
        let Ok((fragment, _)) = Fragment::parse(&self.scratch) else {
            return;
        };
        if fragment.msg_type == MsgType::FINISHED {
            // Our final flight was lost (RFC 6347 §4.2.4).
            let plain_seq = self.sessions.slot(index).and_then(|slot| match &slot.keys {
                Keys::Here(session) => Some(session.plain_seq()),
                Keys::Stored { .. } => None,
            });
            if let Some(plain_seq) = plain_seq {
                self.counters.final_flights_repeated += 1;
                self.send_final_flight(index, plain_seq, out);
            }
        } else if fragment.msg_type == MsgType::CLIENT_HELLO {
            // Renegotiation (RFC 5746 §4.5).
            let payload = alert_bytes(AlertLevel::WARNING, AlertDescription::NO_RENEGOTIATION);
            self.transmit(index, ContentType::ALERT, payload, out);
        }
    }

    /// An authentic alert, in `scratch`: close_notify and every fatal one end the session.
    fn alert(&mut self, index: Index, out: &mut Outputs) {
        let Ok(alert) = Alert::parse(&self.scratch) else {
            return;
        };
        let is_close = alert.description == AlertDescription::CLOSE_NOTIFY;
        if !is_close && alert.level != AlertLevel::FATAL {
            return;
        }
        if is_close {
            // RFC 5246 §7.2.1 asks for the answer.
            self.transmit(index, ContentType::ALERT, close_notify(), out);
        }
        let Some(slot) = self.sessions.remove(index) else {
            return;
        };
        out.wants.push(Want::Forget {
            device: slot.device,
            number: slot.number,
        });
        out.reports.push(Report {
            address: slot.address,
            device: Some(slot.device),
            identity: Box::default(),
            what: Ended::Closed {
                alert: alert.description.0,
            },
        });
    }

    /// Asks the new address to prove itself (RFC 9853 §6).
    fn challenge(&mut self, index: Index, out: &mut Outputs) {
        let mut cookie = [0; 8];
        self.random.fill(&mut cookie);
        if let Some(slot) = self.sessions.slot_mut(index)
            && let Keys::Here(session) = &mut slot.keys
        {
            session.challenge = Some(cookie);
        }
        let message = path_message(PATH_CHALLENGE, &cookie);
        self.transmit(index, ContentType::RETURN_ROUTABILITY, message, out);
    }

    /// An authentic message of RFC 9853, in `scratch`.
    fn routability(&mut self, index: Index, address: SocketAddr, out: &mut Outputs) {
        let Some((&kind, cookie)) = self.scratch.split_first() else {
            return;
        };
        let Ok(cookie) = <[u8; 8]>::try_from(cookie) else {
            return;
        };
        let Some(slot) = self.sessions.slot_mut(index) else {
            return;
        };
        let Keys::Here(session) = &mut slot.keys else {
            return;
        };
        if !session.return_routability {
            return;
        }
        if kind == PATH_RESPONSE && session.challenge == Some(cookie) && slot.address == address {
            session.challenge = None;
            slot.is_proven = true;
        } else if kind == PATH_CHALLENGE && slot.address == address {
            let message = path_message(PATH_RESPONSE, &cookie);
            self.transmit(index, ContentType::RETURN_ROUTABILITY, message, out);
        }
    }
}

fn path_message(kind: u8, cookie: &[u8; 8]) -> Bytes {
    let mut message = Vec::with_capacity(9);
    message.push(kind);
    message.extend_from_slice(cookie);
    message.into()
}

fn alert_bytes(level: AlertLevel, description: AlertDescription) -> Bytes {
    let mut bytes = Vec::with_capacity(2);
    Alert { level, description }.write(&mut bytes);
    bytes.into()
}

/// One fatal alert, unprotected as everything is at this point.
fn refuse(address: SocketAddr, record_seq: u64, no_match: NoMatch, out: &mut Outputs) {
    let (description, what) = match no_match {
        NoMatch::Version => (AlertDescription::PROTOCOL_VERSION, Ended::NoVersion),
        NoMatch::Suite => (AlertDescription::HANDSHAKE_FAILURE, Ended::NoSuite),
    };
    let mut datagram = Vec::with_capacity(15);
    record::write(
        &mut datagram,
        ContentType::ALERT,
        VERSION_1_2,
        0,
        record_seq,
        &alert_bytes(AlertLevel::FATAL, description),
    );
    out.datagrams.push((address, datagram.into()));
    out.reports.push(Report {
        address,
        device: None,
        identity: Box::default(),
        what,
    });
}

/// Why the Finished failed, told once for each handshake.
fn failure(address: SocketAddr, handshake: &mut Handshake) -> Option<Report> {
    if handshake.is_reported {
        return None;
    }
    let derived = handshake.derived()?;
    let (device, what) = match &derived.known {
        Ok(known) => (Some(known.device), Ended::WrongKey),
        Err(unknown) => (None, Ended::Unknown(*unknown)),
    };
    let report = Report {
        address,
        device,
        identity: derived.identity.clone(),
        what,
    };
    handshake.is_reported = true;
    Some(report)
}
