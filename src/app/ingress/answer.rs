//! Answers that need no device.

use bytes::Bytes;

use super::{RESOURCES, Routed};
use crate::engine::exchange::Response;
use crate::store::StoreError;
use crate::wire::coap::{Code, ContentFormat, option};

pub(super) fn unavailable(error: &StoreError) -> Routed {
    tracing::warn!(%error, "a device can't be looked up");
    Routed::Answer(Response::refusal(Code::SERVICE_UNAVAILABLE))
}

/// A refusal that tells people why; machines look at the code.
pub(super) fn explain(code: Code, why: &str) -> Routed {
    let payload = Bytes::copy_from_slice(why.as_bytes());
    Routed::Answer(Response {
        payload,
        ..Response::refusal(code)
    })
}

pub(super) fn resources() -> Response {
    let format = option::Uint::new(u64::from(ContentFormat::LINK.0))
        .as_bytes()
        .to_vec();
    Response {
        options: vec![(option::CONTENT_FORMAT, format)],
        payload: Bytes::from_static(RESOURCES),
        ..Response::refusal(Code::CONTENT)
    }
}
