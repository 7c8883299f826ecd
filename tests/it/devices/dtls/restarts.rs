//! Sessions that outlive the server's process: nothing is used twice, and nothing heard twice.

use super::*;

const PING: &[u8] = b"\x40\x00\x12\x34";
const PONG: &str = "70001234";

impl Secured {
    /// Sends everything that was recorded once more, from where it came and from a stranger's
    /// port. Gives what that brought down.
    async fn replay(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        for (from, record) in self.recorded.clone() {
            out.extend(self.deliver(from, &record).await);
            out.extend(self.deliver(at(666), &record).await);
        }
        out
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_go_on_after_crashes() {
    for cid in [None, Some(Vec::new()), Some(b"mine".to_vec())] {
        let mut world = Secured::start().await;
        let offer = Offer { cid, ..offer() };
        let mut device = world.connect("secured", offer, at(1)).await;
        let observed = world.register(&mut device, "ep=secured").await;
        world.establish(&mut device, &observed).await;
        for life in 0..4 {
            for _ in 0..20 {
                // The client complains of a number that came before.
                assert_eq!(world.answers(&mut device, PING).await, [PONG]);
            }
            world.notify(&mut device, &observed, 2 * life).await;
            world.report(&mut device, 2 * life + 1).await;
            world.crash();
            let before = world.bench.server.state(DEVICE);
            assert_eq!(world.replay().await, [], "life {life}");
            assert_eq!(world.bench.server.state(DEVICE), before, "life {life}");
        }
        world.report(&mut device, 8).await;
        assert_eq!(world.volumes(), Vec::from_iter(0..9));
        assert_eq!(world.ended(), HashMap::new(), "no handshake");
        let counters = world.figures.read().counters;
        assert_eq!((counters.records_ok, counters.records_bad_mac), (1, 0));
    }
}

/// The device hears nothing of its report, whose effect is durable, and repeats it.
#[tokio::test(start_paused = true)]
async fn a_crash_between_commit_and_acknowledgement() {
    for cid in [None, Some(Vec::new())] {
        let mut world = Secured::start().await;
        let offer = Offer { cid, ..offer() };
        let mut device = world.connect("secured", offer, at(1)).await;
        world.report(&mut device, 1).await;
        world.bench.server.disk.fall_mute();
        let (post, changed) = world.post(2);
        assert!(world.say(&mut device, &post).await.is_empty());
        world.crash();
        assert_eq!(world.replay().await, []);
        let replayed = world.figures.read().counters.records_replayed;
        assert!(replayed >= 2, "{replayed}");
        for _ in 0..2 {
            assert_eq!(world.answers(&mut device, &post).await, [&changed[..]]);
        }
        assert_eq!(world.volumes(), [1, 2]);
    }
}

/// Records without a durable effect are heard again after a crash: they say nothing of import, and
/// the device is where it speaks from.
#[tokio::test(start_paused = true)]
async fn what_had_no_effect_may_be_heard_again_and_does_no_harm() {
    let mut world = Secured::start().await;
    let mut device = world.connect("secured", offer().with_cid(b""), at(1)).await;
    let observed = world.register(&mut device, "").await;
    world.establish(&mut device, &observed).await;
    world.notify(&mut device, &observed, 1).await;
    let from = world.recorded.len();
    assert_eq!(world.answers(&mut device, PING).await, [PONG]);
    let nothing = world.bench.draft(message::GET, "nothing", "");
    let missing = answer(message::NOT_FOUND, world.bench.msg_id, b"");
    let nothing = nothing.bytes().unwrap();
    assert_eq!(world.answers(&mut device, &nothing).await, [&missing[..]]);
    // An answer to what nobody asked, a reset of what nobody sent.
    let kind = MessageType::Acknowledgement;
    let stray = world.bench.notification(kind, b"stray", 42, b"");
    let reset = message::Draft::new(MessageType::Reset, 0, 7);
    for datagram in [stray.bytes().unwrap(), reset.bytes().unwrap()] {
        assert!(world.say(&mut device, &datagram).await.is_empty());
    }
    world.crash();
    let before = world.bench.server.state(DEVICE);
    for (_, record) in world.recorded.split_off(from) {
        let out = world.deliver(at(666), &record).await;
        let bytes: usize = out.iter().map(|(_, datagram)| datagram.len()).sum();
        assert!(bytes <= 3 * record.len(), "{bytes} for {}", record.len());
    }
    assert_eq!(world.bench.server.state(DEVICE), before);
    world.notify(&mut device, &observed, 2).await;
    let registration = world.bench.server.state(DEVICE).registration.unwrap();
    assert_eq!(registration.peer, at(1));
    assert_eq!(world.volumes(), [1, 2]);
}
