use super::bound::{Job, lower_bound_us};
use super::campaign::{Gate, Outcome, SECOND, Scenario, run};
use super::radio::{Radio, fragments};

/// The figures of the model: kbit/s alone and of the cell, seconds and airtime of a fragment, minutes of 64 KB,
/// 256 KB and 1 MB alone.
#[test]
fn the_model_has_its_figures() {
    let want = [
        ("24.6 102.0", "0.62 0.053", "1.4 5.4 21.7"),
        ("7.5 10.6", "1.63 0.512", "3.6 14.2 56.9"),
        ("1.0 1.1", "9.09 4.779", "20.0 79.6 317.9"),
    ];
    for (radio, want) in Radio::levels(1.0).into_iter().zip(want) {
        let kbps = |bps: u64| bps as f64 / 1000.0;
        let seconds = |us: u64| us as f64 / SECOND as f64;
        let minutes = |bytes| seconds(u64::from(fragments(bytes)) * radio.fragment_us()) / 60.0;
        let rates = format!(
            "{:.1} {:.1}",
            kbps(radio.alone_bps()),
            kbps(radio.capacity_bps())
        );
        let fragment = format!(
            "{:.2} {:.3}",
            seconds(radio.fragment_us()),
            seconds(radio.fragment_airtime_us())
        );
        let downloads = [64, 256, 1024].map(|kb| format!("{:.1}", minutes(kb * 1024)));
        assert_eq!((&*rates, &*fragment, &*downloads.join(" ")), want);
    }
    let [slow, ..] = Radio::levels(0.5);
    let [model, ..] = Radio::levels(1.0);
    assert_eq!(slow.fragment_us(), 2 * model.fragment_us());
}

/// Each of the three terms of the bound in turn: a late single, a pool that is full, a carrier that is full.
#[test]
fn the_bound_is_the_worst_of_three() {
    let job = |reachable_us, alone_us, airtime_us| Job {
        reachable_us,
        alone_us,
        slot_us: alone_us,
        airtime_us,
        pool: 0,
    };
    let cases = [
        (vec![], 1, 0),
        (vec![job(0, 10, 1), job(100, 10, 1)], 1, 110),
        (vec![job(0, 10, 1), job(5, 10, 1), job(5, 10, 1)], 1, 30),
        (vec![job(0, 10, 1), job(5, 10, 1), job(5, 10, 1)], 2, 15),
        (vec![job(0, 10, 9), job(5, 10, 9), job(5, 10, 9)], 3, 27),
    ];
    for (jobs, slots, want) in cases {
        assert_eq!(lower_bound_us(&jobs, &[slots]), want, "{jobs:?}");
    }
}

/// Admits everybody at once.
#[derive(Default)]
struct Open(Vec<u32>);

impl Gate for Open {
    fn measured(&mut self, _: u64, device: u32, _: usize, _: u32) {
        self.0.push(device);
    }
    fn awake(&mut self, _: u64, device: u32) {
        self.0.push(device);
    }
    fn asleep(&mut self, _: u64, _: u32) {}
    fn keeps_awake(&mut self, _: u64, _: u32) -> bool {
        false
    }
    fn acknowledged(&mut self, _: u64, _: u32, _: u32, _: u32) {}
    fn ended(&mut self, _: u64, _: u32) {}
    fn admitted(&mut self, _: u64, to: &mut Vec<u32>) {
        to.append(&mut self.0);
    }
}

fn outcome(scenario: &Scenario) -> Outcome {
    run(scenario, 3, &mut Open::default())
}

fn lossless(devices: [u32; 3], package_bytes: u32) -> Scenario {
    Scenario {
        devices,
        package_bytes,
        block_loss: 0.0,
        answer_loss: 0.0,
        ..Scenario::default()
    }
}

/// One device alone takes what the formula says; with loss it takes longer; what a seed gave it gives again.
#[test]
fn one_device_alone_is_as_fast_as_the_bound() {
    for devices in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
        let alone = outcome(&lossless(devices, 64 * 1024));
        assert_eq!(alone.succeeded, 1);
        let late = alone.makespan_us.abs_diff(alone.bound_us);
        assert!(late < SECOND, "{alone:?}");
        let lossy = Scenario {
            block_loss: 0.05,
            ..lossless(devices, 64 * 1024)
        };
        let (one, two) = (outcome(&lossy), outcome(&lossy));
        assert!(one.makespan_us > alone.makespan_us);
        assert_eq!(one.makespan_us, two.makespan_us);
    }
}

/// Fifty at once share one carrier: nobody is in time without resuming, and with it a campaign ends.
#[test]
fn a_shared_carrier_is_no_faster_than_its_airtime() {
    let crowd = lossless([50, 0, 0], 1024 * 1024);
    let resumed = outcome(&crowd);
    assert_eq!((resumed.succeeded, resumed.timed_out), (50, 50));
    assert!(
        resumed.ratio() >= 1.0 && resumed.ratio() < 1.1,
        "{}",
        resumed.ratio()
    );
    let lost = outcome(&Scenario {
        resumes: false,
        ..crowd
    });
    assert_eq!((lost.succeeded, lost.timed_out), (0, 300));
}
