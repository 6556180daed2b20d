//! Who is writing to whom, or in which group: passed on to those who are there, and forgotten.
//!
//! Nothing of it is stored or waits for anybody. A client says it again and again while somebody writes; what says nothing new within
//! [`TYPING_REPEAT_MS`] is not passed on, however often it comes.

use bytes::Bytes;
use chasqui_broker::codec::{ByteStr, QoS};
use chasqui_broker::message::{Identifiers, Message};
use chasqui_proto::limits::TYPING_REPEAT_MS;
use chasqui_proto::{ChatName, Topic, UserId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::BuildHasher;

const SHARDS: usize = 16;
/// Entries of one shard beyond which those that say nothing any more are looked for.
const MANY: usize = 1_024;

/// What a user says that they do, to another or in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typing {
    pub(super) to: ChatName,
    /// As the number of [`State`](chasqui_proto::v1::typing::State), which a later version may have more of.
    pub(super) state: i32,
    /// As it came: with what this version does not know.
    pub(super) payload: Bytes,
    /// When it came, Unix milliseconds.
    pub(super) at_ms: u64,
}

impl Typing {
    /// What one of those who see it gets of it.
    pub(super) fn message(&self, from: &UserId, user: UserId) -> Option<Message> {
        let topic = match &self.to {
            ChatName::User(_) => Topic::TypingUser { user, peer: from.clone() },
            ChatName::Group(group) => {
                Topic::TypingMember { user, group: group.clone(), member: from.clone() }
            }
        };
        Some(Message {
            topic: ByteStr::try_from(topic.to_string()).ok()?,
            payload: self.payload.clone(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            received_ms: self.at_ms,
            identifiers: Identifiers::new(),
            share: None,
        })
    }
}

/// What was passed on last, and when: by the hash of who says it to whom. Two pairs of one hash cost each other a repetition.
type Shard = Mutex<HashMap<u64, (i32, u64), foldhash::fast::RandomState>>;

/// What was passed on lately.
pub(super) struct Repeats {
    shards: [Shard; SHARDS],
    hasher: foldhash::fast::RandomState,
}

impl Default for Repeats {
    fn default() -> Repeats {
        Repeats {
            shards: std::array::from_fn(|_| Shard::default()),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl Repeats {
    /// Whether it says something new, or something that is worth saying again.
    pub(super) fn is_news(&self, from: &UserId, typing: &Typing) -> bool {
        let pair = self.hasher.hash_one((from, &typing.to));
        let mut shard = self.shards[pair as usize % SHARDS].lock();
        let lately = |at_ms: u64| typing.at_ms.abs_diff(at_ms) < TYPING_REPEAT_MS;
        if shard.get(&pair).is_some_and(|(state, at_ms)| *state == typing.state && lately(*at_ms)) {
            return false;
        }
        if shard.len() >= MANY {
            shard.retain(|_, (_, at_ms)| lately(*at_ms));
        }
        shard.insert(pair, (typing.state, typing.at_ms));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chasqui_proto::v1::typing::State;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn typing(to: &str, state: State, at_ms: u64) -> Typing {
        Typing { to: ChatName::User(user(to)), state: state.into(), payload: Bytes::new(), at_ms }
    }

    #[test]
    fn what_is_repeated_within_a_second_is_no_news() {
        let repeats = Repeats::default();
        let says = |from: &str, to, state, at_ms| repeats.is_news(&user(from), &typing(to, state, at_ms));
        assert!(says("alice", "bob", State::Typing, 10_000));
        assert!(!says("alice", "bob", State::Typing, 10_000 + TYPING_REPEAT_MS - 1));
        assert!(says("alice", "bob", State::Typing, 10_000 + TYPING_REPEAT_MS));
        // Something else, to somebody else, or by somebody else, is.
        assert!(says("alice", "bob", State::Recording, 11_001));
        assert!(says("alice", "bob", State::Idle, 11_002));
        assert!(says("alice", "carol", State::Typing, 11_002));
        assert!(says("bob", "alice", State::Typing, 11_002));
        // A clock that was set back silences nobody.
        assert!(says("alice", "bob", State::Idle, 1_000));
    }

    #[test]
    fn what_nobody_repeats_is_forgotten() {
        let repeats = Repeats::default();
        for number in 0..100_000u64 {
            assert!(
                repeats.is_news(&user("alice"), &typing(&format!("user-{number}"), State::Typing, number))
            );
        }
        let held: usize = repeats.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(held <= SHARDS * (MANY + 1), "{held}");
    }
}
