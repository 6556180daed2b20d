//! Latest values: what the application has to say about a topic that the client has subscribed to by name, of which only the newest counts.
//!
//! They are QoS 0 and go out at once where there is room. What finds none, or comes before the SUBACK of its subscription, waits here, one value
//! for each topic: so at most as many wait as the session has filters, and a slow reader gets what is true when it reads again.

use super::subscribing::Pending;
use super::{Context, Session};
use crate::codec::QoS;
use crate::link::Delivery;
use crate::message::Identifiers;
use crate::shared::SharedMessage;
use crate::store::StoredSubscription;
use std::collections::VecDeque;
use std::sync::Arc;

/// The values that wait, in the order of their topics' first.
pub(super) type Latest = VecDeque<Arc<SharedMessage>>;

impl Session {
    /// A topic has a new value; for nobody, if the client has not subscribed to it by name.
    pub(super) fn latest(&mut self, message: Arc<SharedMessage>, cx: &Context<'_>) {
        if self.named(&message).is_none() {
            return;
        }
        if self.latest.is_none() && self.takes_latest(cx) {
            return self.send_latest(message, cx);
        }
        let waiting = self.latest.get_or_insert_default();
        match waiting.iter_mut().find(|known| known.topic == message.topic) {
            Some(known) => *known = message,
            None => waiting.push_back(message),
        }
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn pump_latest(&mut self, cx: &Context<'_>) {
        while self.latest.is_some() && self.takes_latest(cx) {
            match self.latest.as_mut().and_then(|waiting| waiting.pop_front()) {
                Some(message) => self.send_latest(message, cx),
                None => self.latest = None,
            }
        }
    }

    fn takes_latest(&self, cx: &Context<'_>) -> bool {
        self.has_room(cx) && !matches!(self.pending.as_deref(), Some(Pending::Saving(_)))
    }

    /// The subscription to the topic by name, if there is one.
    fn named(&self, message: &SharedMessage) -> Option<&StoredSubscription> {
        let by_name = |s: &&StoredSubscription| !s.plain && *s.filter == *message.topic;
        self.subscriptions.iter().find(by_name)
    }

    fn send_latest(&mut self, message: Arc<SharedMessage>, cx: &Context<'_>) {
        // It may have been given up while the value waited.
        let Some(subscription) = self.named(&message) else { return };
        let identifiers: Identifiers = subscription.identifier.into_iter().collect();
        let retain = message.retain;
        let delivery = Delivery { message, qos: QoS::AtMostOnce, retain, identifiers, share: None };
        self.send_plain(&delivery, None, cx);
    }
}
