//! What the benchmarks in `benches/` see of the inside. No part of the crate's interface.

pub use crate::audit::benching::record_line;
use crate::json::{Profile, Reader};
pub use crate::limit::benching::{call, call_of};
use crate::mcp::message::Message;

/// Reads a JSON text to its end, with all the checks of what a client sends. Whether it
/// passes them.
pub fn check(text: &[u8]) -> bool {
    let read = Reader::new(text, Profile::MESSAGE).and_then(|mut reader| {
        reader.skip()?;
        reader.finish()
    });
    read.is_ok()
}

/// Reads a message. Whether it is one that can be judged.
pub fn read_message(body: &[u8]) -> bool {
    Message::parse(body).is_ok()
}
