//! What the broker counts. Every drop and every refusal has a reason, and every reason a counter.
//!
//! Names are read outside: `$SYS/chasqui/` has them all, and what begins with `dropped_` is summed up there.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start of the process.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub $name: Counter,)* }

        impl Stats {
            /// All counters with their names, for export.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What went over a connection: gathered for a turn, and counted in one go.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Packets of all kinds.
    pub(crate) packets: u64,
    /// PUBLISH packets among them.
    pub(crate) publishes: u64,
    /// Bytes of their payloads.
    pub(crate) payload: u64,
}

impl Stats {
    pub(crate) fn received(&self, traffic: Traffic) {
        traffic.count(&self.packets_received, &self.publishes_received, &self.publish_bytes_received);
    }

    pub(crate) fn sent(&self, traffic: Traffic) {
        traffic.count(&self.packets_sent, &self.publishes_sent, &self.publish_bytes_sent);
    }
}

impl Stats {
    /// Messages that somebody was to get and did not, whatever the reason.
    pub(crate) fn dropped(&self) -> u64 {
        self.all().iter().filter(|(name, _)| name.starts_with("dropped_")).map(|(_, count)| count).sum()
    }
}

impl Traffic {
    fn count(self, packets: &Counter, publishes: &Counter, payload: &Counter) {
        if self.packets > 0 {
            packets.add(self.packets);
        }
        if self.publishes > 0 {
            publishes.add(self.publishes);
            payload.add(self.payload);
        }
    }
}

counters! {
    /// Connections accepted.
    connections_accepted,
    /// Connections closed because there were too many.
    connections_refused_full,
    /// Connections closed because their listener had as many as it may.
    connections_refused_listener,
    /// Connections closed because their address had as many as it may.
    connections_refused_address,
    /// Connections closed because their address connected too often.
    connections_refused_rate,
    /// Connections closed because there were too many new ones at their listener.
    connections_refused_listener_rate,
    /// CONNECTs refused because their owner had as many connections as it may.
    connections_refused_owner,
    /// CONNECTs refused because their owner connected too often.
    connections_refused_owner_rate,
    /// Times that a publisher was read more slowly because of its rate.
    publishers_slowed,
    /// Publishes refused because they would have had to wait too long for their publisher's rate.
    publishes_refused_rate,
    /// Publishes refused because no more may be retained.
    publishes_refused_retained,
    /// Retained messages removed because they had expired.
    retained_expired,
    /// Connections whose CONNECT did not come in time.
    connect_timeouts,
    /// Connections whose TLS handshake was not done in time.
    tls_timeouts,
    /// Connections whose upgrade to WebSocket was not done in time.
    websocket_timeouts,
    /// TLS handshakes that failed.
    tls_failures,
    /// TLS handshakes that were done.
    tls_handshakes,
    /// Those of them that resumed a session.
    tls_resumptions,
    /// Requests that were not upgraded to WebSocket.
    websocket_refused,
    /// Connections closed because TLS records or WebSocket frames could not be understood.
    transport_errors,
    /// CONNECTs refused because the client certificate has expired or names no user.
    certificates_refused,
    /// Connections closed to make place for newer ones before their CONNECT was there.
    handshakes_displaced,
    /// CONNECTs turned away by the application.
    logins_refused,
    /// Connections closed for a malformed packet or a protocol error.
    protocol_errors,
    /// Connections closed because nothing came for one and a half times the keep-alive.
    keep_alive_timeouts,
    /// Connections closed because their socket took nothing for too long.
    write_stalls,
    /// Sessions taken over by a newer connection.
    take_overs,
    /// CONNECT packets received.
    connects_received,
    /// Packets of all kinds received.
    packets_received,
    /// Packets of all kinds sent.
    packets_sent,
    /// Bytes of MQTT received.
    bytes_received,
    /// Bytes of MQTT sent.
    bytes_sent,
    /// PUBLISH packets received.
    publishes_received,
    /// PUBLISH packets sent.
    publishes_sent,
    /// Bytes of payload received in PUBLISH packets.
    publish_bytes_received,
    /// Bytes of payload sent in PUBLISH packets.
    publish_bytes_sent,
    /// Publishes refused by the application.
    publishes_refused,
    /// QoS 0 messages dropped because a session's mailbox was full.
    dropped_mailbox_full,
    /// QoS 0 messages dropped because a connection's buffer was full.
    dropped_buffer_full,
    /// Messages not sent because they are larger than the client takes [MQTT-3.1.2-25].
    dropped_too_large,
    /// Messages not sent because they had expired [MQTT-3.3.2-5].
    dropped_expired,
    /// Offline sessions whose time was up.
    sessions_expired,
    /// Messages not sent because the filter they were queued for was revoked.
    dropped_revoked,
    /// Subscriptions that ended because the application does not allow them any more.
    subscriptions_revoked,
    /// Persistent sessions ended because their stored queue was longer than it may be.
    sessions_outgrown,
    /// Clean sessions ended because their queue was full of QoS 1 messages.
    sessions_overflown,
    /// Messages of shared subscriptions that a member handed on because it went away.
    shared_handed_on,
    /// Messages of shared subscriptions dropped because no member had room for them, or none was left.
    dropped_shared,
    /// Reads and commits that the store could not answer.
    store_errors,
}
