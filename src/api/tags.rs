//! `…/tags` of the v5 API: labels of devices, and devices by their labels.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::groups::check_visible;
use super::input::{Alphabet, Fields, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery, marker_of};
use super::request::{CallerIs, JsonBody};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::device::{DeviceFind, TAGS_MAX};
use crate::base::ids::DeviceId;
use crate::store::find::{Filter, FindOrder, TagText};
use crate::store::records::TagRecord;

const KEY: TextRule = TextRule::new(Alphabet::Tag, 1, 64);
const VALUE: TextRule = TextRule::new(Alphabet::Tag, 0, 128);
/// Keys in one request. A device has fewer; who cleans up need not know which.
const KEYS_MAX: usize = 100;

/// What this file serves.
pub fn routes() -> Routes {
    const BIND: &str = "/v5/iot/{project_id}/tags/bind-resource";
    const UNBIND: &str = "/v5/iot/{project_id}/tags/unbind-resource";
    const QUERY: &str = "/v5/iot/{project_id}/tags/query-resources";
    let tags = json!([{"tag_key": "city", "tag_value": "Berlin"}]);
    Routes::tagged("Tags")
        .add(
            Operation::post(
                BIND,
                "tag_device",
                "Gives a device tags; one value for each key",
            )
            .body(|f| drop(binding(f)))
            .answers_nothing(StatusCode::OK)
            .fails(&[StatusCode::NOT_FOUND])
            .example(json!({
                "resource_type": "device",
                "resource_id": "watermeter_867725038317248",
                "tags": tags
            })),
            bind,
        )
        .add(
            Operation::post(UNBIND, "untag_device", "Takes tags from a device")
                .body(|f| drop(unbinding(f)))
                .answers_nothing(StatusCode::OK)
                .fails(&[StatusCode::NOT_FOUND])
                .example(json!({
                    "resource_type": "device",
                    "resource_id": "watermeter_867725038317248",
                    "tag_keys": ["city"]
                })),
            unbind,
        )
        .add(
            Operation::post(
                QUERY,
                "list_resources_by_tags",
                "Lists devices with one of these tags, newest first",
            )
            .reads()
            .query(|q| {
                PageQuery::of(q);
            })
            .body(|f| drop(wanted(f)))
            .answers::<Resources>(StatusCode::OK)
            .example(json!({"resource_type": "device", "tags": tags})),
            query,
        )
}

fn check_type(fields: &Fields<'_>) {
    fields.needed_choice("resource_type", &["device"]);
}

/// Tags with different keys. Without a value: `None`.
fn tags_of(fields: &Fields<'_>) -> Vec<(String, Option<String>)> {
    fields.need_list("tags", &(1..=TAGS_MAX));
    let items = fields.objects("tags", 1..=TAGS_MAX);
    let mut tags: Vec<(String, Option<String>)> = Vec::new();
    for item in items.unwrap_or_default() {
        let key = item.needed_text("tag_key", KEY);
        let value = item.text("tag_value", VALUE);
        tags.push((key, value));
    }
    tags
}

fn binding(fields: &Fields<'_>) -> Option<(DeviceId, Vec<TagRecord>)> {
    check_type(fields);
    let id = fields.needed_id("resource_id", DeviceId::parse);
    let tags = tags_of(fields);
    for (at, (key, _)) in tags.iter().enumerate() {
        if !key.is_empty() && tags.iter().take(at).any(|(other, _)| other == key) {
            fields.problem(
                &format!("tags[{at}].tag_key"),
                "is given twice, takes each key once",
            );
        }
    }
    let record = |(tag_key, value): (String, Option<String>)| TagRecord {
        tag_key,
        tag_value: value.unwrap_or_default(),
    };
    Some((id?, tags.into_iter().map(record).collect()))
}

fn unbinding(fields: &Fields<'_>) -> Option<(DeviceId, Vec<String>)> {
    check_type(fields);
    let id = fields.needed_id("resource_id", DeviceId::parse);
    fields.need_list("tag_keys", &(1..=KEYS_MAX));
    let keys = fields.texts("tag_keys", 1..=KEYS_MAX, KEY);
    Some((id?, keys.unwrap_or_default()))
}

/// One of the tags; without a value, any with its key.
fn wanted(fields: &Fields<'_>) -> Option<Filter> {
    check_type(fields);
    let tags = tags_of(fields).into_iter();
    let tags = tags.map(|(key, value)| Filter::Tag {
        key: TagText::Is(key),
        value: value.map_or(TagText::Any, TagText::Is),
    });
    Some(Filter::Or(tags.collect()))
}

/// `POST …/tags/bind-resource`: 200. Errors: 404 no device, 400 bad field, too many tags.
async fn bind(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (id, tags) = read_body(&body, binding)?;
    check_visible(&app, &caller, &id)?;
    app.devices.tag(id.clone(), tags).await?;
    Ok(about("device_id", id, StatusCode::OK))
}

/// `POST …/tags/unbind-resource`: 200, also when it has none of them. Errors: 404 no device, 400.
async fn unbind(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (id, keys) = read_body(&body, unbinding)?;
    check_visible(&app, &caller, &id)?;
    app.devices.untag(id.clone(), keys).await?;
    Ok(about("device_id", id, StatusCode::OK))
}

#[derive(Serialize, JsonSchema)]
struct Resource {
    resource_id: DeviceId,
}

#[derive(Serialize, JsonSchema)]
struct Resources {
    resources: Vec<Resource>,
    page: PageInfo,
}

/// `POST …/tags/query-resources`: devices with one of the tags, newest first. Errors: 400.
async fn query(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let page = read_query(&uri, PageQuery::of)?;
    let tags = read_body(&body, wanted)?;
    let space = caller.space.map_or(Filter::All, Filter::App);
    let find = DeviceFind {
        filter: Filter::And(vec![space, tags]),
        order: FindOrder::NewestFirst,
        beyond: page.before,
        offset: page.offset,
        limit: page.limit,
    };
    let found = app.devices.find(find).await?;
    let marker = found.devices.last().map(|d| marker_of(d.device.seq));
    let resources = found.devices.into_iter().map(|detail| Resource {
        resource_id: detail.device.device_id,
    });
    let list = Resources {
        resources: resources.collect(),
        page: PageInfo {
            count: found.count,
            marker,
        },
    };
    Ok(answer(StatusCode::OK, &list))
}
