//! How connections to peers are made: TCP, unless a simulation brings its own network.

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint, Uri};

/// What a connection is made of.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Connect = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Box<dyn Wire>>> + Send + Sync;

/// Makes channels to peers; cheap to clone.
#[derive(Clone, Default)]
pub struct Dialer(Option<Arc<Connect>>);

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Dialer(simulated)" } else { "Dialer(tcp)" })
    }
}

impl Dialer {
    /// Connects to host and port by `connect` instead of TCP.
    pub fn simulated(connect: impl Fn(String, u16) -> BoxFuture<'static, io::Result<Box<dyn Wire>>> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(connect)))
    }

    /// A channel that connects when it is first used, and again by itself.
    #[must_use]
    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        let Some(connect) = &self.0 else { return endpoint.connect_lazy() };
        let connect = Arc::clone(connect);
        endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
            let host = uri.host().unwrap_or_default().to_owned();
            let port = uri.port_u16().unwrap_or_default();
            connect(host, port).map(|connected| connected.map(TokioIo::new))
        }))
    }
}
