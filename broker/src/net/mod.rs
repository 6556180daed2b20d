//! Listeners and connections: bytes in, packets, session, bytes out.

mod connection;
mod count;
mod handshake;
mod input;

use crate::broker::Inner;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// What a connection speaks over: bytes both ways, in order.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// How long to wait after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the broker stops.
pub(crate) async fn accept(inner: Arc<Inner>, listener: TcpListener) {
    let mut stopping = inner.stopping();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        inner.stats.connections_accepted.count();
        let Some(open) = inner.open() else {
            inner.stats.connections_refused_full.count();
            continue;
        };
        // Small packets are written once per turn; waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY could not be set: {error}");
        }
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            connection::serve(inner, stream, peer).await;
            drop(open);
        });
    }
}
