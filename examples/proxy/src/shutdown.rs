//! The signals that ask the program to stop, or to read again what it has read.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether this program was asked to stop.
static IS_STOPPING: AtomicBool = AtomicBool::new(false);

/// Whether this program was asked to stop, and only finishes what is open.
pub(crate) fn is_stopping() -> bool {
    IS_STOPPING.load(Ordering::Relaxed)
}

/// Gets SIGTERM and ctrl-c from now on.
///
/// Made before the program says that it is ready, so that a signal that comes
/// right after that is not the kernel's to handle.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        IS_STOPPING.store(true, Ordering::Relaxed);
    }
}

/// Gets ctrl-c; there is no SIGTERM here.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals(());

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// The next ctrl-c.
    pub(crate) async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
        IS_STOPPING.store(true, Ordering::Relaxed);
    }
}

/// Gets SIGHUP from now on, which would end the program otherwise.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// There is no such signal here.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Hangups(());

#[cfg(not(unix))]
impl Hangups {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Never.
    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
}
