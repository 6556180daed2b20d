//! Listeners and connections: bytes in, packets, session, bytes out.
//!
//! Accepting waits for no peer: everything that a peer has a part in, from the first byte of a handshake on, is done in the
//! connection's own task.

mod connection;
mod count;
mod handshake;
mod input;
mod layers;
mod listener;
mod login;
mod socket;
mod tls;
mod under_way;
mod websocket;

pub use listener::{Listener, ListenerOptions, Transport};
pub use tls::{ClientCertificates, Tls, TlsError, TlsFiles, UserFrom};
pub(crate) use under_way::UnderWay;

pub(crate) use handshake::commit;

use crate::broker::{Inner, Open};
use crate::quota::{Allowance, Place, Places, SharedRates, prefix_of};
use connection::Accepted;
use layers::{Failed, Layered, Secured, Step};
use socket2::SockRef;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tls::{Certificate, NoUser};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use under_way::GivenUp;

/// What a connection speaks over: bytes both ways, in order.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether its end is said in so many words, which a peer that says DISCONNECT may wait for.
    const SAYS_GOODBYE: bool = false;
}

impl Stream for TcpStream {}

/// Both ends of a connection in one process.
impl Stream for DuplexStream {}

impl Stream for Layered {
    const SAYS_GOODBYE: bool = true;
}

/// How long to wait after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a connection comes from: fixed when it is accepted.
pub(crate) struct Origin {
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Arc<ListenerOptions>,
    /// What the client certificate says, where one was shown.
    pub(crate) certificate: Option<Result<Certificate, NoUser>>,
    /// What is published on its listener, and from its address, is held to.
    pub(crate) rates: [Option<Arc<SharedRates>>; 2],
}

/// The places that a connection has taken, given back with its end.
#[derive(Default)]
pub(crate) struct HeldPlaces {
    _broker: Option<Open>,
    /// Boxed, as the next: mostly neither is limited.
    _address: Option<Box<Place<IpAddr>>>,
    _listener: Option<Box<Place<()>>>,
}

/// Accepts connections until the broker stops.
pub(crate) async fn accept(inner: Arc<Inner>, listener: Listener) {
    let mut stopping = inner.stopping();
    let options = Arc::new(listener.options);
    socket::prepare(&SockRef::from(&listener.socket), inner.config.dead_peer);
    let here = Places::new(Allowance {
        most: inner.config.max_connections_per_listener,
        rate: inner.config.connect_rate_per_listener,
        publishes: inner.config.publish_rates_per_listener,
    });
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
        let stats = &inner.stats;
        stats.connections_accepted.count();
        let now_ms = inner.config.clock.now_ms();
        let from_address = match inner.addresses.enter(&prefix_of(peer.ip()), now_ms) {
            Ok(place) => place,
            Err(refusal) => {
                refusal.count(&stats.connections_refused_address, &stats.connections_refused_rate);
                continue;
            }
        };
        let at_listener = match here.enter(&(), now_ms) {
            Ok(place) => place,
            Err(refusal) => {
                refusal.count(&stats.connections_refused_listener, &stats.connections_refused_listener_rate);
                continue;
            }
        };
        let Some(open) = inner.open() else {
            inner.stats.connections_refused_full.count();
            continue;
        };
        let rates =
            [at_listener.as_ref().and_then(Place::rates), from_address.as_ref().and_then(Place::rates)];
        let places = HeldPlaces {
            _broker: Some(open),
            _address: from_address.map(Box::new),
            _listener: at_listener.map(Box::new),
        };
        if !socket::INHERITED {
            socket::prepare(&SockRef::from(&stream), inner.config.dead_peer);
        }
        let (newcomer, displaced) = inner.under_way.enter(inner.config.connect_timeout);
        inner.stats.handshakes_displaced.add(u64::from(displaced));
        let inner = Arc::clone(&inner);
        let origin = Origin { peer, listener: Arc::clone(&options), certificate: None, rates };
        let accepted = Box::new(Accepted { inner, stream, origin, newcomer, places });
        if matches!(options.transport, Transport::Tcp) {
            tokio::spawn(connection::serve(accepted));
        } else {
            tokio::spawn(async move {
                // Boxed: what a handshake needs is given back with its end.
                if let Some(accepted) = Box::pin(shake_hands(accepted)).await {
                    Box::pin(connection::serve(accepted)).await;
                }
            });
        }
    }
}

/// Takes a connection through the handshakes below MQTT. `None` when they failed, or took too long.
async fn shake_hands(accepted: Box<Accepted<TcpStream>>) -> Option<Box<Accepted<Layered>>> {
    let Accepted { inner, stream, mut origin, mut newcomer, places } = *accepted;
    let stats = &inner.stats;
    let mut step = Step::Tls;
    let opening = layers::open(&origin.listener.transport, stream, &mut step);
    match newcomer.wait_for(&mut inner.stopping(), opening).await {
        Ok(Ok((stream, secured))) => {
            if let Some(Secured { certificate, resumed }) = secured {
                stats.tls_handshakes.count();
                stats.tls_resumptions.add(u64::from(resumed));
                origin.certificate = certificate;
            }
            return Some(Box::new(Accepted { inner, stream, origin, newcomer, places }));
        }
        Ok(Err(failed)) => {
            match failed {
                Failed::Tls(_) => stats.tls_failures.count(),
                Failed::WebSocket(_) => stats.websocket_refused.count(),
            }
            tracing::debug!(peer = %origin.peer, "{failed}");
        }
        Err(GivenUp::Late) => match step {
            Step::Tls => stats.tls_timeouts.count(),
            Step::WebSocket => stats.websocket_timeouts.count(),
        },
        Err(GivenUp::Unwanted) => {}
    }
    None
}

/// Serves one connection that none of our listeners accepted. It counts as one, and is held to no listener's or address's bounds.
pub(crate) async fn serve_one<S: Stream>(inner: Arc<Inner>, stream: S, peer: SocketAddr) {
    inner.stats.connections_accepted.count();
    let Some(open) = inner.open() else {
        inner.stats.connections_refused_full.count();
        return;
    };
    let (newcomer, displaced) = inner.under_way.enter(inner.config.connect_timeout);
    inner.stats.handshakes_displaced.add(u64::from(displaced));
    let listener = Arc::new(ListenerOptions::default());
    let origin = Origin { peer, listener, certificate: None, rates: [None, None] };
    let places = HeldPlaces { _broker: Some(open), ..HeldPlaces::default() };
    connection::serve(Box::new(Accepted { inner, stream, origin, newcomer, places })).await;
}
