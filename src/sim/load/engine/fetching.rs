//! Devices that fetch the fragments of a package over PCP: the side of the fragment workload that speaks CoAP.
//!
//! ```text
//! <- 20 new version          -> 20 allowed          once, before the measured phase
//! -> 21 fragment n (uplink)  <- 21 fragment n       latency: from the first to the second
//! -> 22 no download          once, at the end: frees the slot
//! ```
//!
//! A device asks for the fragments in turns, the first again after the last. What comes is compared byte
//! by byte with what should, checksum and all.

use std::time::Duration;

use super::{Engine, LoadError, NAP, Phase, Progress, Step, Workload, template};
use crate::sim::load::heard::Ending;
use crate::sim::message::{CHANGED, FORMAT_TLV};
use crate::sim::upgrade::Radio;
use crate::sim::upgrade::pcp::frame;

/// A cell's number has 28 bits.
const CELL_MAX: u32 = (1 << 28) - 1;
/// What the devices run, as they say.
const OWN_VERSION: &str = "0.0";
/// Results: fine, and a download that came to nothing.
const OK: u8 = 0;
const TIMED_OUT: u8 = 6;

/// What the devices fetch, as frames.
#[derive(Debug, Default)]
pub(in crate::sim::load) struct Image {
    offer: Vec<u8>,
    asks: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

impl Image {
    /// A package of up to 65,535 fragments.
    pub(in crate::sim::load) fn new(version: &str, bytes: &[u8], fragment_len: u16) -> Self {
        let version = frame::version(version);
        let pieces = bytes.chunks(usize::from(fragment_len).max(1));
        let pieces = (0..=u16::MAX).zip(pieces);
        let count = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
        let [size, count] = [fragment_len, count].map(u16::to_be_bytes);
        let offer = [&version[..], &size, &count, &[0, 0]].concat();
        let answer = |(index, piece): (u16, &[u8])| {
            let data = [&[OK][..], &index.to_be_bytes(), piece].concat();
            (
                frame::ask(version, index),
                frame::write(frame::FRAGMENT, &data),
            )
        };
        let (asks, answers) = pieces.map(answer).unzip();
        Self {
            offer: frame::write(frame::OFFER, &offer),
            asks,
            answers,
        }
    }
}

/// How far a device is.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    is_offered: bool,
    /// Of the fragment that it asks for, or will.
    index: usize,
    is_asking: bool,
}

impl Fetching {
    /// The frame that asks for the next fragment.
    pub(super) fn ask<'i>(&mut self, image: &'i Image) -> &'i [u8] {
        self.is_asking = true;
        image.asks.get(self.index).map_or(&[], Vec::as_slice)
    }

    pub(super) const fn is_asking(&self) -> bool {
        self.is_asking
    }

    pub(super) const fn end(&mut self) {
        self.is_asking = false;
    }
}

impl Engine<'_> {
    /// Answers a read of object 4. Who fetches is in the best of conditions, and in a cell of its own, so
    /// that none waits for another; others have no such object.
    pub(super) fn tell_cell(
        &mut self,
        device: u32,
        (msg_id, token): (u16, &[u8]),
        resource: Option<u8>,
        accept: Option<u16>,
    ) -> Result<(), LoadError> {
        if matches!(self.job.workload, Workload::Fragments { .. }) {
            let radio = Radio {
                cell_id: device & CELL_MAX,
                ..Radio::default()
            };
            let radio = radio.read(resource, accept);
            let format = radio.format.unwrap_or(FORMAT_TLV);
            template::content(&mut self.answer, msg_id, token, format, &radio.payload);
        } else {
            template::not_found(&mut self.answer, msg_id, token);
        }
        Ok(self.lines.send(device, &self.answer)?)
    }

    /// From now on the devices take this image.
    pub(in crate::sim::load) fn expect(&mut self, image: Image) {
        self.image = image;
    }

    /// Answers until all devices were offered the image in this campaign; errors: not all of them within `patience` of
    /// the last.
    pub(in crate::sim::load) fn await_offers(
        &mut self,
        task_id: &str,
        patience: Duration,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), LoadError> {
        let begun = self.job.clock.instant();
        let mut last = (0, begun);
        loop {
            self.hear(NAP)?;
            self.repeat_overdue()?;
            let offered = self.slots.iter().filter(|s| s.fetching.is_offered).count();
            if offered == self.slots.len() && self.busy == 0 {
                break;
            }
            let now = self.job.clock.instant();
            if offered > last.0 {
                last = (offered, now);
            }
            if now > last.1 + patience {
                return Err(LoadError::NotOffered {
                    ready: offered,
                    devices: self.slots.len(),
                    waited_s: (now - begun).as_secs(),
                    task_id: task_id.to_owned(),
                });
            }
            self.tell(progress, Phase::Offering, offered as u64, begun);
        }
        self.idle = (0..self.job.devices).collect();
        Ok(self.sums.clear()?)
    }

    /// A frame of the server.
    pub(super) fn take_frame(
        &mut self,
        device: u32,
        bytes: &[u8],
        now_us: u64,
    ) -> Result<(), LoadError> {
        let Some(slot) = self.slots.get_mut(device as usize) else {
            return Ok(());
        };
        match bytes.get(3).copied() {
            Some(frame::QUERY) => {
                let own = frame::version(OWN_VERSION);
                let answer = frame::write_version(frame::QUERY, OK, own);
                slot.answering.add(answer);
            }
            Some(frame::OFFER) if bytes == self.image.offer => {
                slot.fetching.is_offered = true;
                slot.answering.add(frame::write(frame::OFFER, &[OK]));
            }
            Some(frame::FRAGMENT) if slot.fetching.is_asking => {
                let fetching = &mut slot.fetching;
                if self.image.answers.get(fetching.index).map(Vec::as_slice) != Some(bytes) {
                    // Of another one that was asked for earlier, or wrong: it comes again, or never.
                    self.answered.unread += 1;
                    return Ok(());
                }
                fetching.index = (fetching.index + 1) % self.image.answers.len().max(1);
                fetching.end();
                slot.busy = false;
                self.busy -= 1;
                self.idle.push_back(device);
                let took = now_us.saturating_sub(slot.intended_us);
                self.count(Ending::Code(CHANGED), took);
            }
            _ => self.answered.unread += 1,
        }
        self.answer_next(device)
    }

    /// Tells the server that nothing comes of the downloads, so that they hold no slot.
    pub(super) fn give_up_fetching(&mut self) -> Result<(), LoadError> {
        let fetching = (0..).zip(&self.slots);
        let fetching = fetching.filter(|(_, slot)| slot.fetching.is_offered);
        let devices: Vec<u32> = fetching.map(|(device, _)| device).collect();
        for some in devices.chunks(super::BURST) {
            for device in some {
                let end = frame::write(frame::DOWNLOADED, &[TIMED_OUT]);
                self.start(*device, &Step::Answer(end), None)?;
            }
            while self.busy > 0 {
                self.hear(NAP)?;
                self.repeat_overdue()?;
            }
        }
        Ok(())
    }
}
