//! What of an HTTP request counts for access.

/// A request as it came, before anything of it was decoded or normalised.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path of the target, still percent-encoded.
    pub path: &'a str,
    /// The query string without `?`, still encoded; empty if there is none.
    pub query: &'a str,
    /// The authority of an HTTP/2 request, which stands for a `Host` header that is not there.
    pub authority: Option<&'a str>,
    /// All headers in their order, repeats included; names in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body.
    pub body: &'a [u8],
    /// Whether it came over TLS.
    pub is_tls: bool,
}

impl<'a> Request<'a> {
    /// The values of a header, in their order. The authority counts as `host` where there is none.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let mut authority = None;
        if name == "host" && !self.headers.iter().any(|(have, _)| *have == "host") {
            authority = self.authority.map(str::as_bytes);
        }
        self.headers.iter().filter(move |(have, _)| *have == name).map(|(_, value)| *value).chain(authority)
    }

    /// The value of a header that must not be repeated: none if it is absent.
    ///
    /// # Errors
    /// It is repeated or not visible ASCII text.
    pub(crate) fn single(&self, name: &str) -> Result<Option<&'a str>, NotSingle> {
        let mut values = self.values(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() || !value.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err(NotSingle);
        }
        std::str::from_utf8(value).map(|text| Some(text.trim())).map_err(|_| NotSingle)
    }
}

/// A header is repeated or cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotSingle;
