//! Scripts know no zone but UTC, whatever the machine's is.

use super::*;

/// One time, said in many ways; none of them is of the machine's zone.
#[test]
fn the_zone_is_utc() {
    let ways = [
        "new Date('2020-01-01 10:00')",
        "new Date('2020-01-01T10:00:00')",
        "new Date('2020/01/01 10:00')",
        "new Date(new String('2020-01-01 10:00'))",
        "new Date({ toString() { return 'Jan 1, 2020 10:00:00' } })",
        "new Date({ valueOf() { return '2020-01-01 10:00' } })",
        "new Date({ valueOf() { return 1577872800000 } })",
        "new Date({ [Symbol.toPrimitive]: (hint) => hint === 'default' ? '2020-01-01 10:00' : 0 })",
        "new Date(new Date(1577872800000))",
        "new Date(Date.parse(new String('2020-01-01 10:00')))",
        "new Date(2020, 0, 1, 10)",
        "new (class extends Date {})(new String('2020-01-01 10:00'))",
        "Reflect.construct(Date, [new String('2020-01-01 10:00')])",
        "((d) => { d.setHours(10); return d })(new Date('2020-01-01'))",
        "((d) => { d.setYear(2020); return d })(new Date('2019-01-01 10:00'))",
        "((d) => { d.setYear(99); d.setFullYear(2020); return d })(new Date('2019-01-01 10:00'))",
        "new Date(new Date(1577872800000).toString())",
    ];
    for way in ways {
        assert_eq!(
            evaluated(&format!("+{way}")),
            json!(1_577_872_800_000_u64),
            "{way}"
        );
    }
    let texts = evaluated(
        "[new Date(0).toString(), new Date(0).getHours(), new Date(0).getYear(),
        new Date(0).getTimezoneOffset(), new Date(0).toLocaleTimeString()]",
    );
    assert_eq!(
        texts,
        json!(["Thu, 01 Jan 1970 00:00:00 GMT", 0, 70, 0, "00:00:00"])
    );
    for odd in ["undefined", "'no time'", "{}", "null"] {
        let source =
            format!("(() => {{ const t = +new Date({odd}); return t === t ? t : 'none' }})()");
        let want = if odd == "null" {
            json!(0)
        } else {
            json!("none")
        };
        assert_eq!(evaluated(&source), want, "{odd}");
    }
}

/// The process's zone can't be changed here, so the test above runs in others.
#[test]
fn the_zone_is_utc_wherever_the_machine_is() {
    for zone in ["Asia/Shanghai", "CST-8", "PST8PDT"] {
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "product::codec::script::tests::zone::the_zone_is_utc",
            ])
            .env("TZ", zone)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success() && said.contains("1 passed"),
            "{zone}: {said}"
        );
    }
}
