//! What goes into and comes out of the DTLS engine. Plain data.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::crypto::Suite;
use crate::base::peer::{DeviceSeq, Mark};
use crate::base::secret::Secret;
use crate::engine::exchange::Route;

/// Bytes of the connection ids that this server gives: [`Cid`].
pub const CID_LEN: usize = 8;

/// A connection id of ours: the session's number in 5 bytes, big-endian, and 3 random bytes, so
/// that nobody can guess the id of a session that is not his.
pub type Cid = [u8; CID_LEN];

/// Longest connection id that a device may ask for.
pub const PEER_CID_MAX: usize = 32;

/// Bounds and times of the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// In order of preference.
    pub suites: Vec<Suite>,
    /// When an unanswered flight is sent again; doubles each time.
    pub retransmit_first: Duration,
    pub retransmissions: u32,
    /// Handshakes under way; the oldest gives way.
    pub handshakes_max: usize,
    /// Handshakes that one source address (IPv6: its /64) may begin in a second.
    pub handshakes_per_source_s: u32,
    /// Sessions in all; the one that was silent for longest gives way.
    pub sessions_max: usize,
    /// Sessions whose keys are in memory; others come from the store when they are needed.
    pub sessions_in_memory: usize,
    /// How long a cookie secret is used for new cookies; it stays good for as long again.
    pub cookie_lifetime: Duration,
}

/// NB-IoT answers within 10 s: at 500 a second, one source needs 100 s to crowd others out. A
/// quarter of a million sessions take under 150 MB.
impl Default for Settings {
    fn default() -> Self {
        Self {
            suites: vec![Suite::Ccm8, Suite::Ccm, Suite::Gcm, Suite::CbcSha256],
            retransmit_first: Duration::from_secs(9),
            retransmissions: 3,
            handshakes_max: 50_000,
            handshakes_per_source_s: 500,
            sessions_max: 2_000_000,
            sessions_in_memory: 250_000,
            cookie_lifetime: Duration::from_secs(300),
        }
    }
}

/// What the engine looks up while it works. Each call answers at once.
pub trait Lookup {
    /// The device that a PSK identity names, and its key.
    fn device(&mut self, identity: &[u8]) -> Result<Known, Unknown>;
    /// The session that was made durable for a device.
    fn session(&mut self, device: DeviceSeq) -> Result<Option<Stored>, Unavailable>;
}

/// The store can't tell now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// A device and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub device: DeviceSeq,
    pub key: Secret<Vec<u8>>,
    /// Version of the device's record, given back with [`Want::Establish`]: when the record has
    /// changed since, the key or the permission may have.
    pub version: u64,
}

/// Why an identity has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// No device has it.
    Identity,
    Frozen,
    /// The device's secret can't be used as its product's settings say.
    Secret,
    /// The store can't tell now.
    Unavailable,
}

/// A session as it is made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub device: DeviceSeq,
    /// Never given twice.
    pub number: u64,
    /// What the device writes into its records; `None` when it has no connection id.
    pub own_cid: Option<Cid>,
    /// What it wants in ours; empty for none.
    pub peer_cid: Box<[u8]>,
    pub address: SocketAddr,
    /// The device has shown that it is there.
    pub is_proven: bool,
    pub suite: Suite,
    pub encrypt_then_mac: bool,
    /// RFC 9853 was agreed on.
    pub return_routability: bool,
    pub key_block: Secret<Vec<u8>>,
    /// Of our Finished.
    pub verify_data: [u8; 12],
    /// Its handshake message number.
    pub finished_seq: u16,
    /// Record numbers below this one may have been used.
    pub send_reserved: u64,
    /// Records at or below this one are not taken.
    pub received: Option<u64>,
}

/// Names a handshake that waits for [`super::Dtls::established`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandshakeId {
    pub address: SocketAddr,
    pub(super) serial: u32,
}

/// What must become durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    /// The session of a device that has proved its key; then call [`super::Dtls::established`].
    Establish {
        handshake: HandshakeId,
        session: Box<Stored>,
        known: Known,
    },
    /// The session's new `send_reserved`, unless the device has another session by then; then
    /// call [`super::Dtls::reserved`].
    Reserve(Box<Stored>),
    /// The end of a session.
    Forget { device: DeviceSeq, number: u64 },
}

/// A message that a session brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub device: DeviceSeq,
    pub payload: Bytes,
    pub mark: Mark,
    pub route: Route,
}

/// What the engine wants done now.
#[derive(Debug, Default)]
pub struct Outputs {
    pub datagrams: Vec<(SocketAddr, Bytes)>,
    pub received: Vec<Received>,
    pub wants: Vec<Want>,
    pub reports: Vec<Report>,
}

/// How a handshake or a session ended, for the device's trace and the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub address: SocketAddr,
    /// Whose it is; by a mere claim when the handshake failed.
    pub device: Option<DeviceSeq>,
    /// As the client wrote it; empty when it came to none.
    pub identity: Box<[u8]>,
    pub what: Ended,
}

/// How a handshake or a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Connected {
        suite: Suite,
        extended_master_secret: bool,
        connection_id: bool,
    },
    /// The Finished does not verify: the device has another key.
    WrongKey,
    Unknown(Unknown),
    NoSuite,
    NoVersion,
    /// The client fell silent.
    TimedOut,
    /// The device was changed or the store could not keep the session.
    NotStored,
    /// close_notify, or a fatal alert with this description.
    Closed {
        alert: u8,
    },
}

impl Ended {
    /// Stable word for metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "ok",
            Self::WrongKey => "wrong_key",
            Self::Unknown(Unknown::Identity) => "unknown_identity",
            Self::Unknown(Unknown::Frozen) => "frozen",
            Self::Unknown(Unknown::Secret) => "bad_secret",
            Self::Unknown(Unknown::Unavailable) => "unavailable",
            Self::NoSuite => "no_suite",
            Self::NoVersion => "no_version",
            Self::TimedOut => "timeout",
            Self::NotStored => "not_stored",
            Self::Closed { .. } => "closed",
        }
    }
}

/// What happened so far, for metrics. Each only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub cookies_sent: u64,
    pub cookies_valid: u64,
    /// A hello without a valid cookie in more than one fragment.
    pub cookies_refused: u64,
    /// Handshakes not begun, since their source began too many.
    pub throttled: u64,
    /// Handshakes that gave way to newer ones.
    pub crowded_out: u64,
    /// Sessions that gave way to newer ones.
    pub sessions_dropped: u64,
    /// Sessions whose keys left the memory, and that came back.
    pub put_away: u64,
    pub brought_back: u64,
    pub moved: u64,
    pub final_flights_repeated: u64,
    pub flights_repeated: u64,
    /// Key exchanges left to their repetition, since the store could not tell whose they are.
    pub lookups_failed: u64,
    pub records_ok: u64,
    pub records_replayed: u64,
    pub records_bad_mac: u64,
    /// No session has this connection id or, for records without one, this address.
    pub records_unknown: u64,
    /// Unprotected, and no part of a handshake.
    pub records_plaintext: u64,
    pub records_malformed: u64,
    pub records_sent: u64,
    /// Records not sent: the address had not proven itself and would have got too much.
    pub amplification_stopped: u64,
    /// Messages for a device without a session, or beyond what may wait for a reservation.
    pub unsent: u64,
}
