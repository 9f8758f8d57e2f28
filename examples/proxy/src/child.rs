//! A server that this program starts, and does not leave behind.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, ErrorKind},
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

#[cfg(unix)]
use process_wrap::tokio::ProcessGroup;
use process_wrap::tokio::{ChildWrapper, CommandWrap};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::admin::{TOKEN, TOKENS};

/// What a server finds besides its arguments and the environment of this program.
#[derive(Default)]
pub(crate) struct Surroundings {
    /// Environment variables, which may hold credentials.
    pub(crate) variables: BTreeMap<String, String>,
    /// Where it is started, instead of where this program was.
    pub(crate) folder: Option<PathBuf>,
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
        Self::start_in(command, &Surroundings::default(), stderr)
    }

    /// The same, with what else it is to find.
    pub(crate) fn start_in(
        command: &[OsString],
        around: &Surroundings,
        stderr: Stdio,
    ) -> Result<(Self, ChildStdin, ChildStdout), String> {
        let [program, arguments @ ..] = command else {
            return Err("there is no command after `--`".to_owned());
        };
        let name = program.to_string_lossy().into_owned();
        let mut command = CommandWrap::with_new(program, |command| {
            command
                .args(arguments)
                // Whoever has one of these decides about what the server is asked for.
                .env_remove(TOKENS)
                .env_remove(TOKEN)
                .envs(&around.variables)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(stderr);
            if let Some(folder) = &around.folder {
                command.current_dir(folder);
            }
        });
        #[cfg(unix)]
        command.wrap(ProcessGroup::leader());
        let child = command.spawn().map_err(|error| match error.kind() {
            _ if around.folder.as_ref().is_some_and(|own| !own.is_dir()) => {
                format!("there is no folder of that name to start `{name}` in")
            }
            ErrorKind::NotFound => format!("there is no command `{name}` to start"),
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
