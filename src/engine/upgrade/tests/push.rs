//! Firmware that is written to the device.

use super::*;

/// One that refuses the URI is asked how it takes packages, and has it written if that is the only way.
#[test]
fn a_device_that_takes_no_uri_has_the_package_written() {
    let refused = Input::Refused {
        ask: Ask::WriteUri,
        code: "4.05",
    };
    let (mut upgrade, wishes) = after(&[&TO_SLOT, &TO_DOWNLOAD[..2], &[(2, refused)]]);
    assert_eq!(wishes, vec![Wish::Ask(Ask::Delivery)]);
    let mut step = |minute, input| upgrade.step(at(minute * MIN), input, &TARGET);
    assert_eq!(
        step(2, said(Saying::Delivery(1))),
        vec![Wish::Ask(Ask::Push)]
    );
    assert_eq!(step(2, said(Saying::State(1))), vec![]);
    assert_eq!(step(3, Input::Fetched), vec![]);
    // What is lost goes on when it speaks.
    let lost = Input::Lost {
        ask: Ask::Push,
        asleep: false,
    };
    assert_eq!(step(4, lost), vec![]);
    assert_eq!(step(50, Input::Reachable), vec![Wish::Ask(Ask::Push)]);
    assert_eq!(step(51, done(Ask::Push)), vec![]);
    assert_eq!(step(52, Input::Reachable), vec![]);
    // It has all of it: asked, if it does not say so.
    assert_eq!(
        step(61, Input::Reachable),
        vec![Wish::Ask(Ask::ObserveState)]
    );
    assert_eq!(
        step(61, said(Saying::State(2))),
        vec![Wish::Ask(Ask::Execute)]
    );
    // The next attempt knows the way.
    let mut next = upgrade.again(at(0));
    for (_, input) in TO_SLOT {
        next.step(at(0), input, &TARGET);
    }
    next.step(at(0), said(Saying::State(0)), &TARGET);
    let wishes = next.step(at(0), said(Saying::Result(0)), &TARGET);
    assert_eq!(wishes, vec![Wish::Ask(Ask::Push)]);
}

/// What fetches, or does not say what it does, is told the URI once more; then its word counts.
#[test]
fn a_uri_that_is_refused_twice_fails() {
    let refused = |ask| Input::Refused { ask, code: "4.04" };
    let answers = [
        said(Saying::Delivery(0)),
        said(Saying::Delivery(2)),
        refused(Ask::Delivery),
    ];
    for answer in answers {
        let uri = refused(Ask::WriteUri);
        let (mut upgrade, wishes) = after(&[&TO_SLOT, &TO_DOWNLOAD[..2], &[(2, uri), (2, answer)]]);
        assert_eq!(wishes, vec![Wish::Ask(Ask::WriteUri)], "{answer:?}");
        let wishes = upgrade.step(at(2 * MIN), uri, &TARGET);
        let reason = Reason::Refused {
            what: Ask::WriteUri.words(),
            code: "4.04".to_owned(),
        };
        assert_eq!(wishes, failed(reason), "{answer:?}");
    }
}

/// A push that the device ends badly is told by its result.
#[test]
fn a_push_fails_with_the_devices_reason() {
    let to_push: [(u64, Input<'_>); 3] = [
        (
            2,
            Input::Refused {
                ask: Ask::WriteUri,
                code: "4.05",
            },
        ),
        (2, said(Saying::Delivery(1))),
        (2, said(Saying::State(0))),
    ];
    let begun = [&TO_SLOT[..], &TO_DOWNLOAD[..2], &to_push];
    let (mut upgrade, wishes) = after(&begun);
    assert_eq!(wishes, vec![], "nothing has begun yet");
    upgrade.step(at(3 * MIN), Input::Fetched, &TARGET);
    let wishes = upgrade.step(at(4 * MIN), said(Saying::State(0)), &TARGET);
    assert_eq!(wishes, vec![Wish::Ask(Ask::Result)]);
    let wishes = upgrade.step(at(4 * MIN), said(Saying::Result(2)), &TARGET);
    assert_eq!(wishes, failed(Reason::Object5(2)));
    let (_, wishes) = after(&[&begun[..], &[&[(63, Input::Tick)]]].concat());
    assert_eq!(wishes, failed(Reason::DownloadTimeout));
}
