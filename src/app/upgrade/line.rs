//! The line of those that wait for a slot, over all devices: one task keeps [`Admission`] by what the
//! shards tell, and has them admit.
//!
//! ```text
//! shard --News--> line --Order::Upgrade(Admit)--> shard --commit--> told: the slot is durable, or not
//! ```
//! It never waits for a shard while a shard may wait for it: orders run beside. What it knows it is
//! told anew at every start, by the devices' rows. Ends of attempts go on to the campaign.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashMap;
use tokio::sync::{Notify, mpsc};

use super::{Began, News, UpgradeOrder, What};
use crate::app::device::LostUpgrades;
use crate::app::order::{Order, Told};
use crate::app::package::{Progress, ServedBlock};
use crate::app::shards::ShardsLink;
use crate::base::ids::DeviceId;
use crate::base::time::{Clock, Timestamp};
use crate::engine::admission::{Admission, Key, Place, PoolView, Rank, Table, Waiting};
use crate::engine::batch::State;
use crate::store::records::{DeviceRecord, StateRecord};
use crate::store::upgrades::UpgradeRecord;

/// News taken in one go.
const BATCH: usize = 256;
/// Admissions under way.
const ADMITS_MAX: usize = 256;

/// Who counts the ends of attempts, and says whether a campaign's devices may begin now.
pub trait Campaigns: Send + Sync {
    /// Resolves when devices may begin that could not before.
    fn admission_changed(&self) -> BoxFuture<'_, ()>;
    fn settled(&self, task_seq: u64, index: u32, state: State);
    fn may_admit(&self, task_seq: u64) -> bool;
}

/// How often the pace of a download by CoAP is told, in ms.
const PACE_MS: u64 = 30_000;
/// Downloads whose pace is known; more are told block by block.
const PACES_MAX: usize = 100_000;
/// Paces that wait to be told; further ones are dropped.
const FETCHES: usize = 4096;

/// What devices fetch by CoAP, on its way to their shards.
#[derive(Debug)]
pub struct Fetches {
    paces: Mutex<HashMap<DeviceId, Pace>>,
    told: mpsc::Sender<(DeviceId, UpgradeOrder)>,
    clock: Clock,
}

#[derive(Debug)]
struct Pace {
    since: Timestamp,
    bytes: u64,
}

impl Fetches {
    /// With what [`Line::run`] takes.
    pub fn new(clock: Clock) -> (Self, mpsc::Receiver<(DeviceId, UpgradeOrder)>) {
        let (told, fetches) = mpsc::channel(FETCHES);
        let paces = Mutex::default();
        (Self { paces, told, clock }, fetches)
    }
}

impl Progress for Fetches {
    /// The first block is told at once, what follows from time to time.
    fn block(&self, block: &ServedBlock<'_>) {
        let now = self.clock.now();
        let len = u64::from(block.len);
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, ms) = match paces.get_mut(block.device_id) {
            Some(pace) => {
                pace.bytes = pace.bytes.saturating_add(len);
                let ms = now.since_ms(pace.since);
                let ends = block.offset.saturating_add(len) >= block.total;
                if ms < PACE_MS && !ends {
                    return;
                }
                let bytes = std::mem::take(&mut pace.bytes);
                pace.since = now;
                if ends {
                    paces.remove(block.device_id);
                }
                (bytes, ms)
            }
            None => {
                if paces.len() >= PACES_MAX {
                    paces.clear();
                }
                let pace = Pace {
                    since: now,
                    bytes: 0,
                };
                paces.insert(block.device_id.clone(), pace);
                (len, 0)
            }
        };
        drop(paces);
        // When nobody keeps up, the next one tells more.
        let order = UpgradeOrder::Fetched { bytes, ms };
        drop(self.told.try_send((block.device_id.clone(), order)));
    }
}

/// The line, for those who watch it.
#[derive(Debug)]
pub struct Line {
    board: Mutex<Board>,
    clock: Clock,
    /// A slot became free without news.
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Board {
    admission: Admission,
    devices: HashMap<Key, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    device_id: DeviceId,
    task_seq: u64,
    /// Where it stood when its campaign did not let it begin.
    held_back: Option<(Place, Rank)>,
    awake_until: Option<Timestamp>,
}

impl Line {
    pub fn new(table: Table, clock: Clock) -> Arc<Self> {
        let board = Mutex::new(Board {
            admission: Admission::new(table),
            devices: HashMap::new(),
        });
        let stirred = Notify::new();
        Arc::new(Self {
            board,
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
        let (Some(place), mut board) = (upgrade.place, self.board()) else {
            return;
        };
        let waiter = Waiter {
            device_id: device.device_id.clone(),
            task_seq: upgrade.task_seq,
            held_back: None,
            awake_until: None,
        };
        if engine.holds_slot() {
            board.admission.hold(device.seq, place.into());
            board.devices.insert(device.seq, waiter);
        } else if let Some(ranked_at) = engine.ranked_at.filter(|_| engine.is_in_line()) {
            let rank = Rank {
                is_retry: upgrade.tries > 1,
                ranked_at,
                key: device.seq,
            };
            board.admission.wait(place.into(), rank, None);
            board.devices.insert(device.seq, waiter);
        }
    }

    /// Why a device waits; `None`: it does not.
    pub fn waiting(&self, device_seq: u64) -> Option<Waiting> {
        self.board().admission.waiting(device_seq, self.clock.now())
    }

    /// Every pool that has anybody.
    pub fn pools(&self) -> Vec<PoolView> {
        self.board().admission.pools()
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
        loop {
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
                        self.take(news, &*campaigns);
                    }
                }
                Some((key, is_admitted)) = admits.next() => {
                    self.board().admission.settle(key, is_admitted);
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
                is_retry,
                awake_until,
            } => {
                let rank = Rank {
                    is_retry,
                    ranked_at,
                    key,
                };
                let mut board = self.board();
                board.admission.wait(place.into(), rank, awake_until);
                let device_id = news.device_id;
                let waiter = Waiter {
                    device_id,
                    task_seq,
                    held_back: None,
                    awake_until,
                };
                board.devices.insert(key, waiter);
            }
            What::Left => {
                let mut board = self.board();
                board.admission.leave(key);
                board.devices.remove(&key);
            }
            // For who learns what a cell can carry.
            What::Moved { .. } => {}
            What::Ended {
                task_seq,
                index,
                state,
            } => campaigns.settled(task_seq, index, state),
        }
    }

    /// Reserves the next slot for a device whose campaign lets it begin.
    fn next(&self, campaigns: &dyn Campaigns) -> Option<(Key, Place)> {
        let now = self.clock.now();
        loop {
            let mut board = self.board();
            let (key, place) = board.admission.next(now)?;
            let task_seq = board.devices.get(&key).map(|waiter| waiter.task_seq);
            drop(board);
            if task_seq.is_some_and(|seq| campaigns.may_admit(seq)) {
                return Some((key, place));
            }
            // Until its campaign lets it, or it next shows itself.
            let mut board = self.board();
            let rank = board.admission.rank(key);
            board.admission.settle(key, false);
            if let (Some(waiter), Some(rank)) = (board.devices.get_mut(&key), rank) {
                waiter.held_back = Some((place, rank));
            }
        }
    }

    /// Those that were held back have their chance again.
    fn let_on(&self) {
        let mut board = self.board();
        let board = &mut *board;
        for waiter in board.devices.values_mut() {
            if let Some((place, rank)) = waiter.held_back.take() {
                board.admission.wait(place, rank, waiter.awake_until);
            }
        }
    }

    fn admit(
        &self,
        key: Key,
        place: Place,
        shards: &ShardsLink,
    ) -> BoxFuture<'static, (Key, bool)> {
        let board = self.board();
        let waiter = board.devices.get(&key);
        let target = waiter.map(|w| (w.device_id.clone(), w.task_seq));
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
            let told = shards.order(&device_id, Order::Upgrade(order)).await;
            let is_admitted = matches!(told, Ok(Told::Upgrade(Began::UnderWay)));
            (key, is_admitted)
        })
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
