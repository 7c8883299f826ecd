//! Handshakes that must succeed, and those that must not.

use std::time::Duration;

use super::client::{Client, Offer, Stage};
use super::world::{PSK, World, at, ccm8, client, name};
use crate::base::peer::DeviceSeq;
use crate::engine::dtls::crypto::Suite;
use crate::engine::dtls::{Ended, Settings, Unknown};
use crate::wire::dtls::handshake::SIGNALLING_SUITE;
use crate::wire::dtls::{ContentType, VERSION_1_0};

/// Every suite, with and without each extension that changes how keys or records are made.
#[test]
fn every_suite_with_every_extension_connects_and_talks() {
    for suite in Suite::ALL {
        for bits in 0..16 {
            let offer = Offer {
                extended_master_secret: bits & 1 != 0,
                encrypt_then_mac: bits & 2 != 0,
                cid: match bits & 12 {
                    0 => None,
                    4 => Some(Vec::new()),
                    8 => Some(b"c".to_vec()),
                    _ => Some(vec![9; 32]),
                },
                ..Offer::of(suite)
            };
            let mut world = World::new();
            let mut client = world.connect(5, offer.clone(), at(1000));
            assert_eq!(
                client.server_cid().map(<[u8]>::len),
                offer.cid.as_ref().map(|_| 8)
            );
            world.talk(5, &mut client, at(1000));
            let want = Ended::Connected {
                suite,
                extended_master_secret: offer.extended_master_secret,
                connection_id: offer.cid.is_some(),
            };
            assert_eq!(world.ended(), [want]);
        }
    }
}

#[test]
fn the_server_prefers_in_its_own_order_and_only_what_is_set() {
    let settings = Settings {
        suites: vec![Suite::Gcm, Suite::Ccm8],
        ..Settings::default()
    };
    let mut world = World::with(settings, 1);
    let all = Offer {
        suites: vec![0x00ae, 0xc0a8, 0x1301, 0x00a8],
        ..ccm8()
    };
    world.connect(1, all, at(1));
    assert!(matches!(
        world.ended()[..],
        [Ended::Connected {
            suite: Suite::Gcm,
            ..
        }]
    ));
    let mut cbc = client(2, Offer::of(Suite::CbcSha256), 2);
    let flight = cbc.start();
    world.run(&mut cbc, at(2), flight);
    assert_eq!(cbc.stage, Stage::Refused(40), "handshake_failure");
    assert_eq!(world.ended(), [Ended::NoSuite]);
    assert_eq!(world.dtls.counts().0, 0, "nothing is kept of it");
}

#[test]
fn versions_before_and_after_1_2() {
    let mut world = World::new();
    let newer = Offer {
        version: 0xfefc,
        ..ccm8()
    };
    let older = Offer {
        version: VERSION_1_0,
        ..ccm8()
    };
    let mut old = client(1, older, 1);
    let flight = old.start();
    world.run(&mut old, at(1), flight);
    assert_eq!(old.stage, Stage::Refused(70), "protocol_version");
    assert_eq!(world.ended(), [Ended::NoVersion]);
    // A number below 1.2's is a later version; that client takes 1.2 (RFC 5246 E.1).
    let mut new = client(1, newer, 1);
    let flight = new.start();
    world.run(&mut new, at(2), flight);
    assert_ne!(new.stage, Stage::Refused(70));
}

#[test]
fn a_hello_without_any_extension_and_one_with_strange_ones() {
    let mut world = World::new();
    let bare = Offer {
        bare: true,
        extended_master_secret: false,
        suites: vec![0xc0a8],
        ..ccm8()
    };
    let client = world.connect(1, bare, at(1));
    assert!(!client.reneg_info, "what was not asked for is not answered");
    // status_request, use_srtp, supported_groups, session_ticket, max_fragment_length, unknown.
    let others = [(5, 4), (14, 5), (10, 6), (35, 0), (1, 1), (0xfafa, 9)];
    let strange = Offer {
        others: others.iter().map(|(n, len)| (*n, vec![0; *len])).collect(),
        ..ccm8()
    };
    let client = world.connect(2, strange, at(2));
    assert!(
        client.reneg_info,
        "RFC 5746: the signalling suite is answered"
    );
    assert!(client.offer.suites.contains(&SIGNALLING_SUITE));
}

#[test]
fn wrong_key_and_unknown_identity_look_the_same_from_outside() {
    let mut world = World::new();
    world
        .disk
        .devices
        .insert(b"frozen".to_vec(), Err(Unknown::Frozen));
    let cases = [
        (name(1), b"another key".as_slice(), Ended::WrongKey),
        ("nobody".to_owned(), PSK, Ended::Unknown(Unknown::Identity)),
        ("frozen".to_owned(), PSK, Ended::Unknown(Unknown::Frozen)),
    ];
    let mut said = Vec::new();
    for (port, (identity, psk, want)) in (1..).zip(cases) {
        let mut client = Client::new(ccm8(), &identity, psk, [3; 32]);
        let mut sizes = Vec::new();
        let mut to_server = client.start();
        while !to_server.is_empty() {
            let mut next = Vec::new();
            for datagram in to_server {
                for (_, answer) in world.deliver(at(port), &datagram) {
                    sizes.push(answer.len());
                    next.extend(client.receive(&answer));
                }
            }
            to_server = next;
        }
        assert_eq!(client.stage, Stage::Finished, "no answer, no alert");
        assert_eq!(world.ended(), [want]);
        said.push(sizes);
        // The client repeats itself: still silence, and no second report.
        let again = client.repeat();
        world.run(&mut client, at(port), again);
        assert_eq!(world.ended(), []);
    }
    assert!(said.iter().all(|sizes| *sizes == said[0]), "{said:?}");
    assert_eq!(world.dtls.counts().1, 0);
    assert_eq!(world.disk.sessions.len(), 0);
}

#[test]
fn flights_in_small_fragments_and_any_order() {
    for (fragment, turn) in [(1, 0), (7, 1), (20, 3), (50, 2)] {
        let mut world = World::new();
        let offer = Offer {
            fragment,
            ..ccm8().with_cid(b"")
        };
        let mut client = client(1, offer, 7);
        // Without a cookie a hello must come whole.
        for datagram in client.start() {
            assert_eq!(world.deliver(at(1), &datagram), []);
        }
        client.offer.fragment = 1200;
        let hello = client.repeat();
        let answers = world.deliver(at(1), &hello[0]);
        client.offer.fragment = fragment.max(80);
        let with_cookie = client.receive(&answers[0].1);
        assert!(with_cookie.len() > 1 || fragment >= 80 || client.offer.fragment >= 80);
        // The fragments behind the first in any order.
        let mut flight = with_cookie;
        flight[1..].reverse();
        let mut answers = Vec::new();
        for datagram in &flight {
            answers.extend(world.deliver(at(1), datagram));
        }
        client.offer.fragment = fragment;
        let mut last = client.receive(&answers[0].1);
        let middle = turn % last.len();
        last.rotate_left(middle);
        world.run(&mut client, at(1), last);
        assert!(client.is_connected(), "fragments of {fragment}");
        world.talk(1, &mut client, at(1));
    }
}

#[test]
fn a_finished_that_overtakes_its_key_exchange_counts() {
    let mut world = World::new();
    let mut client = client(1, ccm8(), 7);
    let hello = client.start();
    let request = world.deliver(at(1), &hello[0]);
    let hello = client.receive(&request[0].1);
    let answer = world.deliver(at(1), &hello[0]);
    let mut flight = client.receive(&answer[0].1);
    flight.reverse();
    world.run(&mut client, at(1), flight);
    assert!(client.is_connected());
}

#[test]
fn nothing_is_kept_before_the_cookie_and_the_answer_is_no_longer() {
    let mut world = World::new();
    for port in 1..2000 {
        let mut client = client(1, ccm8(), u64::from(port));
        let hello = client.start();
        let answers = world.deliver(at(port), &hello[0]);
        assert!(answers[0].1.len() <= hello[0].len());
        // The shortest hello there is.
        client.offer.bare = true;
        client.offer.suites = vec![0xc0a8];
        let hello = client.start();
        assert!(world.deliver(at(port), &hello[0])[0].1.len() <= hello[0].len());
    }
    assert_eq!(world.dtls.counts(), (0, 0, 0));
    assert_eq!(world.dtls.counters().cookies_sent, 2 * 1999);
}

#[test]
fn a_cookie_is_good_for_its_address_and_its_time() {
    let mut world = World::new();
    let mut client = client(1, ccm8(), 7);
    let hello = client.start();
    let request = world.deliver(at(1), &hello[0]);
    let with_cookie = client.receive(&request[0].1);
    let answers = world.deliver(at(2), &with_cookie[0]);
    assert_eq!(
        answers[0].1[13], 3,
        "another address: asked to verify itself"
    );
    assert_eq!(world.dtls.counts().0, 0);
    // One change of the secret: still good. Two: not.
    world.pass(Duration::from_secs(301));
    let answers = world.deliver(at(1), &with_cookie[0]);
    assert_eq!(answers[0].1[13], 2, "a ServerHello");
    world.pass(Duration::from_secs(301));
    let mut late = Client::new(ccm8(), &name(2), PSK, [8; 32]);
    let hello = late.start();
    let request = world.deliver(at(3), &hello[0]);
    let with_cookie = late.receive(&request[0].1);
    world.pass(Duration::from_secs(700));
    let answers = world.deliver(at(3), &with_cookie[0]);
    assert_eq!(answers[0].1[13], 3, "verified anew");
    // And that is no end: the client takes the new cookie.
    late.stage = Stage::Hello;
    let flight = late.receive(&answers[0].1);
    world.run(&mut late, at(3), flight);
    assert!(late.is_connected());
}

#[test]
fn the_flight_is_repeated_with_a_timer_and_given_up() {
    let mut world = World::new();
    let mut client = client(1, ccm8(), 7);
    let hello = client.start();
    let request = world.deliver(at(1), &hello[0]);
    let with_cookie = client.receive(&request[0].1);
    let first = world.deliver(at(1), &with_cookie[0]);
    let mut at_s = Vec::new();
    for second in 1..300 {
        for (_, datagram) in world.pass(Duration::from_secs(1)) {
            assert_ne!(datagram, first[0].1, "a new record number");
            at_s.push(second);
        }
    }
    // Each rounded up by a tick, and seen at whole seconds.
    assert_eq!(at_s, [10, 29, 66]);
    assert_eq!(world.ended(), [Ended::TimedOut]);
    assert_eq!(world.dtls.counts().0, 0);
}

#[test]
fn a_repeated_hello_gets_the_same_flight_again() {
    let mut world = World::new();
    let mut client = client(1, ccm8(), 7);
    let hello = client.start();
    let request = world.deliver(at(1), &hello[0]);
    let with_cookie = client.receive(&request[0].1);
    let lost = world.deliver(at(1), &with_cookie[0]);
    let again = client.repeat();
    let answers = world.deliver(at(1), &again[0]);
    assert_eq!(
        lost[0].1[25..60],
        answers[0].1[25..60],
        "the same ServerHello"
    );
    let flight = client.receive(&answers[0].1);
    world.run(&mut client, at(1), flight);
    assert!(client.is_connected());
    assert_eq!(world.dtls.counters().flights_repeated, 1);
}

#[test]
fn the_session_is_durable_before_the_client_hears_of_it() {
    let mut world = World::new();
    world.disk_is_slow = true;
    let mut client = client(1, ccm8(), 7);
    let flight = client.start();
    world.run(&mut client, at(1), flight);
    assert_eq!(client.stage, Stage::Finished, "not answered yet");
    // The client repeats its flight meanwhile: one session all the same.
    let again = client.repeat();
    world.run(&mut client, at(1), again);
    for (_, datagram) in world.settle() {
        client.receive(&datagram);
    }
    assert!(client.is_connected());
    assert!(world.disk.sessions.contains_key(&1));
    assert_eq!(world.dtls.counts(), (0, 1, 1));
}

#[test]
fn a_full_disk_means_no_answer_and_the_next_try_succeeds() {
    let mut world = World::new();
    world.disk_is_full = true;
    let mut client = client(1, ccm8(), 7);
    let flight = client.start();
    world.run(&mut client, at(1), flight);
    assert_eq!(client.stage, Stage::Finished);
    assert_eq!(world.dtls.counts().1, 0);
    world.disk_is_full = false;
    let again = client.repeat();
    world.run(&mut client, at(1), again);
    assert!(client.is_connected());
}

#[test]
fn a_forged_key_exchange_gives_way_to_the_clients_own() {
    let mut world = World::new();
    let mut client = client(1, ccm8(), 7);
    let hello = client.start();
    let request = world.deliver(at(1), &hello[0]);
    let with_cookie = client.receive(&request[0].1);
    let answer = world.deliver(at(1), &with_cookie[0]);
    let flight = client.receive(&answer[0].1);
    // The same message number, another identity.
    let mut forged = flight[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    world.deliver(at(1), &forged);
    world.run(&mut client, at(1), flight);
    assert!(client.is_connected());
}

/// A hello whose length was bent on the way announces more than will ever come.
#[test]
fn a_hello_that_never_ends_gives_way_to_a_whole_one() {
    let mut world = World::new();
    let mut client = client(1, ccm8(), 7);
    let hello = client.start();
    let request = world.deliver(at(1), &hello[0]);
    let with_cookie = client.receive(&request[0].1);
    let mut longer = with_cookie[0].clone();
    longer[16] ^= 128;
    assert_eq!(world.deliver(at(1), &longer), []);
    world.run(&mut client, at(1), with_cookie);
    assert!(client.is_connected());
}

#[test]
fn limits_hold_and_are_counted() {
    let settings = Settings {
        handshakes_max: 10,
        handshakes_per_source_s: 25,
        ..Settings::default()
    };
    let mut world = World::with(settings, 1);
    for port in 1..=40 {
        let mut client = client(1, ccm8(), u64::from(port));
        let hello = client.start();
        let request = world.deliver(at(port), &hello[0]);
        let with_cookie = client.receive(&request[0].1);
        world.deliver(at(port), &with_cookie[0]);
    }
    let counters = world.dtls.counters();
    assert_eq!(world.dtls.counts().0, 10);
    assert_eq!((counters.throttled, counters.crowded_out), (15, 15));
    // The newest are those that are kept, and another second brings room for more.
    world.pass(Duration::from_secs(1));
    world.connect(1, ccm8(), at(999));
}

#[test]
fn the_wrong_kind_of_records_changes_nothing() {
    let mut world = World::new();
    let mut client = world.connect(1, ccm8(), at(1));
    for content_type in [20, 21, 23, 24, 26, 27, 99] {
        let record = client.plain(ContentType(content_type), &[2, 0]);
        assert_eq!(world.deliver(at(1), &record), []);
    }
    assert_eq!(world.dtls.counters().records_plaintext, 6);
    world.talk(1, &mut client, at(1));
    assert_eq!(world.disk.sessions[&1].device, DeviceSeq(1));
}

/// The lookups of a store that does not answer are left to the client's repetition.
#[test]
fn a_store_that_can_not_tell_is_asked_again() {
    let mut world = World::new();
    let device = name(1).into_bytes();
    let before = world
        .disk
        .devices
        .insert(device.clone(), Err(Unknown::Unavailable));
    let mut client = client(1, ccm8(), 7);
    let flight = client.start();
    world.run(&mut client, at(1), flight);
    assert_eq!(client.stage, Stage::Finished);
    assert_eq!(world.dtls.counters().lookups_failed, 1);
    world.disk.devices.insert(device, before.unwrap());
    let again = client.repeat();
    world.run(&mut client, at(1), again);
    assert!(client.is_connected());
}

#[test]
fn what_no_first_hello_says_is_refused_after_its_cookie() {
    let renegotiating = Offer {
        others: vec![(0xff01, vec![1, 7])],
        ..ccm8()
    };
    let compressing = Offer {
        compression: vec![1],
        ..ccm8()
    };
    for (port, offer) in (1..).zip([renegotiating, compressing]) {
        let mut world = World::new();
        let mut client = client(1, offer, 7);
        let flight = client.start();
        world.run(&mut client, at(port), flight);
        assert_eq!(client.stage, Stage::Refused(40), "handshake_failure");
    }
}
