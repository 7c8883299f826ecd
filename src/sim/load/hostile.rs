//! Hostile datagrams: valid messages of every kind, broken by chance from a seed, sent as fast as
//! the server takes them. After each burst a ping must come back, which shows that the server
//! still serves and keeps the burst from drowning in its socket.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::pool::Pool;
use super::{LoadError, template};
use crate::base::time::Clock;

/// Datagrams between two pings.
const BURST: u64 = 64;
/// Pings tried, each waited for this long, before the server counts as dead.
const PING_TRIES: u32 = 20;
const PING_WAIT: Duration = Duration::from_millis(500);
/// Longest datagram made; beyond what the server takes.
const LEN_MAX: usize = 1600;
/// The last device sends the pings, from an address that never misbehaves.
const SENDERS: u32 = 4096;

/// One attack.
#[derive(Debug, Clone)]
pub struct Hostile {
    pub server: SocketAddr,
    pub clock: Clock,
    pub datagrams: u64,
    pub seed: u64,
    /// Node ids that the server knows, so that some messages get past the first check.
    pub prefix: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostileReport {
    pub workload: &'static str,
    pub datagrams: u64,
    pub bytes: u64,
    pub answers: u64,
    pub pongs: u64,
    /// Pings that had to be repeated.
    pub pings_lost: u64,
    pub elapsed_s: f64,
}

/// Sends it all; `progress` hears how many datagrams went. Fails when the server stops answering
/// pings.
pub fn attack(
    hostile: &Hostile,
    progress: &mut dyn FnMut(u64),
) -> Result<HostileReport, LoadError> {
    let mut pool = Pool::open(hostile.server, SENDERS as usize + 1)?;
    let mut maker = Maker::new(hostile);
    let begun = hostile.clock.instant();
    let mut report = HostileReport {
        workload: "hostile",
        datagrams: 0,
        bytes: 0,
        answers: 0,
        pongs: 0,
        pings_lost: 0,
        elapsed_s: 0.0,
    };
    ping(&mut pool, hostile, &mut report)?;
    while report.datagrams < hostile.datagrams {
        for _ in 0..BURST.min(hostile.datagrams - report.datagrams) {
            let (sender, datagram) = maker.next();
            pool.send(sender, datagram)?;
            report.datagrams += 1;
            report.bytes += datagram.len() as u64;
        }
        ping(&mut pool, hostile, &mut report)?;
        progress(report.datagrams);
    }
    report.elapsed_s = (hostile.clock.instant() - begun).as_secs_f64();
    Ok(report)
}

/// Sends a ping and waits for its reset, counting what else comes.
fn ping(pool: &mut Pool, hostile: &Hostile, report: &mut HostileReport) -> Result<(), LoadError> {
    let mut out = Vec::new();
    let [.., high, low] = report.pongs.to_be_bytes();
    let msg_id = u16::from_be_bytes([high, low]);
    template::ping(&mut out, msg_id);
    for _ in 0..PING_TRIES {
        pool.send(SENDERS, &out)?;
        let until = hostile.clock.instant() + PING_WAIT;
        let mut pong = false;
        while !pong {
            let now = hostile.clock.instant();
            if now >= until {
                break;
            }
            let mut others = 0;
            pool.receive(until - now, &mut |device, datagram| {
                let answers = datagram.first().is_some_and(|b| b >> 4 & 3 == 3);
                if device == SENDERS && answers && datagram.get(2..4) == Some(&[high, low]) {
                    pong = true;
                } else {
                    others += 1;
                }
            })?;
            report.answers += others;
        }
        if pong {
            report.pongs += 1;
            return Ok(());
        }
        report.pings_lost += 1;
    }
    let sent = report.datagrams;
    Err(LoadError::Silent { sent })
}

/// Makes broken datagrams.
struct Maker {
    rng: fastrand::Rng,
    seeds: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Maker {
    fn new(hostile: &Hostile) -> Self {
        let node = format!("{}{:010}", hostile.prefix, 0);
        let mut seeds: Vec<Vec<u8>> = Vec::new();
        let mut seed = |build: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            build(&mut out);
            seeds.push(out);
        };
        seed(&|out| template::register(out, 1, &node, 60));
        seed(&|out| template::register_raw(out, 2, &node, 60));
        seed(&|out| template::update(out, 3, "rd/0123456789abcdef"));
        seed(&|out| template::notify(out, 4, b"tokentok", 5, b"\x01\x02\x03\x04"));
        seed(&|out| template::post_data(out, 6, &[7; 12]));
        seed(&|out| template::read(out, 8, ".well-known/core"));
        seed(&|out| template::ping(out, 9));
        seed(&|out| template::observed(out, 10, b"tokentok"));
        seed(&|out| template::not_found(out, 11, b"tokentok"));
        // Block1 (27) number 0 with more to come, and block2 (23) of a number far away.
        seeds.push(b"\x42\x02\x00\x0c\x00\x0c\xb2rd\xd1\x03\x0e\xff0123456789abcdef".to_vec());
        seeds.push(b"\x42\x01\x00\x0d\x00\x0d\xb3pkg\xc3\xff\xff\xfe".to_vec());
        // An option of 65,000 bytes that is not there, an unknown critical one, a reserved length.
        seeds.push(b"\x40\x01\x00\x0e\xbe\xfd\xe8x".to_vec());
        seeds.push(b"\x40\x01\x00\x0f\xe1\x04\x00x".to_vec());
        seeds.push(b"\x4f\x01\x00\x10\xff\xff\xff".to_vec());
        Self {
            rng: fastrand::Rng::with_seed(hostile.seed),
            seeds,
            out: Vec::new(),
        }
    }

    /// Who sends, and what.
    fn next(&mut self) -> (u32, &[u8]) {
        let rng = &mut self.rng;
        self.out.clear();
        if let Some(seed) = rng.choice(&self.seeds) {
            self.out.extend(seed);
        }
        // Fresh message ids, else most would be swallowed as duplicates.
        let id = rng.u16(..).to_be_bytes();
        if let Some(at) = self.out.get_mut(2..4) {
            at.copy_from_slice(&id);
        }
        for _ in 0..rng.u8(0..6) {
            mutate(&mut self.out, rng);
        }
        self.out.truncate(LEN_MAX);
        (rng.u32(..SENDERS), &self.out)
    }
}

fn mutate(out: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    let at = rng.usize(..=out.len());
    match rng.u8(0..7) {
        0 => {
            if let Some(byte) = out.get_mut(at) {
                *byte ^= 1 << rng.u8(0..8);
            }
        }
        1 => {
            if let Some(byte) = out.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        2 => out.truncate(at),
        3 => out.insert(at, rng.u8(..)),
        4 => {
            if at < out.len() {
                out.remove(at);
            }
        }
        5 => {
            let most = if rng.u8(..) == 0 { LEN_MAX } else { 40 };
            let more = rng.usize(..most);
            out.extend((0..more).map(|_| rng.u8(..)));
        }
        _ => {
            // A piece of itself again: repeated options, nested payload markers.
            let piece = out.get(at..).unwrap_or_default().to_vec();
            out.extend(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::message;

    /// Garbage only would test nothing but the first check of a parser.
    #[test]
    fn a_good_part_still_reads_as_coap_and_none_is_too_long() {
        let hostile = Hostile {
            server: ([127, 0, 0, 1], 1).into(),
            clock: Clock::System,
            datagrams: 0,
            seed: 1,
            prefix: "n".to_owned(),
        };
        let mut maker = Maker::new(&hostile);
        let mut readable = 0;
        for _ in 0..10_000 {
            let (sender, datagram) = maker.next();
            assert!(sender < SENDERS && datagram.len() <= LEN_MAX);
            readable += u32::from(message::read(datagram).is_ok());
        }
        assert!((2_000..9_000).contains(&readable), "{readable}");
    }
}
