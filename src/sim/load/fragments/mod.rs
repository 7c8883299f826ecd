//! The fragment workload: a campaign begun over HTTP, and devices that fetch its package over PCP as fast as the
//! server lets them.
//!
//! ```text
//! PUT /v1/packages -> POST …/batchtasks -> 19, 20 to each device (engine::fetching) -> measured: 21 -> 21
//! ```
//!
//! Each device tells of a cell of its own, so that all download at the same time. At the end each gives its download
//! up, so the campaign ends in failure.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::engine::Image;
use super::report::Report;
use super::{Job, LoadError, Progress, Workload, prepared};
use crate::sim::rest::{Rest, RestError};

#[cfg(test)]
mod tests;

/// Bytes of a fragment, as a package has them when nothing else is said.
const FRAGMENT_LEN: u16 = 500;

/// What the HTTP side needs besides the [`Job`].
#[derive(Debug, Clone)]
pub struct Fragments {
    pub rest: Rest,
    /// Of the product; device ids are this, `_` and the node id.
    pub product_id: String,
    /// Of the package, in bytes.
    pub size: usize,
    /// How long devices are waited for that are offered nothing.
    pub patience: Duration,
}

/// Runs the workload; the job's is [`Workload::Fragments`]. Errors: of HTTP, devices that were not offered the package.
pub fn fragments(
    job: &Job,
    fragments: &Fragments,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LoadError> {
    debug_assert!(matches!(job.workload, Workload::Fragments { .. }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let size = fragments.size;
    let mut rng = fastrand::Rng::with_seed(job.seed.wrapping_add(size as u64));
    // Another package under the same name would be refused.
    let version = format!("load-{:08x}", rng.u32(..));
    let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
    let mut engine = prepared(job, progress)?;
    engine.expect(Image::new(&version, &bytes, FRAGMENT_LEN));
    let task_id = runtime.block_on(begin(job, fragments, &version, bytes))?;
    engine.await_offers(&task_id, fragments.patience, progress)?;
    engine.measure(progress)
}

/// Uploads the package and creates the campaign; the id of its task.
async fn begin(
    job: &Job,
    fragments: &Fragments,
    version: &str,
    bytes: Vec<u8>,
) -> Result<String, RestError> {
    let Fragments {
        rest, product_id, ..
    } = fragments;
    let package_id = rest
        .put_package("softwarePackage", product_id, version, bytes)
        .await?;
    let nodes = (0..job.devices).map(|device| job.node(device));
    let targets: Vec<String> = nodes.map(|node| format!("{product_id}_{node}")).collect();
    let body = json!({
        "task_name": "load", "task_type": "softwareUpgrade", "targets": targets,
        "document": {"package_ids": [package_id]},
    });
    let task = rest
        .send(Method::POST, "/v5/iot/p/batchtasks", &body)
        .await?;
    let task_id = task.get("task_id").and_then(Value::as_str);
    Ok(task_id.unwrap_or_default().to_owned())
}
