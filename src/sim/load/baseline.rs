//! A bare UDP echo on a thread of its own: answers each datagram with its first bytes. It parses
//! nothing and keeps nothing, so its rate is what sockets and the load generator leave of the
//! machine. Receives in batches (recvmmsg) and answers in batches (sendmmsg), as a server would.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::PollFlags;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

use super::pool::{enlarge, wait_ready};
use crate::base::limits;

const BATCH: usize = 32;
const POLL: Duration = Duration::from_millis(50);

/// The running echo; stops when dropped.
#[derive(Debug)]
pub(super) struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Answers with at most `answer_len` bytes.
    pub(super) fn start(answer_len: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        enlarge(&socket);
        let address = socket.local_addr()?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let serve = move || {
            // The end of the echo shows as timeouts in the measurement.
            serve(&socket, &state, answer_len, &stopping).ok();
        };
        let thread = std::thread::Builder::new()
            .name("echo".to_owned())
            .spawn(serve)?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(
    socket: &UdpSocket,
    state: &UdpSocketState,
    answer_len: usize,
    stop: &AtomicBool,
) -> io::Result<()> {
    let size = limits::DATAGRAM_MAX * state.gro_segments();
    let mut buffers = vec![vec![0; size]; BATCH];
    let mut peers: Vec<SocketAddrAny> = Vec::with_capacity(BATCH * 2);
    let mut answers: Vec<u8> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if !wait_ready(socket, PollFlags::IN, POLL)? {
            continue;
        }
        let mut meta = [RecvMeta::default(); BATCH];
        let mut slices: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let count = match state.recv(UdpSockRef::from(socket), &mut slices, &mut meta) {
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        };
        peers.clear();
        answers.clear();
        for (meta, buffer) in meta.iter().zip(&buffers).take(count) {
            let bytes = buffer.get(..meta.len).unwrap_or_default();
            for datagram in bytes.chunks(meta.stride.max(1)) {
                peers.push(meta.addr.into());
                // Padded, so that every answer has the same length.
                let from = answers.len();
                answers.extend(datagram.iter().take(answer_len));
                answers.resize(from + answer_len, 0);
            }
        }
        answer(socket, &peers, &answers, answer_len)?;
    }
    Ok(())
}

fn answer(
    socket: &UdpSocket,
    peers: &[SocketAddrAny],
    answers: &[u8],
    len: usize,
) -> io::Result<()> {
    let slices: Vec<_> = answers.chunks(len).map(|a| [IoSlice::new(a)]).collect();
    let mut controls: Vec<_> = peers
        .iter()
        .map(|_| SendAncillaryBuffer::default())
        .collect();
    let mut messages: Vec<_> = peers
        .iter()
        .zip(&slices)
        .zip(&mut controls)
        .map(|((peer, slice), control)| MMsgHdr::new_with_addr(peer, slice, control))
        .collect();
    let mut rest = messages.as_mut_slice();
    while !rest.is_empty() {
        match sendmmsg(socket, rest, SendFlags::empty()) {
            Ok(sent) => rest = rest.get_mut(sent.max(1)..).unwrap_or_default(),
            Err(rustix::io::Errno::AGAIN) => {
                wait_ready(socket, PollFlags::OUT, POLL)?;
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
