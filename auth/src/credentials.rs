//! What a request brings to tell who asks.

use crate::sigv4::{ALGORITHM, Signed};
use crate::text;
use crate::token::ApiToken;
use crate::{AuthError, Request, Secret};

/// Bytes of an `Authorization` header at most: room for a session token as a bearer's, and no more.
const AUTHORIZATION_BYTES_MAX: usize = 16_384;

/// The credentials of a request, read and not yet verified.
#[derive(Debug)]
pub enum Credentials {
    /// A signature.
    Signed(Box<Signed>),
    /// An API token.
    Bearer(ApiToken),
    /// An access key and its secret.
    Basic {
        /// The access key.
        access_key_id: String,
        /// The secret it claims.
        secret: Secret,
    },
}

impl Credentials {
    /// Reads a request's credentials. Costs the length of its head.
    ///
    /// # Errors
    /// There are none, several, or they are not well formed.
    pub fn parse(request: &Request<'_>) -> Result<Self, AuthError> {
        let header = request.single("authorization").map_err(|_| {
            if request.values("authorization").count() > 1 {
                AuthError::SeveralCredentials
            } else {
                AuthError::Malformed { part: "Authorization header" }
            }
        })?;
        let is_presigned = Signed::is_presigned(request.query);
        match header {
            None if is_presigned => Signed::parse_presigned(request).map(|signed| Self::Signed(Box::new(signed))),
            None => Err(AuthError::NoCredentials),
            Some(_) if is_presigned => Err(AuthError::SeveralCredentials),
            Some(text) if text.len() > AUTHORIZATION_BYTES_MAX => Err(AuthError::Malformed { part: "Authorization header" }),
            Some(text) => Self::parse_header(request, text),
        }
    }

    fn parse_header(request: &Request<'_>, text: &str) -> Result<Self, AuthError> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme == ALGORITHM {
            return Signed::parse_header(request, rest).map(|signed| Self::Signed(Box::new(signed)));
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            // A token of another issuer is as unknown here as one that was deleted.
            return ApiToken::parse(rest.trim()).map(Self::Bearer).ok_or(AuthError::Unrecognized);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = text::from_base64(rest.trim()).map(Secret::new).ok_or(AuthError::Malformed { part: "Basic credentials" })?;
            let split = pair.expose().iter().position(|byte| *byte == b':').map(|at| pair.expose().split_at(at));
            let name = split.and_then(|(name, secret)| Some((std::str::from_utf8(name).ok()?, secret.get(1..)?)));
            let (name, secret) = name.ok_or(AuthError::Malformed { part: "Basic credentials" })?;
            return Ok(Self::Basic { access_key_id: name.to_owned(), secret: Secret::new(secret.to_vec()) });
        }
        Err(AuthError::UnknownScheme)
    }

    /// The access key that is claimed, if one is.
    #[must_use]
    pub fn access_key_id(&self) -> Option<&str> {
        match self {
            Self::Signed(signed) => Some(&signed.access_key_id),
            Self::Basic { access_key_id, .. } => Some(access_key_id),
            Self::Bearer(token) => Some(token.id.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Id, IdKind};
    use proptest::prelude::*;

    fn parse(headers: &[(&str, &str)], query: &str) -> Result<Credentials, AuthError> {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        Credentials::parse(&Request { method: "GET", path: "/", query, authority: None, headers: &headers, body: b"", is_tls: false })
    }

    fn header(value: &str) -> Result<Credentials, AuthError> {
        parse(&[("authorization", value)], "")
    }

    #[test]
    fn each_scheme_is_known_by_its_name() {
        let token = ApiToken::new(Id::new(IdKind::Token, [1; 10]), [2; 32]);
        let text = String::from_utf8(token.expose().expose().to_vec()).unwrap();
        assert!(matches!(header(&format!("Bearer {text}")), Ok(Credentials::Bearer(read)) if read == token));
        assert!(matches!(header(&format!("bearer  {text} ")), Ok(Credentials::Bearer(read)) if read == token));
        let Ok(Credentials::Basic { access_key_id, secret }) = header(&format!("Basic {}", text::base64(b"key:se:cret"))) else { panic!() };
        assert_eq!((access_key_id.as_str(), secret), ("key", Secret::from("se:cret")));
        let error = |value: &str| header(value).unwrap_err();
        assert_eq!(error("Bearer eyJhbGciOiJub25lIn0.e30."), AuthError::Unrecognized);
        assert_eq!(error("Basic ???"), AuthError::Malformed { part: "Basic credentials" });
        assert_eq!(error(&format!("Basic {}", text::base64(b"key"))), AuthError::Malformed { part: "Basic credentials" });
        assert_eq!(error("Digest x"), AuthError::UnknownScheme);
        assert_eq!(error(""), AuthError::UnknownScheme);
        assert_eq!(error(ALGORITHM), AuthError::Malformed { part: "Authorization header" });
        assert_eq!(error(&"x".repeat(20_000)), AuthError::Malformed { part: "Authorization header" });
        assert_eq!(error("Bearer \u{e4}"), AuthError::Malformed { part: "Authorization header" });
    }

    #[test]
    fn credentials_are_given_once() {
        assert_eq!(parse(&[], "a=b").unwrap_err(), AuthError::NoCredentials);
        assert_eq!(parse(&[("authorization", "a"), ("authorization", "b")], "").unwrap_err(), AuthError::SeveralCredentials);
        for name in ["X-Amz-Signature=0", "a=b&X-Amz-Algorithm", "X-Amz-Credential="] {
            assert_eq!(parse(&[("authorization", "Bearer x")], name).unwrap_err(), AuthError::SeveralCredentials);
            assert!(matches!(parse(&[], name).unwrap_err(), AuthError::Missing { .. } | AuthError::Malformed { .. }));
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        let printed = format!("{:?}", header(&format!("Basic {}", text::base64(b"key:hunter2"))));
        assert!(printed.contains("key") && !printed.contains("hunter2"), "{printed}");
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(scheme in "(Bearer|Basic|AWS4-HMAC-SHA256|.{0,6})", rest in ".{0,60}", query in "[ -~]{0,30}") {
            let _ = parse(&[("authorization", &format!("{scheme} {rest}"))], &query);
            let _ = parse(&[], &format!("X-Amz-Signature&{query}"));
        }
    }
}
