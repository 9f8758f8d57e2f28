//! The keys that seal request states.

use std::fmt;
use std::str::FromStr;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::digest::from_hex;

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of the number that is used once with a key.
pub(super) const NONCE: usize = 24;
/// Keys that may be tried.
const MOST: usize = 8;

/// The keys that seal the `requestState` of calls that take several rounds
/// (2026-07-28): those that somebody has to approve, and those about which the server
/// asks something more. See [`PolicyLayer::request_state_keys`].
///
/// Replicas that serve the same clients need the same keys. To change them, first add
/// the new one behind the old in every replica, then put it before, and ten minutes
/// later take the old one away.
///
/// As text it is one or more keys of 64 hexadecimal digits, with commas between them.
/// The first seals; all of them open.
///
/// ```
/// use mcp_policy::RequestStateKeys;
///
/// let text = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// let keys: RequestStateKeys = text.parse()?;
/// assert!("0001".parse::<RequestStateKeys>().is_err());
/// # Ok::<(), mcp_policy::RequestStateKeyError>(())
/// ```
///
/// [`PolicyLayer::request_state_keys`]: crate::PolicyLayer::request_state_keys
#[derive(Clone)]
pub struct RequestStateKeys {
    /// At least one, the one that seals before the others.
    ciphers: Vec<XChaCha20Poly1305>,
}

impl RequestStateKeys {
    /// One key, made of 32 random bytes.
    pub fn new(key: [u8; KEY]) -> Self {
        Self {
            ciphers: vec![XChaCha20Poly1305::new(&key.into())],
        }
    }

    /// A key that nobody else has. What it seals is worth nothing to other processes,
    /// and nothing once this one has ended.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn random() -> Result<Self, RequestStateKeyError> {
        Ok(Self::new(random_key()?))
    }

    /// Nobody can read or change what is sealed. `bound_to` is not in it, and has to be
    /// the same when it is opened. Gives the number that was used, and the sealed bytes.
    pub(super) fn seal(&self, text: &[u8], bound_to: &[u8]) -> Option<([u8; NONCE], Vec<u8>)> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload {
            msg: text,
            aad: bound_to,
        };
        let sealed = self.ciphers.first()?.encrypt(&XNonce::from(nonce), payload);
        Some((nonce, sealed.ok()?))
    }

    /// What was sealed, if it was sealed with one of the keys and bound to this.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE],
        sealed: &[u8],
        bound_to: &[u8],
    ) -> Option<Vec<u8>> {
        let nonce = XNonce::from(nonce);
        self.ciphers.iter().find_map(|cipher| {
            let payload = Payload {
                msg: sealed,
                aad: bound_to,
            };
            cipher.decrypt(&nonce, payload).ok()
        })
    }
}

impl FromStr for RequestStateKeys {
    type Err = RequestStateKeyError;

    fn from_str(text: &str) -> Result<Self, RequestStateKeyError> {
        let keys: Option<Vec<_>> = text.split(',').map(|key| from_hex(key.trim())).collect();
        let keys = keys.ok_or(RequestStateKeyError("a key is 64 hexadecimal digits"))?;
        if keys.len() > MOST {
            return Err(RequestStateKeyError("there are more than 8 keys"));
        }
        Ok(Self {
            ciphers: keys
                .iter()
                .map(|key| XChaCha20Poly1305::new(&(*key).into()))
                .collect(),
        })
    }
}

/// A key that nobody else has.
pub(crate) fn random_key() -> Result<[u8; KEY], RequestStateKeyError> {
    let mut key = [0; KEY];
    getrandom::fill(&mut key)
        .map_err(|_| RequestStateKeyError("the system has no random numbers"))?;
    Ok(key)
}

/// How many there are.
impl fmt::Debug for RequestStateKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestStateKeys")
            .field("keys", &self.ciphers.len())
            .finish_non_exhaustive()
    }
}

/// Why there are no [`RequestStateKeys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestStateKeyError(&'static str);

impl fmt::Display for RequestStateKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for RequestStateKeyError {}
