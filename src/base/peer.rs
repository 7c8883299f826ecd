//! Who is at the other end, as every layer names it.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Where a message comes from or goes to.
///
/// On the unsecured port that is an address. On the secured one it is the device that the DTLS
/// identity names, wherever it is just now and whichever session it has: what hangs on a peer
/// (open exchanges, blockwise transfers, duplicates) survives a move behind a NAT and a new
/// handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Plain(SocketAddr),
    Secured(DeviceSeq),
}

impl Peer {
    /// The device that proved its identity; `None` on the unsecured port.
    pub const fn identity(self) -> Option<DeviceSeq> {
        match self {
            Self::Plain(_) => None,
            Self::Secured(device) => Some(device),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(address) => write!(f, "{address}"),
            Self::Secured(device) => write!(f, "the DTLS session of device {}", device.0),
        }
    }
}

/// A device's number in the store (`DeviceRecord::seq`): never given twice, so a device that is
/// deleted and created anew is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceSeq(pub u64);

/// The DTLS record that a message came in. Committed with the message's durable effect: after a
/// restart nothing of that session at or below `seq` is taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Number of the session, never given twice.
    pub session: u64,
    /// Sequence number of the record, 48 bits.
    pub seq: u64,
    /// Where the device is.
    pub address: SocketAddr,
    /// The device had shown that it is there.
    #[serde(default)]
    pub is_proven: bool,
}
