//! One execution after another: what goes in, and what is wrong with what comes out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fastrand::Rng;
use serde::Serialize;
use serde_json::{Map, Value};

use super::mutation::{mutate, pick};
use super::values::paras;
use crate::base::time::Clock;
use crate::cli::codec::bundle::Bundle;
use crate::product::check;
use crate::product::codec::call::{Call, Reply};
use crate::product::codec::fixture::RECEIVED_AT;
use crate::product::codec::text::unhex;
use crate::product::codec::{CodecError, Decoded, Downlink};

/// Different findings that are told.
const FINDINGS_MAX: usize = 50;
/// Payloads that are changed further: the fixtures' and those that did something new.
const SEEDS_MAX: usize = 2000;

/// What a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    /// The codec's own code gave up in a way that no input may cause.
    Crash,
    /// It did not come back.
    Hang,
    /// A limit of production stopped it.
    Limit,
    /// A report has something that the product model has not.
    Model,
    /// A command that fits the product model is not encoded.
    Refused,
    /// A command says something else when it is read back.
    RoundTrip,
}

impl Sort {
    /// Whether a codec with it must not go into production.
    pub(super) const fn is_failure(self) -> bool {
        matches!(self, Self::Crash | Self::Hang | Self::Limit)
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Limit => "limit",
            Self::Model => "model",
            Self::Refused => "refused",
            Self::RoundTrip => "round_trip",
        }
    }
}

/// Something that was found, with the first input that showed it.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) sort: Sort,
    pub(super) detail: String,
    pub(super) call: Call,
    pub(super) count: u64,
}

/// What the thread that watches sees of the one that works.
#[derive(Debug, Default)]
pub(super) struct Watched {
    executions: AtomicU64,
    current: Mutex<Option<Call>>,
}

impl Watched {
    pub(super) fn executions(&self) -> u64 {
        self.executions.load(Ordering::Relaxed)
    }

    pub(super) fn current(&self) -> Option<Call> {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, call: &Call) {
        let current = self.current.lock();
        *current.unwrap_or_else(PoisonError::into_inner) = Some(call.clone());
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) findings: Vec<Finding>,
    /// Inputs that were refused with an error, as most random ones are.
    pub(super) refused: u64,
    /// The codec can't be run any more: why.
    pub(super) stopped: Option<String>,
}

pub(super) struct Search<'a> {
    bundle: &'a Bundle,
    watched: &'a Watched,
    rng: Rng,
    seeds: Vec<Vec<u8>>,
    ports: Vec<Option<u8>>,
    seen: Vec<String>,
    outcome: Outcome,
}

impl<'a> Search<'a> {
    pub(super) fn new(bundle: &'a Bundle, watched: &'a Watched, seed: u64) -> Self {
        let mut seeds = Vec::new();
        let mut ports = vec![None];
        for fixture in bundle.files.iter().flat_map(|f| &f.fixtures) {
            match fixture.call() {
                Call::Decode {
                    payload, f_port, ..
                } => {
                    seeds.push(payload);
                    if !ports.contains(&f_port) {
                        ports.push(f_port);
                    }
                }
                Call::Answer { request, .. } => seeds.push(request),
                _ => {}
            }
        }
        Self {
            bundle,
            watched,
            rng: Rng::with_seed(seed),
            seeds,
            ports,
            seen: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    pub(super) fn run(mut self, clock: &Clock, end: Instant) -> Outcome {
        while clock.instant() < end && self.outcome.stopped.is_none() {
            let call = self.next();
            self.execute(call);
        }
        self.outcome
    }

    fn next(&mut self) -> Call {
        if self.rng.u8(..4) == 0
            && let Some(call) = self.next_command()
        {
            return call;
        }
        let payload = mutate(&mut self.rng, &self.seeds);
        let f_port = match self.rng.u8(..8) {
            0 => Some(self.rng.u8(..)),
            _ => pick(&mut self.rng, &self.ports).copied().flatten(),
        };
        Call::Decode {
            payload,
            received_at: RECEIVED_AT,
            f_port,
            traced: false,
        }
    }

    fn next_command(&mut self) -> Option<Call> {
        let services = &self.bundle.profile.as_ref()?.services;
        let service = pick(&mut self.rng, services)?;
        let command = pick(&mut self.rng, &service.commands)?;
        Some(Call::Encode {
            service_id: service.service_id.clone(),
            command_name: command.command_name.clone(),
            paras: paras(&mut self.rng, command),
            mid: self.rng.u16(1..),
        })
    }

    fn execute(&mut self, call: Call) {
        let mut next = Some(call);
        // A payload whose checksum is wrong comes again with the right one: once.
        for _ in 0..2 {
            let Some(call) = next.take() else { return };
            self.watched.note(&call);
            let judged = judge(self.bundle, &call);
            self.watched.executions.fetch_add(1, Ordering::Relaxed);
            match judged {
                Judged::Fine { bytes, sign } => self.learn(bytes.as_deref(), &call, sign),
                Judged::Refused(error) => {
                    self.outcome.refused += 1;
                    next = repaired(&call, &error);
                    self.learn(None, &call, error.kind().to_owned());
                }
                Judged::Gone(reason) => self.outcome.stopped = Some(reason),
                Judged::Found(sort, detail) => self.add(sort, detail, call),
            }
        }
    }

    fn add(&mut self, sort: Sort, detail: String, call: Call) {
        let findings = &mut self.outcome.findings;
        let same = |f: &&mut Finding| f.sort == sort && place_of(&f.detail) == place_of(&detail);
        if let Some(known) = findings.iter_mut().find(same) {
            known.count += 1;
        } else if findings.len() < FINDINGS_MAX {
            findings.push(Finding {
                sort,
                detail,
                call,
                count: 1,
            });
        }
    }

    /// Keeps payloads that did something new, to change them further.
    fn learn(&mut self, bytes: Option<&[u8]>, call: &Call, sign: String) {
        if self.seeds.len() >= SEEDS_MAX || self.seen.contains(&sign) {
            return;
        }
        match (bytes, call) {
            (Some(bytes), _) => self.seeds.push(bytes.to_vec()),
            (None, Call::Decode { payload, .. }) => self.seeds.push(payload.clone()),
            _ => {}
        }
        self.seen.push(sign);
    }
}

/// A detail up to its values: the same place with other values is the same finding.
fn place_of(detail: &str) -> &str {
    detail.split_once(": ").map_or(detail, |(place, _)| place)
}

/// What one execution shows.
pub(super) enum Judged {
    Fine {
        /// What an encoded command became.
        bytes: Option<Vec<u8>>,
        /// Short for what came out: a new one is worth keeping.
        sign: String,
    },
    Refused(CodecError),
    /// There is nothing left to ask.
    Gone(String),
    Found(Sort, String),
}

/// Performs one call and judges what comes of it.
pub(super) fn judge(bundle: &Bundle, call: &Call) -> Judged {
    let codec = &*bundle.codec;
    let performed = catch_unwind(AssertUnwindSafe(|| call.perform(codec)));
    let reply = match performed {
        Err(panic) => return Judged::Found(Sort::Crash, text_of(&*panic)),
        Ok(Err(CodecError::Unavailable { reason })) => return Judged::Gone(reason),
        Ok(Err(error)) if error.is_limit() => {
            return Judged::Found(Sort::Limit, error.to_string());
        }
        Ok(Err(error @ CodecError::Trap { .. })) => {
            return Judged::Found(Sort::Crash, error.to_string());
        }
        Ok(reply) => reply,
    };
    match (call, reply) {
        (Call::Encode { .. }, Err(error)) => judge_refusal(bundle, call, error),
        (_, Err(error)) => Judged::Refused(error),
        (_, Ok(Reply::Decoded { decoded, .. })) => judge_decoded(bundle, decoded),
        (_, Ok(Reply::Encoded { bytes, .. })) => judge_encoded(bundle, call, bytes),
        (_, Ok(_)) => Judged::Fine {
            bytes: None,
            sign: call.name().to_owned(),
        },
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without text").to_owned()
}

fn judge_decoded(bundle: &Bundle, mut decoded: Decoded) -> Judged {
    let mut sign = String::new();
    match &mut decoded {
        Decoded::Report(report) => {
            for service in &report.services {
                sign.push_str(&service.service_id);
                for name in service.properties.keys() {
                    sign.push('.');
                    sign.push_str(name);
                }
            }
            let broken = bundle.profile.as_ref().map(|p| check::report(p, report));
            if let Some(first) = broken.and_then(|broken| broken.into_iter().next()) {
                let detail = format!("{}: {}", first.path, first.message);
                return Judged::Found(Sort::Model, detail);
            }
        }
        Decoded::Response(response) => {
            sign = format!("response {:?}", response.response_name);
        }
        Decoded::Nothing => sign.push_str("nothing"),
    }
    Judged::Fine { bytes: None, sign }
}

/// An error is right when the parameters don't fit the model, or there is none.
fn judge_refusal(bundle: &Bundle, call: &Call, error: CodecError) -> Judged {
    let (
        Some(profile),
        Call::Encode {
            service_id,
            command_name,
            paras,
            ..
        },
    ) = (&bundle.profile, call)
    else {
        return Judged::Refused(error);
    };
    if check::command(profile, service_id, command_name, paras).is_empty() {
        return Judged::Found(Sort::Refused, format!("{command_name}: {error}"));
    }
    Judged::Refused(error)
}

fn judge_encoded(bundle: &Bundle, call: &Call, bytes: Vec<u8>) -> Judged {
    let Call::Encode {
        command_name,
        paras,
        mid,
        ..
    } = call
    else {
        return Judged::Refused(CodecError::Unavailable {
            reason: "the codec answered another question".to_owned(),
        });
    };
    let read = catch_unwind(AssertUnwindSafe(|| bundle.codec.decode_downlink(&bytes)));
    let told = |what: String| Judged::Found(Sort::RoundTrip, format!("{command_name}: {what}"));
    match read {
        Err(panic) => return Judged::Found(Sort::Crash, text_of(&*panic)),
        Ok(Some(Err(error))) if error.is_limit() => {
            return Judged::Found(Sort::Limit, error.to_string());
        }
        Ok(Some(Err(error @ CodecError::Trap { .. }))) => {
            return Judged::Found(Sort::Crash, error.to_string());
        }
        Ok(Some(Err(error))) => return told(format!("can't be read back: {error}")),
        Ok(Some(Ok(Downlink::Command {
            command_name: name,
            paras: back,
            mid: number,
        }))) => {
            if name != *command_name {
                return told(format!("is read back as {name}"));
            }
            if number.is_some_and(|number| number != *mid) {
                return told(format!("mid {mid} is read back as {number:?}"));
            }
            if let Some(what) = difference(paras, &back) {
                return told(what);
            }
        }
        Ok(Some(Ok(Downlink::Data { paras: back }))) => {
            if let Some(what) = difference(paras, &back) {
                return told(what);
            }
        }
        Ok(None | Some(Ok(Downlink::Set { .. } | Downlink::Answer { .. }))) => {}
    }
    Judged::Fine {
        bytes: Some(bytes),
        sign: format!("command {command_name}"),
    }
}

/// The first parameter that is not read back as it was.
fn difference(paras: &Map<String, Value>, back: &Map<String, Value>) -> Option<String> {
    let differs = |(name, value): &(&String, &Value)| {
        !back.get(*name).is_some_and(|other| same(value, other))
    };
    let (name, value) = paras.iter().find(differs)?;
    let other = back.get(name).unwrap_or(&Value::Null);
    Some(format!("{name} is {value}, and {other} when read back"))
}

/// Numbers are compared by what they say, as in fixtures.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.is_number() && b.is_number() && a.as_f64() == b.as_f64()
}

/// The payload with the checksum that the codec computed, in place of the last one like it.
fn repaired(call: &Call, error: &CodecError) -> Option<Call> {
    let (CodecError::Checksum { got, want }, Call::Decode { payload, .. }) = (error, call) else {
        return None;
    };
    let bytes = |text: &str| unhex(text.trim_start_matches("0x"));
    let (got, want) = (bytes(got)?, bytes(want)?);
    let reversed = |bytes: &[u8]| -> Vec<u8> { bytes.iter().rev().copied().collect() };
    let pairs = [
        (got.clone(), want.clone()),
        (reversed(&got), reversed(&want)),
    ];
    for (got, want) in pairs {
        let last = payload.windows(got.len().max(1)).rposition(|w| w == got);
        if let Some(at) = last {
            let mut fixed = payload.clone();
            fixed.splice(at..at + got.len(), want);
            let mut call = call.clone();
            if let Call::Decode { payload, .. } = &mut call {
                *payload = fixed;
            }
            return Some(call);
        }
    }
    None
}
