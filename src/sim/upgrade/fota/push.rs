//! The server writes the package: 5/0/0 in blocks (RFC 7959 §2.5). Block 0 begins anew; a block that comes again
//! is acknowledged again; a gap gets 4.08, what does not fit the device 4.13.

use super::{Delivery, Fota, NO_SPACE, State};
use crate::sim::message;
use crate::sim::upgrade::common::{Common, Event};
use crate::sim::upgrade::fault::{Going, Step};
use crate::sim::upgrade::image::Image;
use crate::sim::upgrade::objects::{Answer, Reply, Request};

impl Fota {
    pub(super) fn take_package(&mut self, request: &Request<'_>, common: &mut Common) -> Reply {
        let answer = |code| Reply::Answer(Answer::of(code));
        if self.habits.delivery == Delivery::Pull || self.state == State::Updating {
            return answer(message::NOT_ALLOWED);
        }
        if request.format != Some(message::FORMAT_OPAQUE) {
            return answer(message::BAD_REQUEST);
        }
        let value = request.block1.unwrap_or(6);
        let (number, has_more, szx) = (value >> 4, value & 8 != 0, value & 7);
        let (size, len) = (16usize << szx, request.payload.len());
        let is_whole = request.block1.is_none();
        let is_misfit = szx == 7 || len > size || (has_more && len != size);
        if !is_whole && is_misfit {
            return answer(message::BAD_REQUEST);
        }
        if is_whole && len == 0 {
            self.reset(common);
            return answer(message::CHANGED);
        }
        let offset = number as usize * size;
        if number == 0
            && let Some(refused) = self.begin_push(common)
        {
            return refused;
        }
        let is_open = self.state == State::Downloading && self.transfer.is_none();
        let has = self.image.len();
        let done = |code| {
            Reply::Answer(Answer {
                block1: request.block1,
                ..Answer::of(code)
            })
        };
        let code = if has_more {
            message::CONTINUE
        } else {
            message::CHANGED
        };
        if offset + len == has && len > 0 && number > 0 {
            return done(code);
        }
        if offset != has || !is_open {
            return done(message::INCOMPLETE);
        }
        match common.reach(Step::Fragment(self.image.pieces())) {
            Going::On => {}
            Going::Refuse(result) => {
                self.fail(result, common);
                return done(message::INTERNAL_ERROR);
            }
            Going::Silent | Going::Off(_) => return Reply::Silence,
        }
        if has + len > self.habits.room {
            self.fail(NO_SPACE, common);
            self.forget_download();
            return done(message::TOO_LARGE);
        }
        self.is_spoilt |= common.take_piece(&mut self.image, request.payload, None);
        if !has_more {
            self.complete(common);
        }
        done(code)
    }

    /// The first block; what to answer when the device does not want it.
    fn begin_push(&mut self, common: &mut Common) -> Option<Reply> {
        match common.reach(Step::Offered) {
            Going::On => {}
            Going::Refuse(result) => {
                self.fail(result, common);
                return Some(Reply::Answer(Answer::of(message::INTERNAL_ERROR)));
            }
            Going::Silent | Going::Off(_) => return Some(Reply::Silence),
        }
        self.forget_download();
        self.image = Image::new(common.expected.clone());
        common.record.offers += 1;
        common.record.begun += 1;
        let package = "5/0/0".to_owned();
        common.tell(Event::Offered { package });
        if self.state != State::Downloading {
            self.enter(State::Downloading, 0, common);
        }
        None
    }
}
