//! Whole upgrades of whole devices in virtual time, over CoAP, with every fault.

use super::platform::{FRAGMENT, Platform, Way};
use super::*;
use crate::sim::upgrade::pcp::Stack;
use crate::sim::upgrade::{Event as Upgrade, Expected, Fault, Habits};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// 16 fragments, or 4 blocks.
fn package() -> Vec<u8> {
    let mut bytes = b"version=V2.0\n".to_vec();
    bytes.extend((0u8..=255).cycle().take(15 * FRAGMENT + 40 - bytes.len()));
    bytes
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    At,
    Lwm2m,
    Fota,
}

impl Manner {
    const ALL: [Self; 3] = [Self::At, Self::Lwm2m, Self::Fota];

    fn habits(self, pace: Duration) -> Habits {
        let mut habits = match self {
            Self::At => Habits::software(Stack::AtModule, "V1.0"),
            Self::Lwm2m => Habits::software(Stack::Lwm2m, "V1.0"),
            Self::Fota => Habits::firmware("V1.0"),
        };
        if let Some(software) = &mut habits.software {
            software.pace = pace;
        }
        if let Some(firmware) = &mut habits.firmware {
            firmware.pace = pace;
        }
        habits.expected = Some(Expected::new(&package()));
        habits
    }

    fn way(self) -> Way {
        match self {
            Self::At | Self::Lwm2m => Way::Software,
            Self::Fota => Way::Firmware,
        }
    }
}

/// A device, its platform and what happened.
struct World {
    device: Device,
    platform: Platform,
    now: Instant,
    told: Vec<Event>,
    /// Datagrams that came while the radio was off.
    unheard: u32,
}

impl World {
    fn new(manner: Manner, habits: Habits, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new("867725038317248", Kind::Lwm2m, 1);
        settings.upgrade = Some(habits);
        settings.wakes = Some(Wakes {
            period: HOUR,
            payload: vec![1],
        });
        change(&mut settings);
        let mut device = Device::new(settings);
        let now = Clock::manual(Timestamp::from_ms(0)).instant();
        device.register(now);
        Self {
            device,
            platform: Platform::new(manner.way(), &package()),
            now,
            told: Vec::new(),
            unheard: 0,
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.turn();
            let deadlines = [self.device.deadline(), self.platform.deadline()];
            let next = deadlines.into_iter().flatten().min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            if self.device.deadline().is_some_and(|at| at <= self.now) {
                self.device.tick(self.now);
            }
            self.platform.tick(self.now);
        }
        self.now = end;
    }

    /// Everything of one moment.
    fn turn(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(datagram) = self.device.transmit() {
                is_quiet = false;
                self.platform.hear(self.now, &datagram);
            }
            for datagram in std::mem::take(&mut self.platform.out) {
                is_quiet = false;
                if self.device.is_listening(self.now) {
                    self.device.receive(self.now, &datagram);
                } else {
                    self.unheard += 1;
                }
            }
            self.told.extend(std::iter::from_fn(|| self.device.event()));
            if is_quiet {
                return;
            }
        }
    }

    fn runs(&self, manner: Manner) -> String {
        let upgrader = self.device.upgrader().unwrap();
        match manner {
            Manner::At | Manner::Lwm2m => upgrader.software_version().to_owned(),
            Manner::Fota => upgrader.firmware_version().to_owned(),
        }
    }

    /// What must be true of any device, however bad: the platform's bytes are the package's, and
    /// nothing else was executed.
    fn check(&self) {
        let record = self.device.upgrader().unwrap().record();
        assert_eq!(record.wrong, 0, "{record:?}");
        assert!(record.executed <= record.downloaded, "{record:?}");
        for execution in &record.executions {
            assert_eq!(execution.hash, Expected::new(&package()).hash());
            assert_eq!(execution.intact, Some(true));
        }
    }
}

#[test]
fn each_manner_upgrades_over_coap() {
    for manner in Manner::ALL {
        let mut world = World::new(manner, manner.habits(Duration::ZERO), |_| {});
        world.run(DAY);
        world.check();
        let end = Some((0, "V2.0".to_owned()));
        assert_eq!(world.platform.end, end, "{manner:?}");
        assert_eq!(world.runs(manner), "V2.0");
        let record = world.device.upgrader().unwrap().record();
        let requests = if manner == Manner::Fota { 4 } else { 16 };
        assert_eq!((record.requests, record.installed), (requests, 1));
        let registrations = |e: &&Event| matches!(e, Event::Registered { .. });
        let registrations = world.told.iter().filter(registrations).count();
        // An AT module is not what restarts.
        let want = if manner == Manner::At { 1 } else { 2 };
        assert_eq!(registrations, want, "{manner:?}");
        let is_business = |e: &&Event| {
            matches!(
                e,
                Event::Executed { .. } | Event::Downlink { .. } | Event::AnswerSent { .. }
            )
        };
        assert_eq!(world.told.iter().find(is_business), None);
    }
}

/// Every fault, many seeds: who can upgrade does, who can't doesn't, and never does one run what it
/// did not get.
#[test]
fn every_fault_ends_as_it_must() {
    for seed in 0..300u64 {
        for manner in Manner::ALL {
            let mut rng = fastrand::Rng::with_seed(seed);
            let fault = Fault::drawn(&mut rng, if manner == Manner::Fota { 4 } else { 16 });
            let mut habits = manner.habits(Duration::from_secs(3));
            habits.fault = Some(fault.clone());
            let mut world = World::new(manner, habits, |_| {});
            world.run(HOUR * 20);
            world.check();
            let about = format!(
                "seed {seed}, {manner:?}, {fault:?}: {:?}",
                world.platform.end
            );
            let record = world.device.upgrader().unwrap().record();
            if fault.is_survivable() {
                assert_eq!(world.runs(manner), "V2.0", "{about}\n{record:?}");
                let end = Some((0, "V2.0".to_owned()));
                assert_eq!(world.platform.end, end, "{about}\n{record:?}");
            }
            match &fault {
                Fault::NeverOnline => assert_eq!(world.told, [], "{about}"),
                Fault::Corrupts(_) | Fault::Refuses(..) => {
                    assert_eq!(record.installed, 0, "{about}");
                    assert_eq!(world.runs(manner), "V1.0", "{about}");
                }
                Fault::KeepsOldVersion => {
                    let end = Some((0, "V1.0".to_owned()));
                    assert_eq!(world.platform.end, end, "{about}");
                }
                Fault::AsksForeign | Fault::AsksBeyond => {
                    assert!(world.platform.strays > 0, "{about}");
                }
                Fault::Floods(_) => assert!(world.platform.requests > 30 || manner == Manner::Fota),
                Fault::LosesPower { .. } => assert!(record.power_losses >= 1, "{about}"),
                _ => {}
            }
        }
    }
}

#[test]
fn the_same_device_does_the_same_again() {
    for manner in Manner::ALL {
        let story = || {
            let mut habits = manner.habits(Duration::from_secs(3));
            let mut rng = fastrand::Rng::with_seed(6);
            habits.fault = Some(Fault::drawn(&mut rng, 16));
            let mut world = World::new(manner, habits, |_| {});
            world.run(DAY);
            world.told
        };
        assert_eq!(story(), story(), "{manner:?}");
    }
}

/// Wakes every six hours, listens for 20 s, and keeps its radio on for 10 s of an upgrade at most.
#[test]
fn a_sleeper_goes_on_where_it_was_at_its_next_report() {
    for manner in [Manner::Lwm2m, Manner::Fota] {
        let habits = manner.habits(Duration::from_secs(4));
        let mut world = World::new(manner, habits, |settings| {
            settings.conduct.awake = Some(Duration::from_secs(20));
            settings.conduct.awake_max = Some(Duration::from_secs(10));
            settings.wakes = Some(Wakes {
                period: 6 * HOUR,
                payload: vec![1],
            });
        });
        world.run(30 * DAY);
        world.check();
        assert_eq!(world.runs(manner), "V2.0", "{manner:?}");
        assert_eq!(world.platform.end, Some((0, "V2.0".to_owned())));
        let record = world.device.upgrader().unwrap().record();
        assert_eq!((record.begun, record.downloaded), (1, 1), "{record:?}");
        let reports = |e: &&Event| matches!(e, Event::Acknowledged { .. });
        let reports = world.told.iter().filter(reports).count();
        assert!((118..=121).contains(&reports), "{manner:?}: {reports}");
        // It took more than one wake-up.
        let installed = |e: &Event| matches!(e, Event::Upgrade(Upgrade::Installed { .. }));
        let before = world.told.iter().position(installed).unwrap();
        let wakes = world.told[..before].iter();
        let wakes = wakes.filter(|e| matches!(e, Event::Sent { .. })).count();
        assert!(wakes >= 2, "{manner:?}: {wakes}");
    }
}

/// Off means off: nothing is heard, nothing said, and reports wait.
#[test]
fn without_power_it_is_silent() {
    let manner = Manner::Lwm2m;
    let mut world = World::new(manner, manner.habits(Duration::from_secs(3)), |_| {});
    world.run(HOUR + Duration::from_secs(10));
    let had = world.device.upgrader().unwrap().record().pieces;
    assert!((1..15).contains(&had), "{had}");
    world.device.power_off(world.now, HOUR);
    assert!(world.device.is_off() && !world.device.is_listening(world.now));
    let id = world.device.report(world.now, vec![7], true);
    world.device.receive(world.now, &[0x40, 1, 0, 1]);
    assert_eq!(world.device.transmit(), None);
    assert_eq!(world.device.deadline(), Some(world.now + HOUR));
    world.run(HOUR - Duration::from_secs(1));
    assert_eq!(world.device.upgrader().unwrap().record().pieces, had);
    world.run(HOUR);
    assert!(world.told.contains(&Event::Acknowledged { report: id }));
    assert_eq!(world.runs(manner), "V2.0");
    let record = world.device.upgrader().unwrap().record();
    // The power cut and the restart to install.
    assert_eq!(
        (record.begun, record.resumed, record.power_losses),
        (1, 1, 2)
    );
}

#[test]
fn the_registration_lists_the_objects_that_there_are() {
    use crate::sim::upgrade::CellObject;
    let cases = [
        (Manner::Lwm2m, CellObject::Absent, "</1/0>,</3/0>,</19/0>"),
        (Manner::Fota, CellObject::V1_0, "</3/0>,</4/0>,</5/0>,"),
        (Manner::Fota, CellObject::V1_1, "</4>;ver=1.1,</4/0>,</5/0>"),
    ];
    for (manner, object, want) in cases {
        let mut habits = manner.habits(Duration::ZERO);
        habits.radio.object = object;
        let mut bench = Bench::with(Settings {
            upgrade: Some(habits),
            ..Settings::new("1", Kind::Lwm2m, 1)
        });
        bench.device.register(bench.now);
        let links = String::from_utf8(bench.sent_one().payload).unwrap();
        assert!(links.contains(want), "{links}");
    }
}
