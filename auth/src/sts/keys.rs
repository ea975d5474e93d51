//! Public keys of issuers, from a JSON Web Key Set (RFC 7517).

use crate::text;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// Bytes of a key set at most.
const SET_BYTES_MAX: usize = 1 << 20;
/// Keys of a set at most.
const KEYS_MAX: usize = 100;
/// Bytes of an RSA modulus: 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const EXPONENT_BYTES_MAX: usize = 4;
const COORDINATE_BYTES: usize = 32;
/// What stands before the coordinates of a point that is not compressed.
const UNCOMPRESSED: u8 = 4;

/// The algorithms that are accepted. There is no `none` and nothing that is keyed by a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::Es256 => None,
        }
    }
}

/// Why a text is not a key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is too long, or has too many keys.
    #[error("a key set has at most {SET_BYTES_MAX} bytes and {KEYS_MAX} keys")]
    TooLarge,
    /// It is not JSON of the right form.
    #[error("not a JSON Web Key Set (line {line}, column {column})")]
    Json {
        /// Line, from one.
        line: usize,
        /// Column, from one.
        column: usize,
    },
    /// It has no key that can be used.
    #[error("no key for RS256, PS256 or ES256 in the key set")]
    NoKey,
}

/// The keys of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct PublicKey {
    id: Option<String>,
    /// What the key says it is for; none leaves it to the token, within the key's kind.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { point: Vec<u8> },
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Member>,
}

/// Members that are not listed are none of our business, as RFC 7517 has it.
#[derive(Deserialize)]
struct Member {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Member {
    /// The key, if it is one that can verify a token.
    fn key(self) -> Option<PublicKey> {
        if self.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match &self.alg {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let part = |text: Option<String>| text::from_base64_url(&text?);
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (mut modulus, mut exponent) = (part(self.n)?, part(self.e)?);
                for number in [&mut modulus, &mut exponent] {
                    number.drain(..number.iter().take_while(|byte| **byte == 0).count());
                }
                let fits = MODULUS_BYTES.contains(&modulus.len()) && (1..=EXPONENT_BYTES_MAX).contains(&exponent.len());
                if !fits || algorithm == Some(Algorithm::Es256) {
                    return None;
                }
                Material::Rsa { modulus, exponent }
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (part(self.x)?, part(self.y)?);
                if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES || algorithm.is_some_and(|known| known != Algorithm::Es256) {
                    return None;
                }
                Material::P256 { point: [&[UNCOMPRESSED], x.as_slice(), &y].concat() }
            }
            _ => return None,
        };
        Some(PublicKey { id: self.kid, algorithm, material })
    }
}

impl PublicKeys {
    /// Reads a key set. Keys of other kinds or for other purposes are passed over.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        if text.len() > SET_BYTES_MAX {
            return Err(KeysError::TooLarge);
        }
        let set: Set = serde_json::from_str(text).map_err(|error| KeysError::Json { line: error.line(), column: error.column() })?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeysError::TooLarge);
        }
        let keys: Vec<PublicKey> = set.keys.into_iter().filter_map(Member::key).collect();
        if keys.is_empty() { Err(KeysError::NoKey) } else { Ok(Self(keys)) }
    }

    /// Verifies a signature by the keys that a token may mean: those of its key id, or, without one, the only key that there is. None if
    /// there is no such key.
    pub(super) fn verify(&self, id: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
        let mut meant = self.0.iter().filter(|key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => self.0.len() == 1,
        });
        let first = meant.next()?;
        Some(std::iter::once(first).chain(meant).any(|key| key.verifies(algorithm, message, signature)))
    }
}

impl PublicKey {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.is_some_and(|own| own != algorithm) {
            return false;
        }
        match (&self.material, algorithm.rsa()) {
            (Material::Rsa { modulus, exponent }, Some(parameters)) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
            }
            (Material::P256 { point }, None) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok(),
            _ => false,
        }
    }
}
