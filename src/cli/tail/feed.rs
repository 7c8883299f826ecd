//! Server-sent events out of a stream of bytes (WHATWG HTML §9.2.6): blocks of lines with an empty
//! line behind. Lines end with LF or CR LF. What `retry` says is not heeded.
//!
//! A block that the stream breaks off in never was.

/// Longest block.
const BLOCK_MAX: usize = 4 * 1024 * 1024;

/// What a stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Event(ServerEvent),
    /// Keeps the connection alive, or says where it begins.
    Comment(String),
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// `resource.event`
    pub name: String,
    pub data: String,
    /// Where to go on after it.
    pub id: Option<String>,
}

/// Why a stream is none of events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    #[error("an event of more than {max} bytes")]
    TooLong { max: usize },
}

impl FeedError {
    /// Stable word; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
        }
    }
}

/// Reads one stream. Push bytes, then take parts until there are none.
#[derive(Debug, Default)]
pub struct Feed {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    read: usize,
    /// Bytes behind those that hold no line end.
    searched: usize,
    /// The block under way, and its bytes.
    event: ServerEvent,
    has_data: bool,
    len: usize,
}

impl Feed {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part; `None`: more bytes are needed.
    pub fn next_part(&mut self) -> Result<Option<Part>, FeedError> {
        while let Some(line) = self.line() {
            if let Some(part) = self.take_line(&line) {
                return Ok(Some(part));
            }
        }
        let waiting = self.buffer.len().saturating_sub(self.read);
        match self.len.saturating_add(waiting) > BLOCK_MAX {
            true => Err(FeedError::TooLong { max: BLOCK_MAX }),
            false => Ok(None),
        }
    }

    fn line(&mut self) -> Option<String> {
        let rest = self.buffer.get(self.read..)?;
        let fresh = rest.get(self.searched..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|b| *b == b'\n') else {
            self.searched = rest.len();
            return None;
        };
        let end = self.searched + end;
        let line = rest.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = String::from_utf8_lossy(line).into_owned();
        self.read += end + 1;
        self.searched = 0;
        self.len = self.len.saturating_add(end + 1);
        Some(line)
    }

    fn take_line(&mut self, line: &str) -> Option<Part> {
        if line.is_empty() {
            self.len = 0;
            let event = std::mem::take(&mut self.event);
            let had_data = std::mem::take(&mut self.has_data);
            return had_data.then_some(Part::Event(event));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => return Some(Part::Comment(value.to_owned())),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" => self.event.id = Some(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(pieces: &[&[u8]]) -> Result<Vec<Part>, FeedError> {
        let mut feed = Feed::default();
        let mut found = Vec::new();
        for piece in pieces {
            feed.push(piece);
            while let Some(part) = feed.next_part()? {
                found.push(part);
            }
        }
        Ok(found)
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> Part {
        Part::Event(ServerEvent {
            name: name.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        })
    }

    #[test]
    fn blocks_are_events() {
        let cases = [
            (": from 5\n\n", vec![Part::Comment("from 5".into())]),
            (":\n\n", vec![Part::Comment(String::new())]),
            (
                "event: a.b\ndata: {}\nid: 7\n\n",
                vec![event("a.b", "{}", Some("7"))],
            ),
            ("data:x\r\ndata: y\r\n\r\n", vec![event("", "x\ny", None)]),
            ("id: 7\n\ndata\n\n", vec![event("", "", None)]),
            ("retry: 5\nother: 1\nevent: x\n\n", vec![]),
            ("data: cut\nid: 9\n", vec![]),
        ];
        for (text, want) in cases {
            assert_eq!(parts(&[text.as_bytes()]).as_ref(), Ok(&want), "{text}");
        }
        let long = vec![b'x'; BLOCK_MAX / 2 + 1];
        let error = parts(&[b"data:", &long, b"\ndata:", &long]).unwrap_err();
        assert_eq!(error.kind(), "too_long");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_the_same(
            bytes in prop::collection::vec(prop_oneof![
                any::<u8>(), prop::sample::select(b"\n\r: dataideventx".to_vec())], 0..200),
            cuts in prop::collection::vec(0_usize..200, 0..6),
        ) {
            let whole = parts(&[&bytes]);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(parts(&pieces), whole);
        }

        #[test]
        fn what_is_written_reads_back(
            name in "[a-z.]{0,9}",
            data in "[^\r\n]{0,20}(\n[^\r\n]{0,9}){0,2}",
            id in prop::option::of("[0-9]{1,9}"),
        ) {
            let mut text = format!("event: {name}\n");
            for line in data.split('\n') {
                text.push_str(&format!("data: {line}\n"));
            }
            if let Some(id) = &id {
                text.push_str(&format!("id: {id}\n"));
            }
            text.push('\n');
            prop_assert_eq!(parts(&[text.as_bytes()]), Ok(vec![event(&name, &data, id.as_deref())]));
        }
    }
}
