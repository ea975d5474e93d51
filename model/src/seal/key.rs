//! Keys: the one that wraps others, and the data keys it wraps.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of every key.
pub const KEY_BYTES: usize = 32;
/// Random bytes that wrapping a key takes.
pub const WRAP_NONCE_BYTES: usize = NONCE_LEN;
const WRAP_VERSION: u8 = 1;

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not 64 hexadecimal digits.
    #[error("a key is written as 64 hexadecimal digits")]
    Malformed,
    /// A wrapped key is damaged, or was wrapped by another key or for another use.
    #[error("a wrapped key is damaged or was wrapped by another key")]
    Refused,
}

/// A data key in memory. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct DataKey(pub(super) Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    /// Takes 32 bytes from a cryptographic source.
    #[must_use]
    pub fn new(random: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// Derives a key for one use.
    pub(super) fn derive(&self, info: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut out = Zeroizing::new([0; KEY_BYTES]);
        let secret = Salt::new(HKDF_SHA256, b"flotilla seal 1").extract(&*self.0);
        secret.expand(info, Length).and_then(|okm| okm.fill(&mut *out)).expect("HKDF gives 32 bytes");
        out
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

pub(super) fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length"))
}

/// Wraps and unwraps data keys. This one holds the key of a key file; whoever adds another kind makes this an enum.
#[derive(Clone, Debug)]
pub struct KeyProvider {
    key: LessSafeKey,
    id: [u8; 8],
}

impl KeyProvider {
    /// Reads the text of a key file: 64 hexadecimal digits, white space around them is ignored.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(from_hex(text.trim()).ok_or(KeyError::Malformed)?);
        let master = DataKey::new(<[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Malformed)?);
        let mut id = [0; 8];
        id.copy_from_slice(&master.derive(&[b"key id"])[..8]);
        Ok(Self { key: cipher(&master.derive(&[b"wrapping"])), id })
    }

    /// Names the key without telling anything of it.
    #[must_use]
    pub fn id(&self) -> String {
        to_hex(&self.id)
    }

    /// Wraps a data key for one use, as hexadecimal text. `nonce` is random.
    ///
    /// # Panics
    /// Never: a key is far below the cipher's limit.
    #[must_use]
    pub fn wrap(&self, purpose: &str, key: &DataKey, nonce: [u8; WRAP_NONCE_BYTES]) -> String {
        self.wrap_bytes(purpose, &*key.0, nonce)
    }

    /// The same for a short secret that is no key.
    ///
    /// # Panics
    /// It is longer than the cipher allows, 64 GiB.
    #[must_use]
    pub fn wrap_bytes(&self, purpose: &str, secret: &[u8], nonce: [u8; WRAP_NONCE_BYTES]) -> String {
        let mut sealed = Zeroizing::new(secret.to_vec());
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut sealed)
            .expect("a key is far below the cipher's limit");
        to_hex(&[&[WRAP_VERSION], &nonce[..], &sealed, tag.as_ref()].concat())
    }

    /// Unwraps what [`KeyProvider::wrap`] gave for the same use.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn unwrap(&self, purpose: &str, wrapped: &str) -> Result<DataKey, KeyError> {
        let plain = self.unwrap_bytes(purpose, wrapped)?;
        Ok(DataKey::new(<[u8; KEY_BYTES]>::try_from(plain.as_slice()).map_err(|_| KeyError::Refused)?))
    }

    /// Unwraps what [`KeyProvider::wrap_bytes`] gave for the same use.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn unwrap_bytes(&self, purpose: &str, wrapped: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bytes = from_hex(wrapped).ok_or(KeyError::Refused)?;
        let Some((&WRAP_VERSION, rest)) = bytes.split_first() else { return Err(KeyError::Refused) };
        let Some((nonce, sealed)) = rest.split_first_chunk::<WRAP_NONCE_BYTES>() else { return Err(KeyError::Refused) };
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plain =
            self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose), &mut sealed).map_err(|_| KeyError::Refused)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(high)? << 4 | digit(low)?) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_under_its_key_for_its_use_only() {
        let provider = KeyProvider::from_text(&format!("{}\n", "0f".repeat(32))).unwrap();
        let other = KeyProvider::from_text(&"f0".repeat(32)).unwrap();
        let wrapped = provider.wrap("workspace a", &DataKey::new([7; 32]), [1; 12]);
        assert_eq!(*provider.unwrap("workspace a", &wrapped).unwrap().0, [7; 32]);
        assert_eq!(provider.unwrap("workspace b", &wrapped).unwrap_err(), KeyError::Refused);
        assert_eq!(other.unwrap("workspace a", &wrapped).unwrap_err(), KeyError::Refused);
        assert_eq!(provider.unwrap("workspace a", &wrapped[2..]).unwrap_err(), KeyError::Refused);
        assert_eq!(provider.unwrap("workspace a", "zz").unwrap_err(), KeyError::Refused);
        assert_ne!(provider.id(), other.id());
        assert!(!wrapped.contains(&"07".repeat(8)));
    }

    #[test]
    fn a_key_file_is_64_digits() {
        for text in ["", "0f", &"0f".repeat(31), &"0f".repeat(33), &"xy".repeat(32), "ключ"] {
            assert_eq!(KeyProvider::from_text(text).unwrap_err(), KeyError::Malformed);
        }
    }
}
