//! The codec as a step sees it: the product's own, whose calls are counted here, or what is known of
//! one that runs elsewhere ([`Memo`](crate::product::codec::call::Memo)), whose calls the shard counts when they are made.

use super::product::rates::{Rates, Sort};
use super::step::Loaded;
use crate::product::codec::{
    AnswerTo, Codec, CodecError, Decoded, Encode, EncodeProperties, PropertySet, Uplink,
};

/// A codec to call from a step.
#[derive(Clone, Copy)]
pub struct StepCodec<'a> {
    codec: &'a dyn Codec,
    /// `None`: nothing is called here.
    rates: Option<&'a Rates>,
}

impl Loaded {
    /// What reads and writes the device's bytes; `None`: its product has no codec.
    pub fn codec(&self) -> Option<StepCodec<'_>> {
        if let Some(memo) = &self.memo {
            return Some(StepCodec {
                codec: memo,
                rates: None,
            });
        }
        let product = self.product.as_deref()?;
        Some(StepCodec {
            codec: product.codec.as_deref()?,
            rates: Some(&product.rates),
        })
    }
}

impl StepCodec<'_> {
    pub fn decode(self, uplink: &Uplink<'_>) -> Result<Decoded, CodecError> {
        self.call(Sort::Decode, |codec| codec.decode(uplink, None))
    }

    pub fn encode(self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        self.call(Sort::Encode, |codec| codec.encode(command))
    }

    /// Not counted: it goes with `encode`.
    pub fn answers_by_mid(self, command: &Encode<'_>) -> bool {
        self.codec.answers_by_mid(command)
    }

    pub fn encode_properties(self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        self.call(Sort::Set, |codec| codec.encode_properties(set))
    }

    pub fn answer(self, report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        self.call(Sort::Answer, |codec| codec.answer(report))
    }

    fn call<T>(
        self,
        sort: Sort,
        work: impl FnOnce(&dyn Codec) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        match self.rates {
            Some(rates) => rates.measure(sort, || work(self.codec)),
            None => work(self.codec),
        }
    }
}
