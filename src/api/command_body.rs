//! `AsyncDeviceCommandRequest` of the v5 API, which a batch task holds as its document.

use axum::http::HeaderMap;

use super::error::ApiError;
use super::input::{Alphabet, Fields, TextRule};
use super::{REQUEST_ID, REQUEST_ID_MAX};
use crate::app::command::NewCommand;
use crate::base::limits::COMMAND_PARAS_MAX;
use crate::engine::command::{EXPIRE_DEFAULT_S, EXPIRE_MAX_S};
use crate::store::commands::Strategy;

/// The words of `send_strategy`.
const STRATEGIES: [(&str, Strategy); 2] = [
    ("immediately", Strategy::Immediately),
    ("delay", Strategy::Delay),
];
const SERVICE_ID: TextRule = TextRule::new(Alphabet::Any, 1, 64);
pub const COMMAND_NAME: TextRule = TextRule::new(Alphabet::Any, 1, 128);

pub const fn strategy_word(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Immediately => "immediately",
        Strategy::Delay => "delay",
    }
}

/// What answers tell of the time that a command waits at most: none waits that is sent at once.
pub const fn expire_time(strategy: Strategy, expire_time_s: u32) -> u32 {
    match strategy {
        Strategy::Immediately => 0,
        Strategy::Delay => expire_time_s,
    }
}

/// Reads a command to send. What the model says of it is judged by the device's shard.
pub fn new_command(fields: &Fields<'_>) -> Option<NewCommand> {
    let needed = [
        ("service_id", "the service's name"),
        ("command_name", "the command's name"),
        ("paras", "an object with the command's parameters"),
        ("send_strategy", "one of immediately, delay"),
    ];
    for (name, takes) in needed {
        if !fields.has(name) {
            fields.missing(name, takes);
        }
    }
    described(fields)
}

/// The same where nothing has to be there.
pub fn described(fields: &Fields<'_>) -> Option<NewCommand> {
    let service_id = fields.text("service_id", SERVICE_ID);
    let command_name = fields.text("command_name", COMMAND_NAME);
    let paras = fields.map("paras", COMMAND_PARAS_MAX);
    let expire_time_s = fields.integer("expire_time", 0..=EXPIRE_MAX_S);
    let strategy = fields.one_of("send_strategy", &STRATEGIES)?;
    Some(NewCommand {
        service_id: service_id?,
        command_name: command_name?,
        paras: paras?,
        strategy,
        expire_time_s: match (strategy, expire_time_s) {
            (Strategy::Delay, Some(given)) if given > 0 => given,
            // Nothing expires that never waits.
            _ => EXPIRE_DEFAULT_S,
        },
    })
}

/// The caller's own name for a submission. Errors: 400 when it is none.
pub fn submission_name(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(given) = headers.get(&REQUEST_ID) else {
        return Ok(None);
    };
    let text = given.to_str().unwrap_or_default();
    let is_visible = text.bytes().all(|b| b.is_ascii_graphic());
    if !is_visible || !(1..=REQUEST_ID_MAX).contains(&text.len()) {
        return Err(ApiError::invalid(format!(
            "X-Request-Id: got {} bytes, takes 1 to {REQUEST_ID_MAX} visible ASCII characters",
            given.len()
        )));
    }
    Ok(Some(text))
}
