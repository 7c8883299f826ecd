//! `strait codec bench`: how fast a codec is, over the inputs of its fixtures. Times are of single
//! calls, with the reading of the clock in them; a script is measured in this process and as it runs in
//! production, through its worker.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use crate::base::time::Clock;
use crate::cli::codec::inspect::load_one;
use crate::cli::codec::workers::Workers;
use crate::cli::codec::{LIMIT, MISMATCH, PASS, complain};
use crate::product::codec::Codec;
use crate::product::codec::call::{Call, Outside};
use crate::product::codec::here::{Loaded, Loader};

/// Nanoseconds that the histogram reaches; nothing is let run for so long.
const LONGEST_NS: u64 = 60_000_000_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Codec folder
    path: PathBuf,
    /// Seconds to measure each way of running it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Only fixtures whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

/// How fast one way of running it is.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(rename = "where")]
    place: &'static str,
    executions: u64,
    per_second: u64,
    median_ns: u64,
    p99_ns: u64,
}

pub(super) fn run(out: &mut impl Write, args: &Args, workers: &Workers) -> io::Result<u8> {
    let bundle = match load_one(&args.path, workers) {
        Ok(bundle) => bundle,
        Err(code) => return Ok(code),
    };
    let named = |name: &str| args.filter.as_ref().is_none_or(|part| name.contains(part));
    let fixtures = bundle.files.iter().flat_map(|f| &f.fixtures);
    let calls: Vec<Call> = fixtures
        .filter(|f| named(&f.name))
        .map(|f| f.call())
        .collect();
    if calls.is_empty() {
        complain("there are no fixtures to measure with");
        return Ok(MISMATCH);
    }
    // What a worker has to end would never end here.
    for call in &calls {
        if let Err(error) = call.perform(&*bundle.codec)
            && error.is_limit()
        {
            complain(&format!("{}: {error}", call.name()));
            return Ok(LIMIT);
        }
    }
    let time = Duration::from_secs(args.seconds);
    let mut rows = Vec::new();
    match &bundle.outside {
        None => rows.push(measure("in process", &*bundle.codec, &calls, time)?),
        Some(outside) => {
            if let Some(here) = in_process(outside) {
                rows.push(measure("in process", here.codec(), &calls, time)?);
            }
            rows.push(measure("worker", &*bundle.codec, &calls, time)?);
        }
    }
    if args.json {
        let name = &bundle.name;
        writeln!(
            out,
            "{}",
            json!({ "codec": name, "inputs": calls.len(), "runs": rows })
        )?;
    } else {
        write_text(out, &bundle.name, calls.len(), &rows)?;
    }
    Ok(PASS)
}

/// The codec in this process; its fixtures have shown that they end.
fn in_process(outside: &Outside) -> Option<Loaded> {
    let loader = Loader::default();
    let loaded = loader.load(outside.kind, &outside.source, &outside.options);
    loaded.ok()
}

fn measure(
    place: &'static str,
    codec: &dyn Codec,
    calls: &[Call],
    time: Duration,
) -> io::Result<Row> {
    let clock = Clock::System;
    let histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3);
    let mut histogram = histogram.map_err(io::Error::other)?;
    // Once around to warm up.
    for call in calls {
        let _same_as_below = call.perform(codec).is_ok();
    }
    let start = clock.instant();
    let mut before = start;
    'measuring: loop {
        for call in calls {
            let _may_fail_as_its_fixture_expects = call.perform(codec).is_ok();
            let now = clock.instant();
            let took = now.duration_since(before).as_nanos();
            histogram.saturating_record(u64::try_from(took).unwrap_or(LONGEST_NS));
            before = now;
            if now.duration_since(start) >= time {
                break 'measuring;
            }
        }
    }
    let executions = histogram.len();
    let took_us = before.duration_since(start).as_micros().max(1);
    let per_second = u128::from(executions) * 1_000_000 / took_us;
    Ok(Row {
        place,
        executions,
        per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        median_ns: histogram.value_at_quantile(0.5),
        p99_ns: histogram.value_at_quantile(0.99),
    })
}

fn write_text(out: &mut impl Write, name: &str, inputs: usize, rows: &[Row]) -> io::Result<()> {
    writeln!(out, "{name}: {inputs} inputs of fixtures")?;
    writeln!(
        out,
        "{:<12}{:>14}{:>12}{:>12}",
        "", "per second", "median", "p99"
    )?;
    for row in rows {
        let (median, p99) = (shown(row.median_ns), shown(row.p99_ns));
        writeln!(
            out,
            "{:<12}{:>14}{median:>12}{p99:>12}",
            row.place, row.per_second
        )?;
    }
    Ok(())
}

fn shown(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{} µs", ns / 1000),
        _ => format!("{} ms", ns / 1_000_000),
    }
}
