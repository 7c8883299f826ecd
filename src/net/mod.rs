//! Sockets: moves bytes, decides nothing. `udp` reads and writes datagrams in batches, `endpoint`
//! drives the CoAP message layer between them and the app.

pub mod endpoint;
pub mod udp;

use std::net::SocketAddr;

use bytes::Bytes;

/// A datagram from or to a peer.
pub type Datagram = (SocketAddr, Bytes);
