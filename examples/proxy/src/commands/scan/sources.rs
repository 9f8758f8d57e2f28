//! The servers that are to be asked.

use std::{ffi::OsStr, path::Path};

use super::config;
use crate::{child::Program, cli::ScanArgs, failure::Failure, secret::Secret, upstream::Target};

/// The most servers in one go.
const MOST_SERVERS: usize = 256;

/// A server, and how it is asked.
pub(super) struct Source {
    /// What it is called in everything that is said of it.
    pub(super) name: String,
    pub(super) way: Way,
}

/// How a server is asked.
pub(super) enum Way {
    Http(Box<Target>),
    Stdio(Box<Start>),
    /// It cannot be, because what is said of it cannot be used.
    None(String),
}

/// A server to start.
pub(super) struct Start {
    pub(super) program: Program,
    /// The program as it was said, without what variables were filled in with.
    pub(super) said: String,
    /// Whether its stderr is shown: only of a server that is asked alone.
    pub(super) is_heard: bool,
}

impl Start {
    /// The same error, with the program as it was said.
    pub(super) fn told(&self, error: &str) -> String {
        let program = self
            .program
            .command
            .first()
            .map_or(OsStr::new(""), |first| first);
        let quoted = |program: &str| format!("`{program}`");
        error.replace(&quoted(&program.to_string_lossy()), &quoted(&self.said))
    }
}

/// All that are meant, each with a name of its own.
pub(super) fn of(args: &ScanArgs) -> Result<Vec<Source>, Failure> {
    let servers = &args.servers;
    let mut sources = Vec::new();
    if let Some(url) = &servers.upstream {
        let headers = args.headers.iter().map(Secret::expose);
        let target = Target::new(url.expose(), headers).map_err(Failure::Usage)?;
        sources.push(Source {
            name: target.authority().to_owned(),
            way: Way::Http(Box::new(target)),
        });
    }
    if let Some(program) = servers.command.first() {
        let start = Start {
            program: servers.command.clone().into(),
            said: program.to_string_lossy().into_owned(),
            is_heard: servers.client_configs.is_empty() && sources.is_empty(),
        };
        sources.push(Source {
            name: program_name(program),
            way: Way::Stdio(Box::new(start)),
        });
    }
    sources.extend(config::sources(&servers.client_configs)?);
    if sources.len() > MOST_SERVERS {
        return Err(Failure::input(format!(
            "these are more than {MOST_SERVERS} servers: scan fewer at a time"
        )));
    }
    name_apart(&mut sources);
    Ok(sources)
}

/// A program, without the folder that it is in.
fn program_name(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}

/// Two servers can be called the same in two files.
fn name_apart(sources: &mut [Source]) {
    let mut names = std::collections::HashSet::new();
    for source in sources {
        let mut name = source.name.clone();
        let mut number = 2_usize;
        while !names.insert(name.clone()) {
            name = format!("{} ({number})", source.name);
            number = number.saturating_add(1);
        }
        source.name = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_one_name_are_told_apart() {
        let mut sources = ["a", "a", "a (2)", "b"].map(|name| Source {
            name: name.to_owned(),
            way: Way::None(String::new()),
        });
        name_apart(&mut sources);
        let names = sources.map(|source| source.name);
        assert_eq!(names, ["a", "a (2)", "a (2) (2)", "b"]);
    }
}
