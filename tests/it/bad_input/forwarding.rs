//! Rules, actions, policies and queues refuse what they do not take.

use axum::http::Method;
use serde_json::json;

use super::Takes::{
    Bool, Host, Id, MaybeId, Name, Plain, Queue, Range, Struct, Text, Url, Whole, Word,
};
use super::query::{APP, BOOL, PAGE, long_name, word};
use super::{Call, INVALID, QueryField, call, check, needed, optional};
use crate::api::Server;
use crate::api_rules::{made, new_action};

const RULES: &str = "/v5/iot/x/routing-rule/rules";
const ACTIONS: &str = "/v5/iot/x/routing-rule/actions";

const RESOURCES: &[&str] = &[
    "device",
    "device.property",
    "device.message",
    "device.message.status",
    "device.status",
    "batchtask",
    "product",
    "device.command.status",
    "device.commmad.status",
    "device.upgrade",
    "device.limit",
];
const CHANNELS: &[&str] = &[
    "HTTP_FORWARDING",
    "DIS_FORWARDING",
    "OBS_FORWARDING",
    "AMQP_FORWARDING",
    "DMS_KAFKA_FORWARDING",
];
const APP_TYPES: &[&str] = &["GLOBAL", "APP"];

/// An id of up to 36 characters.
const fn id(name: &'static str) -> QueryField {
    QueryField { name, ..APP }
}

#[tokio::test]
async fn rules_refuse_what_they_do_not_take() {
    let server = Server::start();
    let body = json!({"subject": {"resource": "device", "event": "create"}, "app_type": "APP"});
    let rule = made(&server, RULES, &body, "rule_id").await;
    let clauses = [
        optional("/rule_name", Name(1, 256)),
        optional("/description", Text(0, 1024)),
        optional("/select", Text(0, 2500)),
        optional("/where", Text(0, 2500)),
    ];
    let own = [
        needed("/subject", Struct),
        needed("/subject/resource", Word(RESOURCES)),
        needed(
            "/subject/event",
            Word(&["create", "update", "delete", "device"]),
        ),
        optional("/app_type", Word(APP_TYPES)),
        optional("/app_id", Id(36)),
    ];
    let calls = [
        Call {
            body_fields: [&clauses[..], &own].concat(),
            ..call(Method::POST, RULES, Some(body))
        },
        Call {
            body_fields: [&clauses[..], &[optional("/active", Bool)]].concat(),
            ..call(Method::PUT, &format!("{RULES}/{rule}"), Some(json!({})))
        },
        Call {
            query_fields: [
                PAGE.to_vec(),
                vec![
                    APP,
                    word("resource", RESOURCES),
                    word(
                        "event",
                        &["create", "update", "delete", "report", "device.status"],
                    ),
                    word("app_type", APP_TYPES),
                    word("active", BOOL),
                    long_name("rule_name"),
                ],
            ]
            .concat(),
            ..call(Method::GET, RULES, None)
        },
    ];
    check(&server, &calls).await;
}

#[tokio::test]
async fn actions_refuse_what_they_do_not_take() {
    let server = Server::start();
    let rule = json!({"subject": {"resource": "device", "event": "create"}});
    let rule = made(&server, RULES, &rule, "rule_id").await;
    let body = new_action(&rule, "https://h/");
    let action = made(&server, ACTIONS, &body, "action_id").await;
    let http = [
        optional("/channel_detail/http_forwarding/cert_id", MaybeId(36)),
        optional("/channel_detail/http_forwarding/cn_name", Host(259)),
        optional("/channel_detail/http_forwarding/sni_enable", Bool),
        optional("/channel_detail/http_forwarding/signature_enable", Bool),
        optional("/channel_detail/http_forwarding/token", Plain(3, 32)),
        optional("/channel_detail/http_forwarding/tls_verify", Bool),
    ];
    let channel = Word(&["HTTP_FORWARDING"]);
    let new = [
        needed("/rule_id", Id(36)),
        needed("/channel", channel),
        needed("/channel_detail", Struct),
        needed("/channel_detail/http_forwarding", Struct),
        needed("/channel_detail/http_forwarding/url", Url(2048)),
    ];
    let changed = [
        optional("/channel", channel),
        optional("/channel_detail", Struct),
        optional("/channel_detail/http_forwarding", Struct),
        optional("/channel_detail/http_forwarding/url", Url(2048)),
    ];
    let mut patch = body.clone();
    patch["rule_id"] = json!("ignored");
    let calls = [
        Call {
            body_fields: [&new[..], &http].concat(),
            ..call(Method::POST, ACTIONS, Some(body))
        },
        Call {
            body_fields: [&changed[..], &http].concat(),
            ..call(Method::PUT, &format!("{ACTIONS}/{action}"), Some(patch))
        },
        Call {
            query_fields: [
                PAGE.to_vec(),
                vec![
                    APP,
                    id("rule_id"),
                    word("channel", &["HTTP_FORWARDING", "MQTT_DEVICE_FORWARDING"]),
                    word("app_type", APP_TYPES),
                ],
            ]
            .concat(),
            ..call(Method::GET, ACTIONS, None)
        },
    ];
    check(&server, &calls).await;
}

#[tokio::test]
async fn policies_refuse_what_they_do_not_take() {
    const BACKLOG: &str = "/v5/iot/x/routing-rule/backlog-policy";
    const FLOW: &str = "/v5/iot/x/routing-rule/flowcontrol-policy";
    let server = Server::start();
    let backlog = made(&server, BACKLOG, &json!({}), "policy_id").await;
    let flow = made(&server, FLOW, &json!({}), "policy_id").await;
    let named = [
        optional("/policy_name", Name(1, 256)),
        optional("/description", Name(0, 256)),
    ];
    let bounds = [
        optional("/backlog_size", Whole(1_073_741_823)),
        optional("/backlog_time", Whole(86_399)),
    ];
    let limit = [optional("/limit", Range(1, 1000))];
    let scope = [
        optional("/scope", Word(&["CHANNEL", "RULE", "ACTION"])),
        needed("/scope_value", Word(CHANNELS)),
    ];
    let channel = json!({"scope": "CHANNEL", "scope_value": "OBS_FORWARDING"});
    let calls = [
        Call {
            body_fields: [&named[..], &bounds].concat(),
            ..call(Method::POST, BACKLOG, Some(json!({})))
        },
        Call {
            body_fields: [&named[..], &bounds].concat(),
            ..call(
                Method::PUT,
                &format!("{BACKLOG}/{backlog}"),
                Some(json!({})),
            )
        },
        Call {
            query_fields: [PAGE.to_vec(), vec![long_name("policy_name")]].concat(),
            ..call(Method::GET, BACKLOG, None)
        },
        Call {
            body_fields: [&named[..], &limit].concat(),
            ..call(Method::POST, FLOW, Some(json!({})))
        },
        Call {
            body_fields: [&named[..], &limit].concat(),
            ..call(Method::PUT, &format!("{FLOW}/{flow}"), Some(json!({})))
        },
        Call {
            query_fields: [
                PAGE.to_vec(),
                vec![
                    word("scope", &["USER", "CHANNEL", "RULE", "ACTION"]),
                    id("scope_value"),
                    long_name("policy_name"),
                ],
            ]
            .concat(),
            ..call(Method::GET, FLOW, None)
        },
    ];
    check(&server, &calls).await;
    // What the scope is decides what its value takes.
    let scoped = Call {
        body_fields: vec![scope[1]],
        ..call(Method::POST, FLOW, Some(channel.clone()))
    };
    let scopes = Call {
        body_fields: vec![scope[0]],
        ..call(Method::POST, FLOW, Some(json!({})))
    };
    check(&server, &[scoped, scopes]).await;
}

#[tokio::test]
async fn queues_and_access_codes_refuse_what_they_do_not_take() {
    const QUEUES: &str = "/v5/iot/x/amqp-queues";
    let server = Server::start();
    let part = QueryField {
        name: "queue_name",
        bad: &[(INVALID, "a%00"), (INVALID, "a%20b"), (INVALID, LONG)],
        good: &["", "a.b:c|d-e_f"],
    };
    let calls = [
        Call {
            body_fields: vec![needed("/queue_name", Queue(8, 128))],
            ..call(
                Method::POST,
                QUEUES,
                Some(json!({"queue_name": "Water.meters"})),
            )
        },
        Call {
            query_fields: [PAGE.to_vec(), vec![part]].concat(),
            ..call(Method::GET, QUEUES, None)
        },
        Call {
            body_fields: vec![
                optional("/type", Word(&["AMQP", "MQTT"])),
                optional("/force_disconnect", Bool),
            ],
            ..call(Method::POST, "/v5/iot/x/auth/accesscode", Some(json!({})))
        },
        Call {
            query_fields: PAGE.to_vec(),
            ..call(Method::GET, "/v1/push-certificates", None)
        },
    ];
    check(&server, &calls).await;
}

/// 129 characters.
const LONG: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq\
    qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";
