//! A server that this program starts, and does not leave behind.

use std::{
    ffi::OsString,
    io::{self, ErrorKind},
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

#[cfg(unix)]
use process_wrap::tokio::ProcessGroup;
use process_wrap::tokio::{ChildWrapper, CommandWrap};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::{environment::SECRETS, secret::Secret};

/// What is started, and in which environment.
#[derive(Clone, PartialEq)]
pub(crate) struct Program {
    pub(crate) command: Vec<OsString>,
    /// Variables besides those of this program.
    pub(crate) environment: Vec<(String, Secret)>,
    /// Variables of this program that are not the server's business, besides those that
    /// are no server's.
    pub(crate) hidden: Vec<String>,
    /// Where it is started, instead of where this program was.
    pub(crate) folder: Option<PathBuf>,
}

impl From<Vec<OsString>> for Program {
    fn from(command: Vec<OsString>) -> Self {
        Self {
            command,
            environment: Vec::new(),
            hidden: Vec::new(),
            folder: None,
        }
    }
}

/// A running server. Dropping it kills it, and every process of its group. Where there
/// are no process groups it is only the server itself.
#[derive(Debug)]
pub(crate) struct Server {
    child: Box<dyn ChildWrapper>,
    /// The command, without its arguments, which may hold credentials.
    name: String,
}

impl Server {
    /// Starts the server in a process group of its own: launchers such as `npx`
    /// and `uv run` start the actual server as a child of theirs.
    ///
    /// The error names the program, and none of its arguments.
    pub(crate) fn start(
        command: &[OsString],
        stderr: Stdio,
    ) -> Result<(Self, ChildStdin, ChildStdout), String> {
        Self::start_program(&command.to_vec().into(), stderr)
    }

    /// The same in an environment of its own.
    pub(crate) fn start_program(
        started: &Program,
        stderr: Stdio,
    ) -> Result<(Self, ChildStdin, ChildStdout), String> {
        let [program, arguments @ ..] = started.command.as_slice() else {
            return Err("there is no command after `--`".to_owned());
        };
        let name = program.to_string_lossy().into_owned();
        let mut command = CommandWrap::with_new(program, |command| {
            command.args(arguments);
            for name in SECRETS {
                command.env_remove(name);
            }
            for name in &started.hidden {
                command.env_remove(name);
            }
            for (name, value) in &started.environment {
                command.env(name, value.expose());
            }
            if let Some(folder) = &started.folder {
                command.current_dir(folder);
            }
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(stderr);
        });
        #[cfg(unix)]
        command.wrap(ProcessGroup::leader());
        let child = command.spawn().map_err(|error| match error.kind() {
            _ if started.folder.as_ref().is_some_and(|own| !own.is_dir()) => {
                format!("there is no folder of that name to start `{name}` in")
            }
            ErrorKind::NotFound if name.contains('/') => {
                format!("there is no command `{name}` to start")
            }
            ErrorKind::NotFound => format!(
                "there is no command `{name}` to start: PATH has none, so give its whole path"
            ),
            _ => format!("cannot start `{name}`: {error}"),
        })?;
        let mut server = Self { child, name };
        match (server.child.stdin().take(), server.child.stdout().take()) {
            (Some(stdin), Some(stdout)) => Ok((server, stdin, stdout)),
            _ => Err(format!(
                "cannot talk to `{}`: it has no stdin or stdout",
                server.name
            )),
        }
    }

    /// Its stderr, if it was to be piped and has not been taken yet.
    pub(crate) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr().take()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the server has ended.
    pub(crate) async fn end(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Kills the whole group.
    pub(crate) fn kill(&mut self) {
        // There is nobody left, or nobody whom we may kill.
        let _ = self.child.start_kill();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
