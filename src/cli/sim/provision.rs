//! What the server must know of simulated devices: products, codecs, devices and their keys.

use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::cli::progress::Progress;
use crate::cli::samples::Sample;
use crate::cli::values;
use crate::sim::fleet::Member;
use crate::sim::payload::Product;
use crate::sim::rest::{NewDevice, Rest, RestError};

/// Bytes of a random key.
pub(super) const SECRET_LEN: usize = 16;

/// Creates what the members need.
pub(super) async fn provision(
    rest: &Rest,
    members: &[Member],
    quiet: bool,
    clock: &Clock,
) -> Result<(), RestError> {
    for product in Product::ALL {
        let of_product = members.iter().filter(|m| m.product == product);
        let devices: Vec<_> = of_product.map(new_device).collect();
        if devices.is_empty() {
            continue;
        }
        provision_devices(rest, product, &devices, 32, quiet, clock).await?;
    }
    Ok(())
}

/// What the server must know of a member.
pub(in crate::cli) fn new_device(member: &Member) -> NewDevice {
    let hex = |secret: &Secret<Vec<u8>>| Secret::new(values::to_hex(secret.expose()));
    NewDevice {
        node_id: member.settings.node_id.clone(),
        secret: member.secret.as_ref().map(hex),
    }
}

/// A key of its own for a device.
pub(in crate::cli) fn random_secret() -> std::io::Result<Secret<Vec<u8>>> {
    let mut key = vec![0; SECRET_LEN];
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    Ok(Secret::new(key))
}

/// Creates a sample product with its codec and devices; gives the product's id.
pub(in crate::cli) async fn provision_devices(
    rest: &Rest,
    product: Product,
    devices: &[NewDevice],
    concurrency: usize,
    quiet: bool,
    clock: &Clock,
) -> Result<String, RestError> {
    let product_id = Sample::of(product).provision(rest).await?;
    let mut progress = Progress::new(Some(devices.len() as u64), quiet, clock);
    let created = |count: usize| {
        progress.show(count as u64, || format!("{count} devices created"));
    };
    let outcome = rest
        .create_devices(devices, &product_id, concurrency, created)
        .await;
    progress.finish();
    outcome.map(|_| product_id)
}
