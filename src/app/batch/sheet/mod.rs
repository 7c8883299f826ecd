//! A table out of a file that somebody uploaded: an Excel workbook (its first sheet) or CSV.
//!
//! The first row that is not empty holds the names of the columns, each further one a record; empty
//! ones are left out. Everything is bounded before it takes memory: unpacked bytes, rows, columns,
//! cells. What is wrong with one cell ([`CellError`]) is told with its row; what is wrong with the
//! file ([`SheetError`]) ends the reading. Formats: ECMA-376 (by calamine), RFC 4180 in UTF-8 with
//! or without a byte order mark, separated by comma, semicolon or tab.

mod text;
mod workbook;

#[cfg(test)]
mod tests;

/// Records of one file.
pub const ROWS_MAX: usize = 30_000;

/// Columns of one file.
pub const COLUMNS_MAX: usize = 64;

/// Bytes of one cell: a description of 2048 characters fits in any script.
pub const CELL_MAX: usize = 8192;

/// Bytes of a workbook when it is unpacked: ten times those of one with all rows filled.
pub const UNPACKED_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of each part of a workbook that is no sheet, such as the texts that cells share: it is read
/// at once.
pub const SHARED_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of all cells of a workbook: each may show the same shared text, so a small file may hold
/// far more than it is long.
pub const CELLS_MAX: usize = 32 * 1024 * 1024;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Workbook,
    Csv,
}

/// Columns and records of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sheet {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As an editor numbers it, from 1.
    pub number: u32,
    /// In order of the columns; those at the end may be left out. There may be too many.
    pub cells: Vec<Cell>,
}

/// What a cell says, without blanks around it.
pub type Cell = Result<String, CellError>;

/// Why a cell can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    #[error("is a number of over 15 digits, which spreadsheets round: format the cell as text")]
    Rounded,
    #[error("is a date: format the cell as text")]
    Date,
    #[error("is an error of a formula, takes a value")]
    Formula,
}

/// Why a file can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SheetError {
    #[error("is empty, takes an xlsx workbook or CSV in UTF-8")]
    Empty,
    #[error("is neither an xlsx workbook nor CSV in UTF-8 (byte {at} is no text)")]
    NoText { at: usize },
    #[error("can't be read as an xlsx workbook: {0}")]
    Workbook(String),
    #[error("can't be read, save it anew as xlsx or CSV")]
    Broken,
    #[error("has over {max} {what}, takes up to that many")]
    TooMuch { what: &'static str, max: u64 },
    #[error("row {row} has a cell of over {CELL_MAX} bytes")]
    Cell { row: u32 },
    #[error("row {row} can't be read as CSV: {problem}")]
    Csv { row: u64, problem: String },
    #[error("has no row with the names of columns")]
    NoColumns,
}

impl SheetError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NoText { .. } => "no_text",
            Self::Workbook(_) => "workbook",
            Self::Broken => "broken",
            Self::TooMuch { .. } => "too_much",
            Self::Cell { .. } => "cell",
            Self::Csv { .. } => "csv",
            Self::NoColumns => "no_columns",
        }
    }
}

impl Kind {
    /// By content: a workbook is a zip file.
    pub fn of(bytes: &[u8]) -> Result<Self, SheetError> {
        if bytes.starts_with(b"PK\x03\x04") {
            return Ok(Self::Workbook);
        }
        if bytes.is_empty() {
            return Err(SheetError::Empty);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => match text.find('\0') {
                None => Ok(Self::Csv),
                Some(at) => Err(SheetError::NoText { at }),
            },
            Err(error) => Err(SheetError::NoText {
                at: error.valid_up_to(),
            }),
        }
    }
}

/// Reads a file. Takes long for large ones.
pub fn read(bytes: &[u8]) -> Result<Sheet, SheetError> {
    match Kind::of(bytes)? {
        Kind::Workbook => workbook::read(bytes),
        Kind::Csv => text::read(bytes),
    }
}

impl Sheet {
    /// Takes the next row of the file: the names of columns, or a record.
    fn take(&mut self, row: Row) -> Result<(), SheetError> {
        let is_blank = |cell: &Cell| cell.as_ref().is_ok_and(String::is_empty);
        let mut row = row;
        let filled = row.cells.iter().rposition(|cell| !is_blank(cell));
        let Some(last) = filled else {
            return Ok(());
        };
        row.cells.truncate(last.saturating_add(1));
        if row.cells.len() > COLUMNS_MAX {
            return Err(too_much("columns", COLUMNS_MAX));
        }
        let long = |cell: &Cell| cell.as_ref().is_ok_and(|text| text.len() > CELL_MAX);
        if row.cells.iter().any(long) {
            return Err(SheetError::Cell { row: row.number });
        }
        if self.columns.is_empty() {
            let names = row.cells.into_iter().map(Result::unwrap_or_default);
            self.columns = names.collect();
            return Ok(());
        }
        if self.rows.len() >= ROWS_MAX {
            return Err(too_much("rows", ROWS_MAX));
        }
        self.rows.push(row);
        Ok(())
    }

    fn finish(self) -> Result<Self, SheetError> {
        match self.columns.is_empty() {
            true => Err(SheetError::NoColumns),
            false => Ok(self),
        }
    }
}

fn too_much(what: &'static str, max: usize) -> SheetError {
    SheetError::TooMuch {
        what,
        max: max as u64,
    }
}
