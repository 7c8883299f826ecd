//! What is read of a datagram apart from its meaning: its name, by which a repetition is recognised, and text.

use std::net::IpAddr;

use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};

use crate::base::peer::Peer;

/// Names datagrams so that a repetition is recognised, also by the next process: a fixed sum.
pub(super) const KEY: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// Link lists are ASCII; a broken character must not cost a registration.
pub(super) fn text_of(payload: &Bytes) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

/// The same for the same datagram from the same peer, over restarts: what tells where a device
/// is says something new when it comes from elsewhere. A report does not, so its key is that of
/// its bytes: a device may move behind its NAT before it repeats one.
pub(super) fn key_of(peer: Peer, datagram: &[u8]) -> u64 {
    let mut digest = KEY.digest();
    match peer {
        Peer::Secured(device) => digest.update(&device.0.to_be_bytes()),
        Peer::Plain(address) => {
            match address.ip() {
                IpAddr::V4(ip) => digest.update(&ip.octets()),
                IpAddr::V6(ip) => digest.update(&ip.octets()),
            }
            digest.update(&address.port().to_be_bytes());
        }
    }
    digest.update(datagram);
    digest.finalize()
}
