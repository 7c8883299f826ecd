//! Dry runs: what the product's codec makes of bytes, commands and properties, without a device.
//! They change nothing and count in no statistics; but a script that hits a limit here is struck for it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{ProductError, ProductRuntime, Products};
use crate::base::ids::ProductId;
use crate::bug;
use crate::product::check::{self, Violation};
use crate::product::codec::call::{Call, Reply};
use crate::product::codec::{
    Codec, CodecError, Decoded, Encode, EncodeProperties, PropertySet, TraceEntry, Uplink,
};

/// A dry run of decode.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeRun {
    pub decoded: Decoded,
    pub trace: Vec<TraceEntry>,
    /// What the model made of a report; what fits is in `decoded`.
    pub violations: Vec<Violation>,
    /// Of a codec that runs elsewhere: with the way there and back.
    pub took_us: u64,
}

impl Products {
    /// What the product's codec makes of these bytes.
    pub async fn try_decode(
        &self,
        id: &ProductId,
        payload: &[u8],
        f_port: Option<u8>,
    ) -> Result<DecodeRun, ProductError> {
        let (product, codec) = self.codec_of(id)?;
        let uplink = Uplink {
            payload,
            received_at: self.parts.clock.now(),
            f_port,
        };
        let began = self.parts.clock.instant();
        let reply = self
            .perform(codec.as_ref(), Call::decode(&uplink, true))
            .await?;
        let took = self.parts.clock.instant().saturating_duration_since(began);
        let Reply::Decoded { mut decoded, trace } = reply else {
            return Err(misfit());
        };
        let violations = match &mut decoded {
            Decoded::Report(report) => check::report(&product.record.profile, report),
            Decoded::Response(_) | Decoded::Nothing => Vec::new(),
        };
        Ok(DecodeRun {
            decoded,
            trace,
            violations,
            took_us: as_us(took),
        })
    }

    /// The bytes of a command, after the check of its parameters against the model.
    pub async fn try_encode(
        &self,
        id: &ProductId,
        service_id: &str,
        command_name: &str,
        paras: &Map<String, Value>,
        mid: u16,
    ) -> Result<Vec<u8>, ProductError> {
        let (product, codec) = self.codec_of(id)?;
        let profile = &product.record.profile;
        refuse(&check::command(profile, service_id, command_name, paras))?;
        let command = Encode {
            service_id,
            command_name,
            paras,
            mid,
        };
        match self.perform(codec.as_ref(), Call::encode(&command)).await? {
            Reply::Encoded { bytes, .. } => Ok(bytes),
            _ => Err(misfit()),
        }
    }

    /// The message that sets properties, after the check of those that are wanted.
    pub async fn try_set(
        &self,
        id: &ProductId,
        set: &EncodeProperties<'_>,
    ) -> Result<PropertySet, ProductError> {
        let (product, codec) = self.codec_of(id)?;
        refuse(&check::writable(
            &product.record.profile,
            set.service_id,
            set.wanted,
        ))?;
        let call = Call::encode_properties(set);
        match self.perform(codec.as_ref(), call).await? {
            Reply::Set(set) => Ok(set),
            _ => Err(misfit()),
        }
    }

    /// Makes a call where the codec runs.
    async fn perform(&self, codec: &dyn Codec, call: Call) -> Result<Reply, CodecError> {
        match codec.outside() {
            Some(outside) => self.parts.codecs.call(outside, call).await,
            None => call.perform(codec),
        }
    }

    pub(super) fn codec_of(
        &self,
        id: &ProductId,
    ) -> Result<(Arc<ProductRuntime>, Arc<dyn Codec>), ProductError> {
        let product = self.show(id)?;
        match product.codec.clone() {
            Some(codec) => Ok((product, codec)),
            None => Err(ProductError::NoCodec(id.clone())),
        }
    }
}

fn as_us(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn misfit() -> ProductError {
    bug!("a codec was asked for one thing and gave another");
    CodecError::Unavailable {
        reason: "its answer is of another sort".to_owned(),
    }
    .into()
}

fn refuse(violations: &[Violation]) -> Result<(), ProductError> {
    let Some(first) = violations.first() else {
        return Ok(());
    };
    let more = violations.iter().skip(1);
    let problem = more.fold(first.message.clone(), |text, violation| {
        format!("{text}; {}: {}", violation.path, violation.message)
    });
    Err(ProductError::Invalid {
        field: first.path.clone(),
        problem,
    })
}
