//! A server with a store of its own, and what every test does with it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::client::{Client, Offer};
use crate::base::peer::DeviceSeq;
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::engine::dtls::crypto::Suite;
use crate::engine::dtls::{
    Dtls, Ended, Known, Lookup, Outputs, Random, Received, Report, Settings, Stored, Unavailable,
    Unknown, Unstored, Want,
};

pub(super) const PSK: &[u8] = b"0123456789abcdef";

/// Bytes from a seed.
pub(super) struct Seeded(pub(super) fastrand::Rng);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// What the store holds: a process may end, this stays.
#[derive(Debug, Default, Clone)]
pub(super) struct Disk {
    pub(super) devices: HashMap<Vec<u8>, Result<u64, Unknown>>,
    pub(super) sessions: HashMap<u64, Stored>,
    pub(super) next_number: u64,
    pub(super) looked_up: usize,
    /// Sessions can't be read.
    pub(super) is_mute: bool,
}

impl Lookup for Disk {
    fn device(&mut self, identity: &[u8]) -> Result<Known, Unknown> {
        self.looked_up += 1;
        let found = self.devices.get(identity).copied();
        let device = found.unwrap_or(Err(Unknown::Identity))?;
        Ok(Known {
            device: DeviceSeq(device),
            key: Secret::new(PSK.to_vec()),
            version: 1,
        })
    }

    fn session(&mut self, device: DeviceSeq) -> Result<Option<Stored>, Unavailable> {
        if self.is_mute {
            return Err(Unavailable);
        }
        Ok(self.sessions.get(&device.0).cloned())
    }
}

pub(super) struct World {
    pub(super) dtls: Dtls,
    pub(super) disk: Disk,
    pub(super) now: Instant,
    pub(super) settings: Settings,
    pub(super) seed: u64,
    /// Commits answer an error.
    pub(super) disk_is_full: bool,
    /// Commits wait for `settle`.
    pub(super) disk_is_slow: bool,
    pub(super) waiting: Vec<Want>,
    pub(super) received: Vec<Received>,
    pub(super) reports: Vec<Report>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Settings::default(), 1)
    }

    pub(super) fn with(settings: Settings, seed: u64) -> Self {
        let now = Clock::System.instant();
        let mut disk = Disk {
            next_number: 1,
            ..Disk::default()
        };
        for device in 1..=100 {
            disk.devices.insert(name(device).into_bytes(), Ok(device));
        }
        let mut world = Self {
            dtls: Dtls::new(
                settings.clone(),
                now,
                Box::new(Seeded(fastrand::Rng::with_seed(seed))),
            ),
            disk,
            now,
            settings,
            seed,
            disk_is_full: false,
            disk_is_slow: false,
            waiting: Vec::new(),
            received: Vec::new(),
            reports: Vec::new(),
        };
        world.refill();
        world
    }

    fn refill(&mut self) {
        if self.dtls.needs_numbers() {
            let from = self.disk.next_number;
            self.disk.next_number += 1000;
            self.dtls.add_numbers(from..from + 1000);
        }
    }

    /// `kill -9` and a new start: only what is on disk is known.
    pub(super) fn restart(&mut self) {
        self.seed += 1;
        let random = Box::new(Seeded(fastrand::Rng::with_seed(self.seed)));
        self.dtls = Dtls::new(self.settings.clone(), self.now, random);
        self.waiting.clear();
        for stored in self.disk.sessions.values() {
            self.dtls.restore(stored);
        }
        self.refill();
    }

    /// One datagram in; what the server answers, with where it goes.
    pub(super) fn deliver(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Outputs::default();
        self.dtls
            .receive(self.now, from, datagram, &mut self.disk, &mut out);
        self.see_to(out)
    }

    pub(super) fn push(&mut self, device: u64, payload: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Outputs::default();
        let payload = payload.to_vec().into();
        self.dtls
            .send(DeviceSeq(device), payload, &mut self.disk, &mut out);
        self.see_to(out)
    }

    pub(super) fn end(&mut self, device: u64) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Outputs::default();
        self.disk.sessions.remove(&device);
        self.dtls.end(DeviceSeq(device), &mut out);
        self.see_to(out)
    }

    pub(super) fn pass(&mut self, time: Duration) -> Vec<(SocketAddr, Vec<u8>)> {
        self.now += time;
        let mut out = Outputs::default();
        self.dtls.tick(self.now, &mut out);
        self.see_to(out)
    }

    /// Does what waits for a slow disk.
    pub(super) fn settle(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Outputs::default();
        for want in std::mem::take(&mut self.waiting) {
            self.commit(want, &mut out);
        }
        self.see_to(out)
    }

    fn see_to(&mut self, mut out: Outputs) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = Vec::new();
        for round in 0_u32.. {
            assert!(round < 100, "asks for the same again and again");
            datagrams.extend(
                out.datagrams
                    .drain(..)
                    .map(|(to, bytes)| (to, bytes.to_vec())),
            );
            self.received.append(&mut out.received);
            self.reports.append(&mut out.reports);
            let wants = std::mem::take(&mut out.wants);
            if self.disk_is_slow {
                self.waiting.extend(wants);
                break;
            }
            if wants.is_empty() {
                break;
            }
            for want in wants {
                self.commit(want, &mut out);
            }
        }
        self.refill();
        datagrams
    }

    fn commit(&mut self, want: Want, out: &mut Outputs) {
        let sessions = &mut self.disk.sessions;
        match want {
            Want::Establish {
                handshake, session, ..
            } => {
                let newer = sessions.get(&session.device.0);
                let result = if self.disk_is_full {
                    Err(Unstored::ForNow)
                } else if newer.is_some_and(|newer| newer.number > session.number) {
                    Err(Unstored::Refused)
                } else {
                    sessions.insert(session.device.0, (*session).clone());
                    Ok(())
                };
                self.dtls.established(handshake, &session, result, out);
            }
            Want::Reserve(session) => {
                let known = sessions.get(&session.device.0).map(|s| s.number);
                let is_durable = !self.disk_is_full && known == Some(session.number);
                if is_durable {
                    sessions.insert(session.device.0, (*session).clone());
                }
                self.dtls.reserved(&session, is_durable, out);
            }
            Want::Forget { device, number } => {
                if sessions.get(&device.0).is_some_and(|s| s.number == number) {
                    sessions.remove(&device.0);
                }
            }
        }
    }

    /// Exchanges flights until nothing more is said.
    pub(super) fn run(&mut self, client: &mut Client, at: SocketAddr, flight: Vec<Vec<u8>>) {
        let mut to_server = flight;
        while !to_server.is_empty() {
            let mut next = Vec::new();
            for datagram in to_server {
                for (to, answer) in self.deliver(at, &datagram) {
                    if to == at {
                        next.extend(client.receive(&answer));
                    }
                }
            }
            to_server = next;
        }
    }

    /// A connected client.
    pub(super) fn connect(&mut self, device: u64, offer: Offer, at: SocketAddr) -> Client {
        let mut client = client(device, offer, self.seed + self.disk.next_number + device);
        let flight = client.start();
        self.run(&mut client, at, flight);
        assert!(
            client.is_connected(),
            "{:?} {:?}",
            client.stage,
            self.reports
        );
        client
    }

    /// What came from the device since the last call.
    pub(super) fn heard(&mut self) -> Vec<Vec<u8>> {
        self.received
            .drain(..)
            .map(|r| r.payload.to_vec())
            .collect()
    }

    pub(super) fn ended(&mut self) -> Vec<Ended> {
        self.reports.drain(..).map(|r| r.what).collect()
    }

    /// A message each way proves that a session stands.
    pub(super) fn talk(&mut self, device: u64, client: &mut Client, at: SocketAddr) {
        let record = client.send(b"up");
        assert!(
            self.deliver(at, &record)
                .iter()
                .all(|(_, d)| d.is_empty() || d[0] != 22)
        );
        assert_eq!(self.heard(), [b"up".to_vec()]);
        for (to, datagram) in self.push(device, b"down") {
            assert_eq!(to, at);
            client.receive(&datagram);
        }
        assert_eq!(std::mem::take(&mut client.received), [b"down".to_vec()]);
    }
}

pub(super) fn name(device: u64) -> String {
    format!("86772503000{device:04}")
}

pub(super) fn client(device: u64, offer: Offer, seed: u64) -> Client {
    let mut random = [0; 32];
    fastrand::Rng::with_seed(seed).fill(&mut random);
    Client::new(offer, &name(device), PSK, random)
}

pub(super) fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

pub(super) fn ccm8() -> Offer {
    Offer::of(Suite::Ccm8)
}
