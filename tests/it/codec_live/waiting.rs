//! What waits for a codec, and what becomes of it.

use serde_json::json;
use strait::app::input::Input;
use strait::base::ids::DeviceId;
use strait::engine::exchange::Outgoing;
use strait::product::codec::CodecError;
use strait::product::codec::call::{Call, Reply};
use strait::wire::coap::Code;

use super::{Bench, PATIENCE};

#[tokio::test]
async fn a_device_waits_for_its_codec_and_others_go_on() {
    let mut bench = Bench::start().await;
    bench.server.device("n2").await;
    bench.report("p1_n1", &[1]).await;
    let first = bench.asked().await;
    bench.report("p1_n1", &[2]).await;
    bench.report("p1_n2", &[7]).await;
    // What the device sent next waits; what another one sent does not.
    let other = bench.asked().await;
    assert!(matches!(&other.call, Call::Decode { payload, .. } if payload == &[7]));
    other.serve();
    bench.asked().await.serve();
    assert_eq!(bench.until_read("p1_n2", 1).await, [(7, 1)]);
    assert_eq!(bench.read("p1_n1"), []);
    first.serve();
    bench.serve();
    assert_eq!(bench.until_read("p1_n1", 2).await, [(1, 1), (2, 1)]);
    assert_eq!(bench.raw("p1_n1").len(), 0);
}

#[tokio::test]
async fn the_time_of_an_uplink_is_when_it_came() {
    let mut bench = Bench::start().await;
    let came = bench.server.clock.now();
    bench.report("p1_n1", &[1]).await;
    let asked = bench.asked().await;
    assert!(matches!(&asked.call, Call::Decode { received_at, .. } if *received_at == came));
    bench
        .server
        .clock
        .advance(std::time::Duration::from_secs(9));
    asked.serve();
    // The next question is another one: the first answer was found again.
    let next = bench.asked().await;
    assert!(matches!(next.call, Call::Answer { .. }), "{:?}", next.call);
    next.serve();
    bench.until_read("p1_n1", 1).await;
}

#[tokio::test]
async fn a_codec_that_was_replaced_meanwhile_has_said_nothing() {
    let mut bench = Bench::start().await;
    bench.report("p1_n1", &[1]).await;
    let old = bench.asked().await;
    bench.upload("v2").await;
    old.serve();
    let new = bench.asked().await;
    assert_eq!(new.version(), 2);
    assert!(matches!(new.call, Call::Decode { .. }));
    new.serve();
    // Between decoding and answering, too: nobody answers what another one has read.
    let answer = bench.asked().await;
    assert!(matches!(answer.call, Call::Answer { .. }));
    bench.upload("v3").await;
    answer.serve();
    for call in ["decode", "answer"] {
        let asked = bench.asked().await;
        assert_eq!((asked.version(), asked.call.name()), (3, call));
        asked.serve();
    }
    assert_eq!(bench.until_read("p1_n1", 1).await, [(1, 3)]);
    assert_eq!(bench.raw("p1_n1").len(), 0);
}

#[tokio::test]
async fn what_the_codec_does_not_read_stays_raw_with_the_reason() {
    let mut bench = Bench::start().await;
    let errors = [
        CodecError::Script {
            reason: "boom".into(),
        },
        CodecError::Limit {
            what: "50 ms".into(),
        },
        CodecError::Unavailable {
            reason: "quarantined".into(),
        },
    ];
    for error in errors {
        bench.report("p1_n1", &[1]).await;
        bench.asked().await.give(Err(error));
    }
    let raw = bench.until_raw("p1_n1", 3).await;
    let kinds: Vec<&str> = raw.iter().rev().map(|raw| raw.kind.as_str()).collect();
    assert_eq!(kinds, ["script", "limit", "unavailable"]);
    let reason = &raw.last().unwrap().reason;
    assert!(reason.contains("boom"), "{reason}");
    assert_eq!(bench.read("p1_n1"), []);
}

#[tokio::test]
async fn what_waits_when_the_server_stops_is_finished() {
    let mut bench = Bench::start().await;
    bench.report("p1_n1", &[1]).await;
    let asked = bench.asked().await;
    // Closes the shard's intake.
    let (none, _) = strait::app::shards::Shards::new(1);
    drop(std::mem::replace(&mut bench.server.shards, none));
    tokio::task::yield_now().await;
    asked.serve();
    bench.asked().await.serve();
    assert_eq!(bench.until_read("p1_n1", 1).await, [(1, 1)]);
}

#[tokio::test]
async fn more_than_may_wait_is_refused_and_other_codecs_go_on() {
    let mut bench = Bench::start().await;
    for n in 0..1025 {
        let id = format!("many{n}");
        bench.server.device(&id).await;
        bench.report(&format!("p1_{id}"), &[1]).await;
    }
    let mut held = Vec::new();
    for _ in 0..1024 {
        held.push(bench.asked().await);
    }
    // Another codec has room of its own, as soon as it is another.
    bench.upload("v2").await;
    bench.report("p1_n1", &[9]).await;
    let asked = bench.asked().await;
    assert_eq!(asked.version(), 2);
    asked.serve();
    bench.asked().await.serve();
    assert_eq!(bench.until_read("p1_n1", 1).await, [(9, 2)]);
    // The last of the many was refused: its device sends it again.
    assert_eq!(bench.read("p1_many1024"), []);
    assert_eq!(bench.raw("p1_many1024").len(), 0);
    bench.report("p1_many1024", &[1]).await;
    bench.asked().await.serve();
    bench.asked().await.serve();
    assert_eq!(bench.until_read("p1_many1024", 1).await, [(1, 2)]);
}

/// Token and payload of what goes down next, but for questions whether the device observes.
async fn down(bench: &mut Bench) -> (u64, Vec<u8>) {
    let next = async {
        loop {
            if let Outgoing::Request(request) = bench.server.downlinks.recv().await.unwrap()
                && request.code != Code::GET
            {
                return (request.token.to_u64().unwrap(), request.payload.to_vec());
            }
        }
    };
    tokio::time::timeout(PATIENCE, next)
        .await
        .expect("nothing goes down")
}

#[tokio::test]
async fn commands_are_encoded_elsewhere_and_fail_with_the_reason() {
    let mut bench = Bench::start().await;
    bench.report("p1_n1", &[1]).await;
    for _ in 0..2 {
        bench.asked().await.serve();
    }
    bench.until_read("p1_n1", 1).await;
    let path = "/v5/iot/x/devices/p1_n1/async-commands";
    let command = json!({"service_id": "Flow", "command_name": "SET_VALVE",
        "paras": {"open": 1}, "send_strategy": "delay"});
    let made = bench.server.post(path, &command).await;
    assert_eq!(made.status, 200, "{:?}", made.body);
    let asked = bench.asked().await;
    let Call::Encode { mid, paras, .. } = &asked.call else {
        panic!("{:?}", asked.call);
    };
    assert_eq!(paras["open"], 1);
    let mid = *mid;
    asked.serve();
    let (token, payload) = down(&mut bench).await;
    assert_eq!(payload, [1, mid.to_be_bytes()[1]]);
    let device = DeviceId::parse("p1_n1").unwrap();
    let origin = Bench::origin();
    let acknowledged = Input::Acknowledged { origin, token };
    bench.server.shards.hand(device, acknowledged).await;

    let errors = [
        CodecError::Limit {
            what: "50 ms".into(),
        },
        CodecError::Unavailable {
            reason: "quarantined".into(),
        },
    ];
    for error in errors {
        let reason = error.to_string();
        let made = bench.server.post(path, &command).await;
        let id = made.body["command_id"].as_str().unwrap().to_owned();
        bench.asked().await.give(Err(error));
        let path = format!("{path}/{id}");
        let wait = async {
            loop {
                let shown = bench.server.get(&path).await.body;
                if shown["status"] == "FAILED" {
                    return shown;
                }
                tokio::task::yield_now().await;
            }
        };
        let failed = tokio::time::timeout(PATIENCE, wait).await.expect("it ends");
        assert!(failed["result"].to_string().contains(&reason), "{failed}");
    }
}

#[tokio::test]
async fn an_answer_to_something_else_is_none() {
    let mut bench = Bench::start().await;
    bench.report("p1_n1", &[1]).await;
    bench.asked().await.give(Ok(Reply::Answer(None)));
    let raw = bench.until_raw("p1_n1", 1).await;
    assert_eq!(raw[0].kind, "unavailable");
}
