//! The table codec: a declaration of messages and fields (`codec.toml`), checked when it is
//! loaded and compiled into a program that reads and writes bytes.
//!
//! Parts: `source` reads TOML with places, `load` and `field` compile, `layout`, `links` and
//! `model` check, `decode` and `encode` run, `set` and `answer` find what a set and an answer
//! say, `schema` describes the language to editors. Byte order is big-endian unless the table says
//! otherwise.
//! The language: `docs/codecs.md`.

mod answer;
mod checksum;
mod decode;
mod encode;
mod field;
mod layout;
mod links;
mod load;
mod model;
mod program;
pub mod schema;
mod set;
mod source;

#[cfg(test)]
mod tests;

use serde_json::Map;

use crate::product::codec::table::answer::Says;
use crate::product::codec::table::decode::{Decoder, Found};
use crate::product::codec::table::encode::Auto;
use crate::product::codec::table::program::{Direction, Field, Message, Program, Role};
use crate::product::codec::{
    AnswerTo, Codec, CodecError, Decoded, Downlink, Encode, EncodeProperties, LoadError,
    PropertySet, Report, Response, ServiceReport, TraceEntry, Uplink,
};
use crate::product::profile::Profile;

pub(super) use source::closest;

/// A compiled `codec.toml`.
#[derive(Debug)]
pub struct TableCodec {
    program: Program,
}

/// Compiles a table codec and checks it, against the product model too when there is one.
/// Errors: every mistake, in the order of the file.
pub fn load(source: &str, profile: Option<&Profile>) -> Result<TableCodec, Vec<LoadError>> {
    let program = load::compile(source, profile)?;
    Ok(TableCodec { program })
}

impl TableCodec {
    /// The codec's own name; empty when it has none.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Every command that it can encode, with its service where the table names one.
    pub fn commands(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let down = |m: &&Message| m.direction == Direction::Down;
        self.program
            .messages
            .iter()
            .filter(down)
            .filter_map(|m| Some((m.service.as_deref(), m.name.as_deref()?)))
    }

    fn read<'p>(
        &'p self,
        bytes: &[u8],
        trace: Option<&mut Vec<TraceEntry>>,
        find: impl FnOnce(Option<u64>) -> Option<&'p Message>,
    ) -> Result<(&'p Message, Found), CodecError> {
        let mut decoder = Decoder::new(bytes, trace);
        let id = decoder.peek_id(&self.program)?;
        let checksum = self.program.checksum.as_ref();
        if let Some(checksum) = checksum {
            decoder.verify(checksum)?;
        }
        let Some(message) = find(id) else {
            let digits = self.program.id.map_or(2, |id| id.word.bytes * 2);
            let id = id.map_or_else(|| "none".to_owned(), |id| format!("0x{id:0digits$x}"));
            return Err(CodecError::UnknownMessage { id });
        };
        Ok((message, decoder.message(message, checksum)?))
    }

    fn command(&self, service_id: &str, command_name: &str) -> Option<&Message> {
        self.program.messages.iter().find(|m| {
            m.direction == Direction::Down
                && m.name.as_deref() == Some(command_name)
                && m.service.as_deref().is_none_or(|s| s == service_id)
        })
    }

    /// What answers reports of this kind.
    fn answer_of(&self, report: &Message) -> Option<&Message> {
        let (id, _) = report.answer.as_ref()?;
        let mut answers = self.program.messages.iter();
        answers.find(|m| m.direction == Direction::Answer && m.id == Some(*id))
    }

    /// What an answer to these bytes says: the checksum must hold, and the fields must be readable
    /// as far as the answer echoes them.
    fn says(
        &self,
        report: &AnswerTo<'_>,
        message: &Message,
        answer: &Message,
    ) -> Result<Says, CodecError> {
        let mut says = Says {
            errcode: report.errcode,
            has_more: report.has_more,
            echoes: Vec::new(),
        };
        let mut decoder = Decoder::new(report.request, None);
        let checksum = self.program.checksum.as_ref();
        if let Some(checksum) = checksum {
            decoder.verify(checksum)?;
        }
        let echoes = answer::wanted(answer).count();
        if echoes > 0 {
            let keep = |field: &Field, bytes: &[u8]| says.keep(answer, field, bytes);
            let read = decoder.watched(message, checksum, keep);
            // A report that is broken further on is refused by its own number.
            if let (Err(error), true) = (read, says.echoes.len() < echoes) {
                return Err(error);
            }
        }
        Ok(says)
    }

    fn inbound(&self, id: Option<u64>) -> Option<&Message> {
        let id = id.unwrap_or(0);
        let inbound = &self.program.inbound;
        let at = inbound.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.program.messages.get(inbound.get(at)?.1)
    }

    fn outbound(&self, id: Option<u64>) -> Option<&Message> {
        let messages = self.program.messages.iter();
        let mut down = messages.filter(|m| m.direction.is_sent());
        match id {
            Some(id) => down.find(|m| m.id == Some(id)),
            None => {
                let only = down.next();
                if down.next().is_some() { None } else { only }
            }
        }
    }
}

impl Codec for TableCodec {
    fn decode(
        &self,
        uplink: &Uplink<'_>,
        trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        let (message, mut found) = self.read(uplink.payload, trace, |id| self.inbound(id))?;
        if message.direction == Direction::Response {
            return Ok(Decoded::Response(Response {
                mid: found.mid,
                succeeded: found.succeeded.unwrap_or(true),
                response_name: message.name.clone(),
                paras: found.maps.pop().unwrap_or_default(),
            }));
        }
        let services: Vec<ServiceReport> = message
            .services
            .iter()
            .zip(found.maps)
            .filter(|(_, properties)| !properties.is_empty())
            .map(|(service_id, properties)| ServiceReport {
                service_id: service_id.clone(),
                properties,
                event_time: found.event_time,
            })
            .collect();
        if services.is_empty() && !found.has_more {
            return Ok(Decoded::Nothing);
        }
        Ok(Decoded::Report(Report {
            services,
            has_more: found.has_more,
        }))
    }

    fn encode(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        let Some(message) = self.command(command.service_id, command.command_name) else {
            return Err(CodecError::UnknownCommand {
                service_id: command.service_id.to_owned(),
                command_name: command.command_name.to_owned(),
            });
        };
        let checksum = self.program.checksum.as_ref();
        encode::message(message, checksum, command.paras, Auto::Mid(command.mid))
    }

    fn decode_downlink(&self, bytes: &[u8]) -> Option<Result<Downlink, CodecError>> {
        let unclear = self.program.id.is_none() && self.outbound(None).is_none();
        if unclear {
            return None;
        }
        let read = self.read(bytes, None, |id| self.outbound(id));
        Some(read.map(|(message, found)| downlink_of(message, found)))
    }

    fn answers_by_mid(&self, command: &Encode<'_>) -> bool {
        let Some(command) = self.command(command.service_id, command.command_name) else {
            return false;
        };
        let reply = command.reply.as_ref();
        let reply = reply.and_then(|(id, _)| self.inbound(Some(*id)));
        command.has(Role::Mid) && reply.is_some_and(|reply| reply.has(Role::Mid))
    }

    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        let Some(message) = set::choose(&self.program.messages, set) else {
            return Err(CodecError::no_property_set(set));
        };
        let values = set::values(message, set);
        let checksum = self.program.checksum.as_ref();
        Ok(PropertySet {
            bytes: encode::message(message, checksum, &values, Auto::Mid(set.mid))?,
            covered: set::covered(message, set),
        })
    }

    fn answer(&self, report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        let id = Decoder::new(report.request, None).peek_id(&self.program)?;
        let found = self.inbound(id).and_then(|m| Some((m, self.answer_of(m)?)));
        let Some((message, answer)) = found else {
            return Ok(None);
        };
        let says = self.says(report, message, answer)?;
        let checksum = self.program.checksum.as_ref();
        encode::message(answer, checksum, &Map::new(), Auto::Answer(&says)).map(Some)
    }
}

fn downlink_of(message: &Message, mut found: Found) -> Downlink {
    let values = found.maps.pop().unwrap_or_default();
    match message.direction {
        Direction::Set => Downlink::Set {
            service_id: message.service.clone().unwrap_or_default(),
            properties: values,
            mid: found.mid,
        },
        Direction::Answer => Downlink::Answer {
            errcode: found.errcode,
            has_more: message.has(Role::HasMore).then_some(found.has_more),
        },
        Direction::Down | Direction::Up | Direction::Response => Downlink::Command {
            command_name: message.name.clone().unwrap_or_default(),
            paras: values,
            mid: found.mid,
        },
    }
}
