//! An xlsx workbook (ECMA-376): its first sheet, cell by cell, so that a cell far away costs no
//! memory. Before that, what the file says of its size is not believed: it is unpacked once and
//! counted.

use std::io::{Cursor, Read};

use calamine::{DataRef, Reader, Xlsx};
use zip::ZipArchive;

use super::{
    CELL_MAX, CELLS_MAX, COLUMNS_MAX, Cell, CellError, ROWS_MAX, Row, SHARED_MAX, Sheet,
    SheetError, UNPACKED_MAX, too_much,
};

/// Files in a workbook: a plain one has a dozen.
const FILES_MAX: usize = 500;

/// Whole numbers up to here have all their digits: spreadsheets keep 15.
const EXACT_MAX: f64 = 999_999_999_999_999.0;

pub(super) fn read(bytes: &[u8]) -> Result<Sheet, SheetError> {
    weigh(bytes)?;
    let mut book = Xlsx::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
    let names = book.sheet_names();
    let name = names.first().ok_or(SheetError::NoColumns)?;
    let mut cells = book.worksheet_cells_reader(name).map_err(|e| broken(&e))?;
    let mut sheet = Sheet::default();
    let mut row: Option<Row> = None;
    let mut left = CELLS_MAX;
    while let Some(cell) = cells.next_cell().map_err(|e| broken(&e))? {
        let (line, column) = cell.get_position();
        let value = text_of(cell.get_value());
        if value.as_ref().is_ok_and(String::is_empty) {
            continue;
        }
        let number = line.saturating_add(1);
        // Here, and not when the row is whole: a row of long texts is large itself.
        let len = value.as_ref().map_or(0, String::len);
        if len > CELL_MAX {
            return Err(SheetError::Cell { row: number });
        }
        left = left
            .checked_sub(len)
            .ok_or_else(|| too_much("bytes in its cells", CELLS_MAX))?;
        if let Some(full) = row.take_if(|row| row.number != number) {
            sheet.take(full)?;
        }
        let row = row.get_or_insert_with(|| Row {
            number,
            cells: Vec::new(),
        });
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        if column >= COLUMNS_MAX {
            return Err(too_much("columns", COLUMNS_MAX));
        }
        while row.cells.len() <= column {
            row.cells.push(Ok(String::new()));
        }
        if let Some(place) = row.cells.get_mut(column) {
            *place = value;
        }
    }
    if let Some(full) = row {
        sheet.take(full)?;
    }
    if sheet.rows.len() > ROWS_MAX {
        return Err(too_much("rows", ROWS_MAX));
    }
    sheet.finish()
}

/// Unpacks everything and keeps nothing of it.
fn weigh(bytes: &[u8]) -> Result<(), SheetError> {
    let unreadable = |e: &dyn std::fmt::Display| SheetError::Workbook(short(&e.to_string()));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| unreadable(&e))?;
    if archive.len() > FILES_MAX {
        return Err(too_much("files inside", FILES_MAX));
    }
    let mut left = UNPACKED_MAX;
    for at in 0..archive.len() {
        let file = archive.by_index(at).map_err(|e| unreadable(&e))?;
        let name = file.name().map_err(|e| unreadable(&e))?;
        let is_read_at_once = !name.starts_with("xl/worksheets/");
        let mut limited = file.take(left.saturating_add(1));
        let len = std::io::copy(&mut limited, &mut std::io::sink()).map_err(|e| unreadable(&e))?;
        if is_read_at_once && len > SHARED_MAX {
            let (what, max) = ("bytes beside its sheets", SHARED_MAX);
            return Err(SheetError::TooMuch { what, max });
        }
        left = left.checked_sub(len).ok_or(SheetError::TooMuch {
            what: "bytes when it is unpacked",
            max: UNPACKED_MAX,
        })?;
    }
    Ok(())
}

fn broken(error: &calamine::XlsxError) -> SheetError {
    SheetError::Workbook(short(&error.to_string()))
}

/// The library's words, on one line.
fn short(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(120).collect()
}

fn text_of(value: &DataRef<'_>) -> Cell {
    Ok(match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) => text.trim().to_owned(),
        DataRef::SharedString(text) => text.trim().to_owned(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => return number_text(*number),
        DataRef::Bool(truth) => truth.to_string(),
        DataRef::DateTime(_) | DataRef::DateTimeIso(_) | DataRef::DurationIso(_) => {
            return Err(CellError::Date);
        }
        DataRef::Error(_) => return Err(CellError::Formula),
    })
}

/// An IMEI typed as a number comes out as its digits.
fn number_text(number: f64) -> Cell {
    if number.fract() != 0.0 {
        return Ok(number.to_string());
    }
    match number.abs() <= EXACT_MAX {
        true => Ok(format!("{number:.0}")),
        false => Err(CellError::Rounded),
    }
}
