mod commands;
mod secure;
mod upgrading;

use std::collections::{BTreeMap, BTreeSet};

use coap_lite::{CoapOption, MessageType, Packet};

use super::*;
use crate::sim::device::{Kind, Timing};
use crate::sim::message::{self, Draft};

/// Payloads and message ids of reports.
type Got = std::sync::Mutex<BTreeSet<(Vec<u8>, u16)>>;

/// A small server: registers everybody, observes, acknowledges, and keeps what it got once.
async fn serve(socket: UdpSocket, got: Arc<Got>) {
    let mut buffer = [0; 1500];
    let mut seen = BTreeMap::new();
    let mut next = 1000u16;
    loop {
        let (len, peer) = socket.recv_from(&mut buffer).await.unwrap();
        let packet = message::read(&buffer[..len]).unwrap();
        let key = (peer, packet.header.message_id);
        let answers = seen.entry(key).or_insert_with(|| {
            next += 1;
            answer(&packet, next, &got)
        });
        for answer in answers.iter() {
            socket.send_to(answer, peer).await.unwrap();
        }
    }
}

fn answer(packet: &Packet, next: u16, got: &Got) -> Vec<Vec<u8>> {
    let path = message::joined(packet, CoapOption::UriPath);
    let id = packet.header.message_id;
    let ack = |code| Draft::new(MessageType::Acknowledgement, code, id).token(packet.get_token());
    let observe = |path: &str| {
        Draft::new(MessageType::Confirmable, message::GET, next)
            .token(&next.to_be_bytes())
            .path(path)
            .uint(CoapOption::Observe, 0)
    };
    let drafts = match (path.as_str(), message::code(packet)) {
        ("rd", _) => [
            &[ack(message::CREATED).location("rd").location("1")][..],
            // Instead of a timer: repeated at once, so that one gets through.
            &vec![observe("19/0/0"); 8],
        ]
        .concat(),
        ("t/r", _) => vec![ack(message::CREATED), observe("t/d")],
        ("rd/1", message::POST) => vec![ack(message::CHANGED)],
        ("rd/1", message::DELETE) => vec![ack(message::DELETED)],
        ("t/d", _) => {
            got.lock().unwrap().insert((packet.payload.clone(), id));
            vec![ack(message::CHANGED)]
        }
        ("", message::CONTENT) if packet.header.get_type() != MessageType::Acknowledgement => {
            got.lock().unwrap().insert((packet.payload.clone(), id));
            let ack = Draft::new(MessageType::Acknowledgement, 0, id);
            let confirmable = packet.header.get_type() == MessageType::Confirmable;
            if confirmable { vec![ack] } else { vec![] }
        }
        _ => vec![],
    };
    drafts.iter().map(|d| d.bytes().unwrap()).collect()
}

fn plan(server: SocketAddr, kind: Kind) -> Plan {
    Plan {
        server,
        secure: None,
        clock: Clock::System,
        quality: Quality::default(),
        interval: Duration::from_millis(5),
        reports: Some(4),
        unconfirmed_every: 0,
        rebind_every: 0,
        update_every: 0,
        reboot_every: 0,
        deregister: kind == Kind::Lwm2m,
    }
}

fn member(n: u64, kind: Kind) -> Member {
    Member {
        settings: Settings {
            timing: Timing {
                ack_timeout: Duration::from_millis(40),
                max_retransmit: 8,
            },
            ..Settings::new(format!("node{n}"), kind, n)
        },
        product: Product::WaterMeter,
        secret: None,
        verdict: Verdict::Done,
    }
}

async fn run(kind: Kind, change: impl Fn(&mut Plan)) -> (Tally, usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(socket.local_addr().unwrap(), kind);
    change(&mut plan);
    let got = Arc::default();
    let mut server = JoinSet::new();
    server.spawn(serve(socket, Arc::clone(&got)));
    let members = (0..10).map(|n| member(n, kind)).collect();
    let mut fleet = Fleet::start(members, &plan).await.unwrap();
    let mut tally = Tally::default();
    while let Some(update) = fleet.next().await {
        tally.count(&update.what);
    }
    assert_eq!(fleet.running(), 0);
    let received = got.lock().unwrap().len();
    (tally, received)
}

#[tokio::test]
async fn every_kind_reports_over_a_good_radio() {
    for kind in [Kind::Lwm2m, Kind::Raw, Kind::RawObserved] {
        let (tally, received) = run(kind, |_| {}).await;
        assert_eq!(tally.finished, 10, "{kind:?}");
        assert_eq!((tally.sent, tally.acknowledged, tally.failed), (40, 40, 0));
        assert_eq!((tally.registered, received), (10, 40), "{kind:?}");
    }
}

#[tokio::test]
async fn loss_and_repetition_cost_datagrams_but_no_report() {
    let (tally, received) = run(Kind::Lwm2m, |plan| {
        plan.quality = Quality {
            loss: 0.2,
            duplicates: 0.2,
            delay_max: Duration::from_millis(3),
        };
    })
    .await;
    assert_eq!((tally.acknowledged, tally.failed, received), (40, 0, 40));
    assert!(tally.lost > 0 && tally.repeated > 0 && tally.retransmitted > 0);
}

#[tokio::test]
async fn unconfirmed_reports_settle_and_ports_change() {
    let (tally, received) = run(Kind::RawObserved, |plan| {
        plan.unconfirmed_every = 2;
        plan.rebind_every = 2;
    })
    .await;
    assert_eq!((tally.unconfirmed, tally.acknowledged), (20, 20));
    assert_eq!((tally.failed, received), (0, 40));
    // A device with something under way keeps its port, which a busy machine makes likelier.
    assert!((1..=20).contains(&tally.moved), "{tally:?}");
}

#[test]
fn more_sockets_than_files_is_said() {
    let error = raise_file_limit(u64::from(u32::MAX)).unwrap_err();
    assert_eq!(error.kind(), "files");
    assert!(error.to_string().contains("ulimit -n"), "{error}");
}
