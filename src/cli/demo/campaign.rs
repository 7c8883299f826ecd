//! A campaign over three simulated cells: nine street lights get software 2.0 over PCP, as fast as the
//! slots of their cells let them. Shown is what the server itself tells, a line for each cell and level:
//!
//! ```text
//! cell 103  level 2  [##########>.........]  1 of 2 done, 1 downloads, 0 in line; slots 1 of 1
//! ```

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::Args;
use crate::cli::progress::print;
use crate::sim::device::{Binding, Kind, Settings, Timing, Version};
use crate::sim::fleet::{Fleet, FleetError, Member, Plan};
use crate::sim::link::Quality;
use crate::sim::payload::{Product, Verdict};
use crate::sim::rest::{Rest, RestError};
use crate::sim::upgrade::pcp::{PcpHabits, Stack};
use crate::sim::upgrade::{CellObject, Expected, Habits, Radio};

/// Of every device: what it does is told by cell, not by device.
pub(super) const NODE: &str = "campaign-";
/// Who is upgraded.
pub(super) const PRODUCT: Product = Product::StreetLight;

const BEFORE: &str = "1.0";
const AFTER: &str = "2.0";
/// Sixteen fragments.
const IMAGE_LEN: usize = 8000;
/// Cell, level and devices.
const CELLS: [(u32, u8, u32); 3] = [(101, 0, 4), (102, 1, 3), (103, 2, 2)];
const BOOT: Duration = Duration::from_secs(1);
const REPORT_INTERVAL: Duration = Duration::from_secs(4);
/// Between two looks at the campaign.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Apart from the seeds of the others.
const SEED: u64 = 2000;
const BAR: u64 = 20;

/// The devices of the campaign, and what becomes of it.
pub(super) struct Campaign {
    rest: Rest,
    product_id: String,
    members: Vec<Member>,
    image: Vec<u8>,
}

impl Campaign {
    pub(super) fn new(args: &Args, rest: Rest, product_id: String) -> Self {
        let image = image();
        Self {
            rest,
            product_id,
            members: members(args, &image),
            image,
        }
    }

    /// Runs it; true when every device has the new version.
    pub(super) async fn play(self, plan: &Plan) -> Result<bool, CampaignError> {
        let plan = Plan {
            interval: REPORT_INTERVAL,
            reports: None,
            quality: Quality {
                loss: 0.01,
                duplicates: 0.02,
                delay_max: Duration::from_millis(40),
            },
            ..plan.clone()
        };
        let mut fleet = Fleet::start(self.members.clone(), &plan).await?;
        let task_id = self.begin().await?;
        let mut shown = Vec::new();
        loop {
            tokio::select! {
                // What single devices do is not told.
                update = fleet.next() => if update.is_none() {
                    return Ok(false);
                },
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let path = format!("/v1/campaigns/{task_id}/cells");
                    let told = self.rest.read(&path).await?;
                    let lines = lines(&told);
                    for line in lines.iter().filter(|line| !shown.contains(*line)) {
                        print(line);
                    }
                    shown = lines;
                    if let Some(well) = ended(&told) {
                        print(&summary(&told));
                        return Ok(well);
                    }
                }
            }
        }
    }

    /// Uploads the package and creates the task; its id.
    async fn begin(&self) -> Result<String, CampaignError> {
        let product_id = &self.product_id;
        let package_id = self
            .rest
            .put_package("softwarePackage", product_id, AFTER, self.image.clone())
            .await?;
        let nodes = self.members.iter().map(|m| m.settings.node_id.as_str());
        let targets: Vec<String> = nodes.map(|node| format!("{product_id}_{node}")).collect();
        let body = json!({
            "task_name": "demo", "task_type": "softwareUpgrade", "targets": targets,
            "document": {"package_ids": [package_id]},
            "task_policy": {"retry_count": 1, "retry_interval": 1},
        });
        let path = "/v5/iot/p/batchtasks";
        let task = self.rest.send(Method::POST, path, &body).await?;
        print(&format!(
            "campaign: {} devices of {product_id} in {} cells, software {BEFORE} to {AFTER}, {} bytes over PCP",
            targets.len(),
            CELLS.len(),
            self.image.len(),
        ));
        text(&task, "task_id").ok_or(CampaignError::Task)
    }
}

/// Why it could not go on.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    #[error(transparent)]
    Rest(#[from] RestError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("the server told no task_id")]
    Task,
}

impl CampaignError {
    /// Stable word; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Rest(e) => e.kind(),
            Self::Fleet(e) => e.kind(),
            Self::Task => "task",
        }
    }
}

/// The devices that the campaign is about: their stack by turns.
pub(super) fn members(args: &Args, image: &[u8]) -> Vec<Member> {
    let expected = Expected::new(image);
    let mut rng = fastrand::Rng::with_seed(args.seed + SEED);
    let mut members = Vec::new();
    for (cell, level, devices) in CELLS {
        for number in 1..=devices {
            let (stack, kind) = match number % 2 {
                0 => (Stack::Lwm2m, Kind::Lwm2m),
                _ => (Stack::AtModule, Kind::Raw),
            };
            let node = format!("{NODE}{cell}-{number}");
            let habits = Habits {
                software: Some(PcpHabits {
                    boots_for: BOOT,
                    ..PcpHabits::new(stack)
                }),
                radio: Radio::drawn(&mut rng, cell, level, CellObject::V1_1),
                expected: Some(expected.clone()),
                ..Habits::new(BEFORE)
            };
            members.push(Member {
                product: PRODUCT,
                secret: None,
                verdict: Verdict::Done,
                settings: Settings {
                    version: Version::V1_1,
                    binding: Binding::Udp,
                    timing: Timing {
                        ack_timeout: Duration::from_secs(1),
                        ..Timing::default()
                    },
                    upgrade: Some(habits),
                    ..Settings::new(node, kind, rng.u64(..))
                },
            });
        }
    }
    members
}

/// An image that says which version it is.
pub(super) fn image() -> Vec<u8> {
    let mut image = format!("version={AFTER}\n").into_bytes();
    let rest = IMAGE_LEN.saturating_sub(image.len());
    image.extend((b'a'..=b'z').cycle().take(rest));
    image
}

/// A line for each cell and level.
fn lines(told: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for cell in list(told, "cells") {
        for level in list(cell, "levels") {
            let devices = level.get("devices").cloned().unwrap_or_default();
            let (total, done) = (number(&devices, "total"), number(&devices, "success"));
            let downloads = number(&devices, "downloading") + number(&devices, "installing");
            let name = match level.get("level").and_then(Value::as_u64) {
                Some(level) => format!("level {level}"),
                None => "unknown".to_owned(),
            };
            lines.push(format!(
                "cell {}  {name}  {}  {done} of {total} done, {downloads} under way, {} in line; slots {} of {}",
                number(cell, "cell"),
                bar(total, done, downloads),
                number(&devices, "in_line"),
                number(level, "slots_taken"),
                number(level, "slots"),
            ));
        }
    }
    lines
}

/// `[#####>>......]`: what is done, and what is under way.
fn bar(total: u64, done: u64, running: u64) -> String {
    let cells = |n: u64| usize::try_from(n * BAR / total.max(1)).unwrap_or(0);
    let (done, all) = (cells(done), cells(total));
    let running = cells(running).min(all.saturating_sub(done));
    let rest = all.saturating_sub(done + running);
    format!(
        "[{}{}{}]",
        "#".repeat(done),
        ">".repeat(running),
        ".".repeat(rest)
    )
}

/// `None`: it goes on. Else whether every device has the new version.
fn ended(told: &Value) -> Option<bool> {
    match told.get("status")?.as_str()? {
        "Success" => Some(true),
        "PartialSuccess" | "Fail" | "Stopped" => Some(false),
        _ => None,
    }
}

fn summary(told: &Value) -> String {
    let devices = told.get("devices").cloned().unwrap_or_default();
    let failures: Vec<String> = list(told, "failures")
        .map(|f| {
            format!(
                "; {} × {}",
                number(f, "count"),
                text(f, "error_msg").unwrap_or_default()
            )
        })
        .collect();
    format!(
        "campaign: {} of {} devices have software {AFTER}{}",
        number(&devices, "success"),
        number(&devices, "total"),
        failures.concat()
    )
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or(0)
}

fn text(value: &Value, field: &str) -> Option<String> {
    Some(value.get(field)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shown_with_what_is_done_and_what_is_under_way() {
        let told = json!({"status": "Processing", "cells": [{"cell": 103, "levels": [{
            "level": 2, "slots": 1, "slots_taken": 1,
            "devices": {"total": 4, "success": 2, "downloading": 1, "in_line": 1}}]}]});
        assert_eq!(
            lines(&told),
            [
                "cell 103  level 2  [##########>>>>>.....]  2 of 4 done, 1 under way, 1 in line; slots 1 of 1"
            ]
        );
        assert_eq!(ended(&told), None);
        assert_eq!(ended(&json!({"status": "Success"})), Some(true));
        assert_eq!(ended(&json!({"status": "PartialSuccess"})), Some(false));
    }

    #[test]
    fn an_empty_bar_is_none() {
        assert_eq!(bar(0, 0, 0), "[]");
        assert_eq!(bar(3, 3, 0), format!("[{}]", "#".repeat(20)));
    }
}
