//! Listens where that is asked for, until a signal stops it.

use std::{
    io::{self, ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::{
    answers::Answers,
    failure::Failure,
    server::{self, DRAIN_TIMEOUT, Ended},
    shutdown::Signals,
    traces,
    workers::Workers,
};

/// Where the proxy listens when nothing else is said.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);

/// Takes the address, or says what to do about it.
pub(crate) async fn bind(listen: SocketAddr, otherwise: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        Failure::start(match error.kind() {
            ErrorKind::AddrInUse => {
                format!("{listen} is taken by another program: stop it, or {otherwise}")
            }
            ErrorKind::AddrNotAvailable => {
                format!("{listen} is no address of this machine: {otherwise}")
            }
            ErrorKind::PermissionDenied => {
                format!("this user may not listen on {listen}: {otherwise}")
            }
            _ => format!("cannot listen on {listen}: {error}"),
        })
    })
}

/// Serves until the first signal, and finishes what is open then.
pub(crate) async fn serve_until_stopped(
    listener: TcpListener,
    service: impl Answers<Incoming>,
    endpoints: &[String],
    ready: impl FnOnce(SocketAddr),
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::start(format!("cannot listen to signals: {error}")))?;
    let workers = Workers::start()
        .map_err(|error| Failure::start(format!("cannot start threads: {error}")))?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::start(format!("cannot tell the own address: {error}")))?;
    // Other programs wait for these lines and read the address out of them.
    for endpoint in endpoints {
        let _ = writeln!(io::stderr(), "listening on http://{address}{endpoint}");
    }
    ready(address);
    let ended = server::serve_by(workers, listener, service, async || signals.next().await).await;
    traces::end().await;
    Ok(match ended {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::CutOff => {
            tracing::warn!(
                after = DRAIN_TIMEOUT.as_secs(),
                "stopped with calls or streams still open"
            );
            ExitCode::SUCCESS
        }
        // What a shell reports for a program that ctrl-c ended.
        Ended::Interrupted => ExitCode::from(130),
    })
}
