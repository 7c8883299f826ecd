//! What the server's process costs while a run measures, from `/proc` (proc(5)): CPU in seconds,
//! resident memory in MiB. Linux only; elsewhere, and for processes of others, nothing is found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::Serialize;

use crate::sim::load::{Phase, Progress};

/// Times in `/proc/PID/stat` count this many to the second on every architecture that we build for.
const USER_HZ: f64 = 100.0;
const KIB_PER_MIB: f64 = 1024.0;

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    user_s: f64,
    system_s: f64,
    rss_mib: f64,
}

/// What the process took from the first to the last look of the measured phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Usage {
    pub(super) pid: u32,
    pub(super) user_s: f64,
    pub(super) system_s: f64,
    pub(super) rss_begin_mib: f64,
    /// The most of all looks, about four a second.
    pub(super) rss_peak_mib: f64,
    pub(super) rss_end_mib: f64,
    /// Answers per second of CPU, user and system; 0 when no CPU was counted.
    pub(super) answers_per_cpu_s: f64,
}

impl Usage {
    pub(super) fn text(&self) -> String {
        format!(
            "server (pid {}): CPU {:.2} s user, {:.2} s system, {:.0} answers per CPU second; \
             memory MiB: begin {:.1}, peak {:.1}, end {:.1}",
            self.pid,
            self.user_s,
            self.system_s,
            self.answers_per_cpu_s,
            self.rss_begin_mib,
            self.rss_peak_mib,
            self.rss_end_mib
        )
    }
}

/// Looks at a process as a run goes on.
#[derive(Debug)]
pub(super) struct Watch {
    pid: u32,
    begin: Option<Sample>,
    last: Option<Sample>,
    peak_mib: f64,
    done: u64,
}

impl Watch {
    /// An error when there is no such process.
    pub(super) fn of(pid: u32) -> std::io::Result<Self> {
        look(pid)?;
        Ok(Self::unseen(pid))
    }

    /// The process that listens on this UDP address, when it is on loopback and can be seen.
    pub(super) fn listening(server: SocketAddr) -> Option<Self> {
        if !server.ip().is_loopback() {
            return None;
        }
        let inode = ["/proc/net/udp", "/proc/net/udp6"]
            .iter()
            .find_map(|file| {
                let table = std::fs::read_to_string(file).ok()?;
                socket_inode(&table, server)
            })?;
        Self::of(owner(&inode)?).ok()
    }

    const fn unseen(pid: u32) -> Self {
        Self {
            pid,
            begin: None,
            last: None,
            peak_mib: 0.0,
            done: 0,
        }
    }

    /// A run told how far it is. What comes before the measured phase does not count.
    pub(super) fn take(&mut self, progress: &Progress) {
        if progress.phase != Phase::Measuring {
            return;
        }
        if let Ok(sample) = look(self.pid) {
            self.add(sample, progress.done);
        }
    }

    fn add(&mut self, sample: Sample, done: u64) {
        self.begin.get_or_insert(sample);
        self.peak_mib = self.peak_mib.max(sample.rss_mib);
        self.last = Some(sample);
        self.done = done;
    }

    /// What it took since the last call; `None` when nothing was measured.
    pub(super) fn finish(&mut self) -> Option<Usage> {
        let ended = std::mem::replace(self, Self::unseen(self.pid));
        let (begin, last) = (ended.begin?, ended.last?);
        let (user_s, system_s) = (last.user_s - begin.user_s, last.system_s - begin.system_s);
        let cpu_s = user_s + system_s;
        Some(Usage {
            pid: ended.pid,
            user_s,
            system_s,
            rss_begin_mib: begin.rss_mib,
            rss_peak_mib: ended.peak_mib,
            rss_end_mib: last.rss_mib,
            answers_per_cpu_s: if cpu_s > 0.0 {
                ended.done as f64 / cpu_s
            } else {
                0.0
            },
        })
    }
}

fn look(pid: u32) -> std::io::Result<Sample> {
    let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
    sample(&read("stat")?, &read("status")?).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// From `stat` and `status`. The name in `stat` may hold blanks and brackets: fields count from the
/// last bracket. A process that ends has no `VmRSS`.
fn sample(stat: &str, status: &str) -> Option<Sample> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / USER_HZ);
    let (user_s, system_s) = (seconds()?, seconds()?);
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = rss.and_then(|text| text.trim().strip_suffix(" kB"));
    let kib: f64 = kib.map_or(Some(0.0), |text| text.parse().ok())?;
    Some(Sample {
        user_s,
        system_s,
        rss_mib: kib / KIB_PER_MIB,
    })
}

/// Inode of the socket that hears what is sent to `server`: bound to the address, or to any.
fn socket_inode(table: &str, server: SocketAddr) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let bound = bound_to(fields.next()?)?;
        let hears = bound.ip() == server.ip() || bound.ip().is_unspecified();
        let inode = fields.nth(7)?;
        (hears && bound.port() == server.port()).then(|| inode.to_owned())
    })
}

/// `0100007F:1633`: each four bytes of the address in the machine's order, then the port.
fn bound_to(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

/// The process that holds a socket, among those whose files we may see.
fn owner(inode: &str) -> Option<u32> {
    let link = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let files = std::fs::read_dir(process.join("fd")).ok()?;
        let mut targets = files
            .flatten()
            .filter_map(|file| file.path().read_link().ok());
        targets
            .any(|target| target.as_os_str() == link.as_str())
            .then_some(())
    };
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            holds(&entry.path()).map(|()| pid)
        })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    const STAT: &str = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 125 0 0 20 0 9 0 1 1 1";

    #[test]
    fn times_and_memory_are_read_behind_any_name() {
        let sample = sample(STAT, "Name:\tx\nVmRSS:\t    2048 kB\n").unwrap();
        assert_eq!((sample.user_s, sample.system_s), (2.5, 1.25));
        assert!((sample.rss_mib - 2.0).abs() < 1e-9);
        assert!(super::sample("7 (a) S 1", "").is_none());
        assert!(super::sample(STAT, "VmRSS:\tmany kB\n").is_none());
    }

    #[test]
    fn usage_is_the_difference_and_begins_anew() {
        let at = |user_s, system_s, rss_mib| Sample {
            user_s,
            system_s,
            rss_mib,
        };
        let mut watch = Watch::unseen(7);
        watch.add(at(10.0, 5.0, 20.0), 0);
        watch.add(at(11.0, 5.5, 90.0), 100);
        watch.add(at(12.0, 6.0, 30.0), 600);
        let usage = watch.finish().unwrap();
        assert_eq!((usage.user_s, usage.system_s), (2.0, 1.0));
        assert_eq!((usage.rss_begin_mib, usage.rss_end_mib), (20.0, 30.0));
        assert_eq!((usage.rss_peak_mib, usage.answers_per_cpu_s), (90.0, 200.0));
        assert!(watch.finish().is_none());
    }

    #[test]
    fn a_socket_bound_to_the_address_or_to_any_is_the_servers() {
        let line = |bound: &str, inode: u32| {
            format!(" 1: {bound} 00000000:0000 07 0:0 00:00000000 00000000 0 0 {inode} 2 0 0\n")
        };
        let local = u32::from_ne_bytes([127, 0, 0, 1]);
        let table = ["head\n".to_owned(), line(&format!("{local:08X}:1633"), 5)].concat();
        let table =
            table + &line("00000000:1634", 6) + &line(&format!("{}:1635", "0".repeat(32)), 8);
        let find = |address: &str| socket_inode(&table, address.parse().unwrap());
        assert_eq!(find("127.0.0.1:5683").as_deref(), Some("5"));
        assert_eq!(find("127.0.0.2:5683"), None);
        assert_eq!(find("127.0.0.1:5684").as_deref(), Some("6"));
        assert_eq!(find("[::1]:5685").as_deref(), Some("8"));
        assert_eq!(find("127.0.0.1:5686"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_behind_a_port_is_found_and_measured() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut watch = Watch::listening(address).unwrap();
        let told = |phase, done| Progress {
            phase,
            done,
            elapsed: Duration::ZERO,
        };
        watch.take(&told(Phase::Registering, 5));
        assert!(watch.finish().is_none());
        watch.take(&told(Phase::Measuring, 1));
        let usage = watch.finish().unwrap();
        assert_eq!(usage.pid, std::process::id());
        assert!(usage.rss_begin_mib > 0.0 && usage.rss_begin_mib <= usage.rss_peak_mib);
        assert!(Watch::listening("192.0.2.1:5683".parse().unwrap()).is_none());
        assert!(Watch::of(u32::MAX).is_err());
    }
}
