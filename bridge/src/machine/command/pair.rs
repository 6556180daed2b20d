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
use chasqui_proto::{ChatName, ConversationId, ErrorCode, Refusal, Seq, UserId};

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

/// What is refused to who blocks the other side.
pub(super) fn blocks_them() -> Refusal {
    Refusal::because(ErrorCode::Forbidden, "this user blocks the other one: unblock them first")
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

    /// Whether the other side blocks who says something: then they alone see it.
    pub(super) fn is_blocked(&self) -> bool {
        let Pair { me, user, peer_id, peer, id, conversation } = self;
        me != peer_id && conversation.blocks(id, (peer_id, peer), user)
    }

    /// Why nothing can be said to somebody whom one blocks.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let Pair { me, user, peer, id, conversation, .. } = self;
        conversation.blocks(id, (me, user), peer).then(blocks_them)
    }

    /// Says something that is no message of its own, as content. All of one's own devices see it, the one that says it as well: they have to agree.
    /// The other side does not where it is about something that one `alone` sees, or blocks who says it.
    pub(super) fn tell(
        &self,
        content: &[u8],
        expires_at_ms: u64,
        alone: bool,
        env: &Env,
        changes: &mut Vec<Change>,
    ) -> Told {
        let Pair { me, user, peer_id, peer, id, conversation } = self;
        let (my_shown, their_shown) = (conversation.shown(id, me), conversation.shown(id, peer_id));
        let alone = alone || self.is_blocked();
        let seq = conversation.head.next();
        // Nothing is said before they came, however the clock was set.
        let time_ms = env.now_ms.max(conversation.last_time_ms).max(user.since_ms).max(peer.since_ms);
        let to_self = me == peer_id;
        let their_name = ChatName::User((*peer_id).clone());
        let message = NewMessage {
            chat: &their_name,
            sender: (!to_self).then_some(me),
            seq,
            prev_seq: own::prev_seq(user, my_shown, seq),
            time_ms,
            expires_at_ms,
            client_msg_id: None,
            from_device: None,
            content,
            whole: false,
        };
        changes.push(append(me, user, &message));
        changes.extend(own::list(me, user, &their_name, my_shown, time_ms));
        let gets_it = !to_self && peer.exists && !alone;
        if gets_it {
            let own_name = ChatName::User((*me).clone());
            let prev_seq = own::prev_seq(peer, their_shown, seq);
            let theirs = NewMessage { chat: &own_name, sender: None, prev_seq, ..message };
            changes.push(append(peer_id, peer, &theirs));
            changes.extend(own::list(peer_id, peer, &own_name, their_shown, time_ms));
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
            alone,
            places: places.as_bytes(),
            content,
        };
        let shade = conversation.shade_after(id, me, (seq, time_ms), alone);
        let (message, conversation) = (stored.encode(), id.clone());
        changes.push(Change::AppendMessage { conversation, seq, time_ms, message });
        changes.extend(shade.map(|to| Change::PutShade { conversation: id.clone(), to: Some(to) }));
        Told { seq, time_ms, places }
    }
}
