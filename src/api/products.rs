//! `…/products` of the v5 API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery, marker_of};
use super::product_body;
use super::request::{CallerIs, JsonBody, ProductPath, space_for, visible_space};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::product::{ProductError, ProductRuntime, ProductSummary, ProductView};
use crate::base::ids::{AppId, ProductId};

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/products";
    const ONE: &str = "/v5/iot/{project_id}/products/{product_id}";
    Routes::tagged("Products")
        .add(
            Operation::post(ALL, "create_product", "Creates a product")
                .body(|f| drop(product_body::new_product(f)))
                .answers::<ProductView<'_>>(StatusCode::CREATED)
                .fails(&[StatusCode::FORBIDDEN])
                .example(product_example()),
            create,
        )
        .add(
            Operation::get(ALL, "list_products", "Lists products, newest first")
                .query(|q| drop(wanted_of(q)))
                .answers::<List<'_>>(StatusCode::OK)
                .example_query(&[("product_name", "Water_meter"), ("limit", "10")]),
            list,
        )
        .add(
            Operation::get(ONE, "show_product", "Shows a product with its model")
                .query(|q| drop(space_of(q)))
                .answers::<ProductView<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::put(
                ONE,
                "update_product",
                "Changes a product; what is absent stays",
            )
            .body(|f| drop(product_body::product_patch(f)))
            .answers::<ProductView<'_>>(StatusCode::OK)
            .example(json!({"description": "cold and hot water"})),
            update,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_product",
                "Deletes a product with its devices, codec and settings",
            )
            .query(|q| drop(space_of(q)))
            .answers_nothing(StatusCode::NO_CONTENT),
            delete,
        )
}

fn product_example() -> serde_json::Value {
    json!({
        "product_id": "watermeter",
        "name": "Water_meter",
        "device_type": "WaterMeter",
        "protocol_type": "CoAP",
        "data_format": "binary",
        "manufacturer_name": "Acme",
        "service_capabilities": [{
            "service_id": "Flow",
            "service_type": "Flow",
            "properties": [{
                "property_name": "volume", "data_type": "int", "method": "R",
                "min": "0", "max": "65535", "unit": "l"
            }],
            "commands": [{
                "command_name": "SET_VALVE",
                "paras": [{
                    "para_name": "open", "data_type": "int", "required": true,
                    "min": "0", "max": "1"
                }]
            }]
        }]
    })
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProductList")]
struct List<'a> {
    products: Vec<ProductSummary<'a>>,
    page: PageInfo,
}

/// `POST …/products`: 201. Errors: 400 bad field, id taken; 403 unknown or another space.
pub async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut new = read_body(&body, product_body::new_product)?;
    new.app_id = Some(space_for(&caller, new.app_id)?);
    let product = app.products.create(new).await?;
    let made = answer(StatusCode::CREATED, &app.products.view(&product.record));
    Ok(about("product_id", &product.record.product_id, made))
}

/// `GET …/products`: newest first; `product_name` is the whole name.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let Wanted { page, app_id, name } = read_query(&uri, wanted_of)?;
    let app_id = visible_space(&caller, app_id)?;
    let mut found = app.products.list();
    found.retain(|p| {
        app_id.as_ref().is_none_or(|id| *id == p.record.app_id)
            && name.as_ref().is_none_or(|n| *n == p.record.name)
    });
    let count = found.len() as u64;
    let shown: Vec<_> = found
        .iter()
        .filter(|p| page.before.is_none_or(|before| p.record.seq < before))
        .skip(page.offset)
        .take(page.limit)
        .collect();
    let list = List {
        products: shown
            .iter()
            .map(|p| app.products.summary(&p.record))
            .collect(),
        page: PageInfo {
            count,
            marker: shown.last().map(|p| marker_of(p.record.seq)),
        },
    };
    Ok(answer(StatusCode::OK, &list))
}

/// Which products a list shows.
struct Wanted {
    page: PageQuery,
    app_id: Option<AppId>,
    name: Option<String>,
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    Wanted {
        page: PageQuery::of(query),
        app_id: query.id("app_id", AppId::parse),
        name: query.text("product_name", TextRule::name(64)),
    }
}

/// `GET …/products/{product_id}`. Errors: 404, 403 another space named.
pub async fn show(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    ProductPath(id): ProductPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let space = visible_space(&caller, read_query(&uri, space_of)?)?;
    let product = product_in(&app, &id, space)?;
    Ok(answer(StatusCode::OK, &app.products.view(&product.record)))
}

/// `PUT …/products/{product_id}`: what is absent stays; `app_id` says where the product is. Errors:
/// 404, 400 bad field, or a model that the running codec does not fit, 403 another space named.
pub async fn update(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    ProductPath(id): ProductPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (space, patch) = read_body(&body, product_body::product_patch)?;
    product_in(&app, &id, visible_space(&caller, space)?)?;
    let product = app.products.update(id, patch).await?;
    Ok(answer(StatusCode::OK, &app.products.view(&product.record)))
}

/// `DELETE …/products/{product_id}`: 204 when it is gone with its devices. Errors: 404, 403 another
/// space named.
pub async fn delete(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    ProductPath(id): ProductPath,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let space = visible_space(&caller, read_query(&uri, space_of)?)?;
    product_in(&app, &id, space)?;
    app.removals.delete_product(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A product of another space than the one asked for is not there.
fn product_in(
    app: &App,
    id: &ProductId,
    space: Option<AppId>,
) -> Result<Arc<ProductRuntime>, ApiError> {
    let product = app.products.show(id)?;
    match space {
        Some(space) if space != product.record.app_id => {
            Err(ProductError::NotFound(id.clone()).into())
        }
        _ => Ok(product),
    }
}

fn space_of(query: &Query<'_>) -> Option<AppId> {
    query.id("app_id", AppId::parse)
}
