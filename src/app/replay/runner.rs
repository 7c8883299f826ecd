//! One replay at work: some uplinks of a device at a time, in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::sync::watch;

use super::decode::{decode, is_unchanged, judge, result_of, tally};
use super::repair::Known;
use super::taken::Taken;
use super::{MODEL, Replays};
use crate::app::order::{Beside, Late, Order, OrderError, Replay};
use crate::app::product::ProductRuntime;
use crate::app::tasks::Stop;
use crate::base::ids::{DeviceId, ProductId};
use crate::base::time::Timestamp;
use crate::product::codec::CodecError;
use crate::store::replays::{
    RawQuery, RawRow, ReplayEnd, ReplayOutcome, ReplayPlace, ReplayRecord, ReplaysRecord,
};
use crate::store::{Change, CommitError, Guard, HistoryQuery, HistoryRow, Page, StoreError};

/// Uplinks decoded and committed at once.
const CHUNK: usize = 16;
/// Devices read at once.
const DEVICES: usize = 200;
/// Rows of history that are looked at to repair a shadow.
const HISTORY_MAX: usize = 1000;
/// Rows of history that one uplink may have: one when it came, and one for each replay that took more.
const TAKEN_MAX: usize = 64;
/// Before what was refused is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Before a codec that can't run now is called again, and how often in a row.
const CODEC_PAUSE: Duration = Duration::from_secs(1);
const CODEC_TRIES: u32 = 10;
/// How often progress is written that no uplink is committed with.
const WRITE_EVERY_MS: u64 = 1000;

/// What a turn came to.
enum Turn {
    /// Nothing was read: at once the next.
    Went,
    /// So many uplinks were read.
    Read(u32),
    Wait(Duration),
    Over(ReplayOutcome),
    /// The product is gone, and the replay with it.
    Gone,
}

/// A device of the product.
#[derive(Clone)]
struct Target {
    seq: u64,
    id: DeviceId,
}

pub(super) struct Runner {
    replays: Arc<Replays>,
    product_id: ProductId,
    /// As they were committed last; this replay is the last of them.
    all: ReplaysRecord,
    /// As it is now.
    record: ReplayRecord,
    /// The device at work, and those after it.
    targets: VecDeque<Target>,
    /// Devices from this `seq` on were looked at, or are among the targets.
    before: Option<u64>,
    /// No more are behind the targets.
    is_last_page: bool,
    refused: u32,
    written_at: Timestamp,
}

impl Runner {
    pub(super) fn new(
        replays: Arc<Replays>,
        product_id: ProductId,
        all: ReplaysRecord,
        record: ReplayRecord,
    ) -> Self {
        let written_at = replays.parts.clock.now();
        let mut runner = Self {
            replays,
            product_id,
            all,
            record,
            targets: VecDeque::new(),
            before: None,
            is_last_page: false,
            refused: 0,
            written_at,
        };
        runner.rewind();
        runner
    }

    /// Runs to the end of the replay, or of the server.
    pub(super) async fn run(mut self, mut asked: watch::Receiver<bool>, mut stop: Stop) {
        loop {
            if *asked.borrow() {
                self.finish(ReplayOutcome::Stopped, &stop).await;
                return;
            }
            if stop.is_requested() {
                return;
            }
            let began = self.replays.parts.clock.instant();
            let pause = match self.take_turn().await {
                Turn::Went => Duration::ZERO,
                Turn::Read(count) => {
                    let rate = self.replays.parts.settings.uplinks_per_s.max(1);
                    let span = Duration::from_secs(1) * count / rate;
                    let now = self.replays.parts.clock.instant();
                    span.saturating_sub(now.saturating_duration_since(began))
                }
                Turn::Wait(pause) => pause,
                Turn::Over(how) => {
                    self.finish(how, &stop).await;
                    return;
                }
                Turn::Gone => return,
            };
            self.show();
            if pause.is_zero() {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = stop.requested() => return,
                _ = asked.wait_for(|asked| *asked) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Lets callers see how far it is.
    fn show(&self) {
        if let Some(live) = self.replays.board().get_mut(&self.product_id) {
            live.record.clone_from(&self.record);
        }
    }

    async fn take_turn(&mut self) -> Turn {
        let replays = Arc::clone(&self.replays);
        let Ok(_turn) = replays.turns.acquire().await else {
            return Turn::Gone;
        };
        match self.turn().await {
            Ok(turn) => turn,
            Err(error) => {
                tracing::warn!(product_id = %self.product_id, %error, "a replay waits for the store");
                Turn::Wait(PAUSE)
            }
        }
    }

    async fn turn(&mut self) -> Result<Turn, StoreError> {
        let Some(product) = self.product() else {
            return Ok(Turn::Gone);
        };
        let Some(codec) = &product.codec else {
            let why = "the product has no codec any more".to_owned();
            return Ok(Turn::Over(ReplayOutcome::Failed(why)));
        };
        let pool = Arc::clone(&self.replays.parts.codecs);
        if let Some(held) = codec.outside().and_then(|c| pool.quarantined(c)) {
            let why = format!("the codec is quarantined: {}", held.why);
            return Ok(Turn::Over(ReplayOutcome::Failed(why)));
        }
        let Some(target) = self.target()? else {
            return Ok(Turn::Over(ReplayOutcome::Done));
        };
        let rows = self.rows(&target)?;
        let Some(last) = rows.last().map(|row| row.key) else {
            self.record.counts.devices += 1;
            self.leave(&target);
            return self.write(&product).await;
        };
        let place = ReplayPlace {
            device_seq: target.seq,
            after: Some((last.received_at, last.serial)),
        };
        let wanted: Vec<RawRow> = rows.into_iter().filter(|row| self.is_wanted(row)).collect();
        if wanted.is_empty() {
            self.record.place = Some(place);
            return self.write(&product).await;
        }
        let decoded = decode(pool.as_ref(), codec, &wanted).await;
        let refused = decoded.iter().find_map(|result| match result {
            Err(CodecError::Unavailable { reason }) => Some(reason),
            _ => None,
        });
        if let Some(reason) = refused {
            self.refused += 1;
            return Ok(match self.refused < CODEC_TRIES {
                true => Turn::Wait(CODEC_PAUSE),
                false => Turn::Over(ReplayOutcome::Failed(reason.clone())),
            });
        }
        self.refused = 0;
        let (state_version, mut known) = self.known(&target, &wanted)?;
        let profile = &product.record.profile;
        let mut late = Vec::with_capacity(wanted.len());
        for (row, decoded) in wanted.iter().zip(decoded) {
            let taken = self.taken(&target, row)?;
            late.push(judge(profile, row, decoded, taken, &mut known));
        }
        let mut next = self.record.clone();
        next.place = Some(place);
        for one in &late {
            tally(&mut next, &target.id, one);
        }
        let count = u32::try_from(late.len()).unwrap_or(u32::MAX);
        let rows = wanted.iter().zip(late);
        let changed = rows.filter(|(row, late)| !is_unchanged(row, late));
        let uplinks: Vec<Late> = changed.map(|(_, late)| late).collect();
        if uplinks.is_empty() || next.wanted.dry_run {
            self.record = next;
            let turn = self.write(&product).await?;
            return Ok(match turn {
                Turn::Went => Turn::Read(count),
                other => other,
            });
        }
        let replay = Replay {
            device_seq: target.seq,
            state_version,
            uplinks,
            beside: Beside::default(),
        };
        self.order(&target, replay, next, count).await
    }

    /// The product, unless another one has its id by now.
    fn product(&self) -> Option<Arc<ProductRuntime>> {
        let found = self.replays.parts.products.runtime(&self.product_id);
        found.filter(|product| product.record.seq == self.all.product_seq)
    }

    /// The device at work.
    fn target(&mut self) -> Result<Option<Target>, StoreError> {
        if self.targets.is_empty() && !self.is_last_page {
            let store = &self.replays.parts.store;
            let named = &self.record.wanted.device_ids;
            let mut found = Vec::new();
            if named.is_empty() {
                let page = Page {
                    product_id: Some(&self.product_id),
                    before: self.before,
                    limit: DEVICES,
                };
                found = store.devices(&page)?;
                self.is_last_page = found.len() < DEVICES;
            } else {
                for id in named {
                    found.extend(store.device(id)?);
                }
                let before = self.before;
                found.retain(|device| before.is_none_or(|before| device.seq < before));
                found.retain(|device| device.product_id == self.product_id);
                found.sort_by_key(|device| std::cmp::Reverse(device.seq));
                found.dedup_by_key(|device| device.seq);
                self.is_last_page = true;
            }
            self.before = found.last().map(|device| device.seq).or(self.before);
            let targets = found.into_iter().map(|device| Target {
                seq: device.seq,
                id: device.device_id,
            });
            self.targets.extend(targets);
        }
        Ok(self.targets.front().cloned())
    }

    /// Done with this device.
    fn leave(&mut self, target: &Target) {
        self.targets.pop_front();
        self.record.place = Some(ReplayPlace {
            device_seq: target.seq,
            after: None,
        });
    }

    /// The next raw uplinks of a device.
    fn rows(&self, target: &Target) -> Result<Vec<RawRow>, StoreError> {
        let place = self.record.place.filter(|p| p.device_seq == target.seq);
        self.replays.parts.store.raw_rows(&RawQuery {
            device_seq: target.seq,
            from: self.record.wanted.from,
            to: Some(self.record.wanted.to),
            after: place.and_then(|place| place.key()),
            limit: CHUNK,
        })
    }

    fn is_wanted(&self, row: &RawRow) -> bool {
        let kinds = &self.record.wanted.kinds;
        let kind = &row.record.kind;
        kinds.is_empty() || kinds.contains(kind)
    }

    /// What was taken of an uplink already.
    fn taken(&self, target: &Target, row: &RawRow) -> Result<Taken, StoreError> {
        let received_at = row.record.received_at;
        if row.record.kind != MODEL {
            return Ok(Taken::default());
        }
        let history = self.replays.parts.store.history(&HistoryQuery {
            device_seq: target.seq,
            from: Some(received_at),
            to: Some(received_at.plus_ms(1)),
            before: None,
            limit: TAKEN_MAX,
        })?;
        Ok(Taken::of(&history))
    }

    /// What is known of the device's values, and with which state.
    fn known(&self, target: &Target, rows: &[RawRow]) -> Result<(u64, Known), StoreError> {
        let store = &self.replays.parts.store;
        let state = store.state(&target.id)?.unwrap_or_default();
        let history: Vec<HistoryRow> = match state.shadow.is_empty() {
            true => Vec::new(),
            false => store.history(&HistoryQuery {
                device_seq: target.seq,
                from: rows.first().map(|row| row.record.received_at),
                to: None,
                before: None,
                limit: HISTORY_MAX,
            })?,
        };
        let is_whole = history.len() < HISTORY_MAX;
        let known = Known::of(&state.shadow, &history, is_whole);
        Ok((state.version, known))
    }

    /// Has the device's shard take what was read, together with how far this leaves the replay.
    async fn order(
        &mut self,
        target: &Target,
        mut replay: Replay,
        next: ReplayRecord,
        count: u32,
    ) -> Result<Turn, StoreError> {
        let results: Vec<&'static str> = replay.uplinks.iter().map(result_of).collect();
        let all = self.with(&next);
        replay.beside = Beside {
            guards: vec![Guard::ProductExists(self.product_id.clone())],
            changes: vec![Change::PutReplays(
                self.product_id.clone(),
                Box::new(all.clone()),
            )],
        };
        let order = Order::Replay(Box::new(replay));
        let parts = &self.replays.parts;
        match parts.shards.order(&target.id, order).await {
            Ok(_) => {
                for result in results {
                    counter!("strait_replayed_uplinks_total", "result" => result).increment(1);
                }
                (self.record, self.all) = (next, all);
                self.written_at = parts.clock.now();
                Ok(Turn::Read(count))
            }
            // It was deleted. With the product, the next turn finds that.
            Err(OrderError::NotFound) => {
                self.leave(target);
                Ok(Turn::Went)
            }
            Err(error) => {
                tracing::debug!(device_id = %target.id, %error, "late uplinks are tried again");
                // It may be there all the same.
                self.reload()?;
                Ok(Turn::Wait(PAUSE))
            }
        }
    }

    /// Goes on from what is committed.
    fn reload(&mut self) -> Result<(), StoreError> {
        let Some(product) = self.product() else {
            return Ok(());
        };
        let all = self.replays.stored(&product)?;
        let own = all.newest.last().filter(|r| r.number == self.record.number);
        if let Some(own) = own {
            self.record = own.clone();
            self.all = all;
            self.rewind();
        }
        Ok(())
    }

    /// The devices are found again from the record's place on.
    fn rewind(&mut self) {
        self.targets.clear();
        self.is_last_page = false;
        self.before = self.record.place.map(|place| match place.after {
            Some(_) => place.device_seq.saturating_add(1),
            None => place.device_seq,
        });
    }

    /// Writes progress from time to time.
    async fn write(&mut self, product: &ProductRuntime) -> Result<Turn, StoreError> {
        let now = self.replays.parts.clock.now();
        if now.since_ms(self.written_at) < WRITE_EVERY_MS {
            return Ok(Turn::Went);
        }
        let all = self.with(&self.record);
        match self.replays.put(&product.record.product_id, &all).await {
            Ok(()) => {
                self.all = all;
                self.written_at = now;
                Ok(Turn::Went)
            }
            Err(CommitError::Conflict(_)) => Ok(Turn::Gone),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    /// All replays, this one as given.
    fn with(&self, record: &ReplayRecord) -> ReplaysRecord {
        let mut all = self.all.clone();
        if let Some(last) = all.newest.last_mut() {
            last.clone_from(record);
        }
        all
    }

    async fn finish(mut self, how: ReplayOutcome, stop: &Stop) {
        let at = self.replays.parts.clock.now();
        self.record.ended = Some(ReplayEnd { at, how });
        let all = self.with(&self.record);
        loop {
            match self.replays.put(&self.product_id, &all).await {
                Ok(()) => break,
                // The product is gone.
                Err(CommitError::Conflict(_)) => return,
                Err(CommitError::Store(error)) => {
                    tracing::warn!(product_id = %self.product_id, %error, "a replay can't end yet");
                }
            }
            if stop.is_requested() {
                // It ends after the next start.
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.show();
        let (product_id, counts) = (&self.product_id, self.record.counts);
        tracing::info!(%product_id, ?counts, "a replay of raw uplinks is over");
    }
}
