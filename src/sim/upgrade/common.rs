//! What the two ways of upgrading share: what goes out to the server, what is told to the driver, the
//! record that outlives reboots, and the device's fault.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::fault::{Going, Mischief, Step};
use super::image::{Expected, Hash, Image};

/// Executions that are kept.
const EXECUTIONS_MAX: usize = 32;
/// Outputs that wait at most; the oldest go first.
const OUTPUTS_MAX: usize = 256;

/// What the device is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A PCP frame for the server, as a report.
    Frame(FrameOut),
    /// A notification of Object 5.
    Notice(Notice),
    /// A block of a package.
    Fetch(Fetch),
    /// Its power goes for so long. It has to call [`lose_power`](super::Upgrader::lose_power) at once
    /// and [`start`](super::Upgrader::start) when it is back.
    PowerOff(Duration),
}

/// See [`Output::Frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameOut {
    pub bytes: Vec<u8>,
    pub confirmable: bool,
    /// How often it goes out.
    pub copies: u8,
}

/// See [`Output::Notice`]. Always confirmable; the body is TLV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Of Object 5.
    pub resource: u8,
    pub token: Vec<u8>,
    pub sequence: u32,
    pub payload: Vec<u8>,
}

/// See [`Output::Fetch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Uri-Path segments.
    pub path: Vec<String>,
    /// The Block2 option.
    pub block: u32,
    /// How often it goes out; one answer is taken.
    pub copies: u8,
    /// Its answer is of no interest.
    pub is_stray: bool,
}

/// What happened, for who watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A package is offered, and the device wants it. PCP names its version, Object 5 its URI.
    Offered {
        package: String,
    },
    /// The device refused, at a step, with a result of PCP or Object 5.
    Refused {
        result: u8,
    },
    /// Some more is there; bytes. The whole is known with PCP alone, to the fragment.
    Progress {
        have: u64,
        of: Option<u64>,
    },
    Downloaded {
        hash: Hash,
        len: u64,
        intact: Option<bool>,
    },
    Executed {
        intact: Option<bool>,
    },
    Installed {
        version: String,
    },
    /// The download or the installation came to nothing.
    Failed {
        result: u8,
    },
    /// The server took the result.
    Confirmed,
    PowerLost {
        off_for: Duration,
    },
    PowerBack,
}

impl Event {
    /// Stable word for tallies; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Offered { .. } => "offered",
            Self::Refused { .. } => "refused",
            Self::Progress { .. } => "progress",
            Self::Downloaded { .. } => "downloaded",
            Self::Executed { .. } => "executed",
            Self::Installed { .. } => "installed",
            Self::Failed { .. } => "failed",
            Self::Confirmed => "confirmed",
            Self::PowerLost { .. } => "power_lost",
            Self::PowerBack => "power_back",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let different = |intact: Option<bool>| match intact {
            Some(false) => ", NOT the image that was expected",
            Some(true) | None => "",
        };
        match self {
            Self::Offered { package } => write!(f, "is offered {package}"),
            Self::Refused { result } => write!(f, "refuses with result {result}"),
            Self::Progress { have, of: None } => write!(f, "has {have} bytes"),
            Self::Progress { have, of: Some(of) } => write!(f, "has {have} bytes of {of}"),
            Self::Downloaded { len, intact, .. } => {
                write!(f, "has all {len} bytes{}", different(*intact))
            }
            Self::Executed { intact } => write!(f, "installs{}", different(*intact)),
            Self::Installed { version } => write!(f, "runs {version} now"),
            Self::Failed { result } => write!(f, "failed to upgrade with result {result}"),
            Self::Confirmed => f.write_str("was heard with its result"),
            Self::PowerLost { off_for } => write!(f, "is off for {off_for:?}"),
            Self::PowerBack => f.write_str("is on again"),
        }
    }
}

/// One order to install that the device followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    pub version: Option<String>,
    pub len: u64,
    pub hash: Hash,
    /// It is the expected image; `None` when none is known.
    pub intact: Option<bool>,
}

/// What a device went through. It outlives reboots, as a log on the bench would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub offers: u64,
    /// Requests for fragments or blocks, without the copies of a flood.
    pub requests: u64,
    /// Pieces that were taken, and those of them that were not as expected.
    pub pieces: u64,
    pub wrong: u64,
    /// Pieces that came and were not asked for, or had the wrong length.
    pub stale: u64,
    /// Answers without a fragment (0x80, 0x81; 4.04 and the like).
    pub denied: u64,
    /// Orders to install that came too early and were dropped.
    pub early: u64,
    /// Downloads that began at the first piece, and those that went on in the middle.
    pub begun: u64,
    pub resumed: u64,
    pub downloaded: u64,
    pub installed: u64,
    pub failed: u64,
    pub reports: u64,
    pub power_losses: u64,
    /// Frames that were dropped as broken.
    pub broken: u64,
    /// The last orders that were followed, and all that ever were.
    pub executions: VecDeque<Execution>,
    pub executed: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) outputs: VecDeque<Output>,
    pub(super) events: VecDeque<Event>,
    pub(super) record: Record,
    pub(super) mischief: Mischief,
    pub(super) expected: Option<Expected>,
    /// Answers that are late.
    late: VecDeque<(Instant, Output)>,
    told: u64,
}

impl Common {
    pub(super) fn new(mischief: Mischief, expected: Option<Expected>) -> Self {
        Self {
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            record: Record::default(),
            mischief,
            expected,
            late: VecDeque::new(),
            told: 0,
        }
    }

    /// The device is about to take a step. When its power goes, everything else waits.
    pub(super) fn reach(&mut self, step: Step) -> Going {
        let going = self.mischief.reach(step);
        match going {
            Going::Off(off_for) => self.power_off(off_for),
            Going::Refuse(result) => self.events.push_back(Event::Refused { result }),
            Going::On | Going::Silent => {}
        }
        going
    }

    pub(super) fn power_off(&mut self, off_for: Duration) {
        self.outputs.push_back(Output::PowerOff(off_for));
    }

    /// Its power is about to go.
    pub(super) fn loses_power(&self) -> bool {
        let is_off = |output: &Output| matches!(output, Output::PowerOff(_));
        self.outputs.iter().any(is_off)
    }

    pub(super) fn send(&mut self, output: Output) {
        if self.mischief.is_silent() {
            return;
        }
        self.outputs.push_back(output);
        if self.outputs.len() > OUTPUTS_MAX {
            self.outputs.pop_front();
        }
    }

    /// Sends the answer to a question, late where the device is like that.
    pub(super) fn answer(&mut self, now: Instant, output: Output) {
        let late = self.mischief.lateness();
        if late.is_zero() || self.late.len() >= OUTPUTS_MAX {
            self.send(output);
        } else {
            self.late.push_back((now + late, output));
        }
    }

    /// Sends the answers whose time has come.
    pub(super) fn send_late(&mut self, now: Instant) {
        while let Some((_, output)) = self.late.pop_front_if(|(at, _)| *at <= now) {
            self.send(output);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.late.front().map(|(at, _)| *at)
    }

    pub(super) fn lose_power(&mut self) {
        self.outputs.clear();
        self.late.clear();
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Takes a piece into an image, spoilt where the fault has it; true when it was spoilt.
    pub(super) fn take_piece(&mut self, image: &mut Image, piece: &[u8], of: Option<u64>) -> bool {
        let is_spoilt = self.mischief.corrupts(image.pieces());
        if !image.is_next(piece) {
            self.record.wrong += 1;
        }
        if is_spoilt {
            let mut spoilt = piece.to_vec();
            if let Some(first) = spoilt.first_mut() {
                *first ^= 0x01;
            }
            image.append(&spoilt);
        } else {
            image.append(piece);
        }
        self.record.pieces += 1;
        let have = image.len() as u64;
        // Every hundredth of the whole, or every 32 KB, is enough for who watches.
        let mark = match of {
            Some(of) => have * 100 / of.max(1),
            None => have / 32_768,
        };
        if image.pieces() == 1 || mark != self.told {
            self.told = mark;
            self.tell(Event::Progress { have, of });
        }
        is_spoilt
    }

    pub(super) fn note_downloaded(&mut self, image: &Image) {
        self.record.downloaded += 1;
        self.tell(Event::Downloaded {
            hash: image.hash(),
            len: image.len() as u64,
            intact: image.is_intact(),
        });
    }

    pub(super) fn note_executed(&mut self, image: &Image, version: Option<String>) {
        let intact = image.is_intact();
        self.record.executed += 1;
        self.record.executions.push_back(Execution {
            version,
            len: image.len() as u64,
            hash: image.hash(),
            intact,
        });
        if self.record.executions.len() > EXECUTIONS_MAX {
            self.record.executions.pop_front();
        }
        self.tell(Event::Executed { intact });
    }

    pub(super) fn note_installed(&mut self, version: &str) {
        self.record.installed += 1;
        let version = version.to_owned();
        self.tell(Event::Installed { version });
    }

    pub(super) fn note_failed(&mut self, result: u8) {
        self.record.failed += 1;
        self.tell(Event::Failed { result });
    }
}
