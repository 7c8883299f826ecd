//! From what arrived to whose it is: peer and message -> device -> shard.
//!
//! | request | becomes |
//! |---|---|
//! | `POST /rd?ep=…` | register (LwM2M) |
//! | `POST /rd/<location>` | update |
//! | `DELETE /rd/<location>` | deregister |
//! | `POST /t/r?ep=…` | register (raw CoAP) |
//! | `POST /t/d[?ep=…]` | report |
//! | `GET /.well-known/core` | answered here |
//! | `GET /fw/<path>` | a block of a package's file, answered here |
//!
//! A response or notification belongs to the device that has its token, whoever sends it: whether
//! the sender may speak for that device is judged where the device is loaded
//! ([`Loaded::refusal`](super::step::Loaded::refusal)).
//!
//! Over DTLS the identity is a device: it may leave `ep` out, and what names no device is its own.

mod answer;
mod key;
mod package;
mod tell;
mod whose;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use self::answer::{explain, resources, unavailable};
use self::key::{KEY, key_of, text_of};
use super::device::DeviceChange;
use super::directory::{Directory, TokenOf};
use super::figures::Figures;
use super::package::Packages;
use super::shards::Shards;
use super::step::{Answer, From, Input, Origin, Reply, Unobserved, Via, refusal};
use super::trace::Tracer;
use crate::base::ids::{DeviceId, NodeId};
use crate::base::peer::{Mark, Peer};
use crate::base::time::Clock;
use crate::engine::exchange::{Event, Failure, Incoming, Outgoing, ReplyId, Response, Resume};
use crate::engine::registration::{Register, RegisterError, Update, parse_location};
use crate::net::Downward;
use crate::store::Store;
use crate::store::records::RegistrationKind;
use crate::wire::coap::{Block, Code, Message, Token};

/// What `GET /.well-known/core` shows (RFC 6690; the directory's resource type of RFC 9176).
const RESOURCES: &[u8] = b"</rd>;rt=\"core.rd\";ct=40,</t/r>,</t/d>";

/// Finds the device of each event and hands it to the device's shard.
pub struct Ingress {
    pub store: Arc<dyn Store>,
    pub directory: Arc<Directory>,
    pub net: mpsc::Sender<Outgoing>,
    pub figures: Arc<Figures>,
    pub shards: Shards,
    pub sessions: mpsc::Sender<Vec<Downward>>,
    pub tracer: Arc<Tracer>,
    pub packages: Arc<Packages>,
    pub clock: Clock,
}

/// What a request means here.
enum Routed {
    Device(DeviceId, Box<Input>),
    Answer(Response),
    /// The same, of a device that has every right to it.
    Serve(Response),
}

impl Ingress {
    /// Runs until `events` is closed; `changes` come from the API.
    pub async fn run(
        self,
        mut events: mpsc::Receiver<Vec<Event>>,
        mut changes: mpsc::Receiver<DeviceChange>,
    ) {
        let mut listens = true;
        loop {
            tokio::select! {
                batch = events.recv() => {
                    let Some(batch) = batch else {
                        return;
                    };
                    for event in batch {
                        self.route(event).await;
                    }
                }
                change = changes.recv(), if listens => match change {
                    Some(change) => self.changed(change).await,
                    None => listens = false,
                },
            }
        }
    }

    /// The API changed a device. Its session ends before it is heard again.
    async fn changed(&self, change: DeviceChange) {
        tell::changed(&self.tracer, self.clock.now(), &change);
        if let Some(device) = change.ends_session {
            // Waits while the channel is full; closed, there are no sessions.
            drop(self.sessions.send(vec![Downward::End(device)]).await);
        }
        self.hand(change.device_id, Input::Changed).await;
    }

    async fn route(&self, event: Event) {
        match event {
            Event::Request { id, message } => self.request(id, &message).await,
            Event::Response {
                peer,
                token,
                settle,
                solicited,
                message,
            } => {
                let via = Answered {
                    peer,
                    token,
                    settle,
                    solicited,
                };
                self.response(via, &message).await;
            }
            Event::Sent {
                token, done, total, ..
            } => {
                if let Some((device_id, _, TokenOf::Command)) = self.owner(token)
                    && let Some(progress) = self.packages.progress()
                {
                    progress.pushed(&device_id, done as u64, total as u64);
                }
            }
            Event::Failed {
                peer,
                token,
                reason,
                mark,
            } => {
                let Some((device_id, token, of)) = self.owner(token) else {
                    return;
                };
                let origin = Origin { peer, mark };
                let input = match of {
                    TokenOf::Observation => Input::ObserveFailed {
                        origin,
                        reply: Reply::None,
                        token,
                        why: match reason {
                            Failure::Reset => Unobserved::Refused,
                            Failure::Timeout | Failure::Blockwise => Unobserved::Unanswered,
                            Failure::Busy => Unobserved::Unsent,
                        },
                    },
                    TokenOf::Command => Input::RequestFailed {
                        origin,
                        token,
                        reason,
                    },
                };
                self.hand(device_id, input).await;
            }
            Event::Repeated { peer, mark } => {
                let mark = Some(mark);
                let input = Input::Repeated {
                    origin: Origin { peer, mark },
                };
                self.hand_to(peer, input).await;
            }
            // Of an observation, the answer follows, or its failure.
            Event::Acknowledged { peer, token, mark } => {
                if let Some((device_id, token, TokenOf::Command)) = self.owner(token) {
                    let origin = Origin { peer, mark };
                    self.hand(device_id, Input::Acknowledged { origin, token })
                        .await;
                }
            }
        }
    }

    async fn request(&self, id: ReplyId, incoming: &Incoming) {
        let Some(message) = incoming.message() else {
            return;
        };
        match self.resource(id, &message, incoming) {
            Routed::Device(device_id, input) => self.hand(device_id, *input).await,
            Routed::Serve(response) => {
                drop(self.net.send(Outgoing::Respond { id, response }).await);
            }
            Routed::Answer(response) => {
                self.figures.strangers.increment(1);
                if !self.tracer.is_idle() {
                    self.tell_refused(id.peer, incoming.mark(), &message, &response);
                }
                drop(self.net.send(Outgoing::Respond { id, response }).await);
            }
        }
    }

    fn resource(&self, id: ReplyId, message: &Message<'_>, incoming: &Incoming) -> Routed {
        let refuse = |code| Routed::Answer(Response::refusal(code));
        let path: Result<Vec<&str>, _> = message.options.uri_path().collect();
        let query: Result<Vec<&str>, _> = message.options.uri_query().collect();
        let (Ok(mut path), Ok(query)) = (path, query) else {
            return refuse(Code::BAD_REQUEST);
        };
        // A trailing slash is an empty segment.
        while path.last().is_some_and(|s| s.is_empty()) {
            path.pop();
        }
        let from = From {
            reply: Reply::Request(id),
            origin: Origin {
                peer: id.peer,
                mark: incoming.mark(),
            },
            key: key_of(id.peer, incoming.datagram()),
            is_new_transfer: false,
        };
        match (path.as_slice(), message.code) {
            (["rd"], Code::POST) => {
                self.register(from, &query, RegistrationKind::Lwm2m, &incoming.payload())
            }
            (["t", "r"], Code::POST) => {
                self.register(from, &query, RegistrationKind::Raw, &incoming.payload())
            }
            (["rd", location], Code::POST | Code::PUT) => {
                let payload = incoming.payload();
                let links = (!payload.is_empty()).then(|| text_of(&payload));
                let update = Update::parse(query.into_iter());
                self.at_location(
                    location,
                    Input::Update {
                        from,
                        update,
                        links,
                    },
                )
            }
            (["rd", location], Code::DELETE) => {
                self.at_location(location, Input::Deregister { from })
            }
            (["t", "d"], Code::POST | Code::PUT) => self.report(from, &query, message, incoming),
            ([".well-known", "core"], Code::GET) => Routed::Answer(resources()),
            (["fw", path], Code::GET) => self.package_block(path, id.peer, message),
            (["rd" | "fw", _] | ["rd"] | ["t", "r" | "d"] | [".well-known", "core"], _) => {
                refuse(Code::METHOD_NOT_ALLOWED)
            }
            _ => refuse(Code::NOT_FOUND),
        }
    }

    fn register(
        &self,
        from: From,
        query: &[&str],
        kind: RegistrationKind,
        payload: &Bytes,
    ) -> Routed {
        // Without an endpoint name, the identity is it (LwM2M 1.1 §6.2.1).
        let named = match from.origin.peer {
            peer @ Peer::Secured(_) if !has_endpoint(query) => match self.node_of(peer) {
                Ok(Some(node)) => Some(format!("ep={node}")),
                Ok(None) => return Routed::Answer(Response::refusal(Code::FORBIDDEN)),
                Err(error) => return unavailable(&error),
            },
            Peer::Secured(_) | Peer::Plain(_) => None,
        };
        let query = named.as_deref().into_iter().chain(query.iter().copied());
        let register = match Register::parse(query) {
            Ok(register) => register,
            // Clients step down to an older version only on 4.12.
            Err(RegisterError::Version(_)) => {
                return Routed::Answer(Response::refusal(Code::PRECONDITION_FAILED));
            }
            Err(error) => return explain(Code::BAD_REQUEST, &error.to_string()),
        };
        match self.by_node(&register.node_id) {
            Ok(Some(device_id)) => {
                let links = text_of(payload);
                Routed::Device(
                    device_id,
                    Box::new(Input::Register {
                        from,
                        register,
                        kind,
                        links,
                    }),
                )
            }
            Ok(None) => Routed::Answer(Response::refusal(Code::FORBIDDEN)),
            Err(error) => unavailable(&error),
        }
    }

    fn at_location(&self, location: &str, input: Input) -> Routed {
        match parse_location(location).and_then(|l| self.directory.by_location(l)) {
            Some(device_id) => Routed::Device(device_id, Box::new(input)),
            None => Routed::Answer(Response::refusal(Code::NOT_FOUND)),
        }
    }

    /// Whose a report is: the node that its query names, else whose the peer is.
    fn report(
        &self,
        from: From,
        query: &[&str],
        message: &Message<'_>,
        incoming: &Incoming,
    ) -> Routed {
        let device_id = match query.iter().find_map(|pair| pair.strip_prefix("ep=")) {
            None => match self.by_peer(from.origin.peer) {
                Ok(found) => found,
                Err(error) => return unavailable(&error),
            },
            Some(endpoint) => match NodeId::from_endpoint(endpoint.trim_matches('"')) {
                Err(error) => return explain(Code::BAD_REQUEST, &format!("ep {error}")),
                Ok(node) => match self.by_node(&node) {
                    Ok(found) => found,
                    Err(error) => return unavailable(&error),
                },
            },
        };
        let Some(device_id) = device_id else {
            return Routed::Answer(Response::refusal(Code::FORBIDDEN));
        };
        let payload = incoming.payload();
        // A body in blocks comes in other messages when it is sent anew.
        let key = if incoming.is_whole() {
            KEY.checksum(&payload)
        } else {
            KEY.checksum(incoming.datagram())
        };
        let is_new_transfer = incoming.is_whole() && !incoming.is_repeated();
        let input = Input::Report {
            from: From {
                key,
                is_new_transfer,
                ..from
            },
            payload,
            content_format: message.options.content_format(),
            via: Via::Post,
        };
        Routed::Device(device_id, Box::new(input))
    }

    /// A request that counts for nothing, for the trace of the device that it names or comes from.
    fn tell_refused(
        &self,
        peer: Peer,
        mark: Option<Mark>,
        message: &Message<'_>,
        response: &Response,
    ) {
        let mut pairs = message.options.uri_query().flatten();
        let named = pairs.find_map(|pair| pair.strip_prefix("ep="));
        let node = named.and_then(|ep| NodeId::from_endpoint(ep.trim_matches('"')).ok());
        let found = match node {
            Some(node) => self.by_node(&node).ok().flatten(),
            None => self.by_peer(peer).ok().flatten(),
        };
        if let Some(device_id) = found {
            let origin = Origin { peer, mark };
            if let Some(entry) = tell::refused(self.clock.now(), origin, message, response) {
                self.tracer.record(&device_id, entry);
            }
        }
    }

    async fn response(&self, answered: Answered, incoming: &Incoming) {
        let Answered {
            peer,
            token,
            settle,
            solicited,
        } = answered;
        let Some(message) = incoming.message() else {
            return;
        };
        let reply = settle.map_or(Reply::None, Reply::Notification);
        let mark = incoming.mark();
        let origin = Origin { peer, mark };
        let Some((device_id, token, of)) = self.owner(token) else {
            if let Some(outgoing) = refusal(reply, Code::NOT_FOUND) {
                drop(self.net.send(outgoing).await);
            }
            self.figures.strangers.increment(1);
            self.hand_to(peer, Input::Strayed { origin }).await;
            return;
        };
        let from = From {
            reply,
            origin,
            key: KEY.checksum(incoming.datagram()),
            is_new_transfer: false,
        };
        if of == TokenOf::Command {
            let input = Input::Answered {
                from,
                token,
                code: message.code,
                payload: incoming.payload(),
                content_format: message.options.content_format(),
            };
            self.hand(device_id, input).await;
            return;
        }
        // An error ends the observation (RFC 7641 §4.2); so does an answer that establishes none.
        let is_error = !message.code.is_success();
        let answer = match (solicited, message.options.observe()) {
            (false, _) => Answer::No,
            (true, Some(_)) => Answer::Observed,
            (true, None) => Answer::Unobserved,
        };
        if is_error || (answer == Answer::Unobserved && message.payload.is_empty()) {
            let input = Input::ObserveFailed {
                origin,
                reply,
                token,
                // 5.xx: it can't now, but may when it next shows itself.
                why: match message.code.class() {
                    5 => Unobserved::Unanswered,
                    _ => Unobserved::Refused,
                },
            };
            self.hand(device_id, input).await;
            return;
        }
        let goes_on = message
            .options
            .block2()
            .and_then(Result::ok)
            .is_some_and(Block::more);
        if goes_on && !solicited && !incoming.is_whole() {
            let resume = Box::new(Resume {
                first: incoming.clone(),
                settle,
            });
            let input = Input::Partial {
                origin,
                token,
                resume,
            };
            self.hand(device_id, input).await;
            return;
        }
        let input = Input::Report {
            from,
            payload: incoming.payload(),
            content_format: message.options.content_format(),
            via: Via::Notification { token, answer },
        };
        self.hand(device_id, input).await;
    }

    fn owner(&self, token: Token) -> Option<(DeviceId, u64, TokenOf)> {
        let token = token.to_u64()?;
        let (device_id, of) = self.directory.by_token(token)?;
        Some((device_id, token, of))
    }

    /// To whose device the peer is, if any.
    async fn hand_to(&self, peer: Peer, input: Input) {
        match self.by_peer(peer) {
            Ok(Some(device_id)) => self.hand(device_id, input).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a device can't be looked up"),
        }
    }

    async fn hand(&self, device_id: DeviceId, input: Input) {
        // Waits while the shard is behind: then the event channel fills, and the endpoint answers
        // 5.03 by itself.
        self.shards.hand(device_id, input).await;
    }
}

/// A response or notification, without its message.
struct Answered {
    peer: Peer,
    token: Token,
    settle: Option<ReplyId>,
    solicited: bool,
}

/// Whether a query has an endpoint name, be it an empty one.
fn has_endpoint(query: &[&str]) -> bool {
    let mut keys = query.iter().map(|pair| pair.split('=').next());
    keys.any(|key| key == Some("ep"))
}
