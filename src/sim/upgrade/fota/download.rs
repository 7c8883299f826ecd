//! The device fetches its package: block by block (RFC 7959 §2.4), back to back, on the session that it has.
//!
//! The next block is always the one behind what is there, so a download that broke goes on where it was.
//! Another ETag begins anew. A block that does not fit is asked for again a few times, then the download fails.

use std::time::{Duration, Instant};

use super::{BAD_URI, CONNECTION_LOST, Delivery, FAILED, Fota, NO_SPACE, State};
use crate::sim::message;
use crate::sim::upgrade::common::{Common, Event, Fetch, Output};
use crate::sim::upgrade::fault::{Fault, Going, Step};
use crate::sim::upgrade::image::Image;
use crate::sim::upgrade::objects::{Answer, Reply, Request, TEXT};

/// Blocks in a row that do not fit before a download fails.
const MISFITS_MAX: u32 = 4;
/// Before a block that did not fit is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Longest URI (LwM2M 1.0 object 5).
const URI_MAX: usize = 255;
/// Each so many requests a device that asks what it should not does so.
const STRAY_EVERY: u32 = 8;

/// An answer to the request for a block.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    pub code: u8,
    pub block2: Option<u32>,
    pub etag: Option<&'a [u8]>,
    pub payload: &'a [u8],
}

/// The request for a block came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchError;

/// Where the package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    uri: String,
    path: Vec<String>,
    etag: Option<Vec<u8>>,
}

/// A download under way.
#[derive(Debug)]
pub(super) struct Transfer {
    szx: u8,
    /// When the next block is asked for; `None` while it is.
    due: Option<Instant>,
    misfits: u32,
}

impl Transfer {
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) const fn stop(&mut self) {
        self.due = None;
    }

    pub(super) const fn ask_at(&mut self, at: Instant) {
        self.due = Some(at);
    }
}

/// The path that a URI names; `None` for anything but CoAP.
fn path_of(uri: &str) -> Option<Vec<String>> {
    let rest = uri
        .strip_prefix("coap://")
        .or_else(|| uri.strip_prefix("coaps://"))?;
    let (_, path) = rest.split_once('/')?;
    let segments = path.split('/').map(str::to_owned);
    (!path.is_empty()).then(|| segments.collect())
}

impl Fota {
    pub(super) fn take_uri(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        common: &mut Common,
    ) -> Reply {
        let answer = |code| Reply::Answer(Answer::of(code));
        if request.format != Some(TEXT) {
            return answer(message::BAD_REQUEST);
        }
        if self.unacknowledged > 0
            || self.state == State::Updating
            || self.habits.delivery == Delivery::Push
        {
            return answer(message::NOT_ALLOWED);
        }
        let Ok(uri) = std::str::from_utf8(request.payload) else {
            return answer(message::BAD_REQUEST);
        };
        if uri.is_empty() {
            self.reset(common);
            return answer(message::CHANGED);
        }
        if self.state_watch.is_none() {
            // It has nobody to tell, so it begins nothing.
            return answer(message::CHANGED);
        }
        match common.reach(Step::Offered) {
            Going::On => self.begin(now, uri, common),
            Going::Refuse(result) => self.fail(result, common),
            Going::Silent | Going::Off(_) => return Reply::Silence,
        }
        answer(message::CHANGED)
    }

    fn begin(&mut self, now: Instant, uri: &str, common: &mut Common) {
        let Some(path) = path_of(uri).filter(|_| uri.len() <= URI_MAX) else {
            self.fail(BAD_URI, common);
            return;
        };
        let is_same = self.source.as_ref().is_some_and(|s| s.uri == uri);
        match self.state {
            // It is being done, or it is done.
            State::Downloading if is_same && self.transfer.is_some() => return,
            State::Downloaded if is_same => {
                self.enter(State::Downloaded, 0, common);
                return;
            }
            _ => {}
        }
        if is_same && !self.image.is_empty() {
            common.record.resumed += 1;
        } else {
            common.record.begun += 1;
            self.image = Image::new(common.expected.clone());
            self.is_spoilt = false;
            self.source = Some(Source {
                uri: uri.to_owned(),
                path,
                etag: None,
            });
        }
        common.record.offers += 1;
        let package = uri.to_owned();
        common.tell(Event::Offered { package });
        self.transfer = Some(Transfer {
            szx: self.habits.szx.min(6),
            due: Some(now),
            misfits: 0,
        });
        self.enter(State::Downloading, 0, common);
    }

    /// The answer to the last request may have been lost while the radio was off.
    pub(in crate::sim::upgrade) const fn resume(&mut self, now: Instant) {
        if let Some(transfer) = &mut self.transfer
            && transfer.due.is_none()
        {
            transfer.due = Some(now);
        }
    }

    pub(super) fn fetch_if_due(&mut self, now: Instant, common: &mut Common) {
        let (Some(transfer), Some(source)) = (&mut self.transfer, &self.source) else {
            return;
        };
        if transfer.due.is_none_or(|at| at > now) {
            return;
        }
        transfer.due = None;
        match common.reach(Step::Fragment(self.image.pieces())) {
            Going::On => {}
            Going::Silent | Going::Off(_) => return,
            Going::Refuse(result) => {
                self.fail(result, common);
                return;
            }
        }
        let size = 16 << transfer.szx;
        // A smaller block than before may have left a length that is no multiple of this size.
        if !self.image.len().is_multiple_of(size) {
            self.image.clear();
        }
        let number = u32::try_from(self.image.len() / size).unwrap_or(u32::MAX >> 4);
        let block = |number: u32| number << 4 | u32::from(transfer.szx);
        let fetch = |path: Vec<String>, number, is_stray| Fetch {
            path,
            block: block(number),
            copies: if is_stray {
                1
            } else {
                common.mischief.copies()
            },
            is_stray,
        };
        let mut foreign = source.path.clone();
        if let Some(last) = foreign.last_mut() {
            last.push('x');
        }
        let stray = match common.mischief.fault() {
            _ if number % STRAY_EVERY != 0 => None,
            Some(Fault::AsksForeign) => Some(fetch(foreign, number, true)),
            Some(Fault::AsksBeyond) => Some(fetch(source.path.clone(), 0xffff, true)),
            _ => None,
        };
        let wanted = fetch(source.path.clone(), number, false);
        common.record.requests += 1;
        for fetch in stray.into_iter().chain([wanted]) {
            common.send(Output::Fetch(fetch));
        }
    }

    /// What became of the request for the next block.
    pub(in crate::sim::upgrade) fn fetched(
        &mut self,
        now: Instant,
        outcome: Result<Block<'_>, FetchError>,
        common: &mut Common,
    ) {
        if self.transfer.is_none() {
            common.record.stale += 1;
            return;
        }
        let Ok(block) = outcome else {
            self.fail(CONNECTION_LOST, common);
            return;
        };
        let (value, size) = match (block.code, block.block2) {
            (message::CONTENT, Some(value)) if value & 7 < 7 => (value, 16usize << (value & 7)),
            (message::CONTENT, _) => return self.fail(FAILED, common),
            (code, _) => {
                common.record.denied += 1;
                let is_unknown = code == message::NOT_FOUND;
                let result = if is_unknown { BAD_URI } else { CONNECTION_LOST };
                return self.fail(result, common);
            }
        };
        if !self.keep_etag(block.etag) {
            common.record.begun += 1;
            self.image.clear();
        }
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let (number, has_more) = (value >> 4, value & 8 != 0);
        let fits = usize::try_from(number).is_ok_and(|n| n * size == self.image.len())
            && block.payload.len() <= size
            && (!has_more || block.payload.len() == size);
        if !fits {
            common.record.stale += 1;
            transfer.misfits += 1;
            transfer.due = Some(now + AGAIN_AFTER);
            if transfer.misfits >= MISFITS_MAX {
                self.fail(CONNECTION_LOST, common);
            }
            return;
        }
        transfer.misfits = 0;
        transfer.szx = transfer.szx.min(u8::try_from(value & 7).unwrap_or(0));
        transfer.due = Some(now + self.habits.pace);
        if self.image.len() + block.payload.len() > self.habits.room {
            self.fail(NO_SPACE, common);
            self.forget_download();
            return;
        }
        self.is_spoilt |= common.take_piece(&mut self.image, block.payload, None);
        if !has_more {
            self.complete(common);
        }
    }

    /// False when the package has changed since the last block.
    fn keep_etag(&mut self, etag: Option<&[u8]>) -> bool {
        let Some(source) = &mut self.source else {
            return true;
        };
        let before = std::mem::replace(&mut source.etag, etag.map(<[u8]>::to_vec));
        before.is_none() || before == source.etag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_its_path_and_nothing_else() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("coap://10.0.0.1:5683/fw/abc", Some(&["fw", "abc"])),
            ("coaps://host/fw/a?x=1&y=2", Some(&["fw", "a?x=1&y=2"])),
            ("coap://host/", None),
            ("coap://host", None),
            ("http://host/fw", None),
            ("/fw/abc", None),
        ];
        for (uri, want) in cases {
            let want = want.map(|segments| segments.iter().map(|s| (*s).to_owned()).collect());
            assert_eq!(path_of(uri), want, "{uri}");
        }
    }
}
