//! Every row has a test.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{answers, cases, encodings, requests};

fn rows() -> impl Iterator<Item = String> {
    [('r', 32), ('w', 14), ('t', 44)]
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |row| format!("{letter}{row:02}")))
}

/// The rows with which the names of tests begin.
fn rows_with_a_test() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rows = BTreeSet::new();
    let mut folders = vec![root.join("tests"), root.join("examples/proxy/tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(path).unwrap();
                rows.extend(source.lines().filter_map(row_of_line));
            }
        }
    }
    rows
}

/// The row of the test that a line begins: a function, or a name that the macro
/// of [`requests`] makes one of.
fn row_of_line(line: &str) -> Option<String> {
    let line = line.trim_start();
    let name = line
        .strip_prefix("async fn ")
        .or_else(|| line.strip_prefix("fn "))
        .unwrap_or(line);
    let (row, _) = name.split_once('_')?;
    let digits = row.strip_prefix(['r', 't', 'w'])?;
    (digits.len() == 2 && digits.parse::<u8>().is_ok()).then(|| row.to_owned())
}

#[test]
fn every_row_has_a_test() {
    let rows: BTreeSet<_> = rows().collect();
    assert_eq!(rows_with_a_test(), rows);
}

#[test]
fn every_case_belongs_to_a_test() {
    let check = |what: &str, rows: &[String], tested: &[&str]| {
        assert!(!rows.is_empty());
        for row in rows {
            assert!(tested.contains(&row.as_str()), "{row}: {what}");
        }
    };
    for case in cases::File::read().cases {
        check(&case.title, &case.rows, requests::ROWS);
    }
    for encoding in encodings::File::read().encodings {
        check(&encoding.name, &encoding.rows, answers::ROWS);
    }
}
