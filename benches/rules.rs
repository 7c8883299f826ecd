//! The clauses of a routing rule on one event of 500 bytes, from its text to the text that is pushed.

#![allow(clippy::unwrap_used, reason = "a bench that cannot start has failed")]

use divan::{AllocProfiler, Bencher, black_box};
use serde_json::{Value, json};
use strait::app::sql::Filter;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const CONDITION: &str = "GET_SERVICE_PROPERTY('Flow', 'volume') > 100 AND \
                         (CONTAINS_TAG('hall') OR notify_data.header.product_id = 'watermeter')";
const SELECT: &str = "notify_data.header.device_id AS id, \
                      GET_SERVICE_PROPERTIES('Flow') AS flow, 'meters' AS source";

fn event() -> String {
    let event = json!({
        "resource": "device.property", "event": "report",
        "event_time": "20260301T120000Z", "event_time_ms": "2026-03-01T12:00:00.000Z",
        "notify_data": {
            "header": {"app_id": "default", "device_id": "watermeter_867725030000001",
                "node_id": "867725030000001", "product_id": "watermeter",
                "gateway_id": "watermeter_867725030000001", "tags": []},
            "body": {"services": [{"service_id": "Flow", "event_time": "20260301T120000Z",
                "properties": {"volume": 123_456, "battery": 87, "temperature": 21.5}}]}
        }
    });
    event.to_string()
}

fn bench(bencher: Bencher<'_, '_>, select: Option<&str>, condition: Option<&str>) {
    let (filter, event) = (Filter::parse(select, condition).unwrap(), event());
    assert!(filter.apply_text(&event).unwrap().is_some(), "it passes");
    bencher.bench_local(|| {
        filter
            .apply_text(black_box(&event))
            .unwrap()
            .map(|t| t.len())
    });
}

#[divan::bench(sample_size = 100)]
fn whole_event_unread(bencher: Bencher<'_, '_>) {
    bench(bencher, None, None);
}

#[divan::bench(sample_size = 100)]
fn condition_alone(bencher: Bencher<'_, '_>) {
    bench(bencher, None, Some(CONDITION));
}

#[divan::bench(sample_size = 100)]
fn both_clauses(bencher: Bencher<'_, '_>) {
    bench(bencher, Some(SELECT), Some(CONDITION));
}

/// Without the reading of the text, which several rules can share.
#[divan::bench(sample_size = 100)]
fn both_clauses_on_a_read_event(bencher: Bencher<'_, '_>) {
    let filter = Filter::parse(Some(SELECT), Some(CONDITION)).unwrap();
    let event: Value = serde_json::from_str(&event()).unwrap();
    bencher.bench_local(|| filter.apply(black_box(&event)));
}

#[divan::bench(sample_size = 100)]
fn reading_both_clauses() -> Filter {
    Filter::parse(black_box(Some(SELECT)), black_box(Some(CONDITION))).unwrap()
}

fn main() {
    divan::main();
}
