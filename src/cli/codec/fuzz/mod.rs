//! `strait codec fuzz`: random and broken input for a codec, made of its fixtures and its product
//! model, the same again with the same seed.
//!
//! Findings that must not go into production end the command with an error: a crash, no answer, a
//! limit of production. The others are told: reports that don't fit the model, commands that fit it
//! and are refused, or that read back as something else.

mod judge;
mod minimise;
mod mutation;
mod search;
mod values;

use std::io::{self, Write};
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::time::Clock;
use crate::cli::codec::bundle::Bundle;
use crate::cli::codec::inspect::load_one;
use crate::cli::codec::workers::Workers;
use crate::cli::codec::{LIMIT, MISMATCH, PASS, complain};
use crate::cli::progress::Progress;
use crate::product::codec::call::Call;
use crate::product::codec::fixture;
use crate::product::codec::text::hex;
use judge::{Judged, judge};
use search::{Finding, Outcome, Search, Sort, Watched};

/// An execution that takes longer does not come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the watching thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// For making a finding smaller.
const MINIMISE_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Codec folder
    path: PathBuf,
    /// Seconds to go on
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// The same seed makes the same input
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every finding is a failure, not only crashes, hangs and limits
    #[arg(long)]
    strict: bool,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

/// A run that has ended.
struct Run {
    executions: u64,
    seconds: f64,
    outcome: Outcome,
    /// The worst finding as a fixture, made small.
    fixture: Option<Value>,
}

pub(super) fn run(out: &mut impl Write, args: &Args, workers: &Workers) -> io::Result<u8> {
    let bundle = match load_one(&args.path, workers) {
        Ok(bundle) => Arc::new(bundle),
        Err(code) => return Ok(code),
    };
    let run = search_for(&bundle, args)?;
    if args.json {
        write_json(out, &bundle.name, args.seed, &run)?;
    } else {
        write_text(out, &bundle.name, args, &run)?;
    }
    if let Some(reason) = &run.outcome.stopped {
        complain(&format!("it ended early: {reason}"));
        return Ok(MISMATCH);
    }
    let found = |wanted: &[Sort]| {
        let mut findings = run.outcome.findings.iter();
        findings.any(|f| wanted.contains(&f.sort))
    };
    if found(&[Sort::Hang, Sort::Limit]) {
        return Ok(LIMIT);
    }
    let failed = found(&[Sort::Crash]) || args.strict && !run.outcome.findings.is_empty();
    Ok(if failed { MISMATCH } else { PASS })
}

/// Searches on a thread of its own, and watches that it goes on.
fn search_for(bundle: &Arc<Bundle>, args: &Args) -> io::Result<Run> {
    let clock = Clock::System;
    let start = clock.instant();
    let end = start + Duration::from_secs(args.seconds);
    let watched = Arc::new(Watched::default());
    let (send, receive) = mpsc::sync_channel(1);
    let told = silence();
    let worker = {
        let (bundle, watched, clock) = (Arc::clone(bundle), Arc::clone(&watched), clock.clone());
        let seed = args.seed;
        std::thread::Builder::new().spawn(move || {
            let outcome = Search::new(&bundle, &watched, seed).run(&clock, end);
            let _nobody_waits = send.send(outcome).is_err();
        })?
    };
    let ended = watch(&receive, &watched, args, &clock);
    let seconds = clock.instant().duration_since(start).as_secs_f64();
    let mut outcome = match ended {
        Ended::Done(outcome) => outcome,
        Ended::Hung(call) => Outcome {
            findings: vec![Finding {
                sort: Sort::Hang,
                detail: format!("no answer within {} s", PATIENCE.as_secs()),
                call,
                count: 1,
            }],
            ..Outcome::default()
        },
        Ended::Lost => Outcome {
            stopped: Some("the search broke off".to_owned()),
            ..Outcome::default()
        },
    };
    outcome.findings.sort_by_key(|f| f.sort);
    let fixture = outcome.findings.first().map(|f| shown(bundle, f, &clock));
    // A thread that hangs ends with the process.
    if worker.is_finished() {
        let _told_above = worker.join().is_err();
    }
    panic::set_hook(told);
    Ok(Run {
        executions: watched.executions(),
        seconds,
        outcome,
        fixture,
    })
}

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send>;

/// Panics of a codec are findings, no text between the lines. Gives the hook to put back.
fn silence() -> Hook {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    before
}

enum Ended {
    Done(Outcome),
    Hung(Call),
    Lost,
}

fn watch(receive: &Receiver<Outcome>, watched: &Watched, args: &Args, clock: &Clock) -> Ended {
    let mut progress = Progress::new(Some(args.seconds), args.json, clock);
    let start = clock.instant();
    let mut last = (watched.executions(), start);
    let ended = loop {
        match receive.recv_timeout(LOOK_EVERY) {
            Ok(outcome) => break Ended::Done(outcome),
            Err(RecvTimeoutError::Disconnected) => break Ended::Lost,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let (now, count) = (clock.instant(), watched.executions());
        if count != last.0 {
            last = (count, now);
        } else if now.duration_since(last.1) > PATIENCE
            && let Some(call) = watched.current()
        {
            break Ended::Hung(call);
        }
        let seconds = now.duration_since(start).as_secs();
        progress.show(seconds.min(args.seconds), || {
            format!("{count} executions, {} per second", count / seconds.max(1))
        });
    };
    progress.finish();
    ended
}

/// A finding as a fixture, as small as it gets within the time for that.
fn shown(bundle: &Arc<Bundle>, finding: &Finding, clock: &Clock) -> Value {
    let end = clock.instant() + MINIMISE_FOR;
    let call = if finding.sort == Sort::Hang {
        finding.call.clone()
    } else {
        minimise::minimise(finding.call.clone(), |call| {
            let same = |judged| matches!(judged, Judged::Found(sort, _) if sort == finding.sort);
            (clock.instant() < end).then(|| same(judge(bundle, call)))
        })
    };
    let mut shown = json!({ "name": format!("fuzz: {}", finding.sort.word()) });
    let Some(map) = shown.as_object_mut() else {
        return shown;
    };
    match &call {
        Call::Decode {
            payload, f_port, ..
        } => {
            map.insert("kind".to_owned(), "decode".into());
            map.insert("hex".to_owned(), hex(payload).into());
            if let Some(port) = f_port {
                map.insert("fPort".to_owned(), (*port).into());
            }
        }
        Call::Encode {
            service_id,
            command_name,
            paras,
            mid,
        } => {
            map.insert("kind".to_owned(), "encode".into());
            let command = json!({
                "service_id": service_id, "command_name": command_name,
                "paras": paras, "mid": mid,
            });
            map.insert("command".to_owned(), command);
        }
        Call::EncodeProperties {
            service_id,
            wanted,
            known,
            mid,
        } => {
            map.insert("kind".to_owned(), "set".into());
            let set = json!({
                "service_id": service_id, "properties": wanted, "known": known, "mid": mid,
            });
            map.insert("set".to_owned(), set);
        }
        Call::Answer {
            request,
            errcode,
            has_more,
        } => {
            map.insert("kind".to_owned(), "answer".into());
            map.insert("hex".to_owned(), hex(request).into());
            let answer = json!({ "errcode": errcode, "has_more": has_more });
            map.insert("answer".to_owned(), answer);
        }
        // No kind of fixture, but its bytes.
        Call::DecodeDownlink { bytes } => {
            map.insert("decode_downlink".to_owned(), hex(bytes).into());
        }
    }
    // What it does now is the best guess at what it should do, but for crashes and hangs.
    let mut expect = Value::Null;
    map.insert("expect".to_owned(), Value::Null);
    if finding.sort.is_failure() && finding.sort != Sort::Limit {
        return shown;
    }
    if let Ok(fixtures) = fixture::parse(&shown.to_string())
        && let Some(fixture) = fixtures.first()
    {
        expect = fixture::run(&*bundle.codec, bundle.profile.as_ref(), fixture).got;
    }
    // The text of an error may be worded anew; its kind is not.
    if let Some(map) = expect
        .as_object_mut()
        .filter(|map| map.contains_key("error"))
    {
        map.shift_remove("message");
    }
    if let Some(map) = shown.as_object_mut() {
        map.insert("expect".to_owned(), expect);
    }
    shown
}

fn per_second(run: &Run) -> String {
    let executions = f64::from(u32::try_from(run.executions).unwrap_or(u32::MAX));
    format!("{:.0}", executions / run.seconds.max(0.001))
}

fn write_text(out: &mut impl Write, name: &str, args: &Args, run: &Run) -> io::Result<()> {
    writeln!(
        out,
        "{name}: {} executions in {:.0} s, {} per second, seed {}; {} were refused",
        run.executions,
        run.seconds,
        per_second(run),
        args.seed,
        run.outcome.refused
    )?;
    if run.outcome.unconfirmed > 0 {
        let count = run.outcome.unconfirmed;
        writeln!(
            out,
            "  {count} took too long once and not again: the machine is busy"
        )?;
    }
    for finding in &run.outcome.findings {
        let (word, count) = (finding.sort.word(), finding.count);
        writeln!(out, "  {word:<10}  {count:>8} ×  {}", finding.detail)?;
    }
    let failures = run.outcome.findings.iter().filter(|f| f.sort.is_failure());
    let (failures, all) = (failures.count(), run.outcome.findings.len());
    match (all, failures) {
        (0, _) => writeln!(out, "nothing found")?,
        (_, 0) => writeln!(out, "{all} found, none of which harms a server")?,
        _ => writeln!(
            out,
            "{all} found, {failures} of which must not go into production"
        )?,
    }
    match &run.fixture {
        Some(fixture) => writeln!(out, "the first as a fixture:\n{fixture:#}"),
        None => Ok(()),
    }
}

fn write_json(out: &mut impl Write, name: &str, seed: u64, run: &Run) -> io::Result<()> {
    let finding = |f: &Finding| {
        json!({
            "kind": f.sort, "failure": f.sort.is_failure(),
            "detail": f.detail, "count": f.count,
        })
    };
    let findings: Vec<Value> = run.outcome.findings.iter().map(finding).collect();
    let rate: u64 = per_second(run).parse().unwrap_or(0);
    let all = json!({
        "codec": name, "seed": seed, "executions": run.executions, "per_second": rate,
        "refused": run.outcome.refused, "unconfirmed": run.outcome.unconfirmed,
        "findings": findings, "fixture": run.fixture,
    });
    writeln!(out, "{all}")
}
