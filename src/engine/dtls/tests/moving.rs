//! Devices whose address changes: connection ids (RFC 9146) and return routability (RFC 9853).

use super::world::{World, at, ccm8};
use crate::base::peer::{DeviceSeq, Mark};
use crate::engine::dtls::crypto::Suite;
use crate::engine::exchange::Route;
use crate::wire::dtls::ContentType;

#[test]
fn a_device_with_a_connection_id_goes_on_from_another_address() {
    for own in [b"".as_slice(), b"dev"] {
        for suite in Suite::ALL {
            let mut world = World::new();
            let offer = super::client::Offer::of(suite).with_cid(own);
            let mut client = world.connect(1, offer, at(1));
            world.talk(1, &mut client, at(1));
            for port in [2, 3, 1] {
                world.talk(1, &mut client, at(port));
            }
            assert_eq!(world.dtls.counters().moved, 3);
            assert_eq!(world.disk.next_number, 1001, "no other session");
        }
    }
}

#[test]
fn only_the_newest_authentic_record_moves_the_address() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8().with_cid(b""), at(1));
    let old = client.send(b"old");
    let new = client.send(b"new");
    world.deliver(at(1), &new);
    // A late record from elsewhere is taken, but the address stays.
    world.deliver(at(9), &old);
    assert_eq!(world.heard(), [b"new".to_vec(), b"old".to_vec()]);
    assert_eq!(world.push(1, b"x")[0].0, at(1));
    // So do a replayed and a forged one.
    world.deliver(at(9), &new);
    let mut forged = client.send(b"forged");
    *forged.last_mut().unwrap() ^= 1;
    world.deliver(at(9), &forged);
    assert_eq!(world.push(1, b"x")[0].0, at(1));
    assert_eq!(world.dtls.counters().moved, 0);
}

#[test]
fn a_new_address_counts_as_unproven_until_it_has_shown_itself() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8().with_cid(b""), at(1));
    let mut routes = |world: &mut World, port| {
        let record = client.send(b"up");
        world.deliver(at(port), &record);
        world.received.pop().unwrap().route
    };
    assert_eq!(routes(&mut world, 1), Route::Proven);
    assert_eq!(routes(&mut world, 2), Route::Moved);
    assert_eq!(routes(&mut world, 2), Route::Unproven);
    // What was sent to the former address proves nothing of this one.
    world.dtls.prove(DeviceSeq(1), at(1));
    assert_eq!(routes(&mut world, 2), Route::Unproven);
    world.dtls.prove(DeviceSeq(1), at(2));
    assert_eq!(routes(&mut world, 2), Route::Proven);
    assert_eq!(routes(&mut world, 3), Route::Moved);
}

#[test]
fn return_routability_proves_the_new_address() {
    let mut world = World::new();
    let offer = super::client::Offer {
        return_routability: true,
        ..ccm8().with_cid(b"")
    };
    let mut client = world.connect(1, offer, at(1));
    let record = client.send(b"up");
    let answers = world.deliver(at(2), &record);
    assert_eq!(answers[0].0, at(2), "the new address is asked");
    client.receive(&answers[0].1);
    let challenge = client.paths.pop().unwrap();
    assert_eq!((challenge.len(), challenge[0]), (9, 0));
    // The wrong cookie, and the right one from elsewhere, prove nothing.
    let mut wrong = challenge.clone();
    (wrong[0], wrong[8]) = (1, wrong[8] ^ 1);
    let record = client.protect(ContentType::RETURN_ROUTABILITY, &wrong);
    world.deliver(at(2), &record);
    let record = client.send(b"up");
    world.deliver(at(2), &record);
    assert_eq!(world.received.pop().unwrap().route, Route::Unproven);
    let mut response = challenge;
    response[0] = 1;
    let record = client.protect(ContentType::RETURN_ROUTABILITY, &response);
    world.deliver(at(2), &record);
    let record = client.send(b"up");
    world.deliver(at(2), &record);
    assert_eq!(world.received.pop().unwrap().route, Route::Proven);
    // Asked by the client, the server answers.
    let mut challenge = response;
    challenge[0] = 0;
    let record = client.protect(ContentType::RETURN_ROUTABILITY, &challenge);
    let answers = world.deliver(at(2), &record);
    client.receive(&answers[0].1);
    challenge[0] = 1;
    assert_eq!(client.paths.pop(), Some(challenge));
}

#[test]
fn a_connection_id_must_be_right_in_every_byte() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8().with_cid(b""), at(1));
    let good = client.send(b"up");
    for byte in 11..19 {
        let mut bad = good.clone();
        bad[byte] ^= 1;
        assert_eq!(world.deliver(at(1), &bad), []);
    }
    assert_eq!(world.dtls.counters().records_unknown, 8, "not even opened");
    assert_eq!(world.dtls.counters().records_bad_mac, 0);
}

#[test]
fn each_message_says_which_record_it_came_in() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8().with_cid(b""), at(1));
    let first = client.send(b"1");
    let second = client.send(b"2");
    world.deliver(at(2), &second);
    world.deliver(at(1), &first);
    let marks: Vec<Mark> = world.received.iter().map(|r| r.mark).collect();
    let number = world.disk.sessions[&1].number;
    let mark = |seq| Mark {
        session: number,
        seq,
        address: at(2),
        is_proven: false,
    };
    assert_eq!(marks, [mark(2), mark(1)]);
}

/// Whoever plays a record from another's address makes the server send at most three times that.
#[test]
fn an_unproven_address_gets_three_times_what_it_sent() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8().with_cid(b""), at(1));
    let sent = |world: &mut World| -> usize {
        let datagrams = (0..50).flat_map(|_| world.push(1, &[7; 40]));
        datagrams.map(|(_, datagram)| datagram.len()).sum()
    };
    assert!(sent(&mut world) > 3000, "where it connected, no bound");
    let record = client.send(b"from elsewhere");
    world.deliver(at(2), &record);
    let got = sent(&mut world);
    assert!(
        got > 0 && got <= 3 * record.len(),
        "{got} for {}",
        record.len()
    );
    let again = client.send(b"from elsewhere");
    world.deliver(at(2), &again);
    let got = got + sent(&mut world);
    assert!(got <= 3 * 2 * record.len(), "{got}");
    assert!(world.dtls.counters().amplification_stopped > 0);
    world.dtls.prove(DeviceSeq(1), at(2));
    assert!(sent(&mut world) > 3000, "proven, no bound again");
}
