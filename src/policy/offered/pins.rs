//! Pins that are not those of the tools that the server offers.

use std::collections::HashMap;

use serde_json::Value;

use super::super::diagnostic::{Problem, Problems, join, quote};
use super::super::document::{Pins, PolicyDocument};

pub(super) fn warn(document: &PolicyDocument, tools: &[Value], problems: &mut Problems) {
    let pins = document.pins.as_ref().and_then(|pins| pins.tools.as_ref());
    let Some(pins) = pins else {
        return;
    };
    let named = |tool| Some((Value::as_str(Value::get(tool, "name")?)?, tool));
    let offered: HashMap<&str, &Value> = tools.iter().filter_map(named).collect();
    for (name, pin) in pins {
        let place = || join("/pins/tools", name);
        let (message, help) = match offered.get(name.as_str()) {
            None => (
                format!("the server offers no tool {} any more", quote(name)),
                "take it out, or find out where it has gone",
            ),
            Some(tool) => match Pins::digest_of(&tool.to_string()) {
                Ok(digest) if digest == *pin => continue,
                Ok(digest) => {
                    problems.report(|| {
                        let message =
                            format!("the definition of {} is another one now", quote(name));
                        Problem::at_value(place(), message)
                            .with_help(format!("look at it; if it is right, pin \"{digest}\""))
                    });
                    continue;
                }
                Err(_) => (
                    format!("the definition of {} cannot be read", quote(name)),
                    "readers take it for different things: tell whoever makes the server",
                ),
            },
        };
        problems.report(|| Problem::at_value(place(), message).with_help(help));
    }
    for (name, tool) in tools.iter().filter_map(named) {
        let digest = Pins::digest_of(&tool.to_string());
        if let (false, Ok(digest)) = (pins.contains_key(name), digest) {
            problems.report(|| {
                let message = format!("the tool {} is not pinned, so it is refused", quote(name));
                Problem::at_value("/pins/tools".to_owned(), message)
                    .with_help(format!("look at it; if it is right, pin \"{digest}\""))
            });
        }
    }
}
