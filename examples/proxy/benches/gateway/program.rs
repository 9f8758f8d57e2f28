//! What the gateway is measured with, by the script `run` beside it.

// Modules of the proxy, of which not everything is needed here.
#[path = "../../src/access.rs"]
#[allow(dead_code)]
mod access;
#[path = "../../src/answers.rs"]
mod answers;
#[path = "../../src/connect.rs"]
#[allow(dead_code)]
mod connect;
#[path = "../../src/gateway.rs"]
#[allow(dead_code)]
mod gateway;
#[path = "../../src/headers.rs"]
#[allow(dead_code)]
mod headers;
#[path = "../../src/lock.rs"]
#[allow(dead_code)]
mod lock;
#[path = "../../src/message.rs"]
#[allow(dead_code)]
mod message;
#[path = "../../src/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "../../src/shutdown.rs"]
#[allow(dead_code)]
mod shutdown;
#[path = "../../src/stream.rs"]
mod stream;
#[path = "../../src/traces.rs"]
#[allow(dead_code)]
mod traces;
#[path = "../../src/turns.rs"]
#[allow(dead_code)]
mod turns;
#[path = "../../src/upstream.rs"]
#[allow(dead_code)]
mod upstream;
#[path = "../../src/workers.rs"]
#[allow(dead_code)]
mod workers;

mod answering;
mod rmcp_server;
mod soak;
mod without_policy;

use std::process::ExitCode;

use tower::BoxError;

/// What the modules of the proxy need of its own module of this name.
mod failure {
    #[derive(Debug)]
    pub(crate) struct Failure;

    impl Failure {
        pub(crate) fn start(_: impl Into<String>) -> Self {
            Self
        }
    }
}

/// As in the gateway.
#[cfg(any(feature = "mimalloc", target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: answering ADDRESS BYTES | rmcp ADDRESS | without-policy ADDRESS URL \
    | soak URL PROCESS CALLS STREAMS";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let ended = match *arguments {
        ["answering", address, bytes] => answering::run(address, bytes),
        ["rmcp", address] => rmcp_server::run(address),
        ["without-policy", address, url] => without_policy::run(address, url),
        ["soak", url, process, calls, streams] => soak::run(url, process, calls, streams),
        _ => Err(USAGE.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err::<_, BoxError>(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
