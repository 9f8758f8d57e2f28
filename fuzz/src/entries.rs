//! What must be the same in an answer before and after it was filtered.

use std::collections::BTreeMap;

use mcp_policy::fuzzing::Filter;
use serde_json::value::RawValue;

use crate::clients::LISTS;
use crate::tree::{Tree, is_same};

type Members<'t> = BTreeMap<String, &'t RawValue>;

/// Only entries of lists have gone, and of those that stay each byte is the
/// same. Says nothing of texts that `serde_json` does not read.
pub fn assert_nothing_else_changed(filter: &Filter, before: &[u8], after: &[u8]) {
    if let (Ok(before), Ok(after)) = (
        serde_json::from_slice::<&RawValue>(before),
        serde_json::from_slice::<&RawValue>(after),
    ) {
        match (items(before), items(after)) {
            (Some(before), Some(after)) => {
                // What is cut out of several messages would not be passed on alone.
                let stays =
                    |message: &&&RawValue| filter.filter(message.get().as_bytes()).is_some();
                let before: Vec<_> = before.iter().filter(stays).collect();
                assert_eq!(before.len(), after.len());
                for (before, after) in before.into_iter().zip(after) {
                    message(filter, before, after);
                }
            }
            _ => message(filter, before, after),
        }
    }
}

fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

fn members(value: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(value.get()).ok()
}

fn message(filter: &Filter, before: &RawValue, after: &RawValue) {
    each_member(before, after, None, |key, before, after| match key {
        "result" => result(filter, before, after, 3),
        "params" => each_member(before, after, None, |key, before, after| match key {
            "result" => result(filter, before, after, 3),
            _ => same(before, after),
        }),
        _ => same(before, after),
    });
}

fn result(filter: &Filter, before: &RawValue, after: &RawValue, nested: u32) {
    if nested == 0 {
        return same(before, after);
    }
    let gone = filter.strips_instructions().then_some("instructions");
    each_member(before, after, gone, |key, before, after| match key {
        "result" => result(filter, before, after, nested - 1),
        "cacheScope" => assert!(before.get() == after.get() || after.get() == "\"private\""),
        "ttlMs" => assert!(before.get() == after.get() || after.get() == "60000"),
        _ if filter.may_hide(key) == Some(true) => list(filter, key, before, after),
        _ => same(before, after),
    });
}

fn list(filter: &Filter, list: &str, before: &RawValue, after: &RawValue) {
    let (Some(before), Some(after)) = (items(before), items(after)) else {
        return same(before, after);
    };
    let naming = LISTS.iter().find(|row| row.0 == list);
    let naming = naming.map(|row| row.1).unwrap_or_default();
    let mut after = after.into_iter().map(RawValue::get).peekable();
    for entry in before {
        if after.next_if_eq(&entry.get()).is_none() {
            let stays = must_stay(filter, list, naming, entry);
            assert!(!stays, "{} has gone from {list}", entry.get());
        }
    }
    assert_eq!(after.next(), None, "{list}");
}

/// Whether an entry has one name for all readers, and is shown.
fn must_stay(filter: &Filter, list: &str, naming: &str, entry: &RawValue) -> bool {
    let Ok(Tree::Object(members)) = serde_json::from_str(entry.get()) else {
        return false;
    };
    let (naming, others): (Vec<_>, Vec<_>) = members.iter().partition(|(key, _)| key == naming);
    let [(_, Tree::String(name))] = naming[..] else {
        return false;
    };
    let looks_alike = |key: &String| {
        let letters: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
        !key.is_ascii() || is_same(&letters, naming[0].0.as_str())
    };
    filter.shows(list, name) && !others.iter().any(|(key, _)| looks_alike(key))
}

fn each_member(
    before: &RawValue,
    after: &RawValue,
    gone: Option<&str>,
    mut check: impl FnMut(&str, &RawValue, &RawValue),
) {
    let (before, after) = match (members(before), members(after)) {
        (Some(mut before), Some(after)) => {
            before.retain(|key, _| Some(&**key) != gone);
            (before, after)
        }
        // Half a surrogate pair in a name is read by others only.
        (None, None) if before.get().starts_with('{') => return,
        _ => return same(before, after),
    };
    assert!(before.keys().eq(after.keys()));
    for (key, value) in &before {
        check(key, value, after[key]);
    }
}

fn same(before: &RawValue, after: &RawValue) {
    assert_eq!(before.get(), after.get());
}
