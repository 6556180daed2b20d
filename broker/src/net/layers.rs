//! What can lie between TCP and MQTT: TLS, WebSocket, or both.
//!
//! A connection over bare TCP knows nothing of it. The others keep the state of their layers behind one pointer, so that a task is no larger.

use super::tls::{Certificate, NoUser, UserFrom};
use super::websocket::{Refusal, WebSocket, upgrade};
use super::{Stream, Tls, Transport};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::server::TlsStream;

type TlsTcp = TlsStream<TcpStream>;

impl Stream for TlsTcp {}

/// A connection with something between TCP and MQTT.
pub(crate) enum Layered {
    Tls(Box<TlsTcp>),
    WebSocket(Box<WebSocket<TcpStream>>),
    SecureWebSocket(Box<WebSocket<TlsTcp>>),
}

/// How far a handshake has come; what is counted when its time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Tls,
    WebSocket,
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("the upgrade to WebSocket was refused: {0}")]
    WebSocket(Refusal),
}

/// What TLS said about a client.
pub(crate) struct Secured {
    pub(crate) certificate: Option<Result<Certificate, NoUser>>,
    pub(crate) resumed: bool,
}

/// Does the handshakes of a transport; `step` says at any time how far it has come. Bare TCP has none, and is not asked.
pub(crate) async fn open(
    transport: &Transport,
    stream: TcpStream,
    step: &mut Step,
) -> Result<(Layered, Option<Secured>), Failed> {
    match transport {
        Transport::Tls(tls) => {
            let (stream, secured) = secure(tls, stream, step).await?;
            Ok((Layered::Tls(Box::new(stream)), Some(secured)))
        }
        Transport::SecureWebSocket(tls) => {
            let (stream, secured) = secure(tls, stream, step).await?;
            *step = Step::WebSocket;
            let stream = upgrade(stream).await.map_err(Failed::WebSocket)?;
            Ok((Layered::SecureWebSocket(Box::new(stream)), Some(secured)))
        }
        Transport::WebSocket | Transport::Tcp => {
            *step = Step::WebSocket;
            let stream = upgrade(stream).await.map_err(Failed::WebSocket)?;
            Ok((Layered::WebSocket(Box::new(stream)), None))
        }
    }
}

async fn secure(tls: &Tls, stream: TcpStream, step: &mut Step) -> Result<(TlsTcp, Secured), Failed> {
    *step = Step::Tls;
    let stream = tls.acceptor().accept(stream).await.map_err(Failed::Tls)?;
    let (_, session) = stream.get_ref();
    let user_from: UserFrom = tls.files().user_from;
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let secured = Secured {
        certificate: shown.map(|certificate| Certificate::read(certificate, user_from)),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    Ok((stream, secured))
}

/// Passes a call on to whichever it is.
macro_rules! pass_on {
    ($layered:expr, $stream:ident => $call:expr) => {
        match $layered.get_mut() {
            Layered::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
            Layered::WebSocket(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
            Layered::SecureWebSocket(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Layered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pass_on!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Layered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        pass_on!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pass_on!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass_on!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass_on!(self, stream => stream.poll_shutdown(cx))
    }
}

/// A pointer and what it points to.
const _: () = assert!(size_of::<Layered>() <= 16);
