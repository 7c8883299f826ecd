//! How a device reaches the server: as plain datagrams, or through sessions, one after another.
//!
//! ```text
//! Waiting(at) -at-> Connecting -connected-> Open
//!     ^                 |                     |
//!     '------failed-----'<----- restart ------'
//! ```
//!
//! After a failed handshake the wait doubles, from the flight interval up to [`WAIT_MAX`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Plan;
use crate::base::time::Clock;
use crate::sim::session::{Credentials, Output, Session, SessionPlan};

/// Longest wait between two handshakes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// See the module.
pub(super) enum Channel {
    Plain,
    Secure(Box<Secure>),
}

/// The sessions of one device.
pub(super) struct Secure {
    credentials: Credentials,
    plan: SessionPlan,
    state: State,
    /// Handshakes that failed in a row.
    failures: u32,
}

enum State {
    Waiting(Instant),
    Connecting { session: Session, since: Instant },
    Open(Session),
}

impl Channel {
    /// Begins its first handshake at once.
    pub(super) fn secure(credentials: Credentials, plan: SessionPlan, clock: &Clock) -> Self {
        Self::Secure(Box::new(Secure {
            credentials,
            plan,
            state: State::Waiting(clock.instant()),
            failures: 0,
        }))
    }

    /// Where its datagrams go.
    pub(super) const fn server(&self, plan: &Plan) -> SocketAddr {
        match self {
            Self::Plain => plan.server,
            Self::Secure(secure) => secure.plan.server,
        }
    }

    /// Messages can be sent now.
    pub(super) const fn is_ready(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Secure(secure) => matches!(secure.state, State::Open(_)),
        }
    }

    /// When [`Channel::start_if_due`] has something to do.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Plain => None,
            Self::Secure(secure) => match secure.state {
                State::Waiting(at) => Some(at),
                State::Connecting { .. } | State::Open(_) => None,
            },
        }
    }

    /// Begins a handshake when it is time.
    pub(super) fn start_if_due(&mut self, now: Instant) {
        if let Self::Secure(secure) = self
            && matches!(secure.state, State::Waiting(at) if now >= at)
        {
            secure.begin(now);
        }
    }

    /// A message of the device: gives what goes to the radio now. Without an open session it waits
    /// in the one that is being made, or is lost, and the device repeats it.
    pub(super) fn send(&self, message: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(message),
            Self::Secure(secure) => {
                if let Some(session) = secure.session() {
                    session.send(message);
                }
                None
            }
        }
    }

    /// A datagram from the radio: gives the message when it is one already.
    pub(super) fn arrived(&self, datagram: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(datagram),
            Self::Secure(secure) => {
                if let Some(session) = secure.session() {
                    session.arrived(datagram);
                }
                None
            }
        }
    }

    /// What the session has to tell; never returns without one. May be cancelled.
    pub(super) async fn next(&mut self) -> Output {
        match self {
            Self::Plain => std::future::pending().await,
            Self::Secure(secure) => match &mut secure.state {
                State::Waiting(_) => std::future::pending().await,
                State::Connecting { session, .. } | State::Open(session) => session.next().await,
            },
        }
    }

    /// The handshake succeeded: gives how long it took.
    pub(super) fn connected(&mut self, now: Instant) -> Duration {
        let Self::Secure(secure) = self else {
            return Duration::ZERO;
        };
        secure.failures = 0;
        match std::mem::replace(&mut secure.state, State::Waiting(now)) {
            State::Connecting { session, since } => {
                secure.state = State::Open(session);
                now.saturating_duration_since(since)
            }
            other => {
                secure.state = other;
                Duration::ZERO
            }
        }
    }

    /// The handshake failed: gives how many did in a row, and waits before the next.
    pub(super) fn failed(&mut self, now: Instant) -> u32 {
        let Self::Secure(secure) = self else {
            return 0;
        };
        let wait = secure.plan.flight_interval * (1 << secure.failures.min(10));
        secure.failures += 1;
        secure.state = State::Waiting(now + wait.min(WAIT_MAX));
        secure.failures
    }

    /// Drops the session, if there is one, and begins a new handshake.
    pub(super) fn restart(&mut self, now: Instant) {
        if let Self::Secure(secure) = self
            && matches!(secure.state, State::Open(_))
        {
            secure.begin(now);
        }
    }

    /// Ends an open session; gives the datagrams that say so.
    pub(super) async fn close(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let Self::Secure(secure) = self else {
            return Vec::new();
        };
        // An open handshake is left as it is: the server forgets it.
        match std::mem::replace(&mut secure.state, State::Waiting(now)) {
            State::Open(session) => session.close().await,
            State::Waiting(_) | State::Connecting { .. } => Vec::new(),
        }
    }
}

impl Secure {
    fn begin(&mut self, now: Instant) {
        self.state = State::Connecting {
            session: Session::open(&self.credentials, &self.plan),
            since: now,
        };
    }

    const fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Waiting(_) => None,
            State::Connecting { session, .. } | State::Open(session) => Some(session),
        }
    }
}
