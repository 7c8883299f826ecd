//! Devices that come over DTLS, at the level of what their records hold: who they are, where they
//! are reached, what is remembered of their records, and when their session ends.

use std::net::SocketAddr;

use coap_lite::{CoapOption, MessageType};
use serde_json::{Value, json};
use strait::base::ids::DeviceId;
use strait::base::peer::{DeviceSeq, Mark, Peer};
use strait::base::secret::Secret;
use strait::net::{Arrival, Downward, Route};
use strait::sim::message;
use strait::store::records::SessionRecord;
use strait::store::{Change, Commit, Store};

use super::{Bench, CONFIRMABLE, LINKS, Observed, answer, empty, hex, peer, report, volumes};

const FORBIDDEN: u8 = 0x83;

/// A device's end of its DTLS session.
#[derive(Clone, Copy)]
pub(super) struct Session {
    device: DeviceSeq,
    mark: Mark,
}

impl Session {
    /// The first of the device, on the port 1.
    pub(super) async fn of(bench: &mut Bench, device_id: &str) -> Self {
        // Of what the bench did.
        drop(bench.downwards().await);
        Self {
            device: bench.server.seq(device_id),
            mark: Mark {
                session: 1,
                seq: 0,
                address: peer(1),
                is_proven: true,
            },
        }
    }

    const fn on(self, address: SocketAddr) -> Self {
        let mark = Mark {
            address,
            ..self.mark
        };
        Self { mark, ..self }
    }
}

impl Bench {
    /// What goes down to the sessions for a message in the session's next record.
    pub(super) async fn record(
        &mut self,
        session: &mut Session,
        route: Route,
        datagram: &[u8],
    ) -> Vec<Downward> {
        session.mark.seq += 1;
        let arrival = Arrival {
            peer: Peer::Secured(session.device),
            bytes: datagram.to_vec().into(),
            mark: Some(session.mark),
            route,
        };
        self.server.arrive(arrival).await;
        self.downwards().await
    }

    /// Until nothing more does; and nothing leaves in the clear.
    async fn downwards(&mut self) -> Vec<Downward> {
        let mut out = Vec::new();
        let quiet = std::time::Duration::from_millis(100);
        while let Ok(batch) = tokio::time::timeout(quiet, self.server.sessions.recv()).await {
            out.extend(batch.unwrap());
        }
        assert!(self.server.downlinks.try_recv().is_err());
        out
    }

    /// The same as hex; everything must go to the device itself.
    pub(super) async fn sealed(&mut self, session: &mut Session, datagram: &[u8]) -> Vec<String> {
        let out = self.record(session, Route::Proven, datagram).await;
        let datagrams = out.iter().map(|down| match down {
            Downward::Send(device, bytes) if *device == session.device => hex(bytes),
            other => panic!("{other:?}"),
        });
        datagrams.collect()
    }

    pub(super) async fn register_secured(
        &mut self,
        session: &mut Session,
        query: &str,
    ) -> Observed {
        let draft = self.draft(message::POST, "rd", query).payload(LINKS);
        let datagram = draft.bytes().unwrap();
        let out = self.record(session, Route::Proven, &datagram).await;
        let [Downward::Send(_, created), Downward::Send(_, observe)] = &out[..] else {
            panic!("{out:?}");
        };
        Observed::read(created, observe)
    }

    /// Answers the observe request.
    pub(super) async fn establish(&mut self, session: &mut Session, observed: &Observed) {
        let datagram = self.establishment(observed);
        assert!(self.sealed(session, &datagram).await.is_empty());
    }

    /// What a handshake leaves in the store.
    async fn store_session(&self, device_seq: DeviceSeq, device_id: &str) {
        let record = SessionRecord {
            device_seq,
            device_id: DeviceId::parse(device_id).unwrap(),
            number: 1,
            own_cid: None,
            peer_cid: Vec::new(),
            address: peer(1),
            address_proven: true,
            suite: 0xc0a8,
            encrypt_then_mac: false,
            return_routability: false,
            key_block: Secret::new(vec![0; 40]),
            verify_data: vec![0; 12],
            finished_seq: 0,
            send_reserved: 1,
            received: None,
            established_at: self.clock.now(),
        };
        let changes = vec![Change::PutSession(Box::new(record))];
        let guards = Vec::new();
        let commit = Commit { guards, changes };
        self.server.disk.commit(commit).await.unwrap();
    }

    /// Newest record whose effect is durable: session, sequence number, port.
    fn received(&self, device_id: &str) -> Option<(u64, u64, u16)> {
        let mark = self.server.state(device_id).received?;
        Some((mark.session, mark.seq, mark.address.port()))
    }

    async fn api(&self, method: &str, device_id: &str, action: &str, body: Value) {
        let path = format!("/v5/iot/x/devices/{device_id}{action}");
        self.server.call(method, &path, &body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_secured_device_is_served_as_any_other() {
    let mut bench = Bench::start().await;
    let mut session = Session::of(&mut bench, "p_secured").await;
    let observed = bench.register_secured(&mut session, "ep=secured").await;
    let registration = bench.server.state("p_secured").registration.unwrap();
    assert!(registration.secured);
    assert_eq!(registration.peer, peer(1));
    let device_id = DeviceId::parse("p_secured").unwrap();
    let directory = &bench.server.platform.directory;
    let identity = Peer::Secured(session.device);
    assert_eq!(directory.peer_of(&device_id), Some(identity));
    assert_eq!(
        directory.by_address(peer(1)),
        None,
        "its address names nobody"
    );
    // From other ports, as its session says.
    let mut session = session.on(peer(2));
    bench.establish(&mut session, &observed).await;
    let note = bench.notification(CONFIRMABLE, &observed.token, 42, &report(1));
    let taken = empty(MessageType::Acknowledgement, bench.msg_id);
    let got = bench.sealed(&mut session, &note.bytes().unwrap()).await;
    assert_eq!(got, [taken]);
    // A post is its own, whether it says so or not.
    for (query, volume) in [("", 2), ("ep=secured", 3)] {
        let post = bench.draft(message::POST, "t/d", query);
        let post = post.payload(&report(volume)).bytes().unwrap();
        let changed = answer(message::CHANGED, bench.msg_id, b"");
        assert_eq!(bench.sealed(&mut session, &post).await, [changed]);
    }
    assert_eq!(volumes(&bench.server.history("p_secured")), [1, 2, 3]);
    let mut session = session.on(peer(3));
    let update = bench.draft(message::POST, &observed.location, "lt=60");
    let changed = answer(message::CHANGED, bench.msg_id, b"");
    let got = bench.sealed(&mut session, &update.bytes().unwrap()).await;
    assert_eq!(got, [changed], "it observes, and has not left");
    let registration = bench.server.state("p_secured").registration.unwrap();
    assert_eq!(
        (registration.lifetime_s, registration.peer),
        (60, peer(3)),
        "where it was last"
    );
    // Another process reaches it by its identity.
    bench.restart();
    let directory = &bench.server.platform.directory;
    assert_eq!(directory.peer_of(&device_id), Some(identity));
    let deregister = bench.draft(message::DELETE, &observed.location, "");
    let deleted = answer(message::DELETED, bench.msg_id, b"");
    let got = bench
        .sealed(&mut session, &deregister.bytes().unwrap())
        .await;
    assert_eq!(got, [deleted]);
}

#[tokio::test(start_paused = true)]
async fn over_dtls_the_identity_stands_for_the_endpoint_name() {
    for (path, want) in [("rd", "6241"), ("t/r", "6241")] {
        let mut bench = Bench::start().await;
        let mut session = Session::of(&mut bench, "p_secured").await;
        let draft = bench.draft(message::POST, path, "lt=300").payload(LINKS);
        let got = bench.sealed(&mut session, &draft.bytes().unwrap()).await;
        assert_eq!((got.len(), &got[0][..4]), (2, want), "{path}: {got:?}");
        let registration = bench.server.state("p_secured").registration.unwrap();
        assert_eq!(registration.endpoint, "secured");
        assert_eq!(registration.lifetime_s, 300);
        // An empty name is one, and in the clear there must be one.
        let draft = bench.draft(message::POST, path, "ep=");
        let got = bench.sealed(&mut session, &draft.bytes().unwrap()).await;
        assert_eq!(&got[0][..4], "6280", "{path}");
        let draft = bench.draft(message::POST, path, "lt=300");
        let got = bench.answers(1, &draft.bytes().unwrap()).await;
        assert_eq!(&got[0][..4], "6280", "{path}");
    }
}

/// A device with a right identity uses another's name, location and token.
#[tokio::test(start_paused = true)]
async fn nobody_speaks_for_another_device() {
    let mut bench = Bench::start().await;
    let mut own = Session::of(&mut bench, "p_secured").await;
    let observed = bench.register_secured(&mut own, "ep=secured").await;
    bench.establish(&mut own, &observed).await;
    let before = bench.server.state("p_secured");
    let mut thief = Session::of(&mut bench, "p_n1").await.on(peer(9));
    let location = observed.location.clone();
    let rows = [
        (message::POST, "rd", "ep=secured"),
        (message::POST, "t/r", "ep=secured"),
        (message::POST, location.as_str(), "lt=60"),
        (message::DELETE, location.as_str(), ""),
        (message::POST, "t/d", "ep=secured"),
    ];
    for (code, path, query) in rows {
        let draft = bench.draft(code, path, query).payload(&report(6));
        let datagram = draft.bytes().unwrap();
        let want = answer(FORBIDDEN, bench.msg_id, b"");
        let got = bench.sealed(&mut thief, &datagram).await;
        assert_eq!(got, [want], "{path}?{query}");
    }
    let whole = bench.notification(CONFIRMABLE, &observed.token, 42, &report(7));
    let whole = (bench.msg_id, whole.bytes().unwrap());
    let part = bench.notification(CONFIRMABLE, &observed.token, 42, &[1; 64]);
    let part = part.uint(CoapOption::Block2, 8 | 2);
    let part = (bench.msg_id, part.bytes().unwrap());
    let error = bench.notification(CONFIRMABLE, &observed.token, 42, b"");
    let mut error = (bench.msg_id, error.bytes().unwrap());
    error.1[1] = message::NOT_FOUND;
    for (msg_id, datagram) in [whole, part, error] {
        let reset = empty(MessageType::Reset, msg_id);
        assert_eq!(bench.sealed(&mut thief, &datagram).await, [reset]);
    }
    assert_eq!(bench.server.state("p_secured"), before, "nothing happened");
    assert!(bench.server.history("p_secured").is_empty());
    assert_eq!(bench.server.state("p_n1").received, None);
}

#[tokio::test(start_paused = true)]
async fn who_must_come_secured_is_refused_in_the_clear() {
    let mut bench = Bench::start().await;
    let mut session = Session::of(&mut bench, "p_secured").await;
    let observed = bench.register_secured(&mut session, "ep=secured").await;
    let location = observed.location.clone();
    let rows = [
        (message::POST, "rd", "ep=secured"),
        (message::POST, "t/d", "ep=secured"),
        (message::POST, location.as_str(), ""),
        (message::DELETE, location.as_str(), ""),
    ];
    for (code, path, query) in rows {
        let draft = bench.draft(code, path, query).payload(&report(6));
        let datagram = draft.bytes().unwrap();
        let want = answer(FORBIDDEN, bench.msg_id, b"");
        // Even from the address of its session.
        assert_eq!(bench.answers(1, &datagram).await, [want], "{path}");
    }
    let note = bench.notification(CONFIRMABLE, &observed.token, 42, &report(7));
    let reset = empty(MessageType::Reset, bench.msg_id);
    assert_eq!(bench.answers(1, &note.bytes().unwrap()).await, [reset]);
    assert!(bench.server.history("p_secured").is_empty());
    // An unsecured one may come either way, and is reached where it came last.
    let mut either = Session::of(&mut bench, "p_n1").await;
    bench.register_secured(&mut either, "ep=n1").await;
    assert!(bench.server.state("p_n1").registration.unwrap().secured);
    bench.register(5, "rd", "ep=n1").await;
    assert!(!bench.server.state("p_n1").registration.unwrap().secured);
}

#[tokio::test(start_paused = true)]
async fn the_record_is_durable_with_its_effect() {
    let mut bench = Bench::start().await;
    let mut session = Session::of(&mut bench, "p_secured").await;
    let observed = bench.register_secured(&mut session, "ep=secured").await;
    assert_eq!(bench.received("p_secured"), Some((1, 1, 1)));
    session = session.on(peer(2));
    let note = bench.notification(CONFIRMABLE, &observed.token, 42, &report(1));
    let note = note.bytes().unwrap();
    bench.sealed(&mut session, &note).await;
    assert_eq!(bench.received("p_secured"), Some((1, 2, 2)));
    // Of a repetition the record is all that is news, in this process and in the next.
    for seq in 3..6 {
        let before = bench.server.state("p_secured");
        let taken = empty(MessageType::Acknowledgement, bench.msg_id);
        assert_eq!(bench.sealed(&mut session, &note).await, [taken]);
        assert_eq!(bench.received("p_secured"), Some((1, seq, 2)));
        let after = bench.server.state("p_secured");
        assert_eq!(after.registration, before.registration);
        assert_eq!(after.recent, before.recent);
        assert_eq!(after.last_seen_at, before.last_seen_at);
        assert_eq!(after.next_msg_id, before.next_msg_id);
        bench.restart();
    }
    assert_eq!(volumes(&bench.server.history("p_secured")), [1]);
    // It is answered alike also when its record can't be kept.
    let post = bench.draft(message::POST, "t/d", "").payload(&report(9));
    let post = post.bytes().unwrap();
    let first = bench.sealed(&mut session, &post).await;
    bench.restart();
    bench.server.disk.fail_next(1);
    assert_eq!(bench.sealed(&mut session, &post).await, first);
    assert_eq!(bench.received("p_secured"), Some((1, 6, 2)));
    // A record that was overtaken, one of a former session, one of a later one.
    for (number, seq, want) in [(1, 1, (1, 6, 2)), (0, 90, (1, 6, 2)), (2, 0, (2, 1, 2))] {
        (session.mark.session, session.mark.seq) = (number, seq);
        let post = bench.draft(message::POST, "t/d", "").payload(&report(2));
        let changed = answer(message::CHANGED, bench.msg_id, b"");
        let got = bench.sealed(&mut session, &post.bytes().unwrap()).await;
        assert_eq!(got[0], changed);
        assert_eq!(bench.received("p_secured"), Some(want), "{number} {seq}");
    }
    // A failed commit takes the record back with its effect.
    bench.server.disk.fail_next(1);
    let post = bench.draft(message::POST, "t/d", "").payload(&report(3));
    bench.sealed(&mut session, &post.bytes().unwrap()).await;
    assert_eq!(bench.received("p_secured"), Some((2, 1, 2)));
    // In the clear there is nothing to remember.
    bench.register(7, "rd", "ep=n1").await;
    assert_eq!(bench.received("p_n1"), None);
}

/// The observation is asked for again on the answer, so it must not be heard twice.
#[tokio::test(start_paused = true)]
async fn a_reset_is_durable_with_the_end_of_the_observation() {
    for (code, is_reset) in [(0, true), (message::NOT_FOUND, false)] {
        let mut bench = Bench::start().await;
        let mut session = Session::of(&mut bench, "p_secured").await;
        let observed = bench.register_secured(&mut session, "ep=secured").await;
        let refusal = if is_reset {
            message::Draft::new(MessageType::Reset, code, observed.msg_id)
        } else {
            let kind = MessageType::Acknowledgement;
            message::Draft::new(kind, code, observed.msg_id).token(&observed.token)
        };
        let got = bench.sealed(&mut session, &refusal.bytes().unwrap()).await;
        assert!(got.is_empty(), "{got:?}");
        assert_eq!(bench.received("p_secured"), Some((1, 2, 1)), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_in_blocks_survives_moves() {
    let mut bench = Bench::start().await;
    let mut session = Session::of(&mut bench, "j_n2").await;
    let text = "x".repeat(1500);
    let service = json!({"service_id": "Flow", "properties": {"text": text}});
    let body = json!({"services": [service]}).to_string().into_bytes();
    let mut last = Vec::new();
    for (number, part) in (0u16..).zip(body.chunks(512)) {
        let more = usize::from(number + 1) * 512 < body.len();
        let block = u32::from(number) << 4 | u32::from(more) << 3 | 5;
        let post = bench.draft(message::POST, "t/d", "").payload(part);
        let post = post.uint(CoapOption::Block1, block).bytes().unwrap();
        session = session.on(peer(100 + number));
        last = bench.record(&mut session, Route::Moved, &post).await;
    }
    let [Downward::Send(_, changed)] = &last[..] else {
        panic!("{last:?}");
    };
    assert_eq!(changed[1], message::CHANGED);
    assert_eq!(bench.server.history("j_n2"), [json!({"text": text})]);
    assert_eq!(bench.received("j_n2"), Some((1, 4, 103)));
}

/// A device that moved is believed when it echoes what was sent to where it is now.
#[tokio::test(start_paused = true)]
async fn an_echo_tells_the_session_that_the_device_has_moved() {
    let mut bench = Bench::start().await;
    let mut session = Session::of(&mut bench, "p_secured").await.on(peer(4));
    let draft = bench.draft(message::POST, "rd", "").payload(LINKS);
    let datagram = draft.bytes().unwrap();
    let out = bench.record(&mut session, Route::Moved, &datagram).await;
    let [Downward::Send(..), Downward::Send(_, observe)] = &out[..] else {
        panic!("{out:?}");
    };
    let msg_id = message::read(observe).unwrap().header.message_id;
    let ack = message::Draft::new(MessageType::Acknowledgement, 0, msg_id);
    let ack = ack.bytes().unwrap();
    let out = bench.record(&mut session, Route::Unproven, &ack).await;
    assert_eq!(out, [Downward::Proven(session.device, peer(4))]);
}

/// What the API does, and whether it ends the session.
#[tokio::test(start_paused = true)]
async fn what_ends_a_session() {
    let secret = "0123456789abcdef0123456789abcdef";
    let reset = "/action?action_id=resetSecret";
    let rows = [
        ("freeze", "POST", "/freeze", json!({}), true),
        ("delete", "DELETE", "", json!({}), true),
        ("secret", "POST", reset, json!({}), false),
        (
            "secret, cut",
            "POST",
            reset,
            json!({"force_disconnect": true}),
            true,
        ),
        (
            "the same secret, cut",
            "POST",
            reset,
            json!({"secret": secret, "force_disconnect": true}),
            true,
        ),
        (
            "secured no more",
            "PUT",
            "",
            json!({"auth_info": {"secure_access": false}}),
            false,
        ),
        ("name", "PUT", "", json!({"device_name": "x"}), false),
    ];
    for (name, method, action, body, ends) in rows {
        let mut bench = Bench::start().await;
        let mut session = Session::of(&mut bench, "p_secured").await;
        let observed = bench.register_secured(&mut session, "ep=secured").await;
        bench.store_session(session.device, "p_secured").await;
        bench.api(method, "p_secured", action, body).await;
        let want = Vec::from_iter(ends.then_some(Downward::End(session.device)));
        assert_eq!(bench.downwards().await, want, "{name}");
        let stored = bench.server.disk.session(session.device).unwrap();
        assert_eq!(stored.is_none(), ends, "{name}");
        // What was under way may still arrive.
        let note = bench.notification(CONFIRMABLE, &observed.token, 42, &report(1));
        let kind = match name {
            "freeze" | "delete" => MessageType::Reset,
            _ => MessageType::Acknowledgement,
        };
        let msg_id = bench.msg_id;
        let got = bench.sealed(&mut session, &note.bytes().unwrap()).await;
        assert_eq!(got, [empty(kind, msg_id)], "{name}");
    }
}

/// The end of a session waits for room in its channel, and is not lost.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_waits_for_room() {
    let mut bench = Bench::start().await;
    let devices = 300;
    for number in 0..devices {
        let node = format!("f{number}");
        bench.server.create_device("p", &node, json!({})).await;
        bench
            .api("POST", &format!("p_{node}"), "/freeze", json!({}))
            .await;
    }
    let ends = bench.downwards().await;
    let ends = ends.iter().filter(|d| matches!(d, Downward::End(_)));
    // With the one that the bench froze.
    assert_eq!(ends.count(), devices + 1);
}

/// Without a DTLS socket nobody takes what goes down to the sessions.
#[tokio::test(start_paused = true)]
async fn without_sessions_the_unsecured_side_goes_on() {
    let mut bench = Bench::start().await;
    let (_, gone) = tokio::sync::mpsc::channel(1);
    bench.server.sessions = gone;
    bench.api("POST", "p_secured", "/freeze", json!({})).await;
    let observed = bench.register(1, "rd", "ep=n1").await;
    let note = bench.notification(CONFIRMABLE, &observed.token, 42, &report(1));
    let taken = empty(MessageType::Acknowledgement, bench.msg_id);
    assert_eq!(bench.answers(1, &note.bytes().unwrap()).await, [taken]);
}
