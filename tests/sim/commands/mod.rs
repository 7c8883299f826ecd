//! Commands through everything that can go wrong, and what must hold of them all the same.
//!
//! A storm of submissions, reports, bad radio, moves, reboots, failing disks and dying servers, then calm
//! weather in which all comes to its end. `check` says what holds at every step, and at the end.

mod check;
mod product;
mod scenes;

use std::time::Duration;

use serde_json::{Map, json};
use strait::app::command::NewCommand;
use strait::app::order::OrderError;
use strait::base::ids::CommandId;
use strait::sim::device::{Answer, Binding, Conduct, Kind, Settings};
use strait::store::commands::Strategy;

use crate::each_seed_on_two_threads;
use crate::world::{BAD, GOOD, NEAR, World};
use product::{WITH_MID, WITHOUT_MID};

/// Two of each kind of device, with and without a mid, sleeping and not; those from `SECURED` on are secured.
const DEVICES: usize = 8;
const SECURED: usize = 6;
const HAPPENINGS: usize = 110;
/// No receipt and no answer is later than this.
const LATE: Duration = Duration::from_secs(200);
/// How long the store may take to look again at what failed, and timers to be rounded.
const SLACK: Duration = Duration::from_secs(45);

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    index: usize,
    number: u32,
    command: &'static str,
    strategy: Strategy,
    expire_s: u32,
    name: Option<String>,
    /// As the submitter was told.
    id: Option<CommandId>,
}

/// A world with the ledger of its submitters.
pub(crate) struct Play<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) asked: Vec<Asked>,
    /// Until then deadlines may be missed: the store failed or the server was gone.
    excused_until: std::time::Instant,
    /// Those that had no reboot execute a command once at most.
    rebooted: [bool; DEVICES],
    ports: Vec<&'static str>,
}

#[test]
fn commands_end_once_in_order_and_as_the_device_said() {
    each_seed_on_two_threads(async |world| {
        let mut play = Play::start(world).await;
        for _ in 0..HAPPENINGS {
            let wait = play.world.span(Duration::from_secs(40));
            play.run(wait).await;
            play.happen().await;
            play.check_now();
        }
        play.calm_down().await;
        play.check_end();
    });
}

impl<'a> Play<'a> {
    /// All devices registered, and heard once.
    async fn start(world: &'a mut World) -> Self {
        for product in [WITH_MID, WITHOUT_MID] {
            product::create(world.server(), product).await;
        }
        let excused_until = world.now();
        let mut play = Self {
            world,
            asked: Vec::new(),
            excused_until,
            rebooted: [false; DEVICES],
            ports: Vec::new(),
        };
        for number in 0..DEVICES {
            play.add(number).await;
        }
        play
    }

    /// One device of a scene, registered in good weather, which a storm's happenings leave alone.
    async fn alone(world: &'a mut World, product: &'static str, kind: Kind, sleeps: bool) -> Self {
        product::create(world.server(), product).await;
        let change = |settings: &mut Settings| {
            settings.binding = if sleeps { Binding::Queue } else { Binding::Udp };
        };
        let index = world.add_to(product, kind, change).await;
        let seed = world.rng.u64(..);
        let node = &mut world.nodes[index];
        node.sleeps = sleeps;
        node.flight.sleeps = sleeps && kind == Kind::Lwm2m;
        node.equip(product::application(product, seed));
        world.weather(index, NEAR);
        let excused_until = world.now();
        let mut play = Self {
            world,
            asked: Vec::new(),
            excused_until,
            rebooted: [false; DEVICES],
            ports: vec![product],
        };
        play.report_all();
        play.run(Duration::from_secs(20)).await;
        play
    }

    /// Every device says that no more follows.
    fn report_all(&mut self) {
        let now = self.world.now();
        for node in &mut self.world.nodes {
            node.device.report(now, product::report(1, false), true);
        }
    }

    async fn add(&mut self, number: usize) {
        let product = match number % 4 {
            1 | 3 => WITHOUT_MID,
            _ => WITH_MID,
        };
        // Of what it posts and is refused, a device sends the same anew as something else: without a mid
        // nobody could tell.
        let kind = match (product, self.world.rng.u8(..3)) {
            (_, 0) => Kind::Lwm2m,
            (WITH_MID, 1) => Kind::Raw,
            _ => Kind::RawObserved,
        };
        let (sleeps, conduct) = (self.world.rng.bool(), self.conduct(product, None));
        let lifetime_s = [900, 3600, 86_400][self.world.rng.usize(..3)];
        let change = |settings: &mut Settings| {
            settings.conduct = conduct;
            settings.lifetime_s = lifetime_s;
            settings.binding = if sleeps { Binding::Queue } else { Binding::Udp };
        };
        let index = self.world.add_to(product, kind, change).await;
        if number >= SECURED {
            self.world.secure(index).await;
        }
        let seed = self.world.rng.u64(..);
        let node = &mut self.world.nodes[index];
        node.sleeps = sleeps;
        node.flight.sleeps = sleeps && kind == Kind::Lwm2m;
        node.equip(product::application(product, seed));
        self.ports.push(product);
        self.world.weather(index, BAD);
        self.report(index);
    }

    /// Any conduct. Whether a device recognises duplicates is of its firmware, so it stays. Without a
    /// mid, two answers to one command can't be told from those to two.
    fn conduct(&mut self, product: &str, before: Option<Conduct>) -> Conduct {
        let mut conduct = Conduct::drawn(&mut self.world.rng, LATE);
        if let Some(before) = before {
            conduct.recognises_duplicates = before.recognises_duplicates;
        }
        if product == WITHOUT_MID {
            conduct.recognises_duplicates = true;
            conduct.answers = 1;
        }
        // A device that answers nothing at all tells little.
        if conduct.answer == Answer::None && self.world.rng.bool() {
            conduct.answer = Answer::Report { confirmable: true };
        }
        conduct
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
            let down = self.world.span(minutes(1));
            self.crash(down).await;
        }
    }

    async fn crash(&mut self, down: Duration) {
        self.world.crash(down).await;
        self.excuse();
    }

    /// From now on for a while nobody is blamed for being late.
    fn excuse(&mut self) {
        self.excused_until = self.world.now() + SLACK;
    }

    fn report(&mut self, index: usize) {
        let (volume, more) = (self.world.rng.u16(..), self.world.rng.u8(..6) == 0);
        let confirmable = self.world.rng.u8(..4) > 0;
        let now = self.world.now();
        let device = &mut self.world.nodes[index].device;
        device.report(now, product::report(volume, more), confirmable);
    }

    async fn happen(&mut self) {
        let (now, index) = (self.world.now(), self.world.rng.usize(..DEVICES));
        match self.world.rng.u8(..100) {
            0..45 => self.submit(index).await,
            45..68 => self.report(index),
            68..73 => {
                if self.world.nodes[index].kind != Kind::Raw || index >= SECURED {
                    self.world.move_port(index);
                }
            }
            73..76 => self.world.show_up(index),
            76..79 => {
                // Without a mid, what it says after it may be to a command of before.
                if self.ports[index] == WITH_MID {
                    self.rebooted[index] = true;
                    self.world.nodes[index].device.reboot(now);
                }
            }
            79..83 => {
                let conduct = self.conduct(self.ports[index], Some(self.world.conduct_of(index)));
                self.world.set_conduct(index, conduct);
            }
            83..86 => {
                let quality = [GOOD, BAD][self.world.rng.usize(..2)];
                self.world.weather(index, quality);
            }
            86..89 => {
                let commits = self.world.rng.usize(1..4);
                self.world.server().disk.fail_next(commits);
            }
            89..92 => {
                let commits = self.world.rng.usize(1..3);
                self.world.server().disk.lie_next(commits);
            }
            92..94 => {
                let down = self.world.span(minutes(2));
                self.crash(down).await;
            }
            94..97 => self.again().await,
            _ => {
                let (commits, durable) = (self.world.rng.usize(..12), self.world.rng.bool());
                self.world.server().disk.die_at(commits, durable);
            }
        }
    }

    /// One to four commands for one device.
    async fn submit(&mut self, index: usize) {
        for _ in 0..self.world.rng.usize(1..5) {
            let rng = &mut self.world.rng;
            let command = ["SET", "SET", "SET", "FIRE", "BIG", "ODD"][rng.usize(..6)];
            let strategy = match rng.u8(..3) {
                0 => Strategy::Immediately,
                _ => Strategy::Delay,
            };
            let expire_s = [20, 120, 900, 3600][rng.usize(..4)];
            let number = u32::try_from(self.asked.len()).unwrap() + 1;
            let name = rng.bool().then(|| format!("request {number}"));
            let asked = Asked {
                index,
                number,
                command,
                strategy,
                expire_s,
                name,
                id: None,
            };
            self.asked.push(asked);
            self.ask(self.asked.len() - 1).await;
        }
    }

    /// One command for the only device.
    async fn order(&mut self, command: &'static str, strategy: Strategy) {
        self.asked.push(Asked {
            index: 0,
            number: u32::try_from(self.asked.len()).unwrap() + 1,
            command,
            strategy,
            expire_s: 3600,
            name: None,
            id: None,
        });
        self.ask(self.asked.len() - 1).await;
    }

    /// Somebody asks once more for what was asked for under a name.
    async fn again(&mut self) {
        let named = (0..self.asked.len()).filter(|at| self.asked[*at].name.is_some());
        let named: Vec<usize> = named.collect();
        if let Some(at) = self.world.rng.choice(named) {
            self.ask(at).await;
        }
    }

    /// Submits it, and notes what was said.
    async fn ask(&mut self, at: usize) {
        let asked = self.asked[at].clone();
        let mut paras = Map::new();
        paras.insert("n".to_owned(), asked.number.into());
        if asked.command == "BIG" {
            let len = 200 + asked.number as usize * 37 % 2600;
            paras.insert("text".to_owned(), "x".repeat(len).into());
        }
        let new = NewCommand {
            service_id: "Flow".to_owned(),
            command_name: asked.command.to_owned(),
            paras,
            strategy: asked.strategy,
            expire_time_s: asked.expire_s,
        };
        let server = self.world.server();
        let id = self.world.nodes[asked.index].id();
        let submit = server
            .platform
            .app
            .commands
            .submit(&id, new, asked.name.as_deref());
        // A dead server says nothing.
        let answer = tokio::time::timeout(Duration::from_millis(1), submit).await;
        match answer {
            Err(_) => self.revive().await,
            Ok(Ok(record)) => {
                assert_eq!(record.paras["n"], json!(asked.number));
                let before = self.asked[at].id.replace(record.id);
                assert!(
                    before.is_none_or(|id| id == record.id),
                    "{asked:?}: {}",
                    record.id
                );
            }
            Ok(Err(OrderError::Full { .. } | OrderError::Store(_) | OrderError::Busy)) => {}
            Ok(Err(error)) => panic!("{asked:?}: {error}"),
        }
    }

    /// In good weather, with good devices, everything comes to its end.
    async fn calm_down(&mut self) {
        self.run(Duration::from_secs(1)).await;
        for index in 0..DEVICES {
            self.world.weather(index, GOOD);
            let kept = self.world.conduct_of(index).recognises_duplicates;
            let conduct = Conduct {
                recognises_duplicates: kept,
                ..Conduct::default()
            };
            self.world.set_conduct(index, conduct);
        }
        for _ in 0..4 {
            self.run(minutes(5)).await;
            (0..DEVICES).for_each(|index| self.world.show_up(index));
            self.report_all();
        }
        self.run(minutes(70)).await;
        self.check_now();
    }
}
