//! A platform of two hundred lines that upgrades one device, over PCP or object 5, and is patient: it
//! repeats what is not answered, serves any fragment or block, and gives up never. Its bytes are
//! written by hand here, but for the checksums, which are the device's own and checked by their vectors.

use super::*;
use crate::sim::upgrade::pcp::frame;

pub(crate) const FRAGMENT: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Software,
    Firmware,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For the device to show itself.
    Waiting,
    Asking,
    Offering,
    Serving,
    Executing,
    /// The order was taken.
    Installing,
    Ended,
}

pub(crate) struct Platform {
    way: Way,
    package: Vec<u8>,
    next_id: u16,
    stage: Stage,
    /// Between two tries.
    pub(crate) again_after: Duration,
    again_at: Option<Instant>,
    pub(crate) out: Vec<Vec<u8>>,
    /// Result and version that ended it.
    pub(crate) end: Option<(u8, String)>,
    /// Requests for what the device has no business with.
    pub(crate) strays: u32,
    pub(crate) requests: u32,
}

impl Platform {
    pub(crate) fn new(way: Way, package: &[u8]) -> Self {
        Self {
            way,
            package: package.to_vec(),
            next_id: 0,
            stage: Stage::Waiting,
            again_after: Duration::from_secs(60),
            again_at: None,
            out: Vec::new(),
            end: None,
            strays: 0,
            requests: 0,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.again_at
    }

    /// Repeats what was not answered.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.again_at.take_if(|at| *at <= now).is_some() {
            self.go(now, self.stage);
        }
    }

    /// Enters a stage and says what belongs to it.
    fn go(&mut self, now: Instant, stage: Stage) {
        self.stage = stage;
        self.again_at = Some(now + self.again_after);
        match (self.way, stage) {
            (_, Stage::Waiting | Stage::Serving | Stage::Ended) => self.again_at = None,
            (Way::Software, Stage::Asking) => self.say(frame::QUERY, &[]),
            (Way::Software, Stage::Offering) => {
                let mut data = frame::version("V2.0").to_vec();
                let count = self.package.len().div_ceil(FRAGMENT);
                data.extend(u16::try_from(FRAGMENT).unwrap().to_be_bytes());
                data.extend(u16::try_from(count).unwrap().to_be_bytes());
                data.extend([0, 0]);
                self.say(frame::OFFER, &data);
            }
            (Way::Software, Stage::Executing) => self.say(frame::EXECUTE, &[]),
            (Way::Software, Stage::Installing) => self.again_at = None,
            (Way::Firmware, Stage::Asking) => self.ask(message::GET, "3/0/3", b"v"),
            (Way::Firmware, Stage::Offering) => {
                let id = self.take_id();
                let observe = Draft::new(MessageType::Confirmable, message::GET, id)
                    .token(b"s")
                    .path("5/0/3")
                    .uint(CoapOption::Observe, 0);
                self.send(&observe);
                let id = self.take_id();
                let write = Draft::new(MessageType::Confirmable, message::PUT, id)
                    .token(b"u")
                    .path("5/0/1")
                    .uint(CoapOption::ContentFormat, 0)
                    .payload(b"coap://platform/fw/v2");
                self.send(&write);
            }
            (Way::Firmware, Stage::Executing) => self.ask(message::POST, "5/0/2", b"x"),
            // It tells its state; when that is lost it is asked.
            (Way::Firmware, Stage::Installing) => {}
        }
    }

    fn take_id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    fn send(&mut self, draft: &Draft) {
        self.out.push(draft.bytes().unwrap());
    }

    fn ask(&mut self, code: u8, path: &str, token: &[u8]) {
        let id = self.take_id();
        let draft = Draft::new(MessageType::Confirmable, code, id);
        self.send(&draft.token(token).path(path));
    }

    /// A frame to 19/1/0.
    fn say(&mut self, code: u8, data: &[u8]) {
        let id = self.take_id();
        let draft = Draft::new(MessageType::Confirmable, message::PUT, id)
            .token(b"d")
            .path("19/1/0")
            .payload(&frame::write(code, data));
        self.send(&draft);
    }

    pub(crate) fn hear(&mut self, now: Instant, datagram: &[u8]) {
        let packet = message::read(datagram).unwrap();
        let (id, code) = (packet.header.message_id, message::code(&packet));
        let path = message::joined(&packet, CoapOption::UriPath);
        let ack =
            |code| Draft::new(MessageType::Acknowledgement, code, id).token(packet.get_token());
        let is_ack = packet.header.get_type() == MessageType::Acknowledgement;
        match (code, path.as_str()) {
            (message::POST, "rd") => {
                self.send(&ack(message::CREATED).location("rd").location("1"));
                let id = self.take_id();
                let observe = Draft::new(MessageType::Confirmable, message::GET, id)
                    .token(b"o")
                    .path("19/0/0")
                    .uint(CoapOption::Observe, 0);
                self.send(&observe);
            }
            (message::POST, _) => self.send(&ack(message::CHANGED)),
            (message::GET, path) => self.serve(&packet, path),
            (_, _) if is_ack && packet.get_token() != b"o" => {
                self.answered(now, packet.get_token(), code, &packet.payload);
            }
            (message::CONTENT, _) if !is_ack => {
                if packet.header.get_type() == MessageType::Confirmable {
                    self.send(&Draft::new(MessageType::Acknowledgement, 0, id));
                }
                match packet.get_token() {
                    b"o" => self.uplink(now, &packet.payload),
                    token => self.answered(now, token, code, &packet.payload),
                }
            }
            _ => {}
        }
    }

    fn serve(&mut self, packet: &Packet, path: &str) {
        let block = message::uint(packet, CoapOption::Block2).unwrap();
        let (from, size) = ((block >> 4) as usize * 512, 512);
        let kind = match packet.header.get_type() {
            MessageType::Confirmable => MessageType::Acknowledgement,
            _ => MessageType::NonConfirmable,
        };
        let id = packet.header.message_id;
        let answer = |code| Draft::new(kind, code, id).token(packet.get_token());
        self.requests += 1;
        if path != "fw/v2" || from >= self.package.len() {
            self.strays += 1;
            self.send(&answer(message::NOT_FOUND));
            return;
        }
        let end = (from + size).min(self.package.len());
        let more = if end < self.package.len() { 8 } else { 0 };
        let draft = answer(message::CONTENT)
            .uint(CoapOption::Block2, block >> 4 << 4 | more | 5)
            .payload(&self.package[from..end]);
        self.send(&draft);
    }

    /// A notification of 19/0/0.
    fn uplink(&mut self, now: Instant, payload: &[u8]) {
        if self.stage == Stage::Waiting && !payload.is_empty() {
            self.go(now, Stage::Asking);
            return;
        }
        if !frame::is_frame(payload) {
            return;
        }
        let (code, data) = (payload[3], &payload[8..]);
        let version = |bytes: &[u8]| frame::version_text(bytes.try_into().unwrap());
        match (code, self.stage) {
            (frame::QUERY, Stage::Asking) if data[0] != 0 => self.finish(data[0], "refused"),
            (frame::QUERY, Stage::Asking) if version(&data[1..]) == "V2.0" => {
                self.finish(0, "V2.0");
            }
            (frame::QUERY, Stage::Asking) => self.go(now, Stage::Offering),
            (frame::OFFER, Stage::Offering) if data[0] != 0 => self.finish(data[0], "refused"),
            // Whatever came before: the device may have lost what it had.
            (
                frame::FRAGMENT,
                Stage::Offering | Stage::Serving | Stage::Executing | Stage::Installing,
            ) => {
                self.go(now, Stage::Serving);
                self.give(
                    version(&data[..16]),
                    u16::from_be_bytes([data[16], data[17]]),
                );
            }
            (frame::DOWNLOADED, _) => {
                self.say(frame::DOWNLOADED, &[0]);
                match (data[0], self.stage) {
                    (0, Stage::Serving | Stage::Offering) => self.go(now, Stage::Executing),
                    (0, _) => {}
                    (result, _) => self.finish(result, "not downloaded"),
                }
            }
            // 06 is no answer to the order.
            (frame::EXECUTE, Stage::Executing) => match data[0] {
                0 => self.go(now, Stage::Installing),
                6 => {}
                result => self.finish(result, "refused"),
            },
            (frame::RESULT, _) => {
                self.say(frame::RESULT, &[0]);
                self.finish(data[0], &version(&data[1..]));
            }
            _ => {}
        }
    }

    fn give(&mut self, version: String, index: u16) {
        self.requests += 1;
        let from = usize::from(index) * FRAGMENT;
        let end = (from + FRAGMENT).min(self.package.len());
        let index = index.to_be_bytes();
        if version != "V2.0" || from >= end {
            self.strays += 1;
            let result = if version == "V2.0" { 0x81 } else { 0x80 };
            self.say(frame::FRAGMENT, &[&[result][..], &index].concat());
            return;
        }
        let bytes = self.package[from..end].to_vec();
        self.say(frame::FRAGMENT, &[&[0][..], &index, &bytes].concat());
    }

    /// An answer of the device, or a notification of its state.
    fn answered(&mut self, now: Instant, token: &[u8], code: u8, payload: &[u8]) {
        match (token, self.stage) {
            (b"v", Stage::Asking) if code == message::CONTENT => match &payload[2..] {
                b"V2.0" => self.finish(0, "V2.0"),
                _ => self.go(now, Stage::Offering),
            },
            (b"v", Stage::Asking) => self.finish(0x84, "refused"),
            (b"x", Stage::Executing) if code == message::CHANGED => {
                self.go(now, Stage::Installing);
            }
            (b"s", _) if !payload.is_empty() => self.state(now, payload[2]),
            (b"r", Stage::Serving) if payload[2] == 4 => self.go(now, Stage::Offering),
            (b"r", Stage::Serving | Stage::Installing) if payload[2] > 1 => {
                self.finish(payload[2], "failed");
            }
            (b"r", Stage::Installing) if payload[2] == 1 => self.ask(message::GET, "3/0/3", b"w"),
            (b"w", Stage::Installing) => {
                let version = String::from_utf8_lossy(&payload[2..]).into_owned();
                self.finish(0, &version);
            }
            _ => {}
        }
    }

    /// Resource 5/0/3.
    fn state(&mut self, now: Instant, state: u8) {
        match (state, self.stage) {
            (1, Stage::Offering) => self.go(now, Stage::Serving),
            (2, Stage::Offering | Stage::Serving | Stage::Executing) => {
                self.go(now, Stage::Executing);
            }
            (0, Stage::Serving | Stage::Installing) | (2, Stage::Installing) => {
                self.ask(message::GET, "5/0/5", b"r");
            }
            _ => {}
        }
    }

    fn finish(&mut self, result: u8, version: &str) {
        self.stage = Stage::Ended;
        self.again_at = None;
        self.end.get_or_insert_with(|| (result, version.to_owned()));
    }
}
