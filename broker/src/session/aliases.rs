//! Topic aliases of one connection (3.3.2.3.4): numbers that stand for topic names, chosen by whoever sends.
//!
//! Each side announces how many it takes. What the client chooses is remembered here within [`MAX_BYTES`]; what the server
//! chooses goes to topics that come again while they are worth it: a topic that is not known takes the place of the one that was
//! used least lately only if that one has been out of use for a while, so that more topics than aliases do not make every packet longer.

use crate::codec::ByteStr;
use crate::mutation::{Mutation, mutated};
use std::num::NonZeroU16;

/// Bytes of topic names that one client's aliases stand for.
const MAX_BYTES: usize = 64 * 1024;
/// An alias with its property takes this many bytes: a shorter name is sent as it is.
const ALIAS_BYTES: usize = 3;

/// What is wrong with an alias of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AliasError {
    /// Greater than what the server announced [MQTT-3.3.2-9].
    TooLarge,
    /// It stands for no topic.
    Unknown,
    /// The names are too long together.
    TooManyBytes,
}

/// Aliases that the client chose.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    topics: Vec<ByteStr>,
    bytes: usize,
}

impl Incoming {
    /// The topic of a PUBLISH with this alias: the one it names, from now on the alias's, or the one that the alias stands for.
    pub(super) fn resolve(
        &mut self,
        alias: NonZeroU16,
        topic: ByteStr,
        maximum: u16,
    ) -> Result<ByteStr, AliasError> {
        if alias.get() > maximum && !mutated(Mutation::TakesAnyAlias) {
            return Err(AliasError::TooLarge);
        }
        let index = usize::from(alias.get()) - 1;
        if topic.is_empty() {
            return self
                .topics
                .get(index)
                .filter(|known| !known.is_empty())
                .cloned()
                .ok_or(AliasError::Unknown);
        }
        if index >= self.topics.len() {
            self.topics.resize(index + 1, ByteStr::default());
        }
        let old = &mut self.topics[index];
        if **old != *topic {
            let bytes = self.bytes - old.len() + topic.len();
            if bytes > MAX_BYTES {
                return Err(AliasError::TooManyBytes);
            }
            self.bytes = bytes;
            // Without what else was read with it: it may be kept for long.
            *old = topic.detached();
        }
        Ok(topic)
    }
}

#[derive(Debug)]
struct Known {
    topic: ByteStr,
    used: u64,
}

/// Aliases that the server chose.
#[derive(Debug)]
pub(super) struct Outgoing {
    known: Vec<Known>,
    limit: u16,
    uses: u64,
}

/// The alias for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alias {
    pub(super) number: NonZeroU16,
    /// The client knows what it stands for: the name can be left out.
    pub(super) is_known: bool,
}

impl Outgoing {
    /// At most `limit` aliases; `None` for 0. Where there are any, what is sent is different for each client.
    pub(super) fn new(limit: u16) -> Option<Outgoing> {
        let limit = if mutated(Mutation::SendsTooManyAliases) { limit.saturating_add(1) } else { limit };
        (limit > 0).then_some(Outgoing { known: Vec::new(), limit, uses: 0 })
    }

    /// The alias to send a topic with, if any. Unknown, it is so until [`Outgoing::learned`] says that the packet is written.
    pub(super) fn alias(&mut self, topic: &str) -> Option<Alias> {
        if topic.len() <= ALIAS_BYTES {
            return None;
        }
        self.uses += 1;
        if let Some(index) = self.known.iter().position(|known| *known.topic == *topic) {
            self.known[index].used = self.uses;
            return Some(Alias { number: number(index), is_known: true });
        }
        let index = if self.known.len() < usize::from(self.limit) {
            self.known.len()
        } else {
            let (index, oldest) = self.known.iter().enumerate().min_by_key(|(_, known)| known.used)?;
            if self.uses - oldest.used <= 2 * u64::from(self.limit) {
                return None;
            }
            index
        };
        Some(Alias { number: number(index), is_known: false })
    }

    /// The client has been told, or will be before anything that is written later, what an alias stands for.
    pub(super) fn learned(&mut self, alias: Alias, topic: &ByteStr) {
        let known = Known { topic: topic.detached(), used: self.uses };
        let index = usize::from(alias.number.get()) - 1;
        match self.known.get_mut(index) {
            Some(old) => *old = known,
            None => self.known.push(known),
        }
    }
}

fn number(index: usize) -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(index as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> ByteStr {
        ByteStr::try_from(text).expect("short")
    }

    fn alias(alias: u16) -> NonZeroU16 {
        NonZeroU16::new(alias).expect("not 0")
    }

    #[test]
    fn a_clients_alias_stands_for_the_topic_it_was_last_sent_with() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.resolve(alias(2), text(""), 4), Err(AliasError::Unknown));
        assert_eq!(incoming.resolve(alias(2), text("a/b"), 4), Ok(text("a/b")));
        assert_eq!(incoming.resolve(alias(1), text(""), 4), Err(AliasError::Unknown));
        assert_eq!(incoming.resolve(alias(2), text(""), 4), Ok(text("a/b")));
        assert_eq!(incoming.resolve(alias(2), text("c"), 4), Ok(text("c")));
        assert_eq!(incoming.resolve(alias(2), text(""), 4), Ok(text("c")));
        assert_eq!(incoming.resolve(alias(5), text("a"), 4), Err(AliasError::TooLarge));
        assert_eq!(incoming.resolve(alias(1), text("a"), 0), Err(AliasError::TooLarge));
    }

    #[test]
    fn what_a_client_makes_the_server_remember_is_bounded() {
        let mut incoming = Incoming::default();
        let long = |letter: char| ByteStr::try_from(letter.to_string().repeat(MAX_BYTES / 2)).expect("short");
        for letter in ['a', 'b', 'c'] {
            assert!(incoming.resolve(alias(1), long(letter), 4).is_ok());
        }
        assert!(incoming.resolve(alias(2), long('d'), 4).is_ok());
        assert_eq!(incoming.resolve(alias(3), text("e"), 4), Err(AliasError::TooManyBytes));
    }

    proptest! {
        /// A client that follows the standard understands every packet, whatever is sent and whatever is not written.
        #[test]
        fn the_client_knows_what_is_left_out(limit in 1u16..5, sends in prop::collection::vec((0usize..9, any::<bool>()), 0..200)) {
            let mut outgoing = Outgoing::new(limit).expect("above 0");
            let mut client = Incoming::default();
            for (topic, written) in sends {
                let topic = text(&format!("topic/{topic}"));
                let Some(alias) = outgoing.alias(&topic) else { continue };
                if !written {
                    continue;
                }
                let sent = if alias.is_known { text("") } else { topic.clone() };
                prop_assert_eq!(client.resolve(alias.number, sent, limit), Ok(topic.clone()));
                if !alias.is_known {
                    outgoing.learned(alias, &topic);
                }
            }
        }
    }

    #[test]
    fn a_client_that_takes_none_gets_none() {
        assert!(Outgoing::new(0).is_none());
    }

    #[test]
    fn more_topics_than_aliases_do_not_chase_each_other() {
        let mut outgoing = Outgoing::new(2).expect("above 0");
        let mut left_out = 0;
        for round in 0..100 {
            let topic = text(&format!("topic/{}", round % 3));
            if let Some(alias) = outgoing.alias(&topic) {
                left_out += usize::from(alias.is_known);
                if !alias.is_known {
                    outgoing.learned(alias, &topic);
                }
            }
        }
        assert_eq!(left_out, 65, "two of three topics, but for their first times");
    }
}
