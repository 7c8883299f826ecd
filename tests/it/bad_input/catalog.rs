//! Products, resource spaces and certificates refuse what they do not take.

use axum::http::Method;
use serde_json::{Value, json};

use super::Takes::{
    Bool, Decimal, Id, List, MaybeId, Name, Number, Pem, Struct, Text, Whole, Word,
};
use super::query::{APP, BOOL, PAGE, name, word};
use super::{Call, Field, call, check, needed, optional};
use crate::api::Server;
use crate::conformity::document;

const PROTOCOLS: &[&str] = &[
    "MQTT", "CoAP", "HTTP", "HTTPS", "Modbus", "ONVIF", "OPC-UA", "OPC-DA", "Other", "TCP", "UDP",
];
const TYPES: &[&str] = &[
    "int",
    "long",
    "decimal",
    "string",
    "DateTime",
    "jsonObject",
    "boolean",
    "string list",
];

/// `p1` with one of everything that a model may have.
fn product() -> Value {
    let para = json!({"para_name": "open", "data_type": "int", 
        "enum_list": ["x"]});
    json!({
        "product_id": "p1", "name": "Meter", "device_type": "WaterMeter", "protocol_type": "CoAP",
        "data_format": "binary",
        "service_capabilities": [{
            "service_id": "Flow", "service_type": "Flow",
            "properties": [{"property_name": "volume", "data_type": "int", "method": "R",
                "enum_list": ["x"]}],
            "commands": [{"command_name": "SET", "paras": [para],
                "responses": [{"response_name": "DONE", "paras": [para]}]}],
            "events": [{"event_type": "leak", "paras": [para]}]
        }]
    })
}

/// What a property and a parameter share.
fn typed(at: &str) -> Vec<Field> {
    let place = |name: &str| -> &'static str { format!("{at}/{name}").leak() };
    vec![
        needed(place("data_type"), Word(TYPES)),
        optional(place("required"), Bool),
        optional(place("enum_list"), List(0, 500)),
        needed(place("enum_list/0"), Text(0, 1024)),
        optional(place("min"), Decimal),
        optional(place("max"), Decimal),
        optional(place("max_length"), Whole(2_147_483_647)),
        optional(place("step"), Number(0.0, f64::MAX)),
        optional(place("unit"), Text(0, 16)),
        optional(place("description"), Text(0, 128)),
    ]
}

/// The model, as a product is made with it and as it is changed.
fn model() -> Vec<Field> {
    const ONE: &str = "/service_capabilities/0";
    let place = |name: &str| -> &'static str { format!("{ONE}/{name}").leak() };
    let mut fields = vec![
        needed(place("service_id"), Name(1, 64)),
        needed(place("service_type"), Name(1, 64)),
        optional(place("description"), Text(0, 128)),
        optional(place("option"), Word(&["Master", "Mandatory", "Optional"])),
        optional(place("properties"), List(0, 500)),
        needed(place("properties/0"), Struct),
        optional(place("commands"), List(0, 500)),
        needed(place("commands/0"), Struct),
        optional(place("events"), List(0, 500)),
        needed(place("events/0"), Struct),
        needed(place("properties/0/property_name"), Name(1, 64)),
        needed(
            place("properties/0/method"),
            Word(&["RWE", "RW", "RE", "WE", "E", "W", "R"]),
        ),
        needed(place("commands/0/command_name"), Name(1, 64)),
        optional(place("commands/0/responses"), List(0, 500)),
        needed(place("commands/0/responses/0/response_name"), Name(1, 128)),
        needed(place("events/0/event_type"), Name(1, 32)),
    ];
    fields.extend(typed(place("properties/0")));
    for paras in [
        "commands/0/paras",
        "commands/0/responses/0/paras",
        "events/0/paras",
    ] {
        fields.push(optional(place(paras), List(0, 500)));
        fields.push(needed(place(&format!("{paras}/0")), Struct));
        fields.push(needed(place(&format!("{paras}/0/para_name")), Name(1, 32)));
        fields.extend(typed(place(&format!("{paras}/0"))));
    }
    fields
}

#[tokio::test]
async fn products_refuse_what_they_do_not_take() {
    const PATH: &str = "/v5/iot/x/products";
    let server = Server::start();
    assert_eq!(server.post(PATH, &product()).await.status, 201);
    let formats = &["json", "binary"];
    let create = Call {
        body_fields: [
            vec![
                optional("/product_id", Id(36)),
                needed("/name", Name(1, 64)),
                needed("/device_type", Name(1, 32)),
                needed("/protocol_type", Word(PROTOCOLS)),
                optional("/data_format", Word(formats)),
                needed("/service_capabilities", List(0, 500)),
                needed("/service_capabilities/0", Struct),
                optional("/manufacturer_name", Name(0, 32)),
                optional("/industry", Name(0, 64)),
                optional("/description", Text(0, 128)),
                optional("/app_id", Id(36)),
            ],
            model(),
        ]
        .concat(),
        ..call(Method::POST, PATH, Some(product()))
    };
    let update = Call {
        body_fields: [
            vec![
                optional("/name", Name(1, 64)),
                optional("/device_type", Name(1, 32)),
                optional("/protocol_type", Word(PROTOCOLS)),
                optional("/data_format", Word(formats)),
                optional("/service_capabilities", List(0, 500)),
                optional("/manufacturer_name", Name(0, 32)),
                optional("/industry", Name(0, 64)),
                optional("/description", Text(0, 128)),
                optional("/app_id", Id(36)),
            ],
            model(),
        ]
        .concat(),
        ..call(Method::PUT, "/v5/iot/x/products/p1", Some(product()))
    };
    let list = Call {
        query_fields: [PAGE.to_vec(), vec![APP, name("product_name")]].concat(),
        ..call(Method::GET, PATH, None)
    };
    let one = |method| Call {
        query_fields: vec![APP],
        ..call(method, "/v5/iot/x/products/p1", None)
    };
    let calls = [create, update, list, one(Method::GET), one(Method::DELETE)];
    check(&server, &calls).await;
}

#[tokio::test]
async fn spaces_and_certificates_refuse_what_they_do_not_take() {
    const SPACES: &str = "/v5/iot/x/apps";
    const PATH: &str = "/v5/iot/x/certificates";
    const PEM_MAX: usize = 16 * 1024;
    let server = Server::start().with_spaces(&["s1"]).await;
    let one = format!("{PATH}/{}", "f".repeat(24));
    let calls = [
        Call {
            body_fields: vec![needed("/app_name", Name(1, 64))],
            ..call(Method::POST, SPACES, Some(json!({"app_name": "s1"})))
        },
        Call {
            body_fields: vec![optional("/app_name", Name(1, 64))],
            ..call(Method::PUT, "/v5/iot/x/apps/s1", Some(json!({})))
        },
        Call {
            query_fields: vec![word("default_app", BOOL)],
            ..call(Method::GET, SPACES, None)
        },
        Call {
            body_fields: vec![
                needed("/content", Pem(PEM_MAX)),
                optional("/app_id", Id(36)),
            ],
            ..call(Method::POST, PATH, Some(json!({"content": "x"})))
        },
        Call {
            query_fields: [PAGE.to_vec(), vec![APP]].concat(),
            ..call(Method::GET, PATH, None)
        },
        Call {
            body_fields: vec![
                optional("/provision_enable", Bool),
                optional("/template_id", MaybeId(64)),
                optional("/ocsp_enable", Bool),
                optional("/ocsp_ssl_enable", Bool),
                optional("/ocsp_server_ca_id", MaybeId(64)),
            ],
            ..call(Method::PUT, &one, Some(json!({})))
        },
    ];
    check(&server, &calls).await;
    let example = "/paths/~1v5~1iot~1{project_id}~1certificates/post/requestBody/content\
                   /application~1json/example";
    let example = document().pointer(example).unwrap();
    let made = server.post(PATH, example).await;
    let id = made.body["certificate_id"].as_str().unwrap();
    let verify = Call {
        query: "action_id=verify",
        query_fields: vec![word("action_id", &["verify"])],
        body_fields: vec![needed("/verify_content", Pem(PEM_MAX))],
        ..call(
            Method::POST,
            &format!("{PATH}/{id}/action"),
            Some(json!({"verify_content": "x"})),
        )
    };
    check(&server, &[verify]).await;
}
