//! Flags of `strait load` that contradict each other in ways that clap does not see.

use super::{Args, Psk, WorkloadArg};

impl Args {
    /// Whether the workload needs the server's HTTP side.
    const fn is_over_http(&self) -> bool {
        matches!(self.workload, WorkloadArg::Command | WorkloadArg::Fragments)
    }

    /// Where commands or campaigns are posted, when that is the workload.
    pub(super) fn http(&self) -> Option<&str> {
        let base = self.api.as_deref().or(self.provision.as_deref());
        base.filter(|_| self.is_over_http())
    }

    /// What clap does not see.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let over_http = self.is_over_http();
        if over_http && self.http().is_none() {
            return Some(
                "--workload command and fragments go over HTTP; add --provision http://HOST:PORT, or \
                 --api when product and devices are there already",
            );
        }
        if over_http && self.baseline {
            return Some(
                "--baseline echoes datagrams and says nothing about commands or fragments; leave it",
            );
        }
        if over_http && self.payload.is_some() {
            return Some(
                "--workload command and fragments answer as a device does and take no --payload",
            );
        }
        if self.api.is_some() && !over_http {
            return Some("--api is for --workload command and fragments");
        }
        if !self.rates.is_empty() && (over_http || self.workload == WorkloadArg::Hostile) {
            return Some("--rates is for workloads whose requests are datagrams; leave it");
        }
        if self.token.is_some() && self.provision.is_none() && self.api.is_none() {
            return Some("--token goes with --provision or --api");
        }
        let handshakes = self.workload == WorkloadArg::Handshake;
        if handshakes && self.psk.is_none() {
            return Some("--workload handshake needs --psk, with the key that the server has");
        }
        if handshakes && self.baseline {
            return Some("--baseline echoes datagrams and says nothing about handshakes; leave it");
        }
        if self.psk == Some(Psk::Each) && self.provision.is_none() {
            return Some(
                "--psk without a key makes one, which the server learns through --provision; \
                 add that, or give the key that the server has: --psk HEX",
            );
        }
        if self.psk.is_some() && self.workload == WorkloadArg::Hostile {
            return Some("--workload hostile sends plain datagrams and takes no --psk");
        }
        None
    }
}
