//! The end of a history: everybody reads all there is, then the conversations' logs are read as the store has them.

use super::world::{Phase, World, conversations};
use chasqui_bridge::machine::stored::StoredMessage;
use chasqui_bridge::sequencer::names;
use chasqui_proto::{ConversationId, UserId};
use chasqui_storage::Storage;
use chasqui_testkit::PATIENCE;
use chasqui_testkit::history::{Event, MessageId};
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
        let [one, other] = conversation.users().map(|user| UserId::parse(user).unwrap());
        let log = names::conversation(&ConversationId::direct(&one, &other));
        let mut from = 1;
        loop {
            let page = reader.read_log(&log, from, PAGE, usize::MAX).expect("the log can be read");
            let Some((last, _)) = page.last() else { break };
            from = last + 1;
            world.history.record_all(page.iter().map(|(seq, stored)| {
                let message = StoredMessage::decode(stored).expect("a message");
                let own_id = message.client_msg_id.expect("all have one");
                let own_id = String::from_utf8_lossy(own_id.as_bytes());
                let id: MessageId = format!("{}-{own_id}", message.sender).into();
                Event::Found { conversation: conversation.clone(), seq: *seq, id }
            }));
        }
    }
}
