use std::collections::BTreeMap;

use proptest::prelude::*;

use super::coverage::{Level, Measurement, TableError};
use super::*;

const CELL: CellId = CellId(7);

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn place(cell: u64, pool: Pool) -> Place {
    Place {
        cell: CellId(cell),
        pool,
    }
}

const fn level(n: u8) -> Pool {
    Pool::Level(match n {
        0 => Level::Zero,
        1 => Level::One,
        _ => Level::Two,
    })
}

fn caps_only() -> Settings {
    Settings {
        airtime: airtime::Settings {
            on: false,
            ..airtime::Settings::default()
        },
        ..Settings::default()
    }
}

fn all_turns(admission: &mut Admission, ms: u64) -> Vec<u64> {
    std::iter::from_fn(|| admission.next(at(ms))).collect()
}

/// RSRP, SINR, 4/0/13, and the pool.
#[test]
fn the_weaker_measurement_decides() {
    let unknown = Some(Pool::Unmeasured);
    let rows = [
        (Some(-105), Some(7), None, Some(level(0))),
        (Some(-106), Some(30), None, Some(level(1))),
        (Some(-80), Some(6), None, Some(level(1))),
        (Some(-115), Some(-3), None, Some(level(1))),
        (Some(-116), Some(20), None, Some(level(2))),
        (Some(-80), Some(-4), None, Some(level(2))),
        (Some(-140), Some(20), Some(0), Some(level(2))),
        (Some(-80), Some(-30), None, Some(level(2))),
        (Some(-80), None, Some(0), Some(level(0))),
        (Some(-80), None, Some(1), Some(level(0))),
        (None, None, Some(2), Some(level(1))),
        (None, Some(20), Some(3), Some(level(2))),
        (Some(-80), None, Some(4), Some(level(2))),
        (Some(-80), None, Some(5), unknown),
        (Some(-80), None, None, unknown),
        (None, None, None, unknown),
    ];
    let table = Table::default();
    for (rsrp_dbm, sinr_db, enhancement_level, want) in rows {
        let measured = Measurement {
            cell: Some(CELL),
            rsrp_dbm,
            sinr_db,
            enhancement_level,
        };
        let got = table.place(measured).map(|place| place.pool);
        assert_eq!(got, want, "{measured:?}");
        let nowhere = Measurement {
            cell: None,
            ..measured
        };
        assert_eq!(table.place(nowhere), None);
    }
}

#[test]
fn tables_that_are_none_are_refused() {
    assert_eq!(Table::default().check(), Ok(()));
    let mut table = Table::default();
    table.levels[1].slots = 0;
    let error = table.check().unwrap_err();
    assert_eq!(error, TableError::Slots { pool: level(1) });
    table = Table::default();
    table.levels[2].sinr_min_db = -3;
    let error = table.check().unwrap_err();
    let want = "level 2 begins at -3 dB, takes less than level 1 does: -3";
    assert_eq!(error.to_string(), want);
}

/// A pool takes as many as its slots; then first attempts go before retries, and who was measured first.
#[test]
fn slots_go_in_order() {
    let mut admission = Admission::new(caps_only());
    for device in 0..14 {
        let attempt = u8::from(device == 10);
        admission.measured(at(device), device, place(7, level(1)), attempt);
    }
    assert_eq!(all_turns(&mut admission, 20), (0..10).collect::<Vec<_>>());
    let text = |admission: &Admission, device| {
        let reason = admission.explain(at(20), device);
        reason.map(|r| r.to_string())
    };
    let want = "waits for a slot of cell 7 level 1: 10 of 10 taken, behind 3";
    assert_eq!(text(&admission, 10).as_deref(), Some(want));
    // A sleeping head keeps its rank, and holds up nobody.
    admission.asleep(11);
    assert_eq!(text(&admission, 11).as_deref(), Some("asleep, behind 0"));
    admission.leave(3);
    assert_eq!(all_turns(&mut admission, 21), [12]);
    admission.awake(11);
    admission.leave(4);
    assert_eq!(all_turns(&mut admission, 22), [11]);
    // What could not be written down goes back; the next one is not lost.
    admission.take_back(11);
    assert_eq!(all_turns(&mut admission, 23), [13]);
    admission.confirm(13);
    admission.take_back(13);
    assert_eq!(text(&admission, 13), None, "a confirmed slot stays");
    admission.awake(11);
    admission.leave(13);
    assert_eq!(all_turns(&mut admission, 24), [11]);
    assert_eq!(admission.taken(place(7, level(1))), 10);
    // Measured again it stays where it holds a slot.
    admission.measured(at(25), 11, place(8, level(2)), 0);
    assert!(all_turns(&mut admission, 25).is_empty());
}

/// Pools and cells are independent; a device without coverage has ten slots of its own.
#[test]
fn pools_are_independent() {
    let mut admission = Admission::new(caps_only());
    let mut device = 0;
    let pools = [
        (level(0), 50),
        (level(1), 10),
        (level(2), 1),
        (Pool::Unmeasured, 10),
    ];
    for cell in [1, 2] {
        for (pool, _) in pools {
            for _ in 0..60 {
                device += 1;
                admission.measured(at(device), device, place(cell, pool), 0);
            }
        }
    }
    assert_eq!(all_turns(&mut admission, 1000).len(), 2 * 71);
    for (pool, slots) in pools {
        assert_eq!(admission.taken(place(2, pool)), slots);
        assert_eq!(
            admission.waiting(CellId(2), pool).count(),
            60 - slots as usize
        );
    }
}

/// A budget admits few at first, more while nobody gets slower, and stops before downloads would be late.
#[test]
fn a_budget_follows_the_acknowledgements() {
    let mut admission = Admission::new(Settings::default());
    for device in 0..60 {
        admission.measured(at(0), device, place(7, level(0)), 0);
    }
    let mut running = all_turns(&mut admission, 0);
    assert_eq!(running.len(), 4);
    let reason = admission.explain(at(0), 59).unwrap().to_string();
    let want = "waits for airtime of cell 7 level 0: 4 downloads, the cell carries 4, behind 55";
    assert_eq!(reason, want);
    // A carrier that gives ten fragments a second to all of them together, and nobody more than one.
    let mut done = BTreeMap::new();
    let mut now = 0;
    while now < 1_200_000 {
        let each_ms = 1000.max(100 * running.len() as u64);
        now += each_ms;
        for device in &running {
            let done = done.entry(*device).or_insert(0);
            *done += 1;
            admission.acknowledged(at(now), *device, *done, 2000);
        }
        let more = all_turns(&mut admission, now);
        running.extend(more);
    }
    // At 1.53 s a fragment 2000 of them take 51 minutes.
    assert!((11..=17).contains(&running.len()), "{}", running.len());
    // Who has fetched all needs no airtime, though it holds its slot.
    admission.acknowledged(at(now), running[0], 2000, 2000);
    let more = all_turns(&mut admission, now);
    assert_eq!(more.len(), 1);
}

/// Nobody acknowledges anything: after three minutes the next ones go, so a cell never gets stuck.
#[test]
fn silence_stops_nobody_for_ever() {
    let mut admission = Admission::new(Settings::default());
    for device in 0..9 {
        admission.measured(at(0), device, place(7, level(0)), 0);
    }
    assert_eq!(all_turns(&mut admission, 0).len(), 4);
    assert!(all_turns(&mut admission, 1000).is_empty());
    admission.leave(0);
    assert_eq!(all_turns(&mut admission, 200_000).len(), 4);
}

#[test]
fn waiters_are_kept_awake_within_bounds() {
    let keep_awake = KeepAwake {
        devices: 2,
        time_ms: 25_000,
    };
    let mut admission = Admission::new(Settings {
        keep_awake: Some(keep_awake),
        ..caps_only()
    });
    for device in 0..4 {
        admission.measured(at(0), device, place(7, level(2)), 0);
    }
    assert_eq!(all_turns(&mut admission, 0), [0]);
    assert_eq!(admission.keep_awake(at(0), 3, at(0)), None, "third in line");
    assert_eq!(admission.keep_awake(at(0), 2, at(0)), Some(10_000));
    assert_eq!(admission.keep_awake(at(20_000), 2, at(0)), Some(5_000));
    assert_eq!(admission.keep_awake(at(25_000), 2, at(0)), None);
    assert_eq!(admission.kept_awake_ms(), 15_000);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Measured(u64, u64, u8, u8),
    Awake(u64),
    Asleep(u64),
    Acknowledged(u64, u32),
    Leave(u64),
    Turns(bool),
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = 0..40_u64;
    let step = prop_oneof![
        4 => (device.clone(), 0..2_u64, 0..4_u8, 0..3_u8)
            .prop_map(|(d, cell, pool, attempt)| Step::Measured(d, cell, pool, attempt)),
        1 => device.clone().prop_map(Step::Awake),
        1 => device.clone().prop_map(Step::Asleep),
        2 => (device.clone(), 0..120_u32).prop_map(|(d, done)| Step::Acknowledged(d, done)),
        2 => device.prop_map(Step::Leave),
        3 => any::<bool>().prop_map(Step::Turns),
        1 => Just(Step::Rebuild),
    ];
    proptest::collection::vec(step, 0..300)
}

/// The rows as a store would have them: where, whether held, when measured, attempt.
type Rows = BTreeMap<u64, Row>;

fn apply(admission: &mut Admission, rows: &mut Rows, settings: Settings, now: u64, step: Step) {
    match step {
        Step::Measured(device, cell, pool, attempt) => {
            let pool = if pool == 3 {
                Pool::Unmeasured
            } else {
                level(pool)
            };
            let place = place(cell, pool);
            admission.measured(at(now), device, place, attempt);
            let before = rows.get(&device).copied();
            if before.is_some_and(|row| row.holds) {
                return;
            }
            let same = before.filter(|row| row.attempt == attempt);
            let row = Row {
                device,
                place,
                holds: false,
                measured_at: same.map_or_else(|| at(now), |row| row.measured_at),
                attempt,
            };
            rows.insert(device, row);
        }
        Step::Awake(device) => admission.awake(device),
        Step::Asleep(device) => admission.asleep(device),
        Step::Acknowledged(device, done) => admission.acknowledged(at(now), device, done, 100),
        Step::Leave(device) => {
            admission.leave(device);
            admission.leave(device);
            rows.remove(&device);
        }
        Step::Turns(is_durable) => {
            while let Some(device) = admission.next(at(now)) {
                if is_durable {
                    admission.confirm(device);
                    rows.get_mut(&device).unwrap().holds = true;
                } else {
                    admission.take_back(device);
                }
            }
        }
        Step::Rebuild => {
            *admission = Admission::rebuild(settings, at(now), rows.values().copied());
        }
    }
}

proptest! {
    /// Whatever happens, slots are those of the rows, never more than the table's, and lines have the order of the rows.
    #[test]
    fn slots_are_neither_leaked_nor_counted_twice(steps in steps(), budget: bool) {
        let settings = if budget { Settings::default() } else { caps_only() };
        let mut admission = Admission::new(settings);
        let mut rows = Rows::new();
        for (n, step) in steps.into_iter().enumerate() {
            apply(&mut admission, &mut rows, settings, n as u64 * 500, step);
            for cell in 0..2 {
                for pool in Pool::WEAKEST_FIRST {
                    let place = place(cell, pool);
                    let here = rows.values().filter(|row| row.place == place);
                    let (held, mut waits): (Vec<Row>, Vec<Row>) = here.copied().partition(|row| row.holds);
                    waits.sort_by_key(|row: &Row| (row.attempt, row.measured_at, row.device));
                    let waits: Vec<_> = waits.into_iter().map(|row| row.device).collect();
                    prop_assert_eq!(admission.taken(place) as usize, held.len());
                    prop_assert!(held.len() <= settings.table.slots(pool) as usize);
                    prop_assert_eq!(admission.waiting(CellId(cell), pool).collect::<Vec<_>>(), waits);
                }
            }
        }
    }
}
