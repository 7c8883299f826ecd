//! What an answer of the server means to a simulated device: reads just enough of a datagram, header
//! and token; options only where they matter (RFC 7252 §3, §4.2, §5.3.2).

use coap_lite::CoapOption;

use super::engine::Slot;
use crate::sim::message;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Code(u8),
    Reset,
}

/// What a datagram means to a device.
pub(super) enum Heard {
    /// The request with this message id is over; a registration's location comes along.
    Ended(u16, Ending, Option<Box<str>>),
    /// The server observes the device.
    Observe { msg_id: u16, token: Box<[u8]> },
    /// Another confirmable request of the server; with its payload when it writes, executes or
    /// posts what may be a command.
    Request {
        msg_id: u16,
        token: Box<[u8]>,
        command: Option<Vec<u8>>,
    },
    /// The server reads object 4, where the device is in the network: whole, or a resource.
    Radio {
        msg_id: u16,
        token: Box<[u8]>,
        resource: Option<u8>,
        accept: Option<u16>,
    },
    /// A confirmable response, to be acknowledged by its own message id.
    Separate(u16, Option<Box<Self>>),
}

/// Reads just enough: header and token; options only where they matter.
pub(super) fn read(slot: &Slot, datagram: &[u8], blind: bool) -> Option<Heard> {
    let [first, code, id_high, id_low, rest @ ..] = datagram else {
        return None;
    };
    let msg_id = u16::from_be_bytes([*id_high, *id_low]);
    let own = slot.busy && slot.msg_id == msg_id;
    if blind {
        return own.then_some(Heard::Ended(msg_id, Ending::Code(0), None));
    }
    let token = rest.get(..usize::from(first & 0x0f))?;
    let is_request = slot.datagram.get(1).is_some_and(|c| (1..32).contains(c));
    let ended = |id| Heard::Ended(id, Ending::Code(*code), location(*code, datagram));
    match (first >> 4 & 3, *code) {
        (3, _) => own.then_some(Heard::Ended(msg_id, Ending::Reset, None)),
        // The answer to a request follows separately.
        (2, 0) if is_request => None,
        (2, _) => own.then(|| ended(msg_id)),
        (0, 1..=31) => {
            let token = token.into();
            if *code == message::GET && observes(datagram) {
                Some(Heard::Observe { msg_id, token })
            } else if let Some((resource, accept)) = radio(*code, datagram) {
                Some(Heard::Radio {
                    msg_id,
                    token,
                    resource,
                    accept,
                })
            } else {
                let command = command(*code, datagram);
                Some(Heard::Request {
                    msg_id,
                    token,
                    command,
                })
            }
        }
        (kind, 64..) => {
            let mine = slot.busy && is_request && token == slot.msg_id.to_be_bytes();
            let ended = mine.then(|| ended(slot.msg_id));
            if kind == 0 {
                Some(Heard::Separate(msg_id, ended.map(Box::new)))
            } else {
                ended
            }
        }
        _ => None,
    }
}

/// The payload of a request to 19/1/0 or `/t/d`.
fn command(code: u8, datagram: &[u8]) -> Option<Vec<u8>> {
    if code != message::PUT && code != message::POST {
        return None;
    }
    let packet = message::read(datagram).ok()?;
    let path = message::joined(&packet, CoapOption::UriPath);
    matches!(path.as_str(), "19/1/0" | "t/d").then_some(packet.payload)
}

/// Resource and format of a GET of `/4/0`.
fn radio(code: u8, datagram: &[u8]) -> Option<(Option<u8>, Option<u16>)> {
    if code != message::GET {
        return None;
    }
    let packet = message::read(datagram).ok()?;
    let path = message::joined(&packet, CoapOption::UriPath);
    let resource = match path.strip_prefix("4/0")? {
        "" => None,
        rest => Some(rest.strip_prefix('/')?.parse().ok()?),
    };
    let accept = message::uint(&packet, CoapOption::Accept);
    Some((resource, accept.and_then(|n| u16::try_from(n).ok())))
}

fn observes(datagram: &[u8]) -> bool {
    message::read(datagram)
        .is_ok_and(|packet| message::uint(&packet, CoapOption::Observe) == Some(0))
}

/// Location-Path of a 2.01 answer to a registration.
fn location(code: u8, datagram: &[u8]) -> Option<Box<str>> {
    if code != message::CREATED {
        return None;
    }
    let packet = message::read(datagram).ok()?;
    let location = message::joined(&packet, CoapOption::LocationPath);
    (!location.is_empty()).then(|| location.into())
}
