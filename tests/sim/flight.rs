//! What goes down to one device, watched on its way: one confirmable request at a time (RFC 7252 §4.7,
//! NSTART = 1), and nothing new to a device that sleeps.
//!
//! The server may give up a request before it is acknowledged: when its command has ended. Whether it
//! has is asked of the store at each datagram.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use strait::store::commands::QueueRecord;
use strait::wire::coap::{Message, Type};

/// Between the repetitions of a request, and after the last one, there is at least so much time but for
/// the first.
const NOT_GIVEN_UP: Duration = Duration::from_secs(14);
/// How long a server counts on a sleeping device: its setting, and what rounding of seconds adds.
const LISTENS: Duration = Duration::from_millis(30_100);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// A request that was neither acknowledged nor answered: message id, token, last sent.
    open: Option<(u16, u64, Instant)>,
    /// Message ids of requests that were sent before.
    sent: BTreeSet<u16>,
    heard_at: Option<Instant>,
    /// It told the server that it sleeps between its messages.
    pub(crate) sleeps: bool,
    /// Until then the store had failed: what is under way is sent anew from its start.
    pub(crate) doubtful_until: Option<Instant>,
    pub(crate) mistakes: Vec<String>,
}

impl Flight {
    /// The server dies: it knows nothing of this any more. Mistakes stay.
    pub(crate) fn forget(&mut self) {
        self.open = None;
        self.sent.clear();
    }

    /// A datagram reaches the server.
    pub(crate) fn hear(&mut self, now: Instant, datagram: &[u8]) {
        self.heard_at = Some(now);
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        let Some((msg_id, token, _)) = self.open else {
            return;
        };
        let by_id = matches!(message.ty, Type::Acknowledgement | Type::Reset);
        let answers = message.code.is_response() && message.token.to_u64() == Some(token);
        if (by_id && message.msg_id == msg_id) || answers {
            self.open = None;
        }
    }

    /// A datagram leaves the server. `queue`: what the store says of the device then.
    pub(crate) fn send(&mut self, now: Instant, datagram: &[u8], queue: Option<&QueueRecord>) {
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        if message.ty != Type::Confirmable || !message.code.is_request() {
            return;
        }
        let token = message.token.to_u64().unwrap_or_default();
        let is_command = |token: u64| {
            let mut open = queue.into_iter().flat_map(|queue| &queue.open);
            open.any(|o| o.token == token && o.delivered_at.is_none())
        };
        if let Some((open_id, open_token, at)) = self.open
            && open_token != token
            && now < at + NOT_GIVEN_UP
            && is_command(open_token)
            && self.doubtful_until.is_none_or(|until| until < now)
        {
            let told = format!("{:#06x} while {open_id:#06x} is under way", message.msg_id);
            self.mistakes.push(told);
        }
        let is_new = self.sent.insert(message.msg_id);
        let listens = self.heard_at.is_some_and(|at| now <= at + LISTENS);
        if self.sleeps && is_new && !listens {
            let told = format!("{:#06x} to a device that sleeps", message.msg_id);
            self.mistakes.push(told);
        }
        self.open = Some((message.msg_id, token, now));
    }
}
