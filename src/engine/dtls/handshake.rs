//! One handshake, from the hello with a good cookie to the session.
//!
//! ```text
//! client                                   server
//! ClientHello               ------------>  (nothing is kept)
//!                           <------------  HelloVerifyRequest
//! ClientHello with cookie   ------------>  Hello, while it comes in fragments
//!                           <------------  ServerHello, ServerHelloDone
//!                                          KeyExchange: the flight is repeated with a timer
//! ClientKeyExchange         ------------>
//! [ChangeCipherSpec]
//! Finished                  ------------>  Finished, until it verifies
//!                                          Storing, until the session is durable
//!                           <------------  [ChangeCipherSpec] Finished
//! ```
//!
//! PSK without hint (RFC 4279), so there is no ServerKeyExchange. Key schedule: `crypto::prf`.
//! A client's ChangeCipherSpec says nothing that the epoch of its records does not.

use std::net::SocketAddr;
use std::time::Instant;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::assembly::Assembly;
use super::crypto::{Keys, Protection, Side, Suite, prf};
use super::sessions::number_of;
use super::types::{CID_LEN, Cid, Known, Lookup, PEER_CID_MAX, Settings, Stored, Unknown};
use super::{Random, session};
use crate::base::secret::Secret;
use crate::wire::dtls::handshake::{
    ClientHello, ClientKeyExchange, Extensions, Fragment, MsgType, ServerHello, message,
};
use crate::wire::dtls::{ContentType, Record, VERSION_1_2, record};

/// Records that came before the keys are known: the client's Finished overtook its key exchange.
const EARLY_MAX: usize = 2;
/// Longest of them: a Finished has under 100 bytes in any suite.
const EARLY_LEN_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) serial: u32,
    /// Flights sent again so far.
    pub(super) repeated: u32,
    /// A failed Finished was reported.
    pub(super) is_reported: bool,
    /// The store could not tell whose the newest key exchange is.
    pub(super) lookup_failed: bool,
    pub(super) extended_master_secret: bool,
    pub(super) client_random: [u8; 32],
    /// Number of the client's hello among its messages.
    hello_seq: u16,
    /// The next unprotected record of ours.
    pub(super) record_seq: u64,
    protection: Option<Protection>,
    peer_cid: Option<Box<[u8]>>,
    own_cid: Option<Cid>,
    /// Of the session that it leads to.
    number: u64,
    return_routability: bool,
    /// ServerHello and ServerHelloDone, with their headers.
    flight: Vec<Box<[u8]>>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// The hello comes in fragments.
    Hello(Assembly),
    /// Until the client has proved its key.
    Open(Box<Exchange>),
    /// It has; until the session is durable.
    Storing(Box<Exchange>),
}

#[derive(Debug)]
pub(super) struct Exchange {
    /// Up to ServerHelloDone.
    transcript: Sha256,
    server_random: [u8; 32],
    assembly: Option<Assembly>,
    early: Vec<Box<[u8]>>,
    /// From the newest key exchange: one that somebody forged gives way to the client's own when
    /// the client repeats it.
    derived: Option<Derived>,
}

/// What the key exchange gives.
#[derive(Debug)]
pub(super) struct Derived {
    keys: Keys,
    /// The message that led here.
    key_exchange: Box<[u8]>,
    /// Of the client's Finished.
    expected: [u8; 12],
    /// Of ours.
    verify_data: [u8; 12],
    assembly: Option<Assembly>,
    pub(super) identity: Box<[u8]>,
    /// With an unknown identity the keys come from random bytes: nothing shows from outside.
    pub(super) known: Result<Known, Unknown>,
    /// Number of the record with the client's Finished.
    pub(super) received: u64,
}

/// What a hello asks for that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoMatch {
    Version,
    Suite,
}

/// How a protected record of the client went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Not for this handshake, or not now.
    No,
    /// It does not open, or the Finished is another.
    Wrong,
    /// Authentic, but no Finished, or not yet a whole one.
    Other,
    Proved,
}

impl Handshake {
    /// Of a hello whose cookie is good, and whose fragments may still be coming.
    pub(super) fn new(serial: u32, record: &Record<'_>, fragment: &Fragment<'_>) -> Option<Self> {
        Some(Self {
            serial,
            repeated: 0,
            is_reported: false,
            lookup_failed: false,
            extended_master_secret: false,
            client_random: [0; 32],
            hello_seq: fragment.message_seq,
            // RFC 6347 §4.2.1: the first record answers with the number of the hello's.
            record_seq: record.seq,
            protection: None,
            peer_cid: None,
            own_cid: None,
            number: 0,
            return_routability: false,
            flight: Vec::new(),
            state: State::Hello(Assembly::begin(fragment)?),
        })
    }

    /// Whether this is the same hello again.
    pub(super) fn is_of(&self, hello_seq: u16, random: &[u8; 32]) -> bool {
        self.hello_seq == hello_seq
            && !matches!(self.state, State::Hello(_))
            && self.client_random == *random
    }

    /// Whether this first fragment is of the hello whose fragments are still coming. A hello that
    /// is whole, or says otherwise than the first did, begins anew: what came before may be forged.
    pub(super) fn is_more_of(&self, fragment: &Fragment<'_>, random: &[u8; 32]) -> bool {
        match &self.state {
            State::Hello(assembly) => {
                !fragment.is_whole() && assembly.is_of(fragment) && assembly.has(2, random)
            }
            State::Open(_) | State::Storing(_) => false,
        }
    }

    /// Whether this may be, or be part of, the key exchange that comes next.
    pub(super) fn awaits(&self, fragment: &Fragment<'_>) -> bool {
        matches!(self.state, State::Open(_))
            && fragment.msg_type == MsgType::CLIENT_KEY_EXCHANGE
            && fragment.message_seq == self.hello_seq.wrapping_add(1)
    }

    /// Judges the whole hello and makes the answering flight. `cid` has the session's number, also
    /// when the client takes none.
    pub(super) fn answer(
        &mut self,
        hello: &ClientHello<'_>,
        body: &[u8],
        settings: &Settings,
        cid: Cid,
        random: &mut dyn Random,
    ) -> Result<(), NoMatch> {
        // Versions count downwards.
        if hello.prefix.version > VERSION_1_2 || hello.prefix.version >> 8 != VERSION_1_2 >> 8 {
            return Err(NoMatch::Version);
        }
        let suite = choose(&settings.suites, hello).ok_or(NoMatch::Suite)?;
        let offered = &hello.extensions;
        // RFC 5746 §3.6: in a first handshake there is none to prove. RFC 5246 §7.4.1.2: every
        // client takes no compression.
        let is_first = offered.renegotiation_info.is_none_or(<[u8]>::is_empty);
        if !is_first || !hello.prefix.compression_methods.contains(&0) {
            return Err(NoMatch::Suite);
        }
        let encrypt_then_mac = suite == Suite::CbcSha256 && offered.encrypt_then_mac;
        let peer_cid = offered
            .connection_id
            .filter(|cid| cid.len() <= PEER_CID_MAX);
        self.protection = Some(Protection {
            suite,
            encrypt_then_mac,
        });
        self.client_random = hello.prefix.random;
        self.extended_master_secret = offered.extended_master_secret;
        self.own_cid = peer_cid.map(|_| cid);
        self.number = number_of(&cid);
        self.peer_cid = peer_cid.map(Box::from);
        self.return_routability = peer_cid.is_some() && offered.return_routability;
        let mut server_random = [0; 32];
        random.fill(&mut server_random);
        let server_hello = ServerHello {
            version: VERSION_1_2,
            random: server_random,
            session_id: &[],
            cipher_suite: suite.code(),
            compression_method: 0,
            extensions: Extensions {
                extended_master_secret: self.extended_master_secret,
                encrypt_then_mac,
                renegotiation_info: hello.signals_renegotiation_info().then_some(&[]),
                connection_id: self.own_cid.as_ref().map(<[u8; CID_LEN]>::as_slice),
                return_routability: self.return_routability,
            },
        };
        let mut body_out = Vec::with_capacity(96);
        server_hello.write(&mut body_out);
        let mut first = Vec::with_capacity(108);
        message(&mut first, MsgType::SERVER_HELLO, self.hello_seq, &body_out);
        let mut second = Vec::with_capacity(12);
        message(
            &mut second,
            MsgType::SERVER_HELLO_DONE,
            self.hello_seq.wrapping_add(1),
            &[],
        );
        let mut transcript = Sha256::new();
        update(&mut transcript, MsgType::CLIENT_HELLO, self.hello_seq, body);
        transcript.update(&first);
        transcript.update(&second);
        self.flight = vec![first.into(), second.into()];
        self.state = State::Open(Box::new(Exchange {
            transcript,
            server_random,
            assembly: None,
            early: Vec::new(),
            derived: None,
        }));
        Ok(())
    }

    /// ServerHello and ServerHelloDone as one datagram, each in a record of its own: some clients
    /// take no two messages in one.
    pub(super) fn flight(&mut self) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(192);
        for message in &self.flight {
            record::write(
                &mut datagram,
                ContentType::HANDSHAKE,
                VERSION_1_2,
                0,
                self.record_seq,
                message,
            );
            self.record_seq = self.record_seq.saturating_add(1);
        }
        datagram
    }

    /// An unprotected message after the hello: the key exchange. Gives the records that waited for
    /// it when the keys are known now.
    pub(super) fn key_exchange(
        &mut self,
        fragment: &Fragment<'_>,
        lookup: &mut dyn Lookup,
        random: &mut dyn Random,
    ) -> Option<Vec<Box<[u8]>>> {
        let is_next = self.awaits(fragment);
        let (State::Open(exchange), true) = (&mut self.state, is_next) else {
            return None;
        };
        let body = collect(&mut exchange.assembly, fragment)?;
        let is_same = |derived: &Derived| *derived.key_exchange == *body;
        if exchange.derived.as_ref().is_some_and(is_same) {
            return None;
        }
        let identity: Box<[u8]> = ClientKeyExchange::parse(&body).ok()?.identity.into();
        let known = lookup.device(&identity);
        if let Err(Unknown::Unavailable) = known {
            // The client repeats its flight, and then it may be possible.
            self.lookup_failed = true;
            return None;
        }
        let protection = self.protection.as_ref()?;
        let mut transcript = exchange.transcript.clone();
        update(
            &mut transcript,
            MsgType::CLIENT_KEY_EXCHANGE,
            fragment.message_seq,
            &body,
        );
        let so_far: [u8; 32] = transcript.clone().finalize().into();
        let key = match &known {
            Ok(known) => known.key.clone(),
            Err(_) => {
                let mut dummy = vec![0; 16];
                random.fill(&mut dummy);
                Secret::new(dummy)
            }
        };
        let premaster = prf::psk_premaster(key.expose());
        let master = if self.extended_master_secret {
            prf::extended_master_secret(&premaster, &so_far)
        } else {
            prf::master_secret(&premaster, &self.client_random, &exchange.server_random)
        };
        let block = prf::key_block(
            &master,
            &self.client_random,
            &exchange.server_random,
            protection.suite,
        );
        let keys = Keys::from_key_block(protection.suite, block.expose())?;
        let expected = prf::verify_data(&master, Side::Client, &so_far);
        update(
            &mut transcript,
            MsgType::FINISHED,
            self.hello_seq.wrapping_add(2),
            &expected,
        );
        let after: [u8; 32] = transcript.finalize().into();
        let verify_data = prf::verify_data(&master, Side::Server, &after);
        exchange.derived = Some(Derived {
            key_exchange: body.into(),
            keys,
            expected,
            verify_data,
            assembly: None,
            identity,
            known,
            received: 0,
        });
        Some(std::mem::take(&mut exchange.early))
    }

    /// A protected record that may be the client's Finished. `bytes` are the whole record.
    pub(super) fn prove(
        &mut self,
        record: &Record<'_>,
        bytes: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Proof {
        let has_cid = record.content_type == ContentType::TLS12_CID;
        let is_ours = has_cid == self.own_cid.is_some()
            && self.own_cid.is_none_or(|cid| record.cid == cid.as_slice());
        let Some(protection) = self
            .protection
            .as_ref()
            .filter(|_| is_ours && record.epoch == session::EPOCH)
        else {
            return Proof::No;
        };
        let State::Open(exchange) = &mut self.state else {
            return Proof::No;
        };
        let Some(derived) = &mut exchange.derived else {
            if exchange.early.len() < EARLY_MAX && bytes.len() <= EARLY_LEN_MAX {
                exchange.early.push(bytes.into());
            }
            return Proof::No;
        };
        scratch.clear();
        let Some(content_type) = protection.open(&derived.keys.client, record, scratch) else {
            return Proof::Wrong;
        };
        if content_type != ContentType::HANDSHAKE {
            return Proof::Other;
        }
        let Ok(fragment) = Fragment::parse(scratch).map(|(fragment, _)| fragment) else {
            return Proof::Wrong;
        };
        let is_finished = fragment.msg_type == MsgType::FINISHED
            && fragment.message_seq == self.hello_seq.wrapping_add(2);
        if !is_finished {
            return Proof::Other;
        }
        let Some(body) = collect(&mut derived.assembly, &fragment) else {
            return Proof::Other;
        };
        if !bool::from(body.as_slice().ct_eq(&derived.expected)) {
            return Proof::Wrong;
        }
        derived.received = record.seq;
        Proof::Proved
    }

    /// The session to store, once the client has proved its key.
    pub(super) fn store(&mut self, address: SocketAddr) -> Option<(Stored, Known)> {
        let protection = self.protection.as_ref()?;
        let State::Open(exchange) = &mut self.state else {
            return None;
        };
        let derived = exchange.derived.as_ref()?;
        let known = derived.known.as_ref().ok()?;
        let stored = Stored {
            device: known.device,
            number: self.number,
            own_cid: self.own_cid,
            peer_cid: self.peer_cid.clone().unwrap_or_default(),
            address,
            is_proven: true,
            suite: protection.suite,
            encrypt_then_mac: protection.encrypt_then_mac,
            return_routability: self.return_routability,
            key_block: derived.keys.key_block(),
            verify_data: derived.verify_data,
            finished_seq: self.hello_seq.wrapping_add(2),
            send_reserved: session::RESERVE,
            received: Some(derived.received),
        };
        let known = known.clone();
        let exchange = std::mem::take(&mut **exchange);
        self.state = State::Storing(Box::new(exchange));
        Some((stored, known))
    }

    /// The session could not be stored: the client repeats its Finished, which tries again.
    pub(super) fn not_stored(&mut self) {
        if let State::Storing(exchange) = &mut self.state {
            let exchange = std::mem::take(&mut **exchange);
            self.state = State::Open(Box::new(exchange));
        }
    }

    /// Whose the handshake is, once the client has said it.
    pub(super) fn derived(&self) -> Option<&Derived> {
        match &self.state {
            State::Open(exchange) | State::Storing(exchange) => exchange.derived.as_ref(),
            State::Hello(_) => None,
        }
    }
}

/// For `mem::take` only: never looked at.
impl Default for Exchange {
    fn default() -> Self {
        Self {
            transcript: Sha256::new(),
            server_random: [0; 32],
            assembly: None,
            early: Vec::new(),
            derived: None,
        }
    }
}

/// The server's Finished, as a message.
pub(super) fn finished(message_seq: u16, verify_data: &[u8; 12]) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    message(&mut out, MsgType::FINISHED, message_seq, verify_data);
    out
}

/// The first suite of ours that the client has, too.
fn choose(ours: &[Suite], hello: &ClientHello<'_>) -> Option<Suite> {
    ours.iter()
        .copied()
        .find(|suite| hello.prefix.cipher_suites.contains(suite.code()))
}

/// A message as the transcript has it: in one fragment.
fn update(transcript: &mut Sha256, msg_type: MsgType, message_seq: u16, body: &[u8]) {
    let mut head = Vec::with_capacity(12 + body.len());
    message(&mut head, msg_type, message_seq, body);
    transcript.update(&head);
}

/// The body of a message, when this fragment completes it.
fn collect(assembly: &mut Option<Assembly>, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
    if fragment.is_whole() {
        return Some(fragment.body.to_vec());
    }
    // Another message than the one begun: the begun one may be forged.
    if assembly.as_ref().is_none_or(|begun| !begun.is_of(fragment)) {
        *assembly = Assembly::begin(fragment);
    }
    let whole = assembly.as_mut()?.add(fragment)?.to_vec();
    *assembly = None;
    Some(whole)
}

/// When a flight is to be sent again for the `repeated`th time, counted from 0.
pub(super) fn repeat_at(now: Instant, settings: &Settings, repeated: u32) -> Instant {
    let factor = 1_u32.checked_shl(repeated).unwrap_or(u32::MAX);
    now + settings.retransmit_first.saturating_mul(factor)
}
