//! Envelopes: what subscribers are told, as JSON text ready to be pushed.
//!
//! `{"resource","event","event_time","event_time_ms","notify_data":{"header"?,"body"}}`, described
//! in `docs/api.md`, "Events". Written straight into one string: every uplink
//! builds a report.

use serde::Serialize;

use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::bug;
use crate::store::catalog::TaskRecord;
use crate::store::commands::{CommandRecord, ResultRecord};
use crate::store::records::{DeviceRecord, EnvelopeRecord, TagRecord};

/// Whose event it is. Ids hold only letters, digits, `_` and `-`, so they need no escaping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceHeader {
    pub app_id: AppId,
    pub device_id: DeviceId,
    pub node_id: NodeId,
    pub product_id: ProductId,
    pub gateway_id: DeviceId,
    pub tags: Vec<TagRecord>,
}

impl From<&DeviceRecord> for DeviceHeader {
    fn from(device: &DeviceRecord) -> Self {
        Self {
            app_id: device.app_id.clone(),
            device_id: device.device_id.clone(),
            node_id: device.node_id.clone(),
            product_id: device.product_id.clone(),
            gateway_id: device.gateway_id.clone(),
            tags: device.tags.clone(),
        }
    }
}

impl DeviceHeader {
    fn write(&self, json: &mut String) {
        let fields = [
            ("{\"app_id\":\"", self.app_id.as_str()),
            ("\",\"device_id\":\"", self.device_id.as_str()),
            ("\",\"node_id\":\"", self.node_id.as_str()),
            ("\",\"product_id\":\"", self.product_id.as_str()),
            ("\",\"gateway_id\":\"", self.gateway_id.as_str()),
        ];
        for (lead, id) in fields {
            json.push_str(lead);
            json.push_str(id);
        }
        json.push_str("\",\"tags\":");
        match self.tags.as_slice() {
            [] => json.push_str("[]"),
            tags => match serde_json::to_string(tags) {
                Ok(tags) => json.push_str(&tags),
                Err(error) => {
                    bug!("tags can't be written: {error}");
                    json.push_str("[]");
                }
            },
        }
        json.push('}');
    }
}

/// `device.property:report`. `services_json` is the array `[{"service_id","properties",
/// "event_time"}]` as JSON text.
pub fn property_report(
    header: &DeviceHeader,
    services_json: &str,
    at: Timestamp,
) -> EnvelopeRecord {
    report(header, services_json, at, None)
}

/// The same for an uplink of then that was read only now: it says so.
pub fn late_report(
    header: &DeviceHeader,
    services_json: &str,
    received_at: Timestamp,
    replayed_at: Timestamp,
) -> EnvelopeRecord {
    report(header, services_json, received_at, Some(replayed_at))
}

fn report(
    header: &DeviceHeader,
    services_json: &str,
    at: Timestamp,
    replayed_at: Option<Timestamp>,
) -> EnvelopeRecord {
    let mut json = opening("device.property", "report", at, services_json.len() + 512);
    json.push_str("{\"header\":");
    header.write(&mut json);
    json.push_str(",\"body\":{\"services\":");
    json.push_str(services_json);
    if let Some(replayed_at) = replayed_at {
        json.push_str(",\"late\":true,\"replayed_time\":\"");
        json.push_str(&replayed_at.compact());
        json.push('"');
    }
    json.push_str("}}}");
    of_device("device.property", "report", header, json)
}

/// `device.status:update`. `status` is one of the words of the v5 API; `last_online` is the newest
/// time at which the device was heard.
pub fn device_status(
    header: &DeviceHeader,
    status: &str,
    last_online: Option<Timestamp>,
    at: Timestamp,
) -> EnvelopeRecord {
    let mut json = opening("device.status", "update", at, 640);
    json.push_str("{\"header\":");
    header.write(&mut json);
    json.push_str(",\"body\":{\"status\":\"");
    json.push_str(status);
    json.push_str("\",\"last_online_time\":\"");
    // A device that was never heard has an empty time, as unset times of commands do.
    if let Some(heard) = last_online {
        json.push_str(&heard.rfc3339_ms());
    }
    json.push_str("\",\"status_update_time\":\"");
    json.push_str(&at.rfc3339_ms());
    json.push_str("\"}}}");
    of_device("device.status", "update", header, json)
}

/// `device.command.status:update`. Times that were not reached are empty, as is the result of what has none.
pub fn command_status(
    header: &DeviceHeader,
    command: &CommandRecord,
    status: &str,
    at: Timestamp,
) -> EnvelopeRecord {
    let mut json = opening("device.command.status", "update", at, 768);
    json.push_str("{\"header\":");
    header.write(&mut json);
    let time = |at: Option<Timestamp>| at.map(Timestamp::compact).unwrap_or_default();
    let fields = [
        (",\"body\":{\"command_id\":\"", command.id.to_string()),
        ("\",\"created_time\":\"", command.id.created_at.compact()),
        ("\",\"sent_time\":\"", time(command.sent_at)),
        ("\",\"delivered_time\":\"", time(command.delivered_at)),
        ("\",\"response_time\":\"", time(command.answered_at)),
        ("\",\"status\":\"", status.to_owned()),
    ];
    for (lead, text) in fields {
        json.push_str(lead);
        json.push_str(&text);
    }
    json.push_str("\",\"result\":");
    match &command.result {
        None => json.push_str("null"),
        Some(result) => json.push_str(&result_json(result).to_string()),
    }
    json.push_str("}}}");
    of_device("device.command.status", "update", header, json)
}

/// `{"resultCode", "resultDetail"}`.
pub fn result_json(result: &ResultRecord) -> serde_json::Value {
    serde_json::json!({ "resultCode": result_code(result), "resultDetail": result.detail })
}

/// The word for how a command ended.
pub const fn result_code(result: &ResultRecord) -> &'static str {
    match result.succeeded {
        true => "SUCCESSFUL",
        false => "FAILED",
    }
}

/// `device:create`, `device:update`, `device:delete`: no header, `body` is the device.
pub fn device_change<B: Serialize>(
    event: &'static str,
    device: &DeviceRecord,
    body: &B,
    at: Timestamp,
) -> Result<EnvelopeRecord, serde_json::Error> {
    let json = with_body("device", event, body, at)?;
    Ok(EnvelopeRecord {
        resource: "device".into(),
        event: event.into(),
        device_id: Some(device.device_id.clone()),
        json,
        app_id: Some(device.app_id.clone()),
    })
}

/// `product:create`, `product:update`, `product:delete`: no header, `body` is the product.
pub fn product_change<B: Serialize>(
    event: &'static str,
    app_id: &AppId,
    body: &B,
    at: Timestamp,
) -> Result<EnvelopeRecord, serde_json::Error> {
    Ok(EnvelopeRecord {
        resource: "product".into(),
        event: event.into(),
        device_id: None,
        json: with_body("product", event, body, at)?,
        app_id: Some(app_id.clone()),
    })
}

/// `batchtask:update`: no header. `status` is one of the words of the v5 API.
pub fn batch_task(
    task: &TaskRecord,
    status: &str,
    at: Timestamp,
) -> Result<EnvelopeRecord, serde_json::Error> {
    let body = serde_json::json!({
        "app_id": task.app_id,
        "task_id": task.task_id,
        "task_type": task.task_type.word(),
        "status": status,
        "status_desc": task.status_desc.as_deref().unwrap_or_default(),
    });
    Ok(EnvelopeRecord {
        resource: "batchtask".into(),
        event: "update".into(),
        device_id: None,
        json: with_body("batchtask", "update", &body, at)?,
        app_id: Some(task.app_id.clone()),
    })
}

/// How an attempt at upgrading a device ended.
#[derive(Debug, Clone, Copy)]
pub struct UpgradeResult<'a> {
    pub task_seq: u64,
    pub package_id: &'a str,
    pub version: Option<&'a str>,
    /// In the words of subtasks.
    pub status: &'a str,
    /// Attempts so far.
    pub tries: u32,
    /// Why it failed.
    pub reason: Option<&'a str>,
}

/// `device.upgrade:update`: one for each attempt of each device.
pub fn upgrade_result(
    header: &DeviceHeader,
    result: &UpgradeResult<'_>,
    at: Timestamp,
) -> EnvelopeRecord {
    let mut json = opening("device.upgrade", "update", at, 768);
    json.push_str("{\"header\":");
    header.write(&mut json);
    let body = serde_json::json!({
        "task_id": format!("{:024x}", result.task_seq),
        "package_id": result.package_id,
        "version": result.version,
        "status": result.status,
        "attempts": result.tries,
        "reason": result.reason,
    });
    json.push_str(",\"body\":");
    json.push_str(&body.to_string());
    json.push_str("}}");
    of_device("device.upgrade", "update", header, json)
}

/// `device.limit:report`: the device sends more than a limit allows, whose name, number and effect these
/// are.
pub fn device_limit(
    header: &DeviceHeader,
    limit: &str,
    most: u32,
    action: &str,
    at: Timestamp,
) -> EnvelopeRecord {
    let mut json = opening("device.limit", "report", at, 512);
    json.push_str("{\"header\":");
    header.write(&mut json);
    let body = serde_json::json!({"limit": limit, "most": most, "action": action});
    json.push_str(",\"body\":");
    json.push_str(&body.to_string());
    json.push_str("}}");
    of_device("device.limit", "report", header, json)
}

fn with_body<B: Serialize>(
    resource: &str,
    event: &str,
    body: &B,
    at: Timestamp,
) -> Result<String, serde_json::Error> {
    let mut json = opening(resource, event, at, 1024);
    json.push_str("{\"body\":");
    json.push_str(&serde_json::to_string(body)?);
    json.push_str("}}");
    Ok(json)
}

/// Everything up to the value of `notify_data`.
fn opening(resource: &str, event: &str, at: Timestamp, capacity: usize) -> String {
    let mut json = String::with_capacity(capacity);
    let (compact, long) = (at.compact(), at.rfc3339_ms());
    let fields = [
        ("{\"resource\":\"", resource),
        ("\",\"event\":\"", event),
        ("\",\"event_time\":\"", compact.as_str()),
        ("\",\"event_time_ms\":\"", long.as_str()),
    ];
    for (lead, text) in fields {
        json.push_str(lead);
        json.push_str(text);
    }
    json.push_str("\",\"notify_data\":");
    json
}

fn of_device(
    resource: &'static str,
    event: &'static str,
    header: &DeviceHeader,
    json: String,
) -> EnvelopeRecord {
    EnvelopeRecord {
        resource: resource.into(),
        event: event.into(),
        device_id: Some(header.device_id.clone()),
        json,
        app_id: Some(header.app_id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn header() -> DeviceHeader {
        DeviceHeader {
            app_id: AppId::parse("a").unwrap(),
            device_id: DeviceId::parse("p_n").unwrap(),
            node_id: NodeId::parse("n").unwrap(),
            product_id: ProductId::parse("p").unwrap(),
            gateway_id: DeviceId::parse("p_n").unwrap(),
            tags: Vec::new(),
        }
    }

    fn header_json() -> Value {
        json!({"app_id": "a", "device_id": "p_n", "node_id": "n", "product_id": "p",
               "gateway_id": "p_n", "tags": []})
    }

    #[test]
    fn a_header_carries_the_tags_of_its_device() {
        let tag = |key: &str, value: &str| TagRecord {
            tag_key: key.into(),
            tag_value: value.into(),
        };
        let tagged = DeviceHeader {
            tags: vec![tag("city", "水\"\\"), tag("x", "")],
            ..header()
        };
        let at = Timestamp::from_ms(0);
        let told = device_status(&tagged, "FROZEN", None, at);
        let got: Value = serde_json::from_str(&told.json).unwrap();
        assert_eq!(
            got["notify_data"]["header"]["tags"],
            json!([{"tag_key": "city", "tag_value": "水\"\\"}, {"tag_key": "x", "tag_value": ""}])
        );
    }

    #[test]
    fn envelopes_have_the_published_shape() {
        let at = Timestamp::parse("2026-01-01T00:00:00.250Z").unwrap();
        let services = r#"[{"service_id":"Smoke","properties":{"level":2},"event_time":"x"}]"#;
        let report = property_report(&header(), services, at);
        let status = device_status(&header(), "ONLINE", Some(at), at);
        let late = late_report(&header(), services, at, at.plus_s(60));
        let never = device_status(&header(), "FROZEN", None, at);
        let device = crate::app::device::tests::record("n");
        let created = device_change("create", &device, &json!({"a": "\"q"}), at).unwrap();
        let space = AppId::default_space();
        let gone = product_change("delete", &space, &json!({}), at).unwrap();
        let cases = [
            (
                &report,
                "device.property",
                "report",
                json!({"header": header_json(),
                "body": {"services": [
                    {"service_id": "Smoke", "properties": {"level": 2}, "event_time": "x"}]}}),
            ),
            (
                &late,
                "device.property",
                "report",
                json!({"header": header_json(),
                "body": {"services": [
                    {"service_id": "Smoke", "properties": {"level": 2}, "event_time": "x"}],
                    "late": true, "replayed_time": "20260101T000100Z"}}),
            ),
            (
                &status,
                "device.status",
                "update",
                json!({"header": header_json(),
                "body": {"status": "ONLINE", "last_online_time": "2026-01-01T00:00:00.250Z",
                         "status_update_time": "2026-01-01T00:00:00.250Z"}}),
            ),
            (
                &never,
                "device.status",
                "update",
                json!({"header": header_json(),
                "body": {"status": "FROZEN", "last_online_time": "",
                         "status_update_time": "2026-01-01T00:00:00.250Z"}}),
            ),
            (&created, "device", "create", json!({"body": {"a": "\"q"}})),
            (&gone, "product", "delete", json!({"body": {}})),
        ];
        for (envelope, resource, event, data) in cases {
            assert_eq!(
                (envelope.resource.as_str(), envelope.event.as_str()),
                (resource, event)
            );
            let got: Value = serde_json::from_str(&envelope.json).unwrap();
            let want = json!({"resource": resource, "event": event,
                "event_time": "20260101T000000Z", "event_time_ms": "2026-01-01T00:00:00.250Z",
                "notify_data": data});
            assert_eq!(got, want);
            assert!(envelope.app_id.is_some());
        }
    }
}
