//! The end of a history: everybody reads all there is, then the conversations' logs are read as the store has them.

use super::world::{Phase, World, conversations};
use chasqui_bridge::machine::stored::StoredMessage;
use chasqui_bridge::sequencer::names;
use chasqui_proto::{ConversationId, GroupId, UserId, v1};
use chasqui_storage::Storage;
use chasqui_testkit::PATIENCE;
use chasqui_testkit::history::{Conversation, Event, MessageId};
use prost::Message as _;
use std::time::Duration;
use tokio::task::JoinSet;

/// So many messages are read at once.
const PAGE: usize = 500;

/// Lets everything come to rest; what was still to come when patience had ended.
pub(crate) async fn rest(world: &World, players: JoinSet<()>, patience: Duration) -> Result<(), String> {
    world.enter(Phase::Quiet);
    let rested = world.settles(patience).await;
    leave(world, players).await;
    rested
}

/// All leave. A player that panicked has its panic here.
pub(crate) async fn leave(world: &World, players: JoinSet<()>) {
    world.enter(Phase::Over);
    tokio::time::timeout(PATIENCE, players.join_all()).await.expect("all leave in time");
}

/// Records what the store has.
pub(crate) fn read_all(world: &World, storage: &Storage) {
    let reader = storage.reader();
    for conversation in conversations() {
        let id = match &conversation {
            Conversation::Direct(one, other) => {
                ConversationId::direct(&UserId::parse(one).unwrap(), &UserId::parse(other).unwrap())
            }
            Conversation::Group(name) => ConversationId::Group(GroupId::parse(name).unwrap()),
        };
        let log = names::conversation(&id);
        let mut from = 1;
        loop {
            let page = reader.read_log(&log, from, PAGE, usize::MAX).expect("the log can be read");
            let Some((last, _)) = page.last() else { break };
            from = last + 1;
            world.history.record_all(page.iter().map(|(seq, stored)| {
                let message = StoredMessage::decode(stored).expect("a message");
                let content = v1::Message::decode(message.content).expect("it has content");
                if content.change.is_some() {
                    // Nothing else happens to the group.
                    let members = ["alice", "bob", "carol"].map(Into::into).to_vec();
                    let (conversation, id) = (conversation.clone(), "created".into());
                    return Event::FoundChange { conversation, seq: *seq, id, members };
                }
                let edited = content.edit.and_then(|edit| edit.body).and_then(|body| body.kind);
                let acted = match (edited, content.reaction) {
                    (Some(v1::body::Kind::Text(text)), _) => text.split(' ').next().map(MessageId::from),
                    (_, reaction) => reaction.map(|reaction| reaction.emoji.into()),
                };
                if let Some(id) = acted {
                    return Event::Found { conversation: conversation.clone(), seq: *seq, id };
                }
                let own_id = message.client_msg_id.expect("all have one");
                let own_id = String::from_utf8_lossy(own_id.as_bytes());
                let id: MessageId = format!("{}-{own_id}", message.sender).into();
                Event::Found { conversation: conversation.clone(), seq: *seq, id }
            }));
        }
    }
}
