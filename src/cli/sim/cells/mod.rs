//! `strait sim cells`: campaigns in one cell in virtual time, with the server's own admission: the caps of the
//! table alone, and with the airtime that it learns. Prints a table, as JSON on request, and draws slots over time.
//!
//! Needs no server. The same seeds give the same numbers. Exit codes: 0 fine, 1 the picture could not be
//! written, 2 usage.

mod gate;
mod picture;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::progress::{note, print};
use crate::engine::admission::{KeepAwake, Settings, airtime};
use crate::sim::cell::campaign::{self, DAY, Outcome, Scenario};
use gate::Desk;
use table::Row;

/// Devices of a simulated cell at most.
const DEVICES_MAX: u32 = 100_000;

/// Why a flag is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CellsError {
    #[error("{got:?} is no mix, takes devices of level 0/1/2, 1 to {DEVICES_MAX} in all: 450/45/5")]
    Mix { got: String },
    #[error("{got:?} is no speed, takes 0.01 to 100; 0.5 is a cell twice as slow as the model")]
    Speed { got: String },
}

/// Arguments of `strait sim cells`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag")]
pub(super) struct Args {
    /// Devices of level 0/1/2; without it, the four mixes of the documentation
    #[arg(long, value_name = "N/N/N", value_parser = mix)]
    mix: Option<[u32; 3]>,
    /// Size of the package
    #[arg(long, value_name = "SIZE", default_value = "256K", requires = "mix", value_parser = crate::cli::values::package_size)]
    package: u32,
    /// Each attempt begins the download anew
    #[arg(long, requires = "mix")]
    no_resume: bool,
    /// The devices sleep, and wake once a day
    #[arg(long, requires = "mix")]
    sleepers: bool,
    /// Keeps sleepers awake in the line, for a day at most
    #[arg(long)]
    keep_awake: bool,
    /// A sleeper comes so much too early or too late at most
    #[arg(long, default_value = "0s", value_parser = crate::cli::values::duration)]
    drift: std::time::Duration,
    /// Runs of each row, with the seeds 1 to N
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// 0.5: a cell twice as slow as the model; without it, both
    #[arg(long, value_parser = speed)]
    speed: Option<f64>,
    /// The caps of the table alone, without airtime
    #[arg(long)]
    caps_only: bool,
    /// Prints the table as JSON
    #[arg(long)]
    json: bool,
    /// Draws slots over time of the first row's first seed
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
}

/// One row of the table before it is run.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    scenario: Scenario,
    settings: Settings,
}

/// Runs `strait sim cells`.
pub(super) fn run(args: &Args) -> ExitCode {
    let cases = args.cases();
    if let (Some(path), Some(case)) = (&args.picture, cases.first()) {
        let outcome = case.outcome(1);
        let title = format!("{}, {}", case.name, case.admission());
        let svg = picture::draw(&title, &case.scenario, &outcome);
        if let Err(error) = std::fs::write(path, svg) {
            note(&format!("strait sim cells: {}: {error}", path.display()));
            return ExitCode::FAILURE;
        }
    }
    if !args.json {
        print(&table::heading());
    }
    let mut rows = Vec::new();
    for case in &cases {
        let row = Row::of(case, &case.outcomes(args.seeds));
        if !args.json {
            print(&row.line());
        }
        rows.push(row);
    }
    if args.json {
        print(&serde_json::to_string(&rows).unwrap_or_default());
    }
    ExitCode::SUCCESS
}

impl Args {
    fn cases(&self) -> Vec<Case> {
        let speeds = self
            .speed
            .map_or_else(|| vec![1.0, 0.5], |speed| vec![speed]);
        let mut cases = Vec::new();
        for speed in speeds {
            for (name, scenario) in self.scenarios(speed) {
                // Airtime first: the picture is of the first row.
                for on in [true, false] {
                    if on && self.caps_only {
                        continue;
                    }
                    let settings = self.settings(on);
                    let (name, scenario) = (name.clone(), scenario.clone());
                    cases.push(Case {
                        name,
                        scenario,
                        settings,
                    });
                }
            }
        }
        cases
    }

    fn settings(&self, on: bool) -> Settings {
        let keep_awake = KeepAwake {
            devices: u32::MAX,
            time_ms: DAY / 1000,
        };
        Settings {
            airtime: airtime::Settings {
                on,
                ..airtime::Settings::default()
            },
            keep_awake: self.keep_awake.then_some(keep_awake),
            ..Settings::default()
        }
    }

    fn scenarios(&self, speed: f64) -> Vec<(String, Scenario)> {
        let drift_us = u64::try_from(self.drift.as_micros())
            .unwrap_or(0)
            .min(DAY / 4);
        let base = Scenario {
            speed,
            drift_us,
            ..Scenario::default()
        };
        let scenario = |devices, package_bytes, resumes, sleeps| Scenario {
            devices,
            package_bytes,
            resumes,
            sleeps,
            ..base.clone()
        };
        let scenarios = match self.mix {
            Some(mix) => vec![scenario(mix, self.package, !self.no_resume, self.sleepers)],
            None => vec![
                scenario([450, 45, 5], 256 * 1024, true, false),
                scenario([500, 0, 0], 1024 * 1024, true, false),
                scenario([500, 0, 0], 1024 * 1024, false, false),
                scenario([0, 0, 50], 64 * 1024, true, true),
            ],
        };
        let named = |s: Scenario| (name(&s), s);
        scenarios.into_iter().map(named).collect()
    }
}

impl Case {
    fn admission(&self) -> &'static str {
        match (self.settings.airtime.on, self.settings.keep_awake) {
            (true, None) => "caps and airtime",
            (false, None) => "caps alone",
            (true, Some(_)) => "airtime, kept awake",
            (false, Some(_)) => "caps, kept awake",
        }
    }

    fn outcome(&self, seed: u64) -> Outcome {
        let devices = self.scenario.devices.iter().sum();
        let mut desk = Desk::new(self.settings, devices);
        campaign::run(&self.scenario, seed, &mut desk)
    }

    /// The runs with the seeds 1 to `seeds`, on all cores.
    fn outcomes(&self, seeds: u64) -> Vec<Outcome> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let part = |core: usize| {
            let own = (1..=seeds).skip(core).step_by(cores);
            // The slots over time are for pictures; of a hundred runs they would be gigabytes.
            let without_slots = |outcome: Outcome| Outcome {
                slots: Vec::new(),
                ..outcome
            };
            own.map(|seed| without_slots(self.outcome(seed)))
                .collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores)
                .map(|core| scope.spawn(move || part(core)))
                .collect();
            let joined = threads.into_iter().filter_map(|thread| thread.join().ok());
            joined.flatten().collect()
        })
    }
}

/// `450/45/5, 256 KB, resume`.
fn name(scenario: &Scenario) -> String {
    let [zero, one, two] = scenario.devices;
    let resume = if scenario.resumes {
        "resume"
    } else {
        "no resume"
    };
    let kb = f64::from(scenario.package_bytes) / 1024.0;
    let sleep = if scenario.sleeps { ", sleepers" } else { "" };
    let slow = match scenario.speed {
        1.0 => String::new(),
        speed => format!(", speed {speed}"),
    };
    format!("{zero}/{one}/{two}, {kb:.0} KB, {resume}{sleep}{slow}")
}

fn mix(text: &str) -> Result<[u32; 3], CellsError> {
    let wrong = || CellsError::Mix {
        got: text.to_owned(),
    };
    let counts: Result<Vec<u32>, _> = text.split('/').map(str::parse).collect();
    let counts = <[u32; 3]>::try_from(counts.map_err(|_| wrong())?).map_err(|_| wrong())?;
    let all = counts.iter().try_fold(0, |sum: u32, n| sum.checked_add(*n));
    let is_sound = all.is_some_and(|all| (1..=DEVICES_MAX).contains(&all));
    is_sound.then_some(counts).ok_or_else(wrong)
}

fn speed(text: &str) -> Result<f64, CellsError> {
    let value = text.parse().ok().filter(|s| (0.01..=100.0).contains(s));
    value.ok_or_else(|| CellsError::Speed {
        got: text.to_owned(),
    })
}

#[cfg(test)]
mod tests;
