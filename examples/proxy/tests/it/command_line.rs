//! The page about the command line names everything that can be typed, and every variable.

use std::{fs, path::Path};

use crate::support::{self, Ended};

/// How deep commands are in commands.
const DEEPEST: usize = 2;

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/docs/command_line.md");
    fs::read_to_string(page).unwrap()
}

/// Whether a page has this word, and not only a longer one that begins like it.
fn has(page: &str, word: &str) -> bool {
    let goes_on = |rest: &str| {
        let next = rest.chars().next();
        next.is_some_and(|next| next.is_ascii_alphanumeric() || "-_".contains(next))
    };
    page.match_indices(word)
        .any(|(at, _)| !goes_on(&page[at + word.len()..]))
}

async fn help(command: &[String]) -> String {
    let mut typed: Vec<_> = command.iter().map(String::as_str).collect();
    typed.push("--help");
    let ended = Ended::of(support::run(&typed).await);
    assert_eq!(ended.code, Some(0), "{typed:?}: {}", ended.stderr);
    ended.stdout
}

/// The commands below the one whose help this is.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let list = help.split_once("\nCommands:\n").unwrap_or_default().1;
    let list = list.split_once("\nOptions:").unwrap_or((list, "")).0;
    let indented = list.lines().filter_map(|line| line.strip_prefix("  "));
    let names = indented.filter(|line| !line.starts_with(' '));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help")
}

/// The options in this help, and the variables that can be set in their place.
fn options(help: &str) -> impl Iterator<Item = &str> {
    let typed = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let at = line.starts_with('-').then(|| line.find("--"))??;
        line[at..].split([' ', ',', '=']).next()
    });
    let variables = help.split("[env: ").skip(1);
    let variables = variables.filter_map(|rest| rest.split(['=', ']']).next());
    typed.chain(variables)
}

#[tokio::test]
async fn every_command_and_option_is_on_the_page_about_the_command_line() {
    let page = page();
    let (mut waiting, mut seen, mut missing) = (vec![Vec::new()], 0, Vec::new());
    while let Some(command) = waiting.pop() {
        let help = help(&command).await;
        for option in options(&help).filter(|option| *option != "--version") {
            seen += 1;
            if !has(&page, option) {
                missing.push(format!("{} {option}", command.join(" ")));
            }
        }
        assert!(command.len() <= DEEPEST, "{command:?}");
        for name in commands(&help) {
            if !has(&page, &format!("`{name}"))
                && !has(&page, &format!("{} {name}", command.join(" ")))
            {
                missing.push(format!("{} {name}", command.join(" ")));
            }
            waiting.push([command.as_slice(), &[name.to_owned()]].concat());
        }
    }
    assert!(seen > 80, "only {seen} options were found");
    assert_eq!(missing, Vec::<String>::new());
}

/// Names that begin like those of this program, or of what it keeps to.
fn variables(code: &str) -> impl Iterator<Item = &str> {
    let quoted = code.split('"').skip(1).step_by(2);
    quoted.filter(|text| {
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        let begins = ["MCP_POLICY_", "OTEL_", "RUST_LOG", "NO_COLOR"];
        text.bytes().all(is_name)
            && !text.ends_with('_')
            && begins.iter().any(|begin| text.starts_with(begin))
    })
}

#[test]
fn every_variable_is_on_the_page_about_the_command_line() {
    let page = page();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let (mut seen, mut missing) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let code = fs::read_to_string(&path).unwrap();
                seen += variables(&code).count();
                let unknown = variables(&code).filter(|name| !has(&page, name));
                missing.extend(unknown.map(|name| format!("{name} in {}", path.display())));
            }
        }
    }
    assert!(seen > 8, "only {seen} variables were found");
    assert_eq!(missing, Vec::<String>::new());
}
