//! Hours of everything at once, then calm weather: the ledger holds, and every device comes back.

use std::time::Duration;

use strait::sim::device::{Binding, Kind, Settings, Version};

use crate::each_seed;
use crate::world::{BAD, GOOD, World};

/// Those that post keep their port, and are registered all the time: of a refusal the server keeps
/// nothing, so that the network could repeat what was refused after the device has registered, and
/// it would count beside what the device sends anew.
const DEVICES: usize = 14;
/// From this one on they are secured: no kind of them minds where it is.
const SECURED: usize = 10;
const KINDS: [Kind; 4] = [Kind::Lwm2m, Kind::Lwm2m, Kind::Raw, Kind::RawObserved];
const VERSIONS: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];
/// Happenings of one storm, 15 s apart on the average: nearly three hours.
const HAPPENINGS: usize = 640;

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_counts_twice() {
    each_seed(async |world| {
        for number in 0..DEVICES {
            let kind = KINDS[number % KINDS.len()];
            let (version, chance) = (VERSIONS[number % 3], world.rng.u8(..));
            let sleeps = number % 2 == 1;
            let change = |settings: &mut Settings| {
                settings.version = version;
                settings.tlv = chance & 1 != 0;
                settings.first_answer_zero = chance & 2 != 0;
                if kind != Kind::Raw {
                    settings.lifetime_s = [600, 3600, 86_400][usize::from(chance) % 3];
                }
                settings.binding = if sleeps { Binding::Queue } else { Binding::Udp };
            };
            let index = if number < SECURED {
                world.add(kind, change).await
            } else {
                world.add_secured(kind, change).await
            };
            world.nodes[index].sleeps = sleeps;
            world.weather(index, BAD);
            world.report(index, true);
        }
        for _ in 0..HAPPENINGS {
            happen(world).await;
        }
        calm_down(world).await;
    });
}

async fn happen(world: &mut World) {
    let wait = world.span(Duration::from_secs(30));
    world.run(wait).await;
    let (now, index) = (world.now(), world.rng.usize(..DEVICES));
    match world.rng.u8(..100) {
        0..65 => {
            let confirmable = world.rng.u8(..10) > 0;
            world.report(index, confirmable);
        }
        65..80 => {
            let is_secured = index >= SECURED;
            if is_secured || world.nodes[index].kind != Kind::Raw {
                world.move_port(index);
            }
            // Without a connection id the device is lost to its session.
            if is_secured && world.rng.u8(..5) == 0 {
                world.shake_hands(index);
            }
        }
        80..85 => world.show_up(index),
        85..88 => world.nodes[index].device.register(now),
        88..92 => {
            let commits = world.rng.usize(1..4);
            world.server().disk.fail_next(commits);
        }
        92..96 => {
            let down = world.span(minutes(1));
            world.crash(down).await;
        }
        _ => {
            let mute = world.span(Duration::from_secs(20));
            let down = world.span(minutes(1));
            world.crash_mute(mute, down).await;
        }
    }
}

/// Under good conditions every device is heard again.
async fn calm_down(world: &mut World) {
    for index in 0..DEVICES {
        world.weather(index, GOOD);
    }
    // Whatever was begun comes to an end.
    world.run(minutes(30)).await;
    // The server asks again for an observation when the device shows itself.
    (0..DEVICES).for_each(|index| world.show_up(index));
    world.run(minutes(5)).await;
    let last: Vec<u64> = (0..DEVICES)
        .map(|index| world.report(index, true))
        .collect();
    world.run(minutes(5)).await;
    let mut acknowledged = 0;
    for (node, volume) in world.nodes.iter().zip(&last) {
        let heard = node.acknowledged();
        assert!(
            heard.contains(volume),
            "{}: {:#?}",
            node.device_id,
            node.events
        );
        acknowledged += heard.len();
    }
    let sessions = world.nodes.iter().filter_map(|n| n.session.as_ref());
    let proofs: usize = sessions.map(|s| s.proofs).sum();
    assert!(proofs > 0, "no secured device ever proved a new address");
    assert!(
        acknowledged > HAPPENINGS / 4,
        "too little came through: {acknowledged}"
    );
}
