//! `strait codec test`: runs fixtures, once or whenever a file changes.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::base::time::Clock;
use crate::cli::codec::bundle::{self, Bundle};
use crate::cli::codec::report::{Case, Suite};
use crate::cli::codec::workers::Workers;
use crate::cli::codec::{INVALID, LIMIT, MISMATCH, PASS, USAGE, complain, report};
use crate::product::codec::fixture;

/// How often `--watch` looks at the files.
const WATCH_PAUSE: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Codec folder, or a folder of them
    path: PathBuf,
    /// Run again whenever a file changes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["json", "junit"])]
    watch: bool,
    /// Only fixtures whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Write a JUnit report to this file too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write what comes out into the fixtures that fail
    #[arg(long)]
    update: bool,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(out: &mut impl Write, args: &Args, workers: &Workers) -> io::Result<u8> {
    loop {
        let before = snapshot(&args.path);
        let code = run_once(out, args, workers)?;
        if !args.watch {
            return Ok(code);
        }
        writeln!(out, "waiting for a change in {}", args.path.display())?;
        out.flush()?;
        // The run itself may have updated fixtures; what came after its start still counts.
        let before = if args.update {
            snapshot(&args.path)
        } else {
            before
        };
        while snapshot(&args.path) == before {
            std::thread::sleep(WATCH_PAUSE);
        }
    }
}

fn run_once(out: &mut impl Write, args: &Args, workers: &Workers) -> io::Result<u8> {
    let dirs = match bundle::find(&args.path) {
        Ok(dirs) => dirs,
        Err(error) => {
            complain(&error.to_string());
            return Ok(USAGE);
        }
    };
    let (dirs, skipped) = bundle::set_aside(dirs);
    let skipped: Vec<String> = skipped.iter().map(|dir| bundle::name_of(dir)).collect();
    let run_all = || -> Vec<Suite> {
        let filter = args.filter.as_deref();
        let run = |dir: &PathBuf| run_suite(dir, filter, workers);
        dirs.iter().map(run).collect()
    };
    let mut suites = run_all();
    if args.update {
        suites.iter().try_for_each(update)?;
        suites = run_all();
    }
    if args.json {
        report::write_json(out, &suites, &skipped)?;
    } else {
        report::write_text(out, &suites, &skipped, is_coloured())?;
    }
    if let Some(path) = &args.junit {
        fs::write(path, report::junit(&suites, &skipped))
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    }
    let invalid = suites.iter().any(|s| !s.mistakes.is_empty());
    if suites.iter().all(|s| s.cases.is_empty()) && !invalid {
        complain(match args.filter {
            Some(_) => "no fixture has a name that contains the filter",
            None => "there are no fixtures",
        });
        return Ok(MISMATCH);
    }
    Ok(code_of(&suites))
}

/// Colour for people at a terminal who have not said that they want none.
pub(super) fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The exit code of a run: the worst that happened.
pub(super) fn code_of(suites: &[Suite]) -> u8 {
    let invalid = suites.iter().any(|s| !s.mistakes.is_empty());
    let failed = suites.iter().any(|s| s.failed() > 0);
    let mut cases = suites.iter().flat_map(|s| &s.cases);
    let limit = cases.any(|case| case.verdict.over_limit);
    match (invalid, limit, failed) {
        (true, ..) => INVALID,
        (false, true, _) => LIMIT,
        (false, false, true) => MISMATCH,
        (false, false, false) => PASS,
    }
}

/// Loads one codec and runs its fixtures, those whose names contain `filter`.
pub(super) fn run_suite(dir: &Path, filter: Option<&str>, workers: &Workers) -> Suite {
    match bundle::load(dir, workers) {
        Ok(bundle) => Suite {
            cases: run_cases(&bundle, filter, workers),
            name: bundle.name,
            mistakes: Vec::new(),
        },
        Err(mistakes) => Suite {
            name: bundle::name_of(dir),
            mistakes,
            cases: Vec::new(),
        },
    }
}

fn run_cases(bundle: &Bundle, filter: Option<&str>, workers: &Workers) -> Vec<Case> {
    let clock = Clock::System;
    let mut cases = Vec::new();
    for file in &bundle.files {
        for (at, fixture) in file.fixtures.iter().enumerate() {
            if filter.is_some_and(|part| !fixture.name.contains(part)) {
                continue;
            }
            workers.take_spent();
            let start = clock.instant();
            let verdict = fixture::run(&*bundle.codec, bundle.profile.as_ref(), fixture);
            let took = clock.instant().duration_since(start);
            // What the pipe costs is not the codec's.
            let spent = workers.take_spent();
            cases.push(Case {
                file: file.path.clone(),
                at,
                name: fixture.name.clone(),
                took: spent.map_or(took, |spent| spent.time),
                heap_bytes: spent.map(|s| s.heap_bytes).filter(|bytes| *bytes > 0),
                verdict,
            });
        }
    }
    cases
}

/// Writes what came out into the fixtures that failed. What broke a limit or did not survive the
/// way back stays as it is.
fn update(suite: &Suite) -> io::Result<()> {
    let mut files: Vec<&PathBuf> = suite.cases.iter().map(|c| &c.file).collect();
    files.dedup();
    for file in files {
        let mut value: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
        let mut changed = false;
        for case in suite.cases.iter().filter(|c| c.file == *file) {
            let failures = &case.verdict.failures;
            let lost = failures.iter().any(|f| f.path.starts_with("round_trip"));
            if failures.is_empty() || lost || case.verdict.over_limit {
                continue;
            }
            let item = match &mut value {
                Value::Array(items) => items.get_mut(case.at),
                single => Some(single),
            };
            if let Some(map) = item.and_then(Value::as_object_mut) {
                map.insert("expect".to_owned(), case.verdict.got.clone());
                changed = true;
            }
        }
        if changed {
            fs::write(file, format!("{value:#}\n"))?;
        }
    }
    Ok(())
}

/// Every file below a folder, with its size and time of change.
fn snapshot(path: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(at) = open.pop() {
        let Ok(entries) = fs::read_dir(&at) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else {
                found.push((entry.path(), meta.len(), meta.modified().ok()));
            }
        }
    }
    found.sort();
    found
}
