//! Hosts of subscribers: one that fails again and again pauses, for all actions that push to it.
//!
//! ```text
//! running --failures in a row--> paused --time--> probing: one push alone
//!    ^------------- success ---------------------------|  |
//!                               paused <----- failure ----'
//! ```
//!
//! A host is an address with its port: two services on one machine pause apart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use tokio::sync::watch;

use crate::base::time::{Clock, Timestamp};

/// When a host pauses, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub failures_max: u32,
    pub pause: Duration,
}

/// All hosts that some action pushes to.
#[derive(Debug)]
pub struct Hosts {
    patience: Patience,
    clock: Clock,
    all: Mutex<HashMap<String, Arc<Host>>>,
}

/// One of them.
#[derive(Debug)]
pub struct Host {
    name: String,
    patience: Patience,
    clock: Clock,
    state: Mutex<State>,
    /// Moves when waiting for it may be over.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running { failures: u32 },
    Paused(Pause),
    Probing(Pause),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    until: Instant,
    until_at: Timestamp,
}

/// Whether a push may go.
#[derive(Debug)]
pub enum Admission {
    Go(Pass),
    /// Not before this; `None`: when the host changes.
    Wait(Option<Instant>),
}

/// One push to a host. Says how it ended, once.
#[derive(Debug)]
pub struct Pass {
    host: Arc<Host>,
    is_probe: bool,
}

impl Hosts {
    pub fn new(patience: Patience, clock: Clock) -> Self {
        Self {
            patience,
            clock,
            all: Mutex::default(),
        }
    }

    /// The host of this name. Those that nobody has any more are forgotten.
    pub fn of(&self, name: &str) -> Arc<Host> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known, host| known == name || Arc::strong_count(host) > 1);
        let host = all.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Host {
                name: name.to_owned(),
                patience: self.patience,
                clock: self.clock.clone(),
                state: Mutex::new(State::Running { failures: 0 }),
                changed: watch::Sender::new(0),
            })
        });
        Arc::clone(host)
    }
}

impl Host {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a push may go now.
    pub fn admit(self: &Arc<Self>) -> Admission {
        let mut state = self.state();
        let is_probe = match *state {
            State::Running { .. } => false,
            State::Paused(pause) if self.clock.instant() < pause.until => {
                return Admission::Wait(Some(pause.until));
            }
            State::Paused(pause) => {
                *state = State::Probing(pause);
                true
            }
            State::Probing(_) => return Admission::Wait(None),
        };
        Admission::Go(Pass {
            host: Arc::clone(self),
            is_probe,
        })
    }

    /// The end of its pause. A pause that is over lasts until the probe succeeds.
    pub fn paused_until(&self) -> Option<Timestamp> {
        match *self.state() {
            State::Running { .. } => None,
            State::Paused(pause) | State::Probing(pause) => Some(pause.until_at),
        }
    }

    /// Tells when waiting may be over.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !matches!(*self.state(), State::Running { .. }) {
            paused_hosts().decrement(1.0);
        }
    }
}

impl Pass {
    /// The subscriber took the push: the host runs, whatever was.
    pub fn succeeded(self) {
        let mut state = self.host.state();
        let before = std::mem::replace(&mut *state, State::Running { failures: 0 });
        drop(state);
        if !matches!(before, State::Running { .. }) {
            paused_hosts().decrement(1.0);
            tracing::info!(host = self.host.name, "pushes go on");
            self.host.tell();
        }
    }

    /// It did not.
    pub fn failed(self) {
        let host = &self.host;
        let pause = || Pause {
            until: host.clock.instant() + host.patience.pause,
            until_at: host
                .clock
                .now()
                .plus_ms(u64::try_from(host.patience.pause.as_millis()).unwrap_or(u64::MAX)),
        };
        let mut state = host.state();
        match *state {
            State::Running { failures }
                if failures.saturating_add(1) < host.patience.failures_max =>
            {
                *state = State::Running {
                    failures: failures.saturating_add(1),
                };
                return;
            }
            State::Running { .. } => {
                paused_hosts().increment(1.0);
                tracing::warn!(
                    host = host.name,
                    pause_s = host.patience.pause.as_secs(),
                    "too many pushes failed in a row: the host pauses"
                );
                *state = State::Paused(pause());
            }
            State::Probing(_) if self.is_probe => *state = State::Paused(pause()),
            // Begun before the pause: it tells nothing new.
            State::Probing(_) | State::Paused(_) => return,
        }
        drop(state);
        host.tell();
    }
}

/// A probe that was given up tells nothing: the next push is the probe.
impl Drop for Pass {
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut state = self.host.state();
        if let State::Probing(pause) = *state {
            *state = State::Paused(pause);
            drop(state);
            self.host.tell();
        }
    }
}

fn paused_hosts() -> metrics::Gauge {
    metrics::gauge!("strait_push_paused_hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(host: &Arc<Host>) -> Pass {
        match host.admit() {
            Admission::Go(pass) => pass,
            Admission::Wait(until) => panic!("waits until {until:?}"),
        }
    }

    fn waits(host: &Arc<Host>) -> bool {
        matches!(host.admit(), Admission::Wait(_))
    }

    #[test]
    fn a_host_pauses_and_is_probed_by_one_push() {
        let clock = Clock::manual(Timestamp::from_ms(0));
        let patience = Patience {
            failures_max: 3,
            pause: Duration::from_secs(300),
        };
        let hosts = Hosts::new(patience, clock.clone());
        let host = hosts.of("a:80");
        for _ in 0..2 {
            go(&host).failed();
        }
        go(&host).succeeded();
        let late = go(&host);
        let later = go(&host);
        for _ in 0..3 {
            go(&host).failed();
        }
        assert!(waits(&host));
        assert_eq!(host.paused_until(), Some(Timestamp::from_ms(300_000)));
        clock.advance(Duration::from_millis(100_000));
        later.failed();
        assert_eq!(host.paused_until(), Some(Timestamp::from_ms(300_000)));
        assert!(!waits(&hosts.of("a:81")), "another host");
        clock.advance(Duration::from_millis(199_999));
        assert!(waits(&host));
        clock.advance(Duration::from_millis(1));
        let probe = go(&host);
        assert!(waits(&host), "one probe at a time");
        drop(probe);
        go(&host).failed();
        assert_eq!(host.paused_until(), Some(Timestamp::from_ms(600_000)));
        clock.advance(Duration::from_millis(300_000));
        let probe = go(&host);
        let mut changes = host.follow();
        probe.succeeded();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(host.paused_until(), None);
        assert!(!waits(&host));
        // What began long ago and succeeds shows that the host is well.
        for _ in 0..3 {
            go(&host).failed();
        }
        assert!(waits(&host));
        late.succeeded();
        assert!(!waits(&host));
    }
}
