//! Campaigns through everything that can go wrong, and what must hold of them all the same.
//!
//! A seed draws a fleet and one or two campaigns over it. A storm of bad radio, power cuts, orders,
//! deletions, clocks that are set and servers that die at a commit; then calm weather in which every task
//! comes to its end. `witness` judges each commit, `check` what can be seen between them and at the end.

mod check;
mod fleet;
mod reasons;
mod scenes;
mod storm;
mod witness;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use strait::app::App;
use strait::base::ids::TaskId;
use strait::engine::batch::Window;

use crate::each_seed_on_two_threads;
use crate::world::{BAD, GOOD, World};
use fleet::{Member, Packages, Temper, What};
use witness::{Hold, Ledger};

/// The versions that devices have, and are to have.
const OLD: &str = "1.0";
const NEW: &str = "2.0";
/// How long a server has to answer an order, unless it is dead.
const ANSWERS: Duration = Duration::from_secs(20);
/// A campaign that has not ended so long after the storm is stuck.
const STUCK: Duration = Duration::from_secs(12 * 86_400);
const DAY_MS: i64 = 86_400_000;

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// An image that says which version it is.
fn image(version: &str, len: usize) -> Vec<u8> {
    let mut image = format!("version={version}\n").into_bytes();
    image.extend((0..len).map(|at| b'a' + u8::try_from(at * 7 % 26).unwrap()));
    image
}

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct Campaign {
    id: TaskId,
    seq: u64,
    what: What,
    /// Indexes of nodes, in the order of its subtasks.
    targets: Vec<usize>,
    retry_count: u64,
    /// Subtasks that somebody had tried again.
    retried: u64,
    /// Nobody interfered with it.
    is_left_alone: bool,
    has_canary: bool,
}

/// A world with its fleet and campaigns.
pub(crate) struct Play<'a> {
    pub(crate) world: &'a mut World,
    members: Vec<Member>,
    campaigns: Vec<Campaign>,
    ledger: Arc<Mutex<Ledger>>,
    started_at: std::time::Instant,
    storm: Storm,
}

/// What happens besides the campaigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storm {
    /// Nothing: who has no fault succeeds.
    None,
    /// The server dies, and is back within a minute: who has no fault and listens succeeds with a retry or two.
    Crashes,
    Everything,
}

impl Storm {
    fn drawn(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..8) {
            0 => Self::None,
            1 | 2 => Self::Crashes,
            _ => Self::Everything,
        }
    }
}

#[test]
fn upgrades_end() {
    each_seed_on_two_threads(async |world| {
        let mut play = Play::start(world).await;
        play.storm().await;
        play.calm_down().await;
        play.finish().await;
        if play.world.rng.u8(..4) == 0 {
            play.try_again().await;
            // A campaign that was over can't be resumed; one that goes on again can.
            play.calm_down().await;
            play.finish().await;
        }
        play.check_end().await;
    });
}

impl<'a> Play<'a> {
    async fn start(world: &'a mut World) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger::new(world.clock.clone())));
        let sees = Arc::clone(&ledger);
        let witness = move |changes: &[_]| {
            let ledger = sees.lock().unwrap_or_else(PoisonError::into_inner);
            let mut ledger = ledger;
            ledger.see(changes);
        };
        world.set_witness(Arc::new(Mutex::new(witness)));
        let storm = Storm::drawn(&mut world.rng);
        let started_at = world.now();
        let mut play = Self {
            world,
            started_at,
            members: Vec::new(),
            campaigns: Vec::new(),
            ledger,
            storm,
        };
        let packages = Packages::drawn(&mut play.world.rng);
        let temper = Temper::drawn(&mut play.world.rng);
        for _ in 0..play.world.rng.usize(3..=12) {
            let member = fleet::add(play.world, &packages, temper).await;
            play.members.push(member);
        }
        for index in 0..play.members.len() {
            // Nobody reports before it is on.
            let now = play.world.now();
            play.world.nodes[index].device.register(now);
            if play.storm == Storm::Everything && play.world.rng.bool() {
                play.world.weather(index, BAD);
            }
        }
        play.run(minutes(2)).await;
        play.create_campaigns(&packages).await;
        play
    }

    /// One for each kind of upgrade that there are devices for, and perhaps another over the same.
    async fn create_campaigns(&mut self, packages: &Packages) {
        for what in [What::Firmware, What::Software] {
            let of = |(index, member): (usize, &Member)| (member.what == what).then_some(index);
            let targets: Vec<usize> = self.members.iter().enumerate().filter_map(of).collect();
            if targets.is_empty() {
                continue;
            }
            let package = self.upload(what, packages).await;
            self.create_campaign(what, &package, targets.clone()).await;
            if self.world.rng.u8(..4) == 0 {
                self.create_campaign(what, &package, targets).await;
            }
        }
    }

    async fn upload(&self, what: What, packages: &Packages) -> String {
        let mut path = format!(
            "/v1/packages?package_type={}&product_id=p&version={NEW}",
            what.package_type()
        );
        if what == What::Software {
            path.push_str(&format!("&fragment_size={}", packages.fragment_size));
        }
        if packages.for_old {
            path.push_str(&format!("&support_source_versions={OLD}"));
        }
        let body = String::from_utf8(packages.of(what).to_vec()).unwrap();
        let server = self.world.server();
        let made = server.request("PUT", &path, "application/octet-stream", body);
        made.await["package_id"].as_str().unwrap().to_owned()
    }

    async fn create_campaign(&mut self, what: What, package: &str, targets: Vec<usize>) {
        let rng = &mut self.world.rng;
        let (retry_count, interval) = (rng.u64(..=2), rng.u64(1..=30));
        let canary = (rng.u8(..4) == 0).then(|| {
            json!({"share_percent": rng.u8(10..=60), "max_failure_percent": rng.u8(..=100),
                "min_results": rng.u8(1..=3)})
        });
        let window = (rng.u8(..4) == 0).then(|| Window {
            from_min: rng.u32(..12 * 60),
            to_min: rng.u32(14 * 60..24 * 60),
            utc_offset_min: 0,
        });
        let clock = |min: u32| format!("{:02}:{:02}", min / 60, min % 60);
        let policy = json!({"canary": canary, "window": window.map(|w| json!({
            "from": clock(w.from_min), "to": clock(w.to_min), "utc_offset_min": 0}))});
        let named = targets.iter();
        let named: Vec<&str> = named
            .map(|t| self.world.nodes[*t].device_id.as_str())
            .collect();
        let body = json!({"task_name": "c", "task_type": what.task_type(), "targets": named,
        "need_confirm": true, "document": {"package_ids": [package]},
        "task_policy": match retry_count {
            0 => Value::Null,
            _ => json!({"retry_count": retry_count, "retry_interval": interval}),
        }});
        let server = self.world.server();
        let made = server.call("POST", "/v5/iot/x/batchtasks", &body).await;
        let id = made["task_id"].as_str().unwrap().to_owned();
        let path = format!("/v1/campaigns/{id}/policy");
        server.call("PUT", &path, &policy).await;
        let path = format!("/v5/iot/x/batchtasks/{id}/confirm");
        let seq = u64::from_str_radix(&id, 16).unwrap();
        let paused_at = None;
        let hold = Hold { paused_at, window };
        self.ledger().holds.insert(seq, hold);
        self.world.server().call("POST", &path, &json!({})).await;
        self.campaigns.push(Campaign {
            id: TaskId::parse(&id).unwrap(),
            seq,
            what,
            targets,
            retry_count,
            retried: 0,
            is_left_alone: true,
            has_canary: canary.is_some(),
        });
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass; a server that died comes back.
    async fn run(&mut self, span: Duration) {
        let end = self.world.now() + span;
        while self.world.now() < end {
            let left = end - self.world.now();
            self.world.run(left).await;
            self.revive().await;
        }
    }

    async fn revive(&mut self) {
        if self.world.is_dead() {
            let longest = match self.storm {
                Storm::Everything => minutes(10),
                Storm::None | Storm::Crashes => minutes(1),
            };
            let down = self.world.span(longest);
            self.world.crash(down).await;
        }
    }

    /// Asks something of the server; a dead one says nothing.
    async fn ask<T, F: Future<Output = T>>(&mut self, work: impl FnOnce(App) -> F) -> Option<T> {
        let app = self.world.server().platform.app.clone();
        match tokio::time::timeout(ANSWERS, work(app)).await {
            Ok(answer) => Some(answer),
            Err(_) => {
                assert!(self.world.is_dead(), "an order is not answered");
                self.revive().await;
                None
            }
        }
    }

    /// Good weather, and nothing holds a campaign back any more.
    async fn calm_down(&mut self) {
        for index in 0..self.members.len() {
            self.world.weather(index, GOOD);
        }
        for at in 0..self.campaigns.len() {
            self.let_go(at).await;
        }
    }

    /// Lets time pass until every campaign has ended.
    async fn finish(&mut self) {
        let end = self.world.now() + STUCK;
        let mut step = minutes(10);
        while !self.is_over().await {
            assert!(self.world.now() < end, "stuck: {}", self.describe().await);
            self.run(step).await;
            self.check_now().await;
            step = (step * 2).min(minutes(360));
        }
    }
}
