//! What the contract says of each thing that is asked, and the rules of what is one's own.
//!
//! To add a verb: a case here, one in `draw.rs` that asks for it, and its names in `ask.rs`. What takes messages away is in
//! `gone.rs`; what counts them, in `pages.rs`.

use super::ask::{Answer, Ask, NEVER_REFUSED, Told, What, ack_of};
use super::marks::Which;
use super::state::{Entry, Kept, Model, To, User, key};
use chasqui_bridge::machine::Ack;
use chasqui_proto::limits::DEVICES_PER_USER;
use chasqui_proto::v1::event::Event as Kind;
use chasqui_proto::{DeviceId, ErrorCode, v1};

impl Model {
    /// Carries out what is asked, and answers. What was heard of the machine tells what it alone can choose.
    pub(crate) fn carry_out(&mut self, ask: &Ask, heard: &Answer) -> Answer {
        let answered = match ask.refused {
            Some(code) => Err(code),
            None => self.decide(ask, heard),
        };
        match answered {
            Ok(answer) => answer,
            Err(code) => Answer::Refused(code, self.refuse(ask, code)),
        }
    }

    fn decide(&mut self, ask: &Ask, heard: &Answer) -> Result<Answer, ErrorCode> {
        match &ask.what {
            What::Send(chat, send) => self.send(ask, chat, send),
            What::Read(read) => self.read(ask, &read.conversation, read.up_to_seq, Which::Read),
            What::Played(played) => self.read(ask, &played.conversation, played.up_to_seq, Which::Played),
            What::Edit(edit) => self.edit(ask, edit),
            What::React(react) => self.react(ask, react),
            What::Delete(delete) => self.delete(ask, delete),
            What::Pin(pin) => self.pin(ask, pin),
            What::Star(star) => self.star(ask, star),
            What::Timer(timer) => self.set_timer(ask, timer),
            What::Expire(expire) => {
                self.expire(&expire.conversation.to_string(), expire.seq.0, expire.at_ms);
                Ok(Answer::Done)
            }
            What::AddContacts(asked) => self.tie(ask, &asked.users, true, |tie| tie.contact = true),
            What::RemoveContacts(asked) => self.tie(ask, &asked.users, false, |tie| tie.contact = false),
            What::Block(asked) => {
                self.tie(ask, std::slice::from_ref(&asked.user), true, |tie| tie.blocked = true)
            }
            What::Unblock(asked) => {
                self.tie(ask, std::slice::from_ref(&asked.user), false, |tie| tie.blocked = false)
            }
            What::Settings(settings) => self.set_up(ask, settings),
            What::Chat(chat) => self.keep(ask, chat),
            What::Create(create) => self.create(ask, create, heard),
            What::Update(update) => self.update(ask, update),
            What::Configure(configure) => self.configure(ask, configure),
            What::Add(users) => self.add(ask, users),
            What::Remove(users) => self.remove(ask, users),
            What::Promote(users) => self.set_role(ask, users, true),
            What::Demote(users) => self.set_role(ask, users, false),
            What::Leave(named) => self.leave(ask, named),
            What::Invite(invite) => self.invite(ask, invite, heard),
            What::Join(join) => self.join(ask, join),
            What::Get(named) => self.get(ask, named),
            What::Garbage(..) => Err(ErrorCode::InvalidPayload),
            What::History(_) | What::Sync(_) | What::Contacts(_) | What::Starred(_) | What::Devices(_) => {
                unreachable!("a page is looked at, and was refused")
            }
            What::Attach => self.attach(ask),
            What::RemoveDevice(remove) => {
                self.user(&ask.user).devices.remove(&remove.device);
                Ok(Answer::Done)
            }
            What::Detach => {
                self.user(&ask.user).devices.remove(&ask.device);
                Ok(Answer::Done)
            }
            What::Acknowledge(count) => Ok(self.acknowledge(ask, *count)),
            What::CreateUser => {
                self.user(&ask.user).exists = true;
                Ok(Answer::Done)
            }
            What::RemoveUser => {
                if self.exists(&ask.user) {
                    let life = self.user(&ask.user).life + 1;
                    *self.user(&ask.user) = User { life, ..User::default() };
                }
                Ok(Answer::Done)
            }
        }
    }

    /// Who asked is told of a refusal in the acknowledgement, or in an entry for the device, or not at all.
    fn refuse(&mut self, ask: &Ask, code: ErrorCode) -> Told {
        if ack_of(&ask.device) != Ack::SuccessOnly || ask.kind() == "attach" {
            return Told::ByAck;
        }
        debug_assert!(!NEVER_REFUSED.contains(&ask.kind()));
        if !self.user(&ask.user).devices.contains_key(&ask.device) {
            return Told::NoWay;
        }
        let client_msg_id = match &ask.what {
            What::Send(_, send) if ask.refused.is_none() => send.client_msg_id.clone(),
            _ => bytes::Bytes::new(),
        };
        let rejected =
            v1::Rejected { topic: ask.topic(), client_msg_id, code: code.into(), ..v1::Rejected::default() };
        let to = To::Only(ask.device.clone());
        self.enter(&ask.user, Entry { event: Kind::Rejected(rejected), to, brings: None });
        Told::ByEntry
    }

    /// Why a device cannot be taken out.
    pub(crate) fn refuses_to_remove(&self, name: &str, device: &str) -> Option<ErrorCode> {
        match DeviceId::parse(device) {
            Err(_) => Some(ErrorCode::InvalidPayload),
            Ok(_) if self.users[name].devices.contains_key(device) => None,
            Ok(_) => Some(ErrorCode::InvalidDevice),
        }
    }

    fn attach(&mut self, ask: &Ask) -> Result<Answer, ErrorCode> {
        if !self.exists(&ask.user) {
            return Err(ErrorCode::NoSuchUser);
        }
        let user = self.user(&ask.user);
        if user.devices.len() >= DEVICES_PER_USER && !user.devices.contains_key(&ask.device) {
            return Err(ErrorCode::QuotaExceeded);
        }
        // It begins with the first entry that no device has yet.
        user.devices.entry(ask.device.clone()).or_insert(user.floor);
        Ok(Answer::Done)
    }

    fn set_up(&mut self, ask: &Ask, settings: &v1::Settings) -> Result<Answer, ErrorCode> {
        let hides = settings.hide_read_receipts.ok_or(ErrorCode::InvalidPayload)?;
        let user = self.user(&ask.user);
        if user.hides_reads != hides {
            user.hides_reads = hides;
            let event = Kind::Settings(v1::Settings {
                hide_read_receipts: Some(hides),
                presence: Some(0),
                request_id: 0,
            });
            self.enter(&ask.user, Entry { event, to: To::All, brings: None });
        }
        Ok(Answer::Done)
    }

    fn keep(&mut self, ask: &Ask, asked: &v1::Chat) -> Result<Answer, ErrorCode> {
        let news = v1::Chat { conversation: String::new(), request_id: 0, ..asked.clone() };
        if news == v1::Chat::default() || asked.read_seq.is_some() || asked.played_seq.is_some() {
            return Err(ErrorCode::InvalidPayload);
        }
        let me = self.person(&ask.user);
        let newest = self.newest_seen(&me, &key(&ask.user, &asked.conversation));
        if newest == 0 || asked.cleared_to_seq.is_some_and(|cleared| cleared > newest) {
            return Err(ErrorCode::NoSuchMessage);
        }
        let kept = self.user(&ask.user).kept.entry(asked.conversation.clone()).or_default();
        let before = kept.clone();
        kept.muted_until_ms = asked.muted_until_ms.map_or(kept.muted_until_ms, |until| until.max(0));
        kept.pinned = asked.pinned.unwrap_or(kept.pinned);
        kept.archived = asked.archived.unwrap_or(kept.archived);
        kept.draft = asked.draft.clone().unwrap_or_else(|| kept.draft.clone());
        kept.cleared = kept.cleared.max(asked.cleared_to_seq.unwrap_or(0));
        let after = kept.clone();
        if before != after {
            let news = v1::Chat { conversation: asked.conversation.clone(), ..changed(&before, &after) };
            self.tell_other_devices(ask, Kind::Chat(news));
        }
        Ok(Answer::Done)
    }
}

fn changed(before: &Kept, after: &Kept) -> v1::Chat {
    v1::Chat {
        muted_until_ms: (before.muted_until_ms != after.muted_until_ms).then_some(after.muted_until_ms),
        pinned: (before.pinned != after.pinned).then_some(after.pinned),
        archived: (before.archived != after.archived).then_some(after.archived),
        draft: (before.draft != after.draft).then(|| after.draft.clone()),
        cleared_to_seq: (before.cleared != after.cleared).then_some(after.cleared),
        ..v1::Chat::default()
    }
}
