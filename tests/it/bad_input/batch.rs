//! Batch tasks and their files refuse what they do not take.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use super::Takes::{Bool, Id, Letters, List, Name, Object, Range, Struct, Text, Time, Whole, Word};
use super::query::{APP, PAGE, text, word};
use super::{Call, INVALID, call, check, holds, needed, optional};
use crate::api_batch::{PATH, start};

const SERVED: &[&str] = &[
    "createDevices",
    "deleteDevices",
    "freezeDevices",
    "unfreezeDevices",
    "updateDevices",
    "createAsyncCommands",
];

#[tokio::test]
async fn tasks_refuse_what_they_do_not_take() {
    let server = start().await;
    // Its time never comes: what the server holds changes by the requests alone.
    let later = json!({"schedule_time": "20260302T120000Z", "retry_count": 1, "retry_interval": 1});
    let update = Call {
        body_fields: vec![
            needed("/task_name", Letters(1, 128)),
            needed("/task_type", Word(SERVED)),
            optional("/app_id", Id(36)),
            optional("/task_mode", Text(0, 64)),
            optional("/need_confirm", Bool),
            optional("/task_ext_info", Object),
            needed("/targets", List(1, 30_000)),
            needed("/targets/0", Id(128)),
            optional("/targets_filter", Struct),
            needed("/targets_filter/group_ids", List(1, 100)),
            needed("/document", Struct),
            optional("/document/device_name", Name(0, 256)),
            optional("/document/description", Name(0, 2048)),
            optional("/document/extension_info", Object),
            optional("/document/auth_info", Struct),
            optional("/document/auth_info/secure_access", Bool),
            optional("/document/auth_info/timeout", Whole(2_147_483_647)),
            optional("/document/devices", List(1, 30_000)),
            optional("/document_source", Id(36)),
            optional("/task_policy", Struct),
            optional("/task_policy/schedule_time", Time),
            needed("/task_policy/retry_count", Range(0, 5)),
            needed("/task_policy/retry_interval", Range(0, 1440)),
        ],
        ..call(
            Method::POST,
            PATH,
            Some(
                json!({"task_name": "t", "task_type": "updateDevices", "targets": ["gone"],
                "document": {"description": "x", "auth_info": {"timeout": 1}},
                "task_policy": later}),
            ),
        )
    };
    let groups = Call {
        body_fields: vec![
            needed("/targets_filter", Struct),
            needed("/targets_filter/group_ids/0", Id(36)),
        ],
        ..call(
            Method::POST,
            PATH,
            Some(json!({"task_name": "t", "task_type": "freezeDevices",
                "targets_filter": {"group_ids": ["g"]}, "task_policy": later})),
        )
    };
    // No targets at all are told as missing targets.
    let groups = Call {
        body_fields: groups.body_fields.into_iter().skip(1).collect(),
        ..groups
    };
    let statuses = &[
        "Initializing",
        "Waitting",
        "Processing",
        "Success",
        "Fail",
        "PartialSuccess",
        "Stopping",
        "Stopped",
    ];
    let list = Call {
        query: "task_type=freezeDevices",
        query_fields: [
            PAGE.to_vec(),
            vec![APP, word("task_type", SERVED), word("status", statuses)],
        ]
        .concat(),
        ..call(Method::GET, PATH, None)
    };
    check(&server, &[update, groups, list]).await;
    let one = server.get(&format!("{PATH}?task_type=updateDevices")).await;
    let one = one.body["batchtasks"][0]["task_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let details = &[
        "Success",
        "Fail",
        "Processing",
        "FailWaitRetry",
        "Stopped",
        "Waitting",
        "Removed",
    ];
    let mut calls = vec![Call {
        query_fields: [
            PAGE.to_vec(),
            vec![word("task_detail_status", details), text("target", 128)],
        ]
        .concat(),
        ..call(Method::GET, &format!("{PATH}/{one}"), None)
    }];
    for order in ["retry", "confirm", "stop"] {
        calls.push(Call {
            body_fields: vec![
                optional("/targets", List(1, 100)),
                needed("/targets/0", Id(128)),
            ],
            ..call(
                Method::POST,
                &format!("{PATH}/{one}/{order}"),
                Some(json!({"targets": ["gone"]})),
            )
        });
    }
    // A task without targets to name is stopped whole, so this goes last.
    check(&server, &calls).await;
}

/// One part of a form: its head and its bytes.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, bytes) in parts {
        body.extend(format!("--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n").bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    body
}

#[tokio::test]
async fn files_refuse_what_they_do_not_take() {
    const FORM: &str = "multipart/form-data; boundary=edge";
    const MALFORMED: &str = "IOTDA.000008";
    const CSV: &[u8] = b"device_id\nd1\n";
    let server = start().await;
    let file = "name=\"file\"; filename=\"a.csv\"";
    let long = format!("name=\"file\"; filename=\"{}\"", "a".repeat(256));
    let big = vec![b'a'; 5 * 1024 * 1024];
    let cases: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        (
            "application/json",
            b"{}".to_vec(),
            400,
            MALFORMED,
            "Content-Type: ",
        ),
        ("text/csv", CSV.to_vec(), 400, MALFORMED, "Content-Type: "),
        (
            "multipart/form-data",
            form(&[(file, CSV)]),
            400,
            MALFORMED,
            "Content-Type: ",
        ),
        (
            "multipart/form-data; boundary=other",
            form(&[(file, CSV)]),
            400,
            MALFORMED,
            "form",
        ),
        (FORM, Vec::new(), 400, MALFORMED, "the form can't be read"),
        (
            FORM,
            form(&[(file, CSV)])[..60].to_vec(),
            400,
            MALFORMED,
            "form can't be read",
        ),
        (FORM, form(&[]), 400, INVALID, "file: is missing"),
        (
            FORM,
            form(&[("name=\"other\"; filename=\"a\"", CSV)]),
            400,
            INVALID,
            "file: is missing",
        ),
        (
            FORM,
            form(&[(file, CSV), (file, CSV)]),
            400,
            INVALID,
            "file: is given twice",
        ),
        (
            FORM,
            form(&[("name=\"file\"", CSV)]),
            400,
            INVALID,
            "file: its name has 0 characters",
        ),
        (
            FORM,
            form(&[(&long, CSV)]),
            400,
            INVALID,
            "file: its name has 256 characters",
        ),
        (FORM, form(&[(file, b"")]), 400, INVALID, "file: is empty"),
        (
            FORM,
            form(&[(file, &[0xff, 0xfe, 0])]),
            400,
            INVALID,
            "file: ",
        ),
        (FORM, form(&[(file, &big)]), 413, MALFORMED, ""),
    ];
    let before = holds(&server);
    let mut failures = Vec::new();
    for (at, (media, body, status, code, message)) in cases.into_iter().enumerate() {
        let request = Request::post("/v5/iot/x/batchtask-files").header("content-type", media);
        let answer = server.send(request.body(Body::from(body)).unwrap()).await;
        let got = answer.error();
        if (got.0, got.1) != (status, code) || !got.2.contains(message) {
            failures.push(format!(
                "{at} {media}: {got:?}\n  want {status} {code} {message}"
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(holds(&server), before);
}
