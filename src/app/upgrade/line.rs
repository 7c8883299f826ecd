//! The line of those that wait for a slot, over all devices: one task keeps [`Admission`] by what the
//! shards tell, and has them admit.
//!
//! ```text
//! shard --News--> line --Order::Upgrade(Admit)--> shard --commit--> told: the slot is durable, or not
//! ```
//! It never waits for a shard while a shard may wait for it: orders run beside. What it knows it is
//! told anew at every start, by the devices' rows. Ends of attempts go on to the campaign.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashMap;
use metrics::{Gauge, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::{Began, News, UpgradeOrder, What};
use crate::app::device::LostUpgrades;
use crate::app::order::{Order, OrderError, Told};
use crate::app::shards::ShardsLink;
use crate::base::ids::DeviceId;
use crate::base::time::{Clock, Timestamp};
use crate::engine::admission::coverage::{CellId, Place};
use crate::engine::admission::{self, Admission, PoolView, Reason, Row};
use crate::engine::batch::State;
use crate::store::Store;
use crate::store::records::{DeviceRecord, StateRecord};
use crate::store::upgrades::UpgradeRecord;

/// News taken in one go.
const BATCH: usize = 256;
/// Admissions under way.
const ADMITS_MAX: usize = 256;

/// Between two tries to write a slot down.
const ADMIT_AGAIN: Duration = Duration::from_secs(1);
/// How often slots are compared with the devices' rows.
const AUDIT_EVERY: Duration = Duration::from_secs(600);

/// Who counts the ends of attempts, and says whether a campaign's devices may begin now.
pub trait Campaigns: Send + Sync {
    /// Resolves when devices may begin that could not before.
    fn admission_changed(&self) -> BoxFuture<'_, ()>;
    fn settled(&self, task_seq: u64, index: u32, state: State);
    fn may_admit(&self, task_seq: u64) -> bool;
}

/// The line, for those who watch it.
pub struct Line {
    board: Mutex<Board>,
    store: Arc<dyn Store>,
    clock: Clock,
    /// A slot became free without news.
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Board {
    admission: Admission,
    devices: HashMap<Key, Waiter>,
}

impl Board {
    /// A device waits there.
    fn stand(&mut self, key: Key, turn: Turn, listens: bool) {
        let Turn {
            place,
            ranked_at,
            attempt,
        } = turn;
        self.admission.measured(ranked_at, key, place, attempt);
        if !listens {
            self.admission.asleep(key);
        }
    }
}

/// A device, by its `seq`.
type Key = u64;

#[derive(Debug)]
struct Waiter {
    device_id: DeviceId,
    task_seq: u64,
    /// Its campaign did not let it begin.
    is_held_back: bool,
    /// How long it listens; `None`: it sleeps.
    awake_until: Option<Timestamp>,
    /// What it told since it was last asked to begin.
    told: Option<Turn>,
}

/// Where a device waits, and its rank.
#[derive(Debug, Clone, Copy)]
struct Turn {
    place: Place,
    ranked_at: Timestamp,
    attempt: u8,
}

impl Waiter {
    fn listens(&self, now: Timestamp) -> bool {
        self.awake_until.is_some_and(|until| until > now)
    }
}

impl Line {
    pub fn new(settings: admission::Settings, store: Arc<dyn Store>, clock: Clock) -> Arc<Self> {
        let board = Mutex::new(Board {
            admission: Admission::new(settings),
            devices: HashMap::new(),
        });
        let stirred = Notify::new();
        Arc::new(Self {
            board,
            store,
            clock,
            stirred,
        })
    }

    /// Takes up a device that the store knows, at start.
    pub fn adopt(&self, device: &DeviceRecord, state: &StateRecord) {
        let Some(upgrade) = &state.upgrade else {
            return;
        };
        let engine = upgrade.engine();
        let holds = engine.holds_slot();
        let (Some(place), true) = (upgrade.place, holds || engine.is_in_line()) else {
            return;
        };
        let now = self.clock.now();
        let row = Row {
            device: device.seq,
            place: place.into(),
            holds,
            measured_at: engine.ranked_at.unwrap_or(now),
            attempt: upgrade.attempt(),
        };
        let waiter = Waiter {
            device_id: device.device_id.clone(),
            task_seq: upgrade.task_seq,
            is_held_back: false,
            awake_until: None,
            told: None,
        };
        let mut board = self.board();
        board.admission.adopt(now, row);
        board.devices.insert(device.seq, waiter);
    }

    /// Why a device waits; `None`: it does not.
    pub fn waiting(&self, device_seq: u64) -> Option<Reason> {
        let board = self.board();
        board.admission.explain(self.clock.now(), device_seq)
    }

    /// Where a device waits; `None`: it does not.
    pub fn waits_at(&self, device_seq: u64) -> Option<Place> {
        self.board().admission.waits_at(device_seq)
    }

    /// Every pool that has anybody.
    pub fn pools(&self) -> Vec<PoolView> {
        self.board().admission.pools()
    }

    /// Slots taken in a pool, and who waits there, of all campaigns.
    pub fn pool(&self, place: Place) -> (u32, usize) {
        let board = self.board();
        let waiting = board.admission.waiting(place.cell, place.pool).count();
        (board.admission.taken(place), waiting)
    }

    /// Downloads of a cell that need airtime, and how many it carries; `None` while nothing runs, or
    /// when that is off.
    pub fn airtime(&self, cell: u64) -> Option<(u32, u32)> {
        let board = self.board();
        board.admission.airtime(self.clock.now(), CellId(cell))
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until the shards have ended.
    pub async fn run(
        self: Arc<Self>,
        mut news: mpsc::Receiver<News>,
        mut fetches: mpsc::Receiver<(DeviceId, UpgradeOrder)>,
        shards: ShardsLink,
        campaigns: Arc<dyn Campaigns>,
    ) {
        let mut admits: FuturesUnordered<BoxFuture<'static, (Key, bool)>> = FuturesUnordered::new();
        let mut fetched: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let mut batch = Vec::with_capacity(BATCH);
        let figures = Figures::new();
        let mut audits = tokio::time::interval_at(Instant::now() + AUDIT_EVERY, AUDIT_EVERY);
        loop {
            figures.note(self.board().admission.counts());
            while admits.len() < ADMITS_MAX
                && let Some((key, place)) = self.next(&*campaigns)
            {
                admits.push(self.admit(key, place, &shards));
            }
            tokio::select! {
                taken = news.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    for news in batch.drain(..) {
                        figures.count(&news.what);
                        self.take(news, &*campaigns);
                    }
                }
                Some((key, is_admitted)) = admits.next() => {
                    self.settle(key, is_admitted);
                }
                Some((device_id, order)) = fetches.recv(), if fetched.len() < ADMITS_MAX => {
                    let shards = shards.clone();
                    fetched.push(Box::pin(async move {
                        // A device that has gone has no upgrade.
                        drop(shards.order(&device_id, Order::Upgrade(order)).await);
                    }));
                }
                Some(()) = fetched.next() => {}
                () = campaigns.admission_changed() => self.let_on(),
                () = self.stirred.notified() => {}
                _ = audits.tick() => {
                    let this = Arc::clone(&self);
                    fetched.push(Box::pin(async move {
                        drop(tokio::task::spawn_blocking(move || this.audit()).await);
                    }));
                }
            }
        }
    }

    fn take(&self, news: News, campaigns: &dyn Campaigns) {
        let key = news.device_seq;
        match news.what {
            What::Waits {
                task_seq,
                place,
                ranked_at,
                attempt,
                awake_until,
            } => {
                let turn = Turn {
                    place: place.into(),
                    ranked_at,
                    attempt,
                };
                let waiter = Waiter {
                    device_id: news.device_id,
                    task_seq,
                    is_held_back: false,
                    awake_until,
                    told: Some(turn),
                };
                let mut board = self.board();
                board.stand(key, turn, waiter.listens(self.clock.now()));
                board.devices.insert(key, waiter);
            }
            What::Left => {
                let mut board = self.board();
                board.admission.leave(key);
                board.devices.remove(&key);
            }
            What::Moved { done, total } => {
                let now = self.clock.now();
                self.board().admission.acknowledged(now, key, done, total);
            }
            What::Ended {
                task_seq,
                index,
                state,
            } => campaigns.settled(task_seq, index, state),
        }
    }

    /// Reserves the next slot for a device that listens, whose campaign lets it begin.
    fn next(&self, campaigns: &dyn Campaigns) -> Option<(Key, Place)> {
        let now = self.clock.now();
        loop {
            let mut board = self.board();
            let key = board.admission.next(now)?;
            let waiter = board.devices.get(&key).filter(|w| w.listens(now));
            let (task_seq, place) = (waiter.map(|w| w.task_seq), board.admission.place(key));
            let (Some(task_seq), Some(place)) = (task_seq, place) else {
                // It has fallen asleep meanwhile, and keeps its rank.
                board.admission.take_back(key);
                continue;
            };
            drop(board);
            if campaigns.may_admit(task_seq) {
                return Some((key, place));
            }
            // Until its campaign lets it, or it next shows itself.
            let mut board = self.board();
            board.admission.take_back(key);
            if let Some(waiter) = board.devices.get_mut(&key) {
                waiter.is_held_back = true;
            }
        }
    }

    /// What became of a reservation: the slot is in the device's row, or it could not be, and the
    /// device waits on, asleep.
    fn settle(&self, key: Key, is_admitted: bool) {
        let now = self.clock.now();
        let mut board = self.board();
        if is_admitted {
            board.admission.confirm(key);
            return;
        }
        board.admission.take_back(key);
        // It may have shown itself anew while it was asked to begin.
        let waiter = board.devices.get(&key);
        if let Some((turn, listens)) = waiter.and_then(|w| Some((w.told?, w.listens(now)))) {
            board.stand(key, turn, listens);
        }
    }

    /// Frees slots that no row has: news of an end are lost when its commit looked failed and was not.
    fn audit(&self) {
        let held: Vec<(Key, DeviceId)> = {
            let board = self.board();
            let held = board.admission.held();
            held.filter_map(|key| Some((key, board.devices.get(&key)?.device_id.clone())))
                .collect()
        };
        for (key, device_id) in held {
            let Ok(state) = self.store.state(&device_id) else {
                continue;
            };
            let upgrade = state.and_then(|state| state.upgrade);
            if upgrade.is_some_and(|upgrade| upgrade.slot().is_some()) {
                continue;
            }
            tracing::info!(%device_id, "a slot is free that nobody gave back");
            let mut board = self.board();
            if board.admission.holds(key) {
                board.admission.leave(key);
                board.devices.remove(&key);
            }
            drop(board);
            self.stirred.notify_one();
        }
    }

    /// Those that were held back have their chance again.
    fn let_on(&self) {
        let mut board = self.board();
        let board = &mut *board;
        for (key, waiter) in &mut board.devices {
            if std::mem::take(&mut waiter.is_held_back) {
                board.admission.awake(*key);
            }
        }
    }

    fn admit(
        &self,
        key: Key,
        place: Place,
        shards: &ShardsLink,
    ) -> BoxFuture<'static, (Key, bool)> {
        let mut board = self.board();
        let waiter = board.devices.get_mut(&key);
        let target = waiter.map(|waiter| {
            waiter.told = None;
            (waiter.device_id.clone(), waiter.task_seq)
        });
        drop(board);
        let shards = shards.clone();
        Box::pin(async move {
            let Some((device_id, task_seq)) = target else {
                return (key, false);
            };
            let order = UpgradeOrder::Admit {
                task_seq,
                place: place.into(),
            };
            loop {
                let order = Order::Upgrade(order.clone());
                match shards.order(&device_id, order).await {
                    Ok(Told::Upgrade(Began::UnderWay)) => return (key, true),
                    Ok(_) | Err(OrderError::NotFound) => return (key, false),
                    // Whether the slot is in its row is not known: it is not given to another till it is.
                    Err(error) => tracing::debug!(%error, %device_id, "a slot waits for the store"),
                }
                tokio::time::sleep(ADMIT_AGAIN).await;
            }
        })
    }
}

/// What `/metrics` tells of upgrades.
struct Figures {
    waiting: Gauge,
    slots: Gauge,
}

impl Figures {
    fn new() -> Self {
        describe_gauge!(
            "strait_upgrades_waiting",
            "Devices that wait for a slot of their cell"
        );
        describe_gauge!("strait_upgrades_slots", "Slots of cells that are taken");
        describe_counter!(
            "strait_upgrades_ended_total",
            "Attempts that ended, by the status that the device has then"
        );
        // Each shows from the start: a series that begins with 1 looks like no growth.
        for state in [State::Success, State::Fail, State::Stopped, State::Removed] {
            counter!("strait_upgrades_ended_total", "status" => state.word()).increment(0);
        }
        Self {
            waiting: gauge!("strait_upgrades_waiting"),
            slots: gauge!("strait_upgrades_slots"),
        }
    }

    fn note(&self, (waiting, slots): (usize, usize)) {
        self.waiting.set(waiting as f64);
        self.slots.set(slots as f64);
    }

    fn count(&self, what: &What) {
        if let What::Ended { state, .. } = what {
            counter!("strait_upgrades_ended_total", "status" => state.word()).increment(1);
        }
    }
}

/// A device that is deleted leaves its slot, or its place in the line.
impl LostUpgrades for Line {
    fn lost(&self, device: &DeviceRecord, _: &UpgradeRecord) {
        let mut board = self.board();
        board.admission.leave(device.seq);
        board.devices.remove(&device.seq);
        drop(board);
        self.stirred.notify_one();
    }
}
