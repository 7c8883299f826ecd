//! How a device carries out what its [`Upgrader`] wants: frames as reports, notifications of object 5, blocks,
//! and the loss of its power.
//!
//! ```text
//! On --power_off(off_for)--> Off --off_for later--> On: registers anew, the upgrader starts
//! awake --awake_max, in an upgrade--> suspended --next report--> awake: asks again
//! ```
//!
//! While it is off it hears and says nothing, and reports wait. A device that is never online is off for ever.

use std::time::{Duration, Instant};

use coap_lite::{CoapOption, MessageType, Packet};

use super::{Device, Event, Report, Task};
use crate::sim::message::{self, Draft};
use crate::sim::upgrade::fota::{Block, FetchError, NoticeEnd};
use crate::sim::upgrade::{
    Answer, Event as Upgrade, Fetch, FrameOut, Notice, Output, Reply, Request, Upgrader,
};

/// Whether the device has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    On,
    /// Until then; `None`: for ever.
    Off(Option<Instant>),
}

impl Device {
    /// How the device upgrades, and what it went through.
    pub fn upgrader(&self) -> Option<&Upgrader> {
        self.upgrader.as_deref()
    }

    pub fn upgrader_mut(&mut self) -> Option<&mut Upgrader> {
        self.upgrader.as_deref_mut()
    }

    /// It never says anything.
    pub fn is_dead(&self) -> bool {
        self.power == Power::Off(None)
    }

    /// It has no power at the moment.
    pub fn is_off(&self) -> bool {
        self.power != Power::On
    }

    /// Its power goes for so long. What waits or is under way is lost; then it registers anew.
    pub fn power_off(&mut self, now: Instant, off_for: Duration) {
        if self.is_off() {
            return;
        }
        self.lose_memory();
        self.power = Power::Off(Some(now + off_for));
        let lost = Upgrade::PowerLost { off_for };
        self.events.push_back(Event::Upgrade(lost));
    }

    pub(super) fn power_on(&mut self, now: Instant) {
        self.power = Power::On;
        self.events.push_back(Event::Upgrade(Upgrade::PowerBack));
        self.woke_at = Some(now);
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.start(now);
        }
        self.register(now);
    }

    /// The radio is on again, if it was not.
    pub(super) fn wake_radio(&mut self, now: Instant) {
        if self.is_suspended || self.woke_at.is_none() || !self.is_listening(now) {
            self.woke_at = Some(now);
        }
        if std::mem::take(&mut self.is_suspended)
            && let Some(upgrader) = &mut self.upgrader
        {
            upgrader.resume(now);
        }
    }

    /// When an upgrade has kept the radio on for too long.
    fn suspends_at(&self) -> Option<Instant> {
        let longest = self.settings.conduct.awake_max?;
        let is_busy = self.upgrader.as_ref().is_some_and(|u| u.is_busy());
        let woke_at = self.woke_at.filter(|_| is_busy && !self.is_suspended)?;
        Some(woke_at + longest)
    }

    pub(super) fn upgrade_deadline(&self) -> Option<Instant> {
        let upgrader = self.upgrader.as_ref().filter(|_| !self.is_suspended);
        let own = upgrader.and_then(|u| u.deadline());
        own.into_iter().chain(self.suspends_at()).min()
    }

    /// Lets the upgrade advance, and does what it wants.
    pub(super) fn pump_upgrade(&mut self, now: Instant) {
        if self.suspends_at().is_some_and(|at| at <= now) {
            self.suspend();
        }
        if self.is_suspended || self.is_off() {
            return;
        }
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.tick(now);
        }
        while let Some(output) = self.upgrader.as_mut().and_then(|u| u.output()) {
            self.obey(now, output);
        }
        while let Some(event) = self.upgrader.as_mut().and_then(|u| u.event()) {
            self.events.push_back(Event::Upgrade(event));
        }
    }

    fn obey(&mut self, now: Instant, output: Output) {
        match output {
            Output::Frame(frame) => self.enqueue_frame(frame),
            Output::Notice(notice) => self.enqueue_notice(notice),
            Output::Fetch(fetch) => self.enqueue_answer(Task::Fetch(fetch)),
            Output::PowerOff(off_for) => self.power_off(now, off_for),
        }
    }

    /// A frame that waits already need not wait twice, unless it is meant to.
    fn enqueue_frame(&mut self, frame: FrameOut) {
        let waits = |task: &Task| match task {
            Task::Report(report) => report.payload == frame.bytes,
            _ => false,
        };
        if frame.copies <= 1 && self.queue.iter().any(waits) {
            return;
        }
        for _ in 0..frame.copies.max(1) {
            let report = Report::of_upgrade(frame.bytes.clone(), frame.confirmable);
            self.enqueue_answer(Task::Report(report));
        }
    }

    /// A notification that waits still is of a state that is over: the new one takes its place (RFC 7641
    /// §4.5.2). The same again is meant to be.
    fn enqueue_notice(&mut self, notice: Notice) {
        let is_over = |task: &&mut Task| match task {
            Task::Notice(waiting) => {
                waiting.resource == notice.resource && waiting.payload != notice.payload
            }
            _ => false,
        };
        match self.queue.iter_mut().find(is_over) {
            Some(task) => {
                let former = std::mem::replace(task, Task::Notice(notice));
                self.give_up(&former);
            }
            None => self.enqueue_answer(Task::Notice(notice)),
        }
    }

    fn suspend(&mut self) {
        self.is_suspended = true;
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.pause();
        }
        if let Some(pending) = self.pending.take_if(|p| p.task.is_upgrade()) {
            self.give_up(&pending.task);
        }
        let (upgrade, rest) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition::<Vec<_>, _>(Task::is_upgrade);
        self.queue = rest.into();
        for task in upgrade {
            self.give_up(&task);
        }
    }

    fn give_up(&mut self, task: &Task) {
        if let (Task::Notice(notice), Some(upgrader)) = (task, &mut self.upgrader) {
            upgrader.settled(notice, NoticeEnd::Lost);
        }
    }

    /// A downlink is meant for the upgrade.
    pub(super) fn is_frame(&self, payload: &[u8]) -> bool {
        self.upgrader.as_ref().is_some_and(|u| u.is_frame(payload))
    }

    /// True when a downlink was taken for the upgrade.
    pub(super) fn take_frame(&mut self, now: Instant, payload: &[u8]) -> bool {
        let upgrader = self.upgrader.as_mut();
        upgrader.is_some_and(|upgrader| upgrader.take(now, payload))
    }

    /// True when the request was for an object of the upgrade.
    pub(super) fn take_object_request(
        &mut self,
        now: Instant,
        packet: &Packet,
        code: u8,
        path: &str,
    ) -> bool {
        let Some(upgrader) = &mut self.upgrader else {
            return false;
        };
        let format = |option| {
            let value = message::uint(packet, option);
            value.and_then(|v| u16::try_from(v).ok())
        };
        let request = Request {
            code,
            path,
            token: packet.get_token(),
            observe: message::uint(packet, CoapOption::Observe),
            format: format(CoapOption::ContentFormat),
            accept: format(CoapOption::Accept),
            block1: message::uint(packet, CoapOption::Block1),
            payload: &packet.payload,
        };
        match upgrader.request(now, &request) {
            Reply::Foreign => return false,
            Reply::Silence => {}
            Reply::Answer(answer) => {
                let draft = answer_draft(packet, &answer);
                self.give_receipt(now, packet, vec![draft], answer.after);
            }
        }
        true
    }

    /// Asks for a block; copies and strays go as well, and nobody waits for their answers.
    pub(super) fn send_fetch(&mut self, now: Instant, fetch: Fetch) {
        let copies = match fetch.is_stray {
            true => fetch.copies.max(1),
            false => fetch.copies.saturating_sub(1),
        };
        for _ in 0..copies {
            let (_, _, draft) = self.fetch_draft(&fetch, MessageType::NonConfirmable);
            self.outgoing.extend(draft.bytes().ok());
        }
        if fetch.is_stray {
            return;
        }
        let (msg_id, token, draft) = self.fetch_draft(&fetch, MessageType::Confirmable);
        match draft.bytes() {
            Ok(datagram) => self.await_answer(now, Task::Fetch(fetch), msg_id, token, datagram),
            Err(_) => self.fetch_failed(now),
        }
    }

    fn fetch_draft(&mut self, fetch: &Fetch, kind: MessageType) -> (u16, Vec<u8>, Draft) {
        let msg_id = self.take_msg_id();
        let token = self.rng.u32(..).to_be_bytes().to_vec();
        let draft = Draft::new(kind, message::GET, msg_id).token(&token);
        let draft = fetch.path.iter().fold(draft, |d, s| d.segment(s));
        let draft = draft.uint(CoapOption::Block2, fetch.block);
        (msg_id, token, draft)
    }

    /// The answer to the request for a block.
    pub(super) fn fetched(&mut self, now: Instant, packet: &Packet, code: u8) {
        let etag = packet.get_first_option(CoapOption::ETag);
        let block = Block {
            code,
            block2: message::uint(packet, CoapOption::Block2),
            etag: etag.map(Vec::as_slice),
            payload: &packet.payload,
        };
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.fetched(now, Ok(block));
        }
    }

    pub(super) fn fetch_failed(&mut self, now: Instant) {
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.fetched(now, Err(FetchError));
        }
    }

    pub(super) fn notice_settled(&mut self, notice: &Notice, end: NoticeEnd) {
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.settled(notice, end);
        }
    }

    pub(super) fn send_notice(&mut self, now: Instant, notice: Notice) {
        let msg_id = self.take_msg_id();
        let token = notice.token.clone();
        let draft = Draft::new(MessageType::Confirmable, message::CONTENT, msg_id)
            .token(&token)
            .uint(CoapOption::Observe, notice.sequence)
            .uint(CoapOption::ContentFormat, u32::from(message::FORMAT_TLV))
            .payload(&notice.payload);
        match draft.bytes() {
            Ok(datagram) => self.await_answer(now, Task::Notice(notice), msg_id, token, datagram),
            Err(_) => self.notice_settled(&notice, NoticeEnd::Lost),
        }
    }
}

fn answer_draft(packet: &Packet, answer: &Answer) -> Draft {
    let kind = match packet.header.get_type() {
        MessageType::Confirmable => MessageType::Acknowledgement,
        _ => MessageType::NonConfirmable,
    };
    let draft = Draft::new(kind, answer.code, packet.header.message_id).token(packet.get_token());
    let options = [
        (CoapOption::Observe, answer.observe),
        (CoapOption::ContentFormat, answer.format.map(u32::from)),
        (CoapOption::Block1, answer.block1),
    ];
    let present = options.into_iter().filter_map(|(o, v)| Some((o, v?)));
    let draft = present.fold(draft, |d, (option, value)| d.uint(option, value));
    draft.payload(&answer.payload)
}
