//! What is known of a device and a package beyond one attempt: how far it came, and what it was
//! sent. Messages that come outside of a slot are judged by it.

use super::Answer;
use super::served::Served;
use crate::wire::pcp::{FromDevice, ResultCode, Verdict, Version};

/// Of one device and one package; kept over the attempts of a task, and best over tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub reach: Reach,
    /// It was told of the new version, and took no order since: it may tell the target's version
    /// before it has loaded anything.
    pub doubtful: bool,
    /// At the last question it told the target's version and was not believed.
    pub told_target: bool,
    pub served: Served,
}

/// The furthest that any attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    Nothing,
    /// It was told of the new version.
    Notified,
    /// It was ordered to execute the package.
    Ordered,
}

/// What to do about a message that comes outside of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outside {
    pub answer: Option<Answer>,
    /// An order of an earlier attempt was carried out after all: the task is done.
    pub success: bool,
}

impl Memory {
    /// The device never heard of this package.
    pub const NEW: Self = Self {
        reach: Reach::Nothing,
        doubtful: false,
        told_target: false,
        served: Served::NOTHING,
    };

    /// It may have heard of it in a task that nobody remembers: it can have all of it.
    pub const UNKNOWN: Self = Self {
        reach: Reach::Notified,
        doubtful: true,
        told_target: false,
        served: Served::UNKNOWN,
    };

    /// The device tells its version before it has a slot. Whether that is the target's, and it is
    /// believed: then the task is done. One that is not believed is told of the new version all
    /// the same, and when it then says that it has the newest, that is a success too.
    pub fn told(&mut self, is_target: bool) -> bool {
        self.told_target = is_target;
        is_target && !self.doubtful
    }

    /// A message without a slot. `waits`: a task of this package goes on; else it has ended, or
    /// there never was one (with [`Memory::NEW`]).
    pub fn hear(&self, message: FromDevice, target: &Version, waits: bool) -> Outside {
        let task = |is_ours| match is_ours {
            true => Verdict::Ok,
            false => Verdict::NoTask,
        };
        let mut outside = Outside::default();
        outside.answer = match message {
            // Nobody loads without a slot.
            FromDevice::Fragment { index, .. } => Some(Answer::Refused {
                index,
                verdict: Verdict::NoTask,
            }),
            // It has all of it and waits for the order, which comes with the slot, or not any
            // more.
            FromDevice::Downloaded(result) => {
                let is_ours = waits || result != ResultCode::Ok;
                let verdict = task(is_ours && self.reach >= Reach::Notified);
                Some(Answer::Downloaded(verdict))
            }
            FromDevice::Upgraded { result, version } => {
                let ordered = self.reach >= Reach::Ordered;
                let done = result == ResultCode::Ok && version == Some(*target);
                outside.success = waits && ordered && done;
                Some(Answer::Upgraded(task(ordered)))
            }
            FromDevice::Version { .. } | FromDevice::Notified(_) | FromDevice::Executed(_) => None,
        };
        outside
    }
}
