//! The transport that webrtc-dtls believes to be a socket: two bounded queues, whose other ends a
//! simulated device holds. It also reads the unprotected alerts that pass, since the library's
//! errors do not name them.
//!
//! A DTLS record (RFC 6347 §4.1): `type(1) version(2) epoch(2) sequence(6) length(2) body`; an alert
//! (type 21) has the body `level(1) description(1)`.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};
use webrtc_util::{Conn, Error};

use super::Output;

const HEADER_LEN: usize = 13;
const ALERT: u8 = 21;
const FATAL: u8 = 2;

/// What the server showed of itself: anything at all, and the last fatal unprotected alert.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs(Arc<AtomicU16>);

/// Something came.
const ANY: u16 = 0x100;
/// An alert came, whose description is the low byte.
const REFUSED: u16 = 0x200;

impl Signs {
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ANY != 0
    }

    pub(super) fn alert(&self) -> Option<u8> {
        let [kinds, alert] = self.0.load(Ordering::Relaxed).to_be_bytes();
        let [refused, _] = REFUSED.to_be_bytes();
        (kinds & refused != 0).then_some(alert)
    }

    fn hear(&self, datagram: &[u8]) {
        let refusal = fatal_alert(datagram).map(|alert| REFUSED | u16::from(alert));
        self.0.fetch_or(ANY, Ordering::Relaxed);
        if let Some(refusal) = refusal {
            self.0.store(ANY | refusal, Ordering::Relaxed);
        }
    }
}

/// Description of the first fatal unprotected alert in a datagram.
fn fatal_alert(datagram: &[u8]) -> Option<u8> {
    let mut rest = datagram;
    while let Some((header, body)) = rest.split_at_checked(HEADER_LEN) {
        let &[kind, _, _, epoch_high, epoch_low, .., len_high, len_low] = header else {
            return None;
        };
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let (body, next) = body.split_at_checked(len)?;
        match (kind, [epoch_high, epoch_low], body) {
            (ALERT, [0, 0], &[FATAL, description]) => return Some(description),
            _ => rest = next,
        }
    }
    None
}

/// See the module.
pub(super) struct Pipe {
    arrived: Mutex<mpsc::Receiver<Vec<u8>>>,
    outputs: mpsc::Sender<Output>,
    server: SocketAddr,
    signs: Signs,
}

impl Pipe {
    pub(super) fn new(
        arrived: mpsc::Receiver<Vec<u8>>,
        outputs: mpsc::Sender<Output>,
        server: SocketAddr,
        signs: Signs,
    ) -> Self {
        Self {
            arrived: Mutex::new(arrived),
            outputs,
            server,
            signs,
        }
    }
}

#[async_trait]
impl Conn for Pipe {
    async fn connect(&self, _address: SocketAddr) -> Result<(), Error> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let received = self.arrived.lock().await.recv().await;
        let Some(datagram) = received else {
            // The library asks again at once after an error, for ever; so the end is silence, and
            // it stops when its session is dropped.
            return std::future::pending().await;
        };
        self.signs.hear(&datagram);
        match buffer.get_mut(..datagram.len()) {
            Some(target) => {
                target.copy_from_slice(&datagram);
                Ok(datagram.len())
            }
            None => Ok(0),
        }
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Ok((self.recv(buffer).await?, self.server))
    }

    async fn send(&self, datagram: &[u8]) -> Result<usize, Error> {
        // A datagram that finds no room is lost, as on a radio; waiting here could block the reader.
        let output = Output::Datagram(datagram.to_vec());
        self.outputs.try_send(output).ok();
        Ok(datagram.len())
    }

    async fn send_to(&self, datagram: &[u8], _target: SocketAddr) -> Result<usize, Error> {
        self.send(datagram).await
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok((Ipv4Addr::UNSPECIFIED, 0).into())
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.server)
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0];
        out.push(u8::try_from(body.len()).unwrap());
        out.extend(body);
        out
    }

    #[test]
    fn only_fatal_unprotected_alerts_are_heard() {
        let refusal = record(ALERT, 0, &[FATAL, 115]);
        let cases = [
            (refusal.clone(), Some(115)),
            (
                [record(22, 0, &[2; 60]), refusal.clone()].concat(),
                Some(115),
            ),
            (record(ALERT, 0, &[1, 0]), None),
            (record(ALERT, 1, &[FATAL, 115]), None),
            (record(22, 0, &[FATAL, 115]), None),
            (refusal[..14].to_vec(), None),
            (Vec::new(), None),
        ];
        for (datagram, want) in cases {
            let heard = Signs::default();
            assert!(!heard.any());
            heard.hear(&datagram);
            assert!(heard.any());
            assert_eq!(heard.alert(), want, "{datagram:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            fatal_alert(&bytes);
        }
    }
}
