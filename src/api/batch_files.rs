//! `…/batchtask-files` of the v5 API: spreadsheets and CSV for batch tasks, as multipart forms
//! (RFC 7578) with one file in the part `file`.

use axum::body::Body;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::error::{ApiError, code};
use super::operation::{Operation, Routes};
use super::request::{CallerIs, MediaType, path_id, read_body_up_to};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::batch::NewFile;
use crate::base::ids::FileId;
use crate::base::time::Timestamp;
use crate::store::catalog::FileRecord;

/// What a form adds to its file.
const FORM_MAX: usize = 64 * 1024;

/// Characters of a file's name.
const NAME_MAX: usize = 255;

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/batchtask-files";
    const ONE: &str = "/v5/iot/{project_id}/batchtask-files/{file_id}";
    Routes::tagged("Batch tasks")
        .add(
            Operation::post(
                ALL,
                "upload_batch_task_file",
                "Keeps a file for batch tasks",
            )
            .file("file")
            .answers::<FileView>(StatusCode::CREATED)
            .example_text("device_id\nwatermeter_867725038317248\n"),
            upload,
        )
        .add(
            Operation::get(ALL, "list_batch_task_files", "Lists files, newest first")
                .answers::<List>(StatusCode::OK),
            list,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_batch_task_file",
                "Deletes a file; its tasks go on",
            )
            .answers_nothing(StatusCode::NO_CONTENT),
            delete,
        )
}

/// `{file_id}` of the path.
pub struct FilePath(FileId);

impl FromRequestParts<App> for FilePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        path_id(parts, app, "file_id", FileId::parse)
            .await
            .map(Self)
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskFile")]
struct FileView {
    file_id: FileId,
    file_name: String,
    upload_time: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskFileList")]
struct List {
    files: Vec<FileView>,
}

impl From<FileRecord> for FileView {
    fn from(file: FileRecord) -> Self {
        Self {
            file_id: file.file_id,
            file_name: file.file_name,
            upload_time: Timestamp::compact(file.uploaded_at),
        }
    }
}

/// `POST …/batchtask-files`: 201. Errors: 400 no form, no file, neither xlsx nor CSV, too many
/// files; 413 too large.
pub async fn upload(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    request: Request,
) -> Result<Response, ApiError> {
    let max = app.batches.settings().file_kb.saturating_mul(1024);
    let (file_name, bytes) = read_form(request, max).await?;
    let file = app.batches.add_file(NewFile {
        app_id: caller.space,
        file_name,
        bytes,
    });
    let file = FileView::from(file.await?);
    let made = answer(StatusCode::CREATED, &file);
    Ok(about("file_id", &file.file_id, made))
}

/// Name and bytes of the one file in a form.
async fn read_form(request: Request, max: usize) -> Result<(String, Vec<u8>), ApiError> {
    let takes = "takes multipart/form-data with a boundary";
    let media = MediaType::of(request.headers())?.map(|media| media.essence);
    if media.as_deref() != Some("multipart/form-data") {
        return Err(ApiError::malformed(format!("Content-Type: {takes}")));
    }
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    let bytes = read_body_up_to(whole, max.saturating_add(FORM_MAX)).await?;
    let mut request = Request::from_parts(parts, Body::from(bytes));
    DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| ApiError::malformed(format!("Content-Type: {takes}")))?;
    let broken = |error: MultipartError| {
        let text: String = error.body_text().chars().take(120).collect();
        ApiError::malformed(format!("the form can't be read: {text}"))
    };
    let mut found = None;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.name() != Some("file") {
            continue;
        }
        let name = name_of(field.file_name())?;
        let bytes = field.bytes().await.map_err(broken)?;
        if bytes.len() > max {
            let message = format!("file: has {} bytes, takes up to {max}", bytes.len());
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(ApiError::new(status, code::MALFORMED, message));
        }
        if found.replace((name, bytes.to_vec())).is_some() {
            return Err(ApiError::invalid("file: is given twice, takes one file"));
        }
    }
    found.ok_or_else(|| ApiError::invalid("file: is missing, takes an xlsx or CSV file"))
}

/// What comes after the last slash: some clients send the whole path.
fn name_of(given: Option<&str>) -> Result<String, ApiError> {
    let name = given.unwrap_or_default();
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let len = name.chars().count();
    if !(1..=NAME_MAX).contains(&len) || name.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!(
            "file: its name has {len} characters, takes 1 to {NAME_MAX} without control characters"
        )));
    }
    Ok(name.to_owned())
}

/// `GET …/batchtask-files`: newest first.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
) -> Result<Response, ApiError> {
    let files = app.batches.files(caller.space.as_ref())?;
    let files = files.into_iter().map(FileView::from).collect();
    Ok(answer(StatusCode::OK, &List { files }))
}

/// `DELETE …/batchtask-files/{file_id}`: 204. Errors: 404.
pub async fn delete(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    FilePath(id): FilePath,
) -> Result<StatusCode, ApiError> {
    app.batches.delete_file(&id, caller.space.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
