//! Many simulated devices over real sockets: one UDP socket, so one port, for each device, as a
//! NAT shows them; one task drives one device.
//!
//! ```text
//! schedule -> Device::report -> transmit -> Link up   -> socket
//!             Device::receive            <- Link down <- socket (dropped while asleep)
//! ```
//!
//! Events come out of one bounded channel; when nobody reads it, the devices wait. A device ends
//! when each of its reports is acknowledged or failed; an unconfirmed report counts as settled once
//! sent and not reset within the acknowledgement timeout.

mod tally;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::device::{Device, Event, Settings};
use super::link::{Link, Quality};
use super::payload::{Product, Readings};
use crate::base::limits;
use crate::base::time::Clock;
pub use tally::Tally;

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
}

impl FleetError {
    /// Stable word for logs; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Files { .. } => "files",
            Self::Socket(_) => "socket",
        }
    }
}

/// What all devices of a fleet share.
#[derive(Debug, Clone)]
pub struct Plan {
    pub server: SocketAddr,
    pub clock: Clock,
    pub quality: Quality,
    /// Between two reports of a device; the first comes at a random moment of the first interval.
    pub interval: Duration,
    /// Reports of each device; `None`: until the fleet is dropped.
    pub reports: Option<u64>,
    /// Every n-th report goes unconfirmed; 0: none.
    pub unconfirmed_every: u64,
    /// How long the radio listens after its last datagram; `None`: always.
    pub awake: Option<Duration>,
    /// A new port, as after NAT rebinding, before every n-th report; 0: never.
    pub rebind_every: u64,
    /// Each device deregisters when its reports are done.
    pub deregister: bool,
}

/// One device of the fleet.
#[derive(Debug, Clone)]
pub struct Member {
    pub settings: Settings,
    pub product: Product,
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
    /// All its reports are settled. What its radio lost and repeated, both ways.
    Finished {
        lost: u64,
        repeated: u64,
    },
    /// The device has no socket any more.
    Broken {
        reason: String,
    },
}

/// Running devices. Dropping it ends them.
#[derive(Debug)]
pub struct Fleet {
    updates: mpsc::Receiver<Update>,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Starts all members; each registers at once.
    pub async fn start(members: Vec<Member>, plan: &Plan) -> Result<Self, FleetError> {
        raise_file_limit(members.len() as u64)?;
        let (sender, updates) = mpsc::channel(EVENTS_MAX);
        let mut tasks = JoinSet::new();
        for member in members {
            let socket = bind(plan.server).await?;
            let runner = Runner::new(member, plan.clone(), socket, sender.clone());
            tasks.spawn(runner.run());
        }
        Ok(Self { updates, tasks })
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

/// Drives one device.
struct Runner {
    node_id: Arc<str>,
    product: Product,
    plan: Plan,
    device: Device,
    readings: Readings,
    socket: UdpSocket,
    up: Link,
    down: Link,
    updates: mpsc::Sender<Update>,
    started: u64,
    settled: u64,
    unconfirmed: bool,
    next_report: Instant,
    last_datagram: Instant,
    linger: Duration,
    deregistering: bool,
}

/// The reader of the fleet's events is gone.
struct Abandoned;

impl Runner {
    fn new(member: Member, plan: Plan, socket: UdpSocket, updates: mpsc::Sender<Update>) -> Self {
        let seed = member.settings.seed;
        let now = plan.clock.instant();
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        Self {
            node_id: member.settings.node_id.as_str().into(),
            product: member.product,
            readings: Readings::new(member.product, seed),
            up: Link::new(plan.quality, seed ^ 1),
            down: Link::new(plan.quality, seed ^ 2),
            next_report: now + plan.interval.mul_f64(rng.f64()),
            linger: member.settings.timing.ack_timeout,
            device: Device::new(member.settings),
            plan,
            socket,
            updates,
            started: 0,
            settled: 0,
            unconfirmed: false,
            last_datagram: now,
            deregistering: false,
        }
    }

    async fn run(mut self) {
        let last = match self.drive().await {
            Ok(()) => What::Finished {
                lost: self.up.lost + self.down.lost,
                repeated: self.up.repeated + self.down.repeated,
            },
            Err(reason) => What::Broken { reason },
        };
        // A reader that is gone wants no last word.
        self.tell(last).await.ok();
    }

    /// Runs until all reports are settled; fails only for want of a socket.
    async fn drive(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; limits::DATAGRAM_MAX];
        self.device.register(self.plan.clock.instant());
        loop {
            let now = self.plan.clock.instant();
            if self.due(now) {
                self.start_report(now).await.map_err(|e| e.to_string())?;
            }
            self.exchange(now).await;
            if self.pass_events().await.is_err() || self.is_done(now) {
                return Ok(());
            }
            let wake = self.wake_at(now);
            tokio::select! {
                received = self.socket.recv(&mut buffer) => {
                    // An error is the ICMP answer to an earlier datagram: a loss like others.
                    if let Ok(len) = received {
                        self.take_datagram(buffer.get(..len).unwrap_or_default());
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    self.device.tick(self.plan.clock.instant());
                }
            }
        }
    }

    fn due(&self, now: Instant) -> bool {
        let wanted = self.plan.reports.is_none_or(|n| self.started < n);
        wanted && now >= self.next_report
    }

    async fn start_report(&mut self, now: Instant) -> std::io::Result<()> {
        self.started += 1;
        self.next_report += self.plan.interval;
        let nth = |every: u64| every != 0 && self.started.is_multiple_of(every);
        let confirmable = !nth(self.plan.unconfirmed_every);
        // Not while something is under way: what the server still sends to the old port would never
        // arrive, and an observation that is lost that way is not repeated to the new one.
        if nth(self.plan.rebind_every) && self.device.is_idle() {
            self.socket = bind(self.plan.server).await?;
            let moved = What::Moved(self.socket.local_addr()?);
            self.tell(moved).await.ok();
        }
        self.last_datagram = now;
        let payload = self.readings.payload(self.plan.clock.now());
        self.device.report(now, payload, confirmable);
        Ok(())
    }

    /// Moves datagrams until nothing moves at this moment.
    async fn exchange(&mut self, now: Instant) {
        loop {
            while let Some(datagram) = self.device.transmit() {
                self.last_datagram = now;
                self.up.push(now, datagram);
            }
            while let Some(datagram) = self.up.pop(now) {
                // A datagram that the kernel does not take is a loss like others.
                self.socket.send(&datagram).await.ok();
            }
            let Some(datagram) = self.down.pop(now) else {
                return;
            };
            self.device.receive(now, &datagram);
        }
    }

    fn take_datagram(&mut self, datagram: &[u8]) {
        let now = self.plan.clock.instant();
        let listens = |awake| now < self.last_datagram + awake || !self.device.is_idle();
        if self.plan.awake.is_none_or(listens) {
            self.last_datagram = now;
            self.down.push(now, datagram.to_vec());
        }
    }

    async fn pass_events(&mut self) -> Result<(), Abandoned> {
        while let Some(event) = self.device.event() {
            match &event {
                Event::Acknowledged { .. } | Event::Failed { .. } => self.settled += 1,
                Event::Sent {
                    confirmable: false, ..
                } => {
                    self.settled += 1;
                    self.unconfirmed = true;
                }
                // It goes again, and settles again if it was unconfirmed.
                Event::Reset { .. } if self.unconfirmed => {
                    self.settled = self.settled.saturating_sub(1);
                }
                Event::Deregistered { .. } => self.deregistering = false,
                _ => {}
            }
            self.tell(What::Device(event)).await?;
        }
        Ok(())
    }

    fn is_done(&mut self, now: Instant) -> bool {
        let Some(reports) = self.plan.reports else {
            return false;
        };
        if self.started < reports || self.settled < reports || !self.device.is_idle() {
            return false;
        }
        if self.unconfirmed && now < self.last_datagram + self.linger {
            return false;
        }
        if self.plan.deregister && self.device.is_registered() {
            self.deregistering = true;
            self.device.deregister(now);
        }
        !self.deregistering
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let wanted = self.plan.reports.is_none_or(|n| self.started < n);
        [
            wanted.then_some(self.next_report),
            self.unconfirmed.then(|| self.last_datagram + self.linger),
            self.device.deadline(),
            self.up.deadline(),
            self.down.deadline(),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
        // Never idle for longer than this: a deadline of this very moment was filtered out.
        .map_or(now + Duration::from_millis(50), |at| {
            at.min(now + Duration::from_secs(60))
        })
    }

    async fn tell(&self, what: What) -> Result<(), Abandoned> {
        let update = Update {
            node_id: Arc::clone(&self.node_id),
            product: self.product,
            what,
        };
        self.updates.send(update).await.map_err(|_| Abandoned)
    }
}
