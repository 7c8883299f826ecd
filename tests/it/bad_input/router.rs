//! The whole router, driven by its own list of operations, so that none is forgotten: bodies that
//! are none, ids that lead elsewhere, queries that can't be read, preconditions that are none.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use strait::api;
use strait::api::operation::{Operation, RequestBody};

use super::holds;
use crate::api::{Answer, Server};

const MALFORMED: &str = "IOTDA.000008";
const FLOW: &str = include_str!("../../../fixtures/api/flow.toml");

/// A product with a codec, a device and a group, and the group's id.
async fn world() -> (Server, String) {
    let server = Server::start().with_product().await;
    server.device("d0").await;
    let group = json!({"name": "g0"});
    let made = server.post("/v5/iot/x/device-group", &group).await;
    let group = made.body["group_id"].as_str().unwrap().to_owned();
    let codec = Request::put("/v1/products/p1/codec").header("content-type", "application/toml");
    let made = server.send(codec.body(Body::from(FLOW)).unwrap()).await;
    assert_eq!(made.status, 201, "{made:?}");
    (server, group)
}

/// Names in braces but for `project_id`, which may be anything.
fn ids_of(operation: &Operation) -> Vec<&'static str> {
    let open = operation.path.split('{').skip(1);
    let names = open.filter_map(|rest| rest.split('}').next());
    names.filter(|name| *name != "project_id").collect()
}

/// The path with ids of what is there, or might be.
pub(crate) fn path_of(operation: &Operation, group: &str) -> String {
    with_ids(operation, operation.path, group)
}

/// The path with such ids where it still has names.
fn with_ids(operation: &Operation, path: &str, group: &str) -> String {
    let known = [
        ("project_id", "x"),
        ("device_id", "p1_d0"),
        ("product_id", "p1"),
        ("app_id", "default"),
        ("group_id", group),
    ];
    let mut path = path.to_owned();
    for (name, value) in known {
        path = path.replace(&format!("{{{name}}}"), value);
    }
    for name in ids_of(operation) {
        path = path.replace(&format!("{{{name}}}"), "ffffffffffffffffffffffff");
    }
    path
}

/// The query that its example has: what must be there is there.
pub(crate) fn query_of(operation: &Operation) -> String {
    let pairs = operation.example.query.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn is_json(operation: &Operation) -> bool {
    matches!(
        operation.request,
        RequestBody::Json(_) | RequestBody::MaybeJson(_)
    )
}

/// What is wrong with an answer that should be a refusal: every one has a code and says something.
fn problem(answer: &Answer, wanted: &[u16], named: &str) -> Option<String> {
    let (status, code, message) = answer.error();
    let fits = wanted.contains(&status)
        && code.starts_with("IOTDA.")
        && message.contains(named)
        && !message.is_empty();
    (!fits).then(|| format!("{status} {code} {message:.200}\n  want {wanted:?} {named:?}"))
}

/// The operation with this body.
async fn send(
    world: &(Server, String),
    operation: &Operation,
    media: &str,
    body: Vec<u8>,
) -> Answer {
    let (server, group) = world;
    let query = query_of(operation);
    let mark = if query.is_empty() { "" } else { "?" };
    let request = Request::builder()
        .method(operation.method.clone())
        .uri(format!("{}{mark}{query}", path_of(operation, group)))
        .header("content-type", media);
    server.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_by_every_operation() {
    const JSON: &str = "application/json";
    let big = |max: usize| format!("{{\"a\": \"{}\"}}", "a".repeat(max)).into_bytes();
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    let objects = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("too deep", JSON, deep.into(), 400, "not JSON"),
        ("objects too deep", JSON, objects.into(), 400, "not JSON"),
        ("cut", JSON, b"{\"a\":".to_vec(), 400, "not JSON"),
        ("text", JSON, b"nonsense".to_vec(), 400, "not JSON"),
        ("two of them", JSON, b"{}{}".to_vec(), 400, "not JSON"),
        (
            "no UTF-8",
            JSON,
            b"{\"\xff\": 1}".to_vec(),
            400,
            "not UTF-8",
        ),
        ("UTF-16", JSON, b"\xff\xfe{\0}\0".to_vec(), 400, "not UTF-8"),
        (
            "a byte order mark",
            JSON,
            b"\xef\xbb\xbf{}".to_vec(),
            400,
            "not JSON",
        ),
        ("NUL", JSON, b"{\"a\": \"\0\"}".to_vec(), 400, "not JSON"),
        ("NULs", JSON, vec![0; 16], 400, "not JSON"),
        (
            "a key twice",
            JSON,
            b"{\"a\": 1, \"a\": 2}".to_vec(),
            400,
            "is given twice",
        ),
        (
            "a key twice inside",
            JSON,
            b"{\"a\": [{\"b\": 1, \"b\": 1}]}".to_vec(),
            400,
            "twice",
        ),
        (
            "not a number",
            JSON,
            b"{\"a\": NaN}".to_vec(),
            400,
            "not JSON",
        ),
        (
            "a large number",
            JSON,
            b"{\"a\": 1e999}".to_vec(),
            400,
            "not JSON",
        ),
        (
            "XML",
            "application/xml",
            b"{}".to_vec(),
            400,
            "Content-Type",
        ),
        (
            "a form",
            "application/x-www-form-urlencoded",
            b"a=1".to_vec(),
            400,
            "Content-Type",
        ),
        (
            "UTF-16 said",
            "application/json; charset=utf-16",
            b"{}".to_vec(),
            400,
            "Content-Type",
        ),
        (
            "no media type",
            "nonsense",
            b"{}".to_vec(),
            400,
            "Content-Type",
        ),
    ];
    let world = world().await;
    let before = holds(&world.0);
    let (mut failures, mut count) = (Vec::new(), 0);
    for operation in api::operations().all().iter().filter(|o| is_json(o)) {
        count += 1;
        let max = match operation.id {
            "create_batch_task" | "plan_campaign" => 5 * 1024 * 1024,
            _ => 1024 * 1024,
        };
        let mut check = |about: &str, answer: &Answer, status, named: &str| {
            let told = problem(answer, &[status], named);
            let told = told.or_else(|| (answer.error().1 != MALFORMED).then(|| "the code".into()));
            failures.extend(told.map(|told| format!("{}: {about}: {told}", operation.id)));
        };
        for (about, media, body, status, named) in &cases {
            let answer = send(&world, operation, media, body.clone()).await;
            check(about, &answer, *status, named);
        }
        let answer = send(&world, operation, JSON, big(max)).await;
        check("too large", &answer, 413, "too large");
        if matches!(operation.request, RequestBody::Json(_)) {
            let answer = send(&world, operation, JSON, Vec::new()).await;
            check("empty", &answer, 400, "not JSON");
        }
    }
    assert!(count > 20, "{count} operations take JSON");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(holds(&world.0), before);
}

#[tokio::test]
async fn ids_that_lead_elsewhere_are_refused_by_every_operation() {
    let long = "a".repeat(500);
    let bad = [
        "a%2Fb",
        "..%2Fp1",
        "%2e%2e",
        "..",
        ".",
        "a%00",
        "%00",
        "a%0d%0aX-A:%20b",
        "%ff",
        "a%20b",
        "a%5Cb",
        "%E6%B0%B4",
        "a;b",
        "a'--",
        &long,
    ];
    let (server, _) = world().await;
    let before = holds(&server);
    let (mut failures, mut count) = (Vec::new(), 0);
    for operation in api::operations().all() {
        for name in ids_of(operation) {
            count += 1;
            for value in bad {
                let path = operation.path.replace(&format!("{{{name}}}"), value);
                let path = with_ids(operation, &path, "g");
                let mut query = query_of(operation);
                if !query.is_empty() {
                    query.insert(0, '?');
                }
                let media = match operation.request {
                    RequestBody::Bytes(media) => media[0],
                    _ => "application/json",
                };
                let request = Request::builder()
                    .method(operation.method.clone())
                    .uri(format!("{path}{query}"))
                    .header("content-type", media);
                let answer = server.send(request.body(Body::from("{}")).unwrap()).await;
                let named = match value {
                    "%ff" => "",
                    _ => name,
                };
                let told = problem(&answer, &[400], named);
                failures.extend(told.map(|told| format!("{} {value:.40}: {told}", operation.id)));
            }
        }
    }
    assert!(count > 30, "{count} ids in paths");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(holds(&server), before);
}

/// What is no query string, or has a parameter twice, is refused; what nobody asks for is not.
#[tokio::test]
async fn queries_are_read_by_every_operation_that_takes_one() {
    let (server, group) = world().await;
    let before = holds(&server);
    let mut failures = Vec::new();
    for operation in api::operations().all() {
        let Some(reader) = operation.query else {
            continue;
        };
        for parameter in api::input::sketch::query_parameters(reader) {
            let name = &parameter.name;
            for query in [
                format!("{name}=a&{name}=b"),
                format!("{name}=a&x=1&{name}=a"),
                format!("{name}=%00&{name}="),
            ] {
                let request = Request::builder()
                    .method(operation.method.clone())
                    .uri(format!("{}?{query}", path_of(operation, &group)))
                    .header("content-type", "application/json");
                let answer = server.send(request.body(Body::from("{}")).unwrap()).await;
                // A body may be judged before its query, a group looked up before.
                let told = problem(&answer, &[400, 404, 415], "");
                failures.extend(told.map(|told| format!("{} {query}: {told}", operation.id)));
                let named = answer.status != 400 || answer.error().2.contains(name.as_str());
                if !named && !is_json(operation) {
                    failures.push(format!("{} {query}: {answer:?}", operation.id));
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(holds(&server), before);
}

#[tokio::test]
async fn preconditions_that_do_not_hold_or_are_none_change_nothing() {
    let (server, group) = world().await;
    let put = "/v1/packages?package_type=firmwarePackage&product_id=p1&version=V1";
    let made = server.send(Request::put(put).body(Body::from("x")).unwrap());
    let package = made.await.body["package_id"].as_str().unwrap().to_owned();
    let before = holds(&server);
    let (mut failures, mut count) = (Vec::new(), 0);
    let garbled: [&[u8]; 9] = [
        b"a",
        b"\"a",
        b"a\"",
        b"\"a\" \"b\"",
        b"*, \"a\"",
        b"",
        b" , ",
        b"\"\xff\"",
        b"'a'",
    ];
    let others: [&[u8]; 4] = [b"\"nope\"", b"W/\"nope\"", b"\"\"", b"\"a\", \"b\""];
    for operation in api::operations().all() {
        let writes = operation.is_audited;
        for header in &operation.headers {
            let cases: Vec<(&[u8], u16)> = match header.name {
                "If-Match" => {
                    let held = others.iter().map(|tag| (*tag, 412));
                    garbled.iter().map(|tag| (*tag, 400)).chain(held).collect()
                }
                "If-None-Match" => {
                    let any = (b"*".as_slice(), if writes { 412 } else { 304 });
                    garbled.iter().map(|tag| (*tag, 400)).chain([any]).collect()
                }
                _ => continue,
            };
            for (value, want) in cases {
                count += 1;
                let (media, body) = match operation.request {
                    RequestBody::Bytes(media) => (media[0], FLOW.to_owned() + "\n# other\n"),
                    RequestBody::MaybeJson(_) => ("application/json", "{}".to_owned()),
                    _ => (
                        "application/json",
                        json!({"downlink": "execute"}).to_string(),
                    ),
                };
                let mut path = path_of(operation, &group);
                if operation.path.contains("{package_id}") {
                    path = path.replace("ffffffffffffffffffffffff", &package);
                }
                let request = Request::builder()
                    .method(operation.method.clone())
                    .uri(path)
                    .header("content-type", media)
                    .header(header.name, value);
                let answer = server.send(request.body(Body::from(body)).unwrap()).await;
                let told = match want {
                    304 => {
                        (answer.status != StatusCode::NOT_MODIFIED).then(|| format!("{answer:?}"))
                    }
                    want => problem(&answer, &[want], header.name),
                };
                let shown = String::from_utf8_lossy(value).into_owned();
                let shown = format!("{} {}: {shown}", operation.id, header.name);
                failures.extend(told.map(|told| format!("{shown}: {told}")));
            }
        }
    }
    assert!(count > 50, "{count} preconditions");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(holds(&server), before);
}
