//! The task that drives one device: its schedule, its way to the server, its radio and socket.
//!
//! A secured device begins with a handshake and registers when its session stands. While it has
//! none, its timers stand still and nothing is reported. When the server stops answering or ends the
//! session, it makes a new one and updates its registration. After [`HANDSHAKE_TRIES`] failures in a
//! row a device with a number of reports to make gives up; one without tries on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::channel::Channel;
use super::{Member, Plan, Update, What, bind};
use crate::base::limits;
use crate::sim::device::{Device, Event};
use crate::sim::link::Link;
use crate::sim::payload::{Product, Readings};
use crate::sim::session::Output;

/// Handshakes that fail in a row before a device gives up.
const HANDSHAKE_TRIES: u32 = 4;

/// Drives one device.
pub(super) struct Runner {
    node_id: Arc<str>,
    product: Product,
    plan: Plan,
    device: Device,
    /// Shared with the device's application, which carries commands out.
    readings: Arc<Mutex<Readings>>,
    channel: Channel,
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
    /// The first registration was begun.
    has_registered: bool,
}

/// The reader of the fleet's events is gone.
struct Abandoned;

impl Runner {
    pub(super) fn new(
        member: Member,
        plan: Plan,
        channel: Channel,
        socket: UdpSocket,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        let seed = member.settings.seed;
        let now = plan.clock.instant();
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let readings = Arc::new(Mutex::new(Readings::new(member.product, seed)));
        let application = Arc::clone(&readings);
        let verdict = member.verdict;
        Self {
            node_id: member.settings.node_id.as_str().into(),
            product: member.product,
            readings,
            up: Link::new(plan.quality, seed ^ 1),
            down: Link::new(plan.quality, seed ^ 2),
            next_report: now + plan.interval.mul_f64(rng.f64()),
            linger: member.settings.timing.ack_timeout,
            device: Device::new(member.settings)
                .with_application(move |bytes| locked(&application).take(bytes, verdict)),
            plan,
            channel,
            socket,
            updates,
            started: 0,
            settled: 0,
            unconfirmed: false,
            last_datagram: now,
            deregistering: false,
            has_registered: false,
        }
    }

    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        let last = match self.drive(stop).await {
            Ok(()) => {
                self.say_goodbye().await;
                What::Finished {
                    lost: self.up.lost + self.down.lost,
                    repeated: self.up.repeated + self.down.repeated,
                }
            }
            Err(reason) => What::Broken { reason },
        };
        // A reader that is gone wants no last word.
        self.tell(last).await.ok();
    }

    /// Runs until all reports are settled or the fleet stops; fails for want of a socket or session.
    async fn drive(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        let mut buffer = vec![0; limits::DATAGRAM_MAX];
        if self.channel.is_ready() {
            self.has_registered = true;
            self.device.register(self.plan.clock.instant());
        }
        loop {
            let now = self.plan.clock.instant();
            self.channel.start_if_due(now);
            if self.due(now) {
                self.start_report(now).await.map_err(|e| e.to_string())?;
            }
            self.exchange(now).await;
            let abandoned = self.pass_events().await.is_err();
            if abandoned || *stop.borrow() || self.is_done(now) {
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
                output = self.channel.next() => self.take_output(output).await?,
                () = tokio::time::sleep_until(wake.into()) => {
                    if self.channel.is_ready() {
                        self.tick();
                    }
                }
                // An error means that the fleet is gone, and its tasks with it.
                changed = stop.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// A device that has its power back has no session any more.
    fn tick(&mut self) {
        let now = self.plan.clock.instant();
        let was_off = self.device.is_off();
        self.device.tick(now);
        if was_off && !self.device.is_off() {
            self.channel.restart(now);
        }
    }

    /// Something came out of the session.
    async fn take_output(&mut self, output: Output) -> Result<(), String> {
        let now = self.plan.clock.instant();
        let told = match output {
            Output::Datagram(datagram) => {
                self.last_datagram = now;
                self.up.push(now, datagram);
                Ok(())
            }
            Output::Received(message) => {
                self.device.receive(now, &message);
                Ok(())
            }
            Output::Connected => {
                let took = self.channel.connected(now);
                if std::mem::replace(&mut self.has_registered, true) {
                    self.device.reconnected(now);
                } else {
                    self.device.register(now);
                }
                self.tell(What::Connected(took)).await
            }
            Output::Failed(failure) => {
                let tries = self.channel.failed(now);
                if tries >= HANDSHAKE_TRIES && self.plan.reports.is_some() {
                    // It is told, and the reason repeats it.
                    let reason = format!("no session after {tries} handshakes: {failure}");
                    self.tell(What::HandshakeFailed(failure)).await.ok();
                    return Err(reason);
                }
                self.tell(What::HandshakeFailed(failure)).await
            }
            Output::Ended => {
                self.channel.restart(now);
                self.tell(What::SessionEnded).await
            }
        };
        // Nobody listens any more: the next event ends the device.
        told.or(Ok(()))
    }

    /// Closes the session; its last datagrams wait for no radio.
    async fn say_goodbye(&mut self) {
        let now = self.plan.clock.instant();
        for datagram in self.channel.close(now).await {
            self.up.push(now, datagram);
        }
        while let Some(datagram) = self.up.pop(now + self.plan.quality.delay_max) {
            self.socket.send(&datagram).await.ok();
        }
    }

    fn due(&self, now: Instant) -> bool {
        let wanted = self.plan.reports.is_none_or(|n| self.started < n);
        // Without power it measures nothing.
        let is_able = self.channel.is_ready() && !self.device.is_off();
        wanted && now >= self.next_report && is_able
    }

    async fn start_report(&mut self, now: Instant) -> std::io::Result<()> {
        self.started += 1;
        self.next_report += self.plan.interval;
        let nth = |every: u64| every != 0 && self.started.is_multiple_of(every);
        let confirmable = !nth(self.plan.unconfirmed_every);
        // Not while something is under way: what the server still sends to the old port would never
        // arrive, and an observation that is lost that way is not repeated to the new one.
        if nth(self.plan.rebind_every) && self.device.is_idle() {
            self.socket = bind(self.channel.server(&self.plan)).await?;
            self.channel.restart(now);
            let moved = What::Moved(self.socket.local_addr()?);
            self.tell(moved).await.ok();
        }
        if nth(self.plan.reboot_every) {
            self.device.reboot(now);
        } else if nth(self.plan.update_every) && self.device.is_registered() {
            self.device.update(now);
        }
        self.last_datagram = now;
        let payload = locked(&self.readings).payload(self.plan.clock.now());
        self.device.report(now, payload, confirmable);
        Ok(())
    }

    /// Moves datagrams until nothing moves at this moment.
    async fn exchange(&mut self, now: Instant) {
        loop {
            while let Some(message) = self.device.transmit() {
                if let Some(datagram) = self.channel.send(message) {
                    self.last_datagram = now;
                    self.up.push(now, datagram);
                }
            }
            while let Some(datagram) = self.up.pop(now) {
                // A datagram that the kernel does not take is a loss like others.
                self.socket.send(&datagram).await.ok();
            }
            let Some(datagram) = self.down.pop(now) else {
                return;
            };
            // A radio that is off hears nothing; a handshake keeps it on.
            if self.channel.is_ready() && !self.device.is_listening(now) {
                continue;
            }
            self.last_datagram = now;
            if let Some(message) = self.channel.arrived(datagram) {
                self.device.receive(now, &message);
            }
        }
    }

    fn take_datagram(&mut self, datagram: &[u8]) {
        let now = self.plan.clock.instant();
        self.down.push(now, datagram.to_vec());
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
                // A server that lost the session drops what it can't read, without a word.
                Event::Unanswered => self.channel.restart(self.plan.clock.instant()),
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
        if self.device.is_dead() {
            return true;
        }
        let upgrades = self.device.upgrader().is_some_and(|u| u.is_busy());
        let is_busy = !self.device.is_idle() || self.device.owes() || upgrades;
        if self.started < reports || self.settled < reports || is_busy {
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
        let ready = self.channel.is_ready();
        let able = ready && !self.device.is_off();
        let wanted = able && self.plan.reports.is_none_or(|n| self.started < n);
        [
            wanted.then_some(self.next_report),
            self.unconfirmed.then(|| self.last_datagram + self.linger),
            self.device.deadline().filter(|_| ready),
            self.channel.deadline(),
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

/// Nothing that holds the lock can leave it half changed.
fn locked(readings: &Mutex<Readings>) -> std::sync::MutexGuard<'_, Readings> {
    readings.lock().unwrap_or_else(PoisonError::into_inner)
}
