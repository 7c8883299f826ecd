//! `GET /v1/audit`: the audit log, newest first, for admins who are bound to no resource space.
//!
//! The marker is the key of the last row that was looked at: time and number, in hex.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::error::{ApiError, code};
use super::input::{Query, TextRule, quoted, read_query};
use super::operation::{Access, Operation, Routes};
use super::page::PageInfo;
use super::request::CallerIs;
use super::respond::json;
use crate::app::App;
use crate::app::audit::Wanted;
use crate::base::time::Timestamp;
use crate::store::StoreError;
use crate::store::catalog::AuditRecord;

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Audit log").add(
        Operation::get(
            "/v1/audit",
            "list_audit",
            "Lists writes that were asked for, newest first",
        )
        .access(Access::Admin)
        .query(|q| drop(wanted_of(q)))
        .answers::<AuditView>(StatusCode::OK)
        .example_query(&[("operation", "create_device"), ("limit", "10")]),
        list,
    )
}

/// One write.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditRow")]
struct RowView {
    time: String,
    /// Null: nobody had to say who he is.
    access_key: Option<String>,
    role: String,
    /// Address and port of the caller; `-`: not known.
    from: String,
    request_id: String,
    method: String,
    path: String,
    operation: String,
    /// Ids in the path, by name, and of what the request created.
    targets: BTreeMap<String, String>,
    /// HTTP status of the answer; null: still under way, or the server ended before.
    status: Option<u16>,
    error_code: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditLog")]
struct AuditView {
    audit: Vec<RowView>,
    page: PageInfo,
}

impl RowView {
    fn of(row: AuditRecord) -> Self {
        Self {
            time: row.at.rfc3339_ms(),
            access_key: row.access_key,
            role: row.role,
            from: row.from,
            request_id: row.request_id,
            method: row.method,
            path: row.path,
            operation: row.operation,
            targets: row.targets.into_iter().collect(),
            status: row.status,
            error_code: row.error_code,
        }
    }
}

/// `GET /v1/audit`. Errors: 400 bad query, 403 other roles and callers bound to a space.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    if let Some(space) = caller.space {
        return Err(ApiError::foreign_space(format!(
            "the audit log is for credentials without a resource space, this one has {}",
            space.as_str()
        )));
    }
    let wanted = read_query(&uri, wanted_of)?;
    let page = tokio::task::spawn_blocking(move || app.audit.list(&wanted));
    let page = page.await.map_err(|_| StoreError::Closed)??;
    let audit: Vec<RowView> = page.rows.into_iter().map(RowView::of).collect();
    let answer = AuditView {
        page: PageInfo {
            count: audit.len() as u64,
            marker: page.next.map(marker_of),
        },
        audit,
    };
    Ok(json(StatusCode::OK, &answer))
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    let (from, to) = query.times("from", "to");
    let limit = query.integer("limit", 1..=50, code::LIMIT).unwrap_or(10);
    let status = query.integer("status", 100..=599, code::INVALID);
    Wanted {
        access_key: query.text("access_key", TextRule::any(128)),
        operation: query.text("operation", TextRule::any(128)),
        target: query.text("target", TextRule::any(256)),
        status: status.and_then(|status| u16::try_from(status).ok()),
        from,
        to,
        before: query
            .raw_like("marker", "^[0-9A-Fa-f]{32}$")
            .and_then(|text| {
                let place = parse_marker(text);
                if place.is_none() {
                    let problem =
                        format!("got {}, takes the marker of an earlier page", quoted(text));
                    query.problem(code::MARKER, "marker", problem);
                }
                place
            }),
        limit: usize::try_from(limit).unwrap_or(10),
    }
}

type Place = (Timestamp, u64);

fn marker_of((at, seq): Place) -> String {
    format!("{:016x}{seq:016x}", at.as_ms())
}

fn parse_marker(text: &str) -> Option<Place> {
    let legal = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let (at, seq) = text.split_at_checked(16).filter(|_| legal)?;
    let number = |part| u64::from_str_radix(part, 16).ok();
    Some((Timestamp::from_ms(number(at)?), number(seq)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_come_back_as_they_went() {
        let place = (Timestamp::from_ms(1_700_000_000_123), u64::MAX);
        assert_eq!(parse_marker(&marker_of(place)), Some(place));
        for bad in ["", "zz", &"f".repeat(31), &"é".repeat(16)] {
            assert_eq!(parse_marker(bad), None, "{bad}");
        }
    }
}
