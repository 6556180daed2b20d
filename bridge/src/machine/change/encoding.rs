//! Changes as bytes: a version byte, a tag, and the fields. Tags are never used again: the log on disk has them.

use super::Change;
use crate::machine::codec::{self, DecodeError, Input, put_bytes, put_number};
use crate::machine::record::{
    Audience, Chat, Fate, Group, Membership, Receipt, Report, ReportId, RingItem, Shade, Tie,
};
use bytes::Bytes;
use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, Seq, UserId};

const VERSION: u8 = 2;

impl Change {
    /// The change as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Change::CreateUser { user, at_ms } => {
                tagged(out, 1, user);
                put_number(out, *at_ms);
            }
            Change::RemoveUser { user } => tagged(out, 2, user),
            Change::AppendMessage { conversation, seq, time_ms, message } => {
                out.push(3);
                put_conversation(out, conversation);
                put_number(out, seq.0);
                put_number(out, *time_ms);
                put_bytes(out, message);
            }
            Change::AppendInbox { user, position, entry } => {
                tagged(out, 4, user);
                put_number(out, *position);
                put_bytes(out, entry);
            }
            Change::TrimInbox { user, up_to } => {
                tagged(out, 5, user);
                put_number(out, *up_to);
            }
            Change::PushRing { user, device, item } => {
                tagged(out, 6, user);
                put_bytes(out, device.as_bytes());
                put_encoded(out, |stored| item.encode(stored));
            }
            Change::AttachDevice { user, device, start } => {
                tagged(out, 7, user);
                put_bytes(out, device.as_bytes());
                put_number(out, *start);
            }
            Change::DetachDevice { user, device } => {
                tagged(out, 8, user);
                put_bytes(out, device.as_bytes());
            }
            Change::NoteLost { user, device, at_ms } => {
                tagged(out, 40, user);
                put_bytes(out, device.as_bytes());
                put_number(out, *at_ms);
            }
            Change::MoveCursor { user, device, acked } => {
                tagged(out, 9, user);
                put_bytes(out, device.as_bytes());
                put_number(out, *acked);
            }
            Change::PutReceipt { owner, chat, receipt } => {
                tagged(out, 10, owner);
                put_bytes(out, chat.to_string().as_bytes());
                put_number(out, receipt.position);
                put_encoded(out, |stored| receipt.encode(stored));
            }
            Change::PutGroup { group, to } => {
                out.push(11);
                put_bytes(out, group.as_bytes());
                put_encoded(out, |stored| to.encode(stored));
            }
            Change::PutMembership { group, user, to } => {
                tagged(out, 12, user);
                put_bytes(out, group.as_bytes());
                put_encoded(out, |stored| to.encode(stored));
            }
            Change::PutChat { owner, chat, to } => {
                tagged(out, 14, owner);
                put_bytes(out, chat.to_string().as_bytes());
                put_encoded(out, |stored| to.encode(stored));
            }
            Change::EraseMessage { conversation, seq, message } => {
                out.push(16);
                put_conversation(out, conversation);
                put_number(out, seq.0);
                put_bytes(out, message);
            }
            Change::EraseEntry { user, position, entry } => {
                tagged(out, 17, user);
                put_number(out, *position);
                put_bytes(out, entry);
            }
            Change::PutFate { conversation, seq, to } => {
                out.push(18);
                put_conversation(out, conversation);
                put_number(out, seq.0);
                put_encoded(out, |stored| to.encode(stored));
            }
            Change::HideMessage { owner, life, chat, seq } => {
                tagged(out, 19, owner);
                put_number(out, u64::from(*life));
                put_bytes(out, chat.to_string().as_bytes());
                put_number(out, seq.0);
            }
            Change::StarMessage { owner, life, chat, seq, starred } => {
                tagged(out, 24, owner);
                put_number(out, u64::from(*life));
                put_bytes(out, chat.to_string().as_bytes());
                put_number(out, seq.0);
                out.push(u8::from(*starred));
            }
            Change::SetTimer { conversation, seconds } => {
                out.push(20);
                put_conversation(out, conversation);
                put_number(out, u64::from(*seconds));
            }
            Change::PutShade { conversation, to } => {
                out.push(23);
                put_conversation(out, conversation);
                out.push(u8::from(to.is_some()));
                if let Some(shade) = to {
                    shade.encode(out);
                }
            }
            Change::ExpireAt { at_ms, conversation, seq } => {
                out.push(21);
                put_number(out, *at_ms);
                put_conversation(out, conversation);
                put_number(out, seq.0);
            }
            Change::Expired { at_ms, conversation, seq } => {
                out.push(22);
                put_number(out, *at_ms);
                put_conversation(out, conversation);
                put_number(out, seq.0);
            }
            Change::ListChat { user, chat, from, to } => {
                tagged(out, 15, user);
                put_bytes(out, chat.to_string().as_bytes());
                // The hour that it is taken from, one more, so that 0 is none.
                put_number(out, from.map_or(0, |from| u64::from(from) + 1));
                put_number(out, u64::from(*to));
            }
            Change::HideReads { user, hides } => {
                tagged(out, 13, user);
                out.push(u8::from(*hides));
            }
            Change::PutTie { owner, other, to, ties } => {
                tagged(out, 32, owner);
                put_bytes(out, other.as_bytes());
                put_encoded(out, |stored| to.encode(stored));
                put_number(out, u64::from(*ties));
            }
            Change::PutReport { id, to } => {
                out.push(41);
                put_bytes(out, &id.0);
                put_encoded(out, |stored| to.encode(stored));
            }
            Change::ShowPresence { user, to } => {
                tagged(out, 33, user);
                out.push(to.number());
            }
        }
    }

    /// Reads a change.
    ///
    /// # Errors
    /// If it is of a newer version, or no change.
    pub fn decode(bytes: &[u8]) -> Result<Change, DecodeError> {
        codec::versioned("change", VERSION, bytes, Self::read)
    }

    fn read(input: &mut Input<'_>) -> Option<Change> {
        Some(match input.byte()? {
            1 => Change::CreateUser { user: user(input)?, at_ms: input.number()? },
            2 => Change::RemoveUser { user: user(input)? },
            3 => Change::AppendMessage {
                conversation: ConversationId::parse(input.text()?).ok()?,
                seq: Seq(input.number()?),
                time_ms: input.number()?,
                message: Bytes::copy_from_slice(input.bytes()?),
            },
            4 => Change::AppendInbox {
                user: user(input)?,
                position: input.number()?,
                entry: Bytes::copy_from_slice(input.bytes()?),
            },
            5 => Change::TrimInbox { user: user(input)?, up_to: input.number()? },
            6 => Change::PushRing {
                user: user(input)?,
                device: device(input)?,
                item: RingItem::decode(input.bytes()?).ok()?,
            },
            7 => Change::AttachDevice { user: user(input)?, device: device(input)?, start: input.number()? },
            8 => Change::DetachDevice { user: user(input)?, device: device(input)? },
            40 => Change::NoteLost { user: user(input)?, device: device(input)?, at_ms: input.number()? },
            41 => {
                let id = ReportId(<[u8; 16]>::try_from(input.bytes()?).ok()?);
                Change::PutReport { id, to: Box::new(Report::decode(input.bytes()?).ok()?) }
            }
            9 => Change::MoveCursor { user: user(input)?, device: device(input)?, acked: input.number()? },
            10 => {
                let (owner, chat) = (user(input)?, ChatName::parse(input.text()?).ok()?);
                let position = input.number()?;
                Change::PutReceipt { owner, chat, receipt: Receipt::decode(position, input.bytes()?).ok()? }
            }
            11 => {
                let (group, to) = (group(input)?, Group::decode(input.bytes()?).ok()?);
                Change::PutGroup { group, to: Box::new(to) }
            }
            12 => {
                let (user, group) = (user(input)?, group(input)?);
                Change::PutMembership { group, user, to: Membership::decode(input.bytes()?).ok()? }
            }
            13 => {
                let user = user(input)?;
                let hides = input.byte()?;
                Change::HideReads { user, hides: (hides <= 1).then_some(hides == 1)? }
            }
            14 => {
                let (owner, chat) = (user(input)?, ChatName::parse(input.text()?).ok()?);
                Change::PutChat { owner, chat, to: Box::new(Chat::decode(input.bytes()?).ok()?) }
            }
            15 => {
                let (user, chat) = (user(input)?, ChatName::parse(input.text()?).ok()?);
                let from = match input.number()? {
                    0 => None,
                    behind => Some(u32::try_from(behind - 1).ok()?),
                };
                Change::ListChat { user, chat, from, to: u32::try_from(input.number()?).ok()? }
            }
            16 => Change::EraseMessage {
                conversation: ConversationId::parse(input.text()?).ok()?,
                seq: Seq(input.number()?),
                message: Bytes::copy_from_slice(input.bytes()?),
            },
            17 => Change::EraseEntry {
                user: user(input)?,
                position: input.number()?,
                entry: Bytes::copy_from_slice(input.bytes()?),
            },
            18 => Change::PutFate {
                conversation: ConversationId::parse(input.text()?).ok()?,
                seq: Seq(input.number()?),
                to: Fate::decode(input.bytes()?).ok()?,
            },
            19 => Change::HideMessage {
                owner: user(input)?,
                life: u32::try_from(input.number()?).ok()?,
                chat: ChatName::parse(input.text()?).ok()?,
                seq: Seq(input.number()?),
            },
            20 => Change::SetTimer {
                conversation: ConversationId::parse(input.text()?).ok()?,
                seconds: u32::try_from(input.number()?).ok()?,
            },
            tag @ (21 | 22) => {
                let at_ms = input.number()?;
                let (conversation, seq) = (ConversationId::parse(input.text()?).ok()?, Seq(input.number()?));
                if tag == 21 {
                    Change::ExpireAt { at_ms, conversation, seq }
                } else {
                    Change::Expired { at_ms, conversation, seq }
                }
            }
            23 => Change::PutShade {
                conversation: ConversationId::parse(input.text()?).ok()?,
                to: match input.byte()? {
                    0 => None,
                    1 => Some(Box::new(Shade::read(input)?)),
                    _ => return None,
                },
            },
            24 => Change::StarMessage {
                owner: user(input)?,
                life: u32::try_from(input.number()?).ok()?,
                chat: ChatName::parse(input.text()?).ok()?,
                seq: Seq(input.number()?),
                starred: input.byte().filter(|starred| *starred <= 1)? == 1,
            },
            32 => Change::PutTie {
                owner: user(input)?,
                other: user(input)?,
                to: Tie::decode(input.bytes()?).ok()?,
                ties: u32::try_from(input.number()?).ok()?,
            },
            33 => Change::ShowPresence { user: user(input)?, to: Audience::from_number(input.byte()?)? },
            _ => return None,
        })
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, user: &UserId) {
    out.push(tag);
    put_bytes(out, user.as_bytes());
}

fn put_conversation(out: &mut Vec<u8>, conversation: &ConversationId) {
    let mut text = Vec::with_capacity(80);
    conversation.write_key(&mut text);
    put_bytes(out, &text);
}

fn user(input: &mut Input<'_>) -> Option<UserId> {
    UserId::parse(input.text()?).ok()
}

fn device(input: &mut Input<'_>) -> Option<DeviceId> {
    DeviceId::parse(input.text()?).ok()
}

fn group(input: &mut Input<'_>) -> Option<GroupId> {
    GroupId::parse(input.text()?).ok()
}

fn put_encoded(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let mut stored = Vec::new();
    encode(&mut stored);
    put_bytes(out, &stored);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::record::{
        Mark, arbitrary_chat, arbitrary_fate, arbitrary_group, arbitrary_membership, arbitrary_shade,
        arbitrary_tie,
    };
    use chasqui_proto::ClientMsgId;
    use proptest::prelude::*;

    fn arbitrary() -> impl Strategy<Value = Change> {
        let user = || "[A-Za-z0-9_-]{1,64}".prop_map(|id| UserId::parse(&id).unwrap());
        let device = || "[A-Za-z0-9_-]{1,64}".prop_map(|id| DeviceId::parse(&id).unwrap());
        let group = || "[A-Za-z0-9_-]{1,64}".prop_map(|id| GroupId::parse(&id).unwrap());
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let direct = (user(), user()).prop_map(|(a, b)| ConversationId::direct(&a, &b));
        let mark = || any::<(u64, u64)>().prop_map(|(up_to, at_ms)| Mark { up_to: Seq(up_to), at_ms });
        let id =
            prop::collection::vec(any::<u8>(), 1..=16).prop_map(|id| ClientMsgId::from_bytes(&id).unwrap());
        prop_oneof![
            (user(), any::<u64>()).prop_map(|(user, at_ms)| Change::CreateUser { user, at_ms }),
            user().prop_map(|user| Change::RemoveUser { user }),
            (direct.clone(), any::<u64>(), any::<u64>(), bytes()).prop_map(
                |(conversation, seq, time_ms, message)| {
                    Change::AppendMessage { conversation, seq: Seq(seq), time_ms, message }
                }
            ),
            (user(), any::<u64>(), bytes()).prop_map(|(user, position, entry)| Change::AppendInbox {
                user,
                position,
                entry
            }),
            (user(), any::<u64>()).prop_map(|(user, up_to)| Change::TrimInbox { user, up_to }),
            (user(), device(), direct.clone(), id, any::<(u64, u64)>()).prop_map(
                |(user, device, conversation, id, (seq, time_ms))| {
                    let item = RingItem { conversation, id, seq: Seq(seq), time_ms };
                    Change::PushRing { user, device, item }
                }
            ),
            (user(), device(), any::<u64>()).prop_map(|(user, device, start)| Change::AttachDevice {
                user,
                device,
                start
            }),
            (user(), device()).prop_map(|(user, device)| Change::DetachDevice { user, device }),
            (user(), device(), any::<u64>()).prop_map(|(user, device, at_ms)| Change::NoteLost {
                user,
                device,
                at_ms
            }),
            (user(), device(), any::<u64>()).prop_map(|(user, device, acked)| Change::MoveCursor {
                user,
                device,
                acked
            }),
            (user(), user(), any::<u64>(), mark(), mark(), mark()).prop_map(
                |(owner, peer, position, delivered, read, played)| {
                    let receipt = Receipt { position, delivered, read, played, members: None };
                    Change::PutReceipt { owner, chat: ChatName::User(peer), receipt }
                }
            ),
            (user(), user(), arbitrary_chat()).prop_map(|(owner, peer, to)| Change::PutChat {
                owner,
                chat: ChatName::User(peer),
                to: Box::new(to)
            }),
            (user(), group(), any::<Option<u32>>(), any::<u32>()).prop_map(|(user, group, from, to)| {
                Change::ListChat { user, chat: ChatName::Group(group), from, to }
            }),
            (direct.clone(), any::<u64>(), bytes()).prop_map(|(conversation, seq, message)| {
                Change::EraseMessage { conversation, seq: Seq(seq), message }
            }),
            (user(), any::<u64>(), bytes()).prop_map(|(user, position, entry)| Change::EraseEntry {
                user,
                position,
                entry
            }),
            (direct.clone(), any::<u64>(), arbitrary_fate())
                .prop_map(|(conversation, seq, to)| { Change::PutFate { conversation, seq: Seq(seq), to } }),
            (user(), any::<u32>(), group(), any::<u64>()).prop_map(|(owner, life, group, seq)| {
                Change::HideMessage { owner, life, chat: ChatName::Group(group), seq: Seq(seq) }
            }),
            (direct.clone(), prop::option::of(arbitrary_shade().prop_map(Box::new)))
                .prop_map(|(conversation, to)| Change::PutShade { conversation, to }),
            (user(), any::<u32>(), group(), any::<(u64, bool)>()).prop_map(
                |(owner, life, group, (seq, starred))| Change::StarMessage {
                    owner,
                    life,
                    chat: ChatName::Group(group),
                    seq: Seq(seq),
                    starred
                }
            ),
            (direct.clone(), any::<u32>())
                .prop_map(|(conversation, seconds)| Change::SetTimer { conversation, seconds }),
            (any::<u64>(), direct.clone(), any::<u64>()).prop_map(|(at_ms, conversation, seq)| {
                Change::ExpireAt { at_ms, conversation, seq: Seq(seq) }
            }),
            (any::<u64>(), direct.clone(), any::<u64>()).prop_map(|(at_ms, conversation, seq)| {
                Change::Expired { at_ms, conversation, seq: Seq(seq) }
            }),
            (user(), any::<bool>()).prop_map(|(user, hides)| Change::HideReads { user, hides }),
            (any::<[u8; 16]>(), crate::machine::record::report::tests::arbitrary_report())
                .prop_map(|(id, to)| Change::PutReport { id: ReportId(id), to: Box::new(to) }),
            (user(), user(), arbitrary_tie(), any::<u32>())
                .prop_map(|(owner, other, to, ties)| Change::PutTie { owner, other, to, ties }),
            (user(), 0u8..3)
                .prop_map(|(user, to)| Change::ShowPresence { user, to: Audience::from_number(to).unwrap() }),
            (group(), arbitrary_group()).prop_map(|(group, to)| Change::PutGroup { group, to: Box::new(to) }),
            (group(), user(), arbitrary_membership()).prop_map(|(group, user, to)| Change::PutMembership {
                group,
                user,
                to
            }),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(change in arbitrary()) {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            prop_assert_eq!(Change::decode(&bytes), Ok(change));
            prop_assert!(Change::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Change::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(Change::decode(&[3]), Err(DecodeError::Newer { what: "change", found: 3, known: 2 }));
    }
}
