//! What each stack does with the frames that come and when its time has come. The table is in the
//! module above; what is true of one stack alone is under its name here.

use std::time::Instant;

use super::frame::{self, Downlink, Offer};
use super::{Job, Pcp, Phase, Repeat, count_begin};
use crate::sim::upgrade::common::{Common, Event, FrameOut, Output};
use crate::sim::upgrade::fault::{Fault, Going, Step};
use crate::sim::upgrade::image::Image;

/// Results that a device gives.
const OK: u8 = 0;
const IN_USE: u8 = 1;
const NEWEST: u8 = 3;
const TIMED_OUT: u8 = 6;
const CHECK_FAILED: u8 = 7;
const INSTALL_FAILED: u8 = 0x0a;
const INTERNAL: u8 = 0x7f;

/// Tells of a failed download at most.
const FAILURES_MAX: u8 = 10;
/// Each so many requests a device that asks what it should not does so.
const STRAY_EVERY: u16 = 8;

/// Whose habits a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stack {
    /// A microcontroller behind a module with AT commands.
    AtModule,
    /// A library with LwM2M client and PCP agent in one.
    Lwm2m,
}

impl Pcp {
    /// Takes a frame of the platform. Broken ones are dropped.
    pub(in crate::sim::upgrade) fn take(
        &mut self,
        now: Instant,
        bytes: &[u8],
        common: &mut Common,
    ) {
        let verify = self.habits.stack == Stack::AtModule;
        match frame::read(bytes, verify) {
            Err(_) => common.record.broken += 1,
            Ok(Downlink::Query) => self.queried(now, common),
            Ok(Downlink::Offer(offer)) => self.offered(now, offer, common),
            Ok(Downlink::Fragment { index, bytes }) => self.fragment(now, index, bytes, common),
            Ok(Downlink::NoFragment { index, .. }) => self.denied(now, index, common),
            Ok(Downlink::DownloadedTaken { .. }) => {
                // Of a good download nobody waits for it: the order to install is awaited.
                if matches!(self.phase, Phase::Failing { .. }) {
                    self.phase = Phase::Idle;
                }
            }
            Ok(Downlink::Execute) => self.executed(now, common),
            Ok(Downlink::ResultTaken { .. }) => self.result_taken(now, common),
        }
    }

    fn queried(&self, now: Instant, common: &mut Common) {
        let result = match common.reach(Step::Asked) {
            Going::On => OK,
            Going::Refuse(result) => result,
            Going::Silent | Going::Off(_) => return,
        };
        let version = self.version(common);
        let answer = frame::write_version(frame::QUERY, result, version);
        common.answer(now, self.frame(answer, 1));
    }

    fn offered(&mut self, now: Instant, offer: Offer, common: &mut Common) {
        let refusal = match common.reach(Step::Offered) {
            Going::On => self.objection(&offer),
            Going::Refuse(result) => Some(result),
            Going::Silent | Going::Off(_) => return,
        };
        if let Some(result) = refusal {
            self.answer(now, frame::OFFER, result, common);
            return;
        }
        let answers = self.habits.stack == Stack::Lwm2m;
        if answers {
            self.answer(now, frame::OFFER, OK, common);
        }
        let later = match self.habits.stack {
            Stack::AtModule => now,
            Stack::Lwm2m => now + self.habits.ask_after,
        };
        // The package check is compared as it is: another one is another package.
        match &mut self.phase {
            Phase::Downloading { job, asks } if job.offer == offer => *asks = Repeat::at(later),
            Phase::Downloaded { job, tells, .. } if job.offer == offer => {
                *tells = Repeat::at(later);
            }
            _ => {
                common.record.offers += 1;
                let package = frame::version_text(offer.version);
                common.tell(Event::Offered { package });
                let job = Job {
                    offer,
                    image: Image::new(common.expected.clone()),
                    is_spoilt: false,
                };
                count_begin(&job, common);
                let asks = Repeat::at(now + common.mischief.lateness());
                self.phase = Phase::Downloading { job, asks };
            }
        }
    }

    /// Why the device does not want it.
    fn objection(&self, offer: &Offer) -> Option<u8> {
        if !(32..=500).contains(&offer.fragment_size) || offer.fragments == 0 {
            return Some(INTERNAL);
        }
        match self.phase {
            Phase::Installing { .. } | Phase::Reporting { .. } => Some(IN_USE),
            _ if frame::version_text(offer.version) == self.runs => Some(NEWEST),
            _ => None,
        }
    }

    fn fragment(&mut self, now: Instant, index: u16, bytes: &[u8], common: &mut Common) {
        let Phase::Downloading { job, asks } = &mut self.phase else {
            common.record.stale += 1;
            return;
        };
        let wanted = job.image.pieces();
        let last = u32::from(job.offer.fragments) - 1;
        let size = usize::from(job.offer.fragment_size);
        let fits = bytes.len() == size || (wanted == last && bytes.len() < size);
        // Without its request under way, a fragment is a repetition.
        if u32::from(index) != wanted || !fits || asks.since.is_none() {
            common.record.stale += 1;
            return;
        }
        let whole = u64::from(job.offer.fragments) * size as u64;
        job.is_spoilt |= common.take_piece(&mut job.image, bytes, Some(whole));
        *asks = Repeat::at(now + self.habits.pace);
        self.complete_if_all(now, common);
    }

    /// The last fragment may be there.
    fn complete_if_all(&mut self, now: Instant, common: &mut Common) {
        let Phase::Downloading { job, .. } = &self.phase else {
            return;
        };
        if job.image.pieces() < u32::from(job.offer.fragments) {
            return;
        }
        let finds_out = matches!(common.mischief.fault(), Some(Fault::Corrupts(_)));
        if job.is_spoilt && finds_out {
            self.fail_download(now, CHECK_FAILED, common);
            return;
        }
        common.note_downloaded(&job.image);
        self.phase = Phase::Downloaded {
            job: job.clone(),
            stored_at: now + self.habits.store_for,
            tells: Repeat::at(now),
        };
    }

    fn fail_download(&mut self, now: Instant, result: u8, common: &mut Common) {
        common.note_failed(result);
        self.phase = Phase::Failing {
            result,
            left: FAILURES_MAX,
            tells: Repeat::at(now),
        };
    }

    /// An answer without a fragment. Three bytes are ignored; of one byte an AT module's software takes
    /// what its buffer holds behind it for the fragment.
    fn denied(&mut self, now: Instant, index: Option<u16>, common: &mut Common) {
        common.record.denied += 1;
        let Phase::Downloading { job, asks } = &mut self.phase else {
            return;
        };
        if index.is_none() && self.habits.stack == Stack::AtModule && asks.since.is_some() {
            job.image.append(&[]);
            job.is_spoilt = true;
            *asks = Repeat::at(now);
            self.complete_if_all(now, common);
        }
    }

    fn executed(&mut self, now: Instant, common: &mut Common) {
        let job = match &self.phase {
            Phase::Downloaded { job, stored_at, .. } if now >= *stored_at => job.clone(),
            _ => {
                common.record.early += 1;
                return;
            }
        };
        match common.reach(Step::Executed) {
            Going::On => {}
            Going::Refuse(result) => {
                self.answer(now, frame::EXECUTE, result, common);
                if let Phase::Downloaded { tells, .. } = &mut self.phase {
                    tells.stop();
                }
                return;
            }
            Going::Silent => {
                self.phase = Phase::Idle;
                return;
            }
            Going::Off(_) => return,
        }
        self.answer(now, frame::EXECUTE, OK, common);
        let version = frame::version_text(job.offer.version);
        common.note_executed(&job.image, Some(version));
        let busy = match self.habits.stack {
            Stack::AtModule => self.habits.reboot_after + self.habits.boots_for,
            Stack::Lwm2m => self.habits.reboot_after,
        };
        let at = Some(now + busy + common.mischief.lateness());
        self.phase = Phase::Installing { job, at };
    }

    /// The new software has started, or did not.
    pub(super) fn install(&mut self, now: Instant, common: &mut Common) {
        let Phase::Installing { job, .. } = &self.phase else {
            return;
        };
        let version = frame::version_text(job.offer.version);
        let result = match common.reach(Step::Installed) {
            Going::Off(_) => return,
            _ if job.is_spoilt => INSTALL_FAILED,
            Going::Refuse(result) => result,
            Going::On | Going::Silent => OK,
        };
        if result != OK {
            common.note_failed(result);
        } else if !common.mischief.keeps_old() {
            common.note_installed(&version);
            self.runs = version;
        }
        let is_told = result == OK || self.habits.stack == Stack::Lwm2m;
        self.phase = if is_told && !common.mischief.is_silent() {
            Phase::Reporting {
                result,
                left: common.mischief.results(),
                tells: Repeat::at(now),
            }
        } else {
            Phase::Idle
        };
    }

    fn result_taken(&mut self, now: Instant, common: &mut Common) {
        if let Phase::Reporting { left, tells, .. } = &mut self.phase
            && tells.since.is_some()
        {
            *left -= 1;
            *tells = Repeat::at(now);
            if *left == 0 {
                self.phase = Phase::Idle;
                common.tell(Event::Confirmed);
            }
        }
    }

    /// Does what is due at `now`.
    pub(in crate::sim::upgrade) fn tick(&mut self, now: Instant, common: &mut Common) {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Downloading { asks, .. } => {
                if asks.is_due(now) {
                    self.ask(now, common);
                }
            }
            Phase::Downloaded { tells, .. } => {
                if tells.is_due(now) {
                    self.tell_downloaded(now, common);
                }
            }
            Phase::Failing {
                result,
                left,
                tells,
            } => {
                if !tells.is_due(now) {
                    return;
                }
                let (result, is_repeated) = (*result, tells.say(now, &self.habits));
                *left -= 1;
                if *left == 0 {
                    self.phase = Phase::Idle;
                }
                self.say(frame::DOWNLOADED, result, is_repeated, common);
            }
            Phase::Installing { at, .. } => {
                if at.is_some_and(|at| at <= now) {
                    *at = None;
                    self.restart(now, common);
                }
            }
            Phase::Reporting { tells, .. } => {
                if tells.is_due(now) {
                    self.report(now, common);
                }
            }
        }
    }

    fn restart(&mut self, now: Instant, common: &mut Common) {
        match self.habits.stack {
            Stack::AtModule => self.install(now, common),
            Stack::Lwm2m => common.power_off(self.habits.boots_for),
        }
    }

    fn ask(&mut self, now: Instant, common: &mut Common) {
        let Phase::Downloading { job, asks } = &mut self.phase else {
            return;
        };
        let wanted = job.image.pieces();
        match common.reach(Step::Fragment(wanted)) {
            Going::On => {}
            Going::Silent => {
                asks.stop();
                return;
            }
            Going::Refuse(result) => {
                self.fail_download(now, result, common);
                return;
            }
            Going::Off(_) => return,
        }
        let index = u16::try_from(wanted).unwrap_or(u16::MAX);
        let Offer {
            version, fragments, ..
        } = job.offer;
        let is_repeated = asks.say(now, &self.habits);
        if is_repeated {
            self.complain(common);
        }
        common.record.requests += 1;
        if index % STRAY_EVERY == 0 {
            let stray = match common.mischief.fault() {
                Some(Fault::AsksForeign) => Some(frame::ask(frame::version("V9.9-foreign"), index)),
                Some(Fault::AsksBeyond) => Some(frame::ask(version, fragments)),
                _ => None,
            };
            if let Some(stray) = stray {
                common.send(self.frame(stray, 1));
            }
        }
        let copies = common.mischief.copies();
        common.send(self.frame(frame::ask(version, index), copies));
    }

    fn tell_downloaded(&mut self, now: Instant, common: &mut Common) {
        let result = match common.reach(Step::Downloaded) {
            Going::On => OK,
            Going::Refuse(result) => {
                self.fail_download(now, result, common);
                return;
            }
            Going::Silent => {
                self.phase = Phase::Idle;
                return;
            }
            Going::Off(_) => return,
        };
        if let Phase::Downloaded { tells, .. } = &mut self.phase {
            let is_repeated = tells.say(now, &self.habits);
            self.say(frame::DOWNLOADED, result, is_repeated, common);
        }
    }

    fn report(&mut self, now: Instant, common: &mut Common) {
        let Phase::Reporting { result, tells, .. } = &mut self.phase else {
            return;
        };
        let result = *result;
        let version = frame::version(common.mischief.claimed(&self.runs));
        let bytes = frame::write_version(frame::RESULT, result, version);
        common.record.reports += 1;
        tells.say(now, &self.habits);
        match self.habits.stack {
            Stack::AtModule => {
                // Once, whatever becomes of it.
                let copies = common.mischief.results();
                self.phase = Phase::Idle;
                common.send(self.frame(bytes, copies));
            }
            Stack::Lwm2m => common.send(self.frame(bytes, 1)),
        }
    }

    /// A result of one byte. An AT module's software says that it timed out before it repeats it.
    fn say(&self, code: u8, result: u8, is_repeated: bool, common: &mut Common) {
        if is_repeated {
            self.complain(common);
        }
        common.send(self.frame(frame::write(code, &[result]), 1));
    }

    fn complain(&self, common: &mut Common) {
        if self.habits.stack == Stack::AtModule {
            let complaint = frame::write(frame::EXECUTE, &[TIMED_OUT]);
            common.send(self.frame(complaint, 1));
        }
    }

    fn answer(&self, now: Instant, code: u8, result: u8, common: &mut Common) {
        let answer = frame::write(code, &[result]);
        common.answer(now, self.frame(answer, 1));
    }

    const fn frame(&self, bytes: Vec<u8>, copies: u8) -> Output {
        Output::Frame(FrameOut {
            bytes,
            confirmable: self.habits.confirmable,
            copies,
        })
    }
}
