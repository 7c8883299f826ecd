//! Runs codecs that have code of their own where they can hurt nobody: in worker processes.
//!
//! ```text
//! CodecPool::call -> dispatch (lanes and wards) -> process -> strait codec-worker -> codec
//!                       strikes ------------------ watchdog
//! ```
//!
//! A call that runs for over 250 ms is ended together with its worker, which is replaced; whatever else the worker had
//! to do is done by another. That, and a limit that the codec's engine noticed, costs the codec a
//! strike; several within a while quarantine it, until it is released or replaced. No process is
//! started before the first call. Errors are those of [`CodecError`]: the codec's own; `limit` when
//! a call was ended; `unavailable` when its codec is quarantined or can't be loaded, when too much
//! waits, or without workers. With [`Settings::trust`] codecs whose options say so run in this process.

mod dispatch;
mod lane;
mod process;
mod request;
mod slots;
mod strikes;
mod trusted;
mod ward;

use std::path::PathBuf;
use std::sync::Arc;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};

use crate::app::tasks::Tasks;
use crate::base::time::Clock;
use crate::product::codec::call::{Call, Outside, Reply};
use crate::product::codec::frames::Outcome;
use crate::product::codec::{CodecError, Kind, LoadError};
use dispatch::Dispatch;
use request::{Answer, Request, unavailable};
use trusted::Trusted;

pub use strikes::Quarantine;

/// What an operator sets under `[codecs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Worker processes. Each codec has its place in one of them.
    pub workers: usize,
    /// Calls that wait in all; further ones fail as unavailable.
    pub waiting_max: usize,
    /// Strikes within `strike_window_s` that quarantine a codec.
    pub strikes: u32,
    pub strike_window_s: u64,
    /// Scripts of products whose settings say `codec.trusted` may run inside the server's process.
    pub trust: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 2,
            waiting_max: 10_000,
            strikes: 5,
            strike_window_s: 3600,
            trust: false,
        }
    }
}

impl Settings {
    /// Judges the values: field, what it is, what it takes.
    pub fn check(&self) -> Result<(), (&'static str, u64, &'static str)> {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let year_s = 366 * 86_400;
        let bounds = [
            ("codecs.workers", number(self.workers), 64, "1 to 64"),
            (
                "codecs.waiting_max",
                number(self.waiting_max),
                1_000_000,
                "1 to 1000000",
            ),
            ("codecs.strikes", self.strikes.into(), 1_000, "1 to 1000"),
            (
                "codecs.strike_window_s",
                self.strike_window_s,
                year_s,
                "1 to 31622400 s",
            ),
        ];
        for (field, value, most, takes) in bounds {
            if !(1..=most).contains(&value) {
                return Err((field, value, takes));
            }
        }
        Ok(())
    }
}

/// What a [`CodecPool`] is built from.
pub struct Parts {
    pub settings: Settings,
    pub clock: Clock,
    pub tasks: Tasks,
    /// The program whose `codec-worker` is started; `None`: the one that runs.
    pub program: Option<PathBuf>,
}

/// A call with what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    pub result: Result<Reply, CodecError>,
    /// In the codec alone, its loading included; 0 when it did not run or was ended.
    pub micros: u64,
    /// What the codec holds in memory now, as far as its engine tells.
    pub heap_bytes: u64,
}

/// The workers and what runs in them.
pub struct CodecPool {
    dispatch: Arc<Dispatch>,
    trusted: Option<Trusted>,
    waiting: Arc<Semaphore>,
    waiting_max: usize,
}

impl CodecPool {
    /// Starts nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            settings,
            clock,
            tasks,
            program,
        } = parts;
        describe();
        let trusted = settings.trust.then(|| Trusted::new(clock.clone()));
        let program = program.unwrap_or_else(this_program);
        let waiting_max = settings.waiting_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            dispatch: Arc::new(Dispatch::new(settings, clock, tasks, program)),
            trusted,
            waiting: Arc::new(Semaphore::new(waiting_max)),
            waiting_max,
        }
    }

    /// Performs a call where the codec runs. Errors: those of the codec; `limit` when it was ended;
    /// `unavailable` when it is quarantined or too much waits.
    pub async fn call(&self, codec: &Outside, call: Call) -> Result<Reply, CodecError> {
        self.run(codec, call).await.result
    }

    /// As [`CodecPool::call`], with what it took.
    pub async fn run(&self, codec: &Outside, call: Call) -> Ran {
        let answer = match &self.trusted {
            Some(trusted) if codec.options.trusted => self.call_here(trusted, codec, call).await,
            _ => self.ask(codec, Some(call)).await,
        };
        let result = match answer.outcome {
            Outcome::Reply(result) => result,
            Outcome::NotLoaded(mistakes) => Err(not_loaded(&mistakes)),
            Outcome::Loaded => Err(unavailable("the worker answered something else")),
        };
        Ran {
            result,
            micros: answer.micros,
            heap_bytes: answer.heap_bytes,
        }
    }

    /// Loads a codec and gives every mistake. It runs its top level. A limit that this hits is a mistake,
    /// and no strike.
    pub async fn check(&self, codec: &Outside) -> Result<(), Vec<LoadError>> {
        match self.ask(codec, None).await.outcome {
            Outcome::Loaded => Ok(()),
            Outcome::NotLoaded(mistakes) => Err(mistakes),
            Outcome::Reply(Ok(_)) => Err(vec![mistake("the worker answered something else")]),
            Outcome::Reply(Err(CodecError::Limit { what })) => Err(vec![LoadError {
                hint: Some(lighter(codec.kind).to_owned()),
                ..mistake(&format!("loading it hit a limit: {what}"))
            }]),
            Outcome::Reply(Err(error)) => Err(vec![mistake(&error.to_string())]),
        }
    }

    /// Whether a codec is quarantined: why.
    pub fn quarantined(&self, codec: &Outside) -> Option<Quarantine> {
        self.dispatch.quarantined(&codec.tag)
    }

    /// Lets a quarantined codec run again.
    pub fn release(&self, codec: &Outside) {
        self.dispatch.release(&codec.tag);
    }

    async fn call_here(&self, trusted: &Trusted, codec: &Outside, call: Call) -> Answer {
        if let Some(held) = self.dispatch.quarantined(&codec.tag) {
            return held.refusal().into();
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return self.crowded();
        };
        let answer = trusted.call(codec, call).await;
        if let Outcome::Reply(Err(CodecError::Limit { what })) = &answer.outcome {
            self.dispatch.strike(&codec.tag, what);
        }
        answer
    }

    async fn ask(&self, codec: &Outside, call: Option<Call>) -> Answer {
        let Ok(permit) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return self.crowded();
        };
        let (reply, answer) = oneshot::channel();
        self.dispatch.submit(Request {
            codec: codec.clone(),
            call,
            deaths: 0,
            reply,
            _permit: permit,
        });
        self.show_waiting();
        let answer = answer.await;
        self.show_waiting();
        answer.unwrap_or_else(|_| unavailable("the server stops").into())
    }

    fn crowded(&self) -> Answer {
        let most = self.waiting_max;
        unavailable(format!("{most} calls wait already (codecs.waiting_max)")).into()
    }

    fn show_waiting(&self) {
        let waiting = self.waiting_max - self.waiting.available_permits();
        gauge!("strait_codec_waiting").set(u32::try_from(waiting).unwrap_or(u32::MAX));
    }
}

/// The running program, even after its file was replaced: worker and server must be of one version.
fn this_program() -> PathBuf {
    let here = PathBuf::from("/proc/self/exe");
    if here.exists() {
        return here;
    }
    // A name that can't be started is told with the first call.
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("strait"))
}

/// What makes loading a codec cheaper.
const fn lighter(kind: Kind) -> &'static str {
    match kind {
        Kind::Script | Kind::Table => "its top level may only define functions and small tables",
        Kind::Wasm => "make it smaller: build for release, without functions of enormous size",
    }
}

fn not_loaded(mistakes: &[LoadError]) -> CodecError {
    let first = mistakes.first().map(ToString::to_string);
    let first = first.unwrap_or_else(|| "nothing says why".to_owned());
    unavailable(format!("it can't be loaded: {first}"))
}

fn mistake(message: &str) -> LoadError {
    LoadError {
        line: 1,
        column: 1,
        message: message.to_owned(),
        hint: None,
    }
}

fn describe() {
    describe_counter!("strait_codec_strikes_total", "Limits that codecs hit");
    describe_counter!(
        "strait_codec_worker_restarts_total",
        "Workers that were ended by the watchdog or died"
    );
    describe_gauge!("strait_codec_quarantined", "Codecs that must not run");
    describe_gauge!("strait_codec_waiting", "Calls without an answer yet");
    describe_gauge!("strait_codec_workers", "Worker processes");
    // Known to Prometheus before the first one happens.
    counter!("strait_codec_strikes_total").increment(0);
    for reason in ["watchdog", "died"] {
        counter!("strait_codec_worker_restarts_total", "reason" => reason).increment(0);
    }
}
