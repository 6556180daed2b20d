//! Listeners and connections: bytes in, packets, session, bytes out.
//!
//! Accepting waits for no peer: everything that a peer has a part in, from the first byte of a handshake on, is done in the
//! connection's own task.

mod connection;
mod count;
mod handshake;
mod input;
mod listener;
mod socket;
mod under_way;

pub use listener::{Listener, ListenerOptions, Transport};
pub(crate) use under_way::UnderWay;

pub(crate) use handshake::commit;

use crate::broker::Inner;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a connection speaks over: bytes both ways, in order.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// How long to wait after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a connection comes from: fixed when it is accepted.
pub(crate) struct Origin {
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Arc<ListenerOptions>,
}

/// Accepts connections until the broker stops.
pub(crate) async fn accept(inner: Arc<Inner>, listener: Listener) {
    let mut stopping = inner.stopping();
    let options = Arc::new(listener.options);
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                // Whoever has said nothing yet gives its file descriptor back first.
                inner.make_place();
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        inner.stats.connections_accepted.count();
        let Some(open) = inner.open() else {
            inner.stats.connections_refused_full.count();
            continue;
        };
        socket::prepare(&stream, inner.config.dead_peer);
        let (newcomer, displaced) = inner.under_way.enter();
        inner.stats.handshakes_displaced.add(u64::from(displaced));
        let inner = Arc::clone(&inner);
        let origin = Origin { peer, listener: Arc::clone(&options) };
        tokio::spawn(async move {
            connection::serve(inner, stream, origin, newcomer).await;
            drop(open);
        });
    }
}
