//! The sample products of `codecs/`, embedded, so that the demo and the simulation need no files.

use serde_json::Value;

use crate::sim::payload::Product;
use crate::sim::rest::{Rest, RestError};

/// Product model and codec of a sample product.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub product: Product,
    pub model: &'static str,
    pub codec: &'static str,
}

macro_rules! sample {
    ($product:ident, $folder:literal) => {
        Sample {
            product: Product::$product,
            model: include_str!(concat!("../../codecs/", $folder, "/profile.json")),
            codec: include_str!(concat!("../../codecs/", $folder, "/codec.toml")),
        }
    };
}

impl Sample {
    pub const fn of(product: Product) -> Self {
        match product {
            Product::WaterMeter => sample!(WaterMeter, "water-meter"),
            Product::GasMeter => sample!(GasMeter, "gas-meter"),
            Product::SmokeDetector => sample!(SmokeDetector, "smoke-detector"),
            Product::StreetLight => sample!(StreetLight, "street-light"),
            Product::ParkingSensor => sample!(ParkingSensor, "parking-sensor"),
        }
    }

    /// The model with a product id, so that creating it twice is recognised.
    fn model_with_id(&self) -> String {
        let Ok(Value::Object(mut model)) = serde_json::from_str(self.model) else {
            return self.model.to_owned();
        };
        let id = || Value::from(format!("sample-{}", self.product.name()));
        model.entry("product_id").or_insert_with(id);
        Value::Object(model).to_string()
    }

    /// Creates product and codec on a server and gives the product's id.
    pub async fn provision(&self, rest: &Rest) -> Result<String, RestError> {
        let id = rest.create_product(&self.model_with_id()).await?;
        rest.put_codec(&id, self.codec).await?;
        Ok(id)
    }
}

/// A sample product by the name of its folder.
pub fn by_name(text: &str) -> Result<Product, String> {
    let found = Product::ALL.into_iter().find(|p| p.name() == text);
    found.ok_or_else(|| {
        let names: Vec<_> = Product::ALL.iter().map(|p| p.name()).collect();
        format!(
            "{text:?} is no sample product, takes one of {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::product::codec::{self, Decoded, Uplink};
    use crate::sim::payload::Readings;

    #[test]
    fn every_product_has_a_sample_and_a_stable_id() {
        for product in Product::ALL {
            assert_eq!(by_name(product.name()), Ok(product));
            let sample = Sample::of(product);
            let model: Value = serde_json::from_str(&sample.model_with_id()).unwrap();
            assert!(model.get("product_id").is_some_and(Value::is_string));
        }
        assert!(by_name("toaster").unwrap_err().contains("water-meter"));
    }

    /// Two stacks that share nothing agree about the bytes: those of the simulated devices decode
    /// with the products' codecs.
    #[test]
    fn what_the_devices_send_decodes() {
        for product in Product::ALL {
            let source = Sample::of(product).codec.as_bytes();
            let codec = codec::compile(codec::Kind::Table, source, None).unwrap();
            let mut readings = Readings::new(product, 5);
            for n in 0..300 {
                let received_at = Timestamp::from_ms(1_597_133_265_000 + n * 60_000);
                let payload = readings.payload(received_at);
                let uplink = Uplink {
                    payload: &payload,
                    received_at,
                    f_port: None,
                };
                match codec.decode(&uplink, None) {
                    Ok(Decoded::Report(report)) => assert!(!report.services.is_empty()),
                    other => panic!("{product:?}: {payload:02x?}: {other:?}"),
                }
            }
        }
    }
}
