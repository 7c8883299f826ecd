use proptest::prelude::*;
use rust_xlsxwriter::{Format, Formula, Workbook};

use super::*;

fn texts(cells: &[&str]) -> Vec<Cell> {
    cells.iter().map(|text| Ok((*text).to_owned())).collect()
}

#[test]
fn csv_is_read_whatever_stands_between() {
    let want = Sheet {
        columns: vec!["node_id".into(), "name".into()],
        rows: vec![
            Row {
                number: 2,
                cells: texts(&["861", "a, b"]),
            },
            Row {
                number: 4,
                cells: texts(&["862"]),
            },
        ],
    };
    for text in [
        "node_id,name\r\n861,\"a, b\"\r\n,\r\n862,\r\n",
        "\u{feff}node_id;name\n 861 ;a, b\n;\n862;\n\n",
        "node_id\tname\n861\ta, b\n\t\n862",
    ] {
        assert_eq!(read(text.as_bytes()).as_ref(), Ok(&want), "{text:?}");
    }
}

#[test]
fn a_workbook_is_read_as_it_is_seen() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write(1, 0, "node_id").unwrap();
    sheet.write(1, 1, "timeout").unwrap();
    sheet.write(1, 2, "secure").unwrap();
    sheet.write(2, 0, 867_725_038_317_248_i64).unwrap();
    sheet.write(2, 1, 1.5).unwrap();
    sheet.write(2, 2, true).unwrap();
    sheet.write(4, 0, " n2 ").unwrap();
    sheet.write(5, 0, 1e18).unwrap();
    let date = Format::new().set_num_format("yyyy-mm-dd");
    sheet.write_with_format(5, 1, 45_000, &date).unwrap();
    book.add_worksheet().write(0, 0, "other").unwrap();
    let bytes = book.save_to_buffer().unwrap();
    let got = read(&bytes).unwrap();
    assert_eq!(got.columns, ["node_id", "timeout", "secure"]);
    let row = |number, cells| Row { number, cells };
    let want = [
        row(3, texts(&["867725038317248", "1.5", "true"])),
        row(5, texts(&["n2"])),
        row(6, vec![Err(CellError::Rounded), Err(CellError::Date)]),
    ];
    assert_eq!(got.rows, want);
}

/// What looks like one is text; of what is one, the value that its editor left counts.
#[test]
fn formulas_are_not_calculated() {
    let harm = "=cmd|' /C calc'!A0";
    let csv = format!("node_id,description\nn1,{harm}\n");
    assert_eq!(
        read(csv.as_bytes()).unwrap().rows[0].cells,
        texts(&["n1", harm])
    );
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write(0, 0, "node_id").unwrap();
    sheet.write(1, 0, harm).unwrap();
    let formula = Formula::new("=1+1").set_result("n7");
    sheet.write(2, 0, formula).unwrap();
    let bytes = book.save_to_buffer().unwrap();
    let rows = read(&bytes).unwrap().rows;
    let cells: Vec<_> = rows.into_iter().map(|row| row.cells).collect();
    assert_eq!(cells, [texts(&[harm]), texts(&["n7"])]);
}

#[test]
fn a_cell_far_away_costs_nothing() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write(0, 0, "device_id").unwrap();
    sheet.write(1_048_575, 0, "d1").unwrap();
    let bytes = book.save_to_buffer().unwrap();
    assert_eq!(read(&bytes).unwrap().rows[0].number, 1_048_576);
    let mut book = Workbook::new();
    book.add_worksheet().write(0, 16_383, "far").unwrap();
    let bytes = book.save_to_buffer().unwrap();
    assert_eq!(read(&bytes).unwrap_err().kind(), "too_much");
}

/// A text that is there once and shown by every cell.
#[test]
fn a_text_shared_by_all_cells_is_counted_each_time() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write(0, 0, "device_id").unwrap();
    let text = "d".repeat(CELL_MAX);
    for row in 1..=u32::try_from(CELLS_MAX / CELL_MAX).unwrap() + 1 {
        sheet.write(row, 0, &text).unwrap();
    }
    let bytes = book.save_to_buffer().unwrap();
    assert!(bytes.len() < CELLS_MAX / 100, "{}", bytes.len());
    assert_eq!(read(&bytes).unwrap_err().kind(), "too_much");
    // Nor is one row of them put together before it is weighed.
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write(0, 0, "d".repeat(CELL_MAX + 1)).unwrap();
    sheet.write(0, 16_000, "far").unwrap();
    let bytes = book.save_to_buffer().unwrap();
    assert_eq!(read(&bytes).unwrap_err().kind(), "cell");
}

/// A zip file with one file of zeros.
fn bomb(name: &str, len: u64) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file(name, options).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), len), &mut zip).unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn unreadable_files_are_named() {
    let mut rows = "device_id\n".to_owned();
    rows.push_str(&"d\n".repeat(ROWS_MAX + 1));
    let long = format!("device_id\n{}\n", "d".repeat(CELL_MAX + 1));
    let wide = ",x".repeat(COLUMNS_MAX + 1);
    let cases: [(&str, Vec<u8>, &str); 12] = [
        ("nothing", Vec::new(), "empty"),
        ("blank", b"\n\n".to_vec(), "no_columns"),
        ("latin", b"device_id\nd\xe9\n".to_vec(), "no_text"),
        ("binary", b"device_id\0".to_vec(), "no_text"),
        ("half a zip", b"PK\x03\x04".to_vec(), "workbook"),
        ("other zip", bomb("readme", 10), "workbook"),
        (
            "bomb",
            bomb("xl/worksheets/sheet1.xml", UNPACKED_MAX + 1),
            "too_much",
        ),
        (
            "texts",
            bomb("xl/sharedStrings.xml", SHARED_MAX + 1),
            "too_much",
        ),
        (
            "list of sheets",
            bomb("xl/workbook.xml", SHARED_MAX + 1),
            "too_much",
        ),
        ("rows", rows.into_bytes(), "too_much"),
        ("cell", long.into_bytes(), "cell"),
        ("columns", wide.into_bytes(), "too_much"),
    ];
    for (name, bytes, kind) in cases {
        assert_eq!(read(&bytes).unwrap_err().kind(), kind, "{name}");
    }
}

fn workbook() -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (row, text) in (0..).zip(["device_id", "d1", "d2"]) {
        sheet.write(row, 0, text).unwrap();
    }
    book.save_to_buffer().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(read(&bytes));
        drop(read(&[b"PK\x03\x04", &bytes[..]].concat()));
    }

    #[test]
    fn any_text_is_no_panic(text in "[a-z\",;\t\r\n ]{0,200}") {
        drop(read(text.as_bytes()));
    }

    #[test]
    fn changed_workbooks_are_no_panic(changes in prop::collection::vec(any::<(usize, u8)>(), 1..8)) {
        let mut bytes = workbook();
        for (at, to) in changes {
            let at = at % bytes.len();
            bytes[at] = to;
        }
        drop(read(&bytes));
    }

    #[test]
    fn csv_comes_back(rows in prop::collection::vec(
        prop::collection::vec("[a-z,;\"\t\n]{0,6}[a-z]", 3), 1..20)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let sheet = read(&writer.into_inner().unwrap()).unwrap();
        let got: Vec<Vec<String>> = sheet
            .rows
            .into_iter()
            .map(|row| row.cells.into_iter().map(Result::unwrap).collect())
            .collect();
        let want: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.trim().to_owned()).collect())
            .collect();
        prop_assert_eq!(got, want);
    }
}
