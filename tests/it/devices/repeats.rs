//! What comes again: the same datagram, the same device, after a restart, from another port,
//! after the disk failed.

use coap_lite::MessageType;
use strait::sim::message;

use super::{Bench, CONFIRMABLE, LINKS, answer, empty, report, volumes};

#[tokio::test(start_paused = true)]
async fn a_device_that_registers_again_keeps_location_and_token() {
    let mut bench = Bench::start().await;
    let first = bench.register(1, "rd", "ep=n1").await;
    let moved = bench.register(2, "rd", "ep=n1").await;
    bench.restart();
    let restarted = bench.register(3, "rd", "ep=n1").await;
    for again in [&moved, &restarted] {
        assert_eq!(
            (&again.location, &again.token),
            (&first.location, &first.token)
        );
        assert_ne!(again.msg_id, first.msg_id);
    }
    // Raw as well: the same observation token as long as the device lives.
    let raw = bench.register(4, "t/r", "ep=n2").await;
    assert_eq!(raw.location, "");
    assert_ne!(raw.token, first.token);
    assert_eq!(bench.register(5, "t/r", "ep=n2").await.token, raw.token);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_datagram_is_answered_alike_and_counts_once() {
    let mut bench = Bench::start().await;
    let observed = bench.register(1, "rd", "ep=n1").await;
    let location = &observed.location;
    let notify = bench.notification(CONFIRMABLE, &observed.token, 42, &report(1));
    let post = bench.draft(message::POST, "t/d", "").payload(&report(2));
    let update = bench.draft(message::POST, location, "lt=60");
    let deregister = bench.draft(message::DELETE, location, "");
    for (name, draft) in [
        ("notification", notify),
        ("post", post),
        ("update", update),
        ("deregister", deregister),
    ] {
        let datagram = draft.bytes().unwrap();
        let first = bench.answers(1, &datagram).await;
        assert_eq!(first.len(), 1, "{name}");
        assert_eq!(bench.answers(1, &datagram).await, first, "{name}");
        bench.restart();
        assert_eq!(
            bench.answers(1, &datagram).await,
            first,
            "{name}: another process"
        );
        assert_eq!(
            bench.answers(1, &datagram).await,
            first,
            "{name}: and again"
        );
    }
    assert_eq!(volumes(&bench.server.history("p_n1")), [1, 2]);
    assert_eq!(volumes(&bench.server.reported_events("p_n1")), [1, 2]);
}

/// The device has moved behind its NAT while it waited for the acknowledgement.
#[tokio::test(start_paused = true)]
async fn a_report_repeated_from_another_port_counts_once() {
    let mut bench = Bench::start().await;
    let observed = bench.register(1, "rd", "ep=n1").await;
    let notify = bench.notification(CONFIRMABLE, &observed.token, 42, &report(1));
    let post = bench
        .draft(message::POST, "t/d", "ep=n1")
        .payload(&report(2));
    for draft in [notify, post] {
        let datagram = draft.bytes().unwrap();
        let first = bench.answers(1, &datagram).await;
        assert_eq!(bench.answers(2, &datagram).await, first);
    }
    assert_eq!(volumes(&bench.server.history("p_n1")), [1, 2]);
}

/// The server died between the commit of a registration and its effects.
#[tokio::test(start_paused = true)]
async fn a_repeated_registration_is_observed_all_the_same() {
    for (path, query) in [("rd", "ep=n1"), ("t/r", "ep=n1")] {
        let mut bench = Bench::start().await;
        let draft = bench.draft(message::POST, path, query).payload(LINKS);
        let datagram = draft.bytes().unwrap();
        bench.server.disk.fall_mute();
        assert!(bench.answers(1, &datagram).await.is_empty());
        bench.restart();
        let got = bench.answers(1, &datagram).await;
        assert_eq!(got.len(), 2, "{path}: {got:?}");
        assert_eq!((&got[0][..4], &got[1][..4]), ("6241", "4801"), "{path}");
    }
}

/// A request is refused, and its repetition with it: the device sends it anew, as another message.
#[tokio::test(start_paused = true)]
async fn without_the_disk_a_post_is_refused() {
    let mut bench = Bench::start().await;
    bench.register(1, "rd", "ep=n1").await;
    bench.server.disk.fail_next(1);
    for code in [message::UNAVAILABLE, message::CHANGED] {
        let post = bench.draft(message::POST, "t/d", "").payload(&report(1));
        let datagram = post.bytes().unwrap();
        let follows: &[u8] = match code {
            message::UNAVAILABLE => &[0xd1, 0x01, 60],
            _ => &[],
        };
        let want = [answer(code, bench.msg_id, follows)];
        for _ in 0..2 {
            assert_eq!(bench.answers(1, &datagram).await, want);
        }
    }
    assert_eq!(volumes(&bench.server.history("p_n1")), [1]);
}

/// A notification is not answered, and its repetition counts.
#[tokio::test(start_paused = true)]
async fn without_the_disk_a_notification_is_not_acknowledged() {
    let mut bench = Bench::start().await;
    let observed = bench.register(1, "rd", "ep=n1").await;
    let notify = bench.notification(CONFIRMABLE, &observed.token, 42, &report(1));
    let datagram = notify.bytes().unwrap();
    let taken = empty(MessageType::Acknowledgement, bench.msg_id);
    bench.server.disk.fail_next(2);
    for _ in 0..2 {
        assert!(bench.answers(1, &datagram).await.is_empty());
        assert!(bench.server.history("p_n1").is_empty());
    }
    for _ in 0..2 {
        let again = bench.answers(1, &datagram).await;
        assert_eq!(again, std::slice::from_ref(&taken));
    }
    assert_eq!(volumes(&bench.server.history("p_n1")), [1]);
    assert_eq!(volumes(&bench.server.reported_events("p_n1")), [1]);
}
