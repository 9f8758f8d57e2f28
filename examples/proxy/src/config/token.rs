//! The token that a grant is shown by, and what is kept of it.

use std::{
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
    str::FromStr,
};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How tokens begin, so that who finds one somewhere knows what it is.
const PREFIX: &str = "mcpp_";

/// How that begins which is kept of them.
const KIND: &str = "sha256:";

/// The SHA-256 of a token. A token has 256 random bits, so that nothing slower is
/// needed.
#[derive(Clone, Copy, Eq)]
pub(crate) struct TokenHash([u8; 32]);

/// In the same time wherever they differ.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl TokenHash {
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// A token that nobody has had, to be shown once.
pub(crate) fn generate() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(PREFIX.to_owned() + &hexadecimal(&bytes))
}

/// The digits of bytes, two of each.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// There is none in that text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoHash;

impl FromStr for TokenHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let digits = text.strip_prefix(KIND).ok_or(NoHash)?;
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(NoHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else {
                return Err(NoHash);
            };
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(NoHash);
            *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).map_err(|_| NoHash)?;
        }
        Ok(Self(hash))
    }
}

/// As it stands in the document.
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", hexadecimal(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_what_is_kept_of_it() {
        let token = generate().unwrap();
        assert!(token.starts_with(PREFIX) && token.len() == PREFIX.len() + 64);
        assert_ne!(token, generate().unwrap());
        let hash = TokenHash::of(token.as_bytes());
        let kept = hash.to_string();
        assert_eq!(kept.parse::<TokenHash>().unwrap(), hash);
        assert!(!kept.contains(token.trim_start_matches(PREFIX)));
        assert_ne!(TokenHash::of(b"other"), hash);
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of(b"abc").to_string(), known);
    }

    #[test]
    fn what_is_no_hash_is_none() {
        let digits = "0".repeat(64);
        for text in [
            String::new(),
            digits.clone(),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256:{}é", &digits[2..]),
            format!("sha256:{}g", &digits[1..]),
            format!("md5:{digits}"),
        ] {
            assert!(text.parse::<TokenHash>().is_err(), "{text}");
        }
    }
}
