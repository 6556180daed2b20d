//! What an embedder sets, with the defaults that are safe without a thought.

use crate::link::Bounds;
use crate::quota::{PublishRates, Rate};
use std::sync::Arc;
use std::time::Duration;

/// Tells the time. Injected, so that tests and simulations decide what time it is.
pub trait Clock: Send + Sync + 'static {
    /// Unix milliseconds.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // The one place that reads it.
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }
}

/// The settings of a broker.
#[derive(Clone)]
pub struct Config {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The largest packet a client may send, bytes with the fixed header; announced as Maximum Packet Size on 5.0.
    pub max_packet_size: u32,
    /// The largest CONNECT, bytes: before a client is known it may not make the server buffer more.
    pub max_connect_size: u32,
    /// How long a connection may take until its CONNECT is there.
    pub connect_timeout: Duration,
    /// Connections whose CONNECT is not there yet. One more is let in, and the oldest of them is closed.
    pub max_handshakes: usize,
    /// Network connections at once; more are closed at accept.
    pub max_connections: usize,
    /// Network connections of one listener at once; more are closed at accept. 0 for no limit of its own.
    pub max_connections_per_listener: u32,
    /// Network connections from one address at once; more are closed at accept. An IPv6 address counts as its network of 64 bits. 0 for
    /// no limit.
    pub max_connections_per_address: u32,
    /// New network connections of one listener; more are closed at accept.
    pub connect_rate_per_listener: Rate,
    /// New network connections from one address; more are closed at accept.
    pub connect_rate_per_address: Rate,
    /// New connections of one owner; more are refused with 0x9F. Nobody is the owner of anonymous clients.
    pub connect_rate_per_owner: Rate,
    /// Connections of one owner at once; more are refused with 0x97. 0 for no limit. Nobody is the owner of anonymous clients.
    pub max_connections_per_owner: u32,
    /// What one connection publishes. A publisher that is faster is read more slowly: TCP then slows it down.
    pub publish_rates: PublishRates,
    /// What all connections of one owner publish together, in the same way. Nobody is the owner of anonymous clients.
    pub publish_rates_per_owner: PublishRates,
    /// What all connections from one address publish together, in the same way. An IPv6 address counts as its network of 64 bits.
    pub publish_rates_per_address: PublishRates,
    /// What all connections of one listener publish together, in the same way.
    pub publish_rates_per_listener: PublishRates,
    /// How long a publisher is made to wait for its rates at most: what would have to wait longer is refused.
    pub max_rate_wait: Duration,
    /// Messages in flight to a 3.1.1 client, which cannot say how many it takes.
    pub window_v311: u16,
    /// Messages in flight to a 5.0 client at most, whatever its Receive Maximum.
    pub window_v5: u16,
    /// Publishes of a client that may wait for their acknowledgement; announced as Receive Maximum on 5.0. On 3.1.1 the
    /// server reads no further packet of that client until one is answered.
    pub receive_maximum: u16,
    /// Topic aliases a client may use; announced as Topic Alias Maximum on 5.0.
    pub topic_alias_maximum: u16,
    /// Topic aliases that the server uses towards a client at most, whatever its Topic Alias Maximum.
    pub topic_aliases_sent: u16,
    /// The longest session expiry a client may ask for, seconds; `u32::MAX` is for ever. Also what a 3.1.1 session without
    /// Clean Session gets.
    pub max_session_expiry_s: u32,
    /// The longest keep-alive, seconds: a larger one, or none, is set to this on 5.0 [MQTT-3.2.2-22]. 0 for no bound.
    pub max_keep_alive_s: u16,
    /// Levels of a topic name or filter at most.
    pub max_topic_levels: usize,
    /// Subscriptions of a session at most.
    pub max_subscriptions: usize,
    /// Bytes of messages that may wait in the stored queue of one session. One that would go beyond ends as a whole: it never gets a hole.
    /// `u64::MAX` for no limit.
    pub max_queue_bytes: u64,
    /// Retained messages at most; a publish that would go beyond is refused with 0x97. `u64::MAX` for no limit.
    pub max_retained: u64,
    /// Bytes of retained messages at most, as [`Message::weight`](crate::message::Message::weight) counts, in the same way.
    pub max_retained_bytes: u64,
    /// What may wait in memory for one connection.
    pub mailbox: Bounds,
    /// How often the server publishes what it says about itself under `$SYS/`; zero for never.
    pub sys_interval: Duration,
    /// A connection's written but unsent bytes beyond which nothing more is put there. One buffer of this size is what a peer
    /// that stopped reading costs, beside its window.
    pub out_high_water: usize,
    /// How long a socket may take nothing of what is written to it before the connection is closed; zero for ever.
    pub write_stall: Duration,
    /// How long a peer may leave the network's own questions and what was sent to it unanswered before its connection counts as dead,
    /// whatever its keep-alive; zero leaves it to the system.
    pub dead_peer: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            clock: Arc::new(SystemClock),
            max_packet_size: 1024 * 1024,
            max_connect_size: 16 * 1024,
            connect_timeout: Duration::from_secs(10),
            max_handshakes: 10_000,
            max_connections: 100_000,
            max_connections_per_listener: 0,
            max_connections_per_address: 0,
            connect_rate_per_listener: Rate::UNLIMITED,
            connect_rate_per_address: Rate::UNLIMITED,
            connect_rate_per_owner: Rate::UNLIMITED,
            max_connections_per_owner: 0,
            publish_rates: PublishRates::UNLIMITED,
            publish_rates_per_owner: PublishRates::UNLIMITED,
            publish_rates_per_address: PublishRates::UNLIMITED,
            publish_rates_per_listener: PublishRates::UNLIMITED,
            max_rate_wait: Duration::from_secs(5),
            window_v311: 32,
            window_v5: 128,
            receive_maximum: 128,
            topic_alias_maximum: 32,
            topic_aliases_sent: 16,
            max_session_expiry_s: u32::MAX,
            max_keep_alive_s: 0,
            max_topic_levels: 128,
            max_subscriptions: 1_000,
            max_queue_bytes: 1024 * 1024 * 1024,
            max_retained: u64::MAX,
            max_retained_bytes: u64::MAX,
            mailbox: Bounds { items: 1_000, bytes: 4 * 1024 * 1024, tail_items: 256 },
            sys_interval: Duration::from_secs(10),
            out_high_water: 64 * 1024,
            write_stall: Duration::from_mins(1),
            dead_peer: Duration::from_mins(2),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("max_packet_size", &self.max_packet_size)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
