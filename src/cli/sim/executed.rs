//! The file of `--executed`: what the devices executed, one JSON object a line, appended as it
//! happens, so that a test can prove that nothing ran twice.
//!
//! ```json
//! {"time":"2026-01-01T00:00:00.000Z","node":"sim0","product":"water-meter","order":1,"msg_id":40,
//!  "mid":258,"payload":"810102…"}
//! ```
//!
//! `order` counts each device's executions from 1, `mid` is null where the bytes hold none.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::time::Timestamp;
use crate::cli::values::to_hex;
use crate::sim::device::Event;
use crate::sim::fleet::{Update, What};
use crate::sim::payload::Command;

/// Why the file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("--executed {path}: {source}")]
pub struct ExecutedError {
    path: String,
    source: io::Error,
}

impl ExecutedError {
    /// Stable word for scripts; never reworded.
    pub const fn kind(&self) -> &'static str {
        "executed"
    }
}

/// See the module. Without a file nothing is written.
#[derive(Debug)]
pub(super) struct Executed(Option<(PathBuf, File)>);

impl Executed {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, ExecutedError> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| failed(path, source))?;
        Ok(Self(Some((path.to_owned(), file))))
    }

    /// Writes a line if the event is an execution.
    pub(super) fn take(&mut self, now: Timestamp, update: &Update) -> Result<(), ExecutedError> {
        let Some((path, file)) = &mut self.0 else {
            return Ok(());
        };
        let What::Device(Event::Executed {
            order,
            msg_id,
            payload,
        }) = &update.what
        else {
            return Ok(());
        };
        let command = Command::read(update.product, payload);
        let row = json!({
            "time": now.rfc3339_ms(),
            "node": &*update.node_id,
            "product": update.product.name(),
            "order": order,
            "msg_id": msg_id,
            "mid": command.and_then(Command::mid),
            "payload": to_hex(payload),
        });
        // One write for each line: whoever reads meanwhile finds whole lines.
        file.write_all(format!("{row}\n").as_bytes())
            .map_err(|source| failed(path, source))
    }
}

fn failed(path: &Path, source: io::Error) -> ExecutedError {
    let path = path.display().to_string();
    ExecutedError { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::payload::Product;

    #[test]
    fn executions_are_appended_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("executed.jsonl");
        let now = Timestamp::from_ms(1_597_133_265_000);
        let update = |event| Update {
            node_id: "sim0".into(),
            product: Product::SmokeDetector,
            what: What::Device(event),
        };
        let executed = |order, payload: &[u8]| Event::Executed {
            order,
            msg_id: 40,
            payload: payload.to_vec(),
        };
        for (order, payload) in [(1, &[3, 0x12, 0x34, 1][..]), (2, &[9])] {
            // Opened again, as after a restart.
            let mut file = Executed::open(Some(&path)).unwrap();
            file.take(now, &update(Event::Rebooted)).unwrap();
            file.take(now, &update(executed(order, payload))).unwrap();
        }
        let error = Executed::open(Some(directory.path())).unwrap_err();
        assert!(error.to_string().starts_with("--executed /"), "{error}");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let rows: Vec<serde_json::Value> = lines.collect();
        assert_eq!(rows.len(), 2);
        let want = json!({"time": "2020-08-11T08:07:45.000Z", "node": "sim0",
            "product": "smoke-detector", "order": 1, "msg_id": 40, "mid": 4660, "payload": "03123401"});
        assert_eq!(rows[0], want);
        assert_eq!(
            (&rows[1]["mid"], &rows[1]["payload"]),
            (&json!(null), &json!("09"))
        );
    }
}
