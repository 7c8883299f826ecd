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
    for record in reader.records() {
        let record = record.map_err(|error| SheetError::Csv {
            row: error.position().map_or(0, csv::Position::line),
            problem: match error.kind() {
                csv::ErrorKind::Utf8 { .. } => "it is no UTF-8".to_owned(),
                _ => "its quotes don't match".to_owned(),
            },
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        sheet.take(Row {
            number: u32::try_from(line).unwrap_or(u32::MAX),
            cells: record.iter().map(|cell| Ok(cell.to_owned())).collect(),
        })?;
    }
    sheet.finish()
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
