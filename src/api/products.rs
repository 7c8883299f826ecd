//! `…/products` of the v5 API.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::error::ApiError;
use super::input::{Problems, Query, TextRule};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery, marker_of};
use super::product_body;
use super::request::{JsonBody, ProductPath};
use super::respond::json;
use crate::app::App;
use crate::app::product::{ProductError, ProductSummary, ProductView};
use crate::base::ids::{AppId, ProductId};

/// What this file serves.
pub fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post(
                "/v5/iot/{project_id}/products",
                "create_product",
                "Creates a product",
            ),
            create,
        )
        .add(
            Operation::get(
                "/v5/iot/{project_id}/products",
                "list_products",
                "Lists products, newest first",
            ),
            list,
        )
        .add(
            Operation::get(
                "/v5/iot/{project_id}/products/{product_id}",
                "show_product",
                "Shows a product with its model",
            ),
            show,
        )
        .add(
            Operation::put(
                "/v5/iot/{project_id}/products/{product_id}",
                "update_product",
                "Changes a product; what is absent stays",
            ),
            update,
        )
        .add(
            Operation::delete(
                "/v5/iot/{project_id}/products/{product_id}",
                "delete_product",
                "Deletes a product",
            ),
            delete,
        )
}

#[derive(Serialize)]
struct List<'a> {
    products: Vec<ProductSummary<'a>>,
    page: PageInfo,
}

/// `POST …/products`: 201. Errors: 400 bad field, id taken.
pub async fn create(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let new = product_body::new_product(&body)?;
    let product = app.products.create(new).await?;
    Ok(json(
        StatusCode::CREATED,
        &ProductView::from(&product.record),
    ))
}

/// `GET …/products`: newest first; `product_name` is the whole name.
pub async fn list(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let problems = Problems::default();
    let query = Query::of(&uri, &problems)?;
    let page = PageQuery::of(&query);
    let app_id = query.id("app_id", AppId::parse);
    let name = query.text("product_name", TextRule::name(64));
    problems.check()?;

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
    Ok(json(StatusCode::OK, &list))
}

/// `GET …/products/{product_id}`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    check_space(&app, &id, &uri)?;
    let product = app.products.show(&id)?;
    Ok(json(StatusCode::OK, &ProductView::from(&product.record)))
}

/// `PUT …/products/{product_id}`: what is absent stays. Errors: 404, 400 bad field, or a model that
/// the running codec does not fit.
pub async fn update(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = product_body::product_patch(&body)?;
    let product = app.products.update(id, patch).await?;
    Ok(json(StatusCode::OK, &ProductView::from(&product.record)))
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
    let problems = Problems::default();
    let app_id = Query::of(uri, &problems)?.id("app_id", AppId::parse);
    problems.check()?;
    let product = app.products.show(id)?;
    match app_id {
        Some(space) if space != product.record.app_id => {
            Err(ProductError::NotFound(id.clone()).into())
        }
        _ => Ok(()),
    }
}
