//! An event that never was, for trying an action out: one for each resource, as `docs/api.md` has
//! them.

use serde_json::{Value, json};

use crate::base::time::Timestamp;

/// The envelope of a made-up event of `resource`.
pub fn envelope(resource: &str, now: Timestamp) -> Value {
    let (compact, long) = (now.compact(), now.rfc3339_ms());
    let (event, body) = match resource {
        "device" => (
            "create",
            json!({"device_id": "sample_1", "node_id": "1", "device_name": "sample",
                   "node_type": "ENDPOINT", "product_id": "sample", "app_id": "default",
                   "gateway_id": "sample_1", "status": "INACTIVE", "create_time": compact}),
        ),
        "device.status" => (
            "update",
            json!({"status": "ONLINE", "last_online_time": long, "status_update_time": long}),
        ),
        "device.property" => (
            "report",
            json!({"services": [{"service_id": "Sample", "properties": {"level": 1},
                                 "event_time": compact}]}),
        ),
        "device.message" => ("report", json!({"topic": "sample", "content": "sample"})),
        "device.message.status" => (
            "update",
            json!({"message_id": "sample", "name": null, "status": "DELIVERED",
                   "timestamp": compact, "topic": "sample", "error_info": null}),
        ),
        "device.command.status" | "device.commmad.status" => (
            "update",
            json!({"command_id": "00000000-0000-0000-0000-000000000000", "created_time": compact,
                   "sent_time": compact, "delivered_time": compact, "response_time": compact,
                   "status": "SUCCESSFUL",
                   "result": {"resultCode": "SUCCESSFUL", "resultDetail": {}}}),
        ),
        "device.upgrade" => (
            "update",
            json!({"task_id": "000000000000000000000001", "package_id": "sample",
                   "version": "2.0", "status": "Success", "attempts": 1, "reason": null}),
        ),
        "device.limit" => (
            "report",
            json!({"limit": "per_second", "most": 5, "action": "refused"}),
        ),
        "batchtask" => (
            "update",
            json!({"app_id": "default", "task_id": "sample", "task_type": "createCommands",
                   "status": "Success", "status_desc": ""}),
        ),
        "product" => (
            "create",
            json!({"app_id": "default", "product_id": "sample", "name": "sample",
                   "device_type": "Sample", "protocol_type": "CoAP", "data_format": "binary",
                   "create_time": compact}),
        ),
        _ => ("update", json!({})),
    };
    let is_of_device = resource.starts_with("device.");
    let data = match is_of_device {
        false => json!({"body": body}),
        true => json!({"header": {"app_id": "default", "device_id": "sample_1", "node_id": "1",
                                  "product_id": "sample", "gateway_id": "sample_1", "tags": []},
                       "body": body}),
    };
    json!({"resource": resource, "event": event, "event_time": compact, "event_time_ms": long,
           "notify_data": data})
}
