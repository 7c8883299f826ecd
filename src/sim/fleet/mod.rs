//! Many simulated devices over real sockets: one UDP socket, so one port, for each device, as a
//! NAT shows them; one task drives one device. Plain and secured devices mix.
//!
//! ```text
//! schedule -> Device::report -> transmit -> [Session] -> Link up   -> socket
//!             Device::receive            <- [Session] <- Link down <- socket (dropped while asleep)
//! ```
//!
//! Events come out of one bounded channel; when nobody reads it, the devices wait. A device ends
//! when each of its reports is acknowledged or failed and no upgrade is under way; an unconfirmed report counts as settled once
//! sent and not reset within the acknowledgement timeout.

mod channel;
mod runner;
mod tally;
#[cfg(test)]
mod tests;
mod troubles;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::device::{Event, Settings};
use super::link::Quality;
use super::payload::{Product, Verdict};
use super::session::{Credentials, HandshakeFailure, SessionPlan};
use crate::base::secret::Secret;
use crate::base::time::Clock;
use channel::Channel;
use runner::Runner;
pub use tally::{Tally, UpgradeTally};
pub use troubles::Troubles;

/// Events that wait for their reader at most.
const EVENTS_MAX: usize = 4096;
/// Descriptors that the process needs besides its devices' sockets.
const OTHER_FILES: u64 = 64;

/// Why a fleet can't start.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("{devices} devices need {need} open files, the limit is {limit}: raise `ulimit -n`")]
    Files { devices: u64, need: u64, limit: u64 },
    #[error("no UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("device {node_id} has a secret, but the plan names no secured address of the server")]
    NoSecureServer { node_id: String },
}

impl FleetError {
    /// Stable word for logs; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Files { .. } => "files",
            Self::Socket(_) => "socket",
            Self::NoSecureServer { .. } => "no_secure_server",
        }
    }
}

/// What all devices of a fleet share.
#[derive(Debug, Clone)]
pub struct Plan {
    pub server: SocketAddr,
    /// Where the members with a secret go.
    pub secure: Option<SessionPlan>,
    pub clock: Clock,
    pub quality: Quality,
    /// Between two reports of a device; the first comes at a random moment of the first interval.
    pub interval: Duration,
    /// Reports of each device; `None`: until the fleet is dropped.
    pub reports: Option<u64>,
    /// Every n-th report goes unconfirmed; 0: none.
    pub unconfirmed_every: u64,
    /// A new port, as after NAT rebinding, before every n-th report; 0: never. A secured device has
    /// no connection id, so it makes a new handshake from there.
    pub rebind_every: u64,
    /// An update of the registration before every n-th report (LwM2M); 0: none.
    pub update_every: u64,
    /// A reboot before every n-th report; 0: never.
    pub reboot_every: u64,
    /// Each device deregisters when its reports are done.
    pub deregister: bool,
}

/// One device of the fleet.
#[derive(Debug, Clone)]
pub struct Member {
    pub settings: Settings,
    pub product: Product,
    /// The pre-shared key of a secured device, whose identity is its node id; `None`: plain.
    pub secret: Option<Secret<Vec<u8>>>,
    /// How it carries commands out; how it treats them as messages is in its settings.
    pub verdict: Verdict,
}

impl Member {
    /// The way to the server that the member takes.
    fn channel(&self, plan: &Plan) -> Result<Channel, FleetError> {
        let Some(secret) = &self.secret else {
            return Ok(Channel::Plain);
        };
        let identity = self.settings.node_id.clone();
        let Some(secure) = plan.secure else {
            return Err(FleetError::NoSecureServer { node_id: identity });
        };
        let secret = secret.clone();
        let credentials = Credentials { identity, secret };
        Ok(Channel::secure(credentials, secure, &plan.clock))
    }
}

/// Something that happened to one device.
#[derive(Debug, Clone)]
pub struct Update {
    pub node_id: Arc<str>,
    pub product: Product,
    pub what: What,
}

/// See [`Update`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Device(Event),
    /// The device now sends from this address.
    Moved(SocketAddr),
    /// A session stands; how long its handshake took.
    Connected(Duration),
    /// A handshake failed; the device tries again later.
    HandshakeFailed(HandshakeFailure),
    /// The server ended the session; the device makes a new one.
    SessionEnded,
    /// All its reports are settled. What its radio lost and repeated, both ways.
    Finished {
        lost: u64,
        repeated: u64,
    },
    /// The device gave up: it has no socket, or no session after many tries.
    Broken {
        reason: String,
    },
}

/// Running devices. Dropping it ends them.
#[derive(Debug)]
pub struct Fleet {
    updates: mpsc::Receiver<Update>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Fleet {
    /// Starts all members; each registers at once, a secured one after its handshake.
    pub async fn start(members: Vec<Member>, plan: &Plan) -> Result<Self, FleetError> {
        raise_file_limit(members.len() as u64)?;
        let (sender, updates) = mpsc::channel(EVENTS_MAX);
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for member in members {
            let channel = member.channel(plan)?;
            let socket = bind(channel.server(plan)).await?;
            let runner = Runner::new(member, plan.clone(), channel, socket, sender.clone());
            tasks.spawn(runner.run(stopping.clone()));
        }
        Ok(Self {
            updates,
            tasks,
            stop,
        })
    }

    /// Asks all devices to end: secured ones close their sessions. [`Fleet::next`] tells until the
    /// last has finished.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// The next event; `None` when all devices have finished.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// Devices that still run.
    pub fn running(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }
}

async fn bind(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Raises the soft limit of open files as far as `devices` sockets need it, and the hard one too
/// where the process may.
pub fn raise_file_limit(devices: u64) -> Result<(), FleetError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let need = devices + OTHER_FILES;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= need) {
        return Ok(());
    }
    let attempts = [now.maximum.map(|max| max.max(need)), now.maximum];
    for maximum in attempts {
        let current = Some(need);
        let wanted = Rlimit { current, maximum };
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            return Ok(());
        }
    }
    let limit = now.maximum.unwrap_or(0);
    Err(FleetError::Files {
        devices,
        need,
        limit,
    })
}
