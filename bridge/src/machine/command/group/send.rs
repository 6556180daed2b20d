//! A message to a group.

use super::Scene;
use super::story::{Said, Story};
use crate::entry::NewMessage;
use crate::machine::command::{Decision, Missing, Send, View};
use crate::machine::record::RingItem;
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::{ChatName, ConversationId, GroupId};

/// Decides on a message to a group: the same number, time and content for all who are members now.
pub(in super::super) fn decide(
    send: &Send,
    group_id: &GroupId,
    view: &impl View,
    env: &Env,
) -> Result<Decision, Missing> {
    let from = &send.caller.user;
    let id = send.message.client_msg_id.as_ref();
    let conversation_id = ConversationId::Group(group_id.clone());
    let named = send.caller.device.as_ref().zip(id);

    let mut missing = Missing::default();
    let scene = Scene::load(view, &send.caller, group_id);
    let ring =
        named.and_then(|(device, id)| missing.note(view.ring(from, device)).map(|ring| (ring, device, id)));
    let membership = missing.note(view.membership(group_id, from));
    let (Some(scene), Some(_)) = (missing.note(scene), membership) else { return Err(missing) };
    if !missing.0.is_empty() {
        return Err(missing);
    }
    if let Some((ring, _, id)) = ring
        && let Some((seq, time_ms)) = ring.find(&conversation_id, id, scene.user.since_ms)
    {
        return Ok(Decision::only(Outcome::Accepted { seq, time_ms }));
    }
    if let Some(refusal) = scene.forbidden(view, !scene.group.settings.admins_post, env)? {
        return super::refuse(view, &send.caller, id, refusal);
    }

    let chat = ChatName::Group(group_id.clone());
    // Nothing is said by somebody before they came: not even when the clock is set back.
    let env = &Env { now_ms: env.now_ms.max(scene.user.since_ms), ..*env };
    let mut story = Story::begin(view, group_id, scene.conversation, env);
    let time_ms = story.time_ms();
    let expires_at_ms = scene.conversation.deadline_ms(time_ms, send.message.expires_in_s);
    let said = Said { sender: from, client_msg_id: id, expires_at_ms, content: &send.message.content };
    let from_device = send.caller.device.as_ref().map(|device| (device, !send.caller.ack.has_number()));
    let seq = story.say(
        &said,
        &scene.group.members,
        |member, user, message| {
            if member.user != *from {
                return Some(message);
            }
            send.sender_needs_entry(user).then_some(NewMessage { client_msg_id: id, from_device, ..message })
        },
        &chat,
    );
    story.of(from, |membership| membership.sent = seq);
    if story.missed_somebody() {
        // Whoever counts who has the message does not wait for them.
        story.becomes(scene.living(view, env)?);
    }
    if expires_at_ms > 0 {
        story.change(Change::ExpireAt { at_ms: expires_at_ms, conversation: conversation_id.clone(), seq });
    }
    if let Some((_, device, id)) = ring {
        let item = RingItem { conversation: conversation_id, id: *id, seq, time_ms };
        story.change(Change::PushRing { user: from.clone(), device: device.clone(), item });
    }
    Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
}
