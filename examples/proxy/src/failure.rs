//! Why the program did not do what it was asked for, and which exit code says so.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use mcp_policy::LoadError;

use crate::diagnostics::{self, Report};

/// What kept a command from doing what it is for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that cannot be: exit code 2, as clap's own errors.
    Usage(String),
    /// The policy does not load: exit code 2.
    Policy {
        /// The file, as it was named.
        path: PathBuf,
        /// What the library found.
        error: Box<LoadError>,
    },
    /// The configuration does not load: exit code 2.
    Config(Box<Report>),
    /// What the command is given besides the policy cannot be used: exit code 2.
    Input(String),
    /// Anything else: exit code 1.
    Start(String),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn start(text: impl Into<String>) -> Self {
        Self::Start(text.into())
    }

    pub(crate) fn input(text: impl Into<String>) -> Self {
        Self::Input(text.into())
    }

    pub(crate) fn policy(path: &Path, error: LoadError) -> Self {
        Self::Policy {
            path: path.to_owned(),
            error: Box::new(error),
        }
    }

    /// What it says in a log.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Usage(text) | Self::Input(text) | Self::Start(text) => text.clone(),
            Self::Policy { error, .. } => error.to_string(),
            Self::Config(_) => "the configuration does not load".to_owned(),
        }
    }

    /// Prints the failure and gives the exit code that belongs to it.
    ///
    /// With `json` a policy or configuration that does not load is a JSON array on stdout and
    /// nothing on stderr, so that an editor or a CI job can read it.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let colour = diagnostics::colours(io::stderr().is_terminal());
        // A closed stdout or stderr is no reason to lose the exit code.
        let _ = match self {
            Self::Usage(text) | Self::Input(text) | Self::Start(text) => {
                writeln!(io::stderr(), "{}", diagnostics::sentence(text, colour))
            }
            Self::Policy { path, error } if json => {
                writeln!(io::stdout(), "{}", diagnostics::json(path, error))
            }
            Self::Config(error) if json => writeln!(io::stdout(), "{}", error.json()),
            Self::Config(error) => writeln!(io::stderr(), "{}", error.text(colour)),
            Self::Policy { path, error } => {
                writeln!(io::stderr(), "{}", diagnostics::text(path, error, colour))
            }
        };
        match self {
            Self::Usage(_) | Self::Input(_) | Self::Policy { .. } | Self::Config(_) => {
                ExitCode::from(2)
            }
            Self::Start(_) => ExitCode::FAILURE,
        }
    }
}
