//! What a client writes: messages to others and to its group, what it does to messages, and what it does about the group.

use super::{Client, Outgoing, PLAIN, What};
use crate::cast::InGroup;
use chasqui_proto::v1;
use chasqui_testkit::history::{Conversation, MessageId};
use prost::Message as _;
use rand::RngExt;
use rand::rngs::SmallRng;

/// The one group there is, in runs that have one. Whoever founds it chooses its id: what the server would choose, differs each time.
pub(crate) const GROUP: &str = "hikers";
/// Messages that something can be done to, at most: the last ones.
const KNOWN: usize = 8;

/// A message that something can be done to.
#[derive(Clone, Debug)]
pub(super) struct Known {
    conversation: Conversation,
    seq: u64,
    own: bool,
}

impl Client {
    /// It has seen, or sent, a message.
    pub(super) fn knows(&mut self, conversation: &Conversation, seq: u64, own: bool) {
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(Known { conversation: conversation.clone(), seq, own });
    }

    pub(super) fn compose(&mut self, rng: &mut SmallRng) -> Outgoing {
        self.composed += 1;
        let number = self.composed;
        let device = &self.part.device;
        let id: MessageId = format!("{}-{}-{number}", device.user, device.id).into();
        let in_group = self.part.in_group;
        if in_group == InGroup::Founds && number == 1 {
            return self.found(id);
        }
        if self.part.acts_in > 0 && rng.random_ratio(1, self.part.acts_in) && !self.known.is_empty() {
            return self.act(id, rng);
        }
        if in_group == InGroup::Founds && rng.random_ratio(1, 6) {
            return self.govern(id, rng);
        }
        if in_group == InGroup::Maybe && rng.random_ratio(1, 25) {
            let leave = v1::GroupNamed { group: GROUP.to_owned(), request_id: 0 };
            return outgoing(id, What::Govern, "do/group.leave", leave.encode_to_vec());
        }
        // Small ones lie in the inboxes, large ones in the conversation.
        let room = if rng.random_ratio(1, 5) { rng.random_range(200..1_500) } else { rng.random_range(0..9) };
        let text = format!("{id} {}", "x".repeat(room));
        if self.part.plain_in > 0 && rng.random_ratio(1, self.part.plain_in) {
            let topic = format!("{PLAIN}{}/{}", device.user, device.id);
            return outgoing(id, What::Plain { retain: rng.random() }, &topic, text.into_bytes());
        }
        let body = v1::Body { kind: Some(v1::body::Kind::Text(text)) };
        // At most 16 bytes: the user is known anyway.
        let client_msg_id = format!("{}-{number}", device.id).into_bytes().into();
        let send = v1::Send { client_msg_id, body: Some(body), ..v1::Send::default() };
        let conversation = if in_group != InGroup::Never && rng.random_ratio(1, 3) {
            Conversation::group(GROUP)
        } else {
            let to = &self.part.writes_to[number as usize % self.part.writes_to.len()];
            Conversation::of(&device.user, to)
        };
        let topic = format!("{}/send", conversation.name_for(&device.user));
        outgoing(id, What::Chat(conversation), &topic, send.encode_to_vec())
    }

    fn found(&self, id: MessageId) -> Outgoing {
        let members = self.part.writes_to.iter().take(1).map(ToString::to_string).collect();
        let create = v1::GroupCreate {
            group: GROUP.to_owned(),
            name: "Hikers".to_owned(),
            members,
            ..v1::GroupCreate::default()
        };
        outgoing(id, What::Govern, "do/group.create", create.encode_to_vec())
    }

    /// Somebody is to come into the group, or to go.
    fn govern(&self, id: MessageId, rng: &mut SmallRng) -> Outgoing {
        let who = &self.part.writes_to[rng.random_range(0..self.part.writes_to.len())];
        let users = v1::GroupUsers { group: GROUP.to_owned(), users: vec![who.to_string()], request_id: 0 };
        let topic = if rng.random_ratio(3, 5) { "do/group.add" } else { "do/group.remove" };
        outgoing(id, What::Govern, topic, users.encode_to_vec())
    }

    /// A message is edited, if it is an own one, or answered with a sign.
    fn act(&self, id: MessageId, rng: &mut SmallRng) -> Outgoing {
        let Known { conversation, seq, own } = self.known[rng.random_range(0..self.known.len())].clone();
        let name = conversation.name_for(&self.part.device.user);
        let what = What::Act(conversation);
        if own && rng.random() {
            let body = v1::Body { kind: Some(v1::body::Kind::Text(format!("{id} again"))) };
            let edit = v1::Edit { conversation: name, seq, body: Some(body), ..v1::Edit::default() };
            return outgoing(id, what, "do/edit", edit.encode_to_vec());
        }
        let react = v1::React { conversation: name, seq, emoji: id.to_string(), request_id: 0 };
        outgoing(id, what, "do/react", react.encode_to_vec())
    }
}

fn outgoing(id: MessageId, what: What, topic: &str, payload: Vec<u8>) -> Outgoing {
    Outgoing { id, what, topic: topic.into(), payload, attempts: 0 }
}
