//! Both stacks against a scripted platform, row for row; the frames against their vectors.
//!
//! A script says what the platform sends (`<`), what the device must send (`>`, in order, all of it), how
//! time passes (`+`, doing what is due on the way), and that the device restarts (`off 10s`, then `on`) or
//! runs a version (`runs`).

mod faults;
mod stacks;
mod vectors;

use std::fmt::Write;

use super::*;
use crate::base::time::{Clock, Timestamp};
use crate::sim::upgrade::{Expected, Fault, Habits, Output, Upgrader};

/// 80 bytes: fragments of 32, 32 and 16.
fn package() -> Vec<u8> {
    (0..80).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        write!(out, "{b:02x}").unwrap();
        out
    })
}

/// What a frame of the platform means.
fn meaning(bytes: &[u8], verify: bool) -> String {
    match frame::read(bytes, verify) {
        Err(error) => format!("error: {}", error.kind()),
        Ok(frame::Downlink::Query) => "query".to_owned(),
        Ok(frame::Downlink::Offer(offer)) => format!(
            "offer {} {} {} {:04x}",
            frame::version_text(offer.version),
            offer.fragment_size,
            offer.fragments,
            offer.check
        ),
        Ok(frame::Downlink::Fragment { index, bytes }) => {
            format!("fragment {index} {}", hex(bytes))
        }
        Ok(frame::Downlink::NoFragment { result, index }) => {
            let index = index.map_or_else(|| "-".to_owned(), |i| i.to_string());
            format!("no fragment {result:02x} {index}")
        }
        Ok(frame::Downlink::DownloadedTaken { result }) => format!("downloaded taken {result}"),
        Ok(frame::Downlink::Execute) => "execute".to_owned(),
        Ok(frame::Downlink::ResultTaken { result }) => format!("result taken {result}"),
    }
}

/// A frame of the platform from its meaning.
fn spoken(text: &str) -> Vec<u8> {
    let words: Vec<_> = text.split(' ').collect();
    let number = |at: usize| words[at].parse::<u16>().unwrap();
    let of = |at: usize, len: usize| {
        let value = u16::from_str_radix(words[at], 16).unwrap();
        value.to_be_bytes()[2 - len..].to_vec()
    };
    match words[..] {
        ["query"] => frame::write(frame::QUERY, &[]),
        ["offer", version, ..] => {
            let mut data = frame::version(version).to_vec();
            data.extend(number(2).to_be_bytes());
            data.extend(number(3).to_be_bytes());
            data.extend(of(4, 2));
            frame::write(frame::OFFER, &data)
        }
        ["fragment", index] => {
            let from = usize::from(number(1)) * 32;
            let bytes = package()[from..(from + 32).min(80)].to_vec();
            let index: u16 = index.parse().unwrap();
            let head = [&[0][..], &index.to_be_bytes()].concat();
            frame::write(frame::FRAGMENT, &[head, bytes].concat())
        }
        ["fragment", _, bytes] => {
            let head = [&[0][..], &number(1).to_be_bytes()].concat();
            frame::write(frame::FRAGMENT, &[head, unhex(bytes)].concat())
        }
        ["no", "fragment", _, "-"] => frame::write(frame::FRAGMENT, &of(2, 1)),
        ["no", "fragment", ..] => {
            let data = [of(2, 1), number(3).to_be_bytes().to_vec()].concat();
            frame::write(frame::FRAGMENT, &data)
        }
        ["downloaded", "taken", _] => frame::write(frame::DOWNLOADED, &of(2, 1)),
        ["execute"] => frame::write(frame::EXECUTE, &[]),
        ["result", "taken", _] => frame::write(frame::RESULT, &of(2, 1)),
        _ => panic!("no such frame: {text}"),
    }
}

/// What a frame of the device means, whose checksum is told elsewhere.
fn said(bytes: &[u8]) -> String {
    let (code, data) = (bytes[3], &bytes[8..]);
    let version = |bytes: &[u8]| frame::version_text(bytes.try_into().unwrap());
    match data.len() {
        1 => format!("result {code} {}", data[0]),
        17 => format!("version {code} {} {}", data[0], version(&data[1..])),
        18 => format!(
            "ask {} {}",
            version(&data[..16]),
            u16::from_be_bytes([data[16], data[17]])
        ),
        len => format!("{len} bytes of {code}"),
    }
}

/// A frame of the device from its meaning, for the vectors.
fn uttered(text: &str) -> Vec<u8> {
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        ["version", code, result, version] => frame::write_version(
            code.parse().unwrap(),
            result.parse().unwrap(),
            frame::version(version),
        ),
        ["ask", version, index] => frame::ask(frame::version(version), index.parse().unwrap()),
        ["result", code, result] => frame::write(code.parse().unwrap(), &[result.parse().unwrap()]),
        _ => panic!("no such frame: {text}"),
    }
}

/// A device and the time.
struct Bench {
    device: Upgrader,
    now: Instant,
    said: Vec<String>,
    off: Option<Duration>,
}

impl Bench {
    fn new(stack: Stack, fault: Option<Fault>) -> Self {
        let habits = Habits {
            fault,
            expected: Some(Expected::new(&package())),
            ..Habits::software(stack, "V1.0")
        };
        Self {
            device: Upgrader::new(habits),
            now: Clock::manual(Timestamp::from_ms(0)).instant(),
            said: Vec::new(),
            off: None,
        }
    }

    /// Lets it do what is due.
    fn turn(&mut self) {
        self.device.tick(self.now);
        while let Some(output) = self.device.output() {
            match output {
                Output::Frame(out) => {
                    let copies = std::iter::repeat_n(said(&out.bytes), usize::from(out.copies));
                    self.said.extend(copies);
                }
                Output::PowerOff(off_for) => {
                    self.off = Some(off_for);
                    self.device.lose_power();
                    return;
                }
                other => panic!("{other:?}"),
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

    fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            if mark == ">" {
                assert!(!self.said.is_empty(), "nothing said, not {rest:?}");
                assert_eq!(self.said.remove(0), rest, "then {:?}", self.said);
                continue;
            }
            assert!(self.said.is_empty(), "{line}: it also said {:?}", self.said);
            match mark {
                "<" => {
                    assert!(self.device.take(self.now, &spoken(rest)));
                    self.turn();
                }
                "<broken" => {
                    let mut bytes = spoken(rest);
                    bytes[4] ^= 1;
                    assert!(self.device.take(self.now, &bytes));
                    self.turn();
                }
                "+" => self.pass(span(rest)),
                "off" => assert_eq!(self.off, Some(span(rest))),
                "on" => {
                    self.now += self.off.take().unwrap();
                    self.device.start(self.now);
                    self.turn();
                }
                "cut" => {
                    self.device.lose_power();
                    self.off = Some(span(rest));
                }
                "runs" => assert_eq!(self.device.software_version(), rest),
                _ => panic!("bad line: {line}"),
            }
        }
        assert!(self.said.is_empty(), "at the end: {:?}", self.said);
    }
}

fn span(text: &str) -> Duration {
    let tenths: u64 = text
        .strip_suffix('s')
        .unwrap()
        .replace('.', "")
        .parse()
        .unwrap();
    let scale = if text.contains('.') { 100 } else { 1000 };
    Duration::from_millis(tenths * scale)
}

/// Offered, all three fragments taken, told so.
const AT_DOWNLOAD: &str = "
    < offer V2.0 32 3 0000
    > ask V2.0 0
    < fragment 0
    > ask V2.0 1
    < fragment 1
    > ask V2.0 2
    < fragment 2
    > result 22 0
";
const LWM2M_DOWNLOAD: &str = "
    < offer V2.0 32 3 0000
    > result 20 0
    > ask V2.0 0
    < fragment 0
    > ask V2.0 1
    < fragment 1
    > ask V2.0 2
    < fragment 2
    > result 22 0
";

fn play(stack: Stack, fault: Option<Fault>, scripts: &[&str]) -> Bench {
    let mut bench = Bench::new(stack, fault);
    bench.play(&scripts.join("\n"));
    bench
}
