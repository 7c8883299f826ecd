//! One execution after another: what goes in, and what is wrong with what comes out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fastrand::Rng;
use serde::Serialize;

use super::judge::{Judged, judge};
use super::mutation::{mutate, pick};
use super::values::{paras, properties};
use crate::base::time::Clock;
use crate::cli::codec::bundle::Bundle;
use crate::product::codec::CodecError;
use crate::product::codec::call::Call;
use crate::product::codec::fixture::RECEIVED_AT;
use crate::product::codec::text::unhex;

/// Different findings that are told.
const FINDINGS_MAX: usize = 50;
/// How often a limit has to be hit again before it is told.
const CONFIRMATIONS: u32 = 3;
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
    /// Limits that were hit once and not again: the machine was busy.
    pub(super) unconfirmed: u64,
    /// The codec can't be run any more: why.
    pub(super) stopped: Option<String>,
}

pub(super) struct Search<'a> {
    bundle: &'a Bundle,
    watched: &'a Watched,
    rng: Rng,
    seeds: Vec<Vec<u8>>,
    ports: Vec<Option<u8>>,
    /// The codec reads what devices are sent.
    reads_back: bool,
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
            reads_back: bundle.codec.decode_downlink(&[]).is_some(),
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

    /// Mostly payloads, of which nobody knows what comes in them.
    fn next(&mut self) -> Call {
        let call = match self.rng.u8(..16) {
            0..=2 => self.next_command(),
            3..=4 => self.next_set(),
            5 => Some(self.next_answer()),
            6 if self.reads_back => Some(Call::DecodeDownlink {
                bytes: mutate(&mut self.rng, &self.seeds),
            }),
            _ => None,
        };
        call.unwrap_or_else(|| self.next_payload())
    }

    fn next_payload(&mut self) -> Call {
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

    /// Some of a service's writable properties are wanted, and of some a value is known.
    fn next_set(&mut self) -> Option<Call> {
        let services = &self.bundle.profile.as_ref()?.services;
        let service = pick(&mut self.rng, services)?;
        let writable = service.properties.iter().filter(|p| p.method.contains('W'));
        let writable: Vec<_> = writable.collect();
        let wanted = properties(&mut self.rng, &writable);
        let known = properties(&mut self.rng, &writable);
        (!wanted.is_empty()).then(|| Call::EncodeProperties {
            service_id: service.service_id.clone(),
            wanted,
            known,
            mid: self.rng.u16(1..),
        })
    }

    fn next_answer(&mut self) -> Call {
        Call::Answer {
            request: mutate(&mut self.rng, &self.seeds),
            errcode: self.rng.u8(..2),
            has_more: self.rng.bool(),
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
                Judged::Found(Sort::Limit, detail) if !self.is_known(Sort::Limit, &detail) => {
                    match confirmed(self.bundle, &call) {
                        true => self.add(Sort::Limit, detail, call),
                        false => self.outcome.unconfirmed += 1,
                    }
                }
                Judged::Found(sort, detail) => self.add(sort, detail, call),
            }
        }
    }

    fn is_known(&self, sort: Sort, detail: &str) -> bool {
        let mut findings = self.outcome.findings.iter();
        findings.any(|f| f.sort == sort && place_of(&f.detail) == place_of(detail))
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

/// Whether a limit is hit each time: a busy machine makes quick calls slow, now and then.
fn confirmed(bundle: &Bundle, call: &Call) -> bool {
    let is_limit = |judged| matches!(judged, Judged::Found(Sort::Limit, _));
    (0..CONFIRMATIONS).all(|_| is_limit(judge(bundle, call)))
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
