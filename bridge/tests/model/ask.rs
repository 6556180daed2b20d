//! What is asked of model and machine alike, and what is answered.

use bytes::Bytes;
use chasqui_bridge::machine::Ack;
use chasqui_bridge::machine::command::Expire;
use chasqui_proto::topic::Verb;
use chasqui_proto::{ErrorCode, json, v1};
use prost::Message;
use serde::Serialize;

/// Something that a device publishes, or that happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) json: bool,
    pub(crate) what: What,
    /// Of what is done to a message: whether it was there when this was published.
    pub(crate) about_something: bool,
    /// Of what one deletes for oneself: whether it was away when this was published.
    pub(crate) is_away: bool,
    /// Of an acknowledgement: which entries brought a message of somebody else when this was published.
    pub(crate) brought: Vec<usize>,
    /// It was refused before it came to a decision.
    pub(crate) refused: Option<ErrorCode>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Send(String, v1::Send),
    Read(v1::Read),
    Played(v1::Played),
    Edit(v1::Edit),
    React(v1::React),
    Delete(v1::Delete),
    Pin(v1::PinMessage),
    Star(v1::Star),
    Starred(v1::Starred),
    Devices(v1::Devices),
    RemoveDevice(v1::DeviceRemove),
    Timer(v1::SetTimer),
    /// The server asks itself to erase what is over.
    Expire(Expire),
    AddContacts(v1::ContactUsers),
    RemoveContacts(v1::ContactUsers),
    Block(v1::BlockUser),
    Unblock(v1::BlockUser),
    Contacts(v1::ContactList),
    History(v1::History),
    Settings(v1::Settings),
    Chat(v1::Chat),
    Sync(v1::Sync),
    Create(v1::GroupCreate),
    Update(v1::GroupUpdate),
    Configure(v1::GroupConfigure),
    Add(v1::GroupUsers),
    Remove(v1::GroupUsers),
    Promote(v1::GroupUsers),
    Demote(v1::GroupUsers),
    Leave(v1::GroupNamed),
    Invite(v1::GroupInvite),
    Join(v1::GroupJoin),
    Get(v1::GroupNamed),
    /// What no verb can read; sent to a verb, or to a peer.
    Garbage(Option<Verb>, Bytes),
    Attach,
    Detach,
    /// The device acknowledges so many of the entries that wait for it; once that is asked: has so many of all there ever were.
    Acknowledge(usize),
    CreateUser,
    RemoveUser,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    /// It has this number.
    Number(u64),
    /// A group as it is, and the number of what made it so.
    Group(u64, Box<v1::Group>),
    Invite(String),
    Refused(ErrorCode, Told),
}

/// How a refusal comes to who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    ByAck,
    ByEntry,
    NoWay,
}

/// The kinds that are no verbs.
pub(crate) const OTHER_KINDS: [&str; 7] =
    ["expire", "send", "attach", "detach", "acknowledge", "user.create", "user.remove"];

/// What the model has no say about: of a report no user is ever shown anything.
pub(crate) const BESIDE: [Verb; 1] = [Verb::Report];

/// Those that nothing refuses.
pub(crate) const NEVER_REFUSED: [&str; 5] = ["expire", "detach", "acknowledge", "user.create", "user.remove"];

/// What an acknowledgement can say to a device of this name: one each of the ways there are.
pub(crate) fn ack_of(device: &str) -> Ack {
    match device {
        "desk" => Ack::SuccessOnly,
        "pad" => Ack::CodeOnly,
        _ => Ack::Full,
    }
}

impl Ask {
    pub(crate) fn new(user: &str, device: &str, what: What) -> Ask {
        let (user, device) = (user.to_owned(), device.to_owned());
        Ask {
            user,
            device,
            json: false,
            what,
            about_something: false,
            is_away: false,
            brought: Vec::new(),
            refused: None,
        }
    }

    /// What the table calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.what {
            What::Send(..) | What::Garbage(None, _) => "send",
            What::Read(_) => Verb::Read.name(),
            What::Played(_) => Verb::Played.name(),
            What::Edit(_) => Verb::Edit.name(),
            What::React(_) => Verb::React.name(),
            What::Delete(_) => Verb::Delete.name(),
            What::Pin(_) => Verb::Pin.name(),
            What::Star(_) => Verb::Star.name(),
            What::Starred(_) => Verb::Starred.name(),
            What::Devices(_) => Verb::Devices.name(),
            What::RemoveDevice(_) => Verb::DeviceRemove.name(),
            What::Timer(_) => Verb::Timer.name(),
            What::Expire(_) => "expire",
            What::AddContacts(_) => Verb::ContactAdd.name(),
            What::RemoveContacts(_) => Verb::ContactRemove.name(),
            What::Block(_) => Verb::Block.name(),
            What::Unblock(_) => Verb::Unblock.name(),
            What::Contacts(_) => Verb::Contacts.name(),
            What::History(_) => Verb::History.name(),
            What::Settings(_) => Verb::Settings.name(),
            What::Chat(_) => Verb::Chat.name(),
            What::Sync(_) => Verb::Sync.name(),
            What::Create(_) => Verb::GroupCreate.name(),
            What::Update(_) => Verb::GroupUpdate.name(),
            What::Configure(_) => Verb::GroupSettings.name(),
            What::Add(_) => Verb::GroupAdd.name(),
            What::Remove(_) => Verb::GroupRemove.name(),
            What::Promote(_) => Verb::GroupPromote.name(),
            What::Demote(_) => Verb::GroupDemote.name(),
            What::Leave(_) => Verb::GroupLeave.name(),
            What::Invite(_) => Verb::GroupInvite.name(),
            What::Join(_) => Verb::GroupJoin.name(),
            What::Get(_) => Verb::GroupGet.name(),
            What::Garbage(Some(verb), _) => verb.name(),
            What::Attach => "attach",
            What::Detach => "detach",
            What::Acknowledge(_) => "acknowledge",
            What::CreateUser => "user.create",
            What::RemoveUser => "user.remove",
        }
    }

    /// The topic and payload of a publish; `None` for what is none.
    pub(crate) fn published(&self) -> Option<(String, Bytes)> {
        let payload = match &self.what {
            What::Send(_, send) => self.encoded(send),
            What::Read(read) => self.encoded(read),
            What::Played(played) => self.encoded(played),
            What::Edit(edit) => self.encoded(edit),
            What::React(react) => self.encoded(react),
            What::Delete(delete) => self.encoded(delete),
            What::Pin(pin) => self.encoded(pin),
            What::Star(star) => self.encoded(star),
            What::Starred(starred) => self.encoded(starred),
            What::Devices(devices) => self.encoded(devices),
            What::RemoveDevice(remove) => self.encoded(remove),
            What::Timer(timer) => self.encoded(timer),
            What::AddContacts(users) | What::RemoveContacts(users) => self.encoded(users),
            What::Block(user) | What::Unblock(user) => self.encoded(user),
            What::Contacts(list) => self.encoded(list),
            What::History(history) => self.encoded(history),
            What::Settings(settings) => self.encoded(settings),
            What::Chat(chat) => self.encoded(chat),
            What::Sync(sync) => self.encoded(sync),
            What::Create(create) => self.encoded(create),
            What::Update(update) => self.encoded(update),
            What::Configure(configure) => self.encoded(configure),
            What::Add(users) | What::Remove(users) | What::Promote(users) | What::Demote(users) => {
                self.encoded(users)
            }
            What::Leave(named) | What::Get(named) => self.encoded(named),
            What::Invite(invite) => self.encoded(invite),
            What::Join(join) => self.encoded(join),
            What::Garbage(_, payload) => payload.clone(),
            What::Attach
            | What::Detach
            | What::Acknowledge(_)
            | What::CreateUser
            | What::RemoveUser
            | What::Expire(_) => {
                return None;
            }
        };
        Some((self.topic(), payload))
    }

    /// The topic that it is published to.
    pub(crate) fn topic(&self) -> String {
        let root = if self.json { "json/" } else { "" };
        match &self.what {
            What::Send(chat, _) => format!("{root}{chat}/send"),
            What::Garbage(None, _) => format!("{root}u/alice/send"),
            _ => format!("{root}do/{}", self.kind()),
        }
    }

    fn encoded<M: Message + Serialize>(&self, message: &M) -> Bytes {
        if self.json {
            json::encode(message).expect("it has a JSON form").into()
        } else {
            message.encode_to_vec().into()
        }
    }
}
