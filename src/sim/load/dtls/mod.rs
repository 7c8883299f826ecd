//! A DTLS 1.2 client with a pre-shared key, no bigger than a load generator needs: one suite, no
//! socket, no clock, 0.3 kB for an open session. It exists because thousands of webrtc-dtls clients
//! would cost the machine more than the server that is measured; it shares no code with the server.
//!
//! ```text
//! Hello --HelloVerifyRequest--> Hello (with cookie) --ServerHelloDone--> Finishing --Finished--> Open
//!   any --fatal alert, wrong verify data, unusable choice--> Failed
//! ```
//!
//! The caller repeats [`Client::flight`] on its timer until it is connected: each repetition has new
//! record numbers. Replayed records are not told apart, which CoAP's message ids do. What does not
//! decrypt is dropped. RFC 6347 §4.2, RFC 4279 §2, RFC 7627, RFC 6655.

mod hello;
mod keys;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use keys::{EXPLICIT_LEN, Keys, TAG_LEN, premaster, prf};
use record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, FINISHED,
    HANDSHAKE, HELLO_VERIFY_REQUEST, SERVER_HELLO, SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE,
    explicit, put_header, take_message, take_record,
};

const FATAL: u8 = 2;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
const VERIFY_LEN: usize = 12;
/// Handshake messages that wait for an earlier one.
const EARLY_MAX: usize = 8;

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the server refused with alert {0}")]
    Alert(u8),
    #[error("the server's answer did not verify")]
    Unverified,
    #[error("the server chose what was not offered")]
    Choice,
}

impl Failure {
    /// Stable word for reports; never reworded.
    pub(super) fn kind(self) -> String {
        match self {
            Self::Alert(alert) => format!("alert_{alert}"),
            Self::Unverified => "unverified".to_owned(),
            Self::Choice => "choice".to_owned(),
        }
    }
}

/// What a datagram brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The next flight is ready to be sent.
    Flight,
    Connected,
    Failed(Failure),
    Message(Vec<u8>),
    /// The server closed the session.
    Closed,
}

/// A record that may have to be sent again.
struct Sendable {
    kind: u8,
    epoch: u16,
    body: Vec<u8>,
}

/// What is needed until the session stands.
struct Handshake {
    identity: Vec<u8>,
    key: Vec<u8>,
    random: [u8; 32],
    flight: Vec<Sendable>,
    /// Hashed so far: all messages but the first hello that was answered with a cookie.
    transcript: Vec<u8>,
    server: Option<hello::ServerHello>,
    master: [u8; 48],
    /// Messages of the server that came before their turn.
    early: BTreeMap<u16, Vec<u8>>,
    sending_seq: u16,
    receiving_seq: u16,
}

enum State {
    Hello(Box<Handshake>),
    Finishing(Box<Handshake>),
    Open,
    Failed,
}

/// See the module.
pub(super) struct Client {
    state: State,
    keys: Option<Keys>,
    /// Records sent in epoch 0 and 1.
    sent: [u64; 2],
}

impl Client {
    pub(super) fn new(identity: &[u8], key: &[u8], random: [u8; 32]) -> Self {
        let mut handshake = Box::new(Handshake {
            identity: identity.to_vec(),
            key: key.to_vec(),
            random,
            flight: Vec::new(),
            transcript: Vec::new(),
            server: None,
            master: [0; 48],
            early: BTreeMap::new(),
            sending_seq: 0,
            receiving_seq: 0,
        });
        handshake.say_hello(&[]);
        Self {
            state: State::Hello(handshake),
            keys: None,
            sent: [0; 2],
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The datagram of the flight under way, to be sent now and on each timeout.
    pub(super) fn flight(&mut self, out: &mut Vec<u8>) {
        out.clear();
        let (State::Hello(handshake) | State::Finishing(handshake)) = &self.state else {
            return;
        };
        let (keys, sent) = (self.keys.as_ref(), &mut self.sent);
        for record in &handshake.flight {
            put(out, keys, sent, record.kind, record.epoch, &record.body);
        }
    }

    /// A protected message; empty when the session is not open.
    pub(super) fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.put_protected(APPLICATION_DATA, message, out);
    }

    /// The close_notify that ends the session.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        self.put_protected(ALERT, &CLOSE_NOTIFY, out);
        self.state = State::Failed;
    }

    fn put_protected(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) {
        out.clear();
        if self.is_open() {
            put(out, self.keys.as_ref(), &mut self.sent, kind, 1, body);
        }
    }

    /// Takes one datagram; `heard` gets what it brought, in order.
    pub(super) fn take(&mut self, datagram: &[u8], heard: &mut Vec<Heard>) {
        let mut rest = datagram;
        while let Some(record) = take_record(&mut rest) {
            match (record.epoch, record.kind) {
                (0, HANDSHAKE) => self.take_handshake(record.body, heard),
                // Once a session stands, only what is protected counts.
                (0, ALERT) if !self.is_open() => {
                    if let &[FATAL, alert] = record.body {
                        self.fail(Failure::Alert(alert), heard);
                    }
                }
                (1, kind) => {
                    let keys = self.keys.as_ref();
                    if let Some(plain) =
                        keys.and_then(|keys| keys.open(kind, record.number, record.body))
                    {
                        self.take_protected(kind, plain, heard);
                    }
                }
                _ => {}
            }
        }
    }

    fn take_protected(&mut self, kind: u8, plain: Vec<u8>, heard: &mut Vec<Heard>) {
        match (kind, &self.state) {
            (HANDSHAKE, State::Finishing(handshake)) => {
                let mut rest = plain.as_slice();
                let Some(message) = take_message(&mut rest) else {
                    return;
                };
                if message.kind == FINISHED && message.body == handshake.verify("server finished") {
                    self.state = State::Open;
                    heard.push(Heard::Connected);
                } else {
                    self.fail(Failure::Unverified, heard);
                }
            }
            (APPLICATION_DATA, State::Open) => heard.push(Heard::Message(plain)),
            (ALERT, State::Open) => {
                self.state = State::Failed;
                heard.push(Heard::Closed);
            }
            (ALERT, State::Finishing(_)) => {
                let alert = plain.get(1).copied().unwrap_or_default();
                self.fail(Failure::Alert(alert), heard);
            }
            _ => {}
        }
    }

    fn take_handshake(&mut self, body: &[u8], heard: &mut Vec<Heard>) {
        let mut rest = body;
        while let Some(message) = take_message(&mut rest) {
            let State::Hello(handshake) = &mut self.state else {
                return; // a repetition of what was answered already
            };
            let seq = message.seq;
            if seq > handshake.receiving_seq && handshake.early.len() < EARLY_MAX {
                handshake.early.insert(seq, message.whole.to_vec());
            }
            if seq != handshake.receiving_seq {
                continue;
            }
            let mut next = Some(message.whole.to_vec());
            while let Some(whole) = next.take() {
                match self.take_next(&whole, heard) {
                    Ok(()) => {}
                    Err(failure) => return self.fail(failure, heard),
                }
                if let State::Hello(handshake) = &mut self.state {
                    next = handshake.early.remove(&handshake.receiving_seq);
                }
            }
        }
    }

    /// Takes the message whose turn it is.
    fn take_next(&mut self, whole: &[u8], heard: &mut Vec<Heard>) -> Result<(), Failure> {
        let State::Hello(handshake) = &mut self.state else {
            return Ok(());
        };
        let mut rest = whole;
        let Some(message) = take_message(&mut rest) else {
            return Ok(());
        };
        handshake.receiving_seq += 1;
        match message.kind {
            HELLO_VERIFY_REQUEST if handshake.server.is_none() => {
                let cookie = hello::cookie(message.body).ok_or(Failure::Choice)?;
                // Neither the first hello nor this request goes into the hash.
                handshake.transcript.clear();
                handshake.say_hello(cookie);
                heard.push(Heard::Flight);
            }
            SERVER_HELLO => {
                let server = hello::server_hello(message.body).ok_or(Failure::Choice)?;
                handshake.server = Some(server);
                handshake.transcript.extend(whole);
            }
            // The server's hint about which identity it wants: there is only one here.
            SERVER_KEY_EXCHANGE => handshake.transcript.extend(whole),
            SERVER_HELLO_DONE => {
                handshake.transcript.extend(whole);
                self.keys = Some(handshake.finish().ok_or(Failure::Choice)?);
                self.state = match std::mem::replace(&mut self.state, State::Failed) {
                    State::Hello(handshake) => State::Finishing(handshake),
                    other => other,
                };
                heard.push(Heard::Flight);
            }
            _ => return Err(Failure::Choice),
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure, heard: &mut Vec<Heard>) {
        if !matches!(self.state, State::Failed) {
            self.state = State::Failed;
            heard.push(Heard::Failed(failure));
        }
    }
}

impl Handshake {
    fn take_seq(&mut self) -> u16 {
        let seq = self.sending_seq;
        self.sending_seq += 1;
        seq
    }

    fn say_hello(&mut self, cookie: &[u8]) {
        let body = hello::client_hello(&self.random, cookie);
        let message = record::message(CLIENT_HELLO, self.take_seq(), &body);
        self.transcript.extend(&message);
        self.flight = vec![Sendable {
            kind: HANDSHAKE,
            epoch: 0,
            body: message,
        }];
    }

    /// Derives the keys and prepares the last flight; `None` without a ServerHello.
    fn finish(&mut self) -> Option<Keys> {
        let [.., high, low] = self.identity.len().to_be_bytes();
        let exchange = [&[high, low], self.identity.as_slice()].concat();
        let exchange = record::message(CLIENT_KEY_EXCHANGE, self.take_seq(), &exchange);
        self.transcript.extend(&exchange);
        let server = self.server.as_ref()?;
        let before = premaster(&self.key);
        if server.extended_master_secret {
            let hash = Sha256::digest(&self.transcript);
            let label = "extended master secret";
            prf(&before, label, &[&hash[..]], &mut self.master);
        } else {
            let seed = [&self.random[..], &server.random[..]];
            prf(&before, "master secret", &seed, &mut self.master);
        }
        let keys = Keys::new(&self.master, &self.random, &server.random)?;
        let verify = self.verify("client finished");
        let finished = record::message(FINISHED, self.take_seq(), &verify);
        self.transcript.extend(&finished);
        let sendable = |kind, epoch, body| Sendable { kind, epoch, body };
        self.flight = vec![
            sendable(HANDSHAKE, 0, exchange),
            sendable(CHANGE_CIPHER_SPEC, 0, vec![1]),
            sendable(HANDSHAKE, 1, finished),
        ];
        Some(keys)
    }

    fn verify(&self, label: &str) -> [u8; VERIFY_LEN] {
        let mut verify = [0; VERIFY_LEN];
        let hash = Sha256::digest(&self.transcript);
        prf(&self.master, label, &[&hash[..]], &mut verify);
        verify
    }
}

/// Appends one record, protected in epoch 1.
fn put(
    out: &mut Vec<u8>,
    keys: Option<&Keys>,
    sent: &mut [u64; 2],
    kind: u8,
    epoch: u16,
    body: &[u8],
) {
    let [plain, protected] = sent;
    let sequence = if epoch == 0 { plain } else { protected };
    let number = explicit(epoch, *sequence);
    *sequence += 1;
    match keys.filter(|_| epoch == 1) {
        Some(keys) => {
            put_header(out, kind, number, EXPLICIT_LEN + body.len() + TAG_LEN);
            keys.seal(kind, number, body, out);
        }
        None => {
            put_header(out, kind, number, body.len());
            out.extend(body);
        }
    }
}
