//! What others do that concerns the session: the application answers, somebody publishes, logs grow and values change.

use super::{Stored, Verdict, World};
use crate::codec::{PublishProperties, Version};
use crate::fuzzing::application::message;
use crate::fuzzing::ledger::Stream;
use crate::fuzzing::operation::{Level, Manner, Topic};
use crate::fuzzing::world::acts::large;
use std::sync::Arc;

impl World {
    pub(super) fn answer(&mut self, which: usize, refuse: bool) {
        // 3.1.1 is sent away for a refusal, which is no fault of the session's.
        let refuse = refuse && self.version == Version::V5;
        if let Some(number) = self.application.answer(which, refuse, &self.store.durable())
            && let Some(entry) = self.client.ledger.get(number)
        {
            entry.queued = true;
        }
    }

    /// Whether a plain message of QoS above 0 has to go into the session's queue now.
    fn is_persistent(&self) -> bool {
        match &self.connection {
            Some((_, connection)) if connection.open => connection.persistent && !connection.over,
            Some(_) => false,
            None => match self.stored {
                Stored::Yes(at_ms) => at_ms.is_none_or(|at_ms| self.now_ms() < at_ms),
                Stored::No | Stored::Unsure => false,
            },
        }
    }

    pub(super) fn deliver(&mut self, topic: Topic, manner: Manner) -> Verdict {
        let topic = if matches!(topic, Topic::Command | Topic::Refused) { "p/b" } else { topic.as_str() };
        let number = self.client.ledger.add(topic, Stream::Others, manner.qos);
        let now_ms = self.now_ms();
        let mut message = message(topic, number, manner.qos.into());
        message.retain = manner.retain;
        message.received_ms = now_ms;
        if manner.large {
            message.payload = large(number);
        }
        if manner.expires {
            let expiry =
                PublishProperties { message_expiry_interval: Some(1), ..PublishProperties::default() };
            message.properties = Some(Arc::new(expiry));
        }
        if let Some(entry) = self.client.ledger.get(number) {
            entry.expires_ms = manner.expires.then_some(now_ms + 1_000);
            entry.large = manner.large;
        }
        let owed = manner.qos.min(self.client.at_least(topic, false));
        let persistent = self.is_persistent();
        let connected = self.up().is_some();
        self.broker.publish(message);
        self.judge()?;
        if owed > Level::Q0 && persistent {
            let queued = self.client.ledger.get(number).is_some_and(|entry| entry.queued);
            if !queued {
                return Err(format!(
                    "message {number} to {topic} is not queued for a session that subscribed to it"
                ));
            }
        } else if owed > Level::Q0 && connected {
            self.client.ledger.owe(number, false);
        }
        Ok(())
    }

    pub(super) fn append(&mut self, qos: Level, second: bool, hidden: bool, announce: bool) {
        let topic = if second { "log/b" } else { "log/a" };
        let number = self.client.ledger.add(topic, Stream::Log(0), qos);
        let position = self.application.append(second, number, qos.into(), hidden);
        if let Some(entry) = self.client.ledger.get(number) {
            entry.stream = Stream::Log(position);
        }
        let owed = qos.min(self.client.at_least(topic, false));
        if !hidden && owed > Level::Q0 {
            self.client.ledger.owe(number, true);
        }
        if announce {
            self.broker.committed([self.application.announcement()]);
        }
    }

    pub(super) fn set(&mut self, second: bool) {
        let topic = if second { "state/b" } else { "state/a" };
        let number = self.client.ledger.add(topic, Stream::Value(0), Level::Q2);
        let (tail, old) = self.application.set(second, number);
        if let Some(entry) = self.client.ledger.get(number) {
            entry.stream = Stream::Value(tail.items.first().map_or(0, |item| item.position));
        }
        if let Some(old) = old {
            self.client.ledger.excuse(old);
        }
        if self.client.at_least(topic, false) > Level::Q0 {
            self.client.ledger.owe(number, true);
        }
        self.broker.committed([tail]);
    }
}
