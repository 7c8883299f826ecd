//! What goes down to one device, watched on its way: one confirmable request at a time (RFC 7252 §4.7,
//! NSTART = 1), and nothing new to a device that sleeps.
//!
//! The server may give up a request before it is acknowledged: when its command has ended. Whether it
//! has is asked of the store at each datagram.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use strait::store::commands::OpenRecord;
use strait::wire::coap::{Message, Type};

use crate::server::Server;

/// Between the repetitions of a request, and after the last one, there is at least so much time but for
/// the first.
const NOT_GIVEN_UP: Duration = Duration::from_secs(14);
/// How long a server counts on a sleeping device: its setting, and what rounding of seconds adds.
const LISTENS: Duration = Duration::from_millis(30_100);

/// How long a failed commit may still have its effects.
const DOUBTFUL: Duration = Duration::from_secs(60);

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

    /// A datagram leaves the server, of whose store this is known.
    pub(crate) fn send(&mut self, now: Instant, datagram: &[u8], server: &Server, device_id: &str) {
        let queue = server.state(device_id).queue;
        // What is in doubt is sent anew from its start.
        let failed_at = server.disk.failed_at();
        let is_doubtful = failed_at.is_some_and(|at| now < at + DOUBTFUL);
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        if message.ty != Type::Confirmable || !message.code.is_request() {
            return;
        }
        let token = message.token.to_u64().unwrap_or_default();
        let is_command = |token: u64, at: Instant| {
            let mut open = queue.open.iter();
            // Since then it was set at the end of the line once more.
            let is_carried = |o: &OpenRecord| {
                let clock = &server.platform.app.clock;
                clock.now().since_ms(o.carried_at) <= ms_of(now - at)
            };
            open.any(|o| o.token == token && o.delivered_at.is_none() && !is_carried(o))
        };
        if let Some((open_id, open_token, at)) = self.open
            && open_token != token
            && now < at + NOT_GIVEN_UP
            && is_command(open_token, at)
            && !is_doubtful
        {
            let told = format!(
                "{:#06x} while {open_id:#06x} is under way, {:?} after it: {:?}",
                message.msg_id,
                now - at,
                queue.open
            );
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

fn ms_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}
