//! A fleet that takes commands.

use super::*;
use crate::sim::device::{Conduct, Event};

/// Opens the valve; the last two bytes are its CRC (sample codec's own fixture).
const OPEN_VALVE: [u8; 6] = [0x81, 0x00, 0x01, 0x00, 0x29, 0x88];

/// Acknowledges everything until it is quiet; gives what came as `POST /t/d`.
async fn payloads(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 1500];
    let mut payloads = Vec::new();
    let quiet = Duration::from_millis(300);
    while let Ok(received) = tokio::time::timeout(quiet, socket.recv_from(&mut buffer)).await {
        let (len, peer) = received.unwrap();
        let packet = message::read(&buffer[..len]).unwrap();
        if packet.header.get_type() == MessageType::Confirmable {
            socket
                .send_to(&ack(&packet, message::CHANGED), peer)
                .await
                .unwrap();
            payloads.push(packet.payload);
        }
    }
    payloads
}

fn ack(packet: &Packet, code: u8) -> Vec<u8> {
    let id = packet.header.message_id;
    let ack = Draft::new(MessageType::Acknowledgement, code, id);
    ack.token(packet.get_token()).bytes().unwrap()
}

/// What one device sent after it got a command twice, and what it executed.
async fn sent_by(conduct: Conduct, verdict: Verdict) -> (Vec<Vec<u8>>, Vec<Event>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(socket.local_addr().unwrap(), Kind::Raw);
    plan.reports = None;
    plan.interval = Duration::from_secs(3600);
    let mut member = member(1, Kind::Raw);
    member.settings.conduct = conduct;
    member.verdict = verdict;
    let mut fleet = Fleet::start(vec![member], &plan).await.unwrap();
    let mut buffer = [0; 1500];
    let (len, peer) = socket.recv_from(&mut buffer).await.unwrap();
    let register = message::read(&buffer[..len]).unwrap();
    let registered = ack(&register, message::CREATED);
    socket.send_to(&registered, peer).await.unwrap();
    let downlink = Draft::new(MessageType::Confirmable, message::POST, 77)
        .token(b"c")
        .path("t/d")
        .payload(&OPEN_VALVE)
        .bytes()
        .unwrap();
    for _ in 0..2 {
        socket.send_to(&downlink, peer).await.unwrap();
    }
    let payloads = payloads(&socket).await;
    fleet.stop();
    let mut executed = Vec::new();
    while let Some(update) = fleet.next().await {
        if let What::Device(event @ Event::Executed { .. }) = update.what {
            executed.push(event);
        }
    }
    (payloads, executed)
}

#[tokio::test]
async fn devices_answer_commands_with_the_bytes_of_their_product() {
    let good = Conduct::default();
    let forgetful = Conduct {
        recognises_duplicates: false,
        ..good
    };
    let done = [0x82, 0, 1, 0, 0];
    let failed = [0x82, 0, 1, 1, 3];
    let rows = [
        (good, Verdict::Done, 1, done),
        (good, Verdict::Failed, 1, failed),
        (forgetful, Verdict::Done, 2, done),
    ];
    for (conduct, verdict, times, want) in rows {
        let (payloads, executed) = sent_by(conduct, verdict).await;
        assert_eq!(executed.len(), times, "{conduct:?}");
        assert_eq!(payloads.len(), times, "{payloads:02x?}");
        assert!(
            payloads.iter().all(|p| p.starts_with(&want)),
            "{payloads:02x?}"
        );
    }
}

/// A sleeping device hears nothing that comes after its awake window.
#[tokio::test]
async fn a_sleeping_device_misses_commands() {
    let conduct = Conduct {
        awake: Some(Duration::ZERO),
        ..Conduct::default()
    };
    let (payloads, executed) = sent_by(conduct, Verdict::Done).await;
    assert_eq!((payloads.len(), executed.len()), (0, 0));
}

#[tokio::test]
async fn reboots_and_updates_show_and_cost_no_report() {
    let (tally, received) = run(Kind::Lwm2m, |plan| {
        plan.interval = Duration::from_millis(50);
        plan.reboot_every = 3;
        plan.update_every = 2;
    })
    .await;
    assert_eq!(tally.rebooted, 10);
    assert!(tally.updated > 0, "{tally:?}");
    // On a busy machine a device may reboot before its first registration is answered.
    assert!((10..=20).contains(&tally.registered), "{tally:?}");
    assert_eq!(tally.acknowledged + tally.failed, 40);
    // A report that a reboot cuts off may have arrived all the same.
    assert!(
        (tally.acknowledged..=40).contains(&(received as u64)),
        "{tally:?} {received}"
    );
}
