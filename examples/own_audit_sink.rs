//! Where records go, in a way of one's own: here to a thread that writes them, which could
//! as well send them to a collector. What cannot be recorded does not run.
//!
//! ```text
//! cargo run --example own_audit_sink
//! ```

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mcp_policy::{
    AuditRecord, AuditSink, Caller, FromClient, MessageGuard, Policy, Receipt, Unrecorded,
};
use tokio::sync::oneshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{ "version": "1", "default": "deny", "tools": { "restart": {} } }"#;

/// Records that may wait to be written. If there are more, the others count as lost.
const MOST_WAITING: usize = 1_000;

/// A line of JSON, and who is told once it is written.
type Letter = (Vec<u8>, oneshot::Sender<()>);

/// Hands records to a thread, so that no call waits for a lock or a disk.
struct Writer(SyncSender<Letter>);

impl Writer {
    fn new(mut out: impl Write + Send + 'static) -> Self {
        let (letters, waiting) = sync_channel::<Letter>(MOST_WAITING);
        thread::spawn(move || {
            for (line, written) in waiting {
                if out.write_all(&line).and_then(|()| out.flush()).is_ok() {
                    // Nobody may be waiting any more.
                    let _ = written.send(());
                }
            }
        });
        Self(letters)
    }
}

impl AuditSink for Writer {
    fn record(&self, record: &AuditRecord) -> Receipt {
        let Ok(mut line) = serde_json::to_vec(record) else {
            return Receipt::unrecorded();
        };
        line.push(b'\n');
        let (written, done) = oneshot::channel();
        // This must not block: where there is no room, nothing is recorded.
        match self.0.try_send((line, written)) {
            Ok(()) => Receipt::pending(async { done.await.map_err(|_| Unrecorded::new()) }),
            Err(_) => Receipt::unrecorded(),
        }
    }
}

/// Where the thread writes: something that is full after a while, as a disk may be.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Vec<u8>>>);

/// Bytes that fit: more than the records of one call, fewer than those of two.
const ROOM: usize = 900;

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() + bytes.len() > ROOM {
            return Err(io::ErrorKind::StorageFull.into());
        }
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same call until it is refused, as lines that say what became of it, and the records.
pub(crate) async fn run() -> Result<Vec<String>, Error> {
    let disk = Disk::default();
    let guard = MessageGuard::new(POLICY.parse::<Policy>()?).audit(Writer::new(disk.clone()));
    let connection = guard.connect(Caller::new("alice"));
    let mut lines = Vec::new();
    for id in 1..=3 {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"restart"}}}}"#
        );
        let became = match connection.from_client(call.as_bytes()).await {
            FromClient::Forward => "goes on".to_owned(),
            FromClient::Refuse(answer) => String::from_utf8(answer)?,
            other => format!("{other:?}"),
        };
        lines.push(format!("call {id}: {became}"));
    }
    let written = disk.0.lock().unwrap_or_else(PoisonError::into_inner);
    lines.extend(String::from_utf8_lossy(&written).lines().map(str::to_owned));
    Ok(lines)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    for line in run().await? {
        println!("{line}");
    }
    Ok(())
}
