//! The firmware object against a scripted server.
//!
//! A script says what the server asks (`get`, `put`, `post`) and must be answered (`=`), what it serves (`block`)
//! and acknowledges (`ack`), what the device must send (`>`, in order, all of it), how time passes (`+`), and
//! that the device restarts (`off 5s`, then `on`).

mod faults;
mod habits;

use super::*;
use crate::base::time::{Clock, Timestamp};
use crate::sim::upgrade::{Expected, Fault, Habits, Upgrader};

/// 1200 bytes: blocks of 512, 512 and 176.
fn package() -> Vec<u8> {
    let mut bytes = b"version=V2.0\n".to_vec();
    bytes.extend((0u8..=255).cycle().take(1187));
    bytes
}

struct Bench {
    device: Upgrader,
    now: Instant,
    said: Vec<String>,
    notices: Vec<Notice>,
    reply: String,
    off: Option<Duration>,
}

impl Bench {
    fn new(fault: Option<Fault>, change: impl FnOnce(&mut FotaHabits)) -> Self {
        let mut firmware = FotaHabits::default();
        change(&mut firmware);
        let habits = Habits {
            fault,
            firmware: Some(firmware),
            expected: Some(Expected::new(&package())),
            ..Habits::new("V1.0")
        };
        Self {
            device: Upgrader::new(habits),
            now: Clock::manual(Timestamp::from_ms(0)).instant(),
            said: Vec::new(),
            notices: Vec::new(),
            reply: String::new(),
            off: None,
        }
    }

    fn turn(&mut self) {
        self.device.tick(self.now);
        while let Some(output) = self.device.output() {
            match output {
                Output::Notice(notice) => {
                    let token = String::from_utf8(notice.token.clone()).unwrap();
                    let body: String = notice.payload.iter().map(|b| format!("{b:02x}")).collect();
                    self.said.push(format!("notice {token} {body}"));
                    self.notices.push(notice);
                }
                Output::Fetch(fetch) => {
                    let (path, block) = (fetch.path.join("/"), fetch.block);
                    let text = format!("fetch {path} {} {}", block >> 4, block & 7);
                    self.said.extend(vec![text; usize::from(fetch.copies)]);
                }
                Output::PowerOff(off_for) => {
                    self.off = Some(off_for);
                    self.device.lose_power();
                    self.notices.clear();
                    return;
                }
                Output::Frame(_) => panic!("it speaks no PCP"),
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.off.is_none() {
            let Some(at) = self.device.deadline().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.turn();
        }
        self.now = end;
    }

    fn ask(&mut self, code: u8, words: &[&str]) {
        let [path, rest @ ..] = words else {
            panic!("a request has a path");
        };
        let mut request = Request {
            code,
            path,
            token: b"",
            observe: None,
            format: None,
            accept: None,
            block1: None,
            payload: b"",
        };
        let (mut block, more) = (Vec::new(), 8);
        match rest {
            [] => {}
            ["observe", token] => (request.observe, request.token) = (Some(0), token.as_bytes()),
            ["accept", format] => request.accept = Some(format.parse().unwrap()),
            ["block", number] => {
                let (number, bytes) = (number.parse::<usize>().unwrap(), package());
                let end = bytes.len().min(number * 512 + 512);
                block = bytes[number * 512..end].to_vec();
                let more = if end == bytes.len() { 0 } else { more };
                request.format = Some(42);
                request.block1 = Some(u32::try_from(number).unwrap() << 4 | more | 5);
            }
            [format, payload] => {
                request.format = Some(format.parse().unwrap());
                request.payload = payload.as_bytes();
            }
            _ => panic!("no such request: {words:?}"),
        }
        if !block.is_empty() {
            request.payload = &block;
        }
        self.reply = match self.device.request(self.now, &request) {
            Reply::Foreign => "foreign".to_owned(),
            Reply::Silence => "silence".to_owned(),
            Reply::Answer(answer) => {
                let body: String = answer.payload.iter().map(|b| format!("{b:02x}")).collect();
                let code = message::code_text(answer.code);
                format!("{code} {body}").trim_end().to_owned()
            }
        };
        self.turn();
    }

    /// Serves the block `number` of 16 << `szx` bytes; the tag is the package's.
    fn serve(&mut self, number: usize, szx: u32, tag: &[u8]) {
        let (bytes, size) = (package(), 16 << szx);
        let end = bytes.len().min((number + 1) * size);
        let more = if end == bytes.len() { 0 } else { 8 };
        let block = Block {
            code: message::CONTENT,
            block2: Some(u32::try_from(number).unwrap() << 4 | more | szx),
            etag: Some(tag),
            payload: &bytes[number * size..end],
        };
        self.device.fetched(self.now, Ok(block));
        self.turn();
    }

    fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let words: Vec<_> = line.split(' ').collect();
            let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
            match words[0] {
                ">" => {
                    assert!(!self.said.is_empty(), "nothing said, not {rest:?}");
                    assert_eq!(self.said.remove(0), rest, "then {:?}", self.said);
                    continue;
                }
                "=" => {
                    assert_eq!(self.reply, rest, "said: {:?}", self.said);
                    continue;
                }
                _ => assert!(self.said.is_empty(), "{line}: said {:?}", self.said),
            }
            match words[..] {
                ["get", ..] => self.ask(message::GET, &words[1..]),
                ["put", ..] => self.ask(message::PUT, &words[1..]),
                ["post", ..] => self.ask(message::POST, &words[1..]),
                ["ack"] => self.settle(NoticeEnd::Taken),
                ["reset"] => self.settle(NoticeEnd::Refused),
                ["block", number] => self.serve(number.parse().unwrap(), 5, b"1"),
                ["block", number, "small"] => self.serve(number.parse().unwrap(), 4, b"1"),
                ["block", number, "other"] => self.serve(number.parse().unwrap(), 5, b"2"),
                ["code", code] => {
                    let block = Block {
                        code: u8::from_str_radix(code, 16).unwrap(),
                        block2: None,
                        etag: None,
                        payload: b"x",
                    };
                    self.device.fetched(self.now, Ok(block));
                    self.turn();
                }
                ["nothing"] => {
                    self.device.fetched(self.now, Err(FetchError));
                    self.turn();
                }
                ["+", seconds] => self.pass(Duration::from_secs(seconds.parse().unwrap())),
                ["off", seconds] => {
                    let want = Duration::from_secs(seconds.parse().unwrap());
                    assert_eq!(self.off, Some(want));
                }
                ["cut"] => {
                    self.device.lose_power();
                    self.notices.clear();
                    self.off = Some(Duration::from_secs(60));
                }
                ["on"] => {
                    self.now += self.off.take().unwrap();
                    self.device.start(self.now);
                    self.turn();
                }
                ["runs", version] => assert_eq!(self.device.firmware_version(), version),
                _ => panic!("bad line: {line}"),
            }
        }
        assert!(self.said.is_empty(), "at the end: {:?}", self.said);
    }

    fn settle(&mut self, end: NoticeEnd) {
        let notice = self.notices.remove(0);
        self.device.settled(&notice, end);
        self.turn();
    }
}

const BEGIN: &str = "
    get 5/0/3 observe s
    = 2.05 c10300
    put 5/0/1 0 coap://10.0.0.1:5683/fw/a?v=2
    = 2.04
    > notice s c10301
    > fetch fw/a?v=2 0 5
    ack
";
const DOWNLOAD: &str = "
    block 0
    > fetch fw/a?v=2 1 5
    block 1
    > fetch fw/a?v=2 2 5
    block 2
    > notice s c10302
    ack
";
const EXECUTE: &str = "
    post 5/0/2
    = 2.04
    > notice s c10303
    ack
    + 5
    off 20
    on
";

fn play(fault: Option<Fault>, scripts: &[&str]) -> Bench {
    play_with(fault, |_| {}, scripts)
}

fn play_with(
    fault: Option<Fault>,
    change: impl FnOnce(&mut FotaHabits),
    scripts: &[&str],
) -> Bench {
    let mut bench = Bench::new(fault, change);
    bench.play(&scripts.join("\n"));
    bench
}
