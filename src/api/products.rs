//! `…/products` of the v5 API.

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
use super::request::{JsonBody, ProductPath};
use super::respond::json as answer;
use crate::app::App;
use crate::app::product::{ProductError, ProductSummary, ProductView};
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
            Operation::delete(ONE, "delete_product", "Deletes a product")
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

/// `POST …/products`: 201. Errors: 400 bad field, id taken.
pub async fn create(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let new = read_body(&body, product_body::new_product)?;
    let product = app.products.create(new).await?;
    Ok(answer(
        StatusCode::CREATED,
        &ProductView::from(&product.record),
    ))
}

/// `GET …/products`: newest first; `product_name` is the whole name.
pub async fn list(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let Wanted { page, app_id, name } = read_query(&uri, wanted_of)?;
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
        products: shown.iter().map(|p| (&p.record).into()).collect(),
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

/// `GET …/products/{product_id}`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    check_space(&app, &id, &uri)?;
    let product = app.products.show(&id)?;
    Ok(answer(StatusCode::OK, &ProductView::from(&product.record)))
}

/// `PUT …/products/{product_id}`: what is absent stays. Errors: 404, 400 bad field, or a model that
/// the running codec does not fit.
pub async fn update(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, product_body::product_patch)?;
    let product = app.products.update(id, patch).await?;
    Ok(answer(StatusCode::OK, &ProductView::from(&product.record)))
}

/// `DELETE …/products/{product_id}`: 204. Errors: 404, 400 while devices belong to it.
pub async fn delete(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    check_space(&app, &id, &uri)?;
    app.products.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A product of another space than the one asked for is not there.
fn check_space(app: &App, id: &ProductId, uri: &Uri) -> Result<(), ApiError> {
    let product = app.products.show(id)?;
    match read_query(uri, space_of)? {
        Some(space) if space != product.record.app_id => {
            Err(ProductError::NotFound(id.clone()).into())
        }
        _ => Ok(()),
    }
}

fn space_of(query: &Query<'_>) -> Option<AppId> {
    query.id("app_id", AppId::parse)
}
