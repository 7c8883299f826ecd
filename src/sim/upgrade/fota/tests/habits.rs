//! What a real client does, one habit after the other.

use proptest::prelude::*;

use super::*;

#[test]
fn firmware_is_fetched_and_installed() {
    let bench = play(
        None,
        &[
            "get 3/0/3
             = 2.05 c40356312e30",
            BEGIN,
            DOWNLOAD,
            "post 5/0/2 0 x
             = 4.00",
            EXECUTE,
            "> notice s c10300
             ack
             runs V2.0
             get 5/0/5
             = 2.05 c10501
             get 3/0/3
             = 2.05 c40356322e30
             + 600",
        ],
    );
    let record = bench.device.record();
    assert_eq!((record.pieces, record.wrong, record.requests), (3, 0, 3));
    let execution = &record.executions[0];
    assert_eq!(execution.intact, Some(true));
    assert_eq!(execution.hash, Expected::new(&package()).hash());
    assert_eq!(execution.version.as_deref(), Some("V2.0"));
}

#[test]
fn a_uri_is_taken_only_as_a_real_client_takes_it() {
    let uri = "coap://h/fw/a";
    let nothing = format!("put 5/0/1 0 {uri}\n = 2.04\n + 600");
    play(None, &[&nothing]);
    let refused = format!(
        "get 5/0/3 observe s
         = 2.05 c10300
         put 5/0/1 42 {uri}
         = 4.00
         put 5/0/1 11542 {uri}
         = 4.00
         put 5/0/1 0 {uri}
         = 2.04
         > notice s c10301
         > fetch fw/a 0 5
         put 5/0/1 0 {uri}
         = 4.05
         ack
         put 5/0/1 0 {uri}
         = 2.04
         post 5/0/2
         = 4.05
         get 5/0/1
         = 4.05
         get 5/0/77
         = 4.04
         get 5/1
         = 4.04"
    );
    play(None, &[&refused]);
    // A server that resets the notification has no observation any more.
    play(
        None,
        &["get 5/0/3 observe s
           = 2.05 c10300
           put 5/0/1 0 coap://h/a
           = 2.04
           > notice s c10301
           > fetch a 0 5
           reset
           nothing"],
    );
}

#[test]
fn failures_are_results_and_a_broken_download_goes_on_for_the_same_uri() {
    let watched = "
        get 5/0/5 observe r
        = 2.05 c10500
    ";
    let cases = [
        ("nothing", 4),
        ("code 84", 7),
        ("code a0", 4),
        // 2.05 without Block2.
        ("code 45", 8),
    ];
    for (end, result) in cases {
        let failed = format!(
            "block 0
             > fetch fw/a?v=2 1 5
             {end}
             > notice r c105{result:02}
             > notice s c10300
             ack
             ack"
        );
        let again = "
            put 5/0/1 0 coap://10.0.0.1:5683/fw/a?v=2
            = 2.04
            > notice r c10500
            > notice s c10301
            > fetch fw/a?v=2 1 5
            ack
            ack
            block 1
            > fetch fw/a?v=2 2 5
            block 2
            > notice s c10302
        ";
        let bench = play(None, &[watched, BEGIN, &failed, again]);
        let record = bench.device.record();
        assert_eq!((record.begun, record.resumed, record.wrong), (1, 1, 0));
        assert_eq!(record.downloaded, 1);
        let other = "
            put 5/0/1 0 coap://10.0.0.1:5683/fw/b
            = 2.04
            > notice r c10500
            > notice s c10301
            > fetch fw/b 0 5
        ";
        play(None, &[watched, BEGIN, &failed, other]);
        let eight = failed.replace(&format!("c105{result:02}"), "c10508");
        let change = |habits: &mut FotaHabits| habits.reports_eight = true;
        play_with(None, change, &[watched, BEGIN, &eight]);
    }
    let bad = "
        get 5/0/3 observe s
        = 2.05 c10300
        put 5/0/1 0 http://h/a
        = 2.04
        > notice s c10300
        get 5/0/5
        = 2.05 c10507
    ";
    play(None, &[bad]);
}

#[test]
fn blocks_that_do_not_fit_are_asked_for_again() {
    let again = "
        block 1
        + 1
        > fetch fw/a?v=2 0 5
        block 0
        > fetch fw/a?v=2 1 5
        block 0
        + 1
        > fetch fw/a?v=2 1 5
    ";
    let smaller = "
        block 2 small
        > fetch fw/a?v=2 3 4
        block 3 small
        > fetch fw/a?v=2 4 4
        block 4 small
        > notice s c10302
    ";
    let bench = play(None, &[BEGIN, again, smaller]);
    assert_eq!(bench.device.record().stale, 2);
    assert_eq!(
        bench.device.firmware_image().unwrap().is_intact(),
        Some(true)
    );
    let changed = "
        block 0
        > fetch fw/a?v=2 1 5
        block 1 other
        + 1
        > fetch fw/a?v=2 0 5
    ";
    let bench = play(None, &[BEGIN, changed]);
    assert_eq!(bench.device.record().begun, 2);
    let hopeless = "
        block 1\n + 1\n > fetch fw/a?v=2 0 5
        block 1\n + 1\n > fetch fw/a?v=2 0 5
        block 1\n + 1\n > fetch fw/a?v=2 0 5
        block 1
        > notice s c10300
    ";
    play(None, &[BEGIN, hopeless]);
}

#[test]
fn a_package_can_be_pushed_where_that_is_how_it_comes() {
    let pushed = "
        get 5/0/3 observe s
        = 2.05 c10300
        get 5/0/9
        = 2.05 c10901
        put 5/0/1 0 coap://h/a
        = 4.05
        put 5/0/0 block 1
        = 4.08
        put 5/0/0 block 0
        = 2.31
        > notice s c10301
        put 5/0/0 block 1
        = 2.31
        put 5/0/0 block 1
        = 2.31
        put 5/0/0 block 2
        = 2.04
        > notice s c10302
        ack
        ack
    ";
    let change = |habits: &mut FotaHabits| habits.delivery = Delivery::Push;
    let bench = play_with(
        None,
        change,
        &[pushed, EXECUTE, "> notice s c10300\n runs V2.0"],
    );
    assert_eq!(bench.device.record().executions[0].intact, Some(true));
    let small = |habits: &mut FotaHabits| habits.room = 1000;
    let too_large = "
        put 5/0/0 block 0
        = 2.31
        put 5/0/0 block 1
        = 4.13
        get 5/0/5
        = 2.05 c10502
    ";
    play_with(None, small, &[too_large]);
    let pull = |habits: &mut FotaHabits| habits.delivery = Delivery::Pull;
    play_with(None, pull, &["put 5/0/0 block 0\n = 4.05"]);
}

#[test]
fn power_cuts_are_told_with_the_token_of_before() {
    let cut = "
        get 5/0/5 observe r
        = 2.05 c10500
        block 0
        > fetch fw/a?v=2 1 5
        cut
        on
        > notice s c10300
        ack
        get 5/0/5
        = 2.05 c10504
    ";
    play(None, &[BEGIN, cut]);
    let goes_on = "
        block 0
        > fetch fw/a?v=2 1 5
        cut
        on
        > fetch fw/a?v=2 1 5
        block 1
        > fetch fw/a?v=2 2 5
    ";
    let change = |habits: &mut FotaHabits| habits.continues = true;
    let bench = play_with(None, change, &[BEGIN, goes_on]);
    assert_eq!(bench.device.record().resumed, 1);
    play(None, &[BEGIN, DOWNLOAD, "cut\n on\n > notice s c10302"]);
}

proptest! {
    /// Whatever is asked, answered or acknowledged, in whatever order: no panic, and nothing is installed
    /// that was not downloaded.
    #[test]
    fn any_requests_and_blocks_never_panic(
        steps in prop::collection::vec((0u8..8, any::<u32>(), prop::collection::vec(any::<u8>(), 0..600)), 0..60),
    ) {
        let mut bench = Bench::new(None, |_| {});
        bench.play("get 5/0/3 observe s\n = 2.05 c10300");
        for (kind, number, bytes) in &steps {
            let paths = ["5/0/0", "5/0/1", "5/0/2", "5/0/3", "5/0", "3/0", "4/0/8", "5/9/9/9"];
            let (low, option) = (number % 8, (number % 3 != 0).then_some(number % 1000));
            let request = Request {
                code: u8::try_from(number % 4 + 1).unwrap(),
                path: paths[low as usize],
                token: b"x",
                observe: option.map(|n| n % 2),
                format: [None, Some(0), Some(42), Some(11542)][(number % 4) as usize],
                accept: None,
                block1: option,
                payload: bytes,
            };
            let block = Block {
                code: if number % 5 == 0 { 0x84 } else { message::CONTENT },
                block2: option,
                etag: None,
                payload: bytes,
            };
            match kind {
                0..=2 => drop(bench.device.request(bench.now, &request)),
                3 | 4 => bench.device.fetched(bench.now, Ok(block)),
                5 => bench.device.fetched(bench.now, Err(FetchError)),
                6 => bench.ask(message::PUT, &["5/0/1", "0", "coap://h/a"]),
                _ => bench.pass(Duration::from_secs(u64::from(low))),
            }
            bench.turn();
            bench.said.clear();
            while !bench.notices.is_empty() {
                bench.settle(NoticeEnd::Taken);
            }
            bench.said.clear();
            if bench.off.take().is_some() {
                bench.device.start(bench.now);
                bench.turn();
                bench.said.clear();
            }
        }
        let record = bench.device.record();
        prop_assert!(record.executed <= record.downloaded);
    }
}
