//! What goes wrong in the field, and what somebody may try.

use std::time::Duration;

use super::client::Stage;
use super::world::{PSK, World, at, ccm8, client, name};
use crate::base::peer::DeviceSeq;
use crate::engine::dtls::{Ended, Settings};
use crate::wire::dtls::ContentType;
use crate::wire::dtls::alert::AlertDescription;

#[test]
fn a_replayed_record_is_dropped_and_counted() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    let record = client.send(b"once");
    world.deliver(at(1), &record);
    world.deliver(at(1), &record);
    assert_eq!(world.heard(), [b"once".to_vec()]);
    assert_eq!(world.dtls.counters().records_replayed, 1);
    // Late but new is fine, within the window.
    let late: Vec<_> = (0..80).map(|n| client.send(&[n])).collect();
    world.deliver(at(1), &late[79]);
    world.deliver(at(1), &late[16]);
    world.deliver(at(1), &late[15]);
    assert_eq!(world.heard(), [vec![79], vec![16]]);
}

/// Each of these kills a session of some other server.
#[test]
fn nothing_unauthenticated_ends_a_session() {
    for cid in [false, true] {
        let mut world = World::new();
        let offer = if cid { ccm8().with_cid(b"x") } else { ccm8() };
        let mut client = world.connect(1, offer, at(1));
        let good = client.send(b"good");
        // Every byte changed, every length.
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x40;
            world.deliver(at(1), &bad);
            world.deliver(at(1), &good[..index]);
        }
        // Unprotected alerts: close_notify and fatal ones.
        for alert in [[1, 0], [2, 40], [2, 20], [2, 10]] {
            let record = client.plain(ContentType::ALERT, &alert);
            world.deliver(at(1), &record);
        }
        // A hello without the right cookie.
        let mut stranger = super::world::client(2, ccm8(), 99);
        let hello = stranger.start();
        world.deliver(at(1), &hello[0]);
        assert_eq!(world.heard(), [] as [Vec<u8>; 0]);
        world.deliver(at(1), &good);
        assert_eq!(world.heard(), [b"good".to_vec()]);
        world.talk(1, &mut client, at(1));
        assert_eq!(world.dtls.counts().1, 1);
        assert!(world.dtls.counters().records_bad_mac > 0);
    }
}

#[test]
fn a_lost_final_flight_is_sent_again_each_time_the_client_asks() {
    for restarts in [false, true] {
        for offer in [ccm8(), ccm8().with_cid(b"")] {
            let mut world = World::new();
            let mut client = client(1, offer, 7);
            let hello = client.start();
            let request = world.deliver(at(1), &hello[0]);
            let hello = client.receive(&request[0].1);
            let answer = world.deliver(at(1), &hello[0]);
            for datagram in client.receive(&answer[0].1) {
                world.deliver(at(1), &datagram);
            }
            assert_eq!(client.stage, Stage::Finished, "all answers were lost");
            if restarts {
                world.restart();
            }
            for _ in 0..3 {
                for datagram in client.repeat() {
                    world.deliver(at(1), &datagram);
                }
            }
            let again = client.repeat();
            world.run(&mut client, at(1), again);
            assert!(client.is_connected());
            assert_eq!(world.dtls.counters().final_flights_repeated, 4);
            world.talk(1, &mut client, at(1));
        }
    }
}

/// RFC 6347 §4.2.8: a device that lost its state connects again from the same address.
#[test]
fn a_rebooted_device_connects_beside_its_old_session() {
    for offer in [ccm8(), ccm8().with_cid(b"")] {
        let mut world = World::new();
        let mut old = world.connect(1, offer.clone(), at(1));
        let former = world.disk.sessions[&1].number;
        let mut new = client(1, offer, 8);
        let hello = new.start();
        let request = world.deliver(at(1), &hello[0]);
        let hello = new.receive(&request[0].1);
        let answer = world.deliver(at(1), &hello[0]);
        let flight = new.receive(&answer[0].1);
        // Until the new Finished verifies, the old session stands.
        world.talk(1, &mut old, at(1));
        world.run(&mut new, at(1), flight);
        assert!(new.is_connected());
        world.talk(1, &mut new, at(1));
        let late = old.send(b"late");
        world.deliver(at(1), &late);
        assert_eq!(
            world.heard(),
            [] as [Vec<u8>; 0],
            "the old session has ended"
        );
        assert_eq!(world.dtls.counts().1, 1);
        assert!(world.disk.sessions[&1].number > former);
    }
}

#[test]
fn a_handshake_of_somebody_else_on_the_address_fails_beside_the_session() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    world.ended();
    let mut other = super::client::Client::new(ccm8(), &name(2), b"not its key", [5; 32]);
    let flight = other.start();
    world.run(&mut other, at(1), flight);
    assert!(!other.is_connected());
    world.talk(1, &mut client, at(1));
    assert_eq!(world.ended(), [Ended::WrongKey]);
    // A device that has its key takes the address: the former owner has moved.
    let mut third = super::client::Client::new(ccm8(), &name(3), PSK, [6; 32]);
    let flight = third.start();
    world.run(&mut third, at(1), flight);
    world.talk(3, &mut third, at(1));
    assert!(
        !world.disk.sessions.contains_key(&1),
        "without a connection id it is out of reach"
    );
}

#[test]
fn close_notify_frees_the_session_and_is_answered() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    let close = client.protect(ContentType::ALERT, &[1, 0]);
    for (_, datagram) in world.deliver(at(1), &close) {
        client.receive(&datagram);
    }
    assert_eq!(client.alerts[0].description, AlertDescription::CLOSE_NOTIFY);
    assert_eq!(world.dtls.counts().1, 0);
    assert!(world.disk.sessions.is_empty());
    assert!(matches!(
        world.ended()[..],
        [Ended::Connected { .. }, Ended::Closed { alert: 0 }]
    ));
    // Recorded and played again it finds nothing.
    assert_eq!(world.deliver(at(1), &close), []);
    // A warning is not an end.
    let mut client = world.connect(1, ccm8(), at(2));
    let warning = client.protect(ContentType::ALERT, &[1, 90]);
    world.deliver(at(2), &warning);
    world.talk(1, &mut client, at(2));
}

#[test]
fn renegotiation_is_refused() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    let mut again = super::world::client(1, ccm8(), 5);
    let hello = again.start();
    // The message without its record.
    let record = client.protect(ContentType::HANDSHAKE, &hello[0][13..]);
    for (_, datagram) in world.deliver(at(1), &record) {
        client.receive(&datagram);
    }
    assert_eq!(
        client.alerts[0].description,
        AlertDescription::NO_RENEGOTIATION
    );
    world.talk(1, &mut client, at(1));
}

#[test]
fn freezing_ends_the_session_and_handshakes_at_once() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    for (_, datagram) in world.end(1) {
        client.receive(&datagram);
    }
    assert_eq!(client.alerts[0].description, AlertDescription::CLOSE_NOTIFY);
    let record = client.send(b"no");
    world.deliver(at(1), &record);
    assert_eq!(world.heard(), [] as [Vec<u8>; 0]);
    assert_eq!(world.push(1, b"no"), []);
    // A handshake whose session is being stored.
    world.disk_is_slow = true;
    let mut client = super::world::client(1, ccm8(), 77);
    let flight = client.start();
    world.run(&mut client, at(2), flight);
    world.end(1);
    world.settle();
    world.disk_is_slow = false;
    world.settle();
    assert_eq!(client.stage, Stage::Finished);
    assert_eq!(world.dtls.counts(), (0, 0, 0));
    assert!(
        world.disk.sessions.is_empty(),
        "what was stored meanwhile is gone again"
    );
}

#[test]
fn the_session_silent_for_longest_leaves_the_memory_and_comes_back() {
    let settings = Settings {
        sessions_in_memory: 3,
        sessions_max: 8,
        ..Settings::default()
    };
    for cid in [false, true] {
        let mut world = World::with(settings.clone(), 1);
        let offer = if cid { ccm8().with_cid(b"") } else { ccm8() };
        let mut clients: Vec<_> = (1..=8)
            .map(|device| world.connect(device, offer.clone(), at(u16::try_from(device).unwrap())))
            .collect();
        assert_eq!(world.dtls.counts(), (0, 8, 3));
        let replay = clients[0].send(b"before");
        world.deliver(at(1), &replay);
        assert_eq!(
            world.heard(),
            [b"before".to_vec()],
            "brought back by an uplink"
        );
        for round in 0..3 {
            for device in [1, 5, 2, 8, 3, 3, 7, 4, 6] {
                let port = at(u16::try_from(device).unwrap());
                let client = &mut clients[usize::try_from(device).unwrap() - 1];
                // By a downlink, by an uplink.
                if round == 1 {
                    world.push(device, b"first");
                }
                world.talk(device, client, port);
                assert_eq!(world.dtls.counts(), (0, 8, 3));
            }
        }
        world.deliver(at(1), &replay);
        assert_eq!(
            world.heard(),
            [] as [Vec<u8>; 0],
            "its window came back, too"
        );
        // A ninth: the oldest of all goes.
        world.connect(9, offer, at(9));
        assert_eq!(world.dtls.counts(), (0, 8, 3));
        assert_eq!(world.dtls.counters().sessions_dropped, 1);
        assert_eq!(world.disk.sessions.len(), 8);
    }
}

#[test]
fn a_session_replaced_in_the_store_does_not_come_back() {
    let settings = Settings {
        sessions_in_memory: 1,
        ..Settings::default()
    };
    let mut world = World::with(settings, 1);
    let mut client = world.connect(1, ccm8(), at(1));
    world.connect(2, ccm8(), at(2));
    world.disk.sessions.remove(&1);
    let record = client.send(b"up");
    world.deliver(at(1), &record);
    assert_eq!(world.heard(), [] as [Vec<u8>; 0]);
    assert_eq!(world.dtls.counts().1, 1);
}

#[test]
fn a_million_spoofed_hellos_leave_nothing() {
    let mut world = World::new();
    let mut device = world.connect(1, ccm8(), at(1));
    let mut spoofed = client(2, ccm8(), 3);
    let mut hello = spoofed.start().remove(0);
    for n in 0..20_000_u32 {
        hello[30..34].copy_from_slice(&n.to_be_bytes());
        let from = std::net::SocketAddr::from((n.to_be_bytes(), 5683));
        assert_eq!(world.deliver(from, &hello).len(), 1);
    }
    assert_eq!(world.dtls.counts(), (0, 1, 1));
    world.talk(1, &mut device, at(1));
    world.connect(3, ccm8(), at(3));
}

#[test]
fn an_address_that_only_sends_gets_no_more_than_it_sent() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    world.pass(Duration::from_secs(1));
    let record = client.send(b"up");
    assert_eq!(
        world.deliver(at(77), &record),
        [],
        "without a connection id: unknown"
    );
    assert_eq!(world.dtls.counters().records_unknown, 1);
    assert_eq!(world.dtls.by_device_for_tests(DeviceSeq(1)), Some(at(1)));
}

#[test]
fn stored_sessions_beyond_the_bound_are_counted_as_dropped() {
    let mut world = World::new();
    for device in 1..=5 {
        world.connect(device, ccm8(), at(u16::try_from(device).unwrap()));
    }
    world.settings.sessions_max = 3;
    world.restart();
    assert_eq!(world.dtls.counts().1, 3);
    assert_eq!(world.dtls.counters().sessions_dropped, 2);
}
