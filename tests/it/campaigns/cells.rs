//! A campaign by cell: who has a slot, why the others wait, and what a plan says.

use serde_json::{Value, json};
use strait::wire::coap::Code;

use super::{Bench, campaign, device};
use crate::api_batch::PATH;

const TLV: u16 = 11542;

/// RSRP, cell and SINR of Object 4 as TLV.
fn radio(rsrp_dbm: i8, cell: u16, sinr_db: i8) -> Vec<u8> {
    let [high, low] = cell.to_be_bytes();
    let byte = |value: i8| value.to_be_bytes()[0];
    vec![
        0xC1,
        2,
        byte(rsrp_dbm),
        0xC2,
        8,
        high,
        low,
        0xC1,
        11,
        byte(sinr_db),
    ]
}

impl Bench {
    /// The device comes, tells its version and where it is.
    async fn stand_in_line(&mut self, node: usize, radio: &[u8]) {
        self.come(node).await;
        let token = self.asked().await;
        self.answer(node, token, Code::CONTENT, b"1.0").await;
        let token = self.asked_for(&[b"4", b"0"]).await;
        self.answer_in(TLV, node, token, Code::CONTENT, radio).await;
    }

    async fn cells(&self, id: &str) -> Value {
        let answer = self.server.get(&format!("/v1/campaigns/{id}/cells")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    async fn output(&self, id: &str, node: usize) -> String {
        let path = format!("{PATH}/{id}?target={}", device(node));
        let body = self.server.get(&path).await.body;
        let output = &body["task_details"][0]["output"];
        output.as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_cell_takes_a_few_and_the_others_are_told_why_they_wait() {
    let mut bench = Bench::start(7).await;
    let id = bench.create(&campaign(&[0, 1, 2, 3, 4, 5, 6])).await;
    bench.begun(&id, 7).await;
    let words = bench.output(&id, 0).await;
    assert_eq!(words, "waits for the device to show itself");
    // Six of level 0 in one cell, which is taken to carry four until more is known.
    for node in 0..6 {
        bench.stand_in_line(node, &radio(-90, 4711, 12)).await;
    }
    // One of level 2 in another.
    bench.stand_in_line(6, &radio(-120, 12, 12)).await;
    let settled = async {
        loop {
            let told = bench.cells(&id).await;
            if told["devices"]["downloading"] == 5 && told["devices"]["in_line"] == 2 {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(super::PATIENCE, settled).await;
    if told.is_err() {
        panic!("{:#}", bench.cells(&id).await);
    }
    let told = told.expect("four and one have slots");
    assert_eq!(told["count"], 2);
    let [far, near] = told["cells"].as_array().unwrap().as_slice() else {
        panic!("{told:#}");
    };
    assert_eq!((&far["cell"], &near["cell"]), (&json!(12), &json!(4711)));
    assert_eq!(near["airtime"], json!({"downloads": 4, "carries": 4}));
    let level = &near["levels"][0];
    assert_eq!(
        (
            &level["level"],
            &level["slots"],
            &level["slots_taken"],
            &level["in_line"]
        ),
        (&json!(0), &json!(50), &json!(4), &json!(2))
    );
    assert_eq!(far["levels"][0]["level"], 2);
    assert_eq!(far["levels"][0]["slots"], 1);
    let mut waiting: Vec<String> = Vec::new();
    for node in 0..6 {
        let words = bench.output(&id, node).await;
        if words.starts_with("waits") {
            waiting.push(words);
        }
    }
    waiting.sort();
    let line = |behind: u32| {
        format!(
            "waits for airtime of cell 4711 level 0: 4 downloads, the cell carries 4, behind {behind}"
        )
    };
    assert_eq!(waiting, [line(0), line(1)]);

    // What has been measured can be planned with.
    let mut body = campaign(&[0, 1, 2, 3, 4, 5, 6]);
    body["targets"].as_array_mut().unwrap().push(json!("p1_n9"));
    let plan = bench.server.post("/v1/campaigns/plan", &body).await;
    assert_eq!(plan.status, 200, "{plan:?}");
    let plan = plan.body;
    assert_eq!(
        (&plan["devices"], &plan["without_cell"]),
        (&json!(7), &json!(0))
    );
    assert_eq!(plan["refused"][0]["error_code"], "not_found");
    assert_eq!(plan["count"], 2);
    let expected = plan["expected_s"].as_u64().unwrap();
    assert!(
        expected >= plan["lower_bound_s"].as_u64().unwrap(),
        "{plan:#}"
    );
    assert!(plan["over_bound"].as_f64().unwrap() >= 1.0, "{plan:#}");
}

#[tokio::test]
async fn plans_assume_where_devices_are_that_were_never_measured() {
    let bench = Bench::start(3).await;
    let mut body = campaign(&[0, 1, 2]);
    let plan = bench.server.post("/v1/campaigns/plan", &body).await.body;
    assert_eq!(
        (&plan["without_cell"], &plan["expected_s"]),
        (&json!(3), &Value::Null)
    );
    body["assume"] = json!({"cells": 2, "mix": [1, 1, 1]});
    let plan = bench.server.post("/v1/campaigns/plan", &body).await.body;
    assert_eq!(
        (&plan["count"], &plan["cells"][0]["cell"]),
        (&json!(2), &Value::Null)
    );
    assert!(plan["expected_s"].as_u64().unwrap() > 60, "{plan:#}");
    let cases = [
        (json!({"cells": 0, "mix": [1, 1, 1]}), "assume.cells: got 0"),
        (json!({"cells": 2}), "assume.mix: is missing"),
        (
            json!({"cells": 2, "mix": [0, 0, 0]}),
            "assume.mix: takes shares",
        ),
        (json!({"cells": 2, "mix": [1, 1]}), "assume.mix: "),
        (json!({"cells": 2, "mix": [1, 1, 1], "x": 1}), "assume.x: "),
    ];
    for (assume, want) in cases {
        body["assume"] = assume;
        let refused = bench.server.post("/v1/campaigns/plan", &body).await;
        let (_, _, text) = refused.error();
        assert!(text.contains(want), "{text} has no {want}");
    }
    // Nothing was made.
    let tasks = bench
        .server
        .get(&format!("{PATH}?task_type=firmwareUpgrade"))
        .await;
    assert_eq!(tasks.body["page"]["count"], 0);
}
