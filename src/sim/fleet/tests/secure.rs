//! Secured devices against webrtc-dtls as a server, on loopback.

use super::*;
use crate::sim::session::SessionPlan;
use crate::sim::session::tests::{Clients, KEY};

/// What a secured server does besides serving.
#[derive(Debug, Default)]
struct Ways {
    /// Forgets its sessions after so many messages in all, once.
    forget_after: Option<usize>,
    /// Protected alerts that came, which are farewells.
    goodbyes: usize,
    messages: usize,
}

type Shared<T> = Arc<std::sync::Mutex<T>>;

async fn serve_secured(socket: UdpSocket, got: Arc<Got>, ways: Shared<Ways>) {
    let mut clients = Clients::new(socket);
    let mut next = 1000u16;
    loop {
        let (datagram, peer) = clients.receive().await;
        {
            let mut ways = ways.lock().unwrap();
            ways.goodbyes += usize::from(datagram[0] == 21 && datagram[4] == 1);
            if ways.forget_after.is_some_and(|n| ways.messages >= n) {
                ways.forget_after = None;
                clients.forget();
            }
        }
        next = next.wrapping_add(1000);
        let (mut msg_id, got, ways) = (next, Arc::clone(&got), Arc::clone(&ways));
        clients.serve(datagram, peer, || {
            move |message: &[u8]| {
                msg_id = msg_id.wrapping_add(1);
                ways.lock().unwrap().messages += 1;
                answer(&message::read(message).unwrap(), msg_id, &got)
            }
        });
    }
}

struct Outcome {
    tally: Tally,
    received: usize,
    goodbyes: usize,
    troubles: Option<String>,
}

/// Ten LwM2M devices, half of them plain when `mixed`.
async fn run(mixed: bool, key: &[u8], ways: Ways, change: impl Fn(&mut Plan)) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let secured = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(socket.local_addr().unwrap(), Kind::Lwm2m);
    plan.secure = Some(SessionPlan {
        server: secured.local_addr().unwrap(),
        flight_interval: Duration::from_millis(50),
        timeout: Duration::from_secs(1),
    });
    change(&mut plan);
    let got = Arc::default();
    let ways = Arc::new(std::sync::Mutex::new(ways));
    let mut servers = JoinSet::new();
    servers.spawn(serve(socket, Arc::clone(&got)));
    servers.spawn(serve_secured(secured, Arc::clone(&got), Arc::clone(&ways)));
    let members = (0..10).map(|n| {
        let mut member = member(n, Kind::Lwm2m);
        member.secret = (!mixed || n % 2 == 0).then(|| Secret::new(key.to_vec()));
        if ways.lock().unwrap().forget_after.is_some() {
            // Soon sure that nobody answers.
            member.settings.timing.max_retransmit = 3;
        }
        member
    });
    let mut fleet = Fleet::start(members.collect(), &plan).await.unwrap();
    let (mut tally, mut troubles) = (Tally::default(), Troubles::default());
    while let Some(update) = fleet.next().await {
        tally.count(&update.what);
        troubles.take(&update);
        // Without a number of reports it runs until it is stopped.
        if plan.reports.is_none() && tally.acknowledged == 30 {
            fleet.stop();
        }
    }
    // The last datagrams may still lie in the server's socket.
    let all = tally.handshakes;
    let settled = async {
        while (ways.lock().unwrap().goodbyes as u64) < all {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_millis(300), settled)
        .await
        .ok();
    let goodbyes = ways.lock().unwrap().goodbyes;
    Outcome {
        tally,
        received: got.lock().unwrap().len(),
        goodbyes,
        troubles: troubles.line(),
    }
}

#[tokio::test]
async fn secured_and_plain_devices_report_side_by_side() {
    let outcome = run(true, KEY, Ways::default(), |_| {}).await;
    let tally = outcome.tally;
    assert_eq!((tally.handshakes, tally.handshake_failed), (5, 0));
    assert_eq!(
        (tally.registered, tally.acknowledged),
        (10, 40),
        "{tally:?}"
    );
    assert_eq!((tally.failed, outcome.received), (0, 40));
    assert_eq!(outcome.goodbyes, 5);
    assert_eq!(outcome.troubles, None);
}

#[tokio::test]
async fn a_fleet_that_is_stopped_says_goodbye() {
    let outcome = run(false, KEY, Ways::default(), |plan| plan.reports = None).await;
    assert_eq!((outcome.tally.finished, outcome.goodbyes), (10, 10));
}

/// Without end, so that no device gives up: a webrtc-dtls server never recovers from the loss of its
/// last flight.
#[tokio::test]
async fn loss_under_the_sessions_costs_no_report() {
    let outcome = run(false, KEY, Ways::default(), |plan| {
        plan.reports = None;
        plan.interval = Duration::from_millis(100);
        plan.quality = Quality {
            loss: 0.1,
            duplicates: 0.1,
            delay_max: Duration::from_millis(3),
        };
    })
    .await;
    let tally = outcome.tally;
    assert!(tally.acknowledged >= 30, "{tally:?}");
    assert!(tally.lost > 0 && tally.retransmitted > 0, "{tally:?}");
    assert_eq!(tally.failed, 0, "{tally:?}");
}

#[tokio::test]
async fn a_new_port_means_a_new_handshake() {
    let outcome = run(false, KEY, Ways::default(), |plan| {
        plan.rebind_every = 2;
        plan.interval = Duration::from_millis(100);
    })
    .await;
    let tally = outcome.tally;
    assert!(tally.moved > 0, "{tally:?}");
    assert_eq!(tally.handshakes, 10 + tally.moved);
    assert_eq!((tally.acknowledged, tally.failed), (40, 0), "{tally:?}");
}

#[tokio::test]
async fn devices_whose_sessions_are_forgotten_make_new_ones_and_go_on() {
    let ways = Ways {
        forget_after: Some(40),
        ..Ways::default()
    };
    let outcome = run(false, KEY, ways, |plan| plan.reports = Some(8)).await;
    let tally = outcome.tally;
    assert!(tally.handshakes > 10, "{tally:?}");
    assert_eq!(tally.sent, 80);
    // What was under way when the server forgot may be lost, at most one of each device.
    assert!(tally.failed <= 10 && tally.acknowledged >= 70, "{tally:?}");
    assert_eq!(outcome.troubles, None);
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_its_reason() {
    let outcome = run(true, b"another secret..", Ways::default(), |plan| {
        plan.secure.as_mut().unwrap().timeout = Duration::from_millis(100);
    })
    .await;
    let tally = outcome.tally;
    // Five plain ones are fine; four tries of each of the others.
    assert_eq!((tally.acknowledged, tally.handshakes), (20, 0), "{tally:?}");
    assert_eq!((tally.handshake_failed, tally.failed), (20, 5));
    assert_eq!(tally.failures["gave_up"], 5);
    let troubles = outcome.troubles.unwrap();
    assert!(troubles.starts_with("5 devices"), "{troubles}");
    assert!(troubles.contains("handshake"), "{troubles}");
    assert!(
        tally.line().contains("handshakes 0, failed 20 ("),
        "{}",
        tally.line()
    );
}

#[tokio::test]
async fn a_secret_without_an_address_is_an_error() {
    let mut plan = plan(([127, 0, 0, 1], 1).into(), Kind::Raw);
    plan.secure = None;
    let secret = Some(Secret::new(KEY.to_vec()));
    let member = Member {
        secret,
        ..member(1, Kind::Raw)
    };
    let error = Fleet::start(vec![member], &plan).await.unwrap_err();
    assert_eq!(error.kind(), "no_secure_server");
}
