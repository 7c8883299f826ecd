//! Rows of a file for a batch task as subtasks. Each row becomes the body of the single call and is
//! read by its reader: a wrong one is a failed subtask that says which row and why. A column that
//! is not known, or one that must be there and is not, refuses the file.
//!
//! Names of columns are compared without case, blanks, `_`, `-` and `*`; those of the registration
//! template of the platform's guide (`nodeId`, `name`, `productId`, `psk`, `secure`) count, too.

use serde_json::{Map, Value, json};

use super::batch_body::{creation, refused};
use super::device_body;
use super::error::ApiError;
use super::input::{quoted, read_body};
use crate::app::batch::sheet::{Row, Sheet};
use crate::app::batch::{Input, NewSubtask};
use crate::app::device::DevicePatch;
use crate::base::ids::DeviceId;
use crate::store::catalog::TaskType;

/// A column: the field that it fills, and its names.
type Column = (&'static str, &'static [&'static str]);

const CREATE: &[Column] = &[
    ("node_id", &["nodeid"]),
    ("product_id", &["productid"]),
    ("device_name", &["devicename", "name"]),
    ("device_id", &["deviceid"]),
    ("auth_info.secret", &["secret", "psk"]),
    ("auth_info.auth_type", &["authtype"]),
    ("auth_info.fingerprint", &["fingerprint"]),
    ("auth_info.secure_access", &["secureaccess", "secure"]),
    ("auth_info.timeout", &["timeout"]),
    ("description", &["description"]),
    ("app_id", &["appid"]),
    ("gateway_id", &["gatewayid"]),
];
const UPDATE: &[Column] = &[
    ("device_id", &["deviceid"]),
    ("device_name", &["devicename", "name"]),
    ("description", &["description"]),
];
const DEVICE: &[Column] = &[("device_id", &["deviceid"])];

/// The subtasks of a file. `patch`: what a task changes of each device, which a row goes before.
pub fn subtasks_of(
    sheet: &Sheet,
    task_type: TaskType,
    patch: Option<&DevicePatch>,
) -> Result<Vec<NewSubtask>, ApiError> {
    let (known, needed): (_, &[&str]) = match task_type {
        TaskType::CreateDevices => (CREATE, &["node_id", "product_id"]),
        TaskType::UpdateDevices => (UPDATE, &["device_id"]),
        TaskType::DeleteDevices
        | TaskType::FreezeDevices
        | TaskType::UnfreezeDevices
        | TaskType::CreateAsyncCommands
        | TaskType::UpdateDeviceShadows
        | TaskType::FirmwareUpgrade
        | TaskType::SoftwareUpgrade => (DEVICE, &["device_id"]),
    };
    let fields = fields_of(sheet, known, needed)?;
    let nothing = patch.is_none_or(|patch| *patch == DevicePatch::default());
    if task_type == TaskType::UpdateDevices && nothing && fields.len() < 2 {
        return Err(wrong(
            "the file changes nothing: it takes a column device_name or description",
        ));
    }
    let rows = sheet.rows.iter();
    Ok(rows
        .map(|row| subtask_of(row, &fields, task_type, patch))
        .collect())
}

/// Which field each column fills; `None`: it has no name, so it must be empty.
fn fields_of(
    sheet: &Sheet,
    known: &[Column],
    needed: &[&str],
) -> Result<Vec<Option<&'static str>>, ApiError> {
    let mut fields: Vec<Option<&'static str>> = Vec::new();
    for name in &sheet.columns {
        let plain: String = name.chars().filter(|c| !" _-*".contains(*c)).collect();
        let plain = plain.to_lowercase();
        let found = known
            .iter()
            .find(|(_, names)| names.contains(&plain.as_str()));
        let field = match found {
            Some((field, _)) => Some(*field),
            None if plain.is_empty() => None,
            None => {
                let names: Vec<&str> = known.iter().map(|(field, _)| last(field)).collect();
                let names = names.join(", ");
                let problem = format!("the file has the column {}, takes {names}", quoted(name));
                return Err(wrong(&problem));
            }
        };
        if field.is_some() && fields.contains(&field) {
            let problem = format!("the file has two columns for {}", quoted(name));
            return Err(wrong(&problem));
        }
        fields.push(field);
    }
    match needed.iter().find(|field| !fields.contains(&Some(**field))) {
        Some(field) => Err(wrong(&format!("the file has no column {field}"))),
        None => Ok(fields),
    }
}

fn wrong(problem: &str) -> ApiError {
    ApiError::invalid(format!("document_source: {problem}"))
}

fn last(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

fn subtask_of(
    row: &Row,
    fields: &[Option<&'static str>],
    task_type: TaskType,
    patch: Option<&DevicePatch>,
) -> NewSubtask {
    let read = body_of(row, fields).and_then(|body| match task_type {
        TaskType::CreateDevices => read_body(&body, device_body::new_device).map(creation),
        _ => about_device(&body, task_type, patch),
    });
    read.unwrap_or_else(|error| {
        let message = format!("row {}: {}", row.number, error.message);
        refused(
            format!("row {}", row.number),
            &ApiError { message, ..error },
        )
    })
}

fn about_device(
    body: &Value,
    task_type: TaskType,
    patch: Option<&DevicePatch>,
) -> Result<NewSubtask, ApiError> {
    let id = read_body(body, |fields| {
        fields.needed_id("device_id", DeviceId::parse)
    })?;
    let input = match task_type {
        TaskType::UpdateDevices => {
            let own = read_body(body, device_body::device_patch)?;
            let common = patch.cloned().unwrap_or_default();
            Input::Update(DevicePatch {
                device_name: own.device_name.or(common.device_name),
                description: own.description.or(common.description),
                ..common
            })
        }
        _ => Input::Common,
    };
    let target = id.to_string();
    Ok(NewSubtask { target, input })
}

/// The body of the single call. An empty cell is an absent field.
fn body_of(row: &Row, fields: &[Option<&'static str>]) -> Result<Value, ApiError> {
    let mut body = Map::new();
    let mut auth = Map::new();
    for (at, cell) in row.cells.iter().enumerate() {
        let field = fields.get(at).copied().flatten();
        let text = match (cell, field) {
            (Ok(text), _) if text.is_empty() => continue,
            (_, None) => {
                let problem = format!("column {} has no name", at.saturating_add(1));
                return Err(ApiError::invalid(problem));
            }
            (Ok(text), Some(_)) => text,
            (Err(error), Some(field)) => {
                return Err(ApiError::invalid(format!("{}: {error}", last(field))));
            }
        };
        let field = field.unwrap_or_default();
        match field.strip_prefix("auth_info.") {
            Some(inner) => drop(auth.insert(inner.to_owned(), auth_value(inner, text))),
            None => drop(body.insert(field.to_owned(), json!(text))),
        }
    }
    if !auth.is_empty() {
        body.insert("auth_info".to_owned(), Value::Object(auth));
    }
    Ok(Value::Object(body))
}

/// A cell is text; numbers and booleans are read from it. What is none stays text, which the reader
/// refuses.
fn auth_value(field: &str, text: &str) -> Value {
    let lower = text.to_lowercase();
    match field {
        "timeout" => text
            .parse::<u32>()
            .map_or_else(|_| json!(text), |n| json!(n)),
        "secure_access" => match lower.as_str() {
            "true" | "yes" | "1" | "dtls" => json!(true),
            "false" | "no" | "0" | "none" => json!(false),
            _ => json!(text),
        },
        _ => json!(text),
    }
}
