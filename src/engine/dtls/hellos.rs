//! Handshakes in: hellos and their cookies, key exchanges, and the Finished that proves a key.

use std::net::SocketAddr;
use std::time::Instant;

use super::handshake::{self, Handshake, NoMatch, Proof, State};
use super::sending::alert_bytes;
use super::sessions::cid_of;
use super::types::{CID_LEN, Cid, Ended, HandshakeId, Lookup, Outputs, Report, Want};
use super::{Dtls, NUMBER_MAX};
use crate::wire::dtls::alert::{AlertDescription, AlertLevel};
use crate::wire::dtls::handshake::{
    ClientHello, Fragment, HelloPrefix, HelloVerifyRequest, MsgType, message,
};
use crate::wire::dtls::{ContentType, Record, VERSION_1_2, record};

/// Ended handshakes that may stand in the line of those begun.
const BEGUN_SPARE: usize = 1024;

impl Dtls {
    /// A hello, or a fragment of one.
    pub(super) fn hello(
        &mut self,
        now: Instant,
        address: SocketAddr,
        record: &Record<'_>,
        fragment: &Fragment<'_>,
        out: &mut Outputs,
    ) {
        if fragment.offset > 0 {
            // The first fragment has the cookie; before it nothing is kept.
            match self.pending_hello(address) {
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
        if let Some(known) = self.handshakes.get(&address) {
            if known.is_more_of(fragment, &hello.random) {
                let serial = known.serial;
                self.more_hello(HandshakeId { address, serial }, fragment, out);
                return;
            }
            // It has proved its key, which a hello does not; one that means it comes again. And a
            // hello of a client that has gone on from it is late.
            let is_late = known.derived().is_some() && known.client_random == hello.random;
            if is_late || matches!(known.state, State::Storing(_)) {
                return;
            }
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
            let there = self.handshakes.get(&oldest.address);
            if there.is_some_and(|handshake| handshake.serial == oldest.serial) {
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
        // Taken now, so that numbers ascend as handshakes begin: of two, the later one counts.
        let cid = self.take_cid();
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

    pub(super) fn key_exchange(
        &mut self,
        now: Instant,
        address: SocketAddr,
        fragment: &Fragment<'_>,
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) {
        let Some(handshake) = self.handshakes.get_mut(&address) else {
            return;
        };
        // Each other one costs a look-up and a key schedule, and nothing yet proves who sends them.
        if handshake.awaits(fragment) && !self.exchanges.take(now, address) {
            self.counters.throttled += 1;
            return;
        }
        let early = handshake.key_exchange(fragment, lookup, self.random.as_mut());
        let failed = std::mem::take(&mut handshake.lookup_failed);
        self.counters.lookups_failed += u64::from(failed);
        for bytes in early.into_iter().flatten() {
            if let Ok((record, _)) = record::parse(&bytes, CID_LEN) {
                self.prove_handshake(address, &record, &bytes, out);
            }
        }
    }

    /// Tries a record as the Finished of the handshake under way at this address.
    pub(super) fn prove_handshake(
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
        let id = HandshakeId {
            address,
            serial: handshake.serial,
        };
        if let Some((session, known)) = handshake.store(address) {
            out.wants.push(Want::Establish {
                handshake: id,
                session: Box::new(session),
                known,
            });
        }
        proof
    }
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
