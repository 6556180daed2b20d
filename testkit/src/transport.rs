//! The client's side of TLS and WebSocket, by the libraries of others.

use crate::certificates::{Authority, Pair};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;
pub use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
pub use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue};

/// Connects over TLS, each time with the sessions of before.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Trusts an authority, and may show a certificate.
    pub fn new(
        authority: &Authority,
        version: &'static SupportedProtocolVersion,
        shows: Option<&Pair>,
    ) -> TlsClient {
        let mut roots = RootCertStore::empty();
        let pem = authority.pem();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("valid")).expect("valid");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("known to the provider")
            .with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("valid");
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("valid");
                builder.with_client_auth_cert(vec![certificate], key).expect("they belong together")
            }
        };
        TlsClient(Arc::new(config))
    }

    /// The handshake over an open connection.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        let name = ServerName::try_from("localhost").expect("valid");
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}

/// The upgrade to WebSocket over an open connection.
///
/// # Errors
/// When the server does not upgrade; its answer is in the error.
pub async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    path: &str,
    subprotocol: Option<&'static str>,
) -> Result<WebSocketStream<S>, tungstenite::Error> {
    let mut request = format!("ws://localhost{path}").into_client_request()?;
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(subprotocol));
    }
    let (stream, response) = tokio_tungstenite::client_async(request, stream).await?;
    let chosen = response.headers().get("Sec-WebSocket-Protocol").and_then(|value| value.to_str().ok());
    assert_eq!(chosen, subprotocol.map(|_| "mqtt"), "[MQTT-6.0.0-4]");
    Ok(stream)
}

/// A WebSocket as a stream of bytes: what is written goes out in frames of at most `frame` bytes, what comes in is put together.
pub fn bytes_of<S>(mut socket: WebSocketStream<S>, frame: usize) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (ours, mut theirs) = duplex(64 * 1024);
    tokio::spawn(async move {
        let mut bytes = vec![0; frame];
        loop {
            tokio::select! {
                count = theirs.read(&mut bytes) => {
                    let Ok(count @ 1..) = count else { break };
                    let message = Message::Binary(bytes[..count].to_vec().into());
                    if socket.send(message).await.is_err() { break }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        if theirs.write_all(&bytes).await.is_err() { break }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    // A close, or the end.
                    _ => break,
                },
            }
        }
        // The server may be gone already.
        let _ = socket.close(None).await;
    });
    ours
}
