"""Routing rules, actions, policies, queues and access codes through the SDK: each operation."""

import huaweicloudsdkiotda.v5 as iot

INVALID = "IOTDA.000006"
NO_RULE = "IOTDA.010002"
NO_SPACE = "IOTDA.001000"
MISSING = "0123456789abcdef01234567"

SUBJECTS = {
    "device": ["create", "update", "delete", "device"],
    "device.property": ["report", "device.property"],
    "device.message": ["report", "device.message"],
    "device.message.status": ["update", "device.message.status"],
    "device.status": ["update", "device.status"],
    "batchtask": ["update", "batchtask"],
    "device.upgrade": ["update", "device.upgrade"],
    "device.limit": ["report", "device.limit"],
    "product": ["create", "update", "delete", "product"],
    "device.command.status": ["update", "device.command.status"],
}


def rule(b, resource="device.property", event="report", **fields):
    subject = iot.RoutingRuleSubject(resource=resource, event=event)
    return b.do("create_routing_rule", body=iot.AddRuleReq(subject=subject, **fields)).rule_id


def http(**fields):
    return iot.ChannelDetail(http_forwarding=iot.HttpForwarding(**fields))


def action(b, rule_id, url="http://127.0.0.1:9/events", **fields):
    body = iot.AddActionReq(
        rule_id=rule_id, channel="HTTP_FORWARDING", channel_detail=http(url=url, **fields)
    )
    return b.do("create_rule_action", body=body).action_id


def rules(b):
    """Created, listed, shown, switched on, changed, deleted."""
    name = b.name("rule")
    made = rule(
        b,
        rule_name=name,
        description="Water, north.",
        select="notify_data.header.device_id AS device_id",
        where="notify_data.header.product_id = 'p1'",
    )
    created = b.raw()
    want = {"rule_name": name, "description": "Water, north.", "app_type": "GLOBAL"}
    want |= {"app_id": None, "active": False}
    want["subject"] = {"resource": "device.property", "event": "report"}
    want["select"] = "notify_data.header.device_id AS device_id"
    want["where"] = "notify_data.header.product_id = 'p1'"
    b.check_has("create_routing_rule", want)
    b.do("show_routing_rule", rule_id=made)
    b.check("show_routing_rule", "the whole answer", b.raw(), created)
    b.do("list_routing_rules", rule_name=name)
    b.check("list_routing_rules", "by name", b.raw()["rules"], [created])
    steps = [{"active": True}, {"rule_name": b.name("rule")}, {"description": "Other."}]
    steps += [{"select": "*"}, {"where": "notify_data.header.product_id = 'p2'"}]
    for step in steps:
        created |= step
        b.do("update_routing_rule", rule_id=made, body=iot.UpdateRuleReq(**step))
        b.check("update_routing_rule", f"after {step}", b.raw(), created)
    b.do("delete_routing_rule", rule_id=made)
    for operation, arguments in (
        ("show_routing_rule", {}),
        ("update_routing_rule", {"body": iot.UpdateRuleReq(active=True)}),
        ("delete_routing_rule", {}),
    ):
        b.gone(operation, NO_RULE, rule_id=made, **arguments)


def subjects(b):
    """Every event of every resource, and those that a resource does not have."""
    for resource, events in SUBJECTS.items():
        for event in events:
            made = rule(b, resource, event)
            want = {"resource": resource, "event": event}
            b.check("create_routing_rule", "subject", b.raw()["subject"], want)
            b.do("delete_routing_rule", rule_id=made)
        for event in {"report", "delete", "device.message"} - set(events):
            body = {"subject": {"resource": resource, "event": event}}
            b.refused("create_routing_rule", 400, INVALID, "subject.event", body=body)


def filters(b):
    """Each filter of the list, and its pages: count and marker are at the top."""
    space, name = b.space(), b.name("rule")
    made = [
        rule(b, "device", "create", app_type="APP", app_id=space, rule_name=name),
        rule(b, "product", "update", app_type="APP", app_id=space),
        rule(b, "product", "product", app_type="APP", app_id=space),
    ]
    b.check("create_routing_rule", "app_id", b.raw()["app_id"], space)
    rule(b)
    b.do("update_routing_rule", rule_id=made[1], body=iot.UpdateRuleReq(active=True))
    for arguments, want in (
        ({}, [2, 1, 0]),
        ({"resource": "product"}, [2, 1]),
        ({"event": "update"}, [1]),
        ({"event": "product"}, [2]),
        ({"app_type": "APP"}, [2, 1, 0]),
        ({"app_type": "GLOBAL"}, []),
        ({"rule_name": name}, [0]),
        ({"active": True}, [1]),
        ({"active": False}, [2, 0]),
    ):
        b.do("list_routing_rules", app_id=space, **arguments)
        got = [one["rule_id"] for one in b.raw()["rules"]]
        b.check("list_routing_rules", f"rules with {arguments}", got, [made[n] for n in want])
        b.check("list_routing_rules", f"count with {arguments}", b.raw()["count"], len(want))
    marker, seen = "f" * 24, []
    for _ in range(4):
        b.do("list_routing_rules", app_id=space, limit=1, marker=marker)
        seen += [one["rule_id"] for one in b.raw()["rules"]]
        b.check("list_routing_rules", "count of each page", b.raw()["count"], 3)
        marker = b.raw()["marker"]
    b.check("list_routing_rules", "page by page", seen, made[::-1])
    b.check("list_routing_rules", "marker of an empty page", marker, None)
    b.do("list_routing_rules", app_id=space, offset=2)
    b.check("list_routing_rules", "offset", b.raw()["rules"][0]["rule_id"], made[0])
    b.do("delete_application", app_id=space)
    b.gone("show_routing_rule", NO_RULE, rule_id=made[0])


def actions(b):
    """Created, listed, shown, changed, deleted; a rule goes with its own."""
    space = b.space()
    first, second = rule(b), rule(b, app_type="APP", app_id=space)
    made = action(b, first, sni_enable=True, cn_name="push.example.org", token="abc123")
    created = b.raw()
    want = {"rule_id": first, "app_id": None, "channel": "HTTP_FORWARDING"}
    detail = {"url": "http://127.0.0.1:9/events", "cert_id": None, "cn_name": "push.example.org"}
    detail |= {"sni_enable": True, "signature_enable": False, "token": None, "tls_verify": True}
    want["channel_detail"] = {"http_forwarding": detail}
    b.check_has("create_rule_action", want)
    b.do("show_rule_action", action_id=made)
    b.check("show_rule_action", "the whole answer", b.raw(), created)
    for step in ({"url": "https://h/", "signature_enable": True}, {"url": "https://h:8443/x"}):
        detail |= step
        body = iot.UpdateActionReq(channel="HTTP_FORWARDING", channel_detail=http(**step))
        b.do("update_rule_action", action_id=made, body=body)
        b.check("update_rule_action", f"after {step}", b.raw(), created | want)
    others = [action(b, second, f"http://h/{n}") for n in range(10)]
    b.check("create_rule_action", "the rule's app_id", b.raw()["app_id"], space)
    body = {"rule_id": second, "channel": "HTTP_FORWARDING", "channel_detail": http(url="http://h")}
    b.refused("create_rule_action", 400, INVALID, words=["10"], body=body)
    for arguments, ids in (
        ({"rule_id": first}, [made]),
        ({"rule_id": second, "limit": 3}, others[:6:-1]),
        ({"app_id": space, "limit": 50}, others[::-1]),
        ({"app_type": "APP", "app_id": space, "limit": 1}, others[:8:-1]),
        ({"rule_id": first, "channel": "HTTP_FORWARDING"}, [made]),
        ({"rule_id": first, "channel": "AMQP_FORWARDING"}, []),
    ):
        b.do("list_rule_actions", **arguments)
        got = [one["action_id"] for one in b.raw()["actions"]]
        b.check("list_rule_actions", f"actions with {arguments}", got, ids)
    b.do("delete_rule_action", action_id=others[0])
    b.do("delete_routing_rule", rule_id=second)
    for gone in others[:2]:
        b.gone("show_rule_action", None, action_id=gone)
    b.gone("delete_rule_action", None, action_id=others[1])
    body = iot.UpdateActionReq(channel="HTTP_FORWARDING")
    b.gone("update_rule_action", None, action_id=others[1], body=body)
    b.do("delete_routing_rule", rule_id=first)


def certificates(b):
    """A certificate that was uploaded is named by an action, and stays as long as it is."""
    path, media = "/v1/push-certificates", "application/x-pem-file"
    # The document's example: self-signed, of a CA whose key nobody has.
    documented = b.server.rest("GET", "/openapi.json")[1]["paths"][path]["put"]
    pem = documented["requestBody"]["content"][media]["example"].encode()
    status, uploaded = b.server.rest("PUT", path, pem, content_type=media)
    b.check("push-certificates", "status of an upload", status, 201)
    status, again = b.server.rest("PUT", path, pem, content_type="text/plain")
    b.check("push-certificates", "uploaded again", (status, again), (200, uploaded))
    rule_id = rule(b)
    made = action(b, rule_id, "https://push.example.org/", cert_id=uploaded["cert_id"])
    shown = b.raw()["channel_detail"]["http_forwarding"]["cert_id"]
    b.check("create_rule_action", "cert_id", shown, uploaded["cert_id"])
    one = f"{path}/{uploaded['cert_id']}"
    status, refused = b.server.rest("DELETE", one)
    b.check("push-certificates", "deleted while in use", status, 400)
    b.check_that("push-certificates", "its user", made in refused["error_msg"], refused, made)
    b.do("delete_routing_rule", rule_id=rule_id)
    b.check("push-certificates", "deleted", b.server.rest("DELETE", one), (204, None))
    body = {"rule_id": rule(b), "channel": "HTTP_FORWARDING"}
    body["channel_detail"] = http(url="https://h/", cert_id=uploaded["cert_id"])
    b.refused("create_rule_action", 400, INVALID, "cert_id", body=body)


def bad_rules(b):
    """Each refused with its field."""
    subject = {"resource": "device", "event": "create"}
    for field, body in (
        ("subject", {}),
        ("subject.resource", {"subject": {"event": "create"}}),
        ("subject.event", {"subject": {"resource": "device"}}),
        ("subject.resource", {"subject": subject | {"resource": "pigeon"}}),
        ("rule_name", {"subject": subject, "rule_name": "a<b"}),
        ("rule_name", {"subject": subject, "rule_name": "x" * 257}),
        ("app_type", {"subject": subject, "app_type": "ALL"}),
        ("app_id", {"subject": subject, "app_type": "APP", "app_id": "x" * 37}),
        ("select", {"subject": subject, "select": "x" * 2501}),
        ("where", {"subject": subject, "where": "x" * 2501}),
        ("where", {"subject": subject, "where": "DROP TABLE devices"}),
        ("select", {"subject": subject, "select": "1 +"}),
    ):
        b.refused("create_routing_rule", 400, INVALID, field, body=body)
    body = {"subject": subject, "app_type": "APP", "app_id": "nosuch"}
    b.refused("create_routing_rule", 403, NO_SPACE, "app_id", body=body)
    rule_id = rule(b)
    fine = {"rule_id": rule_id, "channel": "HTTP_FORWARDING"}
    made = action(b, rule_id)
    for field, detail in (
        ("url", {}),
        ("url", {"url": ""}),
        ("url", {"url": "ftp://h/"}),
        ("url", {"url": "http://u:p@h/"}),
        ("url", {"url": "http://h/" + "x" * 2048}),
        ("cert_id", {"url": "https://h/", "cert_id": MISSING}),
        ("token", {"url": "http://h/", "signature_enable": True}),
        ("token", {"url": "http://h/", "token": "ab"}),
        ("token", {"url": "http://h/", "token": "a" * 33}),
        ("token", {"url": "http://h/", "token": "a-b-c"}),
        ("sni_enable", {"url": "http://h/", "sni_enable": "yes"}),
    ):
        body = fine | {"channel_detail": {"http_forwarding": detail}}
        b.refused("create_rule_action", 400, INVALID, field, body=body)
        if detail:
            b.refused("update_rule_action", 400, INVALID, field, action_id=made, body=body)
    other = {"channel": "AMQP_FORWARDING"}
    other["channel_detail"] = {"amqp_forwarding": {"queue_name": "x" * 8}}
    words = ["channel", "not available"]
    b.refused("create_rule_action", 400, INVALID, words, body={"rule_id": rule_id} | other)
    b.refused("update_rule_action", 400, INVALID, words, action_id=made, body=other)
    missing = fine | {"rule_id": MISSING, "channel_detail": http(url="http://h/")}
    b.gone("create_rule_action", NO_RULE, body=missing)
    b.do("list_rule_actions", rule_id=rule_id)
    b.check("list_rule_actions", "count of refused requests", b.raw()["count"], 1)


def policies(b):
    """Both kinds: created, listed, shown, changed, deleted."""
    rule_id = rule(b)
    name = b.name("policy")
    kinds = [
        (
            "backlog_policy",
            "backlog_policies",
            iot.AddBacklogPolicy(policy_name=name),
            {"policy_name": name, "backlog_size": 1073741823, "backlog_time": 86399},
            iot.UpdateBacklogPolicy,
            [{"backlog_size": 0}, {"backlog_time": 60, "description": "Few."}],
        ),
        (
            "flow_control_policy",
            "flowcontrol_policies",
            iot.AddFlowControlPolicy(policy_name=name, scope="RULE", scope_value=rule_id),
            {"policy_name": name, "scope": "RULE", "scope_value": rule_id, "limit": 1000},
            iot.UpdateFlowControlPolicy,
            [{"limit": 1}, {"description": "Slow."}],
        ),
    ]
    for kind, key, body, want, update, steps in kinds:
        made = b.do(f"create_routing_{kind}", body=body).policy_id
        created = b.raw()
        b.check_has(f"create_routing_{kind}", want)
        b.do(f"show_routing_{kind}", policy_id=made)
        b.check(f"show_routing_{kind}", "the whole answer", b.raw(), created)
        for step in steps:
            created |= step
            b.do(f"update_routing_{kind}", policy_id=made, body=update(**step))
            b.check(f"update_routing_{kind}", f"after {step}", b.raw(), created)
        b.do(f"list_routing_{kind}", policy_name=name)
        b.check(f"list_routing_{kind}", "by name", b.raw()[key], [created])
        b.check(f"list_routing_{kind}", "count", b.raw()["count"], 1)
        b.do(f"delete_routing_{kind}", policy_id=made)
        b.gone(f"show_routing_{kind}", None, policy_id=made)
        b.gone(f"update_routing_{kind}", None, policy_id=made, body=update())
        b.gone(f"delete_routing_{kind}", None, policy_id=made)
    flow = "create_routing_flow_control_policy"
    b.do(flow, body=iot.AddFlowControlPolicy(scope="CHANNEL", scope_value="HTTP_FORWARDING"))
    made = b.raw()
    b.do("list_routing_flow_control_policy", scope="CHANNEL", scope_value="HTTP_FORWARDING")
    b.check("list_routing_flow_control_policy", "by scope", b.raw()["flowcontrol_policies"], [made])
    b.do("delete_routing_flow_control_policy", policy_id=made["policy_id"])


def bad_policies(b):
    """Each refused with its field."""
    backlog, flow = "create_routing_backlog_policy", "create_routing_flow_control_policy"
    for operation, field, body in (
        (backlog, "backlog_size", {"backlog_size": 1073741824}),
        (backlog, "backlog_size", {"backlog_size": -1}),
        (backlog, "backlog_time", {"backlog_time": 86400}),
        (backlog, "policy_name", {"policy_name": "a<b"}),
        (backlog, "description", {"description": "x" * 257}),
        (flow, "limit", {"limit": 0}),
        (flow, "limit", {"limit": 1001}),
        (flow, "scope", {"scope": "DEVICE"}),
        (flow, "scope_value", {"scope": "USER", "scope_value": "x"}),
        (flow, "scope_value", {"scope": "CHANNEL", "scope_value": "PIGEON"}),
        (flow, "scope_value", {"scope": "RULE"}),
        (flow, "scope_value", {"scope": "RULE", "scope_value": MISSING}),
        (flow, "scope_value", {"scope": "ACTION", "scope_value": MISSING}),
    ):
        b.refused(operation, 400, INVALID, field, body=body)


def queues(b):
    """Created, found by a part of the name, shown, deleted."""
    name = b.name("queue") + ".a:b-c_d"
    made = b.do("add_queue", body=iot.QueueInfo(queue_name=name)).queue_id
    created = b.raw()
    b.check_has("add_queue", {"queue_name": name})
    b.do("show_queue", queue_id=made)
    b.check("show_queue", "the whole answer", b.raw(), created)
    for part, want in ((name, [created]), (name[1:-1], [created]), ("nosuchqueue", [])):
        b.do("batch_show_queue", queue_name=part)
        b.check("batch_show_queue", f"with {part}", b.raw()["queues"], want)
        b.check("batch_show_queue", "count", b.raw()["page"]["count"], len(want))
    for bad in (name, "short", "x" * 129, "with space", "水" * 8):
        b.refused("add_queue", 400, INVALID, "queue_name", body={"queue_name": bad})
    b.refused("add_queue", 400, INVALID, "queue_name", body={})
    b.do("delete_queue", queue_id=made)
    b.gone("show_queue", None, queue_id=made)
    b.gone("delete_queue", None, queue_id=made)


def access_codes(b):
    """Each is another."""
    pairs = set()
    for body in (
        iot.CreateAccessCodeRequestBody(),
        iot.CreateAccessCodeRequestBody(type="AMQP", force_disconnect=True),
        iot.CreateAccessCodeRequestBody(type="MQTT"),
    ):
        made = b.do("create_access_code", body=body)
        b.check("create_access_code", "length of the key", len(made.access_key), 8)
        fine = len(made.access_code) >= 32
        b.check_that("create_access_code", "length of the code", fine, made.access_code, "32")
        pairs.add((made.access_key, made.access_code))
    b.check("create_access_code", "different pairs", len(pairs), 3)
    for field, body in (("type", {"type": "HTTP"}), ("force_disconnect", {"force_disconnect": 1})):
        b.refused("create_access_code", 400, INVALID, field, body=body)


SCENES = [
    rules,
    subjects,
    filters,
    actions,
    certificates,
    bad_rules,
    policies,
    bad_policies,
    queues,
    access_codes,
]
