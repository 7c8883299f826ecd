//! `/v1/products/{product_id}/settings`. PUT replaces all; what is absent takes its default.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::error::ApiError;
use super::input::{Fields, Problems, TextRule};
use super::operation::{Operation, Routes};
use super::precondition::{precondition_of, with_etag};
use super::request::{JsonBody, ProductPath};
use super::respond::json;
use crate::app::App;
use crate::app::product::settings_tag;
use crate::product::settings::{
    CoapTiming, CodecSettings, CommandSettings, Downlink, FirmwareProtocol, Psk, Settings,
    SoftwareProtocol, UpgradeSettings,
};

/// What this file serves.
pub fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::get(
                "/v1/products/{product_id}/settings",
                "show_settings",
                "Shows the settings of a product",
            ),
            show,
        )
        .add(
            Operation::put(
                "/v1/products/{product_id}/settings",
                "put_settings",
                "Replaces the settings of a product",
            ),
            put,
        )
}

const DOWNLINKS: [(&str, Downlink); 2] =
    [("write", Downlink::Write), ("execute", Downlink::Execute)];
const PSKS: [(&str, Psk); 2] = [("hex", Psk::Hex), ("text", Psk::Text)];
const SOFTWARE: [(&str, SoftwareProtocol); 1] = [("PCP", SoftwareProtocol::Pcp)];
const FIRMWARE: [(&str, FirmwareProtocol); 1] = [("LWM2M", FirmwareProtocol::Lwm2m)];

/// A command waits at most as long as it may be queued.
const RESPONSE_TIMEOUT_MAX_S: u32 = 172_800;

/// `GET …/settings`, with their ETag; 304 with `If-None-Match`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let product = app.products.show(&id)?;
    let etag = settings_tag(&product.settings);
    let known = precondition_of(&headers)?.if_none_match;
    if known.is_some_and(|tags| tags.matches(Some(&etag))) {
        return Ok(with_etag(StatusCode::NOT_MODIFIED.into_response(), &etag));
    }
    Ok(with_etag(json(StatusCode::OK, &product.settings), &etag))
}

/// `PUT …/settings`: 200 with all settings. Errors: 404, 400 bad or unknown field, 412.
pub async fn put(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let settings = settings_of(&body)?;
    let precondition = precondition_of(&headers)?;
    let product = app
        .products
        .put_settings(id, settings, precondition)
        .await?;
    let etag = settings_tag(&product.settings);
    Ok(with_etag(json(StatusCode::OK, &product.settings), &etag))
}

fn settings_of(body: &Value) -> Result<Settings, ApiError> {
    let problems = Problems::default();
    let mut settings = Settings::default();
    if let Some(fields) = Fields::of_body(body, &problems) {
        settings.downlink = fields.one_of("downlink", &DOWNLINKS).unwrap_or_default();
        settings.ts013_service = fields.text("ts013_service", TextRule::name(64));
        settings.psk = fields.one_of("psk", &PSKS).unwrap_or_default();
        let read = |name| fields.object(name);
        settings.coap = read("coap").map(|f| coap(&f)).unwrap_or_default();
        settings.codec = read("codec").map(|f| codec(&f)).unwrap_or_default();
        settings.command = read("command").map(|f| command(&f)).unwrap_or_default();
        settings.upgrade = upgrade(&fields, body);
        fields.refuse_others();
    }
    problems.check()?;
    Ok(settings)
}

fn coap(fields: &Fields<'_>) -> CoapTiming {
    let default = CoapTiming::default();
    let timing = CoapTiming {
        ack_timeout_s: fields
            .number("ack_timeout_s", 1.0..=120.0)
            .unwrap_or(default.ack_timeout_s),
        max_retransmit: fields
            .integer("max_retransmit", 0..=10)
            .unwrap_or(default.max_retransmit),
        exchange_lifetime_s: fields
            .number("exchange_lifetime_s", 1.0..=3600.0)
            .unwrap_or(default.exchange_lifetime_s),
    };
    fields.refuse_others();
    timing
}

fn codec(fields: &Fields<'_>) -> CodecSettings {
    let settings = CodecSettings {
        trusted: fields.boolean("trusted").unwrap_or(false),
    };
    fields.refuse_others();
    settings
}

fn command(fields: &Fields<'_>) -> CommandSettings {
    let settings = CommandSettings {
        response_timeout_s: fields
            .integer("response_timeout_s", 1..=RESPONSE_TIMEOUT_MAX_S)
            .unwrap_or_else(|| CommandSettings::default().response_timeout_s),
    };
    fields.refuse_others();
    settings
}

/// Here `null` is a value: no such upgrade.
fn upgrade(fields: &Fields<'_>, body: &Value) -> UpgradeSettings {
    let default = UpgradeSettings::default();
    let Some(inner) = fields.object("upgrade") else {
        return default;
    };
    let is_null = |name: &str| {
        let value = body.get("upgrade").and_then(|u| u.get(name));
        value.is_some_and(Value::is_null)
    };
    let settings = UpgradeSettings {
        software: inner
            .one_of("software", &SOFTWARE)
            .or(default.software)
            .filter(|_| !is_null("software")),
        firmware: inner
            .one_of("firmware", &FIRMWARE)
            .or(default.firmware)
            .filter(|_| !is_null("firmware")),
    };
    inner.refuse_others();
    settings
}
