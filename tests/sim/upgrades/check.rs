//! What must hold of upgrades: between commits, and when all has ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use strait::app::batch::TaskDetail;
use strait::base::ids::DeviceId;
use strait::engine::admission::coverage::Place;
use strait::engine::batch::{Counts, Status};
use strait::sim::upgrade::pcp::Stack;
use strait::sim::upgrade::{CellObject, Fault, Record};
use strait::store::Store;
use strait::store::catalog::{SubtaskRecord, SubtaskState};
use strait::store::upgrades::{StepRecord, UpgradeRecord};

use super::fleet::{Member, What};
use super::witness::{End, word_of};
use super::{Campaign, NEW, Play, Storm};

impl Play<'_> {
    /// A device's upgrade as the store has it; `None` also for one that is deleted.
    fn upgrade_of(&self, index: usize) -> Option<(u64, UpgradeRecord)> {
        let server = self.world.server();
        let id = &self.world.nodes[index].device_id;
        let device = server.device(id)?;
        let upgrade = server.state(id).upgrade?;
        Some((device.seq, *upgrade))
    }

    pub(crate) fn rows(&self, campaign: &Campaign) -> Vec<SubtaskRecord> {
        let disk = &self.world.server().disk;
        let rows = disk.subtasks(campaign.seq, 0, usize::MAX).unwrap();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn task(&self, campaign: &Campaign) -> TaskDetail {
        let batches = &self.world.server().platform.app.batches;
        batches.show(&campaign.id, None).unwrap()
    }

    /// Everything that can go on without time has done so.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn is_over(&self) -> bool {
        self.settle().await;
        let over = [
            Status::Success,
            Status::PartialSuccess,
            Status::Fail,
            Status::Stopped,
        ];
        let mut campaigns = self.campaigns.iter();
        !self.world.is_dead() && campaigns.all(|c| over.contains(&self.task(c).status))
    }

    pub(crate) async fn check_now(&self) {
        self.settle().await;
        let mistakes = self.ledger().mistakes.clone();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
        for (index, member) in self.members.iter().enumerate() {
            self.check_device(index, member);
        }
        if self.world.is_dead() {
            return;
        }
        self.check_line();
        for campaign in &self.campaigns {
            self.check_counts(campaign);
        }
    }

    /// What a device went through, in its own words.
    fn check_device(&self, index: usize, member: &Member) {
        let node = &self.world.nodes[index];
        let record = node.device.upgrader().unwrap().record();
        let id = &node.device_id;
        assert_eq!(record.wrong, 0, "{id}: a piece is not the package's");
        for execution in &record.executions {
            assert_eq!(execution.intact, Some(true), "{id}: {execution:?}");
        }
        let again = downloads_again(member, record);
        // A device that loses its power before the first piece begins once more, and loads it once.
        let mut most = member.pieces * (1 + again);
        if member.is_pushed {
            // A first block that came twice has begun twice.
            most += record.begun;
        }
        let got = record.pieces;
        assert!(
            got <= most,
            "{id}: loads again what it had: {got} of {most}: {member:?} {record:?}"
        );
    }

    /// The line's view is what the rows say.
    fn check_line(&self) {
        let line = &self.world.server().platform.line;
        let (mut taken, mut waiting) = (BTreeMap::<Place, u32>::new(), BTreeMap::new());
        let mut measured_anew = 0;
        for index in 0..self.members.len() {
            let Some((seq, row)) = self.upgrade_of(index) else {
                continue;
            };
            let id = &self.world.nodes[index].device_id;
            let view = line.waits_at(seq);
            let place = row.place.map(Place::from);
            match row.step {
                StepRecord::Line { .. } => {
                    assert_eq!(view, place, "{id}: waits: {row:?}");
                    *waiting.entry(place.unwrap()).or_insert(0) += 1;
                }
                // It keeps its rank while it is measured again.
                StepRecord::Coverage { .. } | StepRecord::Cell { .. } => {
                    measured_anew += usize::from(view.is_some());
                }
                _ => assert_eq!(view, None, "{id}: does not wait: {row:?}"),
            }
            if let Some(place) = row.slot() {
                *taken.entry(place.into()).or_default() += 1;
            }
        }
        let pools = line.pools();
        let views = pools.iter().filter(|p| p.taken > 0);
        let views: BTreeMap<Place, u32> = views.map(|p| (p.place, p.taken)).collect();
        assert_eq!(views, taken, "slots in the line's view, and in the rows");
        let seen: usize = pools.iter().map(|p| p.waiting as usize).sum();
        let rows: usize = waiting.values().sum();
        assert_eq!(seen, rows + measured_anew, "{pools:?}");
    }

    /// The counts that operators see are those of the rows.
    fn check_counts(&self, campaign: &Campaign) {
        let counts = self.task(campaign).counts;
        let rows = self.rows(campaign);
        let ended = |word| rows.iter().filter(|r| word_of(r.state) == word).count();
        let want = ["Success", "Fail", "Stopped", "Removed"].map(ended);
        let Counts {
            success,
            fail,
            stopped,
            removed,
            ..
        } = counts;
        let got = [success, fail, stopped, removed].map(|n| n as usize);
        assert_eq!(got, want, "{counts:?} {rows:?}");
        assert_eq!(counts.total() as usize, rows.len(), "{counts:?}");
    }

    /// Where everything stands, for a failure.
    pub(crate) async fn describe(&self) -> String {
        self.settle().await;
        let mut text = String::new();
        for campaign in &self.campaigns {
            let status = self.task(campaign).status;
            writeln!(text, "{status:?} {campaign:?}").unwrap();
            for row in self.rows(campaign) {
                writeln!(text, "  {row:?}").unwrap();
            }
        }
        for (index, member) in self.members.iter().enumerate() {
            let (node, row) = (&self.world.nodes[index], self.upgrade_of(index));
            writeln!(text, "{} {member:?}\n  {row:?}", node.device_id).unwrap();
        }
        text
    }

    /// Everything has ended, as it should.
    pub(crate) async fn check_end(&self) {
        self.check_now().await;
        let mut tally = BTreeMap::new();
        for campaign in &self.campaigns {
            let rows = self.rows(campaign);
            for (index, row) in campaign.targets.iter().zip(&rows) {
                self.check_row(campaign, *index, row);
                let reason = row.error.as_ref().map(|e| e.error_msg.as_str());
                let word = format!("{} {}", word_of(row.state), reason.unwrap_or_default());
                *tally.entry(word).or_insert(0) += 1;
            }
            self.check_counts(campaign);
        }
        for index in 0..self.members.len() {
            let row = self.upgrade_of(index).map(|(_, row)| row);
            let has_ended = row.as_ref().is_none_or(|r| r.step == StepRecord::Ended);
            assert!(has_ended, "{}: {row:?}", self.world.nodes[index].device_id);
        }
        let pools = self.world.server().platform.line.pools();
        assert!(pools.is_empty(), "somebody is left: {pools:?}");
        if std::env::var_os("STRAIT_SEED").is_some() {
            eprintln!("{tally:#?}");
        }
        if std::env::var_os("STRAIT_TALLY").is_some() {
            let hours = (self.world.now() - self.started_at).as_secs() / 3600;
            let events: usize = self.world.nodes.iter().map(|n| n.events.len()).sum();
            eprintln!("HOURS {hours} EVENTS {events}");
            for (word, count) in &tally {
                eprintln!("TALLY {count} {word}");
            }
        }
    }

    /// One target of a campaign: an end, with the events that led to it, and the device says the same.
    fn check_row(&self, campaign: &Campaign, index: usize, row: &SubtaskRecord) {
        let (node, member) = (&self.world.nodes[index], &self.members[index]);
        let id = node.id();
        assert_eq!(row.target, node.device_id);
        let ends = self.ends_of(campaign.seq, &id);
        let numbers: Vec<u64> = ends.iter().map(|end| end.attempts).collect();
        let steps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
        let anew = steps.filter(|pair| pair[1] == 1).count() as u64;
        let jumps = numbers.windows(2).filter(|p| p[1] != p[0] + 1 && p[1] != 1);
        assert_eq!(jumps.count(), 0, "{id}: {ends:#?}");
        assert!(anew <= campaign.retried, "{id}: {ends:#?}");
        assert!(
            numbers.iter().all(|n| *n <= campaign.retry_count + 1),
            "{id}: {ends:#?}"
        );
        let upgrader = node.device.upgrader().unwrap();
        let runs = match campaign.what {
            What::Firmware => upgrader.firmware_version(),
            What::Software => upgrader.software_version(),
        };
        match row.state {
            SubtaskState::Success => {
                assert_eq!(ends.last().unwrap().status, "Success", "{id}: {ends:?}");
                assert_eq!(runs, NEW, "{id}: {row:?}");
                let record = upgrader.record();
                let is_whole = record.executions.iter().any(|e| e.intact == Some(true));
                assert!(is_whole || member.is_new, "{id}: {record:?}");
                if !member.is_deleted {
                    let state = self.world.server().state(&node.device_id);
                    let shown = match campaign.what {
                        What::Firmware => state.fw_version,
                        What::Software => state.sw_version,
                    };
                    assert_eq!(shown.as_deref(), Some(NEW), "{id}: what is shown of it");
                }
            }
            SubtaskState::Fail => assert!(row.error.is_some(), "{id}: {row:?}"),
            SubtaskState::Stopped => assert!(!campaign.is_left_alone || campaign.has_canary),
            SubtaskState::Removed => assert!(member.is_deleted, "{id}: {row:?}"),
            _ => panic!("{id}: has not ended: {row:?}"),
        }
        let is_alone = self
            .campaigns
            .iter()
            .all(|c| c.what != campaign.what || c.seq == campaign.seq);
        let listens = !node.sleeps && campaign.retry_count == 2;
        let is_well = match self.storm {
            Storm::None => true,
            Storm::Crashes => listens,
            Storm::Everything => false,
        };
        if is_alone && is_well {
            let told = || self.story(index);
            check_calm(member, row, runs, told);
        }
    }

    /// What became of a device, for a failure.
    fn story(&self, index: usize) -> String {
        let node = &self.world.nodes[index];
        let (kind, sleeps, secured) = (node.kind, node.sleeps, node.session.is_some());
        let mut text = format!("{kind:?}, sleeps: {sleeps}, secured: {secured}\n");
        for event in &node.events {
            writeln!(text, "  {event:?}").unwrap();
        }
        text
    }

    fn ends_of(&self, task_seq: u64, device: &DeviceId) -> Vec<End> {
        let ledger = self.ledger();
        let its = |end: &&End| end.task_seq == task_seq && end.device == *device;
        ledger.ends.iter().filter(its).cloned().collect()
    }
}

/// Without a storm nobody fails who is well.
fn check_calm(member: &Member, row: &SubtaskRecord, runs: &str, told: impl Fn() -> String) {
    let is_well = member.fault.is_none() && member.object != CellObject::Absent;
    let reason = row.error.as_ref().map(|e| e.error_msg.as_str());
    let is_foreign = reason.is_some_and(|text| text.starts_with("The package does not support"));
    if is_well && !is_foreign && row.state != SubtaskState::Stopped {
        assert_eq!(
            (row.state, runs),
            (SubtaskState::Success, NEW),
            "{member:?} {row:?}\n{}",
            told()
        );
    }
}

/// How often a device may have begun anew what it had begun.
fn downloads_again(member: &Member, record: &Record) -> u64 {
    let lost = match member.stack {
        // It forgets what it has with its power, and what failed.
        Some(Stack::AtModule) => record.power_losses + record.failed,
        Some(Stack::Lwm2m) => record.failed,
        // It keeps nothing of what was written to it.
        None if member.is_pushed => record.power_losses + record.failed,
        None => 0,
    };
    let of_fault = match &member.fault {
        // What it installed was not enough, or it threw away what it had.
        Some(
            Fault::KeepsOldVersion
            | Fault::ClaimsVersion(_)
            | Fault::Refuses(..)
            | Fault::Corrupts(_)
            | Fault::Silent(_),
        ) => record.failed + record.installed + record.executed + record.offers,
        _ => 0,
    };
    lost + of_fault
}
