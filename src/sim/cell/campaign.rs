//! A campaign in one cell as discrete events: the same seed gives the same run to the microsecond.
//!
//! ```text
//! unreachable -> questions -> waits (gate) -> request -> 8 blocks -> acknowledged -> request … -> installs -> done
//!                    ^          | asleep                     60 min: timed out
//!                    '- next day / retry <------------------------------------' -> failed after the last retry
//! ```
//!
//! The carrier serves blocks in the order in which they become ready, whole: a block of a weak device holds it
//! for as long as its repetitions take. A lost block is sent again; a lost answer is asked for again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::bound::{Job, lower_bound_us};
use super::radio::{BLOCKS, LEVELS, Radio, fragments};

/// A second in microseconds.
pub const SECOND: u64 = 1_000_000;
/// A day in microseconds.
pub const DAY: u64 = 86_400 * SECOND;
/// After a lost answer a device asks again: the shortest wait of CoAP (RFC 7252 §4.8).
const REPEAT_US: u64 = 2 * SECOND;
/// A device that is to stay awake asks again after this time.
const KEPT_US: u64 = 10 * SECOND;
/// Exchanges before admission: version, status subscription, coverage.
const QUESTIONS: u64 = 3;

/// Who decides which device may download. Times are milliseconds since the campaign began, attempts count from 0.
pub trait Gate {
    /// A device was measured and is awake: it wants a slot.
    fn measured(&mut self, now_ms: u64, device: u32, level: usize, attempt: u32);
    /// A waiting device woke up.
    fn awake(&mut self, now_ms: u64, device: u32);
    /// A waiting device fell asleep; not asked when it is kept awake.
    fn asleep(&mut self, now_ms: u64, device: u32);
    /// A waiting device is to stay awake although its time is over.
    fn keeps_awake(&mut self, now_ms: u64, device: u32) -> bool;
    /// The fragments that a downloading device has of its package.
    fn acknowledged(&mut self, now_ms: u64, device: u32, done: u32, total: u32);
    /// An attempt ended; the slot is free.
    fn ended(&mut self, now_ms: u64, device: u32);
    /// Devices whose turn it is now.
    fn admitted(&mut self, now_ms: u64, to: &mut Vec<u32>);
}

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Devices of each level.
    pub devices: [u32; LEVELS],
    pub package_bytes: u32,
    /// A new attempt goes on where the last one ended.
    pub resumes: bool,
    /// Devices sleep, and wake once a day.
    pub sleeps: bool,
    /// 1 is the model, 0.5 a cell twice as slow.
    pub speed: f64,
    pub slots: [u32; LEVELS],
    pub attempt_us: u64,
    pub retries: u32,
    pub retry_us: u64,
    /// From the last fragment to the reported result.
    pub install_us: u64,
    /// Devices come within this time of the campaign's start; sleepers within a day.
    pub arrival_us: u64,
    /// How long a sleeper listens after its last exchange.
    pub listens_us: u64,
    /// A sleeper comes this much too early or too late at most.
    pub drift_us: u64,
    /// Of a block; it is sent again.
    pub block_loss: f64,
    /// Of a whole answer; it is asked for again.
    pub answer_loss: f64,
    /// What takes longer has failed as a whole.
    pub end_us: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            devices: [450, 45, 5],
            package_bytes: 256 * 1024,
            resumes: true,
            sleeps: false,
            speed: 1.0,
            slots: [50, 10, 1],
            attempt_us: 3600 * SECOND,
            retries: 5,
            retry_us: 300 * SECOND,
            install_us: 30 * SECOND,
            arrival_us: 300 * SECOND,
            listens_us: 20 * SECOND,
            drift_us: 0,
            block_loss: 0.01,
            answer_loss: 0.002,
            end_us: 60 * DAY,
        }
    }
}

/// What became of a campaign. Times are microseconds.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub makespan_us: u64,
    pub bound_us: u64,
    pub devices: u32,
    pub succeeded: u32,
    pub attempts: u32,
    pub timed_out: u32,
    /// From a device's first report to its success, summed over those that succeeded.
    pub latency_us: u64,
    /// Radio time in which devices listened in the line only because they were told to.
    pub kept_awake_us: u64,
    /// Most slots held at once, by level.
    pub held_max: [u32; LEVELS],
    /// Slots over time: when, and how many each level held from then on.
    pub slots: Vec<(u64, [u32; LEVELS])>,
}

impl Outcome {
    pub fn ratio(&self) -> f64 {
        self.makespan_us as f64 / self.bound_us.max(1) as f64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Away,
    Asked,
    Waiting {
        awake: bool,
    },
    /// Blocks of the fragment under way that have arrived.
    Downloading {
        blocks: u32,
    },
    Installing,
    Ended,
}

#[derive(Debug, Clone, Copy)]
struct Device {
    level: usize,
    phase: Phase,
    done: u32,
    attempt: u32,
    first_us: u64,
    attempt_us: u64,
    /// Its event is this one; older ones are void.
    turn: u32,
}

/// A campaign that runs.
struct Cell<'a, G> {
    scenario: &'a Scenario,
    gate: &'a mut G,
    radios: [Radio; LEVELS],
    rng: fastrand::Rng,
    devices: Vec<Device>,
    events: BinaryHeap<Reverse<(u64, u32, u32)>>,
    carrier_free_us: u64,
    total: u32,
    held: [u32; LEVELS],
    open: u32,
    outcome: Outcome,
}

/// Runs a campaign to its end.
pub fn run(scenario: &Scenario, seed: u64, gate: &mut impl Gate) -> Outcome {
    let mut cell = Cell::new(scenario, seed, gate);
    let mut turns = Vec::new();
    while let Some(Reverse((now, id, turn))) = cell.events.pop() {
        if cell.open == 0 || now > scenario.end_us {
            break;
        }
        if cell.devices.get(id as usize).is_none_or(|d| d.turn != turn) {
            continue;
        }
        cell.step(now, id);
        cell.gate.admitted(now / 1000, &mut turns);
        for id in turns.drain(..) {
            cell.begin(now, id);
        }
    }
    cell.outcome
}

impl<'a, G: Gate> Cell<'a, G> {
    fn new(scenario: &'a Scenario, seed: u64, gate: &'a mut G) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut levels = Vec::new();
        for (level, count) in scenario.devices.iter().enumerate() {
            levels.extend(std::iter::repeat_n(level, *count as usize));
        }
        rng.shuffle(&mut levels);
        let within = if scenario.sleeps {
            DAY
        } else {
            scenario.arrival_us.max(1)
        };
        let device = |level| Device {
            level,
            phase: Phase::Away,
            done: 0,
            attempt: 0,
            first_us: 0,
            attempt_us: 0,
            turn: 0,
        };
        let devices: Vec<_> = levels.into_iter().map(device).collect();
        let mut cell = Self {
            scenario,
            gate,
            radios: Radio::levels(scenario.speed),
            rng,
            open: u32::try_from(devices.len()).unwrap_or(u32::MAX),
            devices,
            events: BinaryHeap::new(),
            carrier_free_us: 0,
            total: fragments(scenario.package_bytes),
            held: [0; LEVELS],
            outcome: Outcome::default(),
        };
        for id in 0..cell.open {
            let at = cell.rng.u64(0..within);
            if let Some(device) = cell.devices.get_mut(id as usize) {
                device.first_us = at;
            }
            cell.after(at, id);
        }
        cell.outcome.devices = cell.open;
        cell.outcome.bound_us = cell.bound_us();
        cell
    }

    fn bound_us(&self) -> u64 {
        let job = |device: &Device| {
            let radio = self.radio(device.level);
            let slot_us = u64::from(self.total) * radio.fragment_us() + self.scenario.install_us;
            Job {
                reachable_us: device.first_us,
                alone_us: slot_us + questions_us(radio),
                slot_us,
                airtime_us: u64::from(self.total) * radio.fragment_airtime_us(),
                pool: device.level,
            }
        };
        let jobs: Vec<_> = self.devices.iter().map(job).collect();
        lower_bound_us(&jobs, &self.scenario.slots)
    }

    fn radio(&self, level: usize) -> Radio {
        let [best, ..] = self.radios;
        self.radios.get(level).copied().unwrap_or(best)
    }

    /// The device's next event; what was planned for it before is void.
    fn after(&mut self, at: u64, id: u32) {
        if let Some(device) = self.devices.get_mut(id as usize) {
            device.turn += 1;
            self.events.push(Reverse((at, id, device.turn)));
        }
    }

    fn step(&mut self, now: u64, id: u32) {
        let Some(&device) = self.devices.get(id as usize) else {
            return;
        };
        match device.phase {
            Phase::Away => {
                self.turn_to(id, Phase::Asked);
                let at = now + questions_us(self.radio(device.level));
                self.after(at, id);
            }
            Phase::Asked => {
                self.wait(now, id);
                self.gate
                    .measured(now / 1000, id, device.level, device.attempt);
            }
            Phase::Waiting { awake: false } => {
                self.wait(now, id);
                self.gate.awake(now / 1000, id);
            }
            Phase::Waiting { awake: true } => self.sleep(now, id, device),
            Phase::Downloading { blocks } => self.download(now, id, device, blocks),
            Phase::Installing => self.end(now, id, true),
            Phase::Ended => {}
        }
    }

    /// In the line, and listening for a while.
    fn wait(&mut self, now: u64, id: u32) {
        let at = now + self.scenario.listens_us;
        if let Some(device) = self.devices.get_mut(id as usize) {
            device.phase = Phase::Waiting { awake: true };
        }
        if self.scenario.sleeps {
            self.after(at, id);
        }
    }

    /// Its time to listen is over.
    fn sleep(&mut self, now: u64, id: u32, device: Device) {
        if self.gate.keeps_awake(now / 1000, id) {
            self.outcome.kept_awake_us += KEPT_US;
            self.after(now + KEPT_US, id);
            return;
        }
        self.gate.asleep(now / 1000, id);
        self.turn_to(id, Phase::Waiting { awake: false });
        let at = self.next_wake_up(now, device);
        self.after(at, id);
    }

    /// The first daily time that is yet to come.
    fn next_wake_up(&mut self, now: u64, device: Device) -> u64 {
        let days = now.saturating_sub(device.first_us) / DAY + 1;
        let drift = self.scenario.drift_us;
        let off = self.rng.u64(0..=2 * drift);
        (device.first_us + days * DAY + off)
            .saturating_sub(drift)
            .max(now + 1)
    }

    fn turn_to(&mut self, id: u32, phase: Phase) {
        if let Some(device) = self.devices.get_mut(id as usize) {
            device.phase = phase;
        }
    }

    /// Admitted: the download begins.
    fn begin(&mut self, now: u64, id: u32) {
        let Some(device) = self.devices.get_mut(id as usize) else {
            return;
        };
        device.phase = Phase::Downloading { blocks: 0 };
        device.attempt_us = now;
        if !self.scenario.resumes {
            device.done = 0;
        }
        let level = device.level;
        self.outcome.attempts += 1;
        self.hold(now, level, true);
        let request = self.radio(level).request_us;
        self.after(now + request, id);
    }

    fn hold(&mut self, now: u64, level: usize, more: bool) {
        if let (Some(held), Some(most)) = (
            self.held.get_mut(level),
            self.outcome.held_max.get_mut(level),
        ) {
            *held = if more {
                *held + 1
            } else {
                held.saturating_sub(1)
            };
            *most = (*most).max(*held);
        }
        self.outcome.slots.push((now, self.held));
    }

    /// A block goes out, or a fragment's blocks are all there, or its acknowledgement is.
    fn download(&mut self, now: u64, id: u32, device: Device, blocks: u32) {
        if now >= device.attempt_us + self.scenario.attempt_us {
            self.outcome.timed_out += 1;
            self.end(now, id, false);
            return;
        }
        let radio = self.radio(device.level);
        if blocks > BLOCKS {
            self.acknowledge(now, id, device.done + 1, radio);
            return;
        }
        if blocks == BLOCKS {
            let is_lost = self.rng.f64() < self.scenario.answer_loss;
            let (blocks, wait_us) = if is_lost {
                (0, REPEAT_US + radio.request_us)
            } else {
                (BLOCKS + 1, radio.ack_us)
            };
            self.turn_to(id, Phase::Downloading { blocks });
            self.after(now + wait_us, id);
            return;
        }
        let sent = self.carrier_free_us.max(now) + radio.airtime_us;
        self.carrier_free_us = sent;
        let arrived = self.rng.f64() >= self.scenario.block_loss;
        self.turn_to(
            id,
            Phase::Downloading {
                blocks: blocks + u32::from(arrived),
            },
        );
        self.after(sent + radio.pause_us, id);
    }

    /// A fragment is there, and the server knows it.
    fn acknowledge(&mut self, now: u64, id: u32, done: u32, radio: Radio) {
        if let Some(device) = self.devices.get_mut(id as usize) {
            device.done = done;
        }
        self.gate.acknowledged(now / 1000, id, done, self.total);
        if done >= self.total {
            self.turn_to(id, Phase::Installing);
            self.after(now + self.scenario.install_us, id);
        } else {
            self.turn_to(id, Phase::Downloading { blocks: 0 });
            self.after(now + radio.request_us, id);
        }
    }

    /// The slot is free; a device without success comes again.
    fn end(&mut self, now: u64, id: u32, success: bool) {
        let Some(&device) = self.devices.get(id as usize) else {
            return;
        };
        self.hold(now, device.level, false);
        self.gate.ended(now / 1000, id);
        self.outcome.makespan_us = now;
        if success {
            self.outcome.succeeded += 1;
            self.outcome.latency_us += now - device.first_us;
        }
        if success || device.attempt >= self.scenario.retries {
            self.turn_to(id, Phase::Ended);
            self.open -= 1;
            return;
        }
        let at = if self.scenario.sleeps {
            let earliest = now + self.scenario.retry_us;
            self.next_wake_up(earliest, device)
        } else {
            now + self.scenario.retry_us
        };
        if let Some(device) = self.devices.get_mut(id as usize) {
            device.attempt += 1;
            device.phase = Phase::Away;
        }
        self.after(at, id);
    }
}

/// The exchanges before admission; each answer is one block.
fn questions_us(radio: Radio) -> u64 {
    QUESTIONS * (radio.request_us + radio.airtime_us + radio.pause_us + radio.ack_us)
}
