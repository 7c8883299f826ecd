//! Uplinks that the product model refused, in whole or in part, read again when codec or model are right.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Bench, CODEC, counts, report, volumes};

/// Volume, and a text that fits the model.
const TWO: &str = r#"
codec = { name = "flow", id = { at = 0, type = "u8" } }

[[message]]
id = 1
dir = "up"
service = "Flow"
fields = [ { n = "volume", t = "u32" }, { n = "text", t = "ascii" } ]
"#;

impl Bench {
    /// Has the model take volumes up to that.
    async fn allow(&self, most: u32) {
        let product = "/v5/iot/x/products/p";
        let (_, mut shown) = self.send(Method::GET, product, &Value::Null).await;
        let mut services = shown["service_capabilities"].take();
        services[0]["properties"][0]["max"] = json!(most.to_string());
        let body = json!({"service_capabilities": services});
        let (status, answer) = self.send(Method::PUT, product, &body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn upload_source(&self, source: &str) {
        let source = source.to_owned();
        self.server
            .request("PUT", CODEC, "application/toml", source)
            .await;
    }
}

fn with_text(volume: u32, text: &str) -> Vec<u8> {
    [&report(volume)[..], text.as_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn what_the_model_refused_is_taken_when_the_model_takes_it() {
    let mut bench = Bench::start().await;
    bench.say(1, &report(1)).await;
    let said_at = bench.clock.now();
    bench.say(1, &report(70_000)).await;
    bench.say(1, &report(2)).await;
    let live = bench.shadow("p_n1");
    assert_eq!(bench.raw("p_n1"), [("model".to_owned(), report(70_000))]);

    bench.allow(100_000).await;
    let look = bench.replay(&json!({"dry_run": true})).await;
    assert_eq!(bench.raw("p_n1").len(), 1);
    let replay = bench.replay(&json!({"kinds": ["model"]})).await;
    let want = json!({"devices": 3, "found": 1, "decoded": 1});
    assert_eq!((counts(&look), counts(&replay)), (want.clone(), want));
    assert_eq!(volumes(&bench.server.history("p_n1")), [1, 70_000, 2]);
    assert_eq!(bench.received("p_n1")[1], said_at);
    assert_eq!(bench.shadow("p_n1"), live, "a newer value stays");
    assert!(bench.raw("p_n1").is_empty());
    let told = bench
        .server
        .events("p_n1", "device.property")
        .pop()
        .unwrap();
    assert_eq!(told["late"], true);
    assert_eq!(told["services"][0]["properties"]["volume"], 70_000);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_of_a_report_is_not_told_twice() {
    let mut bench = Bench::start().await;
    bench.upload_source(TWO).await;
    bench.say(1, &with_text(70_000, "one")).await;
    bench.say(1, &with_text(5, "two")).await;
    bench.say(1, &with_text(80_000, "three")).await;
    let texts = |rows: &[Value]| -> Vec<Value> { rows.iter().map(|r| r["text"].clone()).collect() };
    assert_eq!(
        texts(&bench.server.history("p_n1")),
        ["one", "two", "three"]
    );
    let events = bench.server.events("p_n1", "device.property").len();

    // The model takes one of the two now.
    bench.allow(75_000).await;
    let replay = bench.replay(&json!({})).await;
    assert_eq!(
        counts(&replay),
        json!({"devices": 3, "found": 2, "decoded": 1})
    );
    assert_eq!(replay["unread"][0]["kind"], "model");
    let rows = bench.server.history("p_n1");
    let new = json!({"volume": 70_000});
    assert_eq!(
        rows.iter().filter(|row| **row == new).count(),
        1,
        "{rows:?}"
    );
    assert_eq!(rows.len(), 4);
    assert_eq!(
        bench.raw("p_n1"),
        [("model".to_owned(), with_text(80_000, "three"))]
    );

    // A codec that reads nothing of it leaves it as it is: what was taken is not forgotten.
    bench
        .upload_source(&TWO.replace("id = 1\n", "id = 9\n"))
        .await;
    let none = bench.replay(&json!({})).await;
    assert_eq!(counts(&none), json!({"devices": 3, "found": 1}));
    assert_eq!(bench.raw("p_n1")[0].0, "model");

    // And one that reads it otherwise makes it whole.
    let lower = TWO.replace("t = \"u32\" }", "t = \"u32\", offset = -70000 }");
    bench.upload_source(&lower).await;
    let rest = bench.replay(&json!({})).await;
    assert_eq!(
        counts(&rest),
        json!({"devices": 3, "found": 1, "decoded": 1})
    );
    let rows = bench.server.history("p_n1");
    assert!(rows.contains(&json!({"volume": 10_000})), "{rows:?}");
    assert_eq!(rows.len(), 5);
    assert!(bench.raw("p_n1").is_empty());
    assert_eq!(bench.shadow("p_n1").unwrap().0, 10_000);
    let all = bench.server.events("p_n1", "device.property");
    assert_eq!(all.len(), events + 2);
    let told = |text: &str| all.iter().filter(|e| e.to_string().contains(text)).count();
    assert_eq!((told("\"one\""), told("\"three\"")), (1, 1));
    assert_eq!(
        counts(&bench.replay(&json!({})).await),
        json!({"devices": 3})
    );
}
