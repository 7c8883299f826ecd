//! One thing at a time: crashes, ports, silence, deadlines, a disk that fails.

use std::time::Duration;

use serde_json::{Value, json};
use strait::base::peer::Peer;
use strait::sim::device::{Event, Kind};

use crate::each_seed;
use crate::world::{BAD, GOOD, World};

const KINDS: [Kind; 3] = [Kind::Lwm2m, Kind::Raw, Kind::RawObserved];

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// One device of each kind, registered and heard once.
async fn settled(world: &mut World) {
    for kind in KINDS {
        let index = world.add(kind, |_| {}).await;
        world.report(index, true);
    }
    world.run(minutes(2)).await;
    for node in &world.nodes {
        assert_eq!(node.acknowledged().len(), 1, "{:?}", node.events);
    }
}

#[test]
fn devices_go_on_after_a_crash_without_registering_again() {
    each_seed(async |world| {
        settled(world).await;
        for round in 0..10 {
            for index in 0..KINDS.len() {
                world.report(index, true);
            }
            let (before, down) = (world.span(minutes(1)) / 10, world.span(minutes(1)) / 4);
            world.run(before).await;
            if round % 2 == 0 {
                world.crash(down).await;
            } else {
                let mute = world.span(Duration::from_secs(10));
                world.crash_mute(mute, down).await;
            }
            world.run(minutes(8)).await;
        }
        for node in &world.nodes {
            assert_eq!(node.registrations(), 1, "{:#?}", node.events);
            // A post whose empty acknowledgement came is not repeated: it may have died with the
            // server.
            let least = if node.kind == Kind::Raw { 5 } else { 11 };
            assert!(node.acknowledged().len() >= least, "{:#?}", node.events);
        }
    });
}

#[test]
fn a_notification_from_another_port_is_taken() {
    each_seed(async |world| {
        settled(world).await;
        for _ in 0..5 {
            for (index, kind) in KINDS.into_iter().enumerate() {
                let before = world.nodes[index].address;
                world.move_port(index);
                let volume = world.report(index, true);
                world.run(minutes(1)).await;
                let node = &world.nodes[index];
                assert!(node.acknowledged().contains(&volume), "{:#?}", node.events);
                let directory = &world.server().platform.directory;
                assert_eq!(directory.by_address(node.address), Some(node.id()));
                assert_eq!(directory.by_address(before), None);
                // Nothing but its address tells whose a post is.
                let again = if kind == Kind::Raw { 5 } else { 0 };
                assert!(node.registrations() <= 1 + again, "{:#?}", node.events);
            }
        }
    });
}

#[test]
fn silence_is_told_once_and_ends_the_registration() {
    each_seed(async |world| {
        let index = world
            .add(Kind::Lwm2m, |settings| settings.lifetime_s = 300)
            .await;
        world.report(index, true);
        world.run(minutes(1)).await;
        let address = world.nodes[index].address;
        world.nodes[index].is_off = true;
        assert_eq!(world.statuses(index), ["ONLINE"]);
        // The lifetime, and the grace of its last update: 458 s after it was heard.
        assert!(is_reachable(world, index));
        world.run(minutes(6)).await;
        assert!(is_reachable(world, index));
        world.run(minutes(2)).await;
        assert!(!is_reachable(world, index));
        assert_eq!(world.server().platform.directory.by_address(address), None);
        // A crash on the way changes nothing.
        world.crash(minutes(1)).await;
        assert!(!is_reachable(world, index));
        world.run(minutes(25 * 60 - 15)).await;
        assert_eq!(world.statuses(index), ["ONLINE"]);
        world.run(minutes(10)).await;
        assert_eq!(world.statuses(index), ["ONLINE", "ABNORMAL"]);
        world.crash(minutes(1)).await;
        world.run(minutes(24 * 60 - 15)).await;
        assert_eq!(world.statuses(index), ["ONLINE", "ABNORMAL"]);
        // Over the moment itself nobody is there to see it.
        world.crash(minutes(20)).await;
        world.run(minutes(10 * 60)).await;
        assert_eq!(world.statuses(index), ["ONLINE", "ABNORMAL", "OFFLINE"]);
        let seen = world.events_of(index, "last_online_time");
        assert_eq!(seen[1], seen[2]);
        // It speaks again: by the location and the token of two days ago.
        world.nodes[index].is_off = false;
        let volume = world.report(index, true);
        world.run(minutes(2)).await;
        let node = &world.nodes[index];
        assert!(node.acknowledged().contains(&volume), "{:#?}", node.events);
        assert_eq!(
            (node.registrations(), node.count(|e| *e == Event::Gone)),
            (1, 0)
        );
        assert!(is_reachable(world, index));
        assert_eq!(
            world.statuses(index),
            ["ONLINE", "ABNORMAL", "OFFLINE", "ONLINE"]
        );
    });
}

fn is_reachable(world: &World, index: usize) -> bool {
    let directory = &world.server().platform.directory;
    directory.peer_of(&world.nodes[index].id()).is_some()
}

impl World {
    /// One field of every status event.
    fn events_of(&self, index: usize, field: &str) -> Vec<Value> {
        let device_id = &self.nodes[index].device_id;
        let events = self.server().events(device_id, "device.status");
        events.iter().map(|body| body[field].clone()).collect()
    }

    fn statuses(&self, index: usize) -> Vec<Value> {
        self.events_of(index, "status")
    }
}

#[test]
fn a_device_that_is_not_activated_in_time_is_deleted() {
    each_seed(async |world| {
        let limit = json!({"timeout": 600});
        world.server().create_device("p", "never", limit).await;
        // Created without a limit, and limited once it is active.
        let index = world.add(Kind::Lwm2m, |_| {}).await;
        let active = world.nodes[index].device_id.clone();
        world.report(index, true);
        let limit = json!({"auth_info": {"timeout": 600}});
        let path = format!("/v5/iot/x/devices/{active}");
        world.server().call("PUT", &path, &limit).await;
        let down = world.span(minutes(5));
        world.crash(down).await;
        world.run(minutes(9) - down).await;
        assert!(world.server().device("p_never").is_some());
        world.run(minutes(2)).await;
        assert!(world.server().device("p_never").is_none());
        let told = world.server().events("p_never", "device");
        assert_eq!(told.len(), 2, "created and deleted: {told:?}");
        world.run(minutes(60)).await;
        assert!(world.server().device(&active).is_some());
    });
}

#[test]
fn without_the_disk_nothing_is_acknowledged_and_what_is_repeated_counts_once() {
    each_seed(async |world| {
        settled(world).await;
        for _ in 0..3 {
            let volumes: Vec<_> = (0..KINDS.len()).map(|i| world.report(i, true)).collect();
            world.server().disk.fail_next(5);
            // Two tries of each.
            world.run(Duration::from_secs(20)).await;
            for (node, volume) in world.nodes.iter().zip(&volumes) {
                let written = node.history(world.server()).contains(volume);
                let acknowledged = node.acknowledged().contains(volume);
                assert!(written || !acknowledged, "{:#?}", node.events);
            }
            world.run(minutes(5)).await;
            for (node, volume) in world.nodes.iter().zip(&volumes) {
                assert!(node.acknowledged().contains(volume), "{:#?}", node.events);
            }
        }
        for node in &world.nodes {
            assert_eq!(node.history(world.server()), [1, 2, 3, 4]);
            assert_eq!(node.registrations(), 1);
        }
    });
}

#[test]
fn secured_devices_go_on_wherever_they_are_and_whoever_dies() {
    each_seed(async |world| {
        for kind in KINDS {
            let index = world.add_secured(kind, |_| {}).await;
            world.report(index, true);
        }
        world.run(minutes(2)).await;
        for round in 0..8 {
            let mut volumes = Vec::new();
            for index in 0..KINDS.len() {
                world.move_port(index);
                if round % 4 == 3 {
                    world.shake_hands(index);
                }
                volumes.push(world.report(index, true));
            }
            if round % 2 == 1 {
                let before = world.span(Duration::from_secs(6));
                let mute = world.span(Duration::from_secs(6));
                // So short that the device still repeats itself after it.
                let down = world.span(Duration::from_secs(30));
                world.run(before).await;
                world.crash_mute(mute, down).await;
            }
            world.run(minutes(4)).await;
            for (node, volume) in world.nodes.iter().zip(&volumes) {
                let peer = Peer::Secured(world.server().seq(&node.device_id));
                let directory = &world.server().platform.directory;
                assert_eq!(directory.peer_of(&node.id()), Some(peer));
                assert_eq!(node.registrations(), 1, "{:#?}", node.events);
                // A post whose empty acknowledgement came is not repeated.
                let heard = node.acknowledged().contains(volume);
                assert!(heard || node.kind == Kind::Raw, "{:#?}", node.events);
            }
        }
        // Acknowledgements get lost, so devices repeat what counts already.
        for index in 0..KINDS.len() {
            world.weather(index, BAD);
            world.report(index, true);
        }
        world.run(minutes(4)).await;
        (0..KINDS.len()).for_each(|index| world.weather(index, GOOD));
        // Long after, what was recorded on the way counts for nothing, and a device that was moved
        // by it is heard again.
        world.crash(minutes(20)).await;
        for index in 0..KINDS.len() {
            world.replay(index).await;
        }
        world.run(minutes(1)).await;
        for index in 0..KINDS.len() {
            let history = world.nodes[index].history(world.server());
            let volume = world.report(index, true);
            world.run(minutes(4)).await;
            let node = &world.nodes[index];
            let now = node.history(world.server());
            assert_eq!(now, [&history[..], &[volume]].concat());
            assert!(node.acknowledged().contains(&volume), "{:#?}", node.events);
        }
    });
}
