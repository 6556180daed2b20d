//! Where the service listens: sockets and certificates by the settings, and what an operator is told when that cannot be.

use crate::server::ServerError;
use crate::settings::Settings;
use chasqui_broker::{Listener, ListenerOptions, Tls, Transport};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Opens all listeners of the settings, those over bare TCP first.
pub(crate) async fn open(settings: &Settings) -> Result<Vec<Listener>, ServerError> {
    let tls = settings.tls_files().map(Tls::load).transpose()?;
    let mut kinds = vec![
        ("listen", &settings.listen, Transport::Tcp),
        ("listen_websocket", &settings.listen_websocket, Transport::WebSocket),
    ];
    // Settings with such an address and no certificate are refused before they come here.
    if let Some(tls) = tls {
        kinds.push(("listen_tls", &settings.listen_tls, Transport::Tls(tls.clone())));
        kinds.push((
            "listen_secure_websocket",
            &settings.listen_secure_websocket,
            Transport::SecureWebSocket(tls),
        ));
    }
    let mut listeners = Vec::new();
    for (name, addresses, transport) in kinds {
        for address in &addresses.0 {
            let socket = bind(*address, name).await?;
            listeners.push(Listener { socket, options: ListenerOptions::new(name, transport.clone()) });
        }
    }
    Ok(listeners)
}

/// What the log says of a listener. Who waits for an address looks for `listening on`, which is said of bare TCP.
pub(crate) fn said(transport: &Transport, address: SocketAddr) -> String {
    match transport {
        Transport::Tls(_) => format!("listening with TLS on {address}"),
        Transport::WebSocket => format!("listening with WebSocket on ws://{address}/mqtt"),
        Transport::SecureWebSocket(_) => format!("listening with WebSocket and TLS on wss://{address}/mqtt"),
        _ => format!("listening on {address}"),
    }
}

async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse if setting == "listen" => {
                "another program listens there; stop it, or choose another address with --listen".to_owned()
            }
            std::io::ErrorKind::AddrInUse => {
                format!("another program listens there; stop it, or choose another address in {setting}")
            }
            std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            std::io::ErrorKind::PermissionDenied => "this user may not use that port".to_owned(),
            _ => error.to_string(),
        };
        ServerError::Listen { address, why }
    })
}
