//! Tools of real servers, labelled by hand, and the policies recommended for them.
//! See the `README.md` beside this.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod labels;
mod poisoned;
mod recommended;

use std::collections::BTreeMap;

use mcp_policy::{RiskCategory, classify};

use labels::{Half, Label};

/// How often each category was taken for which.
fn told(half: Half) -> BTreeMap<(RiskCategory, RiskCategory), usize> {
    let labels = labels::all();
    let siblings = labels::siblings(&labels);
    let mut told = BTreeMap::new();
    for label in labels.iter().filter(|label| label.half() == half) {
        let found = classify(&label.tool, &siblings[&label.server]).category();
        *told.entry((label.category, found)).or_default() += 1;
        if found != label.category {
            println!("{label} is {}, and was called {found}", label.category);
        }
    }
    told
}

fn share_right(told: &BTreeMap<(RiskCategory, RiskCategory), usize>) -> f64 {
    let right = told.iter().filter(|((is, called), _)| is == called);
    let right: usize = right.map(|(_, count)| count).sum();
    let all: usize = told.values().sum();
    right as f64 / all as f64
}

fn print_table(told: &BTreeMap<(RiskCategory, RiskCategory), usize>) {
    print!("{:12}", "is \\ called");
    for called in RiskCategory::ALL {
        print!("{called:>12}", called = called.as_str());
    }
    println!();
    for is in RiskCategory::ALL {
        let row: Vec<usize> = RiskCategory::ALL
            .iter()
            .map(|called| told.get(&(is, *called)).copied().unwrap_or_default())
            .collect();
        if row.iter().any(|count| *count > 0) {
            print!("{:12}", is.as_str());
            row.iter().for_each(|count| print!("{count:>12}"));
            println!();
        }
    }
}

/// Whether nine of ten are right, and nothing that is grave passes for a look.
fn assert_good(half: Half) {
    let told = told(half);
    print_table(&told);
    let right = share_right(&told);
    println!("{:.1} % are right", right * 100.0);
    assert!(right >= 0.9, "{:.1} %", right * 100.0);
    for grave in [RiskCategory::Destructive, RiskCategory::Financial] {
        let passed = told.get(&(grave, RiskCategory::Read));
        assert_eq!(passed, None, "{grave} tools were called read");
    }
}

#[test]
fn nine_of_ten_tools_that_were_kept_for_the_test_are_called_what_they_are() {
    assert_good(Half::Kept);
}

#[test]
fn nine_of_ten_tools_that_the_words_were_made_with_are_called_what_they_are() {
    assert_good(Half::Worked);
}

#[test]
fn there_are_enough_tools_of_enough_servers() {
    let labels = labels::all();
    assert!(labels.len() >= 300);
    assert!(labels::siblings(&labels).len() >= 20);
    let kept = |label: &&Label| label.half() == Half::Kept;
    assert!(labels.iter().filter(kept).count() >= labels.len() / 3);
    assert_eq!(
        labels
            .iter()
            .filter(|label| label.server == "kestra")
            .count(),
        39
    );
}
