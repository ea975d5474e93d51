//! `HOST:PORT` as it is typed, listened on and dialled.

use std::fmt;
use std::net::IpAddr;

/// A host (name or IP address) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `:PORT` at the end.
    #[error("{text:?} has no port: expected HOST:PORT")]
    NoPort {
        /// The text.
        text: String,
    },
    /// The port is no number from 0 to 65535.
    #[error("{text:?} has no valid port")]
    BadPort {
        /// The text.
        text: String,
    },
    /// The host is empty, holds a character that no host name has, or is an IPv6 address without brackets.
    #[error("{text:?} has no valid host")]
    BadHost {
        /// The text.
        text: String,
    },
    /// The address can be listened on but not dialled.
    #[error("{text:?} cannot be dialled: it needs a host and a port other than 0")]
    NotDialable {
        /// The text.
        text: String,
    },
    /// A list names the address twice.
    #[error("{text:?} is listed twice")]
    Twice {
        /// The text.
        text: String,
    },
}

impl Address {
    /// Makes an address of an IPv4 address or host name.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Address { host: host.into(), port }
    }

    /// Parses `HOST:PORT`, `[IPV6]:PORT` or `:PORT`, which means every interface.
    ///
    /// # Errors
    /// A missing or invalid port, or an invalid host.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let owned = || text.to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::NoPort { text: owned() })?;
        let port = port.parse().map_err(|_| AddressError::BadPort { text: owned() })?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(AddressError::BadHost { text: owned() }),
            None if host.is_empty() => "0.0.0.0",
            None if is_host_name(host) => host,
            None => return Err(AddressError::BadHost { text: owned() }),
        };
        Ok(Address::new(host, port))
    }

    /// Parses an address that another process can dial.
    ///
    /// # Errors
    /// As [`Address::parse`], and an address that names no host or port 0.
    pub fn parse_dialable(text: &str) -> Result<Self, AddressError> {
        let address = Address::parse(text)?;
        if address.is_dialable() { Ok(address) } else { Err(AddressError::NotDialable { text: text.to_owned() }) }
    }

    /// Parses a comma-separated list of dialable addresses; an empty text is an empty list.
    ///
    /// # Errors
    /// As [`Address::parse_dialable`] for the first bad member, and an address that is there twice.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, AddressError> {
        let mut list: Vec<Self> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            let address = Address::parse_dialable(part)?;
            if list.contains(&address) {
                return Err(AddressError::Twice { text: part.to_owned() });
            }
            list.push(address);
        }
        Ok(list)
    }

    /// Host without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port; 0 lets the system choose one when listening.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether another process can dial it: it names a host and a port.
    pub fn is_dialable(&self) -> bool {
        let unspecified = self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        !unspecified && self.port != 0
    }
}

fn is_host_name(host: &str) -> bool {
    host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}
