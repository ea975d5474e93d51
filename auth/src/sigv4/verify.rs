//! Whether a signature is the one that its key gives.

use super::canonical::{Canonical, PathForm, hex};
use super::key::{KeyCache, derive};
use super::{Service, Settings, Signed};
use crate::{AuthError, Request, Secret};
use model::Timestamp;
use ring::hmac::{HMAC_SHA256, Key, sign};
use std::fmt;
use subtle::{Choice, ConstantTimeEq};

/// Where the secret of a request's key is to be had. One of an unknown key gives a decoy, so that the work done tells nothing.
pub struct KeySource<'a> {
    /// Names the secret: changes when it does. For example a hash of its sealed form.
    pub origin: [u8; 32],
    /// Gets the secret: unseals it, for example; none if it cannot be had now. Called only where no derived key is kept.
    pub secret: &'a dyn Fn() -> Option<Secret>,
    /// Whether the key is known and may be used.
    pub is_known: bool,
}

impl fmt::Debug for KeySource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("is_known", &self.is_known).finish_non_exhaustive()
    }
}

/// Verifies signatures, and keeps the signing keys of those who ask often.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    keys: KeyCache,
    /// Stands for a kept key where there is none.
    decoy: Key,
}

impl Verifier {
    /// Makes a verifier that has no key yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { keys: KeyCache::new(settings.key_cache_bytes), settings, decoy: Key::new(HMAC_SHA256, &[0; 32]) }
    }

    /// What it accepts.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Checks scope, time and what is signed, and that the signature is made with the key's secret. Costs the length of the request
    /// and one pass of SHA-256 over its body. A refused signature costs the same whether its key is known, kept or neither.
    ///
    /// # Errors
    /// What is wrong first; [`AuthError::Unrecognized`] if all is well but the key is not known, and [`AuthError::SecretUnavailable`] if it
    /// is known and its secret is not to be had.
    pub fn verify(
        &self,
        signed: &Signed,
        request: &Request<'_>,
        service: Service,
        source: &KeySource<'_>,
        now_ms: Timestamp,
    ) -> Result<PathForm, AuthError> {
        signed.check_scope(service, &self.settings)?;
        signed.check_time(&self.settings, now_ms)?;
        let canonical = Canonical::new(signed, request, &self.settings)?;
        let kept = self.keys.get(signed, &source.origin);
        let form = matching(&canonical, kept.as_ref().unwrap_or(&self.decoy), signed);
        if let (Some(form), Some(_), true) = (form, kept, source.is_known) {
            return Ok(form);
        }
        let secret = (source.secret)();
        if secret.is_none() && source.is_known {
            return Err(AuthError::SecretUnavailable);
        }
        let key = derive(&secret.unwrap_or_else(|| Secret::from("")), &signed.date, &signed.region, &signed.service);
        let form = matching(&canonical, &key, signed);
        match (form, source.is_known) {
            (_, false) => Err(AuthError::Unrecognized),
            (None, true) => Err(AuthError::WrongSignature),
            (Some(form), true) => {
                self.keys.insert(signed, source.origin, key);
                Ok(form)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> u64 {
        self.keys.bytes()
    }
}

/// The form of the path that the signature fits. All candidates are compared, to the last byte.
fn matching(canonical: &Canonical, key: &Key, signed: &Signed) -> Option<PathForm> {
    let mut found = None;
    for (form, string) in &canonical.candidates {
        let computed = hex(sign(key, string.as_bytes()).as_ref());
        let is_equal: Choice = computed.as_bytes().ct_eq(signed.signature.as_bytes());
        if bool::from(is_equal) && found.is_none() {
            found = Some(*form);
        }
    }
    found
}
