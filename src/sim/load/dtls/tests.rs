//! The small client against webrtc-dtls as a server, through memory.

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::sim::session::Output;
use crate::sim::session::tests::{KEY, answer_one};

struct Bench {
    client: Client,
    heard: std::collections::VecDeque<Heard>,
    to_server: mpsc::Sender<Vec<u8>>,
    from_server: mpsc::Receiver<Output>,
    /// This datagram of the server is lost, counted from 1.
    lose: usize,
    count: usize,
    _server: JoinSet<()>,
}

impl Bench {
    fn new(key: &[u8], lose: usize) -> Self {
        let (to_server, datagrams) = mpsc::channel(64);
        let (outputs, from_server) = mpsc::channel(64);
        let mut server = JoinSet::new();
        let reverse = |m: &[u8]| vec![m.iter().rev().copied().collect()];
        server.spawn(answer_one(datagrams, outputs, reverse));
        Self {
            client: Client::new(b"867725038317248", key, [5; 32]),
            heard: std::collections::VecDeque::new(),
            to_server,
            from_server,
            lose,
            count: 0,
            _server: server,
        }
    }

    fn send_flight(&mut self) {
        let mut out = Vec::new();
        self.client.flight(&mut out);
        if !out.is_empty() {
            self.to_server.try_send(out).unwrap();
        }
    }

    /// Carries datagrams, repeating the flight each second, until something comes that is no flight.
    async fn next(&mut self) -> Option<Heard> {
        let mut ticks = 0;
        while self.heard.is_empty() {
            let wait = std::time::Duration::from_secs(1);
            match tokio::time::timeout(wait, self.from_server.recv()).await {
                Ok(Some(Output::Datagram(datagram))) => {
                    self.count += 1;
                    if self.count == self.lose {
                        continue;
                    }
                    let mut heard = Vec::new();
                    self.client.take(&datagram, &mut heard);
                    for heard in heard {
                        if heard == Heard::Flight {
                            self.send_flight();
                        } else {
                            self.heard.push_back(heard);
                        }
                    }
                }
                Ok(_) => return None,
                Err(_) => {
                    ticks += 1;
                    if ticks > 20 {
                        return None;
                    }
                    self.send_flight();
                }
            }
        }
        self.heard.pop_front()
    }
}

#[tokio::test(start_paused = true)]
async fn it_connects_and_talks_to_another_implementation() {
    // The third is the last flight, which a webrtc-dtls server never repeats.
    for lose in [0, 1, 2] {
        let mut bench = Bench::new(KEY, lose);
        bench.send_flight();
        assert_eq!(bench.next().await, Some(Heard::Connected), "lose {lose}");
        let mut out = Vec::new();
        for message in [&b"abc"[..], &[7; 1000]] {
            bench.client.seal(message, &mut out);
            bench.to_server.try_send(out.clone()).unwrap();
            let back: Vec<u8> = message.iter().rev().copied().collect();
            assert_eq!(bench.next().await, Some(Heard::Message(back)));
        }
        bench.client.close(&mut out);
        assert_eq!((out[0], out[4]), (ALERT, 1));
        bench.client.seal(b"late", &mut out);
        assert!(out.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_never_connects() {
    let mut bench = Bench::new(b"another secret..", 0);
    bench.send_flight();
    let heard = bench.next().await;
    assert!(
        matches!(heard, None | Some(Heard::Failed(Failure::Alert(_)))),
        "{heard:?}"
    );
    assert!(!bench.client.is_open());
}

#[test]
fn an_open_session_ignores_what_is_not_protected() {
    let mut client = Client::new(b"i", b"k", [0; 32]);
    let mut heard = Vec::new();
    let mut alert = Vec::new();
    put_header(&mut alert, ALERT, [0; 8], 2);
    alert.extend([FATAL, 40]);
    client.state = State::Open;
    client.take(&alert, &mut heard);
    assert_eq!(heard, []);
    client.state = Client::new(b"i", b"k", [0; 32]).state;
    client.take(&alert, &mut heard);
    assert_eq!(heard, [Heard::Failed(Failure::Alert(40))]);
}

proptest::proptest! {
    #[test]
    fn any_datagrams_never_panic(
        datagrams in proptest::collection::vec(
            proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120), 0..8),
        kinds in proptest::collection::vec((0u8..26, 0u8..2, 0u8..22, 0u8..4), 0..8),
    ) {
        let mut client = Client::new(b"identity", b"key", [1; 32]);
        let mut heard = Vec::new();
        for datagram in &datagrams {
            client.take(datagram, &mut heard);
        }
        // Well-formed records and messages with arbitrary insides.
        for ((kind, epoch, message, seq), body) in kinds.into_iter().zip(&datagrams) {
            let whole = record::message(message, u16::from(seq), body);
            let mut datagram = Vec::new();
            put_header(&mut datagram, kind, [0, epoch, 0, 0, 0, 0, 0, 0], whole.len());
            datagram.extend(whole);
            client.take(&datagram, &mut heard);
        }
        proptest::prop_assert!(!client.is_open());
    }
}
