//! Handshakes and sessions that cross each other, a store that fails between, and what somebody
//! may gain from it.

use std::time::Duration;

use super::client::{Client, Offer};
use super::world::{World, at, ccm8, client};
use crate::engine::dtls::Settings;
use crate::wire::dtls::handshake::{ClientKeyExchange, MsgType, message};
use crate::wire::dtls::{ContentType, VERSION_1_2, record};

/// A client's hello with its cookie, not sent yet.
fn hello_of(world: &mut World, client: &mut Client, port: u16) -> Vec<Vec<u8>> {
    let hello = client.start();
    let request = world.deliver(at(port), &hello[0]);
    client.receive(&request[0].1)
}

/// A client's key exchange and Finished, not sent yet.
fn proof_of(world: &mut World, client: &mut Client, port: u16) -> Vec<Vec<u8>> {
    let hello = hello_of(world, client, port);
    let answer = world.deliver(at(port), &hello[0]);
    client.receive(&answer[0].1)
}

/// Held back by the network or by somebody, a proof must not end what came after it.
#[test]
fn an_older_handshake_does_not_replace_a_newer_session() {
    for (older, newer) in [
        (ccm8(), ccm8()),
        (ccm8().with_cid(b""), ccm8()),
        (ccm8(), ccm8().with_cid(b"x")),
        (ccm8().with_cid(b""), ccm8().with_cid(b"")),
    ] {
        let mut world = World::new();
        let mut old = client(1, older, 6);
        let proof = proof_of(&mut world, &mut old, 1);
        let mut new = world.connect(1, newer, at(2));
        for datagram in proof {
            world.deliver(at(1), &datagram);
        }
        world.talk(1, &mut new, at(2));
        assert_eq!(world.dtls.counts(), (0, 1, 1));
    }
}

#[test]
fn a_session_that_was_stored_for_nobody_takes_the_former_one_along() {
    let mut world = World::new();
    world.connect(1, ccm8(), at(1));
    world.disk_is_slow = true;
    let mut new = client(1, ccm8(), 8);
    let proof = proof_of(&mut world, &mut new, 2);
    for datagram in proof {
        world.deliver(at(2), &datagram);
    }
    for _ in 0..5 {
        world.pass(Duration::from_secs(150));
    }
    assert_eq!(world.dtls.counts().0, 0, "it was given up");
    world.settle();
    world.settle();
    // In the store it had taken the place of the former one, which could reserve nothing more.
    assert_eq!(world.dtls.counts(), (0, 0, 0));
    assert!(world.disk.sessions.is_empty());
}

#[test]
fn an_old_hello_does_not_end_a_handshake_that_has_proved_itself() {
    let mut world = World::new();
    let mut before = client(1, ccm8(), 6);
    let recorded = hello_of(&mut world, &mut before, 1);
    let mut new = client(1, ccm8(), 7);
    let proof = proof_of(&mut world, &mut new, 1);
    world.disk_is_slow = true;
    for datagram in proof {
        world.deliver(at(1), &datagram);
    }
    assert_eq!(world.deliver(at(1), &recorded[0]), []);
    for (_, datagram) in world.settle() {
        new.receive(&datagram);
    }
    assert!(new.is_connected());
}

/// The same hello under another message number: late from a client that said it twice, or from
/// somebody who heard it.
#[test]
fn a_late_hello_does_not_end_the_handshake_that_its_client_went_on_with() {
    let mut world = World::new();
    let mut own = client(1, ccm8(), 6);
    let mut hello = hello_of(&mut world, &mut own, 1);
    let answer = world.deliver(at(1), &hello[0]);
    let proof = own.receive(&answer[0].1);
    world.deliver(at(1), &proof[0]);
    // The low byte of the message number, behind record header, type and length.
    hello[0][13 + 5] = 9;
    assert_eq!(world.deliver(at(1), &hello[0]), []);
    world.run(&mut own, at(1), proof);
    assert!(own.is_connected());
}

#[test]
fn a_store_that_fails_to_read_ends_no_session() {
    let settings = Settings {
        sessions_in_memory: 1,
        ..Settings::default()
    };
    let mut world = World::with(settings, 1);
    let mut sleeper = world.connect(1, ccm8(), at(1));
    world.connect(2, ccm8(), at(2));
    world.disk.is_mute = true;
    let forged = {
        let mut bytes = sleeper.send(b"good");
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    world.deliver(at(1), &forged);
    assert_eq!(world.push(1, b"not now"), []);
    assert_eq!(world.dtls.counts(), (0, 2, 1));
    world.disk.is_mute = false;
    world.talk(1, &mut sleeper, at(1));
}

#[test]
fn a_hello_that_was_begun_gives_way_to_another_one() {
    // Of the same length, and of another.
    for offer in [ccm8(), ccm8().with_cid(b"")] {
        let mut world = World::new();
        let mut broken = client(1, ccm8(), 6);
        let hello = broken.start();
        let request = world.deliver(at(1), &hello[0]);
        broken.offer.fragment = 64;
        let pieces = broken.receive(&request[0].1);
        assert!(pieces.len() > 1);
        // It fell silent behind the first piece.
        world.deliver(at(1), &pieces[0]);
        assert_eq!(world.dtls.counts().0, 1);
        let mut again = client(1, offer, 9);
        let flight = hello_of(&mut world, &mut again, 1);
        again.offer.fragment = 64;
        world.run(&mut again, at(1), flight);
        assert!(again.is_connected());
    }
}

/// Small messages in one datagram: what each of them would cost or send is had once.
#[test]
fn a_datagram_of_many_hellos_gets_one_answer() {
    let mut world = World::new();
    let mut client = client(
        1,
        Offer {
            bare: true,
            ..ccm8()
        },
        6,
    );
    let first = client.start();
    assert_eq!(world.deliver(at(1), &first[0].repeat(9)).len(), 1);
    let hello = hello_of(&mut world, &mut client, 1);
    assert_eq!(world.deliver(at(1), &hello[0].repeat(9)).len(), 1);
    assert_eq!(world.deliver(at(1), &hello[0].repeat(9)).len(), 1);
}

#[test]
fn forged_key_exchanges_cost_a_source_its_share() {
    let settings = Settings {
        handshakes_per_source_s: 10,
        ..Settings::default()
    };
    let mut world = World::with(settings, 1);
    let mut own = client(1, ccm8(), 6);
    let proof = proof_of(&mut world, &mut own, 1);
    for n in 0..100_u16 {
        let mut body = Vec::new();
        ClientKeyExchange {
            identity: &n.to_be_bytes(),
        }
        .write(&mut body);
        let mut forged = Vec::new();
        message(&mut forged, MsgType::CLIENT_KEY_EXCHANGE, 2, &body);
        let mut datagram = Vec::new();
        record::write(
            &mut datagram,
            ContentType::HANDSHAKE,
            VERSION_1_2,
            0,
            9,
            &forged,
        );
        world.deliver(at(1), &datagram);
    }
    assert_eq!(world.disk.looked_up, 10);
    world.pass(Duration::from_secs(1));
    world.run(&mut own, at(1), proof);
    assert!(own.is_connected(), "the client's own comes through");
}
