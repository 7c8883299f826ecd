//! A DTLS client for tests and benches, sans-I/O: every offer can be set, and its flights come as
//! datagrams that a test may lose, cut, reorder and repeat.
#![allow(unreachable_pub, reason = "benches take this file in, too")]

use sha2::{Digest, Sha256};

use crate::engine::dtls::crypto::{DirectionKeys, Head, Keys, Protection, Side, Suite, prf};
use crate::wire::dtls::alert::Alert;
use crate::wire::dtls::handshake::{
    ClientKeyExchange, ClientOffer, Extensions, Fragment, HelloVerifyRequest, MsgType,
    SIGNALLING_SUITE, ServerHello, message,
};
use crate::wire::dtls::{ContentType, Record, VERSION_1_2, record};

/// What the client offers and how it writes.
#[derive(Debug, Clone)]
pub struct Offer {
    pub version: u16,
    pub suites: Vec<u16>,
    pub extended_master_secret: bool,
    pub encrypt_then_mac: bool,
    /// The connection id that it wants on what it receives.
    pub cid: Option<Vec<u8>>,
    pub return_routability: bool,
    /// Further extensions.
    pub others: Vec<(u16, Vec<u8>)>,
    pub compression: Vec<u8>,
    /// No extension block at all.
    pub bare: bool,
    /// Bytes of a handshake message in one fragment.
    pub fragment: usize,
}

impl Offer {
    pub fn of(suite: Suite) -> Self {
        Self {
            version: VERSION_1_2,
            suites: vec![suite.code(), SIGNALLING_SUITE],
            extended_master_secret: true,
            encrypt_then_mac: false,
            cid: None,
            return_routability: false,
            others: Vec::new(),
            compression: vec![0],
            bare: false,
            fragment: 1200,
        }
    }

    pub fn with_cid(self, cid: &[u8]) -> Self {
        Self {
            cid: Some(cid.to_vec()),
            ..self
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Hello,
    HelloWithCookie,
    Finished,
    Connected,
    Refused(u8),
}

/// Of a ServerHello: protection, random, extended master secret, the server's connection id.
type Agreed = (Protection, [u8; 32], bool, Option<Vec<u8>>);

/// The client's side of one session.
#[derive(Debug, Clone)]
pub struct Client {
    pub offer: Offer,
    identity: Vec<u8>,
    psk: Vec<u8>,
    pub random: [u8; 32],
    cookie: Vec<u8>,
    pub stage: Stage,
    /// Messages of the flight under way, each with whether it is protected.
    flight: Vec<(bool, Vec<u8>)>,
    message_seq: u16,
    record_seq: u64,
    pub send_seq: u64,
    transcript: Vec<u8>,
    server_hello: Option<Agreed>,
    keys: Option<(Protection, Keys)>,
    expected: [u8; 12],
    /// Numbers of the records received in epoch 1.
    pub seen: Vec<u64>,
    /// What the server sent.
    pub received: Vec<Vec<u8>>,
    pub alerts: Vec<Alert>,
    /// Messages of RFC 9853.
    pub paths: Vec<Vec<u8>>,
    pub reneg_info: bool,
}

impl Client {
    pub fn new(offer: Offer, identity: &str, psk: &[u8], random: [u8; 32]) -> Self {
        Self {
            offer,
            identity: identity.as_bytes().to_vec(),
            psk: psk.to_vec(),
            random,
            cookie: Vec::new(),
            stage: Stage::Hello,
            flight: Vec::new(),
            message_seq: 0,
            record_seq: 0,
            send_seq: 0,
            transcript: Vec::new(),
            server_hello: None,
            keys: None,
            expected: [0; 12],
            seen: Vec::new(),
            received: Vec::new(),
            alerts: Vec::new(),
            paths: Vec::new(),
            reneg_info: false,
        }
    }

    /// The first flight.
    pub fn start(&mut self) -> Vec<Vec<u8>> {
        self.hello();
        self.repeat()
    }

    fn hello(&mut self) {
        let others: Vec<(u16, &[u8])> = self
            .offer
            .others
            .iter()
            .map(|(number, data)| (*number, data.as_slice()))
            .collect();
        let extensions = Extensions {
            extended_master_secret: self.offer.extended_master_secret,
            encrypt_then_mac: self.offer.encrypt_then_mac,
            renegotiation_info: None,
            connection_id: self.offer.cid.as_deref(),
            return_routability: self.offer.return_routability,
        };
        let mut body = Vec::new();
        ClientOffer {
            version: self.offer.version,
            random: self.random,
            session_id: &[],
            cookie: &self.cookie,
            cipher_suites: &self.offer.suites,
            compression_methods: &self.offer.compression,
            extensions: (!self.offer.bare).then_some(extensions),
            others: &others,
        }
        .write(&mut body);
        self.transcript.clear();
        let hello = self.next_message(MsgType::CLIENT_HELLO, &body);
        self.flight = vec![(false, hello)];
    }

    fn next_message(&mut self, msg_type: MsgType, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        message(&mut out, msg_type, self.message_seq, body);
        self.message_seq += 1;
        self.transcript.extend_from_slice(&out);
        out
    }

    /// The flight under way, in new records: one datagram for each fragment of each message, the
    /// ChangeCipherSpec before the first protected one.
    pub fn repeat(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        for (protected, whole) in self.flight.clone() {
            let (fragment, _) = Fragment::parse(&whole).unwrap();
            let mut offset = 0;
            loop {
                let end = (offset + self.offer.fragment).min(fragment.body.len());
                let mut piece = Vec::new();
                Fragment {
                    offset: u32::try_from(offset).unwrap(),
                    body: &fragment.body[offset..end],
                    ..fragment
                }
                .write(&mut piece);
                if protected {
                    datagrams.push(self.plain(ContentType::CHANGE_CIPHER_SPEC, &[1]));
                    datagrams.push(self.protect(ContentType::HANDSHAKE, &piece));
                } else {
                    datagrams.push(self.plain(ContentType::HANDSHAKE, &piece));
                }
                offset = end;
                if offset == fragment.body.len() {
                    break;
                }
            }
        }
        datagrams
    }

    pub fn plain(&mut self, content_type: ContentType, fragment: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let seq = self.record_seq;
        self.record_seq += 1;
        record::write(&mut out, content_type, VERSION_1_2, 0, seq, fragment);
        out
    }

    /// A protected record.
    pub fn protect(&mut self, content_type: ContentType, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let (protection, keys) = self.keys.as_ref().unwrap();
        let cid = self.server_hello.as_ref().and_then(|s| s.3.clone());
        let head = Head {
            epoch: 1,
            seq: self.send_seq,
            cid: cid.as_deref().unwrap_or_default(),
        };
        self.send_seq += 1;
        let iv = [7; 16];
        protection
            .seal(&keys.client, head, content_type, payload, iv, &mut out)
            .unwrap();
        out
    }

    pub fn send(&mut self, payload: &[u8]) -> Vec<u8> {
        self.protect(ContentType::APPLICATION_DATA, payload)
    }

    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Connected
    }

    /// The id that the server gave.
    pub fn server_cid(&self) -> Option<&[u8]> {
        self.server_hello.as_ref()?.3.as_deref()
    }

    /// Takes a datagram; gives the next flight, if that follows.
    pub fn receive(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = datagram;
        let cid_len = self.offer.cid.as_ref().map_or(0, Vec::len);
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (record, next) = record::parse(rest, cid_len).unwrap();
            rest = next;
            if record.epoch == 0 {
                out.extend(self.plain_record(&record));
            } else {
                self.protected_record(&record);
            }
        }
        out
    }

    fn plain_record(&mut self, record: &Record<'_>) -> Vec<Vec<u8>> {
        if record.content_type == ContentType::ALERT {
            let alert = Alert::parse(record.fragment).unwrap();
            if !self.is_connected() {
                self.stage = Stage::Refused(alert.description.0);
            }
            return Vec::new();
        }
        if record.content_type != ContentType::HANDSHAKE {
            return Vec::new();
        }
        let (fragment, rest) = Fragment::parse(record.fragment).unwrap();
        assert!(
            rest.is_empty() && fragment.is_whole(),
            "one message in each"
        );
        // What answers a former hello came late.
        let hello_seq = self.message_seq.wrapping_sub(1);
        let is_late = fragment.message_seq < hello_seq && self.server_hello.is_none();
        match (self.stage, fragment.msg_type) {
            _ if is_late => Vec::new(),
            (Stage::Hello | Stage::HelloWithCookie, MsgType::HELLO_VERIFY_REQUEST)
                if self.server_hello.is_none() =>
            {
                let request = HelloVerifyRequest::parse(fragment.body).unwrap();
                self.cookie = request.cookie.to_vec();
                self.stage = Stage::HelloWithCookie;
                self.hello();
                self.repeat()
            }
            (Stage::HelloWithCookie, MsgType::SERVER_HELLO) if self.server_hello.is_none() => {
                self.server_hello(&fragment);
                Vec::new()
            }
            (Stage::HelloWithCookie, MsgType::SERVER_HELLO_DONE) if self.server_hello.is_some() => {
                message(
                    &mut self.transcript,
                    MsgType::SERVER_HELLO_DONE,
                    fragment.message_seq,
                    &[],
                );
                self.finish();
                self.repeat()
            }
            _ => Vec::new(),
        }
    }

    fn server_hello(&mut self, fragment: &Fragment<'_>) {
        let hello = ServerHello::parse(fragment.body).unwrap();
        let protection = Protection {
            suite: Suite::from_code(hello.cipher_suite).unwrap(),
            encrypt_then_mac: hello.extensions.encrypt_then_mac,
        };
        self.reneg_info = hello.extensions.renegotiation_info.is_some();
        let cid = hello.extensions.connection_id.map(<[u8]>::to_vec);
        let ems = hello.extensions.extended_master_secret;
        self.server_hello = Some((protection, hello.random, ems, cid));
        message(
            &mut self.transcript,
            MsgType::SERVER_HELLO,
            fragment.message_seq,
            fragment.body,
        );
    }

    fn finish(&mut self) {
        let mut body = Vec::new();
        ClientKeyExchange {
            identity: &self.identity,
        }
        .write(&mut body);
        let key_exchange = self.next_message(MsgType::CLIENT_KEY_EXCHANGE, &body);
        let hash: [u8; 32] = Sha256::digest(&self.transcript).into();
        let (protection, server_random, ems, _) = self.server_hello.as_ref().unwrap();
        let premaster = prf::psk_premaster(&self.psk);
        let master = if *ems {
            prf::extended_master_secret(&premaster, &hash)
        } else {
            prf::master_secret(&premaster, &self.random, server_random)
        };
        let block = prf::key_block(&master, &self.random, server_random, protection.suite);
        let keys = Keys::from_key_block(protection.suite, block.expose()).unwrap();
        self.keys = Some((*protection, keys));
        let verify_data = prf::verify_data(&master, Side::Client, &hash);
        let finished = self.next_message(MsgType::FINISHED, &verify_data);
        let hash: [u8; 32] = Sha256::digest(&self.transcript).into();
        self.expected = prf::verify_data(&master, Side::Server, &hash);
        self.flight = vec![(false, key_exchange), (true, finished)];
        self.stage = Stage::Finished;
    }

    fn protected_record(&mut self, record: &Record<'_>) {
        let Some((protection, keys)) = &self.keys else {
            return;
        };
        let own: &DirectionKeys = &keys.server;
        let mut plaintext = Vec::new();
        let Some(content_type) = protection.open(own, record, &mut plaintext) else {
            return;
        };
        if self.offer.cid.as_ref().is_some_and(|cid| !cid.is_empty()) && self.server_cid().is_some()
        {
            assert_eq!(record.cid, self.offer.cid.as_deref().unwrap());
        }
        assert!(
            !self.seen.contains(&record.seq),
            "number {} came twice",
            record.seq
        );
        self.seen.push(record.seq);
        match content_type {
            ContentType::HANDSHAKE => {
                let (fragment, _) = Fragment::parse(&plaintext).unwrap();
                if fragment.msg_type == MsgType::FINISHED && fragment.body == self.expected {
                    self.stage = Stage::Connected;
                }
            }
            ContentType::APPLICATION_DATA => self.received.push(plaintext),
            ContentType::ALERT => self.alerts.push(Alert::parse(&plaintext).unwrap()),
            ContentType::RETURN_ROUTABILITY => self.paths.push(plaintext),
            _ => {}
        }
    }
}
