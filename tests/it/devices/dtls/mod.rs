//! Devices on DTLS sessions of their own, from their datagrams to what the API shows: the whole
//! server but for its sockets, in virtual time.

mod ends;
mod journeys;
mod moves;
mod restarts;

use std::net::SocketAddr;
use std::time::Duration;

use coap_lite::{CoapOption, MessageType};
use hashbrown::HashMap;
use serde_json::{Value, json};
use strait::engine::dtls::crypto::Suite;
use strait::net::dtls::{Channels, Figures, Random, Settings};
use strait::net::endpoint::DATAGRAM_QUEUE;
use strait::net::{Arrival, Datagram};
use strait::sim::message;
use tokio::sync::mpsc;

use super::{Bench, CONFIRMABLE, LINKS, Observed, answer, empty, hex, report, volumes};
use crate::client::{Client, Offer};

/// Of every device here.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
const OTHER_SECRET: &str = "6f74686572206b65796f74686572206b";
const OTHER_KEY: &[u8] = b"other keyother k";
/// The one whose session most tests are about.
const DEVICE: &str = "p_secured";

struct Seeded(fastrand::Rng);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// A server with its DTLS side.
struct Secured {
    bench: Bench,
    datagrams: mpsc::Sender<Vec<Arrival>>,
    datagrams_out: mpsc::Receiver<Vec<Datagram>>,
    figures: Figures,
    /// Every record of every device, as somebody on the way may have kept it.
    recorded: Vec<(SocketAddr, Vec<u8>)>,
    /// Of processes and clients.
    seed: u64,
}

/// A device's end of its session, and where it is.
struct Device {
    client: Client,
    at: SocketAddr,
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn offer() -> Offer {
    Offer::of(Suite::Ccm8)
}

/// The DTLS side of a server.
fn serve(
    bench: &mut Bench,
    seed: u64,
) -> (
    mpsc::Sender<Vec<Arrival>>,
    mpsc::Receiver<Vec<Datagram>>,
    Figures,
) {
    let (datagrams, datagrams_in) = mpsc::channel(DATAGRAM_QUEUE);
    let (out, datagrams_out) = mpsc::channel(DATAGRAM_QUEUE);
    let (_, nobody) = mpsc::channel(1);
    let channels = Channels {
        datagrams: datagrams_in,
        datagrams_out: out,
        arrivals: bench.server.uplinks.clone(),
        downward: std::mem::replace(&mut bench.server.sessions, nobody),
    };
    let random = Box::new(Seeded(fastrand::Rng::with_seed(seed)));
    let platform = &mut bench.server.platform;
    let figures = platform.serve_dtls(Settings::default(), random, channels);
    (datagrams, datagrams_out, figures)
}

impl Secured {
    /// The bench's devices, and `j_blocks` that sends JSON.
    async fn start() -> Self {
        let mut bench = Bench::start().await;
        let auth = json!({"secret": SECRET});
        bench.server.create_device("j", "blocks", auth).await;
        let (datagrams, datagrams_out, figures) = serve(&mut bench, 1);
        Self {
            bench,
            datagrams,
            datagrams_out,
            figures,
            recorded: Vec::new(),
            seed: 1,
        }
    }

    /// Kills the server and starts it anew.
    fn crash(&mut self) {
        self.bench.restart();
        self.seed += 1;
        let served = serve(&mut self.bench, self.seed);
        (self.datagrams, self.datagrams_out, self.figures) = served;
    }

    async fn hear(&mut self, from: SocketAddr, datagram: &[u8]) {
        let arrival = Arrival::plain(from, datagram.to_vec().into());
        self.datagrams.send(vec![arrival]).await.unwrap();
    }

    /// What leaves the server, until nothing more does.
    async fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        let quiet = Duration::from_millis(100);
        while let Ok(batch) = tokio::time::timeout(quiet, self.datagrams_out.recv()).await {
            out.extend(batch.unwrap().into_iter().map(|(to, d)| (to, d.to_vec())));
        }
        assert!(
            self.bench.server.downlinks.try_recv().is_err(),
            "in the clear"
        );
        out
    }

    async fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        self.hear(from, datagram).await;
        self.sent().await
    }

    fn client(&mut self, offer: Offer, node: &str, key: &[u8]) -> Client {
        self.seed += 1;
        let mut random = [0; 32];
        fastrand::Rng::with_seed(self.seed).fill(&mut random);
        Client::new(offer, node, key, random)
    }

    /// As far as a handshake comes.
    async fn try_handshake(
        &mut self,
        node: &str,
        key: &[u8],
        offer: Offer,
        at: SocketAddr,
    ) -> Device {
        let mut client = self.client(offer, node, key);
        let mut flight = client.start();
        while !flight.is_empty() {
            let mut next = Vec::new();
            for datagram in flight {
                let out = self.deliver(at, &datagram).await;
                for (_, answer) in out.into_iter().filter(|(to, _)| *to == at) {
                    next.extend(client.receive(&answer));
                }
            }
            flight = next;
        }
        Device { client, at }
    }

    /// A client of the device whose key exchange and Finished are still to be sent, from port 1.
    async fn last_flight(&mut self) -> (Client, Vec<Vec<u8>>) {
        let mut client = self.client(offer(), "secured", &KEY);
        let mut flight = client.start();
        for _ in 0..2 {
            let out = self.deliver(at(1), &flight[0]).await;
            flight = out.iter().flat_map(|(_, d)| client.receive(d)).collect();
        }
        (client, flight)
    }

    async fn connect(&mut self, node: &str, offer: Offer, at: SocketAddr) -> Device {
        let device = self.try_handshake(node, &KEY, offer, at).await;
        assert!(device.client.is_connected(), "{:?}", device.client.stage);
        device
    }

    /// What the device hears for a message in a record of its own. Everything goes where it is.
    async fn say(&mut self, device: &mut Device, message: &[u8]) -> Vec<Vec<u8>> {
        let record = device.client.send(message);
        self.recorded.push((device.at, record.clone()));
        let out = self.deliver(device.at, &record).await;
        self.take(device, out)
    }

    fn take(&mut self, device: &mut Device, out: Vec<(SocketAddr, Vec<u8>)>) -> Vec<Vec<u8>> {
        for (to, datagram) in out {
            assert_eq!(to, device.at);
            device.client.receive(&datagram);
        }
        std::mem::take(&mut device.client.received)
    }

    /// The same as hex.
    async fn answers(&mut self, device: &mut Device, message: &[u8]) -> Vec<String> {
        let heard = self.say(device, message).await;
        heard.iter().map(|message| hex(message)).collect()
    }

    /// Registers, and takes the observe request without answering it.
    async fn register(&mut self, device: &mut Device, query: &str) -> Observed {
        let draft = self.bench.draft(message::POST, "rd", query).payload(LINKS);
        let heard = self.say(device, &draft.bytes().unwrap()).await;
        let [created, observe] = &heard[..] else {
            panic!("{heard:?}");
        };
        Observed::read(created, observe)
    }

    /// Answers the observe request.
    async fn establish(&mut self, device: &mut Device, observed: &Observed) {
        let datagram = self.bench.establishment(observed);
        assert!(self.say(device, &datagram).await.is_empty());
    }

    /// A report on the observation must be taken.
    async fn notify(&mut self, device: &mut Device, observed: &Observed, volume: u32) {
        let note = self
            .bench
            .notification(CONFIRMABLE, &observed.token, 42, &report(volume));
        let taken = empty(MessageType::Acknowledgement, self.bench.msg_id);
        let got = self.answers(device, &note.bytes().unwrap()).await;
        assert_eq!(got, [taken], "report {volume}");
    }

    fn post(&mut self, volume: u32) -> (Vec<u8>, String) {
        let post = self.bench.draft(message::POST, "t/d", "");
        let datagram = post.payload(&report(volume)).bytes().unwrap();
        let changed = answer(message::CHANGED, self.bench.msg_id, b"");
        (datagram, changed)
    }

    /// A posted report must be taken.
    async fn report(&mut self, device: &mut Device, volume: u32) {
        let (post, changed) = self.post(volume);
        let got = self.answers(device, &post).await;
        assert_eq!(got, [changed], "report {volume}");
    }

    /// The device is not heard any more.
    async fn is_cut_off(&mut self, device: &mut Device) -> bool {
        let before = self.volumes();
        let (post, _) = self.post(9999);
        let heard = self.say(device, &post).await;
        heard.is_empty() && self.volumes() == before
    }

    fn volumes(&self) -> Vec<u64> {
        volumes(&self.bench.server.history(DEVICE))
    }

    fn ended(&self) -> HashMap<&'static str, u64> {
        self.figures.read().ended
    }

    async fn api(&self, method: &str, action: &str, body: &Value) -> Value {
        let path = format!("/v5/iot/x/devices/{DEVICE}{action}");
        self.bench.server.call(method, &path, body).await
    }

    /// Result and summary of each trace entry about DTLS, oldest first.
    async fn traced(&self, device_id: &str) -> Vec<(String, String)> {
        let path = format!("/v1/devices/{device_id}/trace");
        let answer = self.bench.server.call("GET", &path, &Value::Null).await;
        let entries = answer["trace"].as_array().unwrap().iter().rev();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        entries
            .filter(|entry| entry["kind"] == "dtls")
            .map(|entry| (text(&entry["detail"]["result"]), text(&entry["summary"])))
            .collect()
    }
}
