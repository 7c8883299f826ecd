//! The device side at the level of single datagrams: what is sent, and what comes back byte for
//! byte. The requests are written by coap-lite, and what comes back is compared with bytes.

mod dtls;
mod limits;
mod packages;
mod repeats;
mod reports;
mod requests;
mod secured;
mod silence;
mod traces;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use coap_lite::{CoapOption, MessageType};
use serde_json::{Value, json};
use strait::base::time::Clock;
use strait::sim::message::{self, Draft};
use strait::store::Store;
use strait::store::memory::Memory;
use strait::store::package_files::PackageFiles;

use crate::server::{Server, virtual_clock};

const LINKS: &[u8] = b"</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,</19/0>,</19/1>";
/// Of every request here.
const TOKEN: [u8; 2] = [0xaa, 0xbb];
const CONFIRMABLE: MessageType = MessageType::Confirmable;

struct Bench {
    server: Server,
    memory: Memory,
    clock: Clock,
    files: PackageFiles,
    msg_id: u16,
}

/// What an observe request established.
struct Observed {
    token: Vec<u8>,
    msg_id: u16,
    location: String,
}

impl Observed {
    /// From the answer to the registration, and the request to observe that follows it.
    fn read(created: &[u8], observe: &[u8]) -> Self {
        let created = message::read(created).unwrap();
        let observe = message::read(observe).unwrap();
        assert_eq!(message::code(&created), message::CREATED);
        Self {
            token: observe.get_token().to_vec(),
            msg_id: observe.header.message_id,
            location: message::joined(&created, CoapOption::LocationPath),
        }
    }
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An acknowledgement with a response: header, token, and what follows.
fn answer(code: u8, msg_id: u16, tail: &[u8]) -> String {
    let [high, low] = msg_id.to_be_bytes();
    hex(&[&[0x62, code, high, low], &TOKEN[..], tail].concat())
}

/// An empty acknowledgement, or a reset.
fn empty(kind: MessageType, msg_id: u16) -> String {
    hex(&Draft::new(kind, 0, msg_id).bytes().unwrap())
}

fn report(volume: u32) -> Vec<u8> {
    [&[1], &volume.to_be_bytes()[..]].concat()
}

impl Bench {
    /// Products `p` (codec) and `j` (JSON); devices `p_n1`, `p_frozen`, `p_secured`, `j_n2`.
    async fn start() -> Self {
        Self::start_beside(PackageFiles::of(Path::new("/nonexistent"))).await
    }

    /// The same, with a place for the files of packages.
    async fn start_beside(files: PackageFiles) -> Self {
        let (memory, clock) = (Memory::default(), virtual_clock());
        let server = Server::start_beside(files.clone(), &memory, &clock, 1);
        server.create_product("p", "binary").await;
        server.create_product("j", "json").await;
        server.create_device("p", "n1", json!({})).await;
        server.create_device("p", "frozen", json!({})).await;
        let secured = json!({"secret": "0123456789abcdef0123456789abcdef"});
        server.create_device("p", "secured", secured).await;
        server.create_device("j", "n2", json!({})).await;
        let freeze = "/v5/iot/x/devices/p_frozen/freeze";
        server.call("POST", freeze, &json!({})).await;
        Self {
            server,
            memory,
            clock,
            files,
            msg_id: 0x1000,
        }
    }

    /// Kills the server and starts it anew.
    fn restart(&mut self) {
        self.server = Server::start_beside(self.files.clone(), &self.memory, &self.clock, 2);
    }

    /// What leaves the server for `datagram`, until nothing more does.
    async fn exchange(&mut self, from: u16, datagram: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        self.server.hear(peer(from), datagram.to_vec()).await;
        let mut out = Vec::new();
        let quiet = Duration::from_millis(100);
        while let Ok(batch) = tokio::time::timeout(quiet, self.server.downlinks.recv()).await {
            out.extend(batch.unwrap().into_iter().map(|(to, d)| (to, d.to_vec())));
        }
        out
    }

    /// Lets time pass; what leaves the server meanwhile is lost.
    async fn sleep(&mut self, span: Duration) {
        tokio::time::sleep(span).await;
        while self.server.downlinks.try_recv().is_ok() {}
    }

    /// The same as `exchange`, as hex; everything must go back to where `datagram` came from.
    async fn answers(&mut self, from: u16, datagram: &[u8]) -> Vec<String> {
        let out = self.exchange(from, datagram).await;
        assert!(out.iter().all(|(to, _)| *to == peer(from)), "{out:?}");
        out.iter().map(|(_, datagram)| hex(datagram)).collect()
    }

    fn draft(&mut self, code: u8, path: &str, query: &str) -> Draft {
        self.msg_id += 1;
        let draft = Draft::new(CONFIRMABLE, code, self.msg_id).token(&TOKEN);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs.fold(draft.path(path), |draft, pair| draft.query(pair))
    }

    /// Registers, and takes the observe request without answering it.
    async fn register(&mut self, from: u16, path: &str, query: &str) -> Observed {
        let draft = self.draft(message::POST, path, query).payload(LINKS);
        let out = self.exchange(from, &draft.bytes().unwrap()).await;
        let [(_, created), (to, observe)] = &out[..] else {
            panic!("{out:?}");
        };
        assert_eq!(*to, peer(from));
        Observed::read(created, observe)
    }

    /// The answer that establishes an observation.
    fn establishment(&mut self, observed: &Observed) -> Vec<u8> {
        let kind = MessageType::Acknowledgement;
        let draft = self.notification(kind, &observed.token, 42, b"");
        let mut datagram = draft.bytes().unwrap();
        datagram[2..4].copy_from_slice(&observed.msg_id.to_be_bytes());
        datagram
    }

    fn notification(&mut self, kind: MessageType, token: &[u8], format: u16, data: &[u8]) -> Draft {
        self.msg_id += 1;
        Draft::new(kind, message::CONTENT, self.msg_id)
            .token(token)
            .uint(CoapOption::Observe, u32::from(self.msg_id))
            .uint(CoapOption::ContentFormat, u32::from(format))
            .payload(data)
    }

    /// Kind and payload of what was kept raw, newest first.
    fn raw(&self, device_id: &str) -> Vec<(String, Vec<u8>, String)> {
        let seq = self.server.device(device_id).unwrap().seq;
        let rows = self.server.disk.raw_uplinks(seq, 100).unwrap();
        let rows = rows.into_iter();
        rows.map(|r| (r.kind, r.payload, r.reason)).collect()
    }
}

fn volumes(history: &[Value]) -> Vec<u64> {
    let rows = history.iter();
    rows.map(|row| row["volume"].as_u64().unwrap()).collect()
}
