//! A server that is started to be asked.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::BufReader,
    process::{ChildStdin, ChildStdout},
    time::timeout,
};

use super::{Answer, LONGEST_ANSWER, Wrong, broken, request};
use crate::{
    child::{Program, Server},
    lines::{self, Line, LineWriter},
};

/// How long the server may take to end, once its stdin is closed.
const GRACE: Duration = Duration::from_secs(2);

/// Whichever pipe shows it first.
const ENDED: &str = "it ended before it answered";

pub(super) struct Connection {
    server: Server,
    stdin: LineWriter<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    last_id: u64,
}

impl Connection {
    pub(super) fn start(program: &Program, stderr: Stdio) -> Result<Self, String> {
        let (server, stdin, stdout) = Server::start_program(program, stderr)?;
        Ok(Self {
            server,
            stdin: LineWriter::new(stdin),
            stdout: BufReader::new(stdout),
            last_id: 0,
        })
    }

    pub(super) fn name(&self) -> &str {
        self.server.name()
    }

    pub(super) async fn request(&mut self, method: &str, params: Value) -> Result<Answer, Wrong> {
        self.last_id = self.last_id.saturating_add(1);
        self.send(&request(self.last_id, method, &params)).await?;
        loop {
            let line = lines::next(&mut self.stdout, LONGEST_ANSWER as u64).await;
            let line = line.map_err(|error| broken(format!("cannot read from it: {error}")))?;
            let message = match line {
                None => return Err(broken(ENDED)),
                Some(Line::TooLong) => return Err(broken("a line of its output is too long")),
                Some(Line::Whole(message)) => message,
            };
            // A log, a notification, or a question of its own.
            match Answer::read(&message) {
                Some(answer) if answer.answers(self.last_id) => return Ok(answer),
                _ => {}
            }
        }
    }

    pub(super) async fn send(&self, message: &Value) -> Result<(), Wrong> {
        let sent = self.stdin.write(message.to_string().into_bytes()).await;
        sent.map_err(|_| broken(ENDED))
    }

    /// Closes the server's stdin, and kills what is left then.
    pub(super) async fn leave(self) {
        let Self {
            mut server, stdin, ..
        } = self;
        drop(stdin);
        let _ = timeout(GRACE, server.end()).await;
    }
}
