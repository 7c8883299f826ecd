//! What messages of a device do to the attempt: one function for each message.

use super::memory::Memory;
use super::served::Claim;
use super::{
    Answer, Effects, End, FLIGHT_MS, Failure, ORDER_AGAIN_MS, ORDER_ANEW_MS, Phase, Plan, Request,
    Sent, State,
};
use crate::base::time::Timestamp;
use crate::wire::pcp::{FromDevice, ResultCode, Verdict, Version};

/// What one vendor's devices send as 23 while they wait for something.
const WAITS: ResultCode = ResultCode::Unlisted(6);

impl State {
    /// Advances by a message of the device.
    pub fn hear(
        &mut self,
        memory: &mut Memory,
        now: Timestamp,
        message: FromDevice,
        plan: &Plan,
    ) -> Effects {
        let mut heard = false;
        let mut effects = self.act(memory, now, |state, memory, effects| {
            heard = true;
            match message {
                FromDevice::Version { result, version } => {
                    state.version(result, version, plan, effects);
                }
                FromDevice::Notified(result) => state.notified(memory, result, effects),
                FromDevice::Fragment { version, index } => {
                    state.fragment(memory, now, version, index, plan, effects);
                }
                FromDevice::Downloaded(result) => {
                    state.downloaded(memory, now, result, plan, effects);
                }
                FromDevice::Executed(result) => state.executed(memory, result, effects),
                FromDevice::Upgraded { result, version } => {
                    state.upgraded(memory, message, result, version, plan, effects);
                }
            }
            // It listens: what it did not get goes out again.
            if state.asked.lost && effects.send.is_none() && effects.end.is_none() {
                effects.send = state.ask_again(now);
            }
        });
        // Too late for the attempt.
        if !heard {
            effects.answer = memory.hear(message, &plan.version, false).answer;
        }
        effects
    }

    /// Answer to 19. Before the check at the end it says nothing: one that was notified may tell
    /// the target.
    fn version(
        &mut self,
        result: ResultCode,
        version: Option<Version>,
        plan: &Plan,
        effects: &mut Effects,
    ) {
        let Phase::Check { accepted } = self.phase else {
            return;
        };
        let told = version.filter(|_| result == ResultCode::Ok);
        effects.end = Some(match (accepted, told) {
            (false, _) => End::Failed(Failure::UpdateTimeout),
            (true, Some(version)) if version == plan.version => End::Success,
            (true, Some(_)) => End::Failed(Failure::ResultTimeout),
            (true, None) => End::Failed(Failure::CheckTimeout),
        });
    }

    /// Answer to 20.
    fn notified(&mut self, memory: &Memory, result: ResultCode, effects: &mut Effects) {
        // One that loads already may refuse to be told again.
        let again = self.asked.times > 1;
        let busy = matches!(result, ResultCode::InUse | ResultCode::Newest);
        effects.end = match (self.phase, result) {
            (Phase::Notified | Phase::Downloading, ResultCode::Ok) => {
                self.asked.lost = false;
                None
            }
            // It said so before, when it could not be believed.
            (Phase::Notified, ResultCode::Newest) if memory.told_target => Some(End::Success),
            (Phase::Downloading, _) if again && busy => None,
            (Phase::Notified | Phase::Downloading, _) => {
                Some(End::Failed(Failure::Refused(result)))
            }
            (Phase::Execute { .. } | Phase::Updating | Phase::Check { .. }, _) => None,
        };
    }

    /// 21. Every one is answered from the package, whatever came before.
    fn fragment(
        &mut self,
        memory: &mut Memory,
        now: Timestamp,
        version: Version,
        index: u16,
        plan: &Plan,
        effects: &mut Effects,
    ) {
        let refused = |verdict| Some(Answer::Refused { index, verdict });
        if version != plan.version {
            effects.answer = refused(Verdict::NoTask);
            return;
        }
        if index >= plan.count {
            effects.answer = refused(Verdict::NoFragment);
            return;
        }
        let under_way =
            |sent: Sent| sent.index == index && sent.flying && now.since_ms(sent.at) < FLIGHT_MS;
        if self.last.is_some_and(under_way) {
            return;
        }
        self.last = Some(Sent {
            index,
            at: now,
            flying: true,
        });
        memory.served.add(index);
        effects.answer = Some(Answer::Fragment(index));
        match &mut self.phase {
            Phase::Notified => {
                self.phase = Phase::Downloading;
                self.asked.lost = false;
            }
            Phase::Downloading => self.asked.lost = false,
            Phase::Execute { held } => *held = true,
            Phase::Updating | Phase::Check { .. } => {}
        }
    }

    /// 22. Each is answered.
    fn downloaded(
        &mut self,
        memory: &Memory,
        now: Timestamp,
        result: ResultCode,
        plan: &Plan,
        effects: &mut Effects,
    ) {
        effects.answer = Some(Answer::Downloaded(Verdict::Ok));
        if result != ResultCode::Ok {
            effects.end = Some(End::Failed(Failure::Refused(result)));
            return;
        }
        let since_ms = now.since_ms(self.asked.at);
        let order = match self.phase {
            Phase::Notified | Phase::Downloading => match memory.served.claim(plan.count) {
                Claim::Proven | Claim::Possible => {
                    self.enter(Phase::Execute { held: false }, now);
                    effects.send = Some(Request::Execute);
                    return;
                }
                // Nothing that it could have is what it claims to have.
                Claim::Refuted => {
                    effects.answer = Some(Answer::Downloaded(Verdict::NoTask));
                    return;
                }
            },
            Phase::Execute { held } => {
                self.phase = Phase::Execute { held: false };
                held || self.asked.lost || since_ms >= ORDER_AGAIN_MS
            }
            Phase::Updating => since_ms >= ORDER_ANEW_MS,
            Phase::Check { .. } => false,
        };
        if order {
            self.ask(now);
            effects.send = Some(Request::Execute);
        }
    }

    /// Answer to 23.
    fn executed(&mut self, memory: &mut Memory, result: ResultCode, effects: &mut Effects) {
        let again = self.asked.times > 1;
        match (self.phase, result) {
            (Phase::Execute { .. }, ResultCode::Ok) => {
                self.phase = Phase::Updating;
                memory.doubtful = false;
            }
            (Phase::Check { .. }, ResultCode::Ok) => {
                self.phase = Phase::Check { accepted: true };
                memory.doubtful = false;
            }
            (_, WAITS) => {}
            // It may have begun with the first order.
            (Phase::Execute { .. }, ResultCode::InUse) if again => {}
            (Phase::Execute { .. }, _) => {
                effects.end = Some(End::Failed(Failure::Refused(result)));
            }
            // Not ordered yet, or to an order that was repeated after it was taken.
            (Phase::Notified | Phase::Downloading | Phase::Updating | Phase::Check { .. }, _) => {}
        }
    }

    /// 24. Each is answered.
    fn upgraded(
        &mut self,
        memory: &Memory,
        message: FromDevice,
        result: ResultCode,
        version: Option<Version>,
        plan: &Plan,
        effects: &mut Effects,
    ) {
        match self.phase {
            // Nothing was ordered in this attempt, perhaps in one before it.
            Phase::Notified | Phase::Downloading => {
                let outside = memory.hear(message, &plan.version, true);
                effects.answer = outside.answer;
                effects.end = outside.success.then_some(End::Success);
            }
            Phase::Execute { .. } | Phase::Updating | Phase::Check { .. } => {
                effects.answer = Some(Answer::Upgraded(Verdict::Ok));
                effects.end = Some(match (result, version) {
                    (ResultCode::Ok, Some(version)) if version == plan.version => End::Success,
                    (ResultCode::Ok, Some(version)) => End::Failed(Failure::OtherVersion(version)),
                    (result, _) => End::Failed(Failure::Refused(result)),
                });
            }
        }
    }
}
