//! What the application asks of devices, over HTTP, and how each comes to its end:
//!
//! | of | what | then |
//! |---|---|---|
//! | a sleeping street light | a command, `delay` | PENDING until it reports, SENT, DELIVERED, SUCCESSFUL |
//! | a gas meter that listens | a command, `immediately` | SENT, DELIVERED, SUCCESSFUL |
//! | a water meter | another desired property | a set goes down, until the meter reports it so |
//!
//! The states come from the server's event stream, the bytes from the devices. Each is asked when its
//! device has reported; the sleeping one when it has fallen silent.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::cast::{AWAKE, Actors};
use super::narration::{Decoded, line};
use crate::base::time::Clock;
use crate::sim::device::Event;
use crate::sim::fleet::{Member, Update, What};
use crate::sim::payload::Product;
use crate::sim::rest::{Rest, RestError};

/// Silence after which the sleeping device is asleep, in its own eyes and in the server's.
const ASLEEP_AFTER: Duration = AWAKE.saturating_add(Duration::from_millis(500));
/// Property of the water meter that is desired, its service, and minutes that it has not at first.
const SERVICE: &str = "WaterMeterBasic";
const PROPERTY: &str = "report_period_min";
const PERIOD_MIN: u64 = 15;

/// What is asked of one device.
#[derive(Debug, Clone, PartialEq)]
enum Ask {
    Command {
        strategy: &'static str,
        service_id: &'static str,
        name: &'static str,
        paras: Value,
    },
    Shadow,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// Until the device has reported; then since when it is silent.
    Waiting {
        silent_since: Option<Instant>,
    },
    /// With the command's id; a wish has none.
    Asked {
        command_id: Option<String>,
    },
    Ended {
        well: bool,
    },
}

#[derive(Debug)]
struct Act {
    product: Product,
    node_id: String,
    device_id: String,
    ask: Ask,
    progress: Progress,
}

/// All of it. See the module.
#[derive(Debug)]
pub(super) struct Story {
    rest: Rest,
    acts: Vec<Act>,
}

impl Story {
    /// `product_id` gives the id under which the server knows a product.
    pub(super) fn new(rest: Rest, actors: &Actors, product_id: impl Fn(Product) -> String) -> Self {
        let act = |member: &Member, ask| {
            let node_id = member.settings.node_id.clone();
            Act {
                product: member.product,
                device_id: format!("{}_{node_id}", product_id(member.product)),
                node_id,
                ask,
                progress: Progress::Waiting { silent_since: None },
            }
        };
        let asks = [
            (&actors.sleeper, command("delay", actors.sleeper.product)),
            (
                &actors.listener,
                command("immediately", actors.listener.product),
            ),
            (&actors.meter, Some(Ask::Shadow)),
        ];
        let acts = asks.into_iter();
        Self {
            rest,
            acts: acts
                .filter_map(|(member, ask)| Some(act(member, ask?)))
                .collect(),
        }
    }

    /// Something happened to a device: it has reported, or is not silent yet.
    pub(super) fn see(&mut self, update: &Update, now: Instant) {
        let mut acts = self.acts.iter_mut();
        let act = acts.find(|act| act.node_id == *update.node_id);
        let Some(Act {
            progress: Progress::Waiting { silent_since },
            ..
        }) = act
        else {
            return;
        };
        let has_reported = matches!(update.what, What::Device(Event::Acknowledged { .. }));
        if has_reported || silent_since.is_some() {
            *silent_since = Some(now);
        }
    }

    /// When something is to be asked.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.acts.iter().filter_map(Act::due_at).min()
    }

    /// Asks what is due; gives the lines that tell of it.
    pub(super) async fn ask(&mut self, clock: &Clock) -> Vec<String> {
        let now = clock.instant();
        let mut lines = Vec::new();
        for act in &mut self.acts {
            if act.due_at().is_some_and(|at| at <= now) {
                lines.push(act.ask(&self.rest).await);
            }
        }
        lines
    }

    /// The server told something; the line that tells how far an act is by it.
    pub(super) async fn hear(&mut self, envelope: &str) -> Option<String> {
        if let Some(status) = Status::read(envelope) {
            let mut acts = self.acts.iter_mut();
            return acts.find_map(|act| act.take_status(&status));
        }
        let decoded = Decoded::read(envelope)?;
        let mut acts = self.acts.iter_mut();
        let act = acts.find(|act| act.node_id == decoded.node_id && act.ask == Ask::Shadow)?;
        act.take_report(&self.rest, &decoded).await
    }

    pub(super) fn is_over(&self) -> bool {
        let ended = |act: &Act| matches!(act.progress, Progress::Ended { .. });
        self.acts.iter().all(ended)
    }

    pub(super) fn ended_well(&self) -> bool {
        let well = |act: &Act| act.progress == Progress::Ended { well: true };
        self.acts.iter().all(well)
    }

    /// The last line: what came to its end, and what did not.
    pub(super) fn summary(&self) -> String {
        if self.ended_well() {
            return "both commands ended SUCCESSFUL, and the shadow is as desired".to_owned();
        }
        let bad = |act: &&Act| act.progress != Progress::Ended { well: true };
        let open: Vec<String> = self.acts.iter().filter(bad).map(Act::name).collect();
        format!("did not come to a good end: {}", open.join(", "))
    }
}

impl Act {
    fn due_at(&self) -> Option<Instant> {
        let Progress::Waiting { silent_since } = self.progress else {
            return None;
        };
        let wait = match self.ask {
            Ask::Command {
                strategy: "delay", ..
            } => ASLEEP_AFTER,
            Ask::Command { .. } | Ask::Shadow => Duration::ZERO,
        };
        Some(silent_since? + wait)
    }

    fn name(&self) -> String {
        match &self.ask {
            Ask::Command { name, .. } => format!("{name} of {}", self.node_id),
            Ask::Shadow => format!("the shadow of {}", self.node_id),
        }
    }

    fn line(&self, text: &str) -> String {
        line(self.product, &self.node_id, "< ", text)
    }

    async fn ask(&mut self, rest: &Rest) -> String {
        let asked = match &self.ask {
            Ask::Command { .. } => self.submit(rest).await,
            Ask::Shadow => self.desire(rest).await,
        };
        match asked {
            Ok((progress, text)) => {
                self.progress = progress;
                self.line(&text)
            }
            Err(error) => {
                self.progress = Progress::Ended { well: false };
                self.line(&format!("could not be asked: {error}"))
            }
        }
    }

    async fn submit(&self, rest: &Rest) -> Result<(Progress, String), RestError> {
        let Ask::Command {
            strategy,
            service_id,
            name,
            paras,
        } = &self.ask
        else {
            return Ok((Progress::Ended { well: false }, String::new()));
        };
        let path = format!("/v5/iot/p/devices/{}/async-commands", self.device_id);
        let body = json!({
            "service_id": service_id,
            "command_name": name,
            "paras": paras,
            "send_strategy": strategy,
        });
        let created = rest.send(Method::POST, &path, &body).await?;
        let text = |field| created.get(field).and_then(Value::as_str);
        let status = text("status").unwrap_or("?");
        let command_id = text("command_id").map(str::to_owned);
        let progress = match status {
            "PENDING" | "SENT" if command_id.is_some() => Progress::Asked { command_id },
            _ => Progress::Ended { well: false },
        };
        let waits = match status {
            "PENDING" => ", waits until the device reports",
            _ => "",
        };
        let text = format!("command {name} {paras}, {strategy}: {status}{waits}");
        Ok((progress, text))
    }

    async fn desire(&self, rest: &Rest) -> Result<(Progress, String), RestError> {
        let path = self.shadow_path();
        let desired = json!({ PROPERTY: PERIOD_MIN });
        let body = json!({"shadow": [{"service_id": SERVICE, "desired": desired}]});
        rest.send(Method::PUT, &path, &body).await?;
        let text = format!("shadow: {SERVICE} {desired} is desired");
        Ok((Progress::Asked { command_id: None }, text))
    }

    fn shadow_path(&self) -> String {
        format!("/v5/iot/p/devices/{}/shadow", self.device_id)
    }

    /// The line for a status of this act's command.
    fn take_status(&mut self, status: &Status) -> Option<String> {
        let Progress::Asked { command_id } = &self.progress else {
            return None;
        };
        if command_id.as_ref() != Some(&status.command_id) {
            return None;
        }
        let Ask::Command { name, .. } = &self.ask else {
            return None;
        };
        let mut text = format!("command {name}: {}", status.status);
        if let Some(detail) = &status.detail {
            text = format!("{text} {detail}");
        }
        let told = self.line(&text);
        match status.status.as_str() {
            "PENDING" | "SENT" | "DELIVERED" => {}
            ended => {
                let well = ended == "SUCCESSFUL";
                self.progress = Progress::Ended { well };
            }
        }
        Some(told)
    }

    /// The line for a report that makes the wish come true.
    async fn take_report(&mut self, rest: &Rest, report: &Decoded) -> Option<String> {
        let is_asked = matches!(self.progress, Progress::Asked { .. });
        let mut services = report.services.as_array()?.iter();
        let reported = services.find_map(|s| s.get("properties")?.get(PROPERTY));
        if !is_asked || reported != Some(&json!(PERIOD_MIN)) {
            return None;
        }
        let well = match rest.read(&self.shadow_path()).await {
            Ok(shadow) => has_converged(&shadow),
            Err(error) => {
                self.progress = Progress::Ended { well: false };
                return Some(self.line(&format!("its shadow can't be read: {error}")));
            }
        };
        self.progress = Progress::Ended { well };
        let text = match well {
            true => format!("shadow: {PROPERTY} is reported as desired, {PERIOD_MIN}"),
            false => format!("shadow: {PROPERTY} is reported, but the shadow does not show it"),
        };
        Some(self.line(&text))
    }
}

/// Whether a shadow has the value on both of its sides.
fn has_converged(shadow: &Value) -> bool {
    let services = shadow.get("shadow").and_then(Value::as_array);
    let mut services = services.into_iter().flatten();
    let service = services.find(|s| s.get("service_id") == Some(&json!(SERVICE)));
    let value = |side: &str| service?.get(side)?.get("properties")?.get(PROPERTY);
    let wanted = json!(PERIOD_MIN);
    value("desired") == Some(&wanted) && value("reported") == Some(&wanted)
}

fn command(strategy: &'static str, product: Product) -> Option<Ask> {
    let (service_id, name, paras) = product.sample_command()?;
    Some(Ask::Command {
        strategy,
        service_id,
        name,
        paras,
    })
}

/// A `device.command.status` event.
#[derive(Debug, PartialEq)]
struct Status {
    command_id: String,
    status: String,
    /// What the device answered, or why there is no answer.
    detail: Option<Value>,
}

impl Status {
    /// `None` for any other event.
    fn read(envelope: &str) -> Option<Self> {
        let envelope: Value = serde_json::from_str(envelope).ok()?;
        let body = envelope.get("notify_data")?.get("body")?;
        let text = |field: &str| body.get(field)?.as_str().map(str::to_owned);
        let detail = body.get("result").and_then(|r| r.get("resultDetail"));
        Some(Self {
            command_id: text("command_id")?,
            status: text("status")?,
            detail: detail.cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(ask: Ask, command_id: Option<&str>) -> Act {
        Act {
            product: Product::GasMeter,
            node_id: "n".to_owned(),
            device_id: "gas-meter_n".to_owned(),
            ask,
            progress: Progress::Asked {
                command_id: command_id.map(str::to_owned),
            },
        }
    }

    fn status(id: &str, status: &str, result: &Value) -> Option<Status> {
        let body = json!({"command_id": id, "status": status, "result": result});
        let envelope = json!({"resource": "device.command.status", "notify_data": {"body": body}});
        Status::read(&envelope.to_string())
    }

    #[test]
    fn a_command_is_followed_to_its_end() {
        let valve = || command("immediately", Product::GasMeter).unwrap();
        let none = Value::Null;
        let answer = json!({"resultCode": "SUCCESSFUL", "resultDetail": {"code": "ok"}});
        for (id, word, result, want, after) in [
            ("c", "SENT", &none, Some("command VALVE: SENT"), None),
            ("c", "DELIVERED", &none, Some("VALVE: DELIVERED"), None),
            (
                "c",
                "SUCCESSFUL",
                &answer,
                Some(r#"VALVE: SUCCESSFUL {"code":"ok"}"#),
                Some(true),
            ),
            ("c", "FAILED", &none, Some("VALVE: FAILED"), Some(false)),
            ("c", "TIMEOUT", &none, Some("VALVE: TIMEOUT"), Some(false)),
            ("other", "FAILED", &none, None, None),
        ] {
            let mut act = act(valve(), Some("c"));
            let told = act.take_status(&status(id, word, result).unwrap());
            match (&told, want) {
                (Some(told), Some(want)) => assert!(told.ends_with(want), "{told}"),
                (told, want) => assert_eq!(told.is_some(), want.is_some(), "{word}"),
            }
            let ended = match act.progress {
                Progress::Ended { well } => Some(well),
                Progress::Waiting { .. } | Progress::Asked { .. } => None,
            };
            assert_eq!(ended, after, "{word}");
        }
    }

    #[test]
    fn a_sleeping_device_is_asked_when_it_is_silent_and_others_at_once() {
        let now = Clock::System.instant();
        let mut waiting = act(command("delay", Product::StreetLight).unwrap(), None);
        waiting.progress = Progress::Waiting { silent_since: None };
        assert_eq!(waiting.due_at(), None);
        let mut story = Story {
            rest: Rest::new("http://127.0.0.1:1", None).unwrap(),
            acts: vec![waiting],
        };
        let update = |event| Update {
            node_id: "n".into(),
            product: Product::StreetLight,
            what: What::Device(event),
        };
        story.see(&update(Event::Updated), now);
        assert_eq!(story.due_at(), None);
        story.see(&update(Event::Acknowledged { report: 1 }), now);
        assert_eq!(story.due_at(), Some(now + ASLEEP_AFTER));
        let later = now + Duration::from_secs(1);
        story.see(&update(Event::Updated), later);
        assert_eq!(story.due_at(), Some(later + ASLEEP_AFTER));
        story.acts[0].ask = Ask::Shadow;
        assert_eq!(story.due_at(), Some(later));
        assert!(!story.is_over() && story.summary().contains("the shadow of n"));
    }

    #[test]
    fn a_shadow_has_converged_when_both_sides_have_the_value() {
        let side = |minutes: u64| json!({"properties": {PROPERTY: minutes}});
        for (desired, reported, want) in [
            (side(PERIOD_MIN), side(PERIOD_MIN), true),
            (side(PERIOD_MIN), side(60), false),
            (side(60), side(PERIOD_MIN), false),
            (side(PERIOD_MIN), Value::Null, false),
        ] {
            let shadow = json!({"shadow": [
                {"service_id": "Battery", "desired": null, "reported": null},
                {"service_id": SERVICE, "desired": desired, "reported": reported}]});
            assert_eq!(has_converged(&shadow), want, "{shadow}");
        }
        assert!(!has_converged(&json!({})));
    }
}
