//! Presence: who is there, shown to those who watch them by name.
//!
//! A watch is a subscription to `u/{me}/presence/{contact}`, for as long as a connection has it. All of it is in memory and follows from the
//! connections there are: [`Core`] decides, and here it is driven by what happens to connections and by one timer for all. A value goes the
//! way of a [signal](super::typing), with QoS 0, but one that finds no room is given again.
//!
//! The lock is held while values are handed over, so that two of one topic cannot pass each other. Who holds it waits for nothing.

mod core;
#[cfg(test)]
mod model;
mod pace;
mod seen;
#[cfg(test)]
mod tests;
mod watcher;

use self::core::{Core, Update};
use super::connections::Connections;
use crate::sequencer::Notice;
use crate::sequencer::fetch::{self, FetchError};
use bytes::Bytes;
use chasqui_broker::codec::{ByteStr, QoS, RetainHandling};
use chasqui_broker::hook::{Client, Occasion};
use chasqui_broker::message::{Identifiers, Message};
use chasqui_proto::limits::{
    PRESENCE_PER_SECOND, PRESENCE_SEEN_MAX_ITEMS, PRESENCE_UPDATES_AT_ONCE, PRESENCE_UPDATES_PER_TICK,
};
use chasqui_proto::topic::JSON_ROOT;
use chasqui_proto::{Topic, UserId, json, v1};
use chasqui_storage::Reader;
use parking_lot::Mutex;
use prost::Message as _;
use watcher::{Begins, Shown, Ties};

/// See the module.
pub(super) struct Presence {
    core: Mutex<Core>,
}

impl Default for Presence {
    fn default() -> Presence {
        Presence { core: Mutex::new(Core::new(PRESENCE_SEEN_MAX_ITEMS)) }
    }
}

/// A presence topic that a client subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) contact: UserId,
    pub(super) json: bool,
    pub(super) retain_handling: RetainHandling,
}

impl Presence {
    pub(super) fn connected(&self, user: &UserId, connection: u64, now_ms: u64) {
        self.core.lock().connected(user, connection, now_ms);
    }

    pub(super) fn disconnected(&self, user: &UserId, connection: u64, now_ms: u64) {
        self.core.lock().disconnected(user, connection, now_ms);
    }

    /// Something holds from now on; those who saw it otherwise are shown so by the next tick.
    pub(super) fn notice(&self, notice: &Notice, now_ms: u64) {
        self.core.lock().notice(notice, now_ms);
    }

    /// Begins to watch; nothing is shown before it is [granted](Presence::granted). For each topic, whether there is room for it.
    pub(super) fn begin(
        &self,
        client: &Client,
        user: &UserId,
        occasion: Occasion,
        wants: &[Wants],
    ) -> Vec<bool> {
        let mut core = self.core.lock();
        let watch = |wants: &Wants| {
            let begins = match (occasion, wants.retain_handling) {
                (Occasion::Resume, _) => Begins::Live,
                (Occasion::Subscribe, RetainHandling::DoNotSend) => Begins::Quietly,
                (Occasion::Subscribe, _) => Begins::Retained,
            };
            core.watch(client.connection, user, (&wants.contact, wants.json), begins)
        };
        wants.iter().map(watch).collect()
    }

    /// Reads what decides whom a client sees of those it begins to watch. Begun before, so that no change in between is missed.
    pub(super) fn learn(
        &self,
        reader: &Reader,
        client: &Client,
        user: &UserId,
        wants: &[Wants],
    ) -> Result<(), FetchError> {
        let me = fetch::user(reader, user)?;
        self.core.lock().learn_audience(user, me.presence);
        for Wants { contact, .. } in wants {
            let them = fetch::user(reader, contact)?;
            let tie = fetch::tie(reader, contact, user)?.between(&them, &me);
            let ties = Ties { contact: tie.contact, blocked: tie.blocked };
            let mut core = self.core.lock();
            core.learn_audience(contact, them.presence);
            core.learn_ties(client.connection, contact, ties);
        }
        Ok(())
    }

    /// What a client began to watch is granted: it is shown what there is, as far as it may be at once.
    pub(super) fn granted(&self, client: &Client, contacts: &[UserId], now_ms: u64) {
        let mut core = self.core.lock();
        core.granted(client.connection, contacts, now_ms);
        for update in core.updates_for(client.connection, now_ms, PRESENCE_PER_SECOND) {
            give(&mut core, client, &update, now_ms);
        }
    }

    pub(super) fn unwatch(&self, client: &Client, contact: &UserId, json: bool) {
        self.core.lock().unwatch(client.connection, contact, json);
    }

    /// Shows what is due, a bounded part of it: what is left has its turn by the next tick, first.
    pub(super) fn tick(&self, connections: &Connections, now_ms: u64) {
        for _ in 0..PRESENCE_UPDATES_PER_TICK / PRESENCE_UPDATES_AT_ONCE {
            let mut core = self.core.lock();
            let updates = core.updates(now_ms, PRESENCE_UPDATES_AT_ONCE);
            for update in &updates {
                if let Some(client) = connections.get(update.connection) {
                    give(&mut core, &client, update, now_ms);
                }
            }
            if updates.len() < PRESENCE_UPDATES_AT_ONCE {
                return;
            }
        }
    }
}

fn give(core: &mut Core, client: &Client, update: &Update, now_ms: u64) {
    let is_given = message(update, now_ms).is_some_and(|message| client.show(message));
    if !is_given {
        core.missed(update, now_ms);
    }
}

fn message(update: &Update, now_ms: u64) -> Option<Message> {
    let topic = Topic::Presence { user: update.user.clone(), contact: update.target.clone() };
    let topic = format!("{}{topic}", if update.json { JSON_ROOT } else { "" });
    Some(Message {
        topic: ByteStr::try_from(topic).ok()?,
        payload: payload(update.shown, update.json)?,
        qos: QoS::AtMostOnce,
        retain: update.retain,
        properties: None,
        received_ms: now_ms,
        identifiers: Identifiers::new(),
        share: None,
    })
}

/// Who says nothing looks like one of whom nothing is known.
fn payload(shown: Shown, as_json: bool) -> Option<Bytes> {
    let presence = match shown {
        Shown::Nothing => v1::Presence::default(),
        Shown::Online => v1::Presence { online: true, last_seen_ms: 0 },
        Shown::Since(at_ms) => v1::Presence { online: false, last_seen_ms: at_ms.cast_signed() },
    };
    if !as_json {
        return Some(presence.encode_to_vec().into());
    }
    match json::encode(&presence) {
        Ok(json) => Some(json.into()),
        Err(error) => {
            tracing::error!("a presence could not be written as JSON: {error}");
            None
        }
    }
}
