//! What the model remembers: plain maps and lists, and nothing twice.

use chasqui_proto::v1;
use chasqui_proto::v1::event::Event as Kind;
use std::collections::{BTreeMap, BTreeSet};

/// A user of one life: who takes the name of a removed one is somebody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) life: u32,
}

/// What there is under one name. What belonged to one life goes with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) exists: bool,
    pub(crate) life: u32,
    pub(crate) hides_reads: bool,
    /// All entries of the inbox, the oldest first.
    pub(crate) log: Vec<Entry>,
    /// So many entries has some device had.
    pub(crate) floor: usize,
    /// So many entries each device has.
    pub(crate) devices: BTreeMap<String, usize>,
    /// The ids that each device had accepted, the oldest first.
    pub(crate) accepted: BTreeMap<String, Vec<Accepted>>,
    /// How far others are with what this one said, by chat.
    pub(crate) receipts: BTreeMap<String, v1::Receipt>,
    /// How far this one is in each group, as others may know it.
    pub(crate) marks: BTreeMap<String, Marks>,
    /// What this one keeps about each chat.
    pub(crate) kept: BTreeMap<String, Kept>,
    /// What this one has taken away for themselves: chat and number.
    pub(crate) hidden: BTreeSet<(String, u64)>,
    /// What this one has marked: chat and number.
    pub(crate) starred: BTreeSet<(String, u64)>,
    /// Who is on this one's lists, and takes a place there.
    pub(crate) ties: BTreeMap<String, Tie>,
}

/// What somebody is to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tie {
    pub(crate) other: Person,
    pub(crate) contact: bool,
    pub(crate) blocked: bool,
}

impl Tie {
    pub(crate) fn none(other: Person) -> Tie {
        Tie { other, contact: false, blocked: false }
    }

    pub(crate) fn says_something(&self) -> bool {
        self.contact || self.blocked
    }
}

/// An entry of an inbox.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) event: Kind,
    pub(crate) to: To,
    /// The message of somebody else that it brings: the conversation, whose, and the number.
    pub(crate) brings: Option<(String, Person, u64)>,
}

/// For which devices an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    All,
    Only(String),
    /// All but the one that did it.
    Others(String),
    /// All; the one that did it gets the number alone.
    Echo(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) chat: String,
    pub(crate) id: Vec<u8>,
    pub(crate) seq: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) delivered: u64,
    pub(crate) read: u64,
    pub(crate) played: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kept {
    pub(crate) read: u64,
    pub(crate) played: u64,
    pub(crate) cleared: u64,
    pub(crate) muted_until_ms: i64,
    pub(crate) pinned: bool,
    pub(crate) archived: bool,
    pub(crate) draft: String,
}

/// Something that has a number in a conversation.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sender: Person,
    pub(crate) time_ms: u64,
    /// When it is gone for everyone; 0 for never.
    pub(crate) expires_at_ms: u64,
    pub(crate) id: Vec<u8>,
    /// Body and so on, or what happened.
    pub(crate) content: v1::Message,
    /// Whether somebody said it: no edit, no reaction, no change of a group.
    pub(crate) is_said: bool,
    /// What it said is no more.
    pub(crate) erased: bool,
    /// Its sender alone sees it, for the other side blocked them.
    pub(crate) alone: bool,
    /// Who sees it, now and later.
    pub(crate) audience: Vec<Person>,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) photo: Option<v1::Media>,
    pub(crate) settings: v1::GroupSettings,
    pub(crate) invite: String,
    pub(crate) creator: Person,
    pub(crate) members: Vec<Member>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) person: Person,
    pub(crate) admin: bool,
    pub(crate) since: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) now_ms: u64,
    pub(crate) users: BTreeMap<String, User>,
    /// By what both sides call it: see [`key`].
    pub(crate) conversations: BTreeMap<String, Vec<Message>>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// How long what is said is there for, in seconds.
    pub(crate) timers: BTreeMap<String, u32>,
    /// The same for what somebody says, where they said so while the other side blocked them.
    pub(crate) own_timers: BTreeMap<(String, Person), u32>,
    /// What has to be erased at its time: when, and what.
    pub(crate) expiries: BTreeSet<(u64, String, u64)>,
    /// When each who has named unknown users has made up for it. In memory alone.
    pub(crate) guesses: BTreeMap<String, u64>,
    /// How often somebody was told how many members have something.
    pub(crate) counted: u64,
    /// What has come since this was looked at last: where each inbox went on, the receipts, the conversations.
    pub(crate) news: News,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) inboxes: BTreeMap<String, usize>,
    pub(crate) receipts: BTreeSet<(String, String)>,
    /// Whose inboxes have something taken out, and which of the entries there.
    pub(crate) erased: BTreeMap<String, BTreeSet<usize>>,
    pub(crate) conversations: BTreeMap<String, usize>,
}

/// What a conversation is called that `me` calls `chat`: a group by its name, a direct chat by both users.
pub(crate) fn key(me: &str, chat: &str) -> String {
    match chat.strip_prefix("u/") {
        Some(peer) => format!("d/{}/{}", me.min(peer), me.max(peer)),
        None => chat.to_owned(),
    }
}

/// What `me` calls a conversation; `None` if it is a direct chat of others.
pub(crate) fn chat_of(me: &str, key: &str) -> Option<String> {
    let Some((one, other)) = key.strip_prefix("d/").and_then(|pair| pair.split_once('/')) else {
        return Some(key.to_owned());
    };
    match (one == me, other == me) {
        (true, _) => Some(format!("u/{other}")),
        (_, true) => Some(format!("u/{one}")),
        _ => None,
    }
}

/// Whether the time of something is over.
pub(crate) fn is_over(expires_at_ms: u64, now_ms: u64) -> bool {
    expires_at_ms > 0 && expires_at_ms <= now_ms
}

impl Message {
    /// Whether what was said is no more.
    pub(crate) fn is_gone(&self, now_ms: u64) -> bool {
        self.erased || is_over(self.expires_at_ms, now_ms)
    }
}

impl Entry {
    /// What a device is shown of it.
    pub(crate) fn shown_to(&self, device: &str, now_ms: u64) -> Option<Kind> {
        match (&self.to, &self.event) {
            (To::Only(only), _) if only != device => return None,
            (To::Others(from), _) if from == device => return None,
            // From its time on it is shown to nobody.
            (_, Kind::Message(message)) if is_over(message.expires_at_ms.cast_unsigned(), now_ms) => {
                let (conversation, seq) = (message.conversation.clone(), message.seq);
                return Some(Kind::Gone(v1::Gone { conversation, seq }));
            }
            _ => {}
        }
        match &self.to {
            To::Echo(from) if from == device => {
                let Kind::Message(message) = &self.event else { return Some(self.event.clone()) };
                Some(Kind::Message(v1::Message {
                    client_msg_id: message.client_msg_id.clone(),
                    conversation: message.conversation.clone(),
                    sender: message.sender.clone(),
                    seq: message.seq,
                    prev_seq: message.prev_seq,
                    time_ms: message.time_ms,
                    expires_at_ms: message.expires_at_ms,
                    ..v1::Message::default()
                }))
            }
            _ => Some(self.event.clone()),
        }
    }
}

impl Model {
    /// Who has a name now.
    pub(crate) fn person(&self, name: &str) -> Person {
        Person { name: name.to_owned(), life: self.users.get(name).map_or(0, |user| user.life) }
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.users.get(name).is_some_and(|user| user.exists)
    }

    pub(crate) fn is_alive(&self, person: &Person) -> bool {
        self.exists(&person.name) && self.person(&person.name) == *person
    }

    pub(crate) fn user(&mut self, name: &str) -> &mut User {
        self.users.entry(name.to_owned()).or_default()
    }

    pub(crate) fn said(&self, key: &str) -> &[Message] {
        self.conversations.get(key).map_or(&[], Vec::as_slice)
    }

    /// The numbers of what somebody sees of a conversation, with it.
    pub(crate) fn seen_by<'a>(
        &'a self,
        person: &'a Person,
        key: &str,
    ) -> impl DoubleEndedIterator<Item = (u64, &'a Message)> {
        let all = self.said(key).iter().enumerate().map(|(at, message)| (at as u64 + 1, message));
        all.filter(move |(_, message)| message.audience.contains(person))
    }

    /// The newest number that somebody sees; 0 for none.
    pub(crate) fn newest_seen(&self, person: &Person, key: &str) -> u64 {
        self.seen_by(person, key).next_back().map_or(0, |(seq, _)| seq)
    }

    /// Puts something into a conversation: its number and time.
    pub(crate) fn say(&mut self, key: &str, mut message: Message, lasts_s: Option<u32>) -> (u64, u64) {
        let conversation = self.conversations.entry(key.to_owned()).or_default();
        let from = self.news.conversations.entry(key.to_owned()).or_insert(usize::MAX);
        *from = (*from).min(conversation.len());
        message.time_ms = self.now_ms.max(conversation.last().map_or(0, |last| last.time_ms));
        let time_ms = message.time_ms;
        if let Some(seconds) = lasts_s {
            message.expires_at_ms = time_ms + u64::from(seconds) * 1_000;
        }
        let seq = conversation.len() as u64 + 1;
        // An edit goes with what it is about.
        if message.expires_at_ms > 0 && message.content.edit.is_none() {
            self.expiries.insert((message.expires_at_ms, key.to_owned(), seq));
        }
        conversation.push(message);
        (conversation.len() as u64, time_ms)
    }

    /// Puts an entry into an inbox.
    pub(crate) fn enter(&mut self, name: &str, entry: Entry) {
        let log = &mut self.users.entry(name.to_owned()).or_default().log;
        self.news.inboxes.entry(name.to_owned()).or_insert(log.len());
        log.push(entry);
    }

    /// What waits for a device, with how many entries it has once it has that.
    pub(crate) fn waiting(&self, name: &str, device: &str) -> Vec<(usize, Kind)> {
        let Some(user) = self.users.get(name) else { return Vec::new() };
        let Some(had) = user.devices.get(device) else { return Vec::new() };
        let entries = user.log.iter().enumerate().skip(*had);
        entries.filter_map(|(at, entry)| Some((at + 1, entry.shown_to(device, self.now_ms)?))).collect()
    }

    /// How long what somebody says is there for, in seconds; 0 for ever.
    pub(crate) fn timer_of(&self, key: &str, person: &Person) -> u32 {
        let own = self.own_timers.get(&(key.to_owned(), person.clone()));
        own.or_else(|| self.timers.get(key)).copied().unwrap_or(0)
    }

    /// Who is no user any more is counted as a member no more from here on.
    pub(crate) fn strike_the_removed(&mut self, group: &str) {
        let members = self.members(group);
        self.groups.get_mut(group).expect("it is there").members = members;
    }

    /// The members of a group who are there.
    pub(crate) fn members(&self, group: &str) -> Vec<Member> {
        let members = self.groups.get(group).map_or(&[][..], |group| &group.members);
        members.iter().filter(|member| self.is_alive(&member.person)).cloned().collect()
    }

    pub(crate) fn is_member(&self, group: &str, person: &Person) -> bool {
        self.members(group).iter().any(|member| member.person == *person)
    }

    /// Whether somebody may what admins may: as one, or as who has been a member for longest where there is none.
    pub(crate) fn is_in_charge(&self, group: &str, person: &Person) -> bool {
        let members = self.members(group);
        let me = members.iter().find(|member| member.person == *person);
        let longest = members.iter().min_by_key(|member| (member.since, &member.person.name));
        me.is_some_and(|me| me.admin)
            || (!members.iter().any(|member| member.admin)
                && longest.is_some_and(|longest| longest.person == *person))
    }
}
