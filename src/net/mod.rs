//! Sockets: moves bytes, decides nothing. `udp` reads and writes datagrams in batches, `endpoint`
//! drives the CoAP message layer between them and the app.
//!
//! ```text
//! udp (unsecured) --Arrival--> endpoint --Datagram--> udp (unsecured)
//!                  Peer::Plain
//! udp (secured) --> DTLS --Arrival--> endpoint --Downward--> DTLS --> udp (secured)
//!                    Peer::Secured
//! ```

pub mod dtls;
pub mod endpoint;
pub mod udp;
pub mod webhook;

use std::net::SocketAddr;

use bytes::Bytes;

use crate::base::peer::DeviceSeq;
pub use crate::engine::exchange::{Arrival, Route};

/// A datagram for an address.
pub type Datagram = (SocketAddr, Bytes);

/// What goes down to the DTLS sessions. Whoever takes these must not wait for the endpoint or the
/// app: they wait here while the channel is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downward {
    /// Seal this message and send it to where the device is.
    Send(DeviceSeq, Bytes),
    /// The device proved that it is at this address. It may have left again meanwhile: then this
    /// says nothing of where it is now.
    Proven(DeviceSeq, SocketAddr),
    /// End the device's session at once: it is gone from the store.
    End(DeviceSeq),
}
