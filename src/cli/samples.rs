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

    /// The id that the product has or gets.
    pub fn product_id(&self) -> String {
        let model: Option<Value> = serde_json::from_str(&self.model_with_id()).ok();
        let id = model.and_then(|model| Some(model.get("product_id")?.as_str()?.to_owned()));
        id.unwrap_or_default()
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
    use serde_json::json;

    use crate::product::codec::{self, Decoded, Encode, EncodeProperties, Uplink};
    use crate::sim::device::Reaction;
    use crate::sim::payload::{Command, JsonDevice, Readings, Verdict};

    #[test]
    fn every_product_has_a_sample_and_a_stable_id() {
        for product in Product::ALL {
            assert_eq!(by_name(product.name()), Ok(product));
            let sample = Sample::of(product);
            let model: Value = serde_json::from_str(&sample.model_with_id()).unwrap();
            assert_eq!(
                model.get("product_id"),
                Some(&Value::from(sample.product_id()))
            );
            assert!(!sample.product_id().is_empty());
        }
        assert!(by_name("toaster").unwrap_err().contains("water-meter"));
    }

    /// Two stacks that share nothing agree about the bytes: those of the simulated devices decode
    /// with the products' codecs.
    #[test]
    fn what_the_devices_send_decodes() {
        for product in Product::ALL {
            let source = Sample::of(product).codec.as_bytes();
            let codec = codec::compile(codec::Kind::Table, source, None, None).unwrap();
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

    /// The same for commands: what the codecs write, the devices carry out, and what they answer, the
    /// codecs read.
    #[test]
    fn what_the_devices_answer_decodes() {
        let rows = [
            (
                Product::WaterMeter,
                "WaterMeterBasic",
                "SET_VALVE",
                json!({"state": "closed"}),
            ),
            (
                Product::GasMeter,
                "GasMeter",
                "VALVE",
                json!({"action": "lock"}),
            ),
            (
                Product::SmokeDetector,
                "smokerdector",
                "SET_ALARM",
                json!({"value": 1}),
            ),
            (Product::StreetLight, "Light", "SWITCH", json!({"on": true})),
            (
                Product::StreetLight,
                "Light",
                "SET_BRIGHTNESS",
                json!({"brightness": 30}),
            ),
        ];
        for (product, service_id, command_name, paras) in rows {
            let source = Sample::of(product).codec.as_bytes();
            let codec = codec::compile(codec::Kind::Table, source, None, None).unwrap();
            for (verdict, mid, want) in [
                (Verdict::Done, 7, (Some(7), true)),
                (Verdict::Failed, 258, (Some(258), false)),
                (Verdict::WrongMid, 65535, (Some(1), true)),
            ] {
                let command = encode(service_id, command_name, &paras, mid);
                let bytes = codec.encode(&command).unwrap();
                let known = Command::read(product, &bytes).unwrap();
                assert_eq!(known.mid(), Some(mid), "{product:?}");
                let reaction = Readings::new(product, 1).take(&bytes, verdict);
                assert_eq!(
                    response(codec.as_ref(), &reaction),
                    want,
                    "{product:?} {verdict:?}"
                );
            }
        }
    }

    #[test]
    fn devices_that_speak_json_are_understood() {
        let codec = codec::json();
        let paras = json!({"by": 3});
        let command = encode("Valve", "OPEN", &paras, 9);
        let bytes = codec.encode(&command).unwrap();
        let answer = JsonDevice::default().take(&bytes, Verdict::Done);
        assert_eq!(response(codec.as_ref(), &answer), (Some(9), true));
        let mut silent = JsonDevice::default().without_mid();
        assert_eq!(
            response(codec.as_ref(), &silent.take(&bytes, Verdict::Failed)),
            (None, false)
        );
        let wanted = json!({"state": "open"});
        let set = codec.encode_properties(&EncodeProperties {
            service_id: "Valve",
            wanted: wanted.as_object().unwrap(),
            known: &serde_json::Map::new(),
            mid: 10,
        });
        let reaction = JsonDevice::default().take(&set.unwrap().bytes, Verdict::Done);
        let Decoded::Report(report) = decode(codec.as_ref(), &reaction) else {
            panic!("{reaction:?}");
        };
        assert_eq!(
            report.services[0].properties.get("state"),
            Some(&json!("open"))
        );
    }

    fn encode<'a>(
        service_id: &'a str,
        command_name: &'a str,
        paras: &'a Value,
        mid: u16,
    ) -> Encode<'a> {
        Encode {
            service_id,
            command_name,
            paras: paras.as_object().unwrap(),
            mid,
        }
    }

    fn decode(codec: &dyn codec::Codec, reaction: &Reaction) -> Decoded {
        let payload = match reaction {
            Reaction::Nothing => panic!("no reaction"),
            Reaction::Answer(bytes) | Reaction::Report(bytes) => bytes,
        };
        let uplink = Uplink {
            payload,
            received_at: Timestamp::from_ms(0),
            f_port: None,
        };
        codec.decode(&uplink, None).unwrap()
    }

    /// Its mid, and whether it was done.
    fn response(codec: &dyn codec::Codec, reaction: &Reaction) -> (Option<u16>, bool) {
        match decode(codec, reaction) {
            Decoded::Response(response) => (response.mid, response.succeeded),
            other => panic!("{other:?}"),
        }
    }
}
