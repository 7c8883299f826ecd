//! The table codec: a declaration of messages and fields (`codec.toml`), checked when it is
//! loaded and compiled into a program that reads and writes bytes.
//!
//! Parts: `source` reads TOML with places, `load` and `field` compile, `layout` and `model`
//! check, `decode` and `encode` run. Byte order is big-endian unless the table says otherwise.
//! The language: `docs/codecs.md`.

mod checksum;
mod decode;
mod encode;
mod field;
mod layout;
mod load;
mod model;
mod program;
mod source;

#[cfg(test)]
mod tests;

use serde_json::Map;

use crate::product::codec::table::decode::{Decoder, Found};
use crate::product::codec::table::program::{Direction, Message, Program};
use crate::product::codec::{
    Codec, CodecError, Decoded, Downlink, Encode, LoadError, Report, Response, ServiceReport,
    TraceEntry, Uplink,
};
use crate::product::profile::Profile;

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

    fn inbound(&self, id: Option<u64>) -> Option<&Message> {
        let id = id.unwrap_or(0);
        let inbound = &self.program.inbound;
        let at = inbound.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.program.messages.get(inbound.get(at)?.1)
    }

    fn outbound(&self, id: Option<u64>) -> Option<&Message> {
        let mut down = self
            .program
            .messages
            .iter()
            .filter(|m| m.direction == Direction::Down);
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
        let wanted = |m: &&Message| {
            m.direction == Direction::Down
                && m.name.as_deref() == Some(command.command_name)
                && m.service.as_deref().is_none_or(|s| s == command.service_id)
        };
        let Some(message) = self.program.messages.iter().find(wanted) else {
            return Err(CodecError::UnknownCommand {
                service_id: command.service_id.to_owned(),
                command_name: command.command_name.to_owned(),
            });
        };
        let checksum = self.program.checksum.as_ref();
        encode::message(message, checksum, command.paras, command.mid)
    }

    fn decode_downlink(&self, bytes: &[u8]) -> Option<Result<Downlink, CodecError>> {
        let unclear = self.program.id.is_none() && self.outbound(None).is_none();
        if unclear {
            return None;
        }
        let read = self.read(bytes, None, |id| self.outbound(id));
        Some(read.map(|(message, mut found)| Downlink::Command {
            command_name: message.name.clone().unwrap_or_default(),
            paras: found.maps.pop().unwrap_or_else(Map::new),
            mid: found.mid,
        }))
    }
}
