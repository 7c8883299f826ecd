//! What is told of a step: for the device's trace, and why a message counts for nothing.

/// What the trace tells of a step.
#[derive(Debug, Clone)]
pub struct Note {
    /// Kind of the entry, where the input's is not the one.
    pub kind: Option<&'static str>,
    pub summary: String,
    pub detail: Option<serde_json::Value>,
    pub error: Option<String>,
    pub hint: Option<String>,
}

impl Note {
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            kind: None,
            summary: summary.into(),
            detail: None,
            error: None,
            hint: None,
        }
    }

    /// Something went wrong, and what may be done about it.
    pub fn failed(
        summary: impl Into<String>,
        error: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            error: Some(error.into()),
            hint: Some(hint.into()),
            ..Self::new(summary)
        }
    }
}

/// Why a message counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Frozen,
    Unsecured,
    Foreign,
}

impl Refusal {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frozen => "the device is frozen",
            Self::Unsecured => "the device is secured and came without DTLS",
            Self::Foreign => "the DTLS identity is another device's",
        }
    }

    /// What an operator may do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Frozen => "unfreeze it: POST …/devices/{device_id}/unfreeze",
            Self::Unsecured => {
                "let the device come over DTLS (coaps), or create it without a secret"
            }
            Self::Foreign => {
                "the endpoint name (ep) or the token is this device's, the PSK identity another's: \
                 correct one of them in that device"
            }
        }
    }
}
