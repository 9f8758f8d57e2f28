//! SHA-256, bytes as hexadecimal digits, and names that nobody else has.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

/// The SHA-256 of some bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hexadecimal digits, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The bytes that 64 hexadecimal digits stand for; `None` of anything else.
pub(crate) fn from_hex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// 128 bits that differ from all others, of this process and of others, and tell nothing
/// of how many there were.
pub(crate) fn unique() -> [u64; 2] {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    KEYS.each_ref().map(|key| key.hash_one(number))
}

/// A name that nobody else has: 32 hexadecimal digits.
#[cfg(any(feature = "redis", feature = "sqlite"))]
pub(crate) fn random_name() -> String {
    let [first, second] = unique();
    format!("{first:016x}{second:016x}")
}
