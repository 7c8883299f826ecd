//! What the demo shows: one line for each thing that happens, device by device, bytes first and
//! JSON below, so that a reader sees the one become the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::cli::values::to_hex;
use crate::sim::device::Event;
use crate::sim::fleet::{Update, What};
use crate::sim::payload::Product;
use crate::sim::upgrade::Event as Upgrade;

/// Reports of a device whose JSON has not been seen yet, at most.
const WAITING_MAX: usize = 64;

/// A decoded report as the server told it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoded {
    pub node_id: String,
    pub product_id: String,
    pub services: Value,
}

impl Decoded {
    /// Reads the envelope of a `device.property:report` event; `None` for any other.
    pub(super) fn read(envelope: &str) -> Option<Self> {
        let envelope: Value = serde_json::from_str(envelope).ok()?;
        let data = envelope.get("notify_data")?;
        let header = data.get("header")?;
        let text = |field: &str| header.get(field)?.as_str().map(str::to_owned);
        let services = data.get("body")?.get("services")?.clone();
        services.as_array().filter(|s| !s.is_empty())?;
        Some(Self {
            node_id: text("node_id")?,
            product_id: text("product_id")?,
            services,
        })
    }
}

/// Follows devices and server, and makes lines of it.
#[derive(Debug, Default)]
pub(super) struct Narration {
    /// Bytes sent by each device whose JSON is still to come.
    waiting: BTreeMap<String, VecDeque<Vec<u8>>>,
    products: BTreeMap<String, Product>,
    seen: BTreeSet<Product>,
}

impl Narration {
    /// Something happened to a device.
    pub(super) fn device(&mut self, update: &Update) -> Option<String> {
        let node = update.node_id.as_ref();
        self.products.insert(node.to_owned(), update.product);
        let text = match &update.what {
            What::Device(event) => self.event(update.product, node, event)?,
            What::Moved(address) => format!("has a new address, {address}"),
            What::Connected(took) => format!("has a secured session after {} ms", took.as_millis()),
            What::HandshakeFailed(failure) => format!("has no secured session: {failure}"),
            What::SessionEnded => "lost its secured session".to_owned(),
            What::Finished { lost, repeated } => {
                format!("is done; its radio lost {lost} datagrams and repeated {repeated}")
            }
            What::Broken { reason } => format!("gives up: {reason}"),
        };
        Some(line(update.product, node, "", &text))
    }

    fn wait_for_json(&mut self, node: &str, payload: &[u8]) {
        let waiting = self.waiting.entry(node.to_owned()).or_default();
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(payload.to_vec());
    }

    fn event(&mut self, product: Product, node: &str, event: &Event) -> Option<String> {
        Some(match event {
            Event::Registered { location } if location.is_empty() => "registered".to_owned(),
            Event::Registered { location } => format!("registered as /{location}"),
            Event::RegisterFailed { failure } => format!("could not register: {failure}"),
            Event::Observed { .. } => "is observed".to_owned(),
            Event::Sent { payload, .. } => {
                self.wait_for_json(node, payload);
                return None;
            }
            Event::Retransmitted => "heard nothing and sends again".to_owned(),
            Event::Reset { .. } => "was answered with a reset".to_owned(),
            Event::Failed { failure, .. } => format!("gives a report up: {failure}"),
            Event::Gone => "is unknown to the server and registers anew".to_owned(),
            Event::Deregistered { .. } => "deregistered".to_owned(),
            Event::Downlink { payload } => format!("was sent {}", to_hex(payload)),
            // What was set is reported, and its JSON comes.
            Event::AnswerSent { payload } if !product.is_response(payload) => {
                self.wait_for_json(node, payload);
                return None;
            }
            Event::AnswerSent { payload } => format!("answers {}", to_hex(payload)),
            Event::AnswerFailed { failure } => format!("gives its answer up: {failure}"),
            Event::Repeated { .. } => "was sent the same again".to_owned(),
            Event::Rebooted => "was rebooted".to_owned(),
            Event::Updated => "renewed its registration".to_owned(),
            Event::Malformed => "got bytes that are no CoAP".to_owned(),
            // Its JSON is the better proof.
            Event::Acknowledged { .. } => return None,
            // What failed for it is told.
            Event::Unanswered => return None,
            // A campaign tells of its progress.
            Event::Upgrade(Upgrade::Progress { .. }) => return None,
            Event::Upgrade(event) => event.to_string(),
            // Its bytes were told when they came.
            Event::Executed { .. } | Event::AnswerAcknowledged => return None,
        })
    }

    /// The server told a decoded report: two lines, bytes and JSON.
    pub(super) fn decoded(&mut self, decoded: &Decoded) -> String {
        let node = decoded.node_id.as_str();
        let bytes = self.waiting.get_mut(node).and_then(VecDeque::pop_front);
        let hex = bytes.map_or_else(|| "?".to_owned(), |b| to_hex(&b));
        let json = services_text(&decoded.services);
        let Some(product) = self.products.get(node).copied() else {
            return format!("{node} {hex}\n  {json}");
        };
        self.seen.insert(product);
        format!("{}\n{:18}{json}", line(product, node, "> ", &hex), "")
    }

    /// Sample products whose JSON has been shown.
    pub(super) fn products_seen(&self) -> usize {
        self.seen.len()
    }

    /// Sample products that never came through.
    pub(super) fn products_missing(&self) -> Vec<&'static str> {
        let missing = Product::ALL.into_iter().filter(|p| !self.seen.contains(p));
        missing.map(Product::name).collect()
    }
}

/// What happened to one device.
pub(super) fn line(product: Product, node: &str, mark: &str, text: &str) -> String {
    format!("{:15}  {node}  {mark}{text}", product.name())
}

/// `Battery {"level":93}  Parking {"occupied":true}`.
fn services_text(services: &Value) -> String {
    let services = services.as_array().into_iter().flatten();
    let parts = services.map(|service| {
        let name = service.get("service_id").and_then(Value::as_str);
        let properties = service.get("properties").map(Value::to_string);
        format!("{} {}", name.unwrap_or("?"), properties.unwrap_or_default())
    });
    parts.collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(what: What) -> Update {
        Update {
            node_id: "demo-smoke".into(),
            product: Product::SmokeDetector,
            what,
        }
    }

    const ENVELOPE: &str = r#"{"resource":"device.property","event":"report","notify_data":{
        "header":{"node_id":"demo-smoke","product_id":"smoke-detector"},
        "body":{"services":[{"service_id":"smokerdector",
            "properties":{"level":80,"temperature":90},"event_time":"20200811T080745Z"}]}}}"#;

    #[test]
    fn bytes_and_their_json_come_together() {
        let mut narration = Narration::default();
        let registered = What::Device(Event::Registered {
            location: "rd/1".to_owned(),
        });
        let text = narration.device(&update(registered)).unwrap();
        assert_eq!(text, "smoke-detector   demo-smoke  registered as /rd/1");
        let sent = What::Device(Event::Sent {
            report: 1,
            payload: vec![0, 0x50, 0, 0x5a],
            confirmable: true,
        });
        assert_eq!(narration.device(&update(sent)), None);
        assert_eq!(narration.products_seen(), 0);
        let text = narration.decoded(&Decoded::read(ENVELOPE).unwrap());
        assert!(text.contains("0050005a"), "{text}");
        assert!(
            text.contains(r#"smokerdector {"level":80,"temperature":90}"#),
            "{text}"
        );
        assert_eq!(narration.products_seen(), 1);
        assert!(!narration.products_missing().contains(&"smoke-detector"));
        assert_eq!(narration.products_missing().len(), 4);
    }

    #[test]
    fn other_envelopes_are_no_reports() {
        let status = r#"{"resource":"device","event":"update","notify_data":{"body":{}}}"#;
        let empty = ENVELOPE
            .replace("smokerdector", "")
            .replace("\"services\":[{", "\"x\":[{");
        for text in ["", "{}", status, &empty] {
            assert_eq!(Decoded::read(text), None, "{text}");
        }
    }
}
