//! Where an upgrade stands, in few words for those who watch it.

use super::{Step, Upgrade, fota};
use crate::engine::sota;

/// Steps that are the same to who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Until it is measured: it shows itself, tells its version and its coverage.
    Asked,
    /// It waits for a slot.
    InLine,
    /// It is told of the package, and fetches it.
    Downloads,
    /// It has the package.
    Installs,
    Ended,
}

impl Upgrade {
    pub const fn stage(&self) -> Stage {
        match &self.step {
            Step::Online { .. }
            | Step::Version { .. }
            | Step::Coverage { .. }
            | Step::Cell { .. } => Stage::Asked,
            Step::Line { .. } => Stage::InLine,
            Step::Fota(state) => match state.phase {
                fota::Phase::Execute
                | fota::Phase::Updating
                | fota::Phase::Result
                | fota::Phase::Back
                | fota::Phase::Check => Stage::Installs,
                fota::Phase::ObserveState
                | fota::Phase::ObserveResult
                | fota::Phase::Reset
                | fota::Phase::WriteUri
                | fota::Phase::Delivery
                | fota::Phase::Push
                | fota::Phase::Starting
                | fota::Phase::Downloading
                | fota::Phase::Broken => Stage::Downloads,
            },
            Step::Sota(state) => match state.phase {
                sota::Phase::Execute { .. } | sota::Phase::Updating | sota::Phase::Check { .. } => {
                    Stage::Installs
                }
                sota::Phase::Notified | sota::Phase::Downloading => Stage::Downloads,
            },
            Step::Ended => Stage::Ended,
        }
    }

    /// It fetches the package.
    pub const fn downloads(&self) -> bool {
        matches!(self.stage(), Stage::Downloads)
    }

    /// What it does now.
    pub const fn words(&self) -> &'static str {
        match &self.step {
            Step::Online { .. } => "waits for the device to show itself",
            Step::Version { .. } => "asks for the device's version",
            Step::Coverage { .. } => "asks for the device's coverage",
            Step::Cell { .. } => "asks for the device's cell",
            Step::Line { .. } => "waits for a slot",
            Step::Fota(state) => match state.phase {
                fota::Phase::ObserveState | fota::Phase::ObserveResult => {
                    "has a slot, observes state and result"
                }
                fota::Phase::Reset => "has a slot, drops a package that is not this one",
                fota::Phase::WriteUri => "has a slot, announces the package",
                fota::Phase::Delivery => "has a slot, asks how the device takes packages",
                fota::Phase::Push => "is sent the package",
                fota::Phase::Starting => "waits for the download to begin",
                fota::Phase::Downloading => "downloads",
                fota::Phase::Broken => "asks why the download ended",
                fota::Phase::Execute => "has the package, orders to install it",
                fota::Phase::Updating => "installs",
                fota::Phase::Result => "asks for the result",
                fota::Phase::Back => "asks why it does not install",
                fota::Phase::Check => "asks for the new version",
            },
            Step::Sota(state) => match state.phase {
                sota::Phase::Notified => "has a slot, announces the package",
                sota::Phase::Downloading => "downloads",
                sota::Phase::Execute { .. } => "has the package, orders to install it",
                sota::Phase::Updating => "installs",
                sota::Phase::Check { .. } => "asks for the new version",
            },
            Step::Ended => "ended",
        }
    }
}
