//! A socket to accept from, and what holds for the connections that come from it.

use super::Tls;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What is spoken below MQTT.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Transport {
    /// MQTT on the bare connection.
    #[default]
    Tcp,
    /// MQTT over TLS.
    Tls(Tls),
    /// MQTT in WebSocket frames, at `/mqtt`.
    WebSocket,
    /// The same over TLS.
    SecureWebSocket(Tls),
}

impl Transport {
    /// Its certificates, where it has some.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Transport::Tls(tls) | Transport::SecureWebSocket(tls) => Some(tls),
            Transport::Tcp | Transport::WebSocket => None,
        }
    }
}

/// What holds for the connections of one listener.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// What the application and the log call it.
    pub name: Arc<str>,
    /// What is spoken below MQTT.
    pub transport: Transport,
}

impl ListenerOptions {
    /// Options that are safe without a thought, under a name.
    pub fn new(name: &str, transport: Transport) -> ListenerOptions {
        ListenerOptions { name: Arc::from(name), transport }
    }
}

impl Default for ListenerOptions {
    fn default() -> ListenerOptions {
        ListenerOptions::new("tcp", Transport::Tcp)
    }
}

/// A socket to accept from, with its options. A bare [`TcpListener`] becomes one for MQTT over TCP.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What holds for its connections.
    pub options: ListenerOptions,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Listener {
        Listener { socket, options: ListenerOptions::default() }
    }
}
