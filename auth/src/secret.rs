//! Bytes that are never printed and are wiped when dropped.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Random bytes of a secret access key.
pub const ACCESS_SECRET_BYTES: usize = 30;

/// A secret in the clear, for as short a time as possible. It can be neither printed nor serialised.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of a secret.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Makes the secret of an access key, 40 characters as AWS's have, of random bytes from a cryptographic source.
    #[must_use]
    pub fn access_key(entropy: [u8; ACCESS_SECRET_BYTES]) -> Self {
        Self::new(crate::text::base64(&entropy).into_bytes())
    }

    /// The bytes: for sealing them, and for showing them once to whom they are given.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

/// Takes as long for secrets that differ early as for ones that differ late; only the length shows.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_never_printed() {
        let secret = Secret::from("hunter2");
        assert_eq!(secret, Secret::new(b"hunter2".to_vec()));
        assert_ne!(secret, Secret::from("hunter3"));
        assert_ne!(secret, Secret::from("hunter"));
        assert_eq!(Secret::access_key([7; 30]), Secret::from("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"));
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret Some(Secret)");
    }
}
