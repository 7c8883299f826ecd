//! How a product's codec does: what runs, whether it is quarantined, and its figures.

use std::sync::Arc;

use super::rates::{Counted, Rates};
use super::{ProductError, ProductRuntime, Products, codec};
use crate::app::codec_pool::Quarantine;
use crate::base::ids::ProductId;
use crate::product::codec::{Codec, Kind};

/// A product's codec as it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecStatus {
    /// `None`: the product speaks JSON and needs none.
    pub kind: Option<Kind>,
    /// Of the uploaded one.
    pub etag: Option<String>,
    /// Something decodes what the devices send. Without it the uplinks are kept raw.
    pub is_running: bool,
    /// Why it is not called any more.
    pub quarantined: Option<Quarantine>,
    pub counted: Counted,
}

impl Products {
    /// How the product's codec does. Errors: `NoCodec` when it has none and needs one.
    pub fn codec_status(&self, id: &ProductId) -> Result<CodecStatus, ProductError> {
        let product = self.show(id)?;
        let stored = self.parts.store.codec(id)?;
        if stored.is_none() && product.codec.is_none() {
            return Err(ProductError::NoCodec(id.clone()));
        }
        let outside = product.codec.as_deref().and_then(Codec::outside);
        let quarantined = outside.and_then(|outside| self.parts.codecs.quarantined(outside));
        let speaks_json = product.record.data_format == "json";
        let stored_kind = stored.as_ref().map(|codec| codec::kind_of(codec.kind));
        Ok(CodecStatus {
            kind: stored_kind.filter(|_| !speaks_json),
            etag: stored.map(|codec| codec.etag),
            is_running: product.codec.is_some() && quarantined.is_none(),
            quarantined,
            counted: product.rates.read(),
        })
    }

    /// Lets a quarantined codec run again; one that is not quarantined goes on as it does.
    pub fn release_codec(&self, id: &ProductId) -> Result<(), ProductError> {
        let (_, codec) = self.codec_of(id)?;
        if let Some(outside) = codec.outside() {
            self.parts.codecs.release(outside);
        }
        Ok(())
    }

    /// The figures of a codec: those of before when it is the same.
    pub(super) fn rates_of(
        &self,
        id: &ProductId,
        running: Option<&ProductRuntime>,
        now: Option<&dyn Codec>,
    ) -> Arc<Rates> {
        let before = running.filter(|running| match (running.codec.as_deref(), now) {
            (Some(before), Some(now)) => codec::is_same(before, now),
            (None, None) => true,
            _ => false,
        });
        match before {
            Some(running) => Arc::clone(&running.rates),
            None => Arc::new(Rates::new(&self.parts.clock, self.labels.of(id))),
        }
    }
}
