//! Where a message stands in inboxes: whose, and at which position. It is kept with the message, so that what was said can be taken back from
//! whoever has not been given it yet.
//!
//! Of a direct conversation, the key says the two users, in order: a position for each, 0 where there is none; notes to oneself have one. Of a
//! group, each user with their position: for 256 members that is a few KiB beside the 256 entries.

use super::codec::{DecodeError, Input, put_bytes, put_number};
use chasqui_proto::{ConversationId, UserId};

/// Where a message stands in inboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<u8>);

impl Places {
    /// Of a message between two users, or of a note to oneself: what `position` says of each.
    pub(super) fn direct(conversation: &ConversationId, position: impl Fn(&UserId) -> u64) -> Places {
        let mut places = Vec::with_capacity(8);
        if let ConversationId::Direct(pair) = conversation {
            let (low, high) = pair.users();
            put_number(&mut places, position(low));
            if low != high {
                put_number(&mut places, position(high));
            }
        }
        Places(places)
    }

    /// Of a message of a group: it stands there, too.
    pub(super) fn put(&mut self, user: &UserId, position: u64) {
        put_bytes(&mut self.0, user.as_bytes());
        put_number(&mut self.0, position);
    }

    /// As it is kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what was kept with a message of this conversation.
    ///
    /// # Errors
    /// If it makes no sense.
    pub fn decode(conversation: &ConversationId, places: &[u8]) -> Result<Vec<(UserId, u64)>, DecodeError> {
        read(conversation, places).ok_or(DecodeError::Malformed("message's places"))
    }
}

fn read(conversation: &ConversationId, places: &[u8]) -> Option<Vec<(UserId, u64)>> {
    let mut input = Input(places);
    let mut found = Vec::new();
    if places.is_empty() {
        return Some(found);
    }
    match conversation {
        ConversationId::Direct(pair) => {
            let (low, high) = pair.users();
            for user in [low, high].into_iter().take(if low == high { 1 } else { 2 }) {
                let position = input.number()?;
                found.extend((position > 0).then(|| (user.clone(), position)));
            }
        }
        ConversationId::Group(_) => {
            while !input.0.is_empty() {
                found.push((UserId::parse(input.text()?).ok()?, input.number()?));
            }
        }
    }
    input.end()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chasqui_proto::GroupId;
    use proptest::prelude::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[test]
    fn two_users_are_known_by_their_conversation() {
        for (one, other, positions, expected) in [
            ("bob", "alice", [7, 0], vec![("bob", 7)]),
            ("bob", "alice", [7, 9], vec![("alice", 9), ("bob", 7)]),
            ("bob", "alice", [0, 0], vec![]),
            ("bob", "bob", [7, 7], vec![("bob", 7)]),
        ] {
            let conversation = ConversationId::direct(&user(one), &user(other));
            let places = Places::direct(&conversation, |who| positions[usize::from(*who != user(one))]);
            let expected: Vec<_> = expected.into_iter().map(|(name, at)| (user(name), at)).collect();
            assert_eq!(Places::decode(&conversation, places.as_bytes()), Ok(expected));
        }
    }

    proptest! {
        #[test]
        fn round_trip(stands in prop::collection::vec(("[A-Za-z0-9_-]{1,64}", any::<u64>()), 0..9)) {
            let hikers = ConversationId::Group(GroupId::parse("hikers").unwrap());
            let stands: Vec<_> = stands.iter().map(|(name, at)| (user(name), *at)).collect();
            let mut places = Places::default();
            for (user, at) in &stands {
                places.put(user, *at);
            }
            prop_assert_eq!(Places::decode(&hikers, places.as_bytes()), Ok(stands));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>, group: bool) {
            let conversation = if group {
                ConversationId::Group(GroupId::parse("hikers").unwrap())
            } else {
                ConversationId::direct(&user("alice"), &user("bob"))
            };
            let _ = Places::decode(&conversation, &bytes);
        }
    }
}
