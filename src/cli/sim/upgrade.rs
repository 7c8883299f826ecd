//! The flags of `strait sim` that say how the devices upgrade, where they are in the network and what goes wrong.
//!
//! A mix is words with weights, `at:2,fota`: a word without one weighs 1. Each device draws its own from the
//! seed. Errors say what they got and what they take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::values;
use crate::sim::upgrade::fota::{Delivery, FotaHabits};
use crate::sim::upgrade::pcp::{PcpHabits, Stack};
use crate::sim::upgrade::{CellObject, Expected, Fault, Habits, Radio};

/// Fragments of an upgrade whose image is not known, for faults at one of them.
const FRAGMENTS: u32 = 16;
/// Bytes of a fragment, when nothing else is said.
const FRAGMENT_LEN: usize = 500;
/// What a slow device takes from one block to the next.
const SLOW_PACE: Duration = Duration::from_millis(500);
/// Heaviest word of a mix.
const WEIGHT_MAX: u32 = 1_000_000;

/// Why the upgrades can't begin.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("--expect {path}: {source}")]
    Expect {
        path: String,
        source: std::io::Error,
    },
}

impl UpgradeError {
    /// Stable word for scripts; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Expect { .. } => "expect",
        }
    }
}

/// Why a mix is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MixError {
    #[error("{got:?} is none of {takes}")]
    Word { got: String, takes: String },
    #[error("{got:?} is no weight, takes 0 to 1000000")]
    Weight { got: String },
    #[error("all weights are 0")]
    Nothing,
    #[error("{got:?} is no share of the three levels, takes three weights: 90/9/1")]
    Levels { got: String },
}

/// Words with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix<T>(Vec<(T, u32)>);

impl<T: Copy> Mix<T> {
    /// Any of them, as often as its weight says; `None` of an empty mix.
    fn drawn(&self, rng: &mut fastrand::Rng) -> Option<T> {
        let total: u32 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.u32(..total.max(1));
        let found = self.0.iter().find(|(_, weight)| {
            let is_here = at < *weight;
            at = at.saturating_sub(*weight);
            is_here
        });
        found.map(|(word, _)| *word)
    }

    /// Weights that add up to something.
    fn of(weighed: Vec<(T, u32)>) -> Result<Self, MixError> {
        if weighed.iter().all(|(_, weight)| *weight == 0) {
            return Err(MixError::Nothing);
        }
        Ok(Self(weighed))
    }

    fn read(text: &str, words: &[(&str, T)]) -> Result<Self, MixError> {
        let one = |part: &str| {
            let (word, weight) = part.split_once(':').unwrap_or((part, "1"));
            let found = words.iter().find(|(known, _)| *known == word);
            let Some((_, value)) = found else {
                let takes: Vec<_> = words.iter().map(|(known, _)| *known).collect();
                let (got, takes) = (word.to_owned(), takes.join(", "));
                return Err(MixError::Word { got, takes });
            };
            Ok((*value, weight_of(weight)?))
        };
        Self::of(text.split(',').map(one).collect::<Result<_, _>>()?)
    }
}

fn weight_of(text: &str) -> Result<u32, MixError> {
    let weight: Option<u32> = text.parse().ok();
    let weight = weight.filter(|weight| *weight <= WEIGHT_MAX);
    weight.ok_or_else(|| MixError::Weight {
        got: text.to_owned(),
    })
}

/// How a device upgrades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Pcp(Stack),
    Fota,
    FotaPush,
    FotaPull,
    FotaEight,
    FotaSlow,
}

const BEHAVIOURS: [(&str, Behaviour); 7] = [
    ("at", Behaviour::Pcp(Stack::AtModule)),
    ("lwm2m", Behaviour::Pcp(Stack::Lwm2m)),
    ("fota", Behaviour::Fota),
    ("fota-push", Behaviour::FotaPush),
    ("fota-pull", Behaviour::FotaPull),
    ("fota-eight", Behaviour::FotaEight),
    ("fota-slow", Behaviour::FotaSlow),
];

const CELL_OBJECTS: [(&str, CellObject); 7] = [
    ("1.0", CellObject::V1_0),
    ("1.1", CellObject::V1_1),
    ("1.3", CellObject::V1_3),
    ("level-only", CellObject::LevelOnly),
    ("cell-only", CellObject::CellOnly),
    ("piecemeal", CellObject::Piecemeal),
    ("none", CellObject::Absent),
];

fn behaviours(text: &str) -> Result<Mix<Behaviour>, MixError> {
    Mix::read(text, &BEHAVIOURS)
}

fn cell_objects(text: &str) -> Result<Mix<CellObject>, MixError> {
    Mix::read(text, &CELL_OBJECTS)
}

fn levels(text: &str) -> Result<Mix<u8>, MixError> {
    let weights: Vec<_> = text.split('/').map(weight_of).collect::<Result<_, _>>()?;
    if weights.len() != 3 {
        let got = text.to_owned();
        return Err(MixError::Levels { got });
    }
    Mix::of((0..).zip(weights).collect())
}

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct UpgradeArgs {
    /// The devices upgrade, a mix of: at and lwm2m (PCP, as these stacks do), fota (object 5), fota-push,
    /// fota-pull, fota-eight (calls every failure 8), fota-slow; as in at:3,lwm2m:2,fota
    #[arg(long, value_name = "MIX", value_parser = behaviours)]
    upgrade: Option<Mix<Behaviour>>,
    /// The version that runs at first
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "V1.0",
        requires = "upgrade"
    )]
    runs: String,
    /// The firmware after an upgrade whose image does not begin with version=…
    #[arg(long, value_name = "VERSION", requires = "upgrade")]
    firmware_target: Option<String>,
    /// The package that the devices should get: every piece is compared with it
    #[arg(long, value_name = "FILE", requires = "upgrade")]
    expect: Option<PathBuf>,
    /// Cells in which the devices are, numbered from --first-cell
    #[arg(long, value_name = "N", default_value_t = 1, requires = "upgrade", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cells: u32,
    #[arg(long, value_name = "ID", default_value_t = 1, requires = "upgrade")]
    first_cell: u32,
    /// Weights of the coverage levels 0, 1 and 2
    #[arg(long, value_name = "A/B/C", default_value = "90/9/1", requires = "upgrade", value_parser = levels)]
    levels: Mix<u8>,
    /// What the devices tell of cell and coverage (object 4), a mix of: 1.0 (no SINR), 1.1, 1.3, level-only,
    /// cell-only, piecemeal, none
    #[arg(long, value_name = "MIX", default_value = "1.1", requires = "upgrade", value_parser = cell_objects)]
    cell_object: Mix<CellObject>,
    /// Percent of the devices with a fault, each its own, by the seed
    #[arg(long, value_name = "PERCENT", default_value_t = 0, requires = "upgrade", value_parser = clap::value_parser!(u32).range(0..=100))]
    upgrade_faults: u32,
    /// From the order to install to the reboot
    #[arg(long, value_name = "DURATION", default_value = "5s", requires = "upgrade", value_parser = values::duration)]
    reboot_after: Duration,
    /// How long a device is off to install
    #[arg(long, value_name = "DURATION", default_value = "10s", requires = "upgrade", value_parser = values::duration)]
    boot_time: Duration,
    /// A device gives up what the server does not answer for so long; real ones never do
    #[arg(long, value_name = "DURATION", requires = "upgrade", value_parser = values::some_duration)]
    upgrade_patience: Option<Duration>,
    /// An upgrade keeps a sleeper awake no longer than this, and goes on at its next report
    #[arg(long, value_name = "DURATION", requires_all = ["upgrade", "sleep"], value_parser = values::some_duration)]
    pub(super) awake_max: Option<Duration>,
}

impl UpgradeArgs {
    /// Some of the devices upgrade over the firmware object.
    pub(super) fn needs_objects(&self) -> bool {
        let mix = self.upgrade.iter().flat_map(|mix| &mix.0);
        let mut words = mix.filter(|(_, weight)| *weight > 0);
        words.any(|(behaviour, _)| !matches!(behaviour, Behaviour::Pcp(_)))
    }

    /// The same with the files that they name.
    pub(super) fn read(&self) -> Result<Upgrades<'_>, UpgradeError> {
        let expected = self.expect.as_deref().map(read_expected).transpose()?;
        Ok(Upgrades {
            args: self,
            expected,
        })
    }
}

fn read_expected(path: &Path) -> Result<Expected, UpgradeError> {
    let bytes = std::fs::read(path).map_err(|source| UpgradeError::Expect {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Expected::new(&bytes))
}

/// Draws how each device upgrades.
#[derive(Debug)]
pub(super) struct Upgrades<'a> {
    args: &'a UpgradeArgs,
    expected: Option<Expected>,
}

impl Upgrades<'_> {
    /// Of the device with this seed; `None` when devices don't upgrade.
    pub(super) fn habits(&self, seed: u64) -> Option<Habits> {
        let args = self.args;
        let mut rng = fastrand::Rng::with_seed(seed ^ 0xf1ee7);
        let behaviour = args.upgrade.as_ref()?.drawn(&mut rng)?;
        let cell_id = args.first_cell.saturating_add(rng.u32(..args.cells));
        let level = args.levels.drawn(&mut rng).unwrap_or(0);
        let object = args.cell_object.drawn(&mut rng);
        let object = object.unwrap_or(CellObject::V1_1);
        let radio = Radio::drawn(&mut rng, cell_id, level, object);
        let len = self.expected.as_ref().map(|e| e.bytes().len());
        let fragments = len.and_then(|len| u32::try_from(len.div_ceil(FRAGMENT_LEN)).ok());
        let is_faulty = rng.u32(..100) < args.upgrade_faults;
        let fault = is_faulty.then(|| Fault::drawn(&mut rng, fragments.unwrap_or(FRAGMENTS)));
        let pcp = |stack| PcpHabits {
            reboot_after: args.reboot_after,
            boots_for: args.boot_time,
            patience: args.upgrade_patience,
            ..PcpHabits::new(stack)
        };
        let fota = FotaHabits {
            reboot_after: args.reboot_after,
            boots_for: args.boot_time,
            ..FotaHabits::default()
        };
        let firmware = match behaviour {
            Behaviour::Pcp(_) => None,
            Behaviour::Fota => Some(fota),
            Behaviour::FotaPush | Behaviour::FotaPull => Some(FotaHabits {
                delivery: match behaviour {
                    Behaviour::FotaPush => Delivery::Push,
                    _ => Delivery::Pull,
                },
                ..fota
            }),
            Behaviour::FotaEight => Some(FotaHabits {
                reports_eight: true,
                ..fota
            }),
            Behaviour::FotaSlow => Some(FotaHabits {
                pace: SLOW_PACE,
                ..fota
            }),
        };
        Some(Habits {
            software: match behaviour {
                Behaviour::Pcp(stack) => Some(pcp(stack)),
                _ => None,
            },
            firmware,
            firmware_target: args.firmware_target.clone(),
            radio,
            fault,
            expected: self.expected.clone(),
            ..Habits::new(&args.runs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[arg(long)]
        sleep: bool,
        #[command(flatten)]
        args: UpgradeArgs,
    }

    fn parse(flags: &[&str]) -> Result<Line, clap::Error> {
        Line::try_parse_from(["sim"].iter().chain(flags))
    }

    #[test]
    fn a_mix_is_drawn_by_its_weights_and_the_same_for_the_same_seed() {
        assert!(parse(&[]).unwrap().args.read().unwrap().habits(1).is_none());
        let flags = [
            "--upgrade",
            "at:6,lwm2m:3,fota-eight:1,fota:0",
            "--cells",
            "3",
            "--first-cell",
            "100",
            "--levels",
            "1/1/2",
            "--cell-object",
            "1.0,none",
            "--upgrade-faults",
            "20",
            "--reboot-after",
            "2s",
        ];
        let line = parse(&flags).unwrap();
        let upgrades = line.args.read().unwrap();
        let all: Vec<_> = (0..1000).filter_map(|n| upgrades.habits(n)).collect();
        let count = |f: &dyn Fn(&Habits) -> bool| all.iter().filter(|h| f(h)).count();
        let of = |stack| move |h: &Habits| h.software.as_ref().is_some_and(|p| p.stack == stack);
        assert_eq!(all.len(), 1000);
        assert!((540..660).contains(&count(&of(Stack::AtModule))));
        assert!((240..360).contains(&count(&of(Stack::Lwm2m))));
        let eight = |h: &Habits| h.firmware.as_ref().is_some_and(|f| f.reports_eight);
        assert!((60..140).contains(&count(&eight)));
        let reboots = |h: &Habits| match (&h.software, &h.firmware) {
            (Some(pcp), _) => Some(pcp.reboot_after),
            (None, fota) => fota.as_ref().map(|fota| fota.reboot_after),
        };
        assert_eq!(count(&|h| reboots(h) == Some(Duration::from_secs(2))), 1000);
        assert!((150..250).contains(&count(&|h| h.fault.is_some())));
        assert!((400..600).contains(&count(&|h| h.radio.object == CellObject::Absent)));
        let cells: BTreeSet<_> = all.iter().map(|h| h.radio.cell_id).collect();
        assert_eq!(cells, BTreeSet::from([100, 101, 102]));
        let edge = |h: &Habits| h.radio.rsrp_dbm < -115 || h.radio.sinr_db < -3;
        assert!((430..570).contains(&count(&edge)));
        let again: Vec<_> = (0..1000).filter_map(|n| upgrades.habits(n)).collect();
        assert_eq!(format!("{all:?}"), format!("{again:?}"));
        assert!(line.args.needs_objects());
        assert!(
            !parse(&["--upgrade", "at,fota:0"])
                .unwrap()
                .args
                .needs_objects()
        );
    }

    #[test]
    fn what_is_no_mix_is_said() {
        let cases: &[(&[&str], &str)] = &[
            (&["--upgrade", "best"], "is none of at, lwm2m, fota"),
            (&["--upgrade", "at:x"], "is no weight"),
            (&["--upgrade", "at:0"], "all weights are 0"),
            (
                &["--upgrade", "at", "--levels", "1/2"],
                "takes three weights",
            ),
            (&["--cells", "3"], "--upgrade"),
            (&["--upgrade", "at", "--awake-max", "5s"], "--sleep"),
        ];
        for (flags, want) in cases {
            let error = parse(flags).unwrap_err().to_string();
            assert!(error.contains(want), "{flags:?}: {error}");
        }
        let line = parse(&["--upgrade", "at", "--expect", "/nowhere"]).unwrap();
        let error = line.args.read().unwrap_err();
        assert_eq!(error.kind(), "expect");
        assert!(error.to_string().starts_with("--expect /nowhere: "));
    }
}
