//! Devices that upgrade over real sockets, plain and secured, in real time: everything is quick.

use super::*;
use crate::sim::device::tests::platform::{Platform, Way};
use crate::sim::session::tests::{Clients, KEY};
use crate::sim::upgrade::fota::FotaHabits;
use crate::sim::upgrade::pcp::{PcpHabits, Stack};
use crate::sim::upgrade::{self, Expected, Habits};

const SHORT: Duration = Duration::from_millis(20);

type Shared = Arc<std::sync::Mutex<Platform>>;

fn package() -> Vec<u8> {
    let mut bytes = b"version=V2.0\n".to_vec();
    bytes.extend((0u8..=255).cycle().take(3000));
    bytes
}

fn software(stack: Stack) -> Habits {
    Habits {
        software: Some(PcpHabits {
            repeat_every: SHORT * 5,
            ask_after: SHORT,
            store_for: SHORT,
            reboot_after: SHORT,
            boots_for: SHORT,
            ..PcpHabits::new(stack)
        }),
        ..Habits::new("V1.0")
    }
}

fn firmware() -> Habits {
    Habits {
        firmware: Some(FotaHabits {
            reboot_after: SHORT,
            boots_for: SHORT,
            ..FotaHabits::default()
        }),
        ..Habits::new("V1.0")
    }
}

/// What the platform says to one message.
fn replies(platform: &Shared, message: &[u8]) -> Vec<Vec<u8>> {
    let now = Clock::System.instant();
    let mut platform = platform.lock().unwrap();
    platform.hear(now, message);
    platform.tick(now);
    std::mem::take(&mut platform.out)
}

async fn serve_plain(socket: UdpSocket, platform: Shared) {
    let mut buffer = [0; 1500];
    loop {
        let (len, peer) = socket.recv_from(&mut buffer).await.unwrap();
        for reply in replies(&platform, &buffer[..len]) {
            socket.send_to(&reply, peer).await.unwrap();
        }
    }
}

async fn serve_secured(socket: UdpSocket, platform: Shared) {
    let mut clients = Clients::new(socket);
    loop {
        let (datagram, peer) = clients.receive().await;
        let platform = Arc::clone(&platform);
        clients.serve(datagram, peer, || {
            move |message: &[u8]| replies(&platform, message)
        });
    }
}

/// Runs one device until the platform is content, and it has told so; what was counted.
async fn upgrade(way: Way, mut habits: Habits, is_secured: bool) -> Tally {
    habits.expected = Some(Expected::new(&package()));
    let is_module = matches!(&habits.software, Some(s) if s.stack == Stack::AtModule);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut platform = Platform::new(way, &package());
    platform.again_after = SHORT * 5;
    let platform: Shared = Arc::new(std::sync::Mutex::new(platform));
    let mut server = JoinSet::new();
    let mut plan = Plan {
        interval: SHORT,
        reports: None,
        deregister: false,
        ..plan(address, Kind::Lwm2m)
    };
    let mut member = member(1, Kind::Lwm2m);
    member.settings.upgrade = Some(habits);
    if is_secured {
        plan.secure = Some(SessionPlan {
            server: address,
            flight_interval: Duration::from_millis(50),
            timeout: Duration::from_secs(10),
        });
        member.secret = Some(Secret::new(KEY.to_vec()));
        server.spawn(serve_secured(socket, Arc::clone(&platform)));
    } else {
        server.spawn(serve_plain(socket, Arc::clone(&platform)));
    }
    let mut fleet = Fleet::start(vec![member], &plan).await.unwrap();
    let mut tally = Tally::default();
    while let Some(update) = fleet.next().await {
        tally.count(&update.what);
        let is_told = is_module || tally.upgrades.confirmed > 0;
        if platform.lock().unwrap().end.is_some() && is_told {
            fleet.stop();
        }
    }
    let end = platform.lock().unwrap().end.clone();
    assert_eq!(end, Some((0, "V2.0".to_owned())), "{tally:?}");
    tally
}

#[tokio::test]
async fn devices_upgrade_over_sockets_plain_and_secured() {
    let cases = [
        (Way::Software, software(Stack::AtModule)),
        (Way::Software, software(Stack::Lwm2m)),
        (Way::Firmware, firmware()),
    ];
    for (way, habits) in cases {
        for is_secured in [false, true] {
            let restarts = habits.software.as_ref().map(|s| s.stack) != Some(Stack::AtModule);
            let tally = upgrade(way, habits.clone(), is_secured).await;
            let upgrades = &tally.upgrades;
            let sums = (upgrades.downloaded, upgrades.wrong, upgrades.installed);
            assert_eq!(sums, (1, 0, 1), "{tally:?}");
            assert_eq!(upgrades.power_lost, u64::from(restarts), "{tally:?}");
            let sessions = match (is_secured, restarts) {
                (false, _) => 0,
                (true, false) => 1,
                // The session is as volatile as the rest.
                (true, true) => 2,
            };
            assert_eq!(tally.handshakes, sessions, "{tally:?}");
            let line = tally.line();
            assert!(line.contains("installed 1, failed 0"), "{line}");
        }
    }
}

/// A device that never shows itself does not keep the others waiting.
#[tokio::test]
async fn a_fleet_ends_without_its_dead() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let plan = plan(socket.local_addr().unwrap(), Kind::Lwm2m);
    let mut server = JoinSet::new();
    server.spawn(serve(socket, Arc::default()));
    let members = (0..2).map(|n| {
        let mut member = member(n, Kind::Lwm2m);
        let fault = (n == 0).then_some(upgrade::Fault::NeverOnline);
        let habits = software(Stack::Lwm2m);
        member.settings.upgrade = Some(Habits { fault, ..habits });
        member
    });
    let mut fleet = Fleet::start(members.collect(), &plan).await.unwrap();
    let mut tally = Tally::default();
    while let Some(update) = fleet.next().await {
        tally.count(&update.what);
    }
    let sums = (tally.finished, tally.registered, tally.acknowledged);
    assert_eq!((sums, tally.failed), ((2, 1, 4), 0), "{tally:?}");
}
