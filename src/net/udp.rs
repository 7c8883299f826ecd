//! A UDP socket read and written in batches: quinn-udp receives (recvmmsg), rustix sends
//! (sendmmsg). Datagrams travel in vectors over bounded channels: while the endpoint is behind, they wait
//! in the kernel's buffer, which drops what is beyond it.

mod drops;

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::{Arrival, Datagram};
use crate::base::limits::DATAGRAM_MAX;

/// Kernel buffers that take a burst while the process is busy; the kernel may grant less.
const SOCKET_BUFFER: usize = 8 << 20;

/// Datagrams in one sendmmsg call.
const SEND_BATCH: usize = 64;

/// What happened to datagrams here, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Longer than `DATAGRAM_MAX`.
    pub oversize: AtomicU64,
    /// The kernel refused to send.
    pub unsent: AtomicU64,
    /// Inode of the socket; 0: not known.
    inode: AtomicU64,
}

impl Counters {
    /// Datagrams that the kernel dropped because its buffer was full: the endpoint was behind. 0 where it does not
    /// tell.
    pub fn dropped(&self) -> u64 {
        drops::of(self.inode.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// A bound socket, not read yet.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    /// Binds; port 0 takes a free one. Must be called within a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = StdUdpSocket::bind(address)?;
        let buffers = socket2::SockRef::from(&socket);
        // Less is fine: the kernel caps it for all but privileged processes.
        drop(buffers.set_recv_buffer_size(SOCKET_BUFFER));
        drop(buffers.set_send_buffer_size(SOCKET_BUFFER));
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            state,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Moves datagrams until `outgoing` is closed.
    pub async fn run(
        self,
        incoming: mpsc::Sender<Vec<Arrival>>,
        mut outgoing: mpsc::Receiver<Vec<Datagram>>,
        counters: std::sync::Arc<Counters>,
    ) {
        let inode = drops::inode(&self.socket).unwrap_or(0);
        counters.inode.store(inode, Ordering::Relaxed);
        let mut buffers = ReceiveBuffers::new(&self.state);
        let mut listens = true;
        loop {
            let room = async {
                let room = incoming.reserve().await.ok()?;
                Some((room, self.socket.readable().await))
            };
            tokio::select! {
                received = room, if listens => match received {
                    Some((room, Ok(()))) => {
                        let batch = self.receive(&mut buffers, &counters);
                        if !batch.is_empty() {
                            room.send(batch);
                        }
                    }
                    Some((_, Err(_))) => {}
                    // The endpoint takes nothing more.
                    None => listens = false,
                },
                batch = outgoing.recv() => match batch {
                    Some(batch) => self.send(&batch, &counters).await,
                    None => return,
                },
            }
        }
    }

    /// What one system call gives.
    fn receive(&self, buffers: &mut ReceiveBuffers, counters: &Counters) -> Vec<Arrival> {
        let ReceiveBuffers { space, slot, meta } = buffers;
        let mut slices: Vec<IoSliceMut<'_>> =
            space.chunks_mut(*slot).map(IoSliceMut::new).collect();
        let received = self.socket.try_io(Interest::READABLE, || {
            self.state
                .recv(UdpSockRef::from(&self.socket), &mut slices, meta)
        });
        drop(slices);
        let mut batch = Vec::with_capacity(received.as_ref().map_or(0, |n| *n));
        for (meta, bytes) in meta
            .iter()
            .zip(space.chunks(*slot))
            .take(received.unwrap_or(0))
        {
            let bytes = bytes.get(..meta.len).unwrap_or_default();
            // The kernel may hand over several datagrams of one sender as one (GRO).
            for datagram in bytes.chunks(meta.stride.max(1)) {
                if datagram.len() > DATAGRAM_MAX {
                    counters.oversize.fetch_add(1, Ordering::Relaxed);
                } else {
                    let bytes = Bytes::copy_from_slice(datagram);
                    batch.push(Arrival::plain(meta.addr, bytes));
                }
            }
        }
        batch
    }

    async fn send(&self, batch: &[Datagram], counters: &Counters) {
        let mut rest = batch;
        while !rest.is_empty() {
            let sent = self
                .socket
                .try_io(Interest::WRITABLE, || self.send_some(rest));
            match sent {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.socket.writable().await.is_err() {
                        return;
                    }
                }
                // The first one can't be sent (no route, too long): the others may.
                Err(_) => {
                    counters.unsent.fetch_add(1, Ordering::Relaxed);
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
    }

    /// One sendmmsg call; returns how many datagrams it took.
    fn send_some(&self, batch: &[Datagram]) -> io::Result<usize> {
        let batch = batch.get(..SEND_BATCH).unwrap_or(batch);
        let addresses: Vec<SocketAddrAny> = batch
            .iter()
            .map(|(peer, _)| SocketAddrAny::from(*peer))
            .collect();
        let slices: Vec<[IoSlice<'_>; 1]> = batch
            .iter()
            .map(|(_, bytes)| [IoSlice::new(bytes)])
            .collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = batch
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let mut messages: Vec<MMsgHdr<'_>> = addresses
            .iter()
            .zip(&slices)
            .zip(&mut controls)
            .map(|((address, slice), control)| MMsgHdr::new_with_addr(address, slice, control))
            .collect();
        Ok(sendmmsg(&self.socket, &mut messages, SendFlags::empty())?)
    }
}

struct ReceiveBuffers {
    space: Vec<u8>,
    /// Bytes for one (possibly coalesced) datagram.
    slot: usize,
    meta: Vec<RecvMeta>,
}

impl ReceiveBuffers {
    fn new(state: &UdpSocketState) -> Self {
        // One byte more than allowed tells a datagram that is too long.
        let slot = ((DATAGRAM_MAX + 1) * state.gro_segments()).min(usize::from(u16::MAX));
        let space = vec![0; slot * BATCH_SIZE];
        Self {
            space,
            slot,
            meta: vec![RecvMeta::default(); BATCH_SIZE],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    /// A socket whose endpoint takes nothing until it is asked, and so many numbered datagrams that were sent to it.
    struct Behind {
        arrivals: mpsc::Receiver<Vec<Arrival>>,
        counters: Arc<Counters>,
        /// Keeps the socket running.
        _outgoing: mpsc::Sender<Vec<Datagram>>,
        _running: JoinSet<()>,
    }

    async fn sent(count: u32) -> Behind {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let (incoming, arrivals) = mpsc::channel(1);
        let (outgoing, datagrams) = mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let mut running = JoinSet::new();
        running.spawn(socket.run(incoming, datagrams, Arc::clone(&counters)));
        let device = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for n in 0..count {
            device.send_to(&n.to_be_bytes(), address).await.unwrap();
        }
        Behind {
            arrivals,
            counters,
            _outgoing: outgoing,
            _running: running,
        }
    }

    #[tokio::test]
    async fn datagrams_wait_for_an_endpoint_that_is_behind() {
        let mut behind = sent(150).await;
        let mut came = Vec::new();
        while came.len() < 150 {
            let batch = tokio::time::timeout(Duration::from_secs(10), behind.arrivals.recv());
            let batch = batch.await.unwrap().unwrap();
            came.extend(batch.into_iter().map(|arrival| arrival.bytes));
        }
        let want: Vec<_> = (0..150_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        assert_eq!(came, want);
        assert_eq!(behind.counters.dropped(), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_the_kernel_drops_is_counted() {
        // Far beyond the largest buffer that is asked for.
        let behind = sent(30_000).await;
        assert!(behind.counters.dropped() > 0);
    }
}
