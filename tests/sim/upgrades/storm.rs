//! What happens to a fleet while its campaigns run.

use strait::app::batch::{BatchError, CampaignChange, CampaignPolicy, OrderKind};
use strait::app::device::DeviceError;
use strait::sim::upgrade::Radio;
use strait::store::StoreError;

use super::witness::Hold;
use super::{DAY_MS, Play, Storm, minutes};
use crate::world::{BAD, GOOD};

impl Play<'_> {
    /// A few happenings, minutes or hours apart.
    pub(crate) async fn storm(&mut self) {
        if self.storm == Storm::None {
            return;
        }
        let rng = &mut self.world.rng;
        let happenings = rng.usize(4..16);
        let pace = [minutes(3), minutes(15), minutes(120)][rng.usize(..3)];
        let mut jumps = if rng.u8(..4) == 0 { 2 } else { 0 };
        for _ in 0..happenings {
            let wait = self.world.span(pace);
            self.run(wait).await;
            self.check_now().await;
            if self.storm == Storm::Crashes {
                self.doom();
            } else if jumps > 0 && self.world.rng.u8(..5) == 0 {
                jumps -= 1;
                self.set_clock();
            } else {
                self.happen().await;
            }
        }
    }

    /// Somebody sets the wall clock, by a day or less.
    fn set_clock(&mut self) {
        let ms = self.world.rng.i64(-DAY_MS..=DAY_MS);
        self.world.clock.set_by(ms);
    }

    /// The server dies at one of its next commits.
    fn doom(&mut self) {
        let commits = match self.world.rng.bool() {
            true => self.world.rng.usize(..8),
            false => self.world.rng.usize(..60),
        };
        let durable = self.world.rng.bool();
        self.world.server().disk.die_at(commits, durable);
    }

    async fn happen(&mut self) {
        let (now, index) = (self.world.now(), self.world.rng.usize(..self.members.len()));
        match self.world.rng.u8(..100) {
            0..34 => self.doom(),
            34..40 => {
                let down = self.world.span(minutes(90));
                self.world.crash(down).await;
            }
            40..48 => {
                let quality = [GOOD, BAD][self.world.rng.usize(..2)];
                self.world.weather(index, quality);
            }
            48..56 => {
                let off_for = self.world.span(minutes(30));
                self.world.nodes[index].device.power_off(now, off_for);
            }
            56..62 => self.move_to_another_cell(index),
            62..70 => self.stop().await,
            70..78 => self.retry().await,
            78..84 => self.pause().await,
            84..92 => {
                let at = self.world.rng.usize(..self.campaigns.len());
                self.let_go(at).await;
            }
            _ => self.delete(index).await,
        }
    }

    fn move_to_another_cell(&mut self, index: usize) {
        let object = self.members[index].object;
        let rng = &mut self.world.rng;
        let (cell, level) = (rng.u32(1..=2), rng.u8(..=2));
        let radio = Radio::drawn(rng, cell, level, object);
        let upgrader = self.world.nodes[index].device.upgrader_mut();
        upgrader.unwrap().set_radio(radio);
    }

    /// Some targets of a campaign; none: all of it.
    fn some_targets(&mut self, at: usize) -> Vec<String> {
        let rng = &mut self.world.rng;
        if rng.bool() {
            return Vec::new();
        }
        let targets = self.campaigns[at].targets.iter();
        let chosen = targets.filter(|_| rng.u8(..3) == 0);
        let nodes = &self.world.nodes;
        chosen
            .map(|index| nodes[*index].device_id.clone())
            .collect()
    }

    async fn order(&mut self, at: usize, kind: OrderKind, targets: Vec<String>) {
        let id = self.campaigns[at].id.clone();
        self.campaigns[at].is_left_alone = false;
        let order = |app: strait::app::App| async move {
            app.batches.order(&id, None, kind, targets).await
        };
        match self.ask(order).await {
            // Dead, or it said so.
            None | Some(Ok(_) | Err(BatchError::State { .. })) => {}
            Some(Err(error)) => panic!("{kind:?}: {error}"),
        }
    }

    async fn stop(&mut self) {
        let at = self.world.rng.usize(..self.campaigns.len());
        let targets = self.some_targets(at);
        self.order(at, OrderKind::Stop, targets).await;
    }

    async fn retry(&mut self) {
        let at = self.world.rng.usize(..self.campaigns.len());
        let targets = self.some_targets(at);
        self.campaigns[at].retried += 1;
        self.order(at, OrderKind::Retry, targets).await;
    }

    /// Tries everything again by hand that failed or was stopped.
    pub(crate) async fn try_again(&mut self) {
        for at in 0..self.campaigns.len() {
            self.campaigns[at].retried += 1;
            self.order(at, OrderKind::Retry, Vec::new()).await;
        }
    }

    async fn change(&mut self, at: usize, change: CampaignChange) -> bool {
        let id = self.campaigns[at].id.clone();
        let change = |app: strait::app::App| async move {
            app.batches.change_campaign(&id, None, change).await
        };
        match self.ask(change).await {
            Some(Ok(_)) => true,
            None | Some(Err(BatchError::State { .. })) => false,
            Some(Err(error)) => panic!("{error}"),
        }
    }

    async fn pause(&mut self) {
        let at = self.world.rng.usize(..self.campaigns.len());
        self.campaigns[at].is_left_alone = false;
        if self.change(at, CampaignChange::Pause).await {
            let now = self.world.clock.now();
            let seq = self.campaigns[at].seq;
            let mut ledger = self.ledger();
            ledger.holds.entry(seq).or_default().paused_at = Some(now);
        }
    }

    /// A campaign goes on, whatever held it back.
    pub(crate) async fn let_go(&mut self, at: usize) {
        // Before it is so.
        let seq = self.campaigns[at].seq;
        self.ledger().holds.insert(seq, Hold::default());
        for change in [
            CampaignChange::Resume,
            CampaignChange::Policy(CampaignPolicy::default()),
        ] {
            // A server that died has not done it.
            for _ in 0..2 {
                if self.change(at, change).await {
                    break;
                }
            }
        }
    }

    async fn delete(&mut self, index: usize) {
        // Rather one with a slot.
        let holds = |index: &usize| {
            let server = self.world.server();
            let id = &self.world.nodes[*index].device_id;
            let state = server.device(id).map(|_| server.state(id));
            state.is_some_and(|s| s.upgrade.is_some_and(|u| u.slot().is_some()))
        };
        let index = (0..self.members.len()).find(holds).unwrap_or(index);
        let id = self.world.nodes[index].id();
        let delete = |app: strait::app::App| async move { app.devices.delete(id).await };
        match self.ask(delete).await {
            None
            | Some(
                Ok(()) | Err(DeviceError::NotFound(_) | DeviceError::Store(StoreError::Closed)),
            ) => {}
            Some(Err(error)) => panic!("{error}"),
        }
        let server = self.world.server();
        if server.device(&self.world.nodes[index].device_id).is_none() {
            self.members[index].is_deleted = true;
            // Nobody knows it any more, and it would ask for ever.
            self.world.nodes[index].is_off = true;
        }
    }
}
