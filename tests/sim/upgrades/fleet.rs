//! The fleet of a seed, drawn: devices of both kinds of upgrades, in a few cells, good and bad ones, with
//! the packages for them.

use std::time::Duration;

use strait::sim::device::{Binding, Kind, Settings, Wakes};
use strait::sim::upgrade::fota::{Delivery, FotaHabits};
use strait::sim::upgrade::pcp::{PcpHabits, Stack};
use strait::sim::upgrade::{CellObject, Expected, Fault, Habits, Radio};

use super::{NEW, OLD, image, minutes};
use crate::world::World;

/// What is upgraded of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Firmware,
    Software,
}

impl What {
    pub(crate) const fn package_type(self) -> &'static str {
        match self {
            Self::Firmware => "firmwarePackage",
            Self::Software => "softwarePackage",
        }
    }

    pub(crate) const fn task_type(self) -> &'static str {
        match self {
            Self::Firmware => "firmwareUpgrade",
            Self::Software => "softwareUpgrade",
        }
    }
}

/// A device of the fleet; its index is that of its node.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) what: What,
    pub(crate) stack: Option<Stack>,
    pub(crate) fault: Option<Fault>,
    pub(crate) object: CellObject,
    /// Blocks or fragments of its package.
    pub(crate) pieces: u64,
    /// Its firmware is written to it.
    pub(crate) is_pushed: bool,
    /// It had the new version from the start.
    pub(crate) is_new: bool,
    pub(crate) is_deleted: bool,
}

/// The packages of a seed.
#[derive(Debug)]
pub(crate) struct Packages {
    pub(crate) firmware: Vec<u8>,
    pub(crate) software: Vec<u8>,
    pub(crate) fragment_size: usize,
    /// They are for devices of the old version alone.
    pub(crate) for_old: bool,
}

impl Packages {
    pub(crate) fn drawn(rng: &mut fastrand::Rng) -> Self {
        let (firmware, software) = (rng.usize(200..4000), rng.usize(100..3000));
        Self {
            firmware: image(NEW, firmware),
            software: image(NEW, software),
            fragment_size: [500, 500, 300, 160][rng.usize(..4)],
            for_old: rng.u8(..4) == 0,
        }
    }

    pub(crate) fn of(&self, what: What) -> &[u8] {
        match what {
            What::Firmware => &self.firmware,
            What::Software => &self.software,
        }
    }

    fn fragments(&self, what: What) -> u32 {
        let count = self.of(what).len().div_ceil(self.fragment_size);
        u32::try_from(count).unwrap()
    }
}

/// What the devices of a seed have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper {
    /// All at the edge of one cell: one at a time.
    pub(crate) crowded: bool,
    /// So many of a hundred have a fault.
    pub(crate) faulty: u8,
    /// So many of a hundred sleep for hours.
    pub(crate) sleepy: u8,
}

impl Temper {
    pub(crate) fn drawn(rng: &mut fastrand::Rng) -> Self {
        Self {
            crowded: rng.u8(..4) == 0,
            faulty: [0, 40, 40, 80][rng.usize(..4)],
            sleepy: [0, 20, 60][rng.usize(..3)],
        }
    }
}

/// Adds one more device.
pub(crate) async fn add(world: &mut World, packages: &Packages, temper: Temper) -> Member {
    let rng = &mut world.rng;
    let (what, stack) = match rng.u8(..5) {
        0 | 1 => (What::Firmware, None),
        2 | 3 => (What::Software, Some(Stack::AtModule)),
        _ => (What::Software, Some(Stack::Lwm2m)),
    };
    let kind = match (what, rng.u8(..3)) {
        (What::Firmware, _) | (What::Software, 0) => Kind::Lwm2m,
        (What::Software, 1) => Kind::Raw,
        (What::Software, _) => Kind::RawObserved,
    };
    let has_fault = rng.u8(..100) < temper.faulty;
    let fault = has_fault.then(|| Fault::drawn(rng, packages.fragments(what)));
    let (cell, level) = match temper.crowded {
        true => (1, 2),
        false => (rng.u32(1..=2), rng.u8(..=2)),
    };
    let object = match rng.u8(..12) {
        0 => CellObject::Absent,
        1 => CellObject::CellOnly,
        2 => CellObject::Piecemeal,
        3 => CellObject::LevelOnly,
        4 => CellObject::V1_0,
        5 | 6 => CellObject::V1_3,
        _ => CellObject::V1_1,
    };
    let sleeps = rng.u8(..100) < temper.sleepy;
    let is_new = rng.u8(..16) == 0;
    let version = match (is_new, rng.u8(..8)) {
        (true, _) => NEW,
        (false, 0) => "0.9",
        (false, _) => OLD,
    };
    let mut habits = habits(rng, stack, version);
    let firmware = habits.firmware.as_ref();
    let is_pushed = firmware.is_some_and(|f| f.delivery == Delivery::Push);
    let pieces = match &habits.firmware {
        // Blocks of 512 bytes, or of what it asks for.
        Some(_) if is_pushed => packages.of(what).len().div_ceil(512) as u64,
        Some(habits) => packages.of(what).len().div_ceil(16 << habits.szx) as u64,
        None => packages.fragments(what).into(),
    };
    habits.radio = Radio::drawn(rng, cell, level, object);
    habits.fault.clone_from(&fault);
    habits.expected = Some(Expected::new(packages.of(what)));
    let period = match sleeps {
        true => minutes(rng.u64(60..360)),
        false => minutes(rng.u64(15..240)),
    };
    let awake_max = (rng.u8(..3) == 0).then(|| minutes(rng.u64(2..10)));
    let secured = rng.u8(..6) == 0;
    let change = |settings: &mut Settings| {
        settings.upgrade = Some(habits);
        settings.binding = if sleeps { Binding::Queue } else { Binding::Udp };
        settings.wakes = Some(Wakes {
            period,
            payload: vec![1, 0, 0, 0, 7],
        });
        if sleeps {
            settings.conduct.awake = Some(Duration::from_secs(30));
            settings.conduct.awake_max = awake_max;
        }
    };
    let index = world.add(kind, change).await;
    if secured {
        world.secure(index).await;
    }
    world.nodes[index].sleeps = sleeps;
    Member {
        what,
        stack,
        fault,
        object,
        pieces,
        is_pushed,
        is_new,
        is_deleted: false,
    }
}

fn habits(rng: &mut fastrand::Rng, stack: Option<Stack>, version: &str) -> Habits {
    let pace = match rng.u8(..3) {
        0 => Duration::from_secs(rng.u64(1..60)),
        _ => Duration::ZERO,
    };
    let Some(stack) = stack else {
        return Habits {
            firmware: Some(FotaHabits {
                delivery: [Delivery::Pull, Delivery::Both, Delivery::Push][rng.usize(..3)],
                reports_eight: rng.u8(..4) == 0,
                szx: rng.u8(3..=6),
                pace,
                continues: rng.bool(),
                ..FotaHabits::default()
            }),
            ..Habits::firmware(version)
        };
    };
    // Who repeats itself for ever does so slowly, or a seed takes long.
    let (patience, repeat_every) = match rng.u8(..6) {
        0 => (None, minutes(2)),
        _ => {
            let usual = PcpHabits::new(stack).repeat_every;
            (Some(minutes(rng.u64(2..8))), usual)
        }
    };
    let usual = PcpHabits::new(stack);
    Habits {
        software: Some(PcpHabits {
            pace,
            patience,
            repeat_every,
            confirmable: rng.bool(),
            ..usual
        }),
        ..Habits::software(stack, version)
    }
}
