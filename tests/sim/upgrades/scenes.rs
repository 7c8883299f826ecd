//! Campaigns over simulated devices: whole, over bad radio, and with a server that dies in between.

use std::time::Duration;

use serde_json::{Value, json};
use strait::sim::device::{Kind, Settings};
use strait::sim::upgrade::pcp::Stack;
use strait::sim::upgrade::{Expected, Habits};

use super::{image, minutes};
use crate::each_seed;
use crate::world::{BAD, GOOD, World};

/// A device that upgrades its software, or its firmware.
fn upgrades(settings: &mut Settings, stack: Option<Stack>, image: &[u8]) {
    let mut habits = match stack {
        Some(stack) => Habits::software(stack, "1.0"),
        None => Habits::firmware("1.0"),
    };
    habits.expected = Some(Expected::new(image));
    settings.upgrade = Some(habits);
}

/// Uploads a package; its id.
async fn upload(world: &World, kind: &str, version: &str, image: &[u8]) -> String {
    let path = format!("/v1/packages?package_type={kind}&product_id=p&version={version}");
    let body = String::from_utf8(image.to_vec()).unwrap();
    let server = world.server();
    let made = server
        .request("PUT", &path, "application/octet-stream", body)
        .await;
    made["package_id"].as_str().unwrap().to_owned()
}

/// Creates a campaign over every device; its id.
async fn campaign(world: &World, kind: &str, package_id: &str, retry: Value) -> String {
    let targets: Vec<&str> = world.nodes.iter().map(|n| n.device_id.as_str()).collect();
    let body = json!({"task_name": "c", "task_type": kind, "targets": targets,
        "document": {"package_ids": [package_id]}, "task_policy": retry});
    let made = world
        .server()
        .call("POST", "/v5/iot/x/batchtasks", &body)
        .await;
    made["task_id"].as_str().unwrap().to_owned()
}

async fn task(world: &World, id: &str) -> Value {
    let path = format!("/v5/iot/x/batchtasks/{id}?limit=50");
    world.server().call("GET", &path, &Value::Null).await
}

/// Lets time pass until a campaign has ended; every device speaks now and then.
async fn finish(world: &mut World, id: &str, most: Duration) -> Value {
    let end = world.now() + most;
    loop {
        for index in 0..world.nodes.len() {
            world.report(index, true);
        }
        world.run(minutes(5)).await;
        if world.is_dead() || world.now() >= end {
            panic!("not ended: {:#}", task(world, id).await);
        }
        let told = task(world, id).await;
        let status = told["batchtask"]["status"].as_str().unwrap().to_owned();
        if ["Success", "PartialSuccess", "Fail", "Stopped"].contains(&status.as_str()) {
            return told;
        }
    }
}

/// Every device runs the new version, has executed once, and only what was wholly right.
fn assert_upgraded(world: &World, told: &Value) {
    assert_eq!(told["batchtask"]["status"], "Success", "{told:#}");
    for node in &world.nodes {
        let upgrader = node.device.upgrader().unwrap();
        let record = upgrader.record();
        assert!(!record.executions.is_empty(), "{}", node.device_id);
        for execution in &record.executions {
            assert_eq!(
                execution.intact,
                Some(true),
                "{}: {execution:?}",
                node.device_id
            );
        }
    }
}

#[test]
fn firmware_reaches_every_device() {
    each_seed(async |world| {
        let image = image("2.0", 20_000);
        for _ in 0..3 {
            world.add(Kind::Lwm2m, |s| upgrades(s, None, &image)).await;
        }
        let package = upload(world, "firmwarePackage", "2.0", &image).await;
        let id = campaign(world, "firmwareUpgrade", &package, Value::Null).await;
        let told = finish(world, &id, minutes(180)).await;
        assert_upgraded(world, &told);
        for node in &world.nodes {
            assert_eq!(node.device.upgrader().unwrap().firmware_version(), "2.0");
        }
    });
}

#[test]
fn software_reaches_every_device() {
    each_seed(async |world| {
        let image = image("2.0", 20_000);
        for stack in [Stack::AtModule, Stack::Lwm2m] {
            world
                .add(Kind::Lwm2m, |s| upgrades(s, Some(stack), &image))
                .await;
            world
                .add(Kind::Raw, |s| upgrades(s, Some(stack), &image))
                .await;
        }
        let package = upload(world, "softwarePackage", "2.0", &image).await;
        let id = campaign(world, "softwareUpgrade", &package, Value::Null).await;
        let told = finish(world, &id, minutes(180)).await;
        assert_upgraded(world, &told);
        for node in &world.nodes {
            assert_eq!(node.device.upgrader().unwrap().software_version(), "2.0");
        }
    });
}

#[test]
fn campaigns_outlive_bad_radio_and_crashes() {
    each_seed(async |world| {
        let image = image("2.0", 8_000);
        let stacks = [None, None];
        for stack in stacks {
            let index = world.add(Kind::Lwm2m, |s| upgrades(s, stack, &image)).await;
            world.weather(index, BAD);
        }
        let package = upload(world, "firmwarePackage", "2.0", &image).await;
        let retry = json!({"retry_count": 5, "retry_interval": 5});
        let id = campaign(world, "firmwareUpgrade", &package, retry).await;
        for _ in 0..6 {
            for index in 0..world.nodes.len() {
                world.report(index, true);
            }
            let (before, down) = (world.span(minutes(4)), world.span(minutes(1)));
            world.run(before).await;
            world.crash(down).await;
        }
        for index in 0..world.nodes.len() {
            world.weather(index, GOOD);
        }
        let told = finish(world, &id, minutes(1000)).await;
        assert_upgraded(world, &told);
    });
}
