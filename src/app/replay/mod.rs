//! Replays: uplinks that were kept raw are decoded later, by the codec that the product has now.
//!
//! ```text
//! begin -> row of the product -> runner, one per product: device by device, oldest uplink first
//!   -> decode (pool or blocking thread) -> product::check -> repair -> Order::Replay
//!   -> [device's shard] one commit: raw row goes, history, shadow, event, and how far the replay is
//! ```
//!
//! What a replay did and the row that says so are one commit, so a crash repeats and loses nothing: a
//! running replay goes on at the next start. What stays unread stays raw, with the new reason. Uplinks of the
//! kind `model` had a part of their effects when they came: that part stays as it was, and a replay adds what
//! codec and model make of the rest now, see `taken.rs`.
//! Errors: [`ReplayError`].

mod decode;
mod error;
mod repair;
mod runner;
mod step;
mod taken;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{describe_counter, describe_gauge, gauge};
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

use crate::app::codec_runner::CodecRunner;
use crate::app::product::{ProductError, ProductRuntime, Products};
use crate::app::shards::ShardsLink;
use crate::app::tasks::Tasks;
use crate::base::ids::{DeviceId, ProductId};
use crate::base::time::{Clock, Timestamp};
use crate::store::replays::{ReplayCounts, ReplayRecord, ReplayWanted, ReplaysRecord};
use crate::store::{Change, Commit, CommitError, Guard, Store, StoreError};
use runner::Runner;

pub use error::ReplayError;
pub use step::step;

/// The kind of raw uplinks that were read when they came, and of which the model did not take all.
pub const MODEL: &str = "model";

/// Replays of a product that are remembered.
const KEPT: usize = 10;

/// Replays that are at work at the same time; the others of them wait for their turn.
const TURNS: usize = 2;

/// What an operator sets under `[replay]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Uplinks of one product that are read late in a second, so that live ones go on.
    pub uplinks_per_s: u32,
}

/// Some 5 % of what one core decodes and stores.
impl Default for Settings {
    fn default() -> Self {
        Self { uplinks_per_s: 500 }
    }
}

impl Settings {
    /// Errors: the field, what it is, and what it takes.
    pub fn check(&self) -> Result<(), (&'static str, u32, &'static str)> {
        match self.uplinks_per_s {
            1..=100_000 => Ok(()),
            other => Err(("replay.uplinks_per_s", other, "1 to 100000")),
        }
    }
}

/// What [`Replays`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
    pub products: Arc<Products>,
    pub codecs: Arc<dyn CodecRunner>,
    pub shards: ShardsLink,
    pub settings: Settings,
}

/// The replays of one server.
pub struct Replays {
    parts: Parts,
    board: Mutex<HashMap<ProductId, Live>>,
    turns: Semaphore,
    /// They are begun one after the other.
    beginning: Semaphore,
}

/// A replay that goes on.
struct Live {
    /// How far it is.
    record: ReplayRecord,
    ask_to_stop: watch::Sender<bool>,
    /// Closed when its runner is gone.
    running: watch::Receiver<()>,
}

/// A replay to begin. Formats were checked by the caller.
#[derive(Debug, Clone, Default)]
pub struct NewReplay {
    /// Empty: every device of the product.
    pub device_ids: Vec<DeviceId>,
    /// By time of receipt: `from` inclusive, `to` exclusive.
    pub from: Option<Timestamp>,
    /// Now, when absent or later.
    pub to: Option<Timestamp>,
    /// Reasons for which uplinks were kept; empty: every one.
    pub kinds: Vec<String>,
    pub dry_run: bool,
}

impl Replays {
    /// Lets replays that had not ended go on. Must be called inside a tokio runtime.
    pub fn start(parts: Parts) -> Result<Arc<Self>, StoreError> {
        describe_counter!(
            "strait_replayed_uplinks_total",
            "Raw uplinks that replays decoded, by result"
        );
        describe_gauge!(
            "strait_replays_running",
            "Replays of raw uplinks that go on"
        );
        let replays = Arc::new(Self {
            parts,
            board: Mutex::default(),
            turns: Semaphore::new(TURNS),
            beginning: Semaphore::new(1),
        });
        replays.count_running();
        for product in replays.parts.products.list() {
            let all = replays.stored(&product)?;
            if all.newest.last().is_some_and(|last| last.ended.is_none()) {
                replays.spawn(&product, all);
            }
        }
        Ok(replays)
    }

    /// Begins a replay. Errors: `NoCodec`, `Quarantined`, `Running` when the product's last one has not ended,
    /// `Invalid` for devices of other products.
    pub async fn begin(
        self: &Arc<Self>,
        id: ProductId,
        new: NewReplay,
    ) -> Result<ReplayRecord, ReplayError> {
        let this = Arc::clone(self);
        let begun = self.parts.tasks.finish("replay", async move {
            let Ok(_one) = this.beginning.acquire().await else {
                return Err(ReplayError::Stopping);
            };
            this.begin_now(&id, new).await
        });
        begun.await.unwrap_or(Err(ReplayError::Stopping))
    }

    async fn begin_now(
        self: &Arc<Self>,
        id: &ProductId,
        new: NewReplay,
    ) -> Result<ReplayRecord, ReplayError> {
        let product = self.parts.products.show(id)?;
        let Some(codec) = &product.codec else {
            return Err(ProductError::NoCodec(id.clone()).into());
        };
        let quarantined = codec
            .outside()
            .and_then(|c| self.parts.codecs.quarantined(c));
        if let Some(held) = quarantined {
            return Err(ReplayError::Quarantined(held.why));
        }
        self.check_devices(id, &new.device_ids)?;
        let mut all = self.stored(&product)?;
        let last = all.newest.last();
        if let Some(running) = last.filter(|last| last.ended.is_none()) {
            return Err(ReplayError::Running(running.number));
        }
        let now = self.parts.clock.now();
        let record = ReplayRecord {
            number: last.map_or(0, |last| last.number).saturating_add(1),
            wanted: ReplayWanted {
                device_ids: new.device_ids,
                from: new.from,
                to: new.to.map_or(now, |to| to.min(now)),
                kinds: new.kinds,
                dry_run: new.dry_run,
            },
            started_at: now,
            ended: None,
            counts: ReplayCounts::default(),
            unread: Vec::new(),
            place: None,
        };
        all.newest.push(record.clone());
        let spare = all.newest.len().saturating_sub(KEPT);
        all.newest.drain(..spare);
        let written = self.put(id, &all).await;
        written.map_err(|e| error::of_commit(e, id))?;
        self.spawn(&product, all);
        Ok(record)
    }

    fn check_devices(&self, id: &ProductId, devices: &[DeviceId]) -> Result<(), ReplayError> {
        for (at, device_id) in devices.iter().enumerate() {
            let found = self.parts.store.device(device_id)?;
            if found.is_none_or(|device| device.product_id != *id) {
                return Err(ReplayError::Invalid {
                    field: format!("device_ids[{at}]"),
                    problem: format!("product {id} has no device {device_id}"),
                });
            }
        }
        Ok(())
    }

    /// The product's newest replays, the newest first.
    pub fn list(&self, id: &ProductId) -> Result<Vec<ReplayRecord>, ReplayError> {
        let product = self.parts.products.show(id)?;
        let mut all = self.stored(&product)?.newest;
        if let Some(live) = self.board().get(id)
            && let Some(same) = all.iter_mut().find(|r| r.number == live.record.number)
            && same.started_at == live.record.started_at
        {
            *same = live.record.clone();
        }
        all.reverse();
        Ok(all)
    }

    pub fn show(&self, id: &ProductId, number: u32) -> Result<ReplayRecord, ReplayError> {
        let all = self.list(id)?;
        let found = all.into_iter().find(|record| record.number == number);
        found.ok_or(ReplayError::NotFound(number))
    }

    /// Ends a replay after what it has begun, and gives what it came to. One that has ended stays as it is.
    pub async fn stop(&self, id: &ProductId, number: u32) -> Result<ReplayRecord, ReplayError> {
        if self.show(id, number)?.ended.is_none() {
            let asked = self.board().get(id).map(|live| {
                live.ask_to_stop.send_replace(true);
                live.running.clone()
            });
            if let Some(mut running) = asked {
                while running.changed().await.is_ok() {}
            }
        }
        let record = self.show(id, number)?;
        match record.ended {
            Some(_) => Ok(record),
            // Its runner left for another reason: the server ends.
            None => Err(ReplayError::Stopping),
        }
    }

    fn spawn(self: &Arc<Self>, product: &ProductRuntime, all: ReplaysRecord) {
        let id = product.record.product_id.clone();
        let Some(record) = all.newest.last().cloned() else {
            return;
        };
        let (ask_to_stop, asked) = watch::channel(false);
        let (guard, running) = watch::channel(());
        let live = Live {
            record: record.clone(),
            ask_to_stop,
            running,
        };
        self.board().insert(id.clone(), live);
        self.count_running();
        let this = Arc::clone(self);
        let runner = Runner::new(Arc::clone(self), id.clone(), all, record);
        let stop = self.parts.tasks.stop();
        self.parts.tasks.spawn("replay", async move {
            runner.run(asked, stop).await;
            this.board().remove(&id);
            this.count_running();
            drop(guard);
        });
    }

    /// What the store has of this product, not of one before it with the same id.
    fn stored(&self, product: &ProductRuntime) -> Result<ReplaysRecord, StoreError> {
        let product_seq = product.record.seq;
        let found = self.parts.store.replays(&product.record.product_id)?;
        let own = found.filter(|all| all.product_seq == product_seq);
        Ok(own.unwrap_or(ReplaysRecord {
            product_seq,
            newest: Vec::new(),
        }))
    }

    async fn put(&self, id: &ProductId, all: &ReplaysRecord) -> Result<(), CommitError> {
        let commit = Commit {
            guards: vec![Guard::ProductExists(id.clone())],
            changes: vec![Change::PutReplays(id.clone(), Box::new(all.clone()))],
        };
        self.parts.store.commit(commit).await
    }

    fn count_running(&self) {
        let running = u32::try_from(self.board().len()).unwrap_or(u32::MAX);
        gauge!("strait_replays_running").set(running);
    }

    fn board(&self) -> MutexGuard<'_, HashMap<ProductId, Live>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
