//! On-disk form of a device's upgrade, a part of its state. Rules of `records.rs`. The engine's type
//! is `engine::upgrade::Upgrade`; here is what it is kept as, and what belongs to the campaign.

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::engine::admission::coverage::{CellId, Level, Place, Pool};
use crate::engine::sota;
use crate::engine::sota::served::{Run, Served};
use crate::engine::upgrade::fota;
use crate::engine::upgrade::{Ask, Kind, Step, Upgrade};

/// The upgrade of one device. It stays when it has ended: the next attempt knows what the device has
/// already, and devices repeat their last words until they are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpgradeRecord {
    /// The campaign, and the device's place in it.
    pub task_seq: u64,
    pub index: u32,
    pub package_id: String,
    pub kind: KindRecord,
    pub step: StepRecord,
    pub version_at: Option<Timestamp>,
    pub measured_at: Option<Timestamp>,
    pub ranked_at: Option<Timestamp>,
    pub announced: bool,
    /// What was measured: the pool of slots that the device belongs to.
    pub place: Option<PlaceRecord>,
    /// The request that is under way.
    pub open: Option<OpenAskRecord>,
    /// Attempts begun, this one included.
    pub tries: u32,
    pub retry: RetryRecord,
    /// Attempts of this package that failed one after the other without getting further.
    pub fruitless: u8,
    pub software: MemoryRecord,
    /// Of answers over PCP: one at a time is under way, and the fragment in it.
    pub answers: u64,
    pub answering: Option<Option<u16>>,
    /// When this was last changed.
    pub at: Timestamp,
    /// How much of the package it had when that was last told, in fragments, or in blocks of 512 bytes;
    /// and when.
    pub moved: u32,
    pub moved_since: Timestamp,
    #[serde(default)]
    pub way: WayRecord,
    /// Bytes of the package that were written to the device, and that it took.
    #[serde(default)]
    pub pushed: u32,
}

/// `engine::upgrade::fota::Way`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WayRecord {
    #[default]
    Unknown,
    Pull,
    Push,
}

/// `engine::sota::Memory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRecord {
    pub reach: ReachRecord,
    pub doubtful: bool,
    pub told_target: bool,
    /// Fragments that it was sent, as runs `(first, end)`.
    pub served: Vec<(u16, u16)>,
    pub served_surely: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReachRecord {
    Nothing,
    Notified,
    Ordered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KindRecord {
    Firmware,
    Software,
}

/// Where an attempt stands, as `engine::upgrade::Step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepRecord {
    Online {
        since: Timestamp,
    },
    Version {
        since: Timestamp,
    },
    Coverage {
        since: Timestamp,
    },
    Cell {
        since: Timestamp,
    },
    Line {
        heard_at: Timestamp,
    },
    Fota {
        phase: PhaseRecord,
        since: Timestamp,
        moved_at: Timestamp,
    },
    Ended,
    Sota {
        phase: SotaPhaseRecord,
        since: Timestamp,
        asked_at: Timestamp,
        asked_times: u8,
        asked_in_vain: bool,
        /// Index, when, and whether it may still be under way.
        last: Option<(u16, Timestamp, bool)>,
    },
}

/// `engine::sota::Phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SotaPhaseRecord {
    Notified,
    Downloading,
    Execute { held: bool },
    Updating,
    Check { accepted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhaseRecord {
    ObserveState,
    ObserveResult,
    Reset,
    WriteUri,
    Starting,
    Downloading,
    Broken,
    Execute,
    Updating,
    Result,
    Check,
    Back,
    Delivery,
    Push,
}

/// A cell (28 bits in NB-IoT) and its coverage level, 0 to 2; `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlaceRecord {
    pub cell: u64,
    pub level: Option<u8>,
}

impl From<PlaceRecord> for Place {
    fn from(record: PlaceRecord) -> Self {
        let pool = match record.level {
            Some(0) => Pool::Level(Level::Zero),
            Some(1) => Pool::Level(Level::One),
            Some(_) => Pool::Level(Level::Two),
            None => Pool::Unmeasured,
        };
        Self {
            cell: CellId(record.cell),
            pool,
        }
    }
}

impl From<Place> for PlaceRecord {
    fn from(place: Place) -> Self {
        let level = match place.pool {
            Pool::Level(Level::Zero) => Some(0),
            Pool::Level(Level::One) => Some(1),
            Pool::Level(Level::Two) => Some(2),
            Pool::Unmeasured => None,
        };
        Self {
            cell: place.cell.0,
            level,
        }
    }
}

/// A request to the device that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAskRecord {
    pub ask: AskRecord,
    /// Of an observation the one that it was asked for with; an older one may be in force.
    pub token: u64,
    pub asked_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AskRecord {
    Version,
    Coverage,
    Cell,
    ObserveState,
    ObserveResult,
    WriteUri,
    ResetUri,
    Result,
    Execute,
    NewVersion,
    Install,
    Delivery,
    Push,
}

impl AskRecord {
    /// Its token is that of the observation that it asks for.
    pub const fn is_observation(self) -> bool {
        matches!(self, Self::ObserveState | Self::ObserveResult)
    }
}

/// How often a failed attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RetryRecord {
    pub count: u32,
    pub interval_ms: u64,
}

impl UpgradeRecord {
    pub fn engine(&self) -> Upgrade {
        let way = match self.way {
            WayRecord::Unknown => fota::Way::Unknown,
            WayRecord::Pull => fota::Way::Pull,
            WayRecord::Push => fota::Way::Push,
        };
        Upgrade {
            kind: match self.kind {
                KindRecord::Firmware => Kind::Firmware,
                KindRecord::Software => Kind::Software,
            },
            step: step_of(self.step, way),
            version_at: self.version_at,
            measured_at: self.measured_at,
            ranked_at: self.ranked_at,
            announced: self.announced,
            way,
            software: self.software.engine(),
        }
    }

    /// Takes over what a step made of it.
    pub fn note(&mut self, upgrade: &Upgrade) {
        self.step = record_of(upgrade.step);
        self.version_at = upgrade.version_at;
        self.measured_at = upgrade.measured_at;
        self.ranked_at = upgrade.ranked_at;
        self.announced = upgrade.announced;
        self.way = match upgrade.way {
            fota::Way::Unknown => WayRecord::Unknown,
            fota::Way::Pull => WayRecord::Pull,
            fota::Way::Push => WayRecord::Push,
        };
        self.software = MemoryRecord::from(&upgrade.software);
    }

    /// Attempts before this one, which is the order of those that wait for a slot.
    pub fn attempt(&self) -> u8 {
        u8::try_from(self.tries.saturating_sub(1)).unwrap_or(u8::MAX)
    }

    /// The slot that it holds.
    pub fn slot(&self) -> Option<PlaceRecord> {
        self.place.filter(|_| self.engine().holds_slot())
    }
}

const fn step_of(record: StepRecord, way: fota::Way) -> Step {
    match record {
        StepRecord::Online { since } => Step::Online { since },
        StepRecord::Version { since } => Step::Version { since },
        StepRecord::Coverage { since } => Step::Coverage { since },
        StepRecord::Cell { since } => Step::Cell { since },
        StepRecord::Line { heard_at } => Step::Line { heard_at },
        StepRecord::Fota {
            phase,
            since,
            moved_at,
        } => Step::Fota(fota::State {
            phase: phase_of(phase),
            since,
            moved_at,
            way,
        }),
        StepRecord::Ended => Step::Ended,
        StepRecord::Sota {
            phase,
            since,
            asked_at,
            asked_times,
            asked_in_vain,
            last,
        } => Step::Sota(sota::State {
            phase: match phase {
                SotaPhaseRecord::Notified => sota::Phase::Notified,
                SotaPhaseRecord::Downloading => sota::Phase::Downloading,
                SotaPhaseRecord::Execute { held } => sota::Phase::Execute { held },
                SotaPhaseRecord::Updating => sota::Phase::Updating,
                SotaPhaseRecord::Check { accepted } => sota::Phase::Check { accepted },
            },
            since,
            asked: sota::Asked {
                at: asked_at,
                times: asked_times,
                lost: asked_in_vain,
            },
            last: match last {
                Some((index, at, flying)) => Some(sota::Sent { index, at, flying }),
                None => None,
            },
        }),
    }
}

const fn record_of(step: Step) -> StepRecord {
    match step {
        Step::Online { since } => StepRecord::Online { since },
        Step::Version { since } => StepRecord::Version { since },
        Step::Coverage { since } => StepRecord::Coverage { since },
        Step::Cell { since } => StepRecord::Cell { since },
        Step::Line { heard_at } => StepRecord::Line { heard_at },
        Step::Fota(fota::State {
            phase,
            since,
            moved_at,
            way: _,
        }) => StepRecord::Fota {
            phase: phase_record(phase),
            since,
            moved_at,
        },
        Step::Ended => StepRecord::Ended,
        Step::Sota(state) => StepRecord::Sota {
            phase: match state.phase {
                sota::Phase::Notified => SotaPhaseRecord::Notified,
                sota::Phase::Downloading => SotaPhaseRecord::Downloading,
                sota::Phase::Execute { held } => SotaPhaseRecord::Execute { held },
                sota::Phase::Updating => SotaPhaseRecord::Updating,
                sota::Phase::Check { accepted } => SotaPhaseRecord::Check { accepted },
            },
            since: state.since,
            asked_at: state.asked.at,
            asked_times: state.asked.times,
            asked_in_vain: state.asked.lost,
            last: match state.last {
                Some(sent) => Some((sent.index, sent.at, sent.flying)),
                None => None,
            },
        },
    }
}

impl MemoryRecord {
    pub fn engine(&self) -> sota::Memory {
        let runs: Vec<Run> = self
            .served
            .iter()
            .map(|&(first, end)| Run { first, end })
            .collect();
        sota::Memory {
            reach: match self.reach {
                ReachRecord::Nothing => sota::Reach::Nothing,
                ReachRecord::Notified => sota::Reach::Notified,
                ReachRecord::Ordered => sota::Reach::Ordered,
            },
            doubtful: self.doubtful,
            told_target: self.told_target,
            served: Served::from_runs(&runs, self.served_surely),
        }
    }
}

impl From<&sota::Memory> for MemoryRecord {
    fn from(memory: &sota::Memory) -> Self {
        Self {
            reach: match memory.reach {
                sota::Reach::Nothing => ReachRecord::Nothing,
                sota::Reach::Notified => ReachRecord::Notified,
                sota::Reach::Ordered => ReachRecord::Ordered,
            },
            doubtful: memory.doubtful,
            told_target: memory.told_target,
            served: memory
                .served
                .runs()
                .map(|run| (run.first, run.end))
                .collect(),
            served_surely: memory.served.is_sure(),
        }
    }
}

const fn phase_of(record: PhaseRecord) -> fota::Phase {
    use fota::Phase;
    match record {
        PhaseRecord::ObserveState => Phase::ObserveState,
        PhaseRecord::ObserveResult => Phase::ObserveResult,
        PhaseRecord::Reset => Phase::Reset,
        PhaseRecord::WriteUri => Phase::WriteUri,
        PhaseRecord::Starting => Phase::Starting,
        PhaseRecord::Downloading => Phase::Downloading,
        PhaseRecord::Broken => Phase::Broken,
        PhaseRecord::Execute => Phase::Execute,
        PhaseRecord::Updating => Phase::Updating,
        PhaseRecord::Result => Phase::Result,
        PhaseRecord::Check => Phase::Check,
        PhaseRecord::Back => Phase::Back,
        PhaseRecord::Delivery => Phase::Delivery,
        PhaseRecord::Push => Phase::Push,
    }
}

const fn phase_record(phase: fota::Phase) -> PhaseRecord {
    use fota::Phase;
    match phase {
        Phase::ObserveState => PhaseRecord::ObserveState,
        Phase::ObserveResult => PhaseRecord::ObserveResult,
        Phase::Reset => PhaseRecord::Reset,
        Phase::WriteUri => PhaseRecord::WriteUri,
        Phase::Starting => PhaseRecord::Starting,
        Phase::Downloading => PhaseRecord::Downloading,
        Phase::Broken => PhaseRecord::Broken,
        Phase::Execute => PhaseRecord::Execute,
        Phase::Updating => PhaseRecord::Updating,
        Phase::Result => PhaseRecord::Result,
        Phase::Check => PhaseRecord::Check,
        Phase::Back => PhaseRecord::Back,
        Phase::Delivery => PhaseRecord::Delivery,
        Phase::Push => PhaseRecord::Push,
    }
}

impl From<Ask> for AskRecord {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::Version => Self::Version,
            Ask::Coverage => Self::Coverage,
            Ask::Cell => Self::Cell,
            Ask::ObserveState => Self::ObserveState,
            Ask::ObserveResult => Self::ObserveResult,
            Ask::WriteUri => Self::WriteUri,
            Ask::ResetUri => Self::ResetUri,
            Ask::Result => Self::Result,
            Ask::Execute => Self::Execute,
            Ask::NewVersion => Self::NewVersion,
            Ask::Install => Self::Install,
            Ask::Delivery => Self::Delivery,
            Ask::Push => Self::Push,
        }
    }
}

impl From<AskRecord> for Ask {
    fn from(record: AskRecord) -> Self {
        match record {
            AskRecord::Version => Self::Version,
            AskRecord::Coverage => Self::Coverage,
            AskRecord::Cell => Self::Cell,
            AskRecord::ObserveState => Self::ObserveState,
            AskRecord::ObserveResult => Self::ObserveResult,
            AskRecord::WriteUri => Self::WriteUri,
            AskRecord::ResetUri => Self::ResetUri,
            AskRecord::Result => Self::Result,
            AskRecord::Execute => Self::Execute,
            AskRecord::NewVersion => Self::NewVersion,
            AskRecord::Install => Self::Install,
            AskRecord::Delivery => Self::Delivery,
            AskRecord::Push => Self::Push,
        }
    }
}
