//! What a device sends beyond its limits (`engine::limit`): refused, and told of once.
//!
//! A request hears 4.29 with the time until there is room, as Max-Age (RFC 8516). A notification has no
//! response: it is not acknowledged, so that nothing is acknowledged that is not kept, and the repetition that
//! the device sends by itself finds room. What a device says while it fetches an upgrade counts for nothing: it
//! was told to.

use std::time::Duration;

use super::{Attempt, Shard};
use crate::app::envelope::{self, DeviceHeader};
use crate::app::step::{Draft, Input, Loaded, Note, Outcome, Reply, Step};
use crate::app::upgrade;
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::engine::exchange::{Outgoing, Response, Settle, Timing};
use crate::engine::limit::{Limit, Settings};
use crate::wire::coap::{Code, option};

impl Shard {
    /// Charges the device for a message of its own that is looked at for the first time. How long until there is
    /// room, when there is none.
    pub(super) fn charge(
        &mut self,
        loaded: &Loaded,
        input: &Input,
        attempt: &Attempt,
    ) -> Option<Duration> {
        if !attempt.is_first() || !counts(loaded, input) {
            return None;
        }
        let device_id = &loaded.device.device_id;
        let now = self.parts.clock.instant();
        let charged = self.meter.charge(device_id, now);
        if let Some(limit) = charged.alarm {
            self.alarms.push((device_id.clone(), limit));
        }
        if charged.refused.is_some() {
            self.parts.figures.limited.increment(1);
        }
        charged.refused
    }

    pub(super) async fn refuse_over(
        &mut self,
        device_id: &DeviceId,
        input: &Input,
        wait: Duration,
        now: Timestamp,
    ) {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let (outgoing, how) = match input.reply() {
            Some(Reply::Request(id)) => {
                let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
                let max_age = option::Uint::new(seconds).as_bytes().to_vec();
                // Remembered: a repetition that is under way must not succeed, since the device will send
                // the same anew as another message.
                let response = Response {
                    options: vec![(option::MAX_AGE, max_age)],
                    remember: Some(Timing::default().max_transmit_span()),
                    ..Response::refusal(Code::TOO_MANY_REQUESTS)
                };
                let outgoing = Outgoing::Respond { id, response };
                (Some(outgoing), "refused with 4.29")
            }
            Some(Reply::Notification(id)) => {
                let settle = Outgoing::Settle {
                    id,
                    how: Settle::Silent,
                    timing: None,
                };
                (Some(settle), "not acknowledged")
            }
            Some(Reply::None) | None => (None, "dropped"),
        };
        let step = Step {
            note: Some(Note::failed(
                how,
                "it sends more than limits.device_per_s allows",
                "raise limits.device_per_s or limits.device_burst if it should",
            )),
            ..Step::default()
        };
        self.trace(device_id, input, &step, now);
        if let Some(outgoing) = outgoing {
            self.send(outgoing).await;
        }
    }

    /// Tells of what passed a limit.
    pub(super) async fn sound_alarms(&mut self) {
        while let Some((device_id, limit)) = self.alarms.pop() {
            self.parts.figures.count_alarm(limit);
            self.take(device_id, Input::Over { limit }).await;
        }
    }
}

/// Messages that cost a commit. Answers to our questions and fetches of packages are none of the device's choice.
fn counts(loaded: &Loaded, input: &Input) -> bool {
    match input {
        Input::Register { .. } | Input::Update { .. } | Input::Deregister { .. } => true,
        Input::Report { payload, .. } => !upgrade::pcp::is_of_upgrade(loaded, payload),
        Input::Partial { .. }
        | Input::ObserveFailed { .. }
        | Input::Strayed { .. }
        | Input::Repeated { .. }
        | Input::Acknowledged { .. }
        | Input::Answered { .. }
        | Input::RequestFailed { .. }
        | Input::Resume { .. }
        | Input::Order { .. }
        | Input::Over { .. }
        | Input::Due
        | Input::Changed => false,
    }
}

/// The event for subscribers.
pub(super) fn tell(loaded: &Loaded, limit: Limit, settings: &Settings, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let header = DeviceHeader::from(&loaded.device);
    let (most, action) = match limit {
        Limit::PerSecond => (settings.device_per_s, "refused"),
        Limit::PerMinute => (settings.device_alarm_per_min, "taken"),
    };
    draft.tell(envelope::device_limit(
        &header,
        limit.as_str(),
        most,
        action,
        now,
    ));
    let mut step = draft.finish(Outcome::Done);
    let text = format!("sends more than {most} messages {}", words(limit));
    step.note = Some(Note::new(text));
    step
}

const fn words(limit: Limit) -> &'static str {
    match limit {
        Limit::PerSecond => "a second",
        Limit::PerMinute => "a minute",
    }
}
