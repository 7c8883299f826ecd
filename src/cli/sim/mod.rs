//! `strait sim`: simulated devices against any server, with a tally at the end.
//!
//! What keeps a device out (refused, no answer, no session) is told when it happens first, and counted
//! at the end. Exit codes: 0 every report arrived, 1 any failed, a device was kept out or the server
//! could not be provisioned, 2 usage.

mod cells;
mod commands;
mod executed;
mod provision;
mod upgrade;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use super::progress::{Progress, note, print};
use super::samples;
use super::values::{self, Psk};
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::sim::device::{Binding, Conduct, Kind, Settings, Timing, Version};
use crate::sim::fleet::{Fleet, FleetError, Member, Plan, Tally, Troubles, Update};
use crate::sim::link::Quality;
use crate::sim::payload::Product;
use crate::sim::rest::{Rest, RestError};
use crate::sim::session::SessionPlan;
use commands::CommandArgs;
use executed::{Executed, ExecutedError};
use provision::provision;
pub(super) use provision::{new_device, provision_devices, random_secret};
use upgrade::{UpgradeArgs, UpgradeError, Upgrades};

/// How long the devices may take to close their sessions.
const FAREWELL: Duration = Duration::from_secs(3);

/// How the devices speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindArg {
    Lwm2m,
    Raw,
    RawObserved,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum VersionArg {
    #[value(name = "1.0")]
    V1_0,
    #[value(name = "1.1")]
    V1_1,
    #[value(name = "1.2")]
    V1_2,
}

/// Simulations that need no server.
#[derive(Debug, clap::Subcommand)]
enum Offline {
    /// Campaigns in one radio cell in virtual time, beside their lower bound
    Cells(Box<cells::Args>),
}

/// Arguments of `strait sim`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag")]
pub struct Args {
    #[command(subcommand)]
    offline: Option<Offline>,
    /// CoAP address of the server
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5683", value_parser = values::address)]
    server: SocketAddr,
    /// CoAPs address of the server, for --psk; without it, port 5684 of --server
    #[arg(long, value_name = "HOST:PORT", value_parser = values::address)]
    coaps: Option<SocketAddr>,
    /// Secured devices: all with this key, or each with a random one of its own (needs --provision)
    #[arg(long, value_name = "HEX", num_args = 0..=1, default_missing_value = values::EACH, value_parser = values::psk)]
    psk: Option<Psk>,
    /// Percent of the devices that are secured; the others stay plain
    #[arg(long, value_name = "PERCENT", default_value_t = 100, requires = "psk", value_parser = clap::value_parser!(u32).range(0..=100))]
    psk_share: u32,
    /// Between two repetitions of a handshake's messages
    #[arg(long, default_value = "2s", value_parser = values::some_duration)]
    handshake_interval: Duration,
    /// A handshake that takes longer has failed, and another begins
    #[arg(long, default_value = "30s", value_parser = values::some_duration)]
    handshake_timeout: Duration,
    /// Number of devices
    #[arg(long, default_value_t = 5)]
    count: u32,
    /// Sample product of the devices; without it, all five in turn
    #[arg(long, value_parser = samples::by_name)]
    product: Option<Product>,
    /// Node ids are this and the device's number
    #[arg(long, default_value = "sim")]
    prefix: String,
    #[arg(long, value_enum, default_value = "lwm2m")]
    kind: KindArg,
    /// LwM2M version to register with
    #[arg(long, value_enum, default_value = "1.0")]
    lwm2m: VersionArg,
    /// Register in queue mode
    #[arg(long)]
    queue: bool,
    /// Wrap reports as TLV instead of plain opaque
    #[arg(long)]
    tlv: bool,
    /// Lifetime of the registration
    #[arg(long, default_value = "1d", value_parser = values::some_duration)]
    lifetime: Duration,
    /// Between two reports of a device
    #[arg(long, default_value = "10s", value_parser = values::some_duration)]
    interval: Duration,
    /// Reports of each device; without it and without --duration, until Ctrl-C
    #[arg(long)]
    reports: Option<u64>,
    /// Stops after this time
    #[arg(long, value_parser = values::some_duration)]
    duration: Option<Duration>,
    /// Sends every n-th report unconfirmed; 0: none
    #[arg(long, default_value_t = 0, value_name = "N")]
    unconfirmed_every: u64,
    /// Probability that a datagram is lost, each way
    #[arg(long, default_value = "0", value_parser = values::probability)]
    loss: f64,
    /// Probability that a datagram arrives twice, each way
    #[arg(long, default_value = "0", value_parser = values::probability)]
    duplicates: f64,
    /// Longest delay of a datagram, each way
    #[arg(long, default_value = "0s", value_parser = values::duration)]
    delay: Duration,
    /// Radio off between reports
    #[arg(long)]
    sleep: bool,
    /// How long the radio listens after its last datagram, with --sleep
    #[arg(long, default_value = "2s", value_parser = values::duration)]
    awake: Duration,
    /// New port before every n-th report, as after NAT rebinding; 0: never
    #[arg(long, default_value_t = 0, value_name = "N")]
    rebind_every: u64,
    /// Renews its registration before every n-th report (lwm2m); 0: at half its lifetime only
    #[arg(long, default_value_t = 0, value_name = "N")]
    update_every: u64,
    /// Reboots before every n-th report: registers anew, recognises nothing; 0: never
    #[arg(long, default_value_t = 0, value_name = "N")]
    reboot_every: u64,
    #[command(flatten)]
    commands: CommandArgs,
    #[command(flatten)]
    upgrade: UpgradeArgs,
    /// Wait for an acknowledgement before the first repetition
    #[arg(long, default_value = "2s", value_parser = values::some_duration)]
    ack_timeout: Duration,
    /// Deregister at the end (lwm2m)
    #[arg(long)]
    deregister: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Creates products, codecs and devices there first
    #[arg(long, value_name = "http://HOST:PORT")]
    provision: Option<String>,
    /// Token for --provision
    #[arg(long, requires = "provision")]
    token: Option<String>,
    /// Prints the tally as JSON
    #[arg(long)]
    json: bool,
}

/// Why the simulation ended early.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("provisioning: {0}")]
    Rest(#[from] RestError),
    #[error("the operating system: {0}")]
    Runtime(#[from] std::io::Error),
    #[error(transparent)]
    Executed(#[from] ExecutedError),
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
}

impl SimError {
    /// Stable word for scripts; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fleet(e) => e.kind(),
            Self::Rest(e) => e.kind(),
            Self::Runtime(_) => "runtime",
            Self::Executed(e) => e.kind(),
            Self::Upgrade(e) => e.kind(),
        }
    }
}

/// Runs `strait sim`.
pub fn run(args: Args) -> ExitCode {
    if let Some(Offline::Cells(args)) = &args.offline {
        return cells::run(args);
    }
    if args.psk == Some(Psk::Each) && args.provision.is_none() {
        note(
            "strait sim: --psk without a key gives each device its own, which the server learns \
             through --provision; add that, or give the key that the server has: --psk HEX",
        );
        return ExitCode::from(2);
    }
    if args.kind != KindArg::Lwm2m && args.upgrade.needs_objects() {
        note(
            "strait sim: firmware is upgraded over LwM2M alone; leave --kind, or fota in --upgrade, out",
        );
        return ExitCode::from(2);
    }
    let outcome = runtime().and_then(|runtime| runtime.block_on(simulate(&args)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("strait sim: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, SimError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().build()?)
}

/// True when every report arrived and no device was kept out.
async fn simulate(args: &Args) -> Result<bool, SimError> {
    let clock = Clock::System;
    let mut executed = Executed::open(args.commands.executed.as_deref())?;
    let upgrades = args.upgrade.read()?;
    let member = |number| args.member(number, &upgrades);
    let members: Result<Vec<_>, _> = (0..args.count).map(member).collect();
    let members = members?;
    if let Some(base) = &args.provision {
        let rest = Rest::new(base, args.token.clone())?;
        provision(&rest, &members, args.json, &clock).await?;
    }
    let plan = args.plan(clock.clone());
    let total = plan.reports.map(|n| n * u64::from(args.count));
    let mut progress = Progress::new(total, args.json, &clock);
    let mut fleet = Fleet::start(members, &plan).await?;
    let mut watch = Watch::default();
    let lasts = args.duration.unwrap_or(Duration::MAX);
    // One wait for Ctrl-C over all updates: between two of them it would be missed.
    let interrupt = tokio::signal::ctrl_c();
    let end = tokio::time::timeout(lasts, interrupt);
    tokio::pin!(end);
    loop {
        tokio::select! {
            update = fleet.next() => {
                let Some(update) = update else { break };
                executed.take(clock.now(), &update)?;
                if let Some(text) = watch.take(&update) {
                    progress.note(&text);
                }
                let tally = &watch.tally;
                progress.show(tally.acknowledged + tally.unconfirmed, || tally.line());
            }
            _ = &mut end => break,
        }
    }
    // Sessions are closed, for what is still under way nobody waits.
    fleet.stop();
    let farewell = async {
        while let Some(update) = fleet.next().await {
            watch.take(&update);
            executed.take(clock.now(), &update)?;
        }
        Ok::<_, SimError>(())
    };
    if let Ok(ended) = tokio::time::timeout(FAREWELL, farewell).await {
        ended?;
    }
    progress.finish();
    Ok(watch.sum_up(args.json))
}

/// What is counted while the fleet runs.
#[derive(Debug, Default)]
struct Watch {
    tally: Tally,
    troubles: Troubles,
}

impl Watch {
    /// Gives a line for people when something new goes wrong.
    fn take(&mut self, update: &Update) -> Option<String> {
        self.tally.count(&update.what);
        self.troubles.take(update)
    }

    /// Prints the outcome; true when all went well.
    fn sum_up(&self, json: bool) -> bool {
        let text = if json {
            serde_json::to_string(&self.tally).unwrap_or_default()
        } else {
            self.tally.line()
        };
        print(&text);
        if let Some(troubles) = self.troubles.line() {
            note(&troubles);
        }
        self.tally.failed == 0 && self.troubles.count() == 0
    }
}

impl Args {
    /// Every hundred devices have the same number of secured ones, spread over them.
    fn secret(&self, number: u32) -> std::io::Result<Option<Secret<Vec<u8>>>> {
        let share = u64::from(self.psk_share);
        let before = u64::from(number) * share / 100;
        let is_secured = before < (u64::from(number) + 1) * share / 100;
        match self.psk.as_ref().filter(|_| is_secured) {
            None => Ok(None),
            Some(Psk::Shared(key)) => Ok(Some(key.clone())),
            Some(Psk::Each) => random_secret().map(Some),
        }
    }

    fn member(&self, number: u32, upgrades: &Upgrades<'_>) -> std::io::Result<Member> {
        let kind = match self.kind {
            KindArg::Lwm2m => Kind::Lwm2m,
            KindArg::Raw => Kind::Raw,
            KindArg::RawObserved => Kind::RawObserved,
        };
        let version = match self.lwm2m {
            VersionArg::V1_0 => Version::V1_0,
            VersionArg::V1_1 => Version::V1_1,
            VersionArg::V1_2 => Version::V1_2,
        };
        let in_turn = Product::ALL.iter().cycle().nth(number as usize % 5);
        let seed = self.seed.wrapping_mul(0x9e37_79b9) ^ u64::from(number);
        let settings = Settings {
            version,
            binding: if self.queue {
                Binding::Queue
            } else {
                Binding::Udp
            },
            lifetime_s: u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX),
            tlv: self.tlv,
            timing: Timing {
                ack_timeout: self.ack_timeout,
                ..Timing::default()
            },
            conduct: Conduct {
                awake_max: self.upgrade.awake_max,
                ..self
                    .commands
                    .conduct(seed, self.sleep.then_some(self.awake))
            },
            upgrade: upgrades.habits(seed),
            ..Settings::new(format!("{}{number}", self.prefix), kind, seed)
        };
        Ok(Member {
            settings,
            product: self
                .product
                .or_else(|| in_turn.copied())
                .unwrap_or(Product::WaterMeter),
            secret: self.secret(number)?,
            verdict: self.commands.verdict(),
        })
    }

    fn plan(&self, clock: Clock) -> Plan {
        Plan {
            server: self.server,
            secure: self.psk.as_ref().map(|_| SessionPlan {
                server: self.coaps.unwrap_or_else(|| values::coaps_of(self.server)),
                flight_interval: self.handshake_interval,
                timeout: self.handshake_timeout,
            }),
            clock,
            quality: Quality {
                loss: self.loss,
                duplicates: self.duplicates,
                delay_max: self.delay,
            },
            interval: self.interval,
            reports: self.reports,
            unconfirmed_every: self.unconfirmed_every,
            rebind_every: self.rebind_every,
            update_every: self.update_every,
            reboot_every: self.reboot_every,
            deregister: self.deregister,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::provision::SECRET_LEN;
    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn members(flags: &[&str]) -> Vec<Member> {
        let line = ["sim", "--count", "10"].iter().chain(flags);
        let args = Line::parse_from(line).args;
        let upgrades = args.upgrade.read().unwrap();
        let member = |n| args.member(n, &upgrades).unwrap();
        (0..args.count).map(member).collect()
    }

    #[test]
    fn a_share_of_the_devices_is_secured_with_keys_of_their_own_or_one() {
        let secrets = |flags: &[&str]| -> Vec<_> {
            let members = members(flags).into_iter();
            members.filter_map(|m| m.secret).collect()
        };
        assert_eq!(secrets(&[]).len(), 0);
        assert_eq!(secrets(&["--psk"]).len(), 10);
        assert_eq!(secrets(&["--psk", "--psk-share", "30"]).len(), 3);
        let shared = secrets(&["--psk", "00ff", "--psk-share", "50"]);
        assert_eq!(shared, vec![Secret::new(vec![0, 255]); 5]);
        let mut own = secrets(&["--psk"]);
        own.dedup();
        assert_eq!(own.len(), 10);
        assert!(own.iter().all(|secret| secret.expose().len() == SECRET_LEN));
    }

    #[test]
    fn the_server_learns_the_keys_in_hex() {
        let plain = members(&[]);
        assert!(new_device(&plain[0]).secret.is_none());
        let secured = members(&["--psk", "00ff"]);
        let device = new_device(&secured[3]);
        assert_eq!(device.node_id, "sim3");
        assert_eq!(device.secret.unwrap().expose(), "00ff");
    }

    #[test]
    fn secured_devices_go_to_the_secured_port_of_the_same_host() {
        let address = |flags: &[&str]| {
            let line = ["sim", "--server", "127.0.0.9:7000"].iter().chain(flags);
            let plan = Line::parse_from(line).args.plan(Clock::System);
            plan.secure.map(|secure| secure.server.to_string())
        };
        assert_eq!(address(&[]), None);
        assert_eq!(address(&["--psk"]).unwrap(), "127.0.0.9:5684");
        let other = ["--psk", "--coaps", "127.0.0.8:1"];
        assert_eq!(address(&other).unwrap(), "127.0.0.8:1");
    }
}
