//! Who sent a request, and what its head says about caches.

use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use std::net::SocketAddr;

/// The address of the peer of a connection; part of each of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// Bytes of a proxy's word that are kept.
const CLIENT_BYTES_MAX: usize = 128;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The peer's address, and in front of it what a proxy says who it asks for; for people, never for access control.
    pub client: String,
    /// `Cache-Control` has `no-store`: neither answer from a cache nor keep the answer.
    pub no_store: bool,
}

impl Asker {
    /// Reads the head of a request.
    #[must_use]
    pub fn of(head: &Parts) -> Self {
        let peer = head.extensions.get::<PeerAddress>().map_or_else(|| "unknown".to_owned(), |peer| peer.0.to_string());
        let forwarded = head.headers.get("x-forwarded-for").and_then(|v| v.to_str().ok()).filter(|v| v.len() <= CLIENT_BYTES_MAX);
        let client = forwarded.map_or(peer.clone(), |forwarded| format!("{forwarded}, {peer}"));
        let directives = head.headers.get_all(CACHE_CONTROL).into_iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        let no_store = directives.map(str::trim).any(|directive| directive.eq_ignore_ascii_case("no-store"));
        Self { client, no_store }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn a_proxy_is_shown_with_whom_it_asks_for() {
        let mut request =
            Request::get("/").header("cache-control", "max-age=0, No-Store").header("x-forwarded-for", "10.1.1.1").body(()).unwrap();
        request.extensions_mut().insert(PeerAddress("127.0.0.1:80".parse().unwrap()));
        let asker = Asker::of(&request.into_parts().0);
        assert_eq!(asker, Asker { client: "10.1.1.1, 127.0.0.1:80".to_owned(), no_store: true });
        let plain = Asker::of(&Request::get("/").body(()).unwrap().into_parts().0);
        assert_eq!(plain, Asker { client: "unknown".to_owned(), no_store: false });
    }
}
