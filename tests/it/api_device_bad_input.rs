//! Bad input to devices, shadows, groups, tags and searches: every answer is 4xx with its code and
//! names the field, and nothing changes.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::api::Server;
use crate::bad_input::Takes::{
    Bool, Fingerprint, Id, List, Name, Object, Secret, Tag, Text, Whole, Word,
};
use crate::bad_input::{
    APP, Call, INVALID, PAGE, QueryField, check, holds, needed, optional, time,
};

const V5: &str = "/v5/iot/x";

/// A product, a device in a group, and the group's id.
async fn world() -> (Server, String) {
    let server = Server::start().with_product().await;
    let device = json!({"node_id": "n0", "product_id": "p1", "device_id": "d0"});
    assert_eq!(
        server.post(&format!("{V5}/devices"), &device).await.status,
        201
    );
    let made = server
        .post(&format!("{V5}/device-group"), &json!({"name": "g0"}))
        .await;
    let group = made.body["group_id"].as_str().unwrap().to_owned();
    let url = format!("{V5}/device-group/{group}/action?action_id=addDevice&device_id=d0");
    assert_eq!(server.post(&url, &json!({})).await.status, 200);
    (server, group)
}

fn call(method: Method, path: &str, body: Option<Value>) -> Call {
    Call {
        method,
        path: format!("{V5}{path}"),
        query: "",
        body,
        body_fields: Vec::new(),
        query_fields: Vec::new(),
    }
}

const ID_128: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const ID_129: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const fn id(name: &'static str) -> QueryField {
    QueryField {
        name,
        bad: &[
            (INVALID, ""),
            (INVALID, "a%2Fb"),
            (INVALID, "a%20b"),
            (INVALID, ID_129),
        ],
        good: &["a"],
    }
}

#[tokio::test]
async fn devices_refuse_what_they_do_not_take() {
    let (server, _) = world().await;
    let create = Call {
        body_fields: vec![
            optional("/device_id", Id(128)),
            needed("/node_id", Id(64)),
            optional("/device_name", Name(0, 256)),
            needed("/product_id", Id(36)),
            optional("/auth_info", Object),
            optional("/auth_info/auth_type", Word(&["SECRET", "CERTIFICATES"])),
            optional("/auth_info/secret", Secret(8, 32)),
            optional("/auth_info/fingerprint", Fingerprint),
            optional("/auth_info/secure_access", Bool),
            optional("/auth_info/timeout", Whole(2_147_483_647)),
            optional("/description", Name(0, 2048)),
            optional("/gateway_id", Id(128)),
            optional("/app_id", Id(36)),
            optional("/extension_info", Object),
            optional("/shadow", List(0, 500)),
            needed("/shadow/0/service_id", Name(1, 32)),
            needed("/shadow/0/desired", Object),
        ],
        ..call(
            Method::POST,
            "/devices",
            // What is at its limit may be taken: not twice, for the device is there.
            Some(json!({"node_id": "n0", "product_id": "p1",
                        "shadow": [{"service_id": "Flow", "desired": {"interval": 60}}]})),
        )
    };
    let mut fields = create.body_fields;
    // An object with any fields is no auth_info.
    fields.retain(|field| field.place != "/auth_info");
    let create = Call {
        body_fields: fields,
        ..create
    };
    let list = Call {
        query_fields: [
            PAGE.to_vec(),
            vec![
                APP,
                time("start_time"),
                time("end_time"),
                id("gateway_id"),
                id("product_id"),
                id("node_id"),
                QueryField {
                    name: "is_cascade_query",
                    bad: &[
                        (INVALID, ""),
                        (INVALID, "True"),
                        (INVALID, "1"),
                        (INVALID, "yes"),
                    ],
                    good: &["true", "false"],
                },
                QueryField {
                    name: "device_name",
                    bad: &[(INVALID, ""), (INVALID, "a%3Cb"), (INVALID, "a%00b")],
                    good: &["%E6%B0%B4"],
                },
            ],
        ]
        .concat(),
        ..call(Method::GET, "/devices", None)
    };
    let update = Call {
        body_fields: vec![
            optional("/device_name", Name(0, 256)),
            optional("/description", Name(0, 2048)),
            optional("/extension_info", Object),
            optional("/auth_info/secure_access", Bool),
            optional("/auth_info/timeout", Whole(2_147_483_647)),
        ],
        ..call(Method::PUT, "/devices/d0", Some(json!({})))
    };
    let reset = Call {
        query: "action_id=resetSecret",
        query_fields: vec![QueryField {
            name: "action_id",
            bad: &[(INVALID, ""), (INVALID, "resetsecret"), (INVALID, "delete")],
            good: &["resetSecret"],
        }],
        body_fields: vec![
            optional("/secret", Secret(8, 32)),
            optional("/force_disconnect", Bool),
            optional("/secret_type", Word(&["PRIMARY", "SECONDARY"])),
        ],
        ..call(Method::POST, "/devices/d0/action", Some(json!({})))
    };
    let desire = Call {
        body_fields: vec![
            optional("/shadow", List(0, 500)),
            needed("/shadow/0/service_id", Name(1, 64)),
            needed("/shadow/0/desired", Object),
            optional("/shadow/0/version", Whole(4_294_967_295)),
        ],
        ..call(
            Method::PUT,
            "/devices/d0/shadow",
            Some(json!({"shadow": [{"service_id": "Flow", "desired": {"interval": 60}}]})),
        )
    };
    check(&server, &[create, list, update, reset, desire]).await;
}

#[tokio::test]
async fn groups_tags_and_searches_refuse_what_they_do_not_take() {
    let (server, group) = world().await;
    let types = &["STATIC", "DYNAMIC"];
    let create = Call {
        body_fields: vec![
            optional("/name", Name(1, 64)),
            optional("/description", Name(0, 64)),
            optional("/super_group_id", Id(36)),
            optional("/app_id", Id(36)),
            optional("/group_type", Word(types)),
            optional("/dynamic_group_rule", Text(1, 4096)),
        ],
        ..call(Method::POST, "/device-group", Some(json!({"name": "g0"})))
    };
    let list = Call {
        query_fields: [
            PAGE.to_vec(),
            vec![
                APP,
                time("last_modified_time"),
                QueryField {
                    name: "group_type",
                    bad: &[(INVALID, ""), (INVALID, "static")],
                    good: types,
                },
                QueryField {
                    name: "name",
                    bad: &[(INVALID, ""), (INVALID, "a%3Cb")],
                    good: &["g0"],
                },
            ],
        ]
        .concat(),
        ..call(Method::GET, "/device-group", None)
    };
    let update = Call {
        body_fields: vec![
            optional("/name", Name(1, 64)),
            optional("/description", Name(0, 64)),
        ],
        ..call(
            Method::PUT,
            &format!("/device-group/{group}"),
            Some(json!({})),
        )
    };
    let act = Call {
        query: "action_id=addDevice&device_id=d0",
        query_fields: vec![
            QueryField {
                name: "action_id",
                bad: &[(INVALID, ""), (INVALID, "adddevice"), (INVALID, "drop")],
                good: &["addDevice"],
            },
            QueryField {
                name: "device_id",
                bad: &[(INVALID, ""), (INVALID, "a%2Fb"), (INVALID, ID_129)],
                good: &["d0"],
            },
        ],
        ..call(Method::POST, &format!("/device-group/{group}/action"), None)
    };
    let members = Call {
        query_fields: PAGE.to_vec(),
        ..call(Method::GET, &format!("/device-group/{group}/devices"), None)
    };
    let device = &["device"];
    let bind = Call {
        body_fields: vec![
            needed("/resource_type", Word(device)),
            needed("/resource_id", Id(128)),
            needed("/tags", List(1, 10)),
            needed("/tags/0/tag_key", Tag(1, 64)),
            optional("/tags/0/tag_value", Tag(0, 128)),
        ],
        ..call(
            Method::POST,
            "/tags/bind-resource",
            Some(json!({"resource_type": "device", "resource_id": "d0",
                        "tags": [{"tag_key": "a", "tag_value": "b"}]})),
        )
    };
    let unbind = Call {
        body_fields: vec![
            needed("/resource_type", Word(device)),
            needed("/resource_id", Id(128)),
            needed("/tag_keys", List(1, 100)),
            optional("/tag_keys/1", Tag(1, 64)),
        ],
        ..call(
            Method::POST,
            "/tags/unbind-resource",
            Some(json!({"resource_type": "device", "resource_id": "d0", "tag_keys": ["x", "y"]})),
        )
    };
    let unbind = Call {
        body_fields: unbind
            .body_fields
            .into_iter()
            // An entry of a list is not absent.
            .filter(|field| field.place != "/tag_keys/1")
            .collect(),
        ..unbind
    };
    let tagged = Call {
        query_fields: PAGE.to_vec(),
        body_fields: vec![
            needed("/resource_type", Word(device)),
            needed("/tags", List(1, 10)),
            needed("/tags/0/tag_key", Tag(1, 64)),
            optional("/tags/0/tag_value", Tag(0, 128)),
        ],
        ..call(
            Method::POST,
            "/tags/query-resources",
            Some(json!({"resource_type": "device", "tags": [{"tag_key": "a"}]})),
        )
    };
    let search = Call {
        body_fields: vec![needed("/sql", Text(1, 16_384))],
        ..call(
            Method::POST,
            "/search/query-devices",
            Some(json!({"sql": "select * from device"})),
        )
    };
    // `sql` at its limit is read, and is no statement.
    let calls = [create, list, update, act, members, bind, unbind, tagged];
    check(&server, &calls).await;
    for (about, sql) in [
        ("a number", json!({"sql": 1})),
        ("empty", json!({"sql": ""})),
        ("absent", json!({})),
        ("over its limit", json!({"sql": "a".repeat(16_385)})),
        ("at its limit", json!({"sql": "a".repeat(16_384)})),
        ("another table", json!({"sql": "select * from product"})),
    ] {
        let answer = server.post(&search.path, &sql).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, INVALID), "{about}");
        assert!(message.starts_with("sql: "), "{about}: {message}");
    }
}

#[tokio::test]
async fn bodies_that_are_none_and_paths_that_lead_elsewhere() {
    let (server, group) = world().await;
    let before = holds(&server);
    let big = format!("{{\"sql\": \"{}\"}}", "a".repeat(1024 * 1024));
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(500), "]".repeat(500));
    let bodies: [(&str, Vec<u8>, u16); 7] = [
        ("application/json", big.into(), 413),
        ("application/json", deep.into(), 400),
        ("application/json", b"{\"a\":".to_vec(), 400),
        ("application/json", vec![b'{', b'"', 0xff, b'"', b'}'], 400),
        ("application/json", Vec::new(), 400),
        ("application/xml", b"{}".to_vec(), 400),
        ("application/json; charset=utf-16", b"{}".to_vec(), 400),
    ];
    let writes = [
        (Method::POST, "/devices".to_owned()),
        (Method::PUT, "/devices/d0".to_owned()),
        (Method::POST, "/device-group".to_owned()),
        (Method::PUT, format!("/device-group/{group}")),
        (Method::POST, "/tags/bind-resource".to_owned()),
        (Method::POST, "/tags/unbind-resource".to_owned()),
        (Method::POST, "/tags/query-resources".to_owned()),
        (Method::POST, "/search/query-devices".to_owned()),
    ];
    for (method, path) in &writes {
        for (media, body, want) in &bodies {
            let request = Request::builder()
                .method(method.clone())
                .uri(format!("{V5}{path}"))
                .header("content-type", *media);
            let request = request.body(Body::from(body.clone())).unwrap();
            let answer = server.send(request).await;
            let (status, code, message) = answer.error();
            let shown = format!("{path} {media}: {message}");
            assert_eq!((status, code), (*want, "IOTDA.000008"), "{shown}");
        }
    }
    let long = "a".repeat(5000);
    let ids = [
        "a%2Fb", "..%2Fd0", "%2e%2e", "a%00", "a%0d%0ab", "%ff", "a%20b", ID_129, &long,
    ];
    for id in ids {
        for path in [
            "/devices/{}",
            "/devices/{}/shadow",
            "/devices/{}/list-device-group",
        ] {
            let url = format!("{V5}{}", path.replace("{}", id));
            let method = match path.ends_with("group") {
                true => Method::POST,
                false => Method::GET,
            };
            let answer = server.call(method, &url, None).await;
            assert_eq!(answer.status, 400, "{url:.80}: {:?}", answer.body);
        }
        for path in ["/device-group/{}", "/device-group/{}/devices"] {
            let url = format!("{V5}{}", path.replace("{}", id));
            let answer = server.get(&url).await;
            assert_eq!(answer.status, 400, "{url:.80}: {:?}", answer.body);
        }
        let url = format!("{V5}/devices/{id}");
        assert_eq!(server.delete(&url).await.status, 400, "{url:.80}");
    }
    for nobody in [ID_128, "nobody"] {
        let got = server.get(&format!("{V5}/devices/{nobody}")).await;
        assert_eq!(got.error().1, "IOTDA.014000");
    }
    let got = server.get(&format!("{V5}/device-group/nobody")).await;
    assert_eq!(
        got.error(),
        (404, INVALID, "group_id: there is no group nobody")
    );
    assert_eq!(holds(&server), before);
}
