//! One thing at a time, with one device in good weather.

use std::time::Duration;

use strait::base::ids::CommandId;
use strait::sim::device::{Conduct, Event, Kind, Receipt};
use strait::store::commands::{CommandStatus, DownlinkKind, Strategy};
use strait::store::{Change, Commit, Store};

use super::product::{WITH_MID, WITHOUT_MID, number_of};
use super::{Play, minutes};
use crate::each_seed_on_two_threads as each_seed;

use CommandStatus::{Delivered, Failed, Pending, Sent, Successful, Timeout};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Play<'_> {
    /// How each command stands, in the order of submission.
    fn standing(&self) -> Vec<CommandStatus> {
        let mut rows = self.rows(0, false);
        rows.extend(self.rows(0, true));
        rows.sort_by_key(|row| row.id);
        rows.iter().map(|row| row.status).collect()
    }

    /// Whether the device ever saw a command, by its number.
    fn saw(&self, number: u32) -> bool {
        let node = &self.world.nodes[0];
        node.events.iter().any(|event| match event {
            Event::Downlink { payload } => number_of(self.ports[0], payload) == Some(number),
            _ => false,
        })
    }

    fn conduct_with(&mut self, receipt: Receipt, answer_after: Duration) {
        let conduct = Conduct {
            receipt,
            answer_after,
            // What it has ignored it shall take later; but without a mid, an answer to each repetition
            // could not be told from the next command's.
            recognises_duplicates: self.ports[0] == WITHOUT_MID,
            ..Conduct::default()
        };
        self.world.set_conduct(0, conduct);
    }
}

/// After a restart nothing goes to a device that sleeps: what is in doubt goes when it speaks.
#[test]
fn a_restart_lets_sleepers_sleep() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITH_MID, Kind::Lwm2m, true).await;
        play.conduct_with(Receipt::Ignored, seconds(0));
        play.report_all();
        play.order("FIRE", Strategy::Delay).await;
        play.run(seconds(2)).await;
        assert_eq!(play.standing(), [Sent]);
        play.crash(seconds(50)).await;
        play.conduct_with(Receipt::Piggybacked, seconds(0));
        play.run(seconds(20)).await;
        assert_eq!(play.standing(), [Sent]);
        // Sooner than any repetition of the former process would have ended.
        play.report_all();
        play.run(seconds(5)).await;
        assert_eq!(play.standing(), [Successful]);
        play.check_end();
        play.check_now();
    });
}

/// What was queued for a device that listens goes, also when the server died before it could.
#[test]
fn a_restart_sends_what_was_about_to_go() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITH_MID, Kind::RawObserved, false).await;
        play.world.server().disk.die_at(0, true);
        play.order("FIRE", Strategy::Delay).await;
        play.run(minutes(2)).await;
        assert_eq!(play.standing(), [Successful]);
    });
}

/// A commit that is said to have failed and has not: its command goes while the device listens.
#[test]
fn a_commit_in_doubt_is_looked_at_while_the_device_listens() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITH_MID, Kind::Lwm2m, true).await;
        play.order("FIRE", Strategy::Delay).await;
        play.run(minutes(2)).await;
        play.order("FIRE", Strategy::Delay).await;
        // The report's commit sends the command.
        play.world.server().disk.lie_next(1);
        play.report_all();
        play.run(seconds(10)).await;
        assert_eq!(play.standing(), [Successful, Successful]);
        play.check_now();
    });
}

/// Damage: a row that the state names and that is not there holds nobody up.
#[test]
fn a_missing_row_holds_nobody_up() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITH_MID, Kind::Lwm2m, true).await;
        play.run(minutes(1)).await;
        for _ in 0..3 {
            play.order("FIRE", Strategy::Delay).await;
        }
        let mut row = play.rows(0, false).pop().unwrap();
        row.kind = DownlinkKind::Answer;
        let server = play.world.server();
        let device_seq = server.seq(&play.world.nodes[0].device_id).0;
        let record = Box::new(row);
        let commit = Commit {
            guards: Vec::new(),
            changes: vec![Change::EndCommand { device_seq, record }],
        };
        server.disk.commit(commit).await.unwrap();
        play.report_all();
        play.run(seconds(10)).await;
        assert_eq!(play.standing(), [Successful, Successful]);
        play.check_now();
    });
}

/// An answer without a mid that comes when its command has timed out is not the next one's.
#[test]
fn a_late_answer_to_what_timed_out_ends_nothing() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITHOUT_MID, Kind::RawObserved, false).await;
        play.conduct_with(Receipt::Never, seconds(190));
        play.order("SET", Strategy::Delay).await;
        play.order("SET", Strategy::Delay).await;
        play.run(seconds(175)).await;
        assert_eq!(play.standing(), [Sent, Pending]);
        play.conduct_with(Receipt::Piggybacked, minutes(9));
        play.run(minutes(15)).await;
        // Both answers have come, and the second could have been the first's.
        assert_eq!(play.standing(), [Timeout, Delivered]);
        // Long after, nobody expects that any more.
        play.conduct_with(Receipt::Piggybacked, seconds(1));
        play.run(minutes(61)).await;
        play.order("SET", Strategy::Delay).await;
        play.run(minutes(1)).await;
        assert!(matches!(play.standing()[2], Successful | Failed));
        play.check_end();
    });
}

/// A register soon after an unanswered command forgives nothing: not each device that registers has
/// started anew.
#[test]
fn who_registers_anew_may_still_answer_what_rests() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITHOUT_MID, Kind::RawObserved, false).await;
        play.conduct_with(Receipt::Piggybacked, seconds(200));
        play.order("SET", Strategy::Delay).await;
        play.order("SET", Strategy::Delay).await;
        play.run(seconds(190)).await;
        play.conduct_with(Receipt::Piggybacked, minutes(10));
        let now = play.world.now();
        play.world.nodes[0].device.register(now);
        play.run(minutes(1)).await;
        assert_eq!(play.standing(), [Delivered, Delivered]);
        play.run(minutes(20)).await;
        play.check_end();
    });
}

/// A long message goes to a device of which nothing was heard for long, as a short one does.
#[test]
fn a_long_message_reaches_a_device_that_was_idle() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITH_MID, Kind::RawObserved, false).await;
        play.run(minutes(30)).await;
        for _ in 0..40 {
            play.order("ODD", Strategy::Immediately).await;
        }
        // In blocks.
        play.order("BIG", Strategy::Immediately).await;
        play.run(minutes(5)).await;
        // What the device answers is drawn, and may name a mid that is nobody's.
        let last = play.standing().pop();
        assert!(
            matches!(last, Some(Successful | Failed | Delivered)),
            "{last:?}"
        );
        assert!(play.saw(41));
        play.check_end();
    });
}

/// What has waited too long for its turn is not sent, also when the device speaks before anybody looks.
#[test]
fn what_is_too_late_for_its_turn_is_not_sent() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITHOUT_MID, Kind::RawObserved, false).await;
        play.conduct_with(Receipt::Piggybacked, minutes(2));
        play.order("SET", Strategy::Immediately).await;
        play.run(seconds(1)).await;
        play.order("SET", Strategy::Immediately).await;
        assert_eq!(play.standing(), [Delivered, Sent]);
        // Timers are of whole seconds.
        play.run(Duration::from_millis(5_005)).await;
        play.report_all();
        play.run(minutes(5)).await;
        assert_eq!(play.standing()[1], Failed);
        assert!(!play.saw(2));
        play.check_end();
    });
}

/// What a device that leaves had not acknowledged goes when it is back.
#[test]
fn who_leaves_and_comes_back_gets_what_was_under_way() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITH_MID, Kind::Lwm2m, false).await;
        play.conduct_with(Receipt::Ignored, seconds(0));
        play.order("FIRE", Strategy::Delay).await;
        play.run(seconds(1)).await;
        let now = play.world.now();
        play.world.nodes[0].device.deregister(now);
        play.run(seconds(5)).await;
        play.conduct_with(Receipt::Piggybacked, seconds(0));
        let now = play.world.now();
        play.world.nodes[0].device.reboot(now);
        play.run(seconds(20)).await;
        assert_eq!(play.standing(), [Successful]);
        play.check_end();
    });
}

/// However many are sent at once, so many are under way at most, and none is lost.
#[test]
fn what_is_under_way_is_bounded() {
    each_seed(async |world| {
        let mut play = Play::alone(world, WITH_MID, Kind::RawObserved, false).await;
        play.conduct_with(Receipt::Piggybacked, minutes(2));
        for _ in 0..40 {
            play.order("SET", Strategy::Immediately).await;
            play.run(Duration::from_millis(200)).await;
        }
        let sent = play.standing();
        let failed = sent.iter().filter(|status| **status == Failed).count();
        assert_eq!((sent.len(), failed), (40, 8));
        let ids: Vec<CommandId> = play.asked.iter().filter_map(|a| a.id).collect();
        assert_eq!(ids.len(), 40);
        play.run(minutes(10)).await;
        play.check_end();
    });
}
