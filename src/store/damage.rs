//! What engines say of damaged files.

use std::any::Any;
use std::path::Path;

use super::StoreError;

pub(super) fn corrupt(path: &Path, reason: &str) -> StoreError {
    StoreError::Corrupt {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

/// What an engine said when it panicked.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("unknown reason").to_owned()
}
