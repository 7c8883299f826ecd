//! `/v1/products/{product_id}/settings`. PUT replaces all; what is absent takes its default.

use super::error::ApiError;
use super::input::{Fields, TextRule, read_body};
use super::operation::{Operation, Routes};
use super::precondition::{precondition_of, with_etag};
use super::request::{JsonBody, ProductPath};
use super::respond::json as answer;
use crate::app::App;
use crate::app::product::settings_tag;
use crate::product::settings::{
    CoapTiming, CodecSettings, CommandSettings, Downlink, FirmwareProtocol, Psk, Settings,
    SoftwareProtocol, UpgradeSettings,
};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What this file serves.
pub fn routes() -> Routes {
    const IF_MATCH: &str = "Only when the settings have one of these tags.";
    const IF_NONE_MATCH: &str = "Only when the settings have none of these tags.";
    const SETTINGS: &str = "/v1/products/{product_id}/settings";
    Routes::tagged("Settings")
        .add(
            Operation::get(SETTINGS, "show_settings", "Shows the settings of a product")
                .header("If-None-Match", IF_NONE_MATCH)
                .answers::<Settings>(StatusCode::OK)
                .answers_nothing(StatusCode::NOT_MODIFIED),
            show,
        )
        .add(
            Operation::put(
                SETTINGS,
                "put_settings",
                "Replaces the settings of a product",
            )
            .header("If-Match", IF_MATCH)
            .header("If-None-Match", IF_NONE_MATCH)
            .body(|f| drop(settings_of(f)))
            .answers::<Settings>(StatusCode::OK)
            .fails(&[StatusCode::PRECONDITION_FAILED])
            .example(json!({"downlink": "write", "coap": {"ack_timeout_s": 20}})),
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
/// A device that listens for longer than a day does not sleep.
const AWAKE_MAX_S: u32 = 86_400;

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
    Ok(with_etag(answer(StatusCode::OK, &product.settings), &etag))
}

/// `PUT …/settings`: 200 with all settings. Errors: 404, 400 bad or unknown field, 412.
pub async fn put(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let settings = read_body(&body, settings_of)?;
    let precondition = precondition_of(&headers)?;
    let product = app
        .products
        .put_settings(id, settings, precondition)
        .await?;
    let etag = settings_tag(&product.settings);
    Ok(with_etag(answer(StatusCode::OK, &product.settings), &etag))
}

fn settings_of(fields: &Fields<'_>) -> Option<Settings> {
    let read = |name| fields.object(name);
    let settings = Settings {
        downlink: fields.one_of("downlink", &DOWNLINKS).unwrap_or_default(),
        ts013_service: fields.text("ts013_service", TextRule::name(64)),
        psk: fields.one_of("psk", &PSKS).unwrap_or_default(),
        coap: read("coap").map(|f| coap(&f)).unwrap_or_default(),
        codec: read("codec").map(|f| codec(&f)).unwrap_or_default(),
        command: read("command").map(|f| command(&f)).unwrap_or_default(),
        upgrade: read("upgrade").map(|f| upgrade(&f)).unwrap_or_default(),
    };
    fields.refuse_others();
    Some(settings)
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
    let default = CommandSettings::default();
    let settings = CommandSettings {
        response_timeout_s: fields
            .integer("response_timeout_s", 1..=RESPONSE_TIMEOUT_MAX_S)
            .unwrap_or(default.response_timeout_s),
        awake_s: fields
            .integer("awake_s", 1..=AWAKE_MAX_S)
            .unwrap_or(default.awake_s),
    };
    fields.refuse_others();
    settings
}

/// Here `null` is a value: no such upgrade.
fn upgrade(fields: &Fields<'_>) -> UpgradeSettings {
    let default = UpgradeSettings::default();
    let settings = UpgradeSettings {
        software: fields
            .one_of("software", &SOFTWARE)
            .or(default.software)
            .filter(|_| !fields.is_null("software")),
        firmware: fields
            .one_of("firmware", &FIRMWARE)
            .or(default.firmware)
            .filter(|_| !fields.is_null("firmware")),
    };
    fields.refuse_others();
    settings
}
