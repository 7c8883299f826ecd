//! `strait load`: the load generator's command line.
//!
//! Exit codes: 0 the run was measured, 1 nothing succeeded or it could not run, 2 usage.

mod check;
mod over_http;
mod plot;
mod process;
mod sweep;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::progress::{Progress, note, print};
use super::samples;
use super::sim::{provision_devices, random_secret};
use super::values::{self, Psk};
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::sim::load::{
    self, Body, Hostile, Job, LoadError, Pace, Phase, Secure, Workload, attack,
};
use crate::sim::payload::Product;
use crate::sim::rest::{NewDevice, Rest, RestError};
use process::{Usage, Watch};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WorkloadArg {
    /// POST /rd, again and again
    Register,
    /// `POST /rd/ID`, empty
    Update,
    /// Confirmable notifications of 19/0/0, or POST /t/d with --raw
    Uplink,
    /// CoAP pings, or GET with --path
    Echo,
    /// Full DTLS handshakes, each from a fresh address (needs --psk)
    Handshake,
    /// Commands over HTTP, each until it is SUCCESSFUL (needs --provision or --api)
    Command,
    /// Fragments of a package over PCP, in a campaign begun over HTTP (needs --provision or --api)
    Fragments,
    /// Broken datagrams
    #[value(hide = true)]
    Hostile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StrategyArg {
    Immediately,
    Delay,
}

/// Arguments of `strait load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_enum, default_value = "uplink")]
    workload: WorkloadArg,
    /// Address of the server; without it, port 5683 of this machine, with --psk 5684
    #[arg(long, value_name = "HOST:PORT", value_parser = values::address)]
    server: Option<SocketAddr>,
    /// Over DTLS, with this key for all; without a value, a random one (needs --provision)
    #[arg(long, value_name = "HEX", num_args = 0..=1, default_missing_value = values::EACH, value_parser = values::psk)]
    psk: Option<Psk>,
    /// One PSK identity for all devices; without it, each uses its node id
    #[arg(long, value_name = "TEXT", requires = "psk")]
    identity: Option<String>,
    /// Devices, each with an address of its own
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    devices: u32,
    /// Requests under way at a time (closed loop)
    #[arg(long, default_value_t = 256, conflicts_with = "rate")]
    in_flight: usize,
    /// Requests started per second whatever the server does (open loop)
    #[arg(long)]
    rate: Option<f64>,
    /// One run for each of these rates, one after the other (open loop)
    #[arg(long, value_name = "R,R,…", value_delimiter = ',', value_parser = sweep::rate, conflicts_with_all = ["rate", "in_flight", "baseline"])]
    rates: Vec<f64>,
    /// Draws the latency over --rates into this file, as SVG
    #[arg(long, value_name = "FILE", requires = "rates")]
    plot: Option<PathBuf>,
    #[arg(long, default_value = "10s", value_parser = values::some_duration)]
    duration: Duration,
    /// Raw CoAP devices instead of LwM2M ones (uplink, command, fragments)
    #[arg(long)]
    raw: bool,
    /// Path to GET (echo)
    #[arg(long)]
    path: Option<String>,
    /// Sample product whose reports are sent
    #[arg(long, default_value = "water-meter", value_parser = samples::by_name)]
    product: Product,
    /// Sends these bytes as every report
    #[arg(long, value_name = "HEX", value_parser = values::hex_bytes)]
    payload: Option<values::HexBytes>,
    /// Node ids are this and the device's number in ten digits
    #[arg(long, default_value = "load")]
    prefix: String,
    /// Lifetime of the registrations
    #[arg(long, default_value = "1d", value_parser = values::some_duration)]
    lifetime: Duration,
    /// Wait for an answer before the first repetition
    #[arg(long, default_value = "2s", value_parser = values::some_duration)]
    ack_timeout: Duration,
    /// Repetitions before a request counts as timed out
    #[arg(long, default_value_t = 4)]
    retransmits: u32,
    /// Also measures a bare UDP echo of the same sizes
    #[arg(long)]
    baseline: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Process id of the server, whose CPU and memory are told; without it, who listens on the port, when that is seen
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Creates product, codec and devices there first
    #[arg(long, value_name = "http://HOST:PORT")]
    provision: Option<String>,
    /// HTTP address of a server that has product, codec and devices already (command, fragments)
    #[arg(long, value_name = "http://HOST:PORT", conflicts_with = "provision")]
    api: Option<String>,
    /// Token for --provision and --api
    #[arg(long)]
    token: Option<String>,
    /// When the server sends (command)
    #[arg(long, value_enum, default_value = "immediately")]
    strategy: StrategyArg,
    /// Size of the package (fragments)
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = values::package_size)]
    package: u32,
    /// How long commands that have not ended are waited for at the end (command), or devices that are offered nothing
    /// (fragments)
    #[arg(long, default_value = "30s", value_parser = values::duration)]
    patience: Duration,
    /// HTTP requests at a time while provisioning and posting commands
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Number of broken datagrams (hostile)
    #[arg(long, default_value_t = 1_000_000, hide = true)]
    datagrams: u64,
    /// Prints the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Why a load run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("provisioning: {0}")]
    Rest(#[from] RestError),
    #[error("the operating system: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("--pid {pid}: {source}")]
    Process { pid: u32, source: std::io::Error },
    #[error("--plot {path}: {source}")]
    Plot {
        path: String,
        source: std::io::Error,
    },
}

impl RunError {
    /// Stable word for scripts; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Load(e) => e.kind(),
            Self::Rest(e) => e.kind(),
            Self::Runtime(_) => "runtime",
            Self::Process { .. } => "process",
            Self::Plot { .. } => "plot",
        }
    }
}

/// Runs `strait load`.
pub fn run(args: Args) -> ExitCode {
    if args.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e9)) {
        note("strait load: --rate takes a number above 0 and up to 1e9 per second");
        return ExitCode::from(2);
    }
    if let Some(wrong) = args.contradiction() {
        note(&format!("strait load: {wrong}"));
        return ExitCode::from(2);
    }
    let outcome = if args.workload == WorkloadArg::Hostile {
        run_hostile(&args)
    } else {
        run_load(&args)
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("strait load: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// True when anything succeeded.
fn run_load(args: &Args) -> Result<bool, RunError> {
    let job = args.job()?;
    if let Some(base) = &args.provision {
        provision(args, &job, base)?;
    }
    if !args.rates.is_empty() {
        return sweep::run(args, &job);
    }
    let bare = if args.baseline {
        let job = Job {
            duration: args.duration.min(Duration::from_secs(5)),
            ..job.clone()
        };
        Some(measure(&job, args.json, None, load::baseline)?)
    } else {
        None
    };
    let mut watch = args.watch()?;
    let report = match args.http() {
        Some(base) if args.workload == WorkloadArg::Command => {
            return over_http::run_commands(args, &job, base, watch);
        }
        Some(base) => over_http::run_fragments(args, &job, base, watch.as_mut())?,
        None => measure(&job, args.json, watch.as_mut(), load::run)?,
    };
    let usage = watch.as_mut().and_then(Watch::finish);
    if args.json {
        let mut json = with_usage(&report, usage);
        if let (Some(fields), Some(bare)) = (json.as_object_mut(), &bare) {
            fields.insert("baseline".to_owned(), serde_json::json!(bare));
        }
        print(&json.to_string());
    } else {
        if let Some(bare) = &bare {
            let share = report.rate / bare.rate.max(1e-9) * 100.0;
            print(&format!("bare UDP echo\n{}", bare.text()));
            print(&format!("{share:.0}% of the bare echo's rate"));
        }
        print(&report.text());
        print_usage(usage);
    }
    if job.workload == Workload::Handshake && report.succeeded == 0 {
        note("no handshake succeeded: a wrong key or identity may be met with silence");
    }
    Ok(report.succeeded > 0)
}

/// A report as JSON, with what the server's process took as `server`.
fn with_usage(report: &impl Serialize, usage: Option<Usage>) -> serde_json::Value {
    let mut json = serde_json::json!(report);
    if let (Some(fields), Some(usage)) = (json.as_object_mut(), usage) {
        fields.insert("server".to_owned(), serde_json::json!(usage));
    }
    json
}

fn print_usage(usage: Option<Usage>) {
    if let Some(usage) = usage {
        print(&usage.text());
    }
}

fn measure<R>(
    job: &Job,
    quiet: bool,
    mut watch: Option<&mut Watch>,
    run: impl FnOnce(&Job, &mut dyn FnMut(load::Progress)) -> Result<R, LoadError>,
) -> Result<R, RunError> {
    let mut bar = Progress::new(None, quiet, &job.clock);
    let report = run(job, &mut |p| {
        if let Some(watch) = &mut watch {
            watch.take(&p);
        }
        bar.show(p.done, || {
            let what = match p.phase {
                Phase::Connecting => "sessions",
                Phase::Registering => "devices registered",
                Phase::Observing => "devices observed",
                Phase::Offering => "devices offered the package",
                Phase::Measuring if matches!(job.workload, Workload::Fragments { .. }) => {
                    "fragments"
                }
                Phase::Measuring if job.workload == Workload::Handshake => "handshakes",
                Phase::Measuring if matches!(job.workload, Workload::Command { .. }) => "commands",
                Phase::Measuring => "answers",
            };
            let rate = p.done as f64 / p.elapsed.as_secs_f64().max(1e-9);
            format!("{}: {} {what}, {rate:.0}/s", job.workload.name(), p.done)
        });
    });
    bar.finish();
    Ok(report?)
}

fn provision(args: &Args, job: &Job, base: &str) -> Result<(), RunError> {
    let rest = Rest::new(base, args.token.clone())?;
    let devices: Vec<_> = (0..job.devices)
        .map(|n| NewDevice {
            node_id: job.node(n),
            secret: job.secure.as_ref().map(|secure| {
                let hex = values::to_hex(secure.key.expose());
                Secret::new(hex)
            }),
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(provision_devices(
        &rest,
        args.product,
        &devices,
        args.concurrency,
        args.json,
        &job.clock,
    ))?;
    Ok(())
}

fn run_hostile(args: &Args) -> Result<bool, RunError> {
    let clock = Clock::System;
    let hostile = Hostile {
        server: args.address(),
        clock: clock.clone(),
        datagrams: args.datagrams,
        seed: args.seed,
        prefix: args.prefix.clone(),
    };
    let mut bar = Progress::new(Some(args.datagrams), args.json, &clock);
    let report = attack(&hostile, &mut |sent| {
        bar.show(sent, || format!("{sent} datagrams"));
    });
    bar.finish();
    let report = report?;
    if args.json {
        print(&serde_json::to_string(&report).unwrap_or_default());
    } else {
        print(&format!(
            "{} broken datagrams in {:.1} s, {} answers, {} pongs, {} pings repeated: still serving",
            report.datagrams, report.elapsed_s, report.answers, report.pongs, report.pings_lost
        ));
    }
    Ok(true)
}

impl Args {
    /// The server's process, when it is named or seen.
    fn watch(&self) -> Result<Option<Watch>, RunError> {
        match self.pid {
            None => Ok(Watch::listening(self.address())),
            Some(pid) => Watch::of(pid)
                .map(Some)
                .map_err(|source| RunError::Process { pid, source }),
        }
    }

    fn address(&self) -> SocketAddr {
        let coap = SocketAddr::from((Ipv4Addr::LOCALHOST, 5683));
        let usual = if self.psk.is_some() {
            values::coaps_of(coap)
        } else {
            coap
        };
        self.server.unwrap_or(usual)
    }

    fn secure(&self) -> std::io::Result<Option<Secure>> {
        let key = match &self.psk {
            None => return Ok(None),
            Some(Psk::Shared(key)) => key.clone(),
            Some(Psk::Each) => random_secret()?,
        };
        let identity = self.identity.clone();
        Ok(Some(Secure { key, identity }))
    }

    fn job(&self) -> std::io::Result<Job> {
        let workload = match self.workload {
            WorkloadArg::Register => Workload::Register,
            WorkloadArg::Update => Workload::Update,
            WorkloadArg::Uplink => Workload::Uplink { raw: self.raw },
            WorkloadArg::Handshake => Workload::Handshake,
            WorkloadArg::Command => Workload::Command { raw: self.raw },
            WorkloadArg::Fragments => Workload::Fragments { raw: self.raw },
            WorkloadArg::Echo | WorkloadArg::Hostile => Workload::Echo {
                path: self.path.clone(),
            },
        };
        let pace = match self.rate {
            Some(per_second) => Pace::Open { per_second },
            None => Pace::Closed {
                in_flight: self.in_flight.max(1),
            },
        };
        let body = match &self.payload {
            Some(bytes) => Body::Fixed(bytes.0.clone()),
            None => Body::Product(self.product),
        };
        Ok(Job {
            server: self.address(),
            clock: Clock::System,
            workload,
            pace,
            devices: self.devices,
            prefix: self.prefix.clone(),
            lifetime_s: u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX),
            duration: self.duration,
            ack_timeout: self.ack_timeout,
            max_retransmit: self.retransmits,
            body,
            seed: self.seed,
            secure: self.secure()?,
        })
    }
}
