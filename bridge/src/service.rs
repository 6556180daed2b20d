//! The service between the store and the sockets, put together: hook, accounts, sessions and broker, over whoever sequences.
//!
//! [`crate::server`] puts it on threads, a data folder and listeners; a simulation on none of these.

use crate::access::Effect;
use crate::access::live::LiveRules;
use crate::account::{AccountError, Accounts, SequencedUsers, UserAdmin};
use crate::hook::{ChatHook, LiveUsers, Open, Operations, Operators, UserRates};
use crate::sequencer::{self, Intake};
use crate::session_store::SessionStore;
use crate::settings::{ByteSize, Settings};
use chasqui_broker::store::Store;
use chasqui_broker::{Broker, Config, PublishRates, Rate};
use chasqui_proto::limits as proto;
use chasqui_storage::Reader;
use chasqui_storage::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// The hook of a service, which what it hands in to is told through: it comes first.
pub fn hook(settings: &Settings, reader: Reader, clock: Arc<dyn Clock>) -> Arc<ChatHook> {
    let open = Open { by_name: settings.dev, anonymous: settings.dev || settings.users.anonymous };
    let otherwise = if settings.dev { Effect::Allow } else { Effect::Deny };
    let access = LiveRules::new(settings.access.clone(), otherwise);
    ChatHook::new(reader, clock, open, Operators::of(settings), access, user_rates(settings))
}

/// What each user may do in a time: with `dev`, anything.
fn user_rates(settings: &Settings) -> UserRates {
    if settings.dev {
        return UserRates::default();
    }
    let rates = &settings.rates;
    let per_hour = |units| Rate::per(3_600, units);
    UserRates {
        messages: Rate::per(60, rates.messages_per_minute),
        groups: per_hour(rates.groups_per_hour),
        invites: per_hour(rates.invites_per_hour),
        adds: per_hour(rates.adds_per_hour),
        reports: per_hour(rates.reports_per_hour),
        new_for_ms: u64::try_from(rates.new_account.as_millis()).unwrap_or(u64::MAX),
        new_percent: rates.new_account_percent,
    }
}

/// What the sequencer is to be like.
pub fn sequencing(settings: &Settings) -> sequencer::Options {
    let dev = settings.dev || settings.users.auto_create;
    sequencer::Options { dev, ..sequencer::Options::default() }
}

/// The service, not started yet. Who takes it apart calls [`ChatHook::leave`], since hook and broker hold each other.
pub struct Service {
    /// What topics mean.
    pub hook: Arc<ChatHook>,
    /// Who speaks MQTT.
    pub broker: Broker,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
}

impl Service {
    /// Joins a hook to the sequencer that it hands in to and that tells it, and puts a broker with these settings on both.
    pub fn new<I: Intake>(
        hook: Arc<ChatHook>,
        sequencer: &Arc<I>,
        reader: &Reader,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Result<Service, AccountError> {
        let operations = Arc::new(Operations::default());
        operations.join(sequencer);
        let store: Arc<dyn Store> =
            Arc::new(SessionStore::new(reader.clone(), operations, Arc::clone(&clock)));
        let users = SequencedUsers::new(Arc::<I>::clone(sequencer), hook.admin());
        let users = LiveUsers::new(users, Arc::clone(&hook));
        let users = Arc::new(users) as Arc<dyn UserAdmin>;
        let accounts = Arc::new(Accounts::new(reader.clone(), users, clock)?);
        let broker = Broker::new(config, Arc::<ChatHook>::clone(&hook), store);
        hook.join(sequencer, broker.clone(), Arc::clone(&accounts));
        Ok(Service { hook, broker, accounts })
    }
}

/// The broker's clock is the store's.
struct BrokerClock(Arc<dyn Clock>);

impl chasqui_broker::config::Clock for BrokerClock {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }
}

/// The broker's part of the settings.
pub fn config(settings: &Settings, clock: Arc<dyn Clock>) -> Config {
    let limits = &settings.limits;
    let bounded = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let rates = |messages: u32, bytes: ByteSize| PublishRates {
        messages: Rate::per_second(messages),
        bytes: Rate::per_second(bounded(bytes.0)),
    };
    let or_no_limit = |most: u64| if most == 0 { u64::MAX } else { most };
    Config {
        clock: Arc::new(BrokerClock(clock)),
        max_packet_size: bounded(limits.packet_bytes.0),
        max_connect_size: bounded(limits.connect_packet_bytes.0),
        connect_timeout: limits.connect_wait,
        max_handshakes: limits.handshakes as usize,
        max_connections: limits.connections as usize,
        window_v311: u16::try_from(settings.sessions.inflight_window).unwrap_or(proto::WINDOW_V311),
        max_queue_bytes: settings.sessions.queue_bytes.0,
        max_connections_per_listener: limits.connections_per_listener,
        max_connections_per_address: limits.connections_per_address,
        connect_rate_per_listener: Rate::per_second(limits.connects_per_listener),
        connect_rate_per_owner: Rate::per_second(limits.connects_per_user),
        connect_rate_per_address: Rate::per_second(limits.connects_per_address),
        max_connections_per_owner: limits.connections_per_user,
        publish_rates: rates(limits.publishes_per_second, limits.publish_bytes_per_second),
        publish_rates_per_owner: rates(
            limits.publishes_per_second_per_user,
            limits.publish_bytes_per_second_per_user,
        ),
        publish_rates_per_address: rates(
            limits.publishes_per_second_per_address,
            limits.publish_bytes_per_second_per_address,
        ),
        publish_rates_per_listener: rates(
            limits.publishes_per_second_per_listener,
            limits.publish_bytes_per_second_per_listener,
        ),
        max_retained: or_no_limit(u64::from(limits.retained_messages)),
        max_retained_bytes: or_no_limit(limits.retained_bytes.0),
        max_rate_wait: Duration::from_millis(proto::RATE_WAIT_MAX_MS),
        receive_maximum: u16::try_from(limits.receive_maximum).unwrap_or(proto::RECEIVE_MAXIMUM),
        max_keep_alive_s: u16::try_from(limits.keep_alive_max.as_secs()).unwrap_or(u16::MAX),
        write_stall: limits.write_stall,
        max_session_expiry_s: u32::try_from(settings.sessions.expiry_max.as_secs()).unwrap_or(u32::MAX),
        max_topic_levels: limits.topic_levels as usize,
        max_subscriptions: limits.subscriptions as usize,
        sys_interval: settings.sys.interval,
        ..Config::default()
    }
}
