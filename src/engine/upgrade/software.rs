//! Software in an attempt: the messages of PCP at every step, and what of the attempt goes to
//! [`sota`](super::super::sota) once it has a slot.

use super::{Ask, Input, Outcome, Reason, Saying, Step, Target, Upgrade, Wish};
use crate::base::time::Timestamp;
use crate::engine::sota::{self, Answer, Effects, End, Item, Phase, Plan, Request, State};
use crate::wire::pcp::{FromDevice, ResultCode};

/// What comes of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Goes back to the device.
    pub answer: Option<Answer>,
    pub wishes: Vec<Wish>,
    /// The attempt is to be durable before the rest leaves. Not so for most answers to requests for
    /// fragments.
    pub commit: bool,
}

impl Upgrade {
    /// Advances by a message of PCP. Answers a request for a fragment without allocating.
    pub fn hear(
        &mut self,
        now: Timestamp,
        message: FromDevice,
        plan: &Plan,
        target: &Target<'_>,
    ) -> Heard {
        let mut heard = Heard::default();
        if let Step::Sota(mut state) = self.step {
            let effects = state.hear(&mut self.software, now, message, plan);
            self.follow_software(state, effects, &mut heard.wishes);
            heard.answer = effects.answer;
            heard.commit = effects.commit;
            return heard;
        }
        heard.wishes = match (self.step, message) {
            (Step::Version { .. }, FromDevice::Version { result, version }) => {
                self.hear_version(now, result, version.map(|v| v.to_string()), target)
            }
            _ => self.step(now, Input::Tick, target),
        };
        let waits = self.step != Step::Ended;
        let outside = self.software.hear(message, &plan.version, waits);
        heard.answer = outside.answer;
        if outside.success {
            heard.wishes.clear();
            self.end(Outcome::Success { was_there: false }, &mut heard.wishes);
        }
        heard.commit = !heard.wishes.is_empty();
        heard
    }

    fn hear_version(
        &mut self,
        now: Timestamp,
        result: ResultCode,
        version: Option<String>,
        target: &Target<'_>,
    ) -> Vec<Wish> {
        if let (ResultCode::Ok, Some(version)) = (result, version) {
            return self.step(now, Input::Said(Saying::Version(&version)), target);
        }
        let mut wishes = self.step(now, Input::Tick, target);
        if self.step != Step::Ended {
            let reason = sota::Failure::Refused(result).into();
            self.end(Outcome::Failed(reason), &mut wishes);
        }
        wishes
    }

    pub(super) fn begin_software(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        let (state, request) = State::begin(now, &mut self.software);
        self.step = Step::Sota(state);
        wishes.push(Wish::Ask(request.into()));
    }

    pub(super) fn step_software(
        &mut self,
        now: Timestamp,
        mut state: State,
        input: Input<'_>,
        wishes: &mut Vec<Wish>,
    ) {
        let item = |ask| Request::try_from(ask).map(Item::Request);
        let input = match input {
            Input::Tick => sota::Input::Tick,
            Input::Reachable | Input::Registered => sota::Input::Reachable,
            Input::Stop => sota::Input::Stop,
            Input::Said(Saying::Done(ask)) => {
                item(ask).map_or(sota::Input::Tick, sota::Input::Arrived)
            }
            Input::Lost { ask } => item(ask).map_or(sota::Input::Tick, sota::Input::Lost),
            Input::Refused { ask, code } => {
                let needed = matches!(
                    (state.phase, ask),
                    (Phase::Notified, Ask::NewVersion) | (Phase::Execute { .. }, Ask::Install)
                );
                if needed && !super::fota::is_for_now(code) {
                    let (what, code) = (ask.words(), code.to_owned());
                    return self.fail(Reason::Refused { what, code }, wishes);
                }
                item(ask).map_or(sota::Input::Tick, sota::Input::Lost)
            }
            Input::Said(Saying::Version(_) | Saying::State(_) | Saying::Result(_))
            | Input::Measured(_)
            | Input::Admitted
            | Input::Fetched => sota::Input::Tick,
        };
        let effects = state.step(&mut self.software, now, input);
        self.follow_software(state, effects, wishes);
    }

    /// It comes from a former process: what was under way may never have left.
    pub fn recover(&mut self) {
        if let Step::Sota(state) = &mut self.step {
            state.recover(&mut self.software);
        }
    }

    /// A fragment has reached the device, or not: its next request for it is answered again at once.
    pub const fn settle_fragment(&mut self, index: u16) {
        if let Step::Sota(state) = &mut self.step {
            state.settle_fragment(index);
        }
    }

    fn follow_software(&mut self, state: State, effects: Effects, wishes: &mut Vec<Wish>) {
        self.step = Step::Sota(state);
        if let Some(request) = effects.send {
            wishes.push(Wish::Ask(request.into()));
        }
        match effects.end {
            None => {}
            Some(End::Success) => {
                let was_there = state.phase == Phase::Notified;
                self.end(Outcome::Success { was_there }, wishes);
            }
            Some(End::Failed(failure)) => self.fail(failure.into(), wishes),
            Some(End::Stopped) => self.end(Outcome::Stopped, wishes),
        }
    }
}

impl From<Request> for Ask {
    fn from(request: Request) -> Self {
        match request {
            Request::Version => Self::Version,
            Request::Notify => Self::NewVersion,
            Request::Execute => Self::Install,
        }
    }
}

/// What of the questions is a message of PCP once there is a slot.
impl TryFrom<Ask> for Request {
    type Error = Ask;

    fn try_from(ask: Ask) -> Result<Self, Ask> {
        match ask {
            Ask::Version => Ok(Self::Version),
            Ask::NewVersion => Ok(Self::Notify),
            Ask::Install => Ok(Self::Execute),
            Ask::Coverage
            | Ask::Cell
            | Ask::ObserveState
            | Ask::ObserveResult
            | Ask::WriteUri
            | Ask::ResetUri
            | Ask::Result
            | Ask::Execute => Err(ask),
        }
    }
}
