//! Software in an attempt: the messages of PCP at every step, and what of the attempt goes to
//! [`sota`] once it has a slot.

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
    /// The attempt is to be durable before the rest leaves. Not so for most answers to requests
    /// for fragments.
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
            Input::Lost { ask, .. } => item(ask).map_or(sota::Input::Tick, sota::Input::Lost),
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
            Input::Said(
                Saying::Version(_) | Saying::State(_) | Saying::Result(_) | Saying::Delivery(_),
            )
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
            | Ask::Delivery
            | Ask::Push
            | Ask::Result
            | Ask::Execute => Err(ask),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Measured};
    use super::*;
    use crate::engine::sota::Failure;
    use crate::wire::pcp::{FragmentSize, Verdict, Version};

    const TARGET: Target<'_> = Target {
        version: "2.0",
        sources: &[],
    };
    const OK: ResultCode = ResultCode::Ok;

    const fn at(minute: u64) -> Timestamp {
        Timestamp::from_ms(minute * 60_000)
    }

    fn plan() -> Plan {
        Plan {
            version: Version::parse("2.0").unwrap(),
            size: FragmentSize::default(),
            count: 1,
        }
    }

    fn tells(version: &str) -> FromDevice {
        FromDevice::Version {
            result: OK,
            version: Some(Version::parse(version).unwrap()),
        }
    }

    fn reports(version: &str) -> FromDevice {
        FromDevice::Upgraded {
            result: OK,
            version: Some(Version::parse(version).unwrap()),
        }
    }

    fn asks() -> FromDevice {
        FromDevice::Fragment {
            version: plan().version,
            index: 0,
        }
    }

    fn hear(upgrade: &mut Upgrade, minute: u64, message: FromDevice) -> Heard {
        upgrade.hear(at(minute), message, &plan(), &TARGET)
    }

    /// As far as the slot, in one minute.
    fn admit(upgrade: &mut Upgrade, minute: u64) {
        upgrade.step(at(minute), Input::Reachable, &TARGET);
        hear(upgrade, minute, tells("1.0"));
        upgrade.step(at(minute), Input::Measured(Measured::Cell), &TARGET);
        let wishes = upgrade.step(at(minute), Input::Admitted, &TARGET);
        assert_eq!(wishes, vec![Wish::Ask(Ask::NewVersion)]);
        assert!(upgrade.holds_slot());
    }

    fn ended(outcome: Outcome) -> Vec<Wish> {
        vec![Wish::End(outcome)]
    }

    const SUCCESS: Outcome = Outcome::Success { was_there: false };

    #[test]
    fn a_software_upgrade_goes_well() {
        let mut upgrade = Upgrade::new(Kind::Software, at(0));
        let early = hear(&mut upgrade, 0, asks()).answer;
        let no = Answer::Refused {
            index: 0,
            verdict: Verdict::NoTask,
        };
        assert_eq!(early, Some(no), "nobody loads without a slot");
        admit(&mut upgrade, 1);
        let first = hear(&mut upgrade, 2, asks());
        assert_eq!(
            (first.answer, first.commit),
            (Some(Answer::Fragment(0)), true)
        );
        assert_eq!(hear(&mut upgrade, 2, asks()), Heard::default(), "under way");
        upgrade.settle_fragment(0);
        let again = hear(&mut upgrade, 2, asks());
        assert_eq!(
            (again.answer, again.commit),
            (Some(Answer::Fragment(0)), false)
        );
        let has = hear(&mut upgrade, 3, FromDevice::Downloaded(OK));
        assert_eq!(has.wishes, vec![Wish::Ask(Ask::Install)]);
        hear(&mut upgrade, 3, FromDevice::Executed(OK));
        let done = hear(&mut upgrade, 5, reports("2.0"));
        assert_eq!(done.wishes, ended(SUCCESS));
        assert!(!upgrade.holds_slot() && upgrade.deadline().is_none());
        let repeated = hear(&mut upgrade, 6, reports("2.0"));
        assert_eq!((repeated.answer, repeated.wishes), (done.answer, vec![]));
    }

    #[test]
    fn the_version_decides_what_follows() {
        let sources = ["1.0".to_owned()];
        let target = Target {
            version: "2.0",
            sources: &sources,
        };
        let failed = |failure: Failure| ended(Outcome::Failed(failure.into()));
        let refused = FromDevice::Version {
            result: ResultCode::Unlisted(9),
            version: None,
        };
        let not_supported = Reason::NotSupported {
            version: "0.9".to_owned(),
        };
        for (message, wishes) in [
            (tells("1.0"), vec![Wish::Ask(Ask::Coverage)]),
            (tells("2.0"), ended(Outcome::Success { was_there: true })),
            (tells("0.9"), ended(Outcome::Failed(not_supported))),
            (refused, failed(Failure::Refused(ResultCode::Unlisted(9)))),
        ] {
            let mut upgrade = Upgrade::new(Kind::Software, at(0));
            upgrade.step(at(0), Input::Reachable, &target);
            let heard = upgrade.hear(at(1), message, &plan(), &target);
            assert_eq!(heard.wishes, wishes, "{message:?}");
        }
        let mut late = Upgrade::new(Kind::Software, at(0));
        late.step(at(0), Input::Reachable, &target);
        let heard = late.hear(at(3), tells("2.0"), &plan(), &target);
        assert_eq!(heard.wishes, ended(Outcome::Failed(Reason::VersionTimeout)));
    }

    /// A device that loads for an attempt that ended tells the target's version: it is not
    /// believed, and goes on where it was.
    #[test]
    fn the_attempt_after_another_is_not_deceived() {
        let mut first = Upgrade::new(Kind::Software, at(0));
        admit(&mut first, 1);
        hear(&mut first, 2, asks());
        let late = hear(&mut first, 61, FromDevice::Downloaded(OK));
        let timeout = Outcome::Failed(Reason::DownloadTimeout);
        let no = Answer::Downloaded(Verdict::NoTask);
        assert_eq!((late.answer, late.wishes), (Some(no), ended(timeout)));

        let mut second = first.again(at(70));
        second.step(at(70), Input::Reachable, &TARGET);
        let told = hear(&mut second, 70, tells("2.0"));
        assert_eq!(told.wishes, vec![Wish::Ask(Ask::Coverage)]);
        second.step(at(70), Input::Measured(Measured::Cell), &TARGET);
        second.step(at(70), Input::Admitted, &TARGET);
        let has = hear(&mut second, 71, FromDevice::Downloaded(OK));
        assert_eq!(has.wishes, vec![Wish::Ask(Ask::Install)]);

        // The order of the second is carried out while the third waits for its slot.
        second.step(at(101), Input::Tick, &TARGET);
        second.step(at(104), Input::Tick, &TARGET);
        assert_eq!(second.step, Step::Ended);
        let mut third = second.again(at(110));
        let done = hear(&mut third, 111, reports("2.0"));
        assert_eq!(done.answer, Some(Answer::Upgraded(Verdict::Ok)));
        assert_eq!(done.wishes, ended(SUCCESS));
    }

    #[test]
    fn a_device_that_refuses_the_resource_frees_its_slot() {
        for (code, ends) in [("4.04", true), ("5.03", false)] {
            let mut upgrade = Upgrade::new(Kind::Software, at(0));
            admit(&mut upgrade, 1);
            let ask = Ask::NewVersion;
            upgrade.step(at(2), Input::Refused { ask, code }, &TARGET);
            assert_eq!(upgrade.holds_slot(), !ends, "{code}");
            if !ends {
                let wishes = upgrade.step(at(3), Input::Reachable, &TARGET);
                assert_eq!(wishes, vec![Wish::Ask(ask)]);
            }
        }
    }
}
