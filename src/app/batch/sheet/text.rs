//! CSV (RFC 4180) in UTF-8: comma, semicolon or tab, whichever the first line has most of.

use super::{Row, Sheet, SheetError};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads text that [`super::Kind::of`] found to be some.
pub(super) fn read(bytes: &[u8]) -> Result<Sheet, SheetError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .delimiter(separator(bytes))
        .from_reader(bytes);
    let mut sheet = Sheet::default();
    let mut lines = Lines { at: 0, line: 1 };
    for record in reader.records() {
        let record = record.map_err(|error| SheetError::Csv {
            row: error.position().map_or(0, csv::Position::line),
            problem: match error.kind() {
                csv::ErrorKind::Utf8 { .. } => "it is no UTF-8".to_owned(),
                _ => "its quotes don't match".to_owned(),
            },
        })?;
        let at = record.position().map_or(0, csv::Position::byte);
        sheet.take(Row {
            number: lines.reach(bytes, usize::try_from(at).unwrap_or(usize::MAX)),
            cells: record.iter().map(|cell| Ok(cell.to_owned())).collect(),
        })?;
    }
    sheet.finish()
}

/// The line that a record begins in. The reader's own is that of the end of the record before.
struct Lines {
    at: usize,
    line: u32,
}

impl Lines {
    fn reach(&mut self, bytes: &[u8], to: usize) -> u32 {
        let ends = bytes.get(to..).unwrap_or_default().iter();
        let ends = ends.take_while(|b| b"\r\n".contains(b)).count();
        let to = to.saturating_add(ends).min(bytes.len());
        let passed = bytes.get(self.at..to).unwrap_or_default();
        let passed = passed.iter().filter(|b| **b == b'\n').count();
        self.at = to;
        self.line = self
            .line
            .saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        self.line
    }
}

/// Spreadsheets write what the computer's language has between numbers.
fn separator(bytes: &[u8]) -> u8 {
    let lines = bytes.split(|b| *b == b'\n');
    let mut full = lines.filter(|line| !line.trim_ascii().is_empty());
    let first = full.next().unwrap_or_default();
    let count = |mark: u8| first.iter().filter(|b| **b == mark).count();
    let marks = [b'\t', b';', b','];
    marks
        .into_iter()
        .max_by_key(|mark| count(*mark))
        .unwrap_or(b',')
}
