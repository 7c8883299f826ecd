//! Devices that answer commands, or frames of an upgrade: the side of these workloads that speaks CoAP.
//! A command is acknowledged with 2.04, carried out once (its repetition, by message id, is acknowledged
//! again), and answered at once as an uplink; answers of one device go one after the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Body, Engine, Job, LoadError, NAP, Phase, Progress, Slot, Step, Workload, template};
use crate::sim::payload::{Command, Verdict};

/// Answers of one device that wait at most; what is more is not answered.
const WAITING_MAX: usize = 64;

/// What a device remembers of its commands.
#[derive(Debug, Default)]
pub(super) struct Answering {
    /// Message id of the last one: the server sends one at a time.
    last: Option<u16>,
    waiting: VecDeque<Vec<u8>>,
}

impl Answering {
    /// Another answer, unless too many wait.
    pub(super) fn add(&mut self, response: Vec<u8>) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(response);
        }
    }
}

/// What the devices did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sim::load) struct Answered {
    pub(in crate::sim::load) executed: u64,
    /// Commands that came again.
    pub(in crate::sim::load) repeated: u64,
    /// Bytes that are no command of the product.
    pub(in crate::sim::load) unread: u64,
    /// Answers sent again, and answers that nothing acknowledged.
    pub(in crate::sim::load) retransmitted: u64,
    pub(in crate::sim::load) timeouts: u64,
}

impl Engine<'_> {
    /// Answers commands until all is over; tells how many have succeeded.
    pub(in crate::sim::load) fn answer_until(
        mut self,
        is_over: &AtomicBool,
        succeeded: &AtomicU64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Answered, LoadError> {
        let begun = self.job.clock.instant();
        progress(Progress::measuring(0, Duration::ZERO));
        while !is_over.load(Ordering::Relaxed) {
            self.hear(NAP)?;
            self.repeat_overdue()?;
            let done = succeeded.load(Ordering::Relaxed);
            self.tell(progress, Phase::Measuring, done, begun);
        }
        let done = succeeded.load(Ordering::Relaxed);
        let elapsed = self.job.clock.instant() - begun;
        progress(Progress::measuring(done, elapsed));
        self.lines.close()?;
        Ok(Answered {
            retransmitted: self.sums.retransmitted,
            timeouts: self.sums.timeouts,
            ..self.answered
        })
    }

    pub(super) const fn takes_commands(&self) -> bool {
        matches!(
            self.job.workload,
            Workload::Command { .. } | Workload::Fragments { .. }
        )
    }

    pub(super) fn take_command(
        &mut self,
        device: u32,
        msg_id: u16,
        token: &[u8],
        bytes: &[u8],
        now_us: u64,
    ) -> Result<(), LoadError> {
        template::changed(&mut self.answer, msg_id, token);
        self.lines.send(device, &self.answer)?;
        let Some(slot) = self.slots.get_mut(device as usize) else {
            return Ok(());
        };
        if slot.answering.last.replace(msg_id) == Some(msg_id) {
            self.answered.repeated += 1;
            return Ok(());
        }
        self.answered.executed += 1;
        if matches!(self.job.workload, Workload::Fragments { .. }) {
            return self.take_frame(device, bytes, now_us);
        }
        let response = match &self.job.body {
            Body::Fixed(answer) => Some(answer.clone()),
            Body::Product(product) => {
                let command = Command::read(*product, bytes);
                command.and_then(|command| command.response(Verdict::Done))
            }
        };
        match response {
            None => self.answered.unread += 1,
            Some(response) => slot.answering.add(response),
        }
        self.answer_next(device)
    }

    /// Sends the next answer of a device that has nothing under way.
    pub(super) fn answer_next(&mut self, device: u32) -> Result<(), LoadError> {
        let slot = self.slots.get_mut(device as usize);
        let idle = slot.filter(|slot| !slot.busy);
        match idle.and_then(|slot| slot.answering.waiting.pop_front()) {
            Some(bytes) => self.start(device, &Step::Answer(bytes), None),
            None => Ok(()),
        }
    }
}

/// Writes the device's next datagram: these bytes as an uplink.
pub(super) fn write(slot: &mut Slot, job: &Job, bytes: &[u8]) {
    let is_raw = matches!(
        job.workload,
        Workload::Command { raw: true } | Workload::Fragments { raw: true }
    );
    let out = &mut slot.datagram;
    if is_raw {
        template::post_data(out, slot.msg_id, bytes);
    } else {
        slot.sequence = slot.sequence.wrapping_add(1);
        template::notify(out, slot.msg_id, &slot.token, slot.sequence, bytes);
    }
}
