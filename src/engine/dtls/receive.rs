//! Datagrams in: each record goes to its handshake or session, or is dropped and counted.

use std::net::SocketAddr;
use std::time::Instant;

use super::Dtls;
use super::handshake::Proof;
use super::records::Fate;
use super::types::{CID_LEN, Cid, Lookup, Outputs};
use crate::wire::dtls::handshake::{MsgType, fragments};
use crate::wire::dtls::{ContentType, Record, record};

/// Records taken from one datagram; a flight has at most four.
const RECORDS_MAX: usize = 16;

/// Messages and fragments taken from one record.
const FRAGMENTS_MAX: usize = 8;

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
        let mut answered = false;
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
                self.plain(now, address, &record, &mut answered, lookup, out);
            } else {
                self.protected(address, &record, bytes, lookup, out);
            }
        }
        self.counters.records_malformed += u64::from(!rest.is_empty());
    }

    /// An unprotected record: part of a handshake, or nothing. `answered`: a hello of the same
    /// datagram was, and no other one is: however many it holds, it is worth one answer.
    fn plain(
        &mut self,
        now: Instant,
        address: SocketAddr,
        record: &Record<'_>,
        answered: &mut bool,
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
            if fragment.msg_type != MsgType::CLIENT_HELLO {
                self.key_exchange(now, address, &fragment, lookup, out);
            } else if !*answered {
                let before = out.datagrams.len();
                self.hello(now, address, record, &fragment, out);
                *answered = out.datagrams.len() > before;
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
            Some(index) => self.session_record(index, (address, bytes.len()), record, lookup, out),
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
}
