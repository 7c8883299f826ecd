//! What could not be made durable: refused for now, looked at again later; and what the trace tells of a step.

use super::{AGAIN_AFTER_S, DOUBT_AFTER_S, DOUBTFUL_MAX, RETRY_AFTER_S, Shard, UNHEARD_MAX};
use crate::app::order::OrderError;
use crate::app::step::{Input, Reply, Step};
use crate::app::trace::TraceEntry;
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::engine::exchange::{Outgoing, Response, Settle, Timing};
use crate::store::StoreError;
use crate::wire::coap::{Code, option};

impl Shard {
    /// A commit failed, but may be there all the same: then what was to go down waits for somebody
    /// who carries it.
    pub(super) fn doubt(&mut self, device_id: &DeviceId, step: &Step) {
        let sent = step.effects.iter().filter_map(|effect| match effect {
            Outgoing::Request(request) => request.token.to_u64(),
            Outgoing::Respond { .. } | Outgoing::Settle { .. } | Outgoing::Cancel { .. } => None,
        });
        let tokens: Vec<u64> = sent.collect();
        if !tokens.is_empty() || step.told.is_some() {
            self.look_again(device_id, &tokens, DOUBT_AFTER_S);
        }
    }

    /// Looks at the device then; these tokens are in doubt.
    pub(super) fn look_again(&mut self, device_id: &DeviceId, tokens: &[u64], after_s: u64) {
        if !tokens.is_empty() {
            let doubtful = self.doubtful.entry(device_id.clone()).or_default();
            doubtful.retain(|token| !tokens.contains(token));
            doubtful.extend(tokens);
            let spare = doubtful.len().saturating_sub(DOUBTFUL_MAX);
            doubtful.drain(..spare);
        }
        let at = self.parts.clock.now().plus_s(after_s);
        self.deadlines.arm(device_id, Some(at));
    }

    /// What nobody will ask for again is looked at again later.
    pub(super) fn again(&mut self, device_id: &DeviceId, input: &Input) {
        match input {
            // What the device said of a command is not said again, unless it gets the message again.
            Input::Resume { tokens } => self.look_again(device_id, tokens, AGAIN_AFTER_S),
            Input::Acknowledged { token, .. }
            | Input::Answered { token, .. }
            | Input::RequestFailed { token, .. } => {
                self.look_again(device_id, &[*token], AGAIN_AFTER_S);
            }
            Input::Due | Input::Changed => self.look_again(device_id, &[], AGAIN_AFTER_S),
            Input::Register { .. }
            | Input::Update { .. }
            | Input::Deregister { .. }
            | Input::Report { .. }
            | Input::Partial { .. }
            | Input::ObserveFailed { .. }
            | Input::Order { .. }
            | Input::Over { .. }
            | Input::Strayed { .. }
            | Input::Repeated { .. } => {}
        }
    }

    pub(super) async fn unavailable(
        &mut self,
        device_id: &DeviceId,
        input: &Input,
        error: &StoreError,
    ) {
        self.parts.figures.unavailable.increment(1);
        tracing::warn!(%device_id, %error, "not durable, so not acknowledged");
        self.again(device_id, input);
        let is_notification = matches!(input.reply(), Some(Reply::Notification(_)));
        if is_notification && self.unheard.len() < UNHEARD_MAX {
            self.unheard.insert(device_id.clone());
        }
        let error = OrderError::Store(error.clone());
        self.refuse_for_now(input, error).await;
    }

    /// 5.03 for a request; silence for a notification, which the device repeats; the error for who gave
    /// an order.
    pub(super) async fn refuse_for_now(&mut self, input: &Input, error: OrderError) {
        input.refuse_order(error);
        let outgoing = match input.reply() {
            Some(Reply::Request(id)) => {
                let retry = option::Uint::new(RETRY_AFTER_S).as_bytes().to_vec();
                // Remembered: a repetition that is under way must not succeed, since the device
                // will send the same anew as another message.
                let response = Response {
                    options: vec![(option::MAX_AGE, retry)],
                    remember: Some(Timing::default().max_transmit_span()),
                    ..Response::refusal(Code::SERVICE_UNAVAILABLE)
                };
                Outgoing::Respond { id, response }
            }
            Some(Reply::Notification(id)) => Outgoing::Settle {
                id,
                how: Settle::Silent,
                timing: None,
            },
            Some(Reply::None) | None => return,
        };
        self.send(outgoing).await;
    }

    pub(super) fn trace(&self, device_id: &DeviceId, input: &Input, step: &Step, now: Timestamp) {
        if (step.note.is_none() && step.entries.is_empty()) || !self.parts.tracer.is_on(device_id) {
            return;
        }
        let Some(note) = &step.note else {
            self.trace_entries(device_id, step);
            return;
        };
        let entry = TraceEntry {
            time: now,
            kind: note.kind.unwrap_or_else(|| input.kind()),
            direction: input.direction(),
            summary: note.summary.clone(),
            hex: input.hex(),
            detail: note.detail.clone(),
            error: note.error.clone(),
            hint: note.hint.clone(),
            unbound_only: false,
        };
        self.parts.tracer.record(device_id, entry);
        self.trace_entries(device_id, step);
    }

    pub(super) fn trace_entries(&self, device_id: &DeviceId, step: &Step) {
        for entry in &step.entries {
            self.parts.tracer.record(device_id, entry.clone());
        }
    }
}
