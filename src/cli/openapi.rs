//! `strait openapi`: prints the OpenAPI document that a server serves at `/openapi.json`.

use std::io::Write;
use std::process::ExitCode;

use crate::api;

/// Prints the document. Exit 1 when it can't be written out.
pub fn print() -> ExitCode {
    let text = api::openapi::text(&api::operations());
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
