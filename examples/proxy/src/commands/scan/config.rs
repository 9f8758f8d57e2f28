//! The servers in the configuration of an MCP client: `mcpServers` of Claude, Cursor
//! and many others, `servers` of VS Code.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::input,
    sources::{Source, Start, Way},
};
use crate::{
    child::Program,
    failure::Failure,
    secret::Secret,
    upstream::{self, Target},
};

/// The largest configuration: some clients keep much else in theirs.
const LARGEST: usize = 16 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    mcp_servers: Option<BTreeMap<String, Value>>,
    servers: Option<BTreeMap<String, Value>>,
}

/// A server as it stands there, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    cwd: Option<String>,
    #[serde(alias = "httpUrl", alias = "serverUrl")]
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(rename = "type", alias = "transport")]
    kind: Option<String>,
    #[serde(default)]
    disabled: bool,
}

/// The servers of all these files that are not switched off, ordered by their names in
/// each; one that is in several files in the same way is there once.
pub(super) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut known: Vec<(String, Value)> = Vec::new();
    for path in paths {
        for server in servers(path).map_err(Failure::Input)? {
            if !known.contains(&server) {
                known.push(server);
            }
        }
    }
    let sources = known.into_iter().filter_map(|(name, entry)| {
        let way = match serde_json::from_value::<Entry>(entry) {
            Ok(entry) if entry.disabled => return None,
            Ok(entry) => way(entry, &variable).unwrap_or_else(Way::None),
            // The error would repeat a value.
            Err(_) => Way::None("what the configuration says of it cannot be read".to_owned()),
        };
        Some(Source { name, way })
    });
    Ok(sources.collect())
}

fn servers(path: &Path) -> Result<Vec<(String, Value)>, String> {
    let text = input::read(path, LARGEST)?;
    let name = path.display();
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("{name} is not JSON: it cannot be read at line {line}, column {column}")
    })?;
    let file: Option<File> = serde_json::from_value(value).ok();
    let servers = file.and_then(|file| file.mcp_servers.or(file.servers));
    let servers = servers.ok_or_else(|| {
        format!(
            "there are no servers in {name}: expected an object with a member `mcpServers` or \
             `servers`"
        )
    })?;
    Ok(servers.into_iter().collect())
}

/// The environment variable of this name.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn way(entry: Entry, variable: &dyn Fn(&str) -> Option<String>) -> Result<Way, String> {
    let filled = |text: &String| filled(text, variable);
    match (&entry.url, &entry.command) {
        _ if entry.kind.as_deref() == Some("sse") => Err(
            "it speaks the transport of 2024-11-05, HTTP with SSE, in which this program \
                 asks nobody"
                .to_owned(),
        ),
        (Some(url), None) => {
            let mut headers = HeaderMap::new();
            for (name, value) in &entry.headers {
                let header = upstream::header(name, &filled(value)?);
                let (name, value) = header.map_err(|what| format!("`headers`: {what}"))?;
                headers.append(name, value);
            }
            let target = Target::with(&filled(url)?, headers);
            let target = target.map_err(|what| format!("`url` {what}"))?;
            Ok(Way::Http(Box::new(target)))
        }
        (None, Some(command)) => {
            let said = command.clone();
            let words = std::iter::once(command).chain(&entry.args);
            let command: Result<Vec<OsString>, String> =
                words.map(|word| filled(word).map(OsString::from)).collect();
            let variables = entry.env.iter().map(|(name, value)| {
                let value = match value {
                    Value::String(text) => filled(text)?,
                    other => other.to_string(),
                };
                Ok((name.clone(), Secret::new(value)))
            });
            let variables: Result<_, String> = variables.collect();
            let folder = entry.cwd.as_ref().map(filled).transpose()?;
            Ok(Way::Stdio(Box::new(Start {
                said,
                program: Program {
                    command: command?,
                    environment: variables?,
                    hidden: Vec::new(),
                    folder: folder.map(PathBuf::from),
                },
                is_heard: false,
            })))
        }
        _ => Err("the configuration gives neither a `command` alone nor a `url` alone".to_owned()),
    }
}

/// A text with the environment variables that it names as clients do: `${NAME}`,
/// `${NAME:-otherwise}`, and `${env:NAME}`.
fn filled(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled += before;
        let Some((named, behind)) = after.split_once('}') else {
            filled += "${";
            rest = after;
            continue;
        };
        let (name, otherwise) = match named.split_once(":-") {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (named, None),
        };
        let name = name.strip_prefix("env:").unwrap_or(name);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            // `${input:token}`, which a client asks its user for, and other things.
            return Err("its configuration needs what only the client knows".to_owned());
        }
        let value = variable(name).or_else(|| otherwise.map(str::to_owned));
        filled += &value.ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
        rest = behind;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "${hunter2}".to_owned())
    }

    fn read(entry: Value) -> Result<Way, String> {
        way(serde_json::from_value(entry).unwrap(), &known)
    }

    #[test]
    fn variables_are_filled_in_as_clients_do() {
        for (text, expected) in [
            ("a", Ok("a")),
            ("Bearer ${TOKEN}", Ok("Bearer ${hunter2}")),
            ("${env:TOKEN}!", Ok("${hunter2}!")),
            ("${OTHER:-x}${OTHER:-}", Ok("x")),
            ("${TOKEN:-x}", Ok("${hunter2}")),
            ("${cut $TOKEN $", Ok("${cut $TOKEN $")),
            (
                "${OTHER}",
                Err("the environment variable `OTHER` is not set"),
            ),
            (
                "${input:token}",
                Err("its configuration needs what only the client knows"),
            ),
        ] {
            let filled = filled(text, &known);
            assert_eq!(
                filled.as_ref().map(String::as_str).map_err(String::as_str),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_command_keeps_its_arguments_variables_and_folder() {
        let entry = json!({
            "type": "stdio", "command": "npx", "args": ["-y", "${TOKEN}"],
            "env": { "A": "${TOKEN}", "B": 1 }, "cwd": "/tmp", "timeout": 5,
        });
        let Ok(Way::Stdio(start)) = read(entry) else {
            panic!("no command");
        };
        let program = &start.program;
        assert_eq!(program.command, ["npx", "-y", "${hunter2}"]);
        let variables = program.environment.iter();
        let variables: Vec<_> = variables
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        assert_eq!(variables, [("A", "${hunter2}"), ("B", "1")]);
        assert_eq!(program.folder, Some(PathBuf::from("/tmp")));
    }

    #[test]
    fn an_address_may_be_called_otherwise() {
        for name in ["url", "httpUrl", "serverUrl"] {
            let entry = json!({ name: "http://localhost:1/mcp", "headers": { "a": "${TOKEN}" } });
            let Ok(Way::Http(target)) = read(entry) else {
                panic!("{name}");
            };
            assert_eq!(target.authority(), "localhost:1");
            let request = target.request(http::Method::POST);
            assert_eq!(request.headers_ref().unwrap()["a"], "${hunter2}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_values() {
        for (entry, expected) in [
            (json!({}), "neither"),
            (
                json!({ "command": "a", "url": "http://hunter2/" }),
                "neither",
            ),
            (
                json!({ "type": "sse", "url": "http://hunter2/" }),
                "2024-11-05",
            ),
            (
                json!({ "url": "http://a:hunter2@b/" }),
                "`url` holds a user name",
            ),
            (
                json!({ "url": "http://b/", "headers": { "a": "hunter2\u{1}" } }),
                "`headers`: the value of `a`",
            ),
        ] {
            let Err(error) = read(entry.clone()) else {
                panic!("{entry}");
            };
            assert!(
                error.contains(expected) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
