//! The load generator: many devices, few system calls, honest latencies.
//!
//! Closed loop: a number of requests in flight, the next starts when one ends. Open loop: requests
//! start at a fixed rate, and a late start counts as latency (measured from the intended start,
//! so a stalled server can't hide its stall). Devices repeat unanswered requests as RFC 7252 §4.2
//! has it. Secured devices first make their sessions, and close them at the end. Latencies in microseconds, percentiles from an HDR histogram with three digits.

mod baseline;
mod commands;
mod dtls;
mod engine;
mod fragments;
mod handshakes;
mod heard;
mod hostile;
mod lines;
mod pool;
mod report;
mod sums;
mod template;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use super::fleet::FleetError;
use super::payload::Product;
use super::rest::RestError;
use crate::base::secret::Secret;
use crate::base::time::Clock;
pub use commands::{CommandReport, Commands, Strategy, command};
pub use fragments::{Fragments, fragments};
use handshakes::Handshakes;
pub use hostile::{Hostile, HostileReport, attack};
use lines::Lines;
use pool::Pool;
pub use report::{Latency, Report};

/// What the devices do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// `POST /rd`, again and again.
    Register,
    /// `POST /rd/<id>` without a payload.
    Update,
    /// A confirmable notification of 19/0/0, or `POST /t/d` when `raw`.
    Uplink { raw: bool },
    /// An empty confirmable, answered with a reset; with a path, a GET.
    Echo { path: Option<String> },
    /// A full DTLS handshake from a fresh address, and a close_notify.
    Handshake,
    /// A command over HTTP, which the device answers with a notification, or `POST /t/d` when `raw`.
    Command { raw: bool },
    /// Fragments of a package over PCP, by notifications, or `POST /t/d` when `raw`.
    Fragments { raw: bool },
}

impl Workload {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Update => "update",
            Self::Uplink { raw: false } => "uplink",
            Self::Uplink { raw: true } => "uplink-raw",
            Self::Echo { .. } => "echo",
            Self::Handshake => "handshake",
            Self::Command { raw: false } => "command",
            Self::Command { raw: true } => "command-raw",
            Self::Fragments { raw: false } => "fragments",
            Self::Fragments { raw: true } => "fragments-raw",
        }
    }

    /// Bytes of the usual answer, for the echo of the same sizes.
    const fn answer_len(&self) -> usize {
        match self {
            Self::Register => 24,
            Self::Update | Self::Uplink { raw: true } => 6,
            Self::Uplink { raw: false } | Self::Echo { path: None } => 4,
            Self::Echo { path: Some(_) }
            | Self::Handshake
            | Self::Command { .. }
            | Self::Fragments { .. } => 64,
        }
    }
}

/// How requests start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    Closed { in_flight: usize },
    Open { per_second: f64 },
}

/// What is sent as a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Product(Product),
    Fixed(Vec<u8>),
}

/// How the devices prove who they are.
#[derive(Debug, Clone)]
pub struct Secure {
    /// The same for all.
    pub key: Secret<Vec<u8>>,
    /// One identity for all; `None`: each device's node id.
    pub identity: Option<String>,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Job {
    pub server: SocketAddr,
    pub clock: Clock,
    pub workload: Workload,
    pub pace: Pace,
    pub devices: u32,
    /// Node ids are this and the device's number in ten digits.
    pub prefix: String,
    pub lifetime_s: u32,
    pub duration: Duration,
    pub ack_timeout: Duration,
    pub max_retransmit: u32,
    pub body: Body,
    pub seed: u64,
    /// DTLS; needed for [`Workload::Handshake`].
    pub secure: Option<Secure>,
}

impl Job {
    /// Node id of a device.
    pub fn node(&self, device: u32) -> String {
        format!("{}{device:010}", self.prefix)
    }
}

/// What a run does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Registering,
    Observing,
    /// The server offers the devices a package.
    Offering,
    Measuring,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub phase: Phase,
    /// Devices ready, or requests answered.
    pub done: u64,
    pub elapsed: Duration,
}

impl Progress {
    /// Told at the begin and the end of the measured phase too, for those who measure beside it.
    const fn measuring(done: u64, elapsed: Duration) -> Self {
        Self {
            phase: Phase::Measuring,
            done,
            elapsed,
        }
    }
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Sockets(#[from] FleetError),
    #[error("the socket failed: {0}")]
    Io(#[from] std::io::Error),
    #[error(
        "{ready} of {devices} devices have a session; the others got: {answers}; a wrong key or \
         identity may be met with silence"
    )]
    NotConnected {
        ready: u32,
        devices: u32,
        answers: String,
    },
    #[error("handshakes need a pre-shared key")]
    NoKey,
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    #[error("{ready} of {devices} devices registered; the others got: {answers}")]
    NotRegistered {
        ready: u32,
        devices: u32,
        answers: String,
    },
    #[error("the server observed {ready} of {devices} devices on 19/0/0 within {waited_s} s")]
    NotObserved {
        ready: u32,
        devices: u32,
        waited_s: u64,
    },
    #[error(
        "the server offered the package to {ready} of {devices} devices within {waited_s} s; what holds the others \
         back: GET /v1/campaigns/{task_id}/cells"
    )]
    NotOffered {
        ready: usize,
        devices: usize,
        waited_s: u64,
        task_id: String,
    },
    #[error("the server answers no ping after {sent} datagrams")]
    Silent { sent: u64 },
    #[error("{0} takes no commands that it answers")]
    NoCommand(&'static str),
    #[error(transparent)]
    Rest(#[from] RestError),
}

impl LoadError {
    /// Stable word for scripts; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sockets(_) => "sockets",
            Self::Io(_) => "io",
            Self::NotConnected { .. } => "not_connected",
            Self::NoKey => "no_key",
            Self::Random(_) => "random",
            Self::NotRegistered { .. } => "not_registered",
            Self::NotObserved { .. } => "not_observed",
            Self::NotOffered { .. } => "not_offered",
            Self::Silent { .. } => "silent",
            Self::NoCommand(_) => "no_command",
            Self::Rest(error) => error.kind(),
        }
    }
}

/// Runs the workload against the server; `progress` is called a few times a second.
pub fn run(job: &Job, progress: &mut dyn FnMut(Progress)) -> Result<Report, LoadError> {
    if job.workload == Workload::Handshake {
        return Handshakes::open(job)?.measure(progress);
    }
    prepared(job, progress)?.measure(progress)
}

/// The devices, with their sessions, registrations and observations.
fn prepared<'a>(
    job: &'a Job,
    progress: &mut dyn FnMut(Progress),
) -> Result<engine::Engine<'a>, LoadError> {
    let pool = Pool::open(job.server, job.devices as usize)?;
    let lines = if job.secure.is_some() {
        Handshakes::over(job, pool)?.connect_all(progress)?
    } else {
        Lines::plain(pool)
    };
    let mut engine = engine::Engine::new(job, lines)?;
    engine.prepare(progress)?;
    Ok(engine)
}

/// The same datagrams against a bare UDP echo in this process, plain: what the machine can do at most.
pub fn baseline(job: &Job, progress: &mut dyn FnMut(Progress)) -> Result<Report, LoadError> {
    let echo = baseline::Echo::start(job.workload.answer_len())?;
    let job = Job {
        server: echo.address(),
        secure: None,
        ..job.clone()
    };
    engine::Engine::new_blind(&job)?.measure(progress)
}
