//! The frames against their vectors, and against any bytes.

use proptest::prelude::*;

use super::*;

#[test]
fn frames_are_those_of_the_vectors() {
    let table = include_str!("../../../../../fixtures/pcp/device.tsv");
    let mut wrong = Vec::new();
    for row in table
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let [name, who, bytes, want] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("bad fixture row: {row}");
        };
        let got = match (who, want.strip_prefix("unverified ")) {
            ("up", _) => hex(&uttered(want)),
            (_, Some(_)) => format!("unverified {}", meaning(&unhex(bytes), false)),
            (_, None) => meaning(&unhex(bytes), true),
        };
        let want = if who == "up" { bytes } else { want };
        if got != want {
            wrong.push(format!("{name}: got {got}, want {want}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

proptest! {
    #[test]
    fn any_bytes_never_panic(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        codes in prop::collection::vec(19u8..=24, 20),
        at_module: bool,
    ) {
        let stack = if at_module { Stack::AtModule } else { Stack::Lwm2m };
        let mut bench = Bench::new(stack, None);
        bench.device.take(bench.now, &spoken("offer V2.0 32 3 0000"));
        for (bytes, code) in frames.iter().zip(codes) {
            frame::read(bytes, at_module).ok();
            bench.device.take(bench.now, bytes);
            bench.device.take(bench.now, &frame::write(code, bytes));
            bench.turn();
            bench.pass(Duration::from_secs(1));
        }
        prop_assert!(bench.device.record().executed <= bench.device.record().downloaded);
    }

    #[test]
    fn what_is_written_reads_back(
        version in "[ -~]{1,16}",
        size: u16,
        fragments: u16,
        check: u16,
        bytes in prop::collection::vec(any::<u8>(), 1..500),
    ) {
        let mut data = frame::version(&version).to_vec();
        for number in [size, fragments, check] {
            data.extend(number.to_be_bytes());
        }
        let frame = frame::write(frame::OFFER, &data);
        let want = Offer {
            version: frame::version(&version),
            fragment_size: size,
            fragments,
            check,
        };
        prop_assert_eq!(frame::read(&frame, true), Ok(frame::Downlink::Offer(want)));
        prop_assert_eq!(frame::version_text(want.version), version);
        let data = [&[0][..], &size.to_be_bytes(), &bytes].concat();
        let frame = frame::write(frame::FRAGMENT, &data);
        let want = frame::Downlink::Fragment { index: size, bytes: &bytes };
        prop_assert_eq!(frame::read(&frame, true), Ok(want));
    }
}
