//! The canonical request and the string to sign.

use super::{ALGORITHM, Form, Settings, Signed};
use crate::{AuthError, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use std::fmt::Write;

/// Everything but letters, digits and `-_.~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same for paths, whose slashes stay.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const STREAMING_PREFIX: &str = "STREAMING-";

/// Which form of the path was signed. Whoever routes by the raw path must not serve another resource than the normalised one names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// The path as it came.
    Raw,
    /// The path without empty and dot segments.
    Normalised,
}

/// The strings that a client may have signed for a request: one for each form its path has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Canonical {
    pub(super) candidates: Vec<(PathForm, String)>,
}

impl Canonical {
    /// Builds them. Costs the length of the request and one pass of SHA-256 over its body.
    pub(super) fn new(signed: &Signed, request: &Request<'_>, settings: &Settings) -> Result<Self, AuthError> {
        let payload = payload(request, settings)?;
        let query = canonical_query(request.query, signed.form != Form::Header);
        let headers = canonical_headers(signed, request)?;
        let string = |path: &str| {
            let canonical = format!("{}\n{path}\n{query}\n{headers}\n{}\n{payload}", request.method, signed.signed_headers.join(";"));
            let scope = format!("{}/{}/{}/aws4_request", signed.date, signed.region, signed.service);
            format!("{ALGORITHM}\n{}\n{scope}\n{}", signed.amz_date, hex(digest(&SHA256, canonical.as_bytes()).as_ref()))
        };
        let raw = if request.path.is_empty() { "/" } else { request.path };
        let mut candidates = vec![(PathForm::Raw, string(&encode_path(raw)))];
        let normalised = normalise(raw);
        if normalised != raw {
            candidates.push((PathForm::Normalised, string(&encode_path(&normalised))));
        }
        Ok(Self { candidates })
    }
}

/// What stands for the body: its hash, which a hash that was sent must equal.
fn payload(request: &Request<'_>, settings: &Settings) -> Result<String, AuthError> {
    let part = "x-amz-content-sha256";
    let sent = request.single(part).map_err(|_| AuthError::Malformed { part })?;
    match sent {
        Some(UNSIGNED_PAYLOAD) if settings.is_unsigned_payload_allowed && request.is_tls => return Ok(UNSIGNED_PAYLOAD.to_owned()),
        Some(UNSIGNED_PAYLOAD) => return Err(AuthError::UnsignedPayload),
        Some(text) if text.starts_with(STREAMING_PREFIX) => return Err(AuthError::StreamingPayload),
        _ => {}
    }
    let computed = hex(digest(&SHA256, request.body).as_ref());
    if sent.is_some_and(|sent| sent != computed) {
        return Err(AuthError::PayloadHash);
    }
    Ok(computed)
}

fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, RESERVED_IN_PATH).to_string()
}

/// The path without empty, `.` and `..` segments; a slash at the end stays.
pub(super) fn normalise(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Pairs in their canonical encoding, sorted; the signature of a presigned request is not part of what it signs.
fn canonical_query(query: &str, is_presigned: bool) -> String {
    let mut pairs: Vec<(String, String)> = query_pairs(query)
        .filter(|(name, _)| !is_presigned || *name != "X-Amz-Signature")
        .map(|(name, value)| (canonical_part(name), canonical_part(value)))
        .collect();
    pairs.sort_unstable();
    let mut out = String::with_capacity(query.len() + 16);
    for (name, value) in pairs {
        let separator = if out.is_empty() { "" } else { "&" };
        let _ = write!(out, "{separator}{name}={value}");
    }
    out
}

/// The pairs of a query string, still encoded; a name without `=` has the empty value.
pub(crate) fn query_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Bytes of a name or value of a query string or a form: `+` is a space, and what is not a valid escape stands for itself.
pub(crate) fn decode_part(text: &str) -> Vec<u8> {
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

fn canonical_part(text: &str) -> String {
    percent_encoding::percent_encode(&decode_part(text), RESERVED).to_string()
}

/// `name:value` lines in the order of the signed names: values trimmed, runs of spaces made one, repeats joined by commas.
fn canonical_headers(signed: &Signed, request: &Request<'_>) -> Result<String, AuthError> {
    let mut out = String::new();
    for name in &signed.signed_headers {
        let mut is_first = true;
        for value in request.values(name) {
            out.push_str(if is_first { name } else { "," });
            if is_first {
                out.push(':');
            }
            is_first = false;
            let text = std::str::from_utf8(value).map_err(|_| AuthError::Malformed { part: "a signed header" })?;
            push_collapsed(&mut out, text.trim());
        }
        if is_first {
            return Err(AuthError::SignedMissing { name: name.clone() });
        }
        out.push('\n');
    }
    Ok(out)
}

fn push_collapsed(out: &mut String, text: &str) {
    let mut was_space = false;
    for c in text.chars() {
        if c != ' ' || !was_space {
            out.push(c);
        }
        was_space = c == ' ';
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_normalised_as_botocore_does() {
        for (path, normalised) in [
            ("/", "/"),
            ("//", "/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/a/", "/a/"),
            ("/a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a"),
            ("/a/b/../", "/a/"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a%2f..%2fb", "/a%2f..%2fb"),
        ] {
            assert_eq!(normalise(path), normalised, "{path}");
        }
    }

    #[test]
    fn queries_are_canonical() {
        for (query, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1&A=0", "A=0&a=1&a=2"),
            ("k", "k="),
            ("k=&&l", "k=&l="),
            ("q=a+b", "q=a%20b"),
            ("q=a%2Bb", "q=a%2Bb"),
            ("q=%e1%88%b4", "q=%E1%88%B4"),
            ("q=%zz%", "q=%25zz%25"),
            ("q=a=b", "q=a%3Db"),
            ("match[]=up{a%3D\"b\"}", "match%5B%5D=up%7Ba%3D%22b%22%7D"),
            ("q=%7e%2d%5f%2e", "q=~-_."),
            ("X-Amz-Signature=1&a=1", "X-Amz-Signature=1&a=1"),
        ] {
            assert_eq!(canonical_query(query, false), canonical, "{query}");
        }
        assert_eq!(canonical_query("X-Amz-Signature=1&a=1", true), "a=1");
    }

    proptest! {
        #[test]
        fn a_canonical_query_is_its_own_canonical_form(query in ".{0,60}") {
            let once = canonical_query(&query, false);
            prop_assert_eq!(canonical_query(&once, false), once);
        }

        #[test]
        fn a_normalised_path_is_its_own_normal_form(path in "/[a./]{0,20}") {
            let once = normalise(&path);
            prop_assert_eq!(normalise(&once), once);
        }
    }
}
