//! `/v1/products/import` and `/v1/products/{product_id}/export`: product models as zip packages
//! (`product::model_zip`).

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, code};
use super::input::{Query, TextRule, quoted, read_query};
use super::operation::{Operation, Routes};
use super::request::{CallerIs, MediaType, ProductPath, read_body, space_for};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::product::{NewProduct, ProductView};
use crate::base::ids::{AppId, ProductId};
use crate::product::model_zip::{self, Package};
use crate::store::records::ProductRecord;

const ZIP: &str = "application/zip";
const BYTES: &str = "application/octet-stream";
const FORM: &str = "multipart/form-data";

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Products")
        .add(
            Operation::post(
                "/v1/products/import",
                "import_product",
                "Creates a product from a model package",
            )
            .query(|q| drop(wanted_of(q)))
            .bytes(&[ZIP, BYTES, FORM])
            .answers::<ProductView<'_>>(StatusCode::CREATED)
            .fails(&[StatusCode::FORBIDDEN, StatusCode::UNSUPPORTED_MEDIA_TYPE])
            .example_text("(the bytes of a zip archive)"),
            import,
        )
        .add(
            Operation::get(
                "/v1/products/{product_id}/export",
                "export_product",
                "Gives a product's model as a package",
            )
            .answers_bytes(StatusCode::OK, ZIP),
            export,
        )
}

/// What the query says of the new product.
struct Wanted {
    product_id: Option<ProductId>,
    app_id: Option<AppId>,
    name: Option<String>,
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    Wanted {
        product_id: query.id("product_id", ProductId::parse),
        app_id: query.id("app_id", AppId::parse),
        name: query.text("name", TextRule::name(64)),
    }
}

/// `POST /v1/products/import?product_id=&app_id=&name=`: 201 with the product. Errors: 400 no
/// package, all its mistakes, id taken; 403 unknown or another space; 415.
pub async fn import(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    let wanted = read_query(&uri, wanted_of)?;
    let space = space_for(&caller, wanted.app_id)?;
    let bytes = package_of(request).await?;
    let name = wanted.name;
    let read = move || model_zip::read(&bytes, name.as_deref());
    // A package may take a while to unpack and read.
    let package = tokio::task::spawn_blocking(read).await;
    let package = package.map_err(|_| ApiError::unavailable("the server is stopping"))??;
    let new = NewProduct {
        product_id: wanted.product_id,
        app_id: Some(space),
        name: package.name,
        device_type: package.device_type,
        protocol_type: package.protocol_type,
        data_format: package.data_format,
        manufacturer_name: package.manufacturer_name,
        industry: package.industry,
        description: package.description,
        profile: package.profile,
    };
    let product = app.products.create(new).await?;
    let view = app.products.view(&product.record);
    let made = answer(StatusCode::CREATED, &view);
    Ok(about("product_id", &product.record.product_id, made))
}

/// The bytes of the package, by the media type of the body.
async fn package_of(request: Request) -> Result<Bytes, ApiError> {
    let media = MediaType::of(request.headers())?;
    let essence = media.map_or_else(|| BYTES.to_owned(), |media| media.essence);
    match essence.as_str() {
        ZIP | BYTES | "application/x-zip-compressed" => read_body(request).await,
        FORM => file_of(request).await,
        other => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code::MALFORMED,
            format!(
                "Content-Type: got {}, takes {ZIP}, {BYTES} or {FORM}",
                quoted(other)
            ),
        )),
    }
}

/// The one file of a form.
async fn file_of(request: Request) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    let head = Request::from_parts(parts.clone(), body);
    // Read first, so that bounds of size and time are those of every body.
    let bytes = read_body(head).await?;
    let whole = Request::from_parts(parts, Body::from(bytes));
    let broken = |error: &dyn std::fmt::Display| {
        ApiError::malformed(format!("the form can't be read: {error}"))
    };
    let form = Multipart::from_request(whole, &()).await;
    let mut form = form.map_err(|e| broken(&e.body_text()))?;
    let mut found = None;
    while let Some(part) = form
        .next_field()
        .await
        .map_err(|e| broken(&e.body_text()))?
    {
        if part.file_name().is_none() {
            continue;
        }
        let bytes = part.bytes().await.map_err(|e| broken(&e.body_text()))?;
        if found.replace(bytes).is_some() {
            return Err(ApiError::invalid("body: got two files, takes one"));
        }
    }
    found.ok_or_else(|| ApiError::invalid("body: got a form without a file, takes one"))
}

/// `GET /v1/products/{product_id}/export`: a package that can be imported again. Errors: 404.
pub async fn export(
    State(app): State<App>,
    ProductPath(id): ProductPath,
) -> Result<Response, ApiError> {
    let product = app.products.show(&id)?;
    let write = move || model_zip::write(&packaged(&product.record));
    let bytes = tokio::task::spawn_blocking(write).await;
    let bytes = bytes.map_err(|_| ApiError::unavailable("the server is stopping"))??;
    let headers = [
        (header::CONTENT_TYPE, ZIP.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}.zip\""),
        ),
    ];
    Ok((headers, bytes).into_response())
}

fn packaged(product: &ProductRecord) -> Package {
    Package {
        name: product.name.clone(),
        device_type: product.device_type.clone(),
        protocol_type: product.protocol_type.clone(),
        data_format: product.data_format.clone(),
        manufacturer_name: product.manufacturer_name.clone(),
        industry: product.industry.clone(),
        description: product.description.clone(),
        profile: product.profile.clone(),
    }
}
