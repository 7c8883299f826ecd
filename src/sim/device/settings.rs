//! What a simulated device is: kind, LwM2M version and binding, timing, and the bytes that follow
//! from them (registration request, TLV wrapping). Lifetimes in seconds.

use std::time::Duration;

use coap_lite::{CoapOption, MessageType};

use super::conduct::Conduct;
use crate::sim::message::{self, Draft};
use crate::sim::tlv;
use crate::sim::upgrade::Habits;

/// How the device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Registers at `/rd`, reports as notifications of 19/0/0.
    Lwm2m,
    /// Registers at `/t/r`, reports with `POST /t/d`.
    Raw,
    /// Registers at `/t/r`, reports as notifications of `/t/d`.
    RawObserved,
}

/// Version of the LwM2M registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1_0,
    V1_1,
    V1_2,
}

impl Version {
    const fn text(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }
}

/// Binding of the registration. Queue mode is `b=UQ` in 1.0 and a bare `Q` from 1.1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    Udp,
    Queue,
}

/// Reliability of the device's own confirmable messages (RFC 7252 §4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub ack_timeout: Duration,
    pub max_retransmit: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            max_retransmit: 4,
        }
    }
}

/// One device's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node_id: String,
    pub kind: Kind,
    pub version: Version,
    pub binding: Binding,
    pub lifetime_s: u32,
    /// Wraps notifications as TLV (11542) instead of plain opaque (42).
    pub tlv: bool,
    /// The first answer to an observation is one byte 00 instead of nothing: both occur.
    pub first_answer_zero: bool,
    pub timing: Timing,
    pub conduct: Conduct,
    /// It reports by itself; its driver may let it report besides.
    pub wakes: Option<Wakes>,
    /// How it upgrades; `None`: not at all, and it has no objects besides 19.
    pub upgrade: Option<Habits>,
    pub seed: u64,
}

/// The schedule of a device that reports by itself, from its start on: with a radio that is off in
/// between (see [`Conduct`]), a sleeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wakes {
    pub period: Duration,
    pub payload: Vec<u8>,
}

impl Settings {
    pub fn new(node_id: impl Into<String>, kind: Kind, seed: u64) -> Self {
        Self {
            node_id: node_id.into(),
            kind,
            version: Version::V1_0,
            binding: Binding::Udp,
            lifetime_s: 86_400,
            tlv: false,
            first_answer_zero: false,
            timing: Timing::default(),
            conduct: Conduct::default(),
            wakes: None,
            upgrade: None,
            seed,
        }
    }

    /// The path that the server observes.
    pub(super) const fn observed_path(&self) -> &'static str {
        match self.kind {
            Kind::Lwm2m => "19/0/0",
            Kind::Raw | Kind::RawObserved => "t/d",
        }
    }

    /// The path that takes downlinks.
    pub(super) const fn downlink_path(&self) -> &'static str {
        match self.kind {
            Kind::Lwm2m => "19/1/0",
            Kind::Raw | Kind::RawObserved => "t/d",
        }
    }

    pub(super) fn registration(&self, msg_id: u16) -> Draft {
        let request = Draft::new(MessageType::Confirmable, message::POST, msg_id);
        if self.kind != Kind::Lwm2m {
            return request
                .path("t/r")
                .query(&format!("ep={}", self.node_id))
                .query(&format!("lt={}", self.lifetime_s));
        }
        let request = request
            .path("rd")
            .query(&format!("ep={}", self.node_id))
            .query(&format!("lt={}", self.lifetime_s))
            .query(&format!("lwm2m={}", self.version.text()));
        let request = match (self.version, self.binding) {
            (_, Binding::Udp) => request.query("b=U"),
            (Version::V1_0, Binding::Queue) => request.query("b=UQ"),
            (Version::V1_1 | Version::V1_2, Binding::Queue) => request.query("b=U").query("Q"),
        };
        request
            .uint(CoapOption::ContentFormat, u32::from(message::FORMAT_LINK))
            .payload(self.links().as_bytes())
    }

    /// The device's objects.
    fn links(&self) -> String {
        let (cell, firmware) = match &self.upgrade {
            Some(habits) => (habits.radio.object.link(), habits.firmware.is_some()),
            None => ("</4/0>,", true),
        };
        let firmware = if firmware { "</5/0>," } else { "" };
        format!("</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,{cell}{firmware}</19/0>,</19/1>")
    }

    /// Content format and body of a notification.
    pub(super) fn wrap(&self, payload: &[u8]) -> (u16, Vec<u8>) {
        if self.tlv && self.kind == Kind::Lwm2m {
            (message::FORMAT_TLV, tlv::resource(0, payload))
        } else {
            (message::FORMAT_OPAQUE, payload.to_vec())
        }
    }
}
