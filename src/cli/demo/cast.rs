//! Who plays: devices of each sample product, half of them secured when the server serves such, and
//! three more of which the application asks something.

use std::time::Duration;

use super::Args;
use super::server::Running;
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::cli::sim::random_secret;
use crate::sim::device::{Binding, Conduct, Kind, Settings, Timing, Version};
use crate::sim::fleet::{Member, Plan};
use crate::sim::link::Quality;
use crate::sim::payload::{Product, Verdict};
use crate::sim::session::SessionPlan;

/// Devices of each product: one LwM2M, one raw, one raw and observed.
const KINDS: [(Kind, &str); 3] = [
    (Kind::Lwm2m, "lwm2m"),
    (Kind::Raw, "raw"),
    (Kind::RawObserved, "observed"),
];
/// Reports of each device with `--once`.
const REPORTS: u64 = 3;
/// How long a sleeping device listens after a message. The server's `command.awake_s` is less.
pub(super) const AWAKE: Duration = Duration::from_secs(2);
/// Between two reports of those that are asked something: long enough for one of them to fall asleep.
const ACTOR_INTERVAL: Duration = Duration::from_secs(4);
/// Apart from the seeds of the others.
const ACTOR_SEED: u64 = 1000;

/// The street light that sleeps, the gas meter that listens always, and the water meter whose settings
/// are changed.
pub(super) struct Actors {
    pub sleeper: Member,
    pub listener: Member,
    pub meter: Member,
}

impl Actors {
    /// The first is secured when the server serves such.
    pub(super) fn new(args: &Args, secured: bool) -> std::io::Result<Self> {
        let seed = args.seed + ACTOR_SEED;
        let secret = secured.then(random_secret).transpose()?;
        let light = Product::StreetLight;
        Ok(Self {
            sleeper: member(seed, light, Kind::Lwm2m, "asleep", secret),
            listener: listening(seed + 1, Product::GasMeter, Kind::Raw, "awake"),
            meter: listening(seed + 2, Product::WaterMeter, Kind::Lwm2m, "set"),
        })
    }

    pub(super) fn all(&self) -> Vec<Member> {
        let all = [&self.sleeper, &self.listener, &self.meter];
        all.into_iter().cloned().collect()
    }
}

/// Every second device is secured when the server serves such.
pub(super) fn members(args: &Args, secured: bool) -> std::io::Result<Vec<Member>> {
    let kinds = || KINDS.into_iter().take(usize::from(args.devices));
    let pairs = Product::ALL
        .into_iter()
        .flat_map(|p| kinds().map(move |k| (p, k)));
    (0..)
        .zip(pairs)
        .map(|(number, (product, (kind, name)))| {
            let is_secured = secured && number % 2 == 1;
            let secret = is_secured.then(random_secret).transpose()?;
            Ok(member(args.seed + number, product, kind, name, secret))
        })
        .collect()
}

fn member(
    seed: u64,
    product: Product,
    kind: Kind,
    name: &str,
    secret: Option<Secret<Vec<u8>>>,
) -> Member {
    Member {
        product,
        secret,
        verdict: Verdict::Done,
        settings: Settings {
            version: Version::V1_1,
            binding: Binding::Queue,
            tlv: product == Product::GasMeter,
            first_answer_zero: product == Product::StreetLight,
            timing: Timing {
                ack_timeout: Duration::from_secs(1),
                ..Timing::default()
            },
            conduct: Conduct {
                awake: Some(AWAKE),
                ..Conduct::default()
            },
            ..Settings::new(format!("{}-{name}", product.name()), kind, seed)
        },
    }
}

/// One whose radio is always on.
fn listening(seed: u64, product: Product, kind: Kind, name: &str) -> Member {
    let mut member = member(seed, product, kind, name, None);
    member.settings.binding = Binding::Udp;
    member.settings.conduct.awake = None;
    member
}

/// What those do that nobody asks anything.
pub(super) fn plan(args: &Args, server: &Running, clock: Clock) -> Plan {
    Plan {
        server: server.coap,
        secure: server.coaps.map(|server| SessionPlan {
            server,
            flight_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
        }),
        clock,
        quality: Quality {
            loss: 0.05,
            duplicates: 0.1,
            delay_max: Duration::from_millis(100),
        },
        interval: if args.once {
            Duration::from_millis(1500)
        } else {
            Duration::from_secs(10)
        },
        reports: args.once.then_some(REPORTS),
        unconfirmed_every: 0,
        rebind_every: 0,
        update_every: 0,
        reboot_every: 0,
        deregister: false,
    }
}

/// What the actors do: they report until they are stopped.
pub(super) fn actors_plan(plan: &Plan) -> Plan {
    Plan {
        interval: ACTOR_INTERVAL,
        reports: None,
        ..plan.clone()
    }
}
