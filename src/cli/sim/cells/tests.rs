use super::*;

fn row(args: &Args, seeds: u64) -> Vec<Row> {
    let cases = args.cases();
    let of = |case: &Case| Row::of(case, &case.outcomes(seeds));
    cases.iter().map(of).collect()
}

fn args(mix: Option<[u32; 3]>) -> Args {
    Args {
        mix,
        package: 256 * 1024,
        no_resume: false,
        sleepers: false,
        keep_awake: false,
        drift: std::time::Duration::ZERO,
        seeds: 1,
        speed: Some(1.0),
        caps_only: false,
        json: false,
        picture: None,
    }
}

/// The first mix, one seed of it: the airtime that is learnt ends the campaign near its bound with the time-outs
/// that can't be avoided, five devices that need 80 minutes each; the caps alone let hundreds run into the limit.
#[test]
fn airtime_keeps_downloads_in_time() {
    let rows = row(&args(Some([450, 45, 5])), 1);
    let [airtime, caps] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert!(airtime.ratio <= 1.10, "{airtime:?}");
    assert!(airtime.timed_out_share() <= 0.01, "{airtime:?}");
    assert_eq!((airtime.succeeded, caps.succeeded), (500, 500));
    assert!(caps.timed_out > 100, "{caps:?}");
    for row in &rows {
        let held = row.held_max.iter().zip([50, 10, 1]);
        assert!(held.clone().all(|(held, slots)| *held <= slots), "{row:?}");
    }
}

/// A cell twice as slow as the model, of which admission knows nothing: nobody is late.
#[test]
fn a_slow_cell_is_learnt() {
    let slow = Args {
        package: 1024 * 1024,
        no_resume: true,
        speed: Some(0.5),
        ..args(Some([60, 0, 0]))
    };
    let rows = row(&slow, 1);
    let [airtime, caps] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert_eq!((airtime.succeeded, airtime.timed_out), (60, 0));
    assert!(airtime.ratio <= 1.25, "{airtime:?}");
    assert_eq!(caps.succeeded, 10, "those behind the first fifty alone");
}

/// Sleepers without a slot sleep again and need days; kept awake they end near the bound, and it is told
/// what that costs.
#[test]
fn sleepers_are_kept_awake_only_when_asked() {
    let sleepers = Args {
        package: 64 * 1024,
        sleepers: true,
        ..args(Some([0, 0, 50]))
    };
    let kept = Args {
        keep_awake: true,
        ..args(Some([0, 0, 50]))
    };
    let kept = Args {
        package: 64 * 1024,
        sleepers: true,
        ..kept
    };
    let (plain, kept) = (row(&sleepers, 4), row(&kept, 4));
    let (plain, kept) = (&plain[0], &kept[0]);
    assert!(
        plain.ratio > 2.0 && plain.kept_awake_hours == 0.0,
        "{plain:?}"
    );
    assert!(kept.ratio < 1.1 && kept.kept_awake_hours > 1.0, "{kept:?}");
    assert_eq!((plain.succeeded, kept.succeeded), (200, 200));
}

#[test]
fn a_picture_shows_what_was_held() {
    let case = &args(Some([20, 4, 1])).cases()[0];
    let outcome = case.outcome(1);
    let svg = picture::draw("a title", &case.scenario, &outcome);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    for text in [
        "a title",
        "level 2: 1 devices, 1 slots",
        "lower bound",
        "0 h",
    ] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn flags_say_what_they_take() {
    assert_eq!(mix("450/45/5"), Ok([450, 45, 5]));
    for text in [
        "",
        "1/2",
        "1/2/3/4",
        "0/0/0",
        "-1/0/0",
        "100000/1/0",
        "4294967295/1/0",
    ] {
        assert!(mix(text).is_err(), "{text}");
    }
    assert_eq!(speed("0.5"), Ok(0.5));
    assert!(
        ["0", "-1", "NaN", "inf", "x"]
            .iter()
            .all(|text| speed(text).is_err())
    );
}
