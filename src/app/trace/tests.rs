//! Rings, their ends, and filters.

use super::*;

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn entry(ms: u64) -> TraceEntry {
    TraceEntry::new(at(ms), "uplink", Direction::Up, format!("at {ms}"))
}

fn kept(tracer: &Tracer, device: &str, filter: Filter) -> Vec<u64> {
    let entries = tracer.entries(&id(device), &[], filter, usize::MAX);
    entries.iter().map(|e| e.time.as_ms()).collect()
}

#[test]
fn keeps_the_newest_of_the_traced_alone() {
    let tracer = Tracer::new(2);
    tracer.record(&id("a"), entry(0));
    tracer.start(&id("a"), None, at(0)).unwrap();
    tracer.start(&id("b"), None, at(0)).unwrap();
    assert!(tracer.is_on(&id("a")) && !tracer.is_on(&id("c")));
    let error = tracer.start(&id("c"), None, at(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 devices are traced already, stop one first: a, b"
    );
    for ms in 1..=RING_MAX as u64 + 5 {
        tracer.record(&id("a"), entry(ms));
    }
    let times = kept(&tracer, "a", Filter::default());
    assert_eq!(times.len(), RING_MAX);
    assert_eq!((times[0], times[RING_MAX - 1]), (RING_MAX as u64 + 5, 6));
    tracer.stop(&id("a"));
    tracer.start(&id("c"), None, at(0)).unwrap();
    assert!(kept(&tracer, "a", Filter::default()).is_empty());
}

#[test]
fn a_trace_ends_by_itself_and_makes_room_when_another_is_wanted() {
    let tracer = Tracer::new(2);
    tracer.start(&id("a"), Some(at(10)), at(0)).unwrap();
    tracer.start(&id("b"), None, at(0)).unwrap();
    for ms in [9, 10, 11] {
        tracer.record(&id("a"), entry(ms));
        tracer.record(&id("b"), entry(ms));
    }
    assert_eq!(kept(&tracer, "a", Filter::default()), [9]);
    assert_eq!(kept(&tracer, "b", Filter::default()), [11, 10, 9]);
    assert_eq!(tracer.running(&id("a"), at(9)), Some(Some(at(10))));
    assert_eq!(tracer.running(&id("a"), at(10)), None);
    assert_eq!(tracer.running(&id("b"), at(10)), Some(None));
    assert!(tracer.start(&id("c"), None, at(9)).is_err());
    // Started anew, it goes on with what it has.
    tracer.start(&id("a"), Some(at(20)), at(12)).unwrap();
    tracer.record(&id("a"), entry(13));
    assert_eq!(kept(&tracer, "a", Filter::default()), [13, 9]);
    tracer.start(&id("c"), None, at(20)).unwrap();
    assert!(kept(&tracer, "a", Filter::default()).is_empty());
    assert_eq!(kept(&tracer, "b", Filter::default()).len(), 3);
}

#[test]
fn filters_take_what_they_say() {
    let tracer = Tracer::default();
    tracer.start(&id("a"), None, at(0)).unwrap();
    tracer.record(&id("a"), entry(1));
    tracer.record(&id("a"), entry(2).failed("broken", "mend it"));
    let step = TraceEntry::new(at(3), "command", Direction::Down, "is sent");
    tracer.record(&id("a"), step);
    let all = Filter::default();
    let command = Some("command");
    for (filter, want) in [
        (all, vec![3, 2, 1]),
        (
            Filter {
                kind: command,
                ..all
            },
            vec![3],
        ),
        (
            Filter {
                errors: true,
                ..all
            },
            vec![2],
        ),
        (
            Filter {
                kind: command,
                errors: true,
                ..all
            },
            vec![],
        ),
        (
            Filter {
                from: Some(at(2)),
                ..all
            },
            vec![3, 2],
        ),
        (
            Filter {
                to: Some(at(2)),
                ..all
            },
            vec![1],
        ),
        (
            Filter {
                from: Some(at(2)),
                to: Some(at(3)),
                ..all
            },
            vec![2],
        ),
    ] {
        assert_eq!(kept(&tracer, "a", filter), want, "{filter:?}");
    }
    assert_eq!(tracer.entries(&id("a"), &[], all, 2).len(), 2);
}

#[test]
fn undecodable_uplinks_show_without_tracing_and_once() {
    let tracer = Tracer::default();
    let raw = RawRecord {
        received_at: at(5),
        payload: vec![1, 0xff],
        kind: "truncated".into(),
        reason: "level needs 2 bytes at offset 1, 1 are left".into(),
    };
    let all = Filter::default();
    let shown = tracer.entries(&id("a"), std::slice::from_ref(&raw), all, 10);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].hex.as_deref(), Some("01ff"));
    assert!(shown[0].hint.as_deref().unwrap().contains("shorter"));

    tracer.start(&id("a"), None, at(0)).unwrap();
    tracer.record(&id("a"), entry(6));
    let traced = TraceEntry {
        hex: Some("01ff".into()),
        ..entry(5).failed("truncated", "lengthen it")
    };
    tracer.record(&id("a"), traced);
    let shown = tracer.entries(&id("a"), &[raw], all, 10);
    assert_eq!(
        shown.iter().map(|e| e.kind).collect::<Vec<_>>(),
        ["uplink", "uplink"]
    );
    assert_eq!(shown[0].time.as_ms(), 6);
}
