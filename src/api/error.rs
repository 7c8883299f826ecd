//! What a caller is told when a request fails: `{"error_code","error_msg"}` with the HTTP status.
//!
//! The one place that maps errors to HTTP. The text of store and system errors stays inside: it is
//! logged, and the caller learns only that waiting helps.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::batch::BatchError;
use crate::app::certificate::CertificateError;
use crate::app::device::DeviceError;
use crate::app::forwarding::ForwardingError;
use crate::app::group::GroupError;
use crate::app::order::OrderError;
use crate::app::package::PackageError;
use crate::app::product::ProductError;
use crate::app::push::PushError;
use crate::app::replay::ReplayError;
use crate::app::space::SpaceError;
use crate::app::trace::TraceError;
use crate::product::codec::LoadError;
use crate::product::model_zip::PackageError as ModelZipError;
use crate::store::StoreError;

/// Codes of the v5 API. Those without a published meaning here take the nearest published one.
pub mod code {
    pub const INTERNAL: &str = "IOTDA.000001";
    /// Of a wrong token (403), and of a missing or wrong signature (401).
    pub const NO_CALLER: &str = "IOTDA.000004";
    pub const INVALID: &str = "IOTDA.000006";
    pub const MALFORMED: &str = "IOTDA.000008";
    pub const TIME_FORMAT: &str = "IOTDA.000009";
    pub const TIME_ORDER: &str = "IOTDA.000010";
    pub const LIMIT: &str = "IOTDA.000017";
    pub const MARKER: &str = "IOTDA.000018";
    pub const NO_SPACE: &str = "IOTDA.001000";
    pub const NOT_AUTHORIZED: &str = "IOTDA.001002";
    pub const NO_MODEL: &str = "IOTDA.009002";
    pub const NO_RULE: &str = "IOTDA.010002";
    pub const NO_PRODUCT: &str = "IOTDA.013001";
    pub const NO_DEVICE: &str = "IOTDA.014000";
    pub const DEVICE_EXISTS: &str = "IOTDA.014031";
    /// Of a device that too much waits for (403).
    pub const DEVICE_LIMIT: &str = "IOTDA.021101";
}

/// Seconds after which a caller may try again.
const RETRY_AFTER_S: u32 = 5;

/// How callers may say who they are (RFC 9110 §11.6.1).
const SCHEMES: &str = "Bearer realm=\"strait\", SDK-HMAC-SHA256, V11-HMAC-SHA256";

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Mistakes of a codec, each with its place.
    pub errors: Option<Vec<LoadError>>,
    pub retry_after_s: Option<u32>,
}

/// The code of a failed request, among the extensions of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub &'static str);

/// What every failed request answers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct ErrorBody<'a> {
    /// Stable, like `IOTDA.000006`.
    error_code: &'a str,
    /// Which field, what it got and what it takes.
    error_msg: &'a str,
    /// Every mistake of a codec.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [LoadError]>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            errors: None,
            retry_after_s: None,
        }
    }

    /// 400: well-formed, and not acceptable.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::INVALID, message)
    }

    /// 400: not even well-formed.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::MALFORMED, message)
    }

    /// 403: the caller may not touch what this names.
    pub fn foreign_space(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code::NOT_AUTHORIZED, message)
    }

    /// 503: waiting helps.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(RETRY_AFTER_S),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code::INTERNAL, message)
        }
    }

    /// 409: others change the same thing; waiting helps.
    fn contended(message: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(1),
            ..Self::new(StatusCode::CONFLICT, code::INVALID, message)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error_code: self.code,
            error_msg: &self.message,
            errors: self.errors.as_deref(),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(ErrorCode(self.code));
        if self.status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static(SCHEMES);
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, value);
        }
        if let Some(seconds) = self.retry_after_s {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request failed because of the store");
        match error {
            StoreError::Full { .. } => Self::unavailable("the server's disk is full, try later"),
            StoreError::Busy => Self::unavailable("the server has too much to do, try again"),
            StoreError::Closed => Self::unavailable("the server is stopping, try again"),
            _ => Self::unavailable("the server's store can't be used now, try later"),
        }
    }
}

impl From<SpaceError> for ApiError {
    fn from(error: SpaceError) -> Self {
        let message = error.to_string();
        match error {
            SpaceError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, code::NO_SPACE, message),
            SpaceError::Unknown(_) => Self::new(StatusCode::FORBIDDEN, code::NO_SPACE, message),
            SpaceError::NameTaken(_) | SpaceError::TooMany | SpaceError::IsDefault(_) => {
                Self::invalid(message)
            }
            SpaceError::Contended => Self::contended(message),
            SpaceError::Store(error) => error.into(),
        }
    }
}

impl From<ProductError> for ApiError {
    fn from(error: ProductError) -> Self {
        let message = error.to_string();
        match error {
            ProductError::NotFound(_) => {
                Self::new(StatusCode::NOT_FOUND, code::NO_PRODUCT, message)
            }
            ProductError::NoCodec(_) | ProductError::NoVersion { .. } => {
                Self::new(StatusCode::NOT_FOUND, code::INVALID, message)
            }
            ProductError::Exists(_) | ProductError::Invalid { .. } => Self::invalid(message),
            ProductError::Space(error) => error.into(),
            ProductError::Mistakes(mistakes) => Self {
                errors: Some(mistakes),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code::INVALID, message)
            },
            ProductError::Codec(error) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                code::INVALID,
                format!("{}: {message}", error.kind()),
            ),
            ProductError::Precondition { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, code::INVALID, message)
            }
            ProductError::Contended => Self::contended(message),
            ProductError::Store(error) => error.into(),
        }
    }
}

impl From<DeviceError> for ApiError {
    fn from(error: DeviceError) -> Self {
        let message = error.to_string();
        match error {
            DeviceError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, code::NO_DEVICE, message),
            DeviceError::Exists { .. } => {
                Self::new(StatusCode::BAD_REQUEST, code::DEVICE_EXISTS, message)
            }
            DeviceError::NoProduct(_) => {
                Self::new(StatusCode::BAD_REQUEST, code::NO_MODEL, message)
            }
            DeviceError::Space(error) => error.into(),
            DeviceError::Invalid { .. } | DeviceError::Mistakes(_) => Self::invalid(message),
            DeviceError::Contended => Self::contended(message),
            DeviceError::Store(error) => error.into(),
        }
    }
}

impl From<CertificateError> for ApiError {
    fn from(error: CertificateError) -> Self {
        let message = error.to_string();
        match error {
            CertificateError::NotFound(_) => {
                Self::new(StatusCode::NOT_FOUND, code::INVALID, message)
            }
            CertificateError::Exists(_)
            | CertificateError::TooMany(_)
            | CertificateError::Invalid { .. } => Self::invalid(message),
            CertificateError::Contended => Self::contended(message),
            CertificateError::Space(error) => error.into(),
            CertificateError::Store(error) => error.into(),
        }
    }
}

impl From<ForwardingError> for ApiError {
    fn from(error: ForwardingError) -> Self {
        let message = error.to_string();
        match error {
            ForwardingError::NoRule(_) => Self::new(StatusCode::NOT_FOUND, code::NO_RULE, message),
            ForwardingError::NoAction(_)
            | ForwardingError::NoPolicy(_)
            | ForwardingError::NoQueue(_)
            | ForwardingError::NoCertificate(_) => {
                Self::new(StatusCode::NOT_FOUND, code::INVALID, message)
            }
            ForwardingError::TooMany { .. }
            | ForwardingError::QueueExists(_)
            | ForwardingError::CertificateUsed { .. }
            | ForwardingError::Sql(_)
            | ForwardingError::Invalid { .. } => Self::invalid(message),
            ForwardingError::Contended => Self::contended(message),
            ForwardingError::Space(error) => error.into(),
            ForwardingError::Store(error) => error.into(),
        }
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        let message = error.to_string();
        match error {
            PushError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, code::INVALID, message),
            PushError::Idle(_) | PushError::NotSetAside(_) => Self::invalid(message),
            PushError::Stopping => Self::unavailable("the server is stopping, try again"),
            PushError::Store(error) => error.into(),
        }
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        let message = error.to_string();
        match error {
            ReplayError::Product(error) => error.into(),
            ReplayError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, code::INVALID, message),
            ReplayError::Running(_) | ReplayError::Quarantined(_) => {
                Self::new(StatusCode::CONFLICT, code::INVALID, message)
            }
            ReplayError::Invalid { .. } => Self::invalid(message),
            ReplayError::Stopping => Self::unavailable("the server is stopping, try again"),
            ReplayError::Store(error) => error.into(),
        }
    }
}

impl From<ModelZipError> for ApiError {
    fn from(error: ModelZipError) -> Self {
        match error {
            // Each names its file.
            ModelZipError::Mistakes { .. } => Self::invalid(error.to_string()),
            _ => Self::invalid(format!("body: {error}")),
        }
    }
}

impl From<PackageError> for ApiError {
    fn from(error: PackageError) -> Self {
        let message = error.to_string();
        match error {
            PackageError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, code::INVALID, message),
            PackageError::Invalid { .. } | PackageError::Full { .. } => Self::invalid(message),
            PackageError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, code::MALFORMED, message)
            }
            PackageError::Taken { .. }
            | PackageError::Bound { .. }
            | PackageError::Differs { .. }
            | PackageError::InUse { .. }
            | PackageError::NoFile { .. } => {
                Self::new(StatusCode::CONFLICT, code::INVALID, message)
            }
            PackageError::Token(_) => Self::new(StatusCode::FORBIDDEN, code::NO_CALLER, message),
            PackageError::Broken(_) => Self::malformed(message),
            PackageError::Slow(_) => {
                Self::new(StatusCode::REQUEST_TIMEOUT, code::MALFORMED, message)
            }
            PackageError::Busy { .. } => Self::unavailable(message),
            PackageError::Contended => Self::contended(message),
            PackageError::Product(error) => error.into(),
            PackageError::Files(error) => {
                tracing::warn!(%error, "the file of a package can't be used");
                Self::unavailable("the server's files of packages can't be used now, try later")
            }
            PackageError::Store(error) => error.into(),
        }
    }
}

impl From<GroupError> for ApiError {
    fn from(error: GroupError) -> Self {
        let message = error.to_string();
        match error {
            GroupError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, code::INVALID, message),
            GroupError::Contended => Self::contended(message),
            GroupError::Space(error) => error.into(),
            GroupError::Device(error) => error.into(),
            GroupError::Store(error) => error.into(),
            GroupError::NameTaken { .. }
            | GroupError::TooMany { .. }
            | GroupError::TooManyDynamic { .. }
            | GroupError::HasBelow
            | GroupError::Dynamic
            | GroupError::Rule(_)
            | GroupError::Invalid { .. } => Self::invalid(message),
        }
    }
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        let message = error.to_string();
        match error {
            OrderError::NotFound => Self::new(StatusCode::NOT_FOUND, code::NO_DEVICE, message),
            OrderError::Model(_) | OrderError::NameTaken => Self::invalid(message),
            OrderError::Full { .. } => {
                Self::new(StatusCode::FORBIDDEN, code::DEVICE_LIMIT, message)
            }
            OrderError::Version { .. } => Self::new(StatusCode::CONFLICT, code::INVALID, message),
            OrderError::Overtaken => Self::contended(message),
            OrderError::Busy => Self::unavailable(message),
            OrderError::Store(error) => error.into(),
        }
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        let message = error.to_string();
        match error {
            BatchError::NotFound(_) | BatchError::NoFile(_) => {
                Self::new(StatusCode::NOT_FOUND, code::INVALID, message)
            }
            BatchError::Space(error) => error.into(),
            BatchError::Store(error) => error.into(),
            _ => Self::invalid(message),
        }
    }
}

/// The code of a subtask's error, which is one already or the kind of a device's error.
pub fn code_of_kind(kind: &str) -> &str {
    match kind {
        "not_found" => code::NO_DEVICE,
        "exists" => code::DEVICE_EXISTS,
        "no_product" => code::NO_MODEL,
        "store" => code::INTERNAL,
        own if own.starts_with("IOTDA.") => own,
        _ => code::INVALID,
    }
}

impl From<TraceError> for ApiError {
    fn from(error: TraceError) -> Self {
        Self::invalid(format!("enabled: {error}"))
    }
}
