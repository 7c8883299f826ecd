//! `strait demo`: a server in a temporary directory, the five sample products, and simulated devices
//! that register, report, sleep, lose and repeat datagrams; half of them secured when the server serves
//! such. Shows each report as bytes and as JSON, the JSON taken from the server's event stream; and
//! commands and a wish on their way to their ends (`story`); and a campaign that upgrades devices in three
//! cells (`campaign`).
//!
//! Exit codes: with `--once` 0 when reports of all five products arrived as JSON, each device finished,
//! the commands ended SUCCESSFUL, the shadow is as desired and every device of the campaign has its new
//! version, else 1; without, 0 at Ctrl-C.

mod campaign;
mod cast;
mod narration;
mod server;
mod story;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use super::progress::{note, print};
use super::sim::{new_device, provision_devices};
use crate::base::time::Clock;
use crate::sim::device::Event;
use crate::sim::fleet::{Fleet, FleetError, Tally, Update, What};
use crate::sim::payload::Product;
use crate::sim::rest::{Events, Rest, RestError};
use campaign::{Campaign, CampaignError};
use cast::Actors;
use narration::{Decoded, Narration};
use server::{Running, StartError};
use story::Story;

/// With `--once` it must be over by then.
const PATIENCE: Duration = Duration::from_secs(120);
/// Events that the last reports still cause.
const LINGER: Duration = Duration::from_secs(5);

/// Arguments of `strait demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends when reports of all five products arrived and what was asked of devices is done; exit code 1
    /// when that fails
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
    #[error("the campaign: {0}")]
    Campaign(#[from] CampaignError),
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
            Self::Campaign(e) => e.kind(),
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
    let members = cast::members(args, server.coaps.is_some())?;
    let actors = Actors::new(args, server.coaps.is_some())?;
    let everybody = || members.iter().cloned().chain(actors.all());
    let mut product_ids = BTreeMap::new();
    for product in Product::ALL {
        let of_product = everybody().filter(|m| m.product == product);
        let mut devices: Vec<_> = of_product.map(|m| new_device(&m)).collect();
        if product == campaign::PRODUCT {
            let upgraded = campaign::members(args, &campaign::image());
            devices.extend(upgraded.iter().map(new_device));
        }
        let product_id = provision_devices(&rest, product, &devices, 8, true, &clock).await?;
        // The default suits a radio that answers after 15 s; here nobody wants to wait for it, nor for
        // a device to fall asleep.
        let settings = json!({"coap": {"ack_timeout_s": 1}, "command": {"awake_s": 1}});
        rest.put_settings(&product_id, &settings).await?;
        product_ids.insert(product, product_id);
    }
    let secured = everybody().filter(|m| m.secret.is_some()).count();
    let expected = everybody().count() as u64;
    print(&format!(
        "{expected} devices of 5 products created, {secured} of them secured"
    ));
    // Opened before the first device speaks, so that nothing is missed.
    let events = rest.events().await?;
    let plan = cast::plan(args, server, clock.clone());
    let asked = Fleet::start(actors.all(), &cast::actors_plan(&plan)).await?;
    let fleet = Fleet::start(members, &plan).await?;
    let id_of = |product: Product| {
        let id = product_ids.get(&product).cloned();
        id.unwrap_or_else(|| product.name().to_owned())
    };
    let campaign = Campaign::new(args, rest.clone(), id_of(campaign::PRODUCT));
    let campaign = campaign.play(&plan);
    let story = Story::new(rest, &actors, id_of);
    let mut stage = Stage {
        narration: Narration::default(),
        tally: Tally::default(),
        story,
        clock,
        ends: args.once,
        set_reports: 0,
        decoded: 0,
    };
    if args.once {
        let play = async { tokio::join!(stage.play(fleet, asked, events), campaign) };
        let played = tokio::time::timeout(PATIENCE, play).await;
        let in_time = played.is_ok();
        let upgraded = played.map_or(Ok(false), |((), upgraded)| upgraded)?;
        return Ok(stage.sum_up(in_time, expected) && upgraded);
    }
    print(&format!(
        "look around: http://{}/v1/events; Ctrl-C ends",
        server.http
    ));
    tokio::select! {
        () = stage.play(fleet, asked, events) => {}
        error = lasting(campaign) => return Err(error.into()),
        _ = tokio::signal::ctrl_c() => {}
    }
    stage.sum_up(true, 0);
    Ok(true)
}

/// What has been shown so far.
struct Stage {
    narration: Narration,
    tally: Tally,
    story: Story,
    clock: Clock,
    /// Who was asked something stops when all of that is over.
    ends: bool,
    /// Reports of properties that were set.
    set_reports: u64,
    decoded: u64,
}

impl Stage {
    /// Shows what happens until all devices are done and all their reports came back as JSON. `asked`:
    /// those of the story.
    async fn play(&mut self, mut fleet: Fleet, mut asked: Fleet, mut events: Events) {
        let (mut playing, mut acting) = (true, true);
        while playing || acting || self.decoded < self.tally.acknowledged + self.set_reports {
            let due = self.story.due_at();
            tokio::select! {
                // A device's bytes are told before the server's JSON of them.
                biased;
                update = fleet.next(), if playing => match update {
                    Some(update) => self.tell(&update),
                    None => playing = false,
                },
                update = asked.next(), if acting => match update {
                    Some(update) => {
                        self.tell(&update);
                        self.story.see(&update, self.clock.instant());
                    }
                    None => acting = false,
                },
                () = until(due) => {
                    for line in self.story.ask(&self.clock).await {
                        print(&line);
                    }
                }
                event = events.next() => {
                    let Some(event) = event else { return };
                    self.hear(&event.data).await;
                }
                () = tokio::time::sleep(LINGER), if !playing && !acting => return,
            }
            if self.ends && self.story.is_over() {
                asked.stop();
            }
        }
    }

    fn tell(&mut self, update: &Update) {
        self.tally.count(&update.what);
        if let What::Device(Event::AnswerSent { payload }) = &update.what
            && !update.product.is_response(payload)
        {
            self.set_reports += 1;
        }
        if let Some(text) = self.narration.device(update) {
            print(&text);
        }
    }

    async fn hear(&mut self, envelope: &str) {
        let decoded = Decoded::read(envelope);
        // Of the campaign's devices, the campaign tells.
        if let Some(decoded) = decoded.filter(|d| !d.node_id.starts_with(campaign::NODE)) {
            self.decoded += 1;
            print(&self.narration.decoded(&decoded));
        }
        if let Some(line) = self.story.hear(envelope).await {
            print(&line);
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
        print(&self.story.summary());
        if !in_time {
            print(&format!("not over after {} s", PATIENCE.as_secs()));
        }
        let reported = missing.is_empty() && self.tally.failed == 0;
        in_time && reported && self.story.ended_well() && self.tally.finished >= devices
    }
}

/// The campaign ends once; what is shown goes on.
async fn lasting(campaign: impl Future<Output = Result<bool, CampaignError>>) -> CampaignError {
    match campaign.await {
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}

/// Waits till then; for ever without a time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
