//! Connections to other nodes: one lazily connected channel per address, shared by all requests.

use model::limits::RPC_MESSAGE_BYTES_MAX;
use parking_lot::RwLock;
use proto::node::Header;
use proto::node::node_rpc_client::NodeRpcClient;
use raft::transport::Dialer;
use std::collections::HashMap;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Clients by address.
#[derive(Debug, Default)]
pub struct Peers {
    dialer: Dialer,
    channels: RwLock<HashMap<String, Channel>>,
}

/// An address that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not an address: {detail}")]
pub struct BadAddress {
    /// What was given.
    pub address: String,
    /// What is wrong.
    pub detail: String,
}

impl Peers {
    /// Connects as `dialer` does.
    #[must_use]
    pub fn dialling(dialer: Dialer) -> Self {
        Self { dialer, channels: RwLock::default() }
    }

    /// A client of the node at `address` (`host:port`); connects when first used, reconnects by itself.
    ///
    /// # Errors
    /// The address cannot be one.
    pub fn client(&self, address: &str) -> Result<NodeRpcClient<Channel>, BadAddress> {
        let known = self.channels.read().get(address).cloned();
        let channel = match known {
            Some(channel) => channel,
            None => {
                let channel = self.dialer.channel(&endpoint(address)?);
                self.channels.write().entry(address.to_owned()).or_insert(channel).clone()
            }
        };
        Ok(NodeRpcClient::new(channel).max_decoding_message_size(message_bytes_max()).max_encoding_message_size(message_bytes_max()))
    }
}

/// The largest message either side takes: a remote-write request may put all its rows into one part.
#[must_use]
pub fn message_bytes_max() -> usize {
    model::limits::REMOTE_WRITE_DECODED_BYTES_MAX * 2 + RPC_MESSAGE_BYTES_MAX
}

fn endpoint(address: &str) -> Result<Endpoint, BadAddress> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| BadAddress { address: address.to_owned(), detail: e.to_string() })?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20))
}

/// The header of a request; `timeout` is what is left for the callee.
#[must_use]
pub fn header(cluster_id: &str, from_store: u64, timeout: Duration) -> Header {
    Header { cluster_id: cluster_id.to_owned(), from_store, timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX) }
}

/// A request that carries its deadline to the callee, for gRPC and in its header alike.
pub fn request<T>(message: T, timeout: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}
