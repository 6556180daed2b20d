//! Two users, or one who writes notes, and something that is said between them: it gets the next number, is kept in their conversation, and goes into the inbox of
//! both, to all of their devices.

use super::own;
use super::send::append;
use super::{Missing, View};
use crate::entry::NewMessage;
use crate::machine::places::Places;
use crate::machine::record::{Conversation, User};
use crate::machine::stored::NewStored;
use crate::machine::{Change, Env};
use chasqui_proto::{ChatName, ConversationId, Seq, UserId};

/// Two users, one of whom says something to the other.
pub(super) struct Pair<'a> {
    pub(super) me: &'a UserId,
    pub(super) user: &'a User,
    pub(super) peer_id: &'a UserId,
    pub(super) peer: &'a User,
    pub(super) id: ConversationId,
    pub(super) conversation: &'a Conversation,
}

/// Something that was said.
pub(super) struct Told {
    pub(super) seq: Seq,
    pub(super) time_ms: u64,
    pub(super) places: Places,
}

impl<'a> Pair<'a> {
    pub(super) fn load(
        view: &'a impl View,
        me: &'a UserId,
        peer_id: &'a UserId,
    ) -> Result<Pair<'a>, Missing> {
        let id = ConversationId::direct(me, peer_id);
        let mut missing = Missing::default();
        let user = missing.note(view.user(me));
        let peer = missing.note(view.user(peer_id));
        let conversation = missing.note(view.conversation(&id));
        match (user, peer, conversation) {
            (Some(user), Some(peer), Some(conversation)) => {
                Ok(Pair { me, user, peer_id, peer, id, conversation })
            }
            _ => Err(missing),
        }
    }

    /// Says something that is no message of its own, as content. All of one's own devices see it, the one that says it as well: they have to agree.
    pub(super) fn tell(
        &self,
        content: &[u8],
        expires_at_ms: u64,
        env: &Env,
        changes: &mut Vec<Change>,
    ) -> Told {
        let Pair { me, user, peer_id, peer, id, conversation } = self;
        let seq = conversation.head.next();
        let time_ms = env.now_ms.max(conversation.last_time_ms);
        let to_self = me == peer_id;
        let their_name = ChatName::User((*peer_id).clone());
        let message = NewMessage {
            chat: &their_name,
            sender: (!to_self).then_some(me),
            seq,
            prev_seq: None,
            time_ms,
            expires_at_ms,
            client_msg_id: None,
            from_device: None,
            content,
            whole: false,
        };
        changes.push(append(me, user, &message));
        changes.extend(own::list(me, &their_name, conversation, time_ms));
        let gets_it = !to_self && peer.exists;
        if gets_it {
            let own_name = ChatName::User((*me).clone());
            let theirs = NewMessage { chat: &own_name, sender: None, ..message };
            changes.push(append(peer_id, peer, &theirs));
            changes.extend(own::list(peer_id, &own_name, conversation, time_ms));
        }
        let places = Places::direct(id, |who| match who {
            who if who == *me => user.inbox_head + 1,
            _ if gets_it => peer.inbox_head + 1,
            _ => 0,
        });
        let stored = NewStored {
            sender: me,
            time_ms,
            client_msg_id: None,
            expires_at_ms,
            places: places.as_bytes(),
            content,
        };
        let conversation = id.clone();
        changes.push(Change::AppendMessage { conversation, seq, time_ms, message: stored.encode() });
        Told { seq, time_ms, places }
    }
}
