//! A Redis server for a test.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use redis::{Client, Cmd, FromRedisValue};
use tempfile::TempDir;

/// A server that stops with the test.
pub(crate) struct Server {
    folder: TempDir,
    arguments: Vec<String>,
    process: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One that forgets nothing that it has answered.
    pub(crate) fn that_keeps_everything() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<_> = arguments.collect();
        let process = begin(&folder, &arguments);
        let server = Self {
            folder,
            arguments,
            process,
        };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    /// Until it answers.
    pub(crate) fn wait(&self) {
        for _ in 0..1_000 {
            let client = Client::open(self.url()).unwrap();
            let answer = client
                .get_connection()
                .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
            // One that wants to know who is asking has begun.
            if answer.is_ok() || answer.is_err_and(|error| !error.is_io_error()) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not begin");
    }

    /// What it says to a command.
    pub(crate) fn run<T: FromRedisValue>(&self, command: &str) -> T {
        query(&self.url(), command)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.run("KEYS *")
    }

    /// Without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.process = begin(&self.folder, &self.arguments);
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn begin(folder: &TempDir, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", "socket", "--save", ""])
        .args(["--enable-debug-command", "local"])
        .args(arguments)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is needed")
}

/// What the server at this URL says to a command.
pub(crate) fn query<T: FromRedisValue>(url: &str, command: &str) -> T {
    let mut called = Cmd::new();
    for word in command.split(' ') {
        called.arg(word);
    }
    let client = Client::open(url).unwrap();
    called.query(&mut client.get_connection().unwrap()).unwrap()
}
