//! `kill -9` at any moment: sessions go on, and no number is used twice or taken twice.

use super::world::{World, at, ccm8};
use crate::wire::dtls::ContentType;

#[test]
fn sessions_go_on_after_a_restart_without_a_handshake() {
    for offer in [ccm8(), ccm8().with_cid(b""), ccm8().with_cid(b"dev")] {
        let mut world = World::new();
        let mut client = world.connect(1, offer, at(1));
        world.talk(1, &mut client, at(1));
        for _ in 0..5 {
            world.restart();
            // The client refuses a number that it has seen (see the test client).
            world.talk(1, &mut client, at(1));
        }
        assert_eq!(world.dtls.counts(), (0, 1, 1));
    }
}

/// More messages than were reserved, with restarts at any place.
#[test]
fn no_number_is_used_twice_over_restarts() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    for (round, count) in [(1, 3000), (2, 1), (3, 1500), (4, 767), (5, 2)] {
        for _ in 0..count {
            for (_, datagram) in world.push(1, b"down") {
                client.receive(&datagram);
            }
        }
        assert_eq!(client.received.len(), count, "round {round}");
        client.received.clear();
        world.restart();
    }
    assert!(
        world.disk.sessions[&1].send_reserved < 20_000,
        "in blocks, not wasted"
    );
}

#[test]
fn what_waits_for_a_reservation_goes_when_it_is_durable() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    world.restart();
    world.disk_is_slow = true;
    for n in 0..20 {
        assert_eq!(
            world.push(1, &[n]),
            [],
            "nothing leaves before the reservation is durable"
        );
    }
    for (_, datagram) in world.settle() {
        client.receive(&datagram);
    }
    let sent: Vec<Vec<u8>> = (0..16).map(|n| vec![n]).collect();
    assert_eq!(
        client.received, sent,
        "in order; what is beyond the bound was dropped"
    );
    assert_eq!(world.dtls.counters().unsent, 4);
    world.disk_is_slow = false;
    world.settle();
    client.received.clear();
    world.talk(1, &mut client, at(1));
    // A reservation that failed is asked for again with the next message.
    world.restart();
    world.disk_is_full = true;
    assert_eq!(world.push(1, b"later"), []);
    world.disk_is_full = false;
    client.received.clear();
    for (_, datagram) in world.push(1, b"now") {
        client.receive(&datagram);
    }
    assert_eq!(client.received, [b"later".to_vec(), b"now".to_vec()]);
}

#[test]
fn nothing_at_or_below_the_durable_mark_is_taken_again() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8().with_cid(b""), at(1));
    let records: Vec<_> = (0..10).map(|n| client.send(&[n])).collect();
    for record in &records[..8] {
        world.deliver(at(1), record);
    }
    // The effect of the sixth is durable, with its mark; two more came.
    let mark = world.received[5].mark;
    world.disk.sessions.get_mut(&1).unwrap().received = Some(mark.seq);
    world.heard();
    world.restart();
    for record in &records {
        world.deliver(at(1), record);
    }
    assert_eq!(world.heard(), [vec![6], vec![7], vec![8], vec![9]]);
}

/// Records without a durable effect may be taken again after a restart: none does harm.
#[test]
fn records_without_durable_effect_do_no_harm_when_they_come_again() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8().with_cid(b""), at(1));
    // The client's Finished: at most one more final flight, which says nothing new.
    let finished = client.repeat();
    world.restart();
    for datagram in &finished {
        for (_, answer) in world.deliver(at(1), datagram) {
            client.receive(&answer);
        }
    }
    world.talk(1, &mut client, at(1));
    // A warning, an unknown content type, a renegotiation that was refused.
    let mut quiet = vec![
        client.protect(ContentType::ALERT, &[1, 90]),
        client.protect(ContentType(99), b"?"),
        client.protect(
            ContentType::HANDSHAKE,
            &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    quiet.push(client.protect(ContentType::RETURN_ROUTABILITY, &[1; 9]));
    for _ in 0..2 {
        for record in &quiet {
            world.deliver(at(1), record);
        }
        world.restart();
    }
    world.talk(1, &mut client, at(1));
    // One played from another address takes the address with it, until the device speaks again:
    // what is sent there nobody else can read, and not more than three times what came.
    let recorded = client.send(b"recorded");
    world.deliver(at(1), &recorded);
    world.restart();
    world.deliver(at(66), &recorded);
    assert_eq!(
        world.received.pop().unwrap().route,
        crate::engine::exchange::Route::Moved
    );
    world.heard();
    world.talk(1, &mut client, at(1));
    // close_notify: the session was freed durably, so that there is nothing to close twice.
    let close = client.protect(ContentType::ALERT, &[1, 0]);
    world.deliver(at(1), &close);
    world.restart();
    assert_eq!(world.deliver(at(1), &close), []);
    let mut again = world.connect(1, ccm8().with_cid(b""), at(1));
    world.deliver(at(1), &close);
    world.talk(1, &mut again, at(1));
}

#[test]
fn a_crash_before_the_session_is_durable_costs_one_more_handshake() {
    let mut world = World::new();
    world.disk_is_slow = true;
    let mut client = super::world::client(1, ccm8(), 7);
    let flight = client.start();
    world.run(&mut client, at(1), flight);
    assert!(!client.is_connected(), "it was never told so");
    world.restart();
    world.disk_is_slow = false;
    let again = client.repeat();
    world.run(&mut client, at(1), again);
    assert!(!client.is_connected());
    world.connect(1, ccm8(), at(1));
}

#[test]
fn a_crash_behind_the_commit_costs_nothing() {
    let mut world = World::new();
    world.disk_is_slow = true;
    let mut client = super::world::client(1, ccm8(), 7);
    let flight = client.start();
    world.run(&mut client, at(1), flight);
    // Durable, and the answer never left.
    drop(world.settle());
    world.restart();
    world.disk_is_slow = false;
    let again = client.repeat();
    world.run(&mut client, at(1), again);
    assert!(client.is_connected());
    world.talk(1, &mut client, at(1));
}
