//! Many streams at once, on which nothing comes.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, Semaphore},
};

use crate::{
    fake::{Asked, Upstream},
    support::{Proxy, call, within},
};

const MANY: usize = 1_000;
/// What one of them may take of the memory of the proxy.
const MOST: usize = 64 << 10;

/// Opens a stream, and waits until it is there.
async fn open(proxy: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request =
        format!("GET /mcp HTTP/1.1\r\nhost: {proxy}\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    reads(&mut stream, "\r\n\r\n").await;
    stream
}

/// Reads until this is there.
async fn reads(stream: &mut TcpStream, until: &str) {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(until) {
        let read = within("a piece of a stream", stream.read_buf(&mut bytes)).await;
        assert_ne!(read.unwrap(), 0, "{}", String::from_utf8_lossy(&bytes));
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        !text.contains("HTTP/1.1 ") || text.starts_with("HTTP/1.1 200 "),
        "{text}"
    );
}

/// Bytes of memory that a process has.
fn memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse::<usize>().unwrap() << 10
}

#[tokio::test]
#[ignore = "needs 4000 open files"]
async fn a_thousand_idle_streams_keep_nobody_and_take_little() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let streams = Arc::new(Mutex::new(Vec::<Asked>::new()));
    let kept = Arc::clone(&streams);
    tokio::spawn(async move {
        loop {
            let mut asked = upstream.asked().await;
            if asked.head.starts_with("GET ") {
                asked.stream().await;
                kept.lock().await.push(asked);
            } else {
                asked.answer("").await;
            }
        }
    });
    let passes = async || proxy.post(&call(1, "a")).await.json()["result"].is_object();
    assert!(passes().await);
    let before = memory(proxy.id());
    let (turns, address) = (Arc::new(Semaphore::new(50)), proxy.address);
    let opening = (0..MANY).map(|_| {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            open(address).await
        })
    });
    let mut open = Vec::new();
    for stream in opening.collect::<Vec<_>>() {
        open.push(stream.await.unwrap());
    }
    assert_eq!(streams.lock().await.len(), MANY);
    let taken = memory(proxy.id()).saturating_sub(before);
    println!("{} KiB for {MANY} streams", taken >> 10);
    assert!(taken < MANY * MOST, "{taken} bytes");
    assert!(passes().await);
    // Each of them still carries what comes.
    let event =
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n";
    for asked in streams.lock().await.iter_mut() {
        asked.chunk(event).await;
    }
    for stream in &mut open {
        reads(stream, "notifications/progress").await;
    }
}
