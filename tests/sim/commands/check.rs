//! What must hold of commands: at every step, and when all has ended.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use strait::base::ids::CommandId;
use strait::base::time::Timestamp;
use strait::sim::device::Event;
use strait::store::commands::{CommandRecord, CommandStatus, Strategy};
use strait::store::{CommandQuery, Store};

use super::product::number_of;
use super::{Play, SLACK};

impl Play<'_> {
    /// The rows of a device's commands.
    pub(crate) fn rows(&self, index: usize, ended: bool) -> Vec<CommandRecord> {
        let server = self.world.server();
        let query = CommandQuery {
            device_seq: server.seq(&self.world.nodes[index].device_id).0,
            ended,
            from: None,
            to: None,
            before: None,
            status: None,
            command_name: None,
            limit: usize::MAX,
        };
        server.disk.commands(&query).unwrap()
    }

    /// Rows and state agree, and nothing is beyond its time.
    pub(crate) fn check_now(&self) {
        let now = self.world.server().platform.app.clock.now();
        let late = |at: Timestamp, s: u64| {
            let slack = u64::try_from(SLACK.as_millis()).unwrap();
            let failed_at = self.world.server().disk.failed_at();
            let is_excused = failed_at.is_some_and(|at| self.world.now() < at + SLACK);
            !is_excused
                && self.world.now() > self.excused_until
                && now.since_ms(at) > s * 1000 + slack
        };
        for index in 0..self.world.nodes.len() {
            let node = &self.world.nodes[index];
            let queue = self.world.server().state(&node.device_id).queue;
            let pending = queue.pending.iter().map(|p| p.id);
            let open = queue.open.iter().map(|o| o.id);
            let named: BTreeSet<CommandId> = pending.chain(open).collect();
            let rows = self.rows(index, false);
            let open: BTreeSet<CommandId> = rows.iter().map(|r| r.id).collect();
            assert_eq!(named, open, "{}: the state and the rows", node.device_id);
            for row in rows {
                let waits = queue.pending.iter().any(|p| p.id == row.id);
                assert_eq!(
                    waits,
                    row.status == CommandStatus::Pending,
                    "{}",
                    brief(&row)
                );
                let is_late = match row.status {
                    CommandStatus::Pending => late(row.id.created_at, row.expire_time_s.into()),
                    CommandStatus::Sent => late(row.sent_at.unwrap(), 180),
                    CommandStatus::Delivered => late(row.delivered_at.unwrap(), 180),
                    _ => true,
                };
                assert!(
                    !is_late,
                    "{}: beyond its time: {}",
                    node.device_id,
                    brief(&row)
                );
            }
            let mistakes = &node.flight.mistakes;
            assert!(mistakes.is_empty(), "{}: {mistakes:?}", node.device_id);
        }
    }

    /// Everything has ended, as it should.
    pub(crate) fn check_end(&self) {
        let mut ends = BTreeMap::new();
        for index in 0..self.world.nodes.len() {
            let node = &self.world.nodes[index];
            let left = self.rows(index, false);
            assert!(left.is_empty(), "{}: not ended: {left:?}", node.device_id);
            let rows = self.rows(index, true);
            for asked in self.asked.iter().filter(|a| a.index == index) {
                if let Some(id) = asked.id {
                    let found = rows.iter().any(|r| r.id == id);
                    assert!(found, "lost: {asked:?}");
                }
                let of = rows.iter().filter(|r| r.paras["n"] == json!(asked.number));
                let times = of.count();
                // Who was told of a failure under no name asks for nothing twice.
                assert!(times <= 1, "{times} times: {asked:?}");
            }
            let events = self
                .world
                .server()
                .events(&node.device_id, "device.command.status");
            for row in &rows {
                self.check_row(index, row, &events);
                *ends.entry(format!("{:?}", row.status)).or_insert(0) += 1;
            }
            self.check_executions(index, &rows);
        }
        if std::env::var_os("STRAIT_SEED").is_some() {
            eprintln!("{ends:?}");
        }
    }

    /// Its times, its events, and that the device said so.
    fn check_row(&self, index: usize, row: &CommandRecord, events: &[Value]) {
        let node = &self.world.nodes[index];
        let created = Some(row.id.created_at);
        let times = [created, row.sent_at, row.delivered_at, row.answered_at];
        let reached: Vec<Timestamp> = times.into_iter().flatten().collect();
        assert!(reached.is_sorted(), "{}", brief(row));
        let word = match row.status {
            CommandStatus::Successful => "SUCCESSFUL",
            CommandStatus::Failed => "FAILED",
            CommandStatus::Timeout => "TIMEOUT",
            CommandStatus::Expired => "EXPIRED",
            CommandStatus::Delivered => "DELIVERED",
            CommandStatus::Pending | CommandStatus::Sent => panic!("ended: {}", brief(row)),
        };
        let steps = [("SENT", row.sent_at), ("DELIVERED", row.delivered_at)];
        let steps = steps.iter().filter(|(_, at)| at.is_some());
        let mut want: Vec<&str> = steps.map(|(word, _)| *word).collect();
        if want.last() != Some(&word) {
            want.push(word);
        }
        let id = row.id.to_string();
        let told: Vec<&Value> = events.iter().filter(|e| e["command_id"] == id).collect();
        let words: Vec<&str> = told.iter().map(|e| e["status"].as_str().unwrap()).collect();
        assert_eq!(words, want, "{}: {}", node.device_id, brief(row));
        let last = told.last().unwrap();
        let answered = row.answered_at.map(Timestamp::compact).unwrap_or_default();
        assert_eq!(last["response_time"], json!(answered), "{}", brief(row));
        assert_eq!(
            row.sent_at.is_some(),
            row.message.is_some(),
            "{}",
            brief(row)
        );
        match row.status {
            CommandStatus::Expired => assert_eq!(row.strategy, Strategy::Delay),
            CommandStatus::Timeout => assert!(row.delivered_at.is_none(), "{}", brief(row)),
            _ => {}
        }
        self.check_answer(index, row);
    }

    /// A result is what the device said of this command and no other.
    fn check_answer(&self, index: usize, row: &CommandRecord) {
        let node = &self.world.nodes[index];
        let result = row.result.as_ref();
        let is_answer = result.is_some_and(|r| r.detail.contains_key("n"));
        if row.status == CommandStatus::Successful {
            let payload = &row.message.as_ref().unwrap().payload;
            let executed = node.device.executed().times(payload);
            assert!(
                executed > 0,
                "{}: not executed: {}",
                node.device_id,
                brief(row)
            );
            assert_eq!(is_answer, row.expects_answer, "{}", brief(row));
        }
        if is_answer {
            let said = &result.unwrap().detail["n"];
            assert_eq!(
                *said,
                row.paras["n"],
                "{}: another's: {}",
                node.device_id,
                brief(row)
            );
            assert!(row.answered_at.is_some(), "{}", brief(row));
        }
    }

    /// One message for each command, in order, and once where duplicates are recognised.
    fn check_executions(&self, index: usize, rows: &[CommandRecord]) {
        let (node, product) = (&self.world.nodes[index], self.ports[index]);
        let id = &node.device_id;
        let by_number: BTreeMap<u64, &CommandRecord> = rows
            .iter()
            .map(|r| (r.paras["n"].as_u64().unwrap(), r))
            .collect();
        for event in &node.events {
            if let Event::Downlink { payload } = event
                && let Some(number) = number_of(product, payload)
                && let Some(row) = by_number.get(&u64::from(number))
            {
                // Of a body in blocks that it refuses, a device shows the block.
                let message = &row.message.as_ref().unwrap().payload;
                assert!(
                    message.starts_with(payload),
                    "{id}: another message: {}",
                    brief(row)
                );
            }
        }
        let mut before = None;
        let mut seen = BTreeSet::new();
        for execution in node.device.executed().iter() {
            let Some(number) = number_of(product, &execution.payload) else {
                continue;
            };
            let row = by_number.get(&u64::from(number));
            let row = row.unwrap_or_else(|| panic!("{id}: {number} was never asked for"));
            if !seen.insert(number) {
                // A body in blocks that is in doubt starts over.
                let may = !self.world.conduct_of(index).recognises_duplicates
                    || self.rebooted[index]
                    || execution.payload.len() > 1024
                    || row.status == CommandStatus::Timeout;
                assert!(may, "{id}: executed again: {}", brief(row));
                continue;
            }
            // What timed out may have been under way for longer than the server waited.
            if row.strategy == Strategy::Delay && row.status != CommandStatus::Timeout {
                assert!(before < Some(row.id), "{id}: out of order: {}", brief(row));
                before = Some(row.id);
            }
        }
    }
}

/// A row in a failure's message, without its text.
fn brief(row: &CommandRecord) -> String {
    let CommandRecord {
        id,
        command_name,
        paras,
        strategy,
        status,
        sent_at,
        delivered_at,
        answered_at,
        result,
        ..
    } = row;
    let times = [Some(id.created_at), *sent_at, *delivered_at, *answered_at];
    let times = times.map(|at| at.map_or(0, Timestamp::as_ms));
    let mid = row.message.as_ref().map(|m| m.mid);
    let (n, result) = (&paras["n"], result.as_ref().map(|r| &r.detail));
    format!("{command_name} {n} {strategy:?} {status:?} {times:?} mid {mid:?} {result:?}")
}
