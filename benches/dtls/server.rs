//! The engine as a server whose devices and sessions are in memory: what it wants made durable is
//! answered at once. And a client's handshake with it, flight by flight.
#![allow(dead_code, reason = "each bench takes its part of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use strait::base::peer::DeviceSeq;
use strait::base::secret::Secret;
use strait::engine::dtls::{
    Dtls, Known, Lookup, Outputs, Random, Settings, Stored, Unavailable, Unknown, Want,
};

use crate::client::{Client, Offer};

pub(crate) const PSK: &[u8; 16] = b"0123456789abcdef";

/// Device and PSK identity are the same number.
struct Devices;

impl Lookup for Devices {
    fn device(&mut self, identity: &[u8]) -> Result<Known, Unknown> {
        let text = std::str::from_utf8(identity).map_err(|_| Unknown::Identity)?;
        Ok(Known {
            device: DeviceSeq(text.parse().map_err(|_| Unknown::Identity)?),
            key: Secret::new(PSK.to_vec()),
            version: 1,
        })
    }

    fn session(&mut self, _: DeviceSeq) -> Result<Option<Stored>, Unavailable> {
        Ok(None)
    }
}

pub(crate) struct Server {
    pub(crate) dtls: Dtls,
    pub(crate) out: Outputs,
    /// The newest session as it would have been stored.
    pub(crate) stored: Option<Box<Stored>>,
    keeps: bool,
    next_number: u64,
}

/// The usual settings, but that one source may begin as many handshakes as it likes.
pub(crate) fn settings() -> Settings {
    Settings {
        handshakes_per_source_s: u32::MAX,
        ..Settings::default()
    }
}

impl Server {
    pub(crate) fn new(settings: Settings, now: Instant, random: Box<dyn Random>) -> Self {
        Self {
            dtls: Dtls::new(settings, now, random),
            out: Outputs::default(),
            stored: None,
            keeps: false,
            next_number: 1,
        }
    }

    /// The same, with the newest session in `stored`.
    pub(crate) fn keeping(settings: Settings, now: Instant, random: Box<dyn Random>) -> Self {
        Self {
            keeps: true,
            ..Self::new(settings, now, random)
        }
    }

    /// Takes a datagram; answers and messages are in `out`.
    pub(crate) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if self.dtls.needs_numbers() {
            let from = self.next_number;
            self.next_number += 1024;
            self.dtls.add_numbers(from..self.next_number);
        }
        let Self { dtls, out, .. } = self;
        dtls.receive(now, from, datagram, &mut Devices, out);
        self.see_to();
    }

    /// Sends back what came.
    pub(crate) fn echo(&mut self) {
        for received in std::mem::take(&mut self.out.received) {
            let Self { dtls, out, .. } = self;
            dtls.send(received.device, received.payload, &mut Devices, out);
        }
        self.see_to();
    }

    fn see_to(&mut self) {
        while let Some(want) = self.out.wants.pop() {
            match want {
                Want::Establish {
                    handshake, session, ..
                } => {
                    self.dtls
                        .established(handshake, &session, Ok(()), &mut self.out);
                    if self.keeps {
                        self.stored = Some(session);
                    }
                }
                Want::Reserve(session) => self.dtls.reserved(&session, true, &mut self.out),
                Want::Forget { .. } => {}
            }
        }
        self.out.reports.clear();
    }

    /// A whole handshake; gives the client and its flights.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        device: u64,
        offer: Offer,
    ) -> (Client, Vec<Vec<u8>>) {
        let mut client = client(device, offer);
        let mut flights = Vec::new();
        let mut flight = client.start().concat();
        while !flight.is_empty() {
            self.receive(now, address(device), &flight);
            flights.push(flight);
            flight = Vec::new();
            for (_, answer) in self.out.datagrams.drain(..) {
                flight.extend(client.receive(&answer).concat());
            }
        }
        assert!(client.is_connected(), "{:?}", client.stage);
        (client, flights)
    }
}

/// A client of this device, with a hello of its own.
pub(crate) fn client(device: u64, offer: Offer) -> Client {
    let mut random = [0x63; 32];
    random[..8].copy_from_slice(&device.to_be_bytes());
    Client::new(offer, &identity(device), PSK, random)
}

/// 15 digits, as an IMEI has.
pub(crate) fn identity(device: u64) -> String {
    format!("{device:015}")
}

pub(crate) fn address(device: u64) -> SocketAddr {
    let [.., a, b, c] = device.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, a, b, c), 5684))
}

/// What the process holds in memory, in bytes.
pub(crate) fn rss_bytes(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kb * 1024
}
