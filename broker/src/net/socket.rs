//! What a socket is set to before anything is said on it.

use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;

/// Whether what a listening socket is set to holds for those that it accepts: then each connection is spared six system calls.
pub(super) const INHERITED: bool = cfg!(target_os = "linux");

/// Questions that a peer may leave unanswered until it counts as gone.
const PROBES: u32 = 3;

/// Small packets are written once per turn: waiting for more to send would only delay them. A peer that has vanished without a word
/// is noticed by the system after `dead_peer`, also where nothing is sent and the client has no keep-alive: what it has not
/// acknowledged for so long is given up, and a silent connection is asked for a sign of life in time. What the system does not take
/// is left as it is: the connection works without.
pub(super) fn prepare(socket: &SockRef<'_>, dead_peer: Duration) {
    if let Err(error) = socket.set_tcp_nodelay(true) {
        tracing::debug!("TCP_NODELAY could not be set: {error}");
    }
    if dead_peer.is_zero() {
        return;
    }
    // Silent for half of the time, then asked at equal distances for the rest of it.
    let interval = (dead_peer / (2 * PROBES)).max(Duration::from_secs(1));
    let idle = (dead_peer / 2).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
    if let Err(error) = socket.set_tcp_keepalive(&keepalive) {
        tracing::debug!("SO_KEEPALIVE could not be set: {error}");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket.set_tcp_user_timeout(Some(dead_peer)) {
        tracing::debug!("TCP_USER_TIMEOUT could not be set: {error}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn the_system_asks_silent_peers_for_a_sign_of_life() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let accepted = async || {
            let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            listener.accept().await.unwrap().0
        };
        prepare(&SockRef::from(&listener), Duration::ZERO);
        let stream = accepted().await;
        assert!(stream.nodelay().unwrap() && !SockRef::from(&stream).keepalive().unwrap());
        prepare(&SockRef::from(&listener), Duration::from_mins(2));
        let stream = accepted().await;
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_mins(1));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(20));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_mins(2)));
    }
}
