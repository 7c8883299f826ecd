//! The DTLS sessions of the simulation, without the cipher: a secured device's datagrams travel in
//! records of a session number, a sequence number, and what it sent.
//!
//! ```text
//! record:  session u64  sequence u64  datagram
//! ```
//!
//! No record is taken twice, and none that the store says was taken before the server died.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use strait::base::peer::{DeviceSeq, Mark, Peer};
use strait::net::{Arrival, Route};

/// Both ends of a device's DTLS session, of which nothing but the record numbers is simulated.
pub(crate) struct Session {
    pub(crate) device: DeviceSeq,
    /// Of the session.
    number: u64,
    /// Of the next record.
    seq: u64,
    /// All that the server took, as somebody on the way may keep them. (Who withholds one from the
    /// server can always deliver it later: only the age of the request tells, RFC 9175 §2.3.)
    pub(crate) records: Vec<Vec<u8>>,
    /// Received records, and the newest of those that a former server took.
    received: BTreeSet<u64>,
    floor: Option<u64>,
    /// Where the server sends to, and whether the device has shown that it is there.
    pub(crate) address: SocketAddr,
    proven: bool,
    /// Moves of which the server knows that they were real.
    pub(crate) proofs: usize,
}

impl Session {
    /// After a first handshake, whose cookie proved the address.
    pub(crate) const fn new(device: DeviceSeq, address: SocketAddr) -> Self {
        Self {
            device,
            number: 1,
            seq: 0,
            records: Vec::new(),
            received: BTreeSet::new(),
            floor: None,
            address,
            proven: true,
            proofs: 0,
        }
    }

    /// After a further one.
    pub(crate) fn renew(&self, address: SocketAddr) -> Self {
        Self {
            number: self.number + 1,
            proofs: self.proofs,
            ..Self::new(self.device, address)
        }
    }

    /// What a server that starts anew knows of it.
    pub(crate) fn restore(&mut self, newest: Option<Mark>) {
        let mark = newest.filter(|m| m.session == self.number);
        self.received.clear();
        self.floor = mark.map(|m| m.seq);
        self.proven = false;
    }

    pub(crate) fn prove(&mut self, address: SocketAddr) {
        self.proven |= self.address == address;
        self.proofs += 1;
    }

    /// A record of the device.
    pub(crate) fn seal(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.seq += 1;
        let head = [self.number.to_be_bytes(), self.seq.to_be_bytes()];
        [head.as_flattened(), datagram].concat()
    }

    /// What the server makes of a record; nothing, if it had it before.
    pub(crate) fn open(&mut self, address: SocketAddr, record: &[u8]) -> Option<Arrival> {
        let (head, bytes) = record.split_at(16);
        let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().unwrap());
        let (session, seq) = (number(0), number(8));
        let is_old = self.floor.is_some_and(|floor| seq <= floor);
        let newest = self.received.last().copied().max(self.floor);
        if session != self.number || is_old || !self.received.insert(seq) {
            return None;
        }
        let moves = address != self.address && newest.is_none_or(|newest| seq > newest);
        if moves {
            (self.address, self.proven) = (address, false);
        }
        let route = match (moves, self.proven) {
            (true, _) => Route::Moved,
            (false, true) => Route::Proven,
            (false, false) => Route::Unproven,
        };
        self.records.push(record.to_vec());
        Some(Arrival {
            peer: Peer::Secured(self.device),
            bytes: bytes.to_vec().into(),
            mark: Some(Mark {
                session,
                seq,
                address,
                is_proven: route == Route::Proven,
            }),
            route,
        })
    }
}
