//! The world of a scene: one server or none, devices, and the network between them.
//!
//! ```text
//! Device -- Link up --> NAT address --> Server        a datagram to an address that is no
//! Device <-- Link down -- (awake?) <--- Server        device's any more is lost, and so is one
//!                                                     to a device that sleeps
//! ```
//! [`World::check`] is the ledger: what devices saw against what the server holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use strait::base::peer::DeviceSeq;
use strait::base::time::Clock;
use strait::net::{Datagram, Downward};
use strait::sim::device::{Conduct, Device, Kind, Settings, Timing};
use strait::sim::link::{Link, Quality};
use strait::store::Change;
use strait::store::memory::Memory;

use crate::flight::Flight;
use crate::node::Node;
use crate::server::{Server, virtual_clock};
use crate::session::Session;

/// A sleeping device listens so long after it last sent or heard something.
const AWAKE: Duration = Duration::from_secs(30);

pub(crate) const GOOD: Quality = Quality {
    loss: 0.0,
    duplicates: 0.0,
    delay_max: Duration::from_secs(2),
};
/// Loses nothing, and takes no time to speak of.
pub(crate) const NEAR: Quality = Quality {
    loss: 0.0,
    duplicates: 0.0,
    delay_max: Duration::from_millis(20),
};
pub(crate) const BAD: Quality = Quality {
    loss: 0.2,
    duplicates: 0.15,
    delay_max: Duration::from_secs(8),
};

/// Sees what becomes durable.
type Witness = Arc<Mutex<dyn FnMut(&[Change]) + Send>>;

pub(crate) struct World {
    pub(crate) rng: fastrand::Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clock: Clock,
    memory: Memory,
    server: Option<Server>,
    witness: Option<Witness>,
}

impl World {
    /// A server with the product `p` and no device.
    pub(crate) async fn start(seed: u64) -> Self {
        let (memory, clock) = (Memory::default(), virtual_clock());
        let server = Server::start(&memory, &clock, seed);
        server.create_product("p", "binary").await;
        Self {
            rng: fastrand::Rng::with_seed(seed),
            nodes: Vec::new(),
            clock,
            memory,
            server: Some(server),
            witness: None,
        }
    }

    /// From now on somebody sees what becomes durable, whatever server makes it so.
    pub(crate) fn set_witness(&mut self, witness: Witness) {
        self.server().disk.set_witness(Arc::clone(&witness));
        self.witness = Some(witness);
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.instant()
    }

    /// A random span up to `max`, in milliseconds.
    pub(crate) fn span(&mut self, max: Duration) -> Duration {
        max.mul_f64(self.rng.f64())
    }

    /// Adds a device that the server knows; its index. `change` makes its settings special.
    pub(crate) async fn add(&mut self, kind: Kind, change: impl FnOnce(&mut Settings)) -> usize {
        self.add_to("p", kind, change).await
    }

    /// The same for a device of that product.
    pub(crate) async fn add_to(
        &mut self,
        product: &str,
        kind: Kind,
        change: impl FnOnce(&mut Settings),
    ) -> usize {
        let index = self.nodes.len();
        let node_id = format!("86772503831{index:04}");
        let server = self.server();
        server.create_device(product, &node_id, json!({})).await;
        let device_id = format!("{product}_{node_id}");
        let mut settings = Settings::new(node_id, kind, self.rng.u64(..));
        // As the product assumes: what is repeated later than its exchange lifetime is new.
        settings.timing = Timing {
            ack_timeout: Duration::from_secs(15),
            max_retransmit: 2,
        };
        change(&mut settings);
        let conduct = settings.conduct;
        let host = u8::try_from(index).unwrap();
        self.nodes.push(Node {
            device: Device::new(settings),
            kind,
            device_id,
            address: SocketAddr::from(([10, 0, 0, host], 20_000)),
            is_off: false,
            sleeps: false,
            events: Vec::new(),
            awake_until: self.now(),
            up: Link::new(GOOD, 0),
            down: Link::new(GOOD, 0),
            volumes: BTreeMap::new(),
            session: None,
            conduct,
            flight: Flight::default(),
        });
        self.weather(index, GOOD);
        index
    }

    /// The same for one that must come over DTLS, and has shaken hands.
    pub(crate) async fn add_secured(
        &mut self,
        kind: Kind,
        change: impl FnOnce(&mut Settings),
    ) -> usize {
        let index = self.add(kind, change).await;
        self.secure(index).await;
        index
    }

    /// From now on a device must come over DTLS, and has shaken hands.
    pub(crate) async fn secure(&mut self, index: usize) {
        let id = self.nodes[index].device_id.clone();
        let secured = json!({"auth_info": {"secure_access": true}});
        let path = format!("/v5/iot/x/devices/{id}");
        self.server().call("PUT", &path, &secured).await;
        self.shake_hands(index);
    }

    /// How a device treats commands from now on.
    pub(crate) fn set_conduct(&mut self, index: usize, conduct: Conduct) {
        let node = &mut self.nodes[index];
        node.conduct = conduct;
        node.device.set_conduct(conduct);
    }

    pub(crate) fn conduct_of(&self, index: usize) -> Conduct {
        self.nodes[index].conduct
    }

    /// A secured device has a new session. What is in the air is of the former one.
    pub(crate) fn shake_hands(&mut self, index: usize) {
        let device = match &self.nodes[index].session {
            Some(session) => session.device,
            None => self.server().seq(&self.nodes[index].device_id),
        };
        let node = &mut self.nodes[index];
        node.session = Some(match &node.session {
            Some(former) => former.renew(node.address),
            None => Session::new(device, node.address),
        });
    }

    /// Somebody sends every record of a session once more, from elsewhere.
    pub(crate) async fn replay(&mut self, index: usize) {
        let thief = SocketAddr::from(([10, 9, 9, 9], 9));
        let (server, node) = (self.server.as_ref().unwrap(), &mut self.nodes[index]);
        let session = node.session.as_mut().unwrap();
        for record in session.records.clone() {
            if let Some(arrival) = session.open(thief, &record) {
                server.arrive(arrival).await;
            }
        }
    }

    /// From now on the radio of a device is this good. What is in the air is lost.
    pub(crate) fn weather(&mut self, index: usize, quality: Quality) {
        let seed = self.rng.u64(..);
        let node = &mut self.nodes[index];
        node.up = Link::new(quality, seed);
        node.down = Link::new(quality, !seed);
    }

    /// The NAT forgets a device and gives it another port.
    pub(crate) fn move_port(&mut self, index: usize) {
        let port = self.rng.u16(20_001..60_000);
        self.nodes[index].address.set_port(port);
    }

    /// A device measures something; its volume, which tells its reports apart.
    pub(crate) fn report(&mut self, index: usize, confirmable: bool) -> u64 {
        let now = self.now();
        let node = &mut self.nodes[index];
        let volume = u32::try_from(node.volumes.len()).unwrap() + 1;
        let payload = [&[1], &volume.to_be_bytes()[..]].concat();
        let id = node.device.report(now, payload, confirmable);
        node.volumes.insert(id, u64::from(volume));
        u64::from(volume)
    }

    /// A device shows itself: it updates its registration, or makes it anew if its kind has no
    /// update.
    pub(crate) fn show_up(&mut self, index: usize) {
        let (now, node) = (self.now(), &mut self.nodes[index]);
        match node.kind {
            Kind::Lwm2m => node.device.update(now),
            Kind::Raw | Kind::RawObserved => node.device.register(now),
        }
    }

    /// Lets time pass.
    pub(crate) async fn run(&mut self, span: Duration) {
        let end = self.now() + span;
        loop {
            self.turn().await;
            let now = self.now();
            if now >= end || self.is_dead() {
                return;
            }
            let next = self.nodes.iter().filter_map(Node::deadline).min();
            let next = next
                .unwrap_or(end)
                .min(end)
                .max(now + Duration::from_millis(1));
            tokio::select! {
                biased;
                batch = downlinks(&mut self.server) => batch.into_iter().for_each(|down| self.carry_down(down)),
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// The server died at a commit.
    pub(crate) fn is_dead(&self) -> bool {
        self.server.as_ref().is_some_and(|s| s.disk.is_dead())
    }

    /// The server dies at once, and is back after `down`.
    pub(crate) async fn crash(&mut self, down: Duration) {
        let data = self.server.take().and_then(|server| server.data.clone());
        for node in &mut self.nodes {
            node.flight.forget();
        }
        self.run(down).await;
        let seed = self.rng.u64(..);
        self.server = Some(match data {
            Some(data) => Server::start_in(&data, &self.memory, &self.clock, seed),
            None => Server::start(&self.memory, &self.clock, seed),
        });
        if let Some(witness) = &self.witness {
            self.server().disk.set_witness(Arc::clone(witness));
        }
        // What the store says of each session is all that is left of it.
        for index in 0..self.nodes.len() {
            let state = self.server().state(&self.nodes[index].device_id);
            if let Some(session) = &mut self.nodes[index].session {
                session.restore(state.received);
            }
        }
    }

    /// The server goes on committing for `mute`, without any effect, and dies then: between the
    /// commits and their acknowledgements.
    pub(crate) async fn crash_mute(&mut self, mute: Duration, down: Duration) {
        self.server().disk.fall_mute();
        self.run(mute).await;
        self.crash(down).await;
    }

    /// Everything that is due.
    async fn turn(&mut self) {
        let now = self.clock.instant();
        for node in &mut self.nodes {
            if node.is_off {
                continue;
            }
            while let Some(datagram) = node.down.pop(now) {
                if node.is_awake(now) {
                    node.awake_until = now + AWAKE;
                    node.device.receive(now, &datagram);
                }
            }
            if node.device.deadline().is_some_and(|at| at <= now) {
                node.device.tick(now);
            }
            while let Some(datagram) = node.device.transmit() {
                node.awake_until = now + AWAKE;
                let datagram = match &mut node.session {
                    Some(session) => session.seal(&datagram),
                    None => datagram,
                };
                node.up.push(now, datagram);
            }
            while let Some(datagram) = node.up.pop(now) {
                let Some(server) = &self.server else {
                    continue;
                };
                let Some(session) = &mut node.session else {
                    node.flight.hear(now, &datagram);
                    server.hear(node.address, datagram).await;
                    continue;
                };
                if let Some(arrival) = session.open(node.address, &datagram) {
                    node.flight.hear(now, &arrival.bytes);
                    server.arrive(arrival).await;
                }
            }
            while let Some(event) = node.device.event() {
                node.events.push(event);
            }
        }
    }

    fn carry_down(&mut self, down: Down) {
        let now = self.now();
        match down {
            Down::Plain(to, datagram) => {
                let server = self.server.as_ref();
                let plain = |node: &&mut Node| node.address == to && node.session.is_none();
                if let Some(node) = self.nodes.iter_mut().find(plain) {
                    if let Some(server) = server {
                        node.flight.send(now, &datagram, server, &node.device_id);
                    }
                    node.down.push(now, datagram.to_vec());
                }
            }
            Down::Secured(Downward::Send(device, datagram)) => {
                let server = self.server.take();
                let node = self.secured(device);
                if let Some(server) = &server {
                    node.flight.send(now, &datagram, server, &node.device_id);
                }
                let node = self.secured(device);
                // Else it goes to where the device was.
                if node.session.as_ref().unwrap().address == node.address {
                    node.down.push(now, datagram.to_vec());
                }
                self.server = server;
            }
            Down::Secured(Downward::Proven(device, address)) => {
                let session = self.secured(device).session.as_mut().unwrap();
                session.prove(address);
            }
            Down::Secured(Downward::End(device)) => {
                // Of what is off for ever, the device may be deleted.
                let nodes = self.nodes.iter().filter(|n| !n.is_off);
                let mut sessions = nodes.filter_map(|n| n.session.as_ref());
                assert!(sessions.all(|s| s.device != device), "ended: {device:?}");
            }
        }
    }

    fn secured(&mut self, device: DeviceSeq) -> &mut Node {
        let is_it = |node: &&mut Node| node.session.as_ref().is_some_and(|s| s.device == device);
        self.nodes.iter_mut().find(is_it).unwrap()
    }

    /// What every world must hold at its end.
    pub(crate) fn check(&self) {
        for node in &self.nodes {
            node.check(self.server());
        }
    }
}

/// What leaves the server.
enum Down {
    Plain(SocketAddr, Bytes),
    Secured(Downward),
}

/// What the server sends next; never, when there is none.
async fn downlinks(server: &mut Option<Server>) -> Vec<Down> {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    let plain = |(to, datagram): Datagram| Down::Plain(to, datagram);
    tokio::select! {
        biased;
        batch = server.downlinks.recv() => batch.unwrap().into_iter().map(plain).collect(),
        batch = server.sessions.recv() => batch.unwrap().into_iter().map(Down::Secured).collect(),
    }
}
