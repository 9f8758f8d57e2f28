use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes that it has: fewer could be guessed.
const SHORTEST: usize = 24;
const LONGEST: usize = 64;

/// What a receiver shares with the sender, and nobody else knows.
pub(super) struct Secret(Hmac<Sha256>);

impl Secret {
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim().strip_prefix(PREFIX)?).ok()?;
        let is_long_enough = (SHORTEST..=LONGEST).contains(&bytes.len());
        let key = Hmac::new_from_slice(&bytes).ok()?;
        is_long_enough.then_some(Self(key))
    }

    /// What `webhook-signature` says.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signed = self
            .0
            .clone()
            .chain_update(format!("{id}.{timestamp}."))
            .chain_update(body);
        format!("v1,{}", STANDARD.encode(signed.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the libraries of Standard Webhooks.
    #[test]
    fn what_is_signed_is_signed_as_others_do() {
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature = secret.sign(id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_long_and_says_what_it_is() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        assert!(Secret::read(&of(24)).is_some());
        assert!(Secret::read(&of(64)).is_some());
        for wrong in [
            of(23),
            of(65),
            of(32).replace("whsec_", ""),
            of(32).replace("whsec_", "whsec_!"),
            String::new(),
        ] {
            assert!(Secret::read(&wrong).is_none(), "{wrong}");
        }
    }
}
