//! The stream of server-sent events of `/v1/events`.
//!
//! Blocks end with an empty line; `event:`, `data:` and `id:` count, comments and other fields are
//! passed over. A block of more than [`BLOCK_MAX`] bytes ends the stream.

use http_body_util::BodyExt;

/// Longest block of the stream.
const BLOCK_MAX: usize = 1024 * 1024;

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Events {
    body: hyper::body::Incoming,
    blocks: Blocks,
    last_id: Option<String>,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// `resource.event`.
    pub name: String,
    pub data: String,
}

impl Events {
    pub(super) fn new(body: hyper::body::Incoming, last_id: Option<String>) -> Self {
        Self {
            body,
            blocks: Blocks::default(),
            last_id,
        }
    }

    /// The next event; `None` when the server closed the stream or sent nonsense. May be cancelled.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        self.next_of("").await
    }

    /// The next event whose name begins with `prefix`: others cost little.
    pub async fn next_of(&mut self, prefix: &str) -> Option<ServerEvent> {
        loop {
            while let Some(block) = self.blocks.take() {
                let read = Block::read(block);
                if let Some(id) = read.id {
                    self.last_id = Some(id.to_owned());
                }
                if let Some(event) = read.event(prefix) {
                    return Some(event);
                }
            }
            if self.blocks.waiting() > BLOCK_MAX {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.blocks.add(&data);
            }
        }
    }

    /// Position to go on from in a new stream.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }
}

/// Bytes of the stream, cut at empty lines. What was taken is dropped when more comes.
#[derive(Debug, Default)]
struct Blocks {
    buffer: Vec<u8>,
    /// First byte that was not taken.
    from: usize,
    /// No empty line begins before this byte.
    seen: usize,
}

impl Blocks {
    fn add(&mut self, data: &[u8]) {
        self.buffer.drain(..self.from);
        self.seen -= self.from;
        self.from = 0;
        self.buffer.extend_from_slice(data);
    }

    const fn waiting(&self) -> usize {
        self.buffer.len() - self.from
    }

    /// What stands before the first empty line.
    fn take(&mut self) -> Option<&[u8]> {
        let rest = self.buffer.get(self.seen..)?;
        let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else {
            // The last byte may be the first half of it.
            self.seen = self.buffer.len().saturating_sub(1).max(self.from);
            return None;
        };
        let end = self.seen + end;
        let from = std::mem::replace(&mut self.from, end + 2);
        self.seen = self.from;
        self.buffer.get(from..end)
    }
}

/// The fields of a block.
#[derive(Debug, Default)]
struct Block<'a> {
    name: &'a str,
    data: Vec<&'a str>,
    id: Option<&'a str>,
}

impl<'a> Block<'a> {
    /// What is not UTF-8 is passed over: the server sends none.
    fn read(bytes: &'a [u8]) -> Self {
        let mut block = Self::default();
        for line in std::str::from_utf8(bytes).unwrap_or_default().lines() {
            let Some((field, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => block.name = value,
                "data" => block.data.push(value),
                "id" => block.id = Some(value),
                _ => {}
            }
        }
        block
    }

    /// Comments (keep-alives) and blocks without data are no events.
    fn event(&self, prefix: &str) -> Option<ServerEvent> {
        let is_wanted = !self.data.is_empty() && self.name.starts_with(prefix);
        is_wanted.then(|| ServerEvent {
            name: self.name.to_owned(),
            data: self.data.join("\n"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]], prefix: &str) -> (Vec<ServerEvent>, Option<String>) {
        let (mut blocks, mut got, mut id) = (Blocks::default(), Vec::new(), None);
        for piece in pieces {
            blocks.add(piece);
            while let Some(block) = blocks.take() {
                let block = Block::read(block);
                id = block.id.map(str::to_owned).or(id);
                got.extend(block.event(prefix));
            }
        }
        (got, id)
    }

    fn event(name: &str, data: &str) -> ServerEvent {
        ServerEvent {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    const WIRE: &[u8] =
        b": keep\n\nevent: device.data\ndata: {\"a\":1}\nid: 7\n\ndata: x\ndata: y\n\n\
        event: cut";

    #[test]
    fn some_names_are_passed_over_and_the_position_counts_all_the_same() {
        let (got, id) = read(&[WIRE], "device.command");
        assert_eq!((got, id.as_deref()), (vec![], Some("7")));
    }

    proptest! {
        #[test]
        fn events_come_out_of_arbitrary_pieces(cuts in prop::collection::vec(0..WIRE.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, WIRE.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &WIRE[pair[0]..pair[1]]).collect();
            let (got, id) = read(&pieces, "");
            prop_assert_eq!(got, [event("device.data", "{\"a\":1}"), event("", "x\ny")]);
            prop_assert_eq!(id.as_deref(), Some("7"));
        }

        #[test]
        fn any_bytes_never_panic(pieces in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..20), 0..20)) {
            let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            read(&pieces, "");
        }
    }
}
