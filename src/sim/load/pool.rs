//! One source address for each simulated device, few system calls.
//!
//! Against a server on IPv4 loopback, device `i` sends from `127.64.0.0 + i` through one socket
//! that sets the source of each datagram (IP_PKTINFO), so 200,000 devices need one descriptor.
//! Against any other server each device has its own connected socket, all in one epoll.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::OwnedFd;

use crate::base::limits;
use crate::sim::fleet::{FleetError, raise_file_limit};

/// Datagrams of one receive call.
const BATCH: usize = 32;
/// Receive calls in a row before the caller sends again.
const ROUNDS: usize = 8;
/// The kernel's buffers, as far as its limits allow: bursts of answers must not be lost here.
const BUFFER: usize = 8 * 1024 * 1024;
/// First source address; 4 million follow it within loopback.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 0]);
const LOOPBACK_DEVICES: usize = 1 << 22;

/// The sockets of all devices.
pub(super) enum Pool {
    Shared(Box<Shared>),
    Each(Each),
}

/// One socket, many source addresses.
pub(super) struct Shared {
    server: SocketAddr,
    socket: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<Vec<u8>>,
}

/// One connected socket for each device.
pub(super) struct Each {
    server: SocketAddr,
    sockets: Vec<UdpSocket>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Pool {
    pub(super) fn open(server: SocketAddr, devices: usize) -> Result<Self, FleetError> {
        let loopback = matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        if loopback && devices <= LOOPBACK_DEVICES {
            Ok(Self::Shared(Box::new(Shared::open(server)?)))
        } else {
            raise_file_limit(devices as u64)?;
            Ok(Self::Each(Each::open(server, devices)?))
        }
    }

    /// A fresh source address for the device that `line` stands for: gives the line to use from now on.
    /// Against loopback it is the next address that no device of this pool has had lately, else
    /// a new socket, so a new port, on the same line.
    pub(super) fn renew(&mut self, line: u32, devices: u32) -> io::Result<u32> {
        match self {
            Self::Shared(_) => {
                let next = line.saturating_add(devices);
                let wraps = next as usize >= LOOPBACK_DEVICES;
                Ok(if wraps { line % devices.max(1) } else { next })
            }
            Self::Each(each) => each.rebind(line).map(|()| line),
        }
    }

    /// Sends one datagram. What the kernel refuses is lost, as on any network.
    pub(super) fn send(&mut self, device: u32, datagram: &[u8]) -> io::Result<()> {
        let sent = match self {
            Self::Shared(shared) => shared.send(device, datagram),
            Self::Each(each) => each.send(device, datagram),
        };
        match sent {
            Err(e) if is_loss(&e) => Ok(()),
            other => other,
        }
    }

    /// Waits at most `wait` and hands over what came.
    pub(super) fn receive(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(u32, &[u8]),
    ) -> io::Result<()> {
        match self {
            Self::Shared(shared) => shared.receive(wait, take),
            Self::Each(each) => each.receive(wait, take),
        }
    }
}

/// Errors that mean no more than a lost datagram: nobody listens there (yet), no buffer space.
fn is_loss(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::WouldBlock | ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

fn timespec(wait: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(wait.subsec_nanos()),
    }
}

/// Waits until the socket is ready; false when time ran out.
pub(super) fn wait_ready(socket: &UdpSocket, flags: PollFlags, wait: Duration) -> io::Result<bool> {
    let mut ready = [PollFd::new(socket, flags)];
    match poll(&mut ready, Some(&timespec(wait))) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Asks for large kernel buffers; a smaller grant only loses more.
pub(super) fn enlarge(socket: &UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    socket.set_recv_buffer_size(BUFFER).ok();
    socket.set_send_buffer_size(BUFFER).ok();
}

impl Shared {
    fn open(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        enlarge(&socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let size = limits::DATAGRAM_MAX * state.gro_segments();
        Ok(Self {
            server,
            socket,
            state,
            buffers: vec![vec![0; size]; BATCH],
        })
    }

    fn send(&self, device: u32, datagram: &[u8]) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: Some(Ipv4Addr::from(FIRST + device).into()),
        };
        loop {
            match self.state.try_send((&self.socket).into(), &transmit) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let patience = Duration::from_millis(100);
                    if !wait_ready(&self.socket, PollFlags::OUT, patience)? {
                        return Err(e);
                    }
                }
                other => return other,
            }
        }
    }

    fn receive(&mut self, wait: Duration, take: &mut dyn FnMut(u32, &[u8])) -> io::Result<()> {
        if !wait.is_zero() && !wait_ready(&self.socket, PollFlags::IN, wait)? {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let mut meta = [RecvMeta::default(); BATCH];
            let mut slices: Vec<_> = self
                .buffers
                .iter_mut()
                .map(|b| IoSliceMut::new(b))
                .collect();
            let socket = UdpSockRef::from(&self.socket);
            let count = match self.state.recv(socket, &mut slices, &mut meta) {
                Ok(count) => count,
                Err(e) if is_loss(&e) => return Ok(()),
                Err(e) => return Err(e),
            };
            for (meta, buffer) in meta.iter().zip(&self.buffers).take(count) {
                let Some(IpAddr::V4(ip)) = meta.dst_ip else {
                    continue;
                };
                let Some(device) = u32::from(ip).checked_sub(FIRST) else {
                    continue;
                };
                // One buffer may hold several datagrams of one sender (receive offload).
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                for datagram in bytes.chunks(meta.stride.max(1)) {
                    take(device, datagram);
                }
            }
            if count < BATCH {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Each {
    fn open(server: SocketAddr, devices: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::with_capacity(devices);
        for device in 0..devices {
            sockets.push(Self::connect(server, &epoll, device as u64)?);
        }
        Ok(Self {
            server,
            sockets,
            epoll,
            events: Vec::with_capacity(BATCH * ROUNDS),
            buffer: vec![0; limits::DATAGRAM_MAX],
        })
    }

    fn connect(server: SocketAddr, epoll: &OwnedFd, device: u64) -> io::Result<UdpSocket> {
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local)?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(device);
        epoll::add(epoll, &socket, data, epoll::EventFlags::IN)?;
        Ok(socket)
    }

    /// The old socket leaves the epoll when it is closed.
    fn rebind(&mut self, device: u32) -> io::Result<()> {
        let fresh = Self::connect(self.server, &self.epoll, u64::from(device))?;
        if let Some(socket) = self.sockets.get_mut(device as usize) {
            *socket = fresh;
        }
        Ok(())
    }

    fn send(&self, device: u32, datagram: &[u8]) -> io::Result<()> {
        let Some(socket) = self.sockets.get(device as usize) else {
            return Ok(());
        };
        socket.send(datagram).map(|_| ())
    }

    fn receive(&mut self, wait: Duration, take: &mut dyn FnMut(u32, &[u8])) -> io::Result<()> {
        self.events.clear();
        let events = spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, events, Some(&timespec(wait))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        for event in &self.events {
            let device = event.data.u64();
            let Ok(device) = u32::try_from(device) else {
                continue;
            };
            let Some(socket) = self.sockets.get(device as usize) else {
                continue;
            };
            loop {
                match socket.recv(&mut self.buffer) {
                    Ok(len) => take(device, self.buffer.get(..len).unwrap_or_default()),
                    Err(e) if is_loss(&e) => break,
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }
}
