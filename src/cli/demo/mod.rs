//! `strait demo`: a server in a temporary directory, the five sample products, and simulated devices
//! that register, report, sleep, lose and repeat datagrams; half of them secured when the server serves
//! such. Shows each report as bytes and as JSON,
//! the JSON taken from the server's event stream.
//!
//! Exit codes: with `--once` 0 when reports of all five products arrived as JSON and each device
//! finished, else 1; without, 0 at Ctrl-C.

mod narration;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::progress::{note, print};
use super::sim::{new_device, provision_devices, random_secret};
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::sim::device::{Binding, Conduct, Kind, Settings, Timing, Version};
use crate::sim::fleet::{Fleet, FleetError, Member, Plan, Tally, Update};
use crate::sim::link::Quality;
use crate::sim::payload::{Product, Verdict};
use crate::sim::rest::{Events, Rest, RestError};
use crate::sim::session::SessionPlan;
use narration::{Decoded, Narration};
use server::{Running, StartError};

/// Devices of each product: one LwM2M, one raw, one raw and observed.
const KINDS: [(Kind, &str); 3] = [
    (Kind::Lwm2m, "lwm2m"),
    (Kind::Raw, "raw"),
    (Kind::RawObserved, "observed"),
];
/// Reports of each device with `--once`.
const REPORTS: u64 = 3;
/// With `--once` it must be over by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events that the last reports still cause.
const LINGER: Duration = Duration::from_secs(5);

/// Arguments of `strait demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends when reports of all five products arrived; exit code 1 when they do not
    #[arg(long)]
    once: bool,
    /// Devices of each product, 1 to 3: LwM2M, raw CoAP, raw CoAP observed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    devices: u8,
    /// Seed of readings and radio
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{reason}")]
    Start { kind: &'static str, reason: String },
    #[error("setting up: {0}")]
    Rest(#[from] RestError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("the operating system: {0}")]
    Runtime(#[from] std::io::Error),
}

impl DemoError {
    /// Stable word; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Start { kind, .. } => kind,
            Self::Rest(e) => e.kind(),
            Self::Fleet(e) => e.kind(),
            Self::Runtime(_) => "runtime",
        }
    }
}

impl From<StartError> for DemoError {
    fn from(error: StartError) -> Self {
        Self::Start {
            kind: error.kind(),
            reason: error.to_string(),
        }
    }
}

/// Runs `strait demo`.
pub fn run(args: Args) -> ExitCode {
    match perform(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("strait demo: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(args: &Args) -> Result<bool, DemoError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build()?;
    let mut server = Running::start()?;
    let coaps = server.coaps.map(|address| format!(" coaps://{address}"));
    print(&format!(
        "server: http://{} coap://{}{} data {}",
        server.http,
        server.coap,
        coaps.unwrap_or_default(),
        server.data().display()
    ));
    let fine = runtime.block_on(show(args, &server))?;
    let ended = server.stop();
    if !ended {
        note("strait demo: the server did not end by itself");
    }
    Ok(fine && ended)
}

/// True when everything arrived.
async fn show(args: &Args, server: &Running) -> Result<bool, DemoError> {
    let rest = Rest::new(&format!("http://{}", server.http), None)?;
    let clock = Clock::System;
    let members = members(args, server.coaps.is_some())?;
    for product in Product::ALL {
        let of_product = members.iter().filter(|m| m.product == product);
        let devices: Vec<_> = of_product.map(new_device).collect();
        let product_id = provision_devices(&rest, product, &devices, 8, true, &clock).await?;
        // The default suits a radio that answers after 15 s; here nobody wants to wait for it.
        let settings = json!({"coap": {"ack_timeout_s": 1}});
        rest.put_settings(&product_id, &settings).await?;
    }
    let secured = members.iter().filter(|m| m.secret.is_some()).count();
    print(&format!(
        "{} devices of 5 products created, {secured} of them secured",
        members.len()
    ));
    // Opened before the first device speaks, so that nothing is missed.
    let events = rest.events().await?;
    let expected = members.len() as u64;
    let fleet = Fleet::start(members, &plan(args, server, clock)).await?;
    let mut stage = Stage {
        narration: Narration::default(),
        tally: Tally::default(),
        decoded: 0,
    };
    if args.once {
        let play = stage.play(fleet, events);
        let in_time = tokio::time::timeout(PATIENCE, play).await.is_ok();
        return Ok(stage.sum_up(in_time, expected));
    }
    print(&format!(
        "look around: http://{}/v1/events; Ctrl-C ends",
        server.http
    ));
    tokio::select! {
        () = stage.play(fleet, events) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stage.sum_up(true, 0);
    Ok(true)
}

/// Every second device is secured when the server serves such.
fn members(args: &Args, secured: bool) -> std::io::Result<Vec<Member>> {
    let kinds = || KINDS.into_iter().take(usize::from(args.devices));
    let pairs = Product::ALL
        .into_iter()
        .flat_map(|p| kinds().map(move |k| (p, k)));
    (0..)
        .zip(pairs)
        .map(|(number, (product, (kind, name)))| {
            let is_secured = secured && number % 2 == 1;
            let secret = is_secured.then(random_secret).transpose()?;
            Ok(member(args.seed + number, product, kind, name, secret))
        })
        .collect()
}

fn member(
    seed: u64,
    product: Product,
    kind: Kind,
    name: &str,
    secret: Option<Secret<Vec<u8>>>,
) -> Member {
    Member {
        product,
        secret,
        verdict: Verdict::Done,
        settings: Settings {
            version: Version::V1_1,
            binding: Binding::Queue,
            tlv: product == Product::GasMeter,
            first_answer_zero: product == Product::StreetLight,
            timing: Timing {
                ack_timeout: Duration::from_secs(1),
                ..Timing::default()
            },
            conduct: Conduct {
                awake: Some(Duration::from_secs(2)),
                ..Conduct::default()
            },
            ..Settings::new(format!("{}-{name}", product.name()), kind, seed)
        },
    }
}

fn plan(args: &Args, server: &Running, clock: Clock) -> Plan {
    Plan {
        server: server.coap,
        secure: server.coaps.map(|server| SessionPlan {
            server,
            flight_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
        }),
        clock,
        quality: Quality {
            loss: 0.05,
            duplicates: 0.1,
            delay_max: Duration::from_millis(100),
        },
        interval: if args.once {
            Duration::from_millis(1500)
        } else {
            Duration::from_secs(10)
        },
        reports: args.once.then_some(REPORTS),
        unconfirmed_every: 0,
        rebind_every: 0,
        update_every: 0,
        reboot_every: 0,
        deregister: false,
    }
}

/// What has been shown so far.
struct Stage {
    narration: Narration,
    tally: Tally,
    decoded: u64,
}

impl Stage {
    /// Shows what happens until all devices are done and all their reports came back as JSON.
    async fn play(&mut self, mut fleet: Fleet, mut events: Events) {
        let mut playing = true;
        while playing || self.decoded < self.tally.acknowledged {
            tokio::select! {
                // A device's bytes are told before the server's JSON of them.
                biased;
                update = fleet.next(), if playing => match update {
                    Some(update) => self.tell(&update),
                    None => playing = false,
                },
                event = events.next() => {
                    let Some(event) = event else { return };
                    self.hear(&event.data);
                }
                () = tokio::time::sleep(LINGER), if !playing => return,
            }
        }
    }

    fn tell(&mut self, update: &Update) {
        self.tally.count(&update.what);
        if let Some(text) = self.narration.device(update) {
            print(&text);
        }
    }

    fn hear(&mut self, envelope: &str) {
        if let Some(decoded) = Decoded::read(envelope) {
            self.decoded += 1;
            print(&self.narration.decoded(&decoded));
        }
    }

    /// The last lines; true when all went well.
    fn sum_up(&self, in_time: bool, devices: u64) -> bool {
        print(&format!("{}; {} decoded", self.tally.line(), self.decoded));
        let missing = self.narration.products_missing();
        if missing.is_empty() {
            print(&format!(
                "reports of all {} products arrived as JSON",
                self.narration.products_seen()
            ));
        } else {
            print(&format!("no JSON from: {}", missing.join(", ")));
        }
        if !in_time {
            print(&format!("not over after {} s", PATIENCE.as_secs()));
        }
        in_time && missing.is_empty() && self.tally.failed == 0 && self.tally.finished >= devices
    }
}
