//! Entries for tools that are not offered.

use std::collections::HashSet;

use super::super::diagnostic::{Problem, Problems, join, quote};
use super::super::document::PolicyDocument;
use super::super::index::NameSet;
use super::super::load::nearest;
use super::super::pattern::{Name, Pattern};
use super::Tool;

/// Beyond so many, patterns are not compared with each of the tools.
const MOST_COMPARISONS: usize = 100_000_000;

/// Beyond so many, a tool is not looked for among those that a name could mean.
const MOST_NEAR: usize = 1_000;

pub(super) fn warn(document: &PolicyDocument, tools: &[Tool<'_>], problems: &mut Problems) {
    let hide = document.hide.iter().enumerate().map(|(index, text)| Named {
        text,
        place: join("/hide", &index.to_string()),
        is_key: false,
    });
    let entries = document.tools.keys().map(|text| Named {
        text,
        place: join("/tools", text),
        is_key: true,
    });
    let mut names = Vec::new();
    let mut patterns = Vec::new();
    for named in hide.chain(entries) {
        match Name::parse(named.text) {
            Ok(Name::Exact(name)) => names.push((named, name)),
            Ok(Name::Pattern(pattern)) => patterns.push((named, pattern)),
            Err(_) => {}
        }
    }
    let dispatches = document.tools.values().any(|rule| rule.unwrap.is_some());
    warn_of_names(&names, tools, dispatches, problems);
    // What a dispatcher calls need not be listed.
    if !dispatches {
        warn_of_patterns(patterns, tools, problems);
    }
}

/// A name or pattern of the document.
struct Named<'d> {
    text: &'d str,
    place: String,
    is_key: bool,
}

impl Named<'_> {
    fn problem(&self, message: String) -> Problem {
        if self.is_key {
            Problem::at_key(self.place.clone(), message)
        } else {
            Problem::at_value(self.place.clone(), message)
        }
    }
}

/// Of a document with a dispatcher only what is probably misspelt is said.
fn warn_of_names(
    names: &[(Named<'_>, String)],
    tools: &[Tool<'_>],
    dispatches: bool,
    problems: &mut Problems,
) {
    let offered: HashSet<&str> = tools.iter().map(|tool| tool.name).collect();
    let missing = names
        .iter()
        .filter(|(_, name)| !offered.contains(name.as_str()));
    for (named, name) in missing.take(Problems::MOST) {
        let candidates = tools.iter().map(|tool| tool.name).take(MOST_NEAR);
        let near = nearest(name, candidates);
        if near.is_none() && dispatches {
            continue;
        }
        problems.report(|| {
            let problem = named.problem(format!("the server offers no tool {}", quote(name)));
            match near {
                Some(near) => problem.with_help(format!("did you mean {}?", quote(near))),
                None => problem,
            }
        });
    }
}

fn warn_of_patterns(
    patterns: Vec<(Named<'_>, Pattern)>,
    tools: &[Tool<'_>],
    problems: &mut Problems,
) {
    if patterns.len().saturating_mul(tools.len()) > MOST_COMPARISONS {
        return;
    }
    let mut places = Vec::new();
    let mut set = Vec::new();
    for (index, (named, pattern)) in patterns.into_iter().enumerate() {
        places.push(named);
        set.push((Name::Pattern(pattern), index));
    }
    let set: NameSet<usize> = set.into_iter().collect();
    let matching: HashSet<usize> = tools
        .iter()
        .flat_map(|tool| set.patterns(tool.name.as_bytes()).copied())
        .collect();
    for (index, named) in places.iter().enumerate() {
        if !matching.contains(&index) {
            let pattern = quote(named.text);
            problems.report(|| {
                named.problem(format!("the server offers no tool that {pattern} matches"))
            });
        }
    }
}
