//! Devices whose address changes: with a connection id under the session, without one through a new
//! handshake. Nothing that was under way is lost.

use super::*;

const CONTINUE: u8 = 0x5f;

/// A body of several blocks, and the property in it.
fn long_body() -> (Vec<u8>, Value) {
    let text = "x".repeat(1500);
    let service = json!({"service_id": "Flow", "properties": {"text": text}});
    let body = json!({"services": [service]}).to_string().into_bytes();
    (body, json!({"text": text}))
}

impl Secured {
    /// Sends some blocks of a body, each of which must be taken.
    async fn upload(&mut self, device: &mut Device, body: &[u8], numbers: std::ops::Range<u16>) {
        let last = u16::try_from(body.len().div_ceil(512)).unwrap() - 1;
        for (number, part) in (0u16..).zip(body.chunks(512)) {
            if !numbers.contains(&number) {
                continue;
            }
            let block = u32::from(number) << 4 | u32::from(number < last) << 3 | 5;
            let post = self.bench.draft(message::POST, "t/d", "").payload(part);
            let post = post.uint(CoapOption::Block1, block).bytes().unwrap();
            let heard = self.say(device, &post).await;
            let want = if number < last {
                CONTINUE
            } else {
                message::CHANGED
            };
            assert_eq!((heard.len(), heard[0][1]), (1, want), "block {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_with_a_connection_id_leaves_everything_as_it_was() {
    let mut world = Secured::start().await;
    let with_cid = || offer().with_cid(b"");
    let mut device = world.connect("secured", with_cid(), at(1)).await;
    let observed = world.register(&mut device, "").await;
    // The request to observe is under way when the device turns up elsewhere.
    device.at = at(2);
    let update = world
        .bench
        .draft(message::POST, &observed.location, "lt=900");
    let changed = answer(message::CHANGED, world.bench.msg_id, b"");
    let got = world.answers(&mut device, &update.bytes().unwrap()).await;
    assert_eq!(got, [changed]);
    let mut again = Vec::new();
    for _ in 0..60 {
        let out = world.sent().await;
        again.extend(world.take(&mut device, out));
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !again.is_empty() {
            break;
        }
    }
    let request = message::read(again.first().expect("it is asked again")).unwrap();
    assert_eq!(request.header.message_id, observed.msg_id);
    assert_eq!(request.get_token(), observed.token);
    world.establish(&mut device, &observed).await;
    for (port, volume) in [(3, 1), (4, 2), (2, 3)] {
        device.at = at(port);
        world.notify(&mut device, &observed, volume).await;
    }
    assert_eq!(world.volumes(), [1, 2, 3]);
    let registration = world.bench.server.state(DEVICE).registration.unwrap();
    assert_eq!((registration.peer, registration.lifetime_s), (at(2), 900));
    // An older record from elsewhere moves nothing and is not heard again.
    let moved = world.figures.read().counters.moved;
    let (_, record) = world.recorded[3].clone();
    assert!(world.deliver(at(9), &record).await.is_empty());
    world.notify(&mut device, &observed, 4).await;
    assert_eq!(world.figures.read().counters.moved, moved);

    let mut device = world.connect("blocks", with_cid(), at(11)).await;
    let (body, text) = long_body();
    for number in 0..4 {
        device.at = at(20 + number);
        world.upload(&mut device, &body, number..number + 1).await;
    }
    assert_eq!(world.bench.server.history("j_blocks"), [text]);
    assert_eq!(
        world.ended(),
        HashMap::from([("ok", 2)]),
        "one handshake each"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_handshake_takes_everything_up_where_it_was() {
    let mut world = Secured::start().await;
    let mut device = world.connect("secured", offer(), at(1)).await;
    let observed = world.register(&mut device, "").await;
    world.establish(&mut device, &observed).await;
    world.notify(&mut device, &observed, 1).await;
    let mut former = std::mem::replace(&mut device, world.connect("secured", offer(), at(2)).await);
    world.notify(&mut device, &observed, 2).await;
    assert!(world.is_cut_off(&mut former).await, "its session has ended");
    world.notify(&mut device, &observed, 3).await;
    assert_eq!(world.volumes(), [1, 2, 3]);

    let (body, text) = long_body();
    let mut device = world.connect("blocks", offer(), at(11)).await;
    world.upload(&mut device, &body, 0..2).await;
    let mut device = world.connect("blocks", offer(), at(12)).await;
    world.upload(&mut device, &body, 2..3).await;
    // A reboot on the same address is no other matter.
    let mut device = world.connect("blocks", offer(), at(12)).await;
    world.upload(&mut device, &body, 3..4).await;
    assert_eq!(world.bench.server.history("j_blocks"), [text]);
}

/// A request of ours that waits for its answer goes down the new session.
#[tokio::test(start_paused = true)]
async fn what_waits_for_an_answer_goes_down_the_new_session() {
    let mut world = Secured::start().await;
    let mut device = world.connect("secured", offer(), at(1)).await;
    let observed = world.register(&mut device, "").await;
    let mut device = world.connect("secured", offer(), at(2)).await;
    let mut heard = Vec::new();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let out = world.sent().await;
        heard.extend(world.take(&mut device, out));
        if !heard.is_empty() {
            break;
        }
    }
    let request = message::read(heard.first().expect("it is asked again")).unwrap();
    assert_eq!(request.header.message_id, observed.msg_id);
    world.establish(&mut device, &observed).await;
    world.notify(&mut device, &observed, 1).await;
    assert_eq!(world.volumes(), [1]);
}
