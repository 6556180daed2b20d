//! What is asked next: by chance, and so that each thing is often right and often wrong.

use super::ask::{Ask, What, ack_of};
use super::crowds::{GUESTS, guest, is_crowd, is_guest};
use super::state::{Accepted, Message, Model, Person, key};
use super::talk::TIMER_MAX_S;
use chasqui_bridge::machine::Ack;
use chasqui_proto::topic::Verb;
use chasqui_proto::v1;
use chasqui_proto::v1::body::Kind as BodyKind;
use rand::RngExt;
use rand::rngs::SmallRng;

pub(crate) const USERS: [&str; 8] = ["alice", "bob", "carol", "dan", "erin", "frank", "grace", "heidi"];
/// How they connect, mostly; see [`ack_of`].
pub(crate) const DEVICES: [&str; 3] = ["phone", "desk", "pad"];
/// Groups whose id was chosen by who made them.
pub(crate) const GROUPS: usize = 60;
/// Groups that are spoken of most.
const LATELY: usize = 6;
/// Kinds, and how often each comes.
const WEIGHTS: &[(&str, u32)] = &[
    ("send", 240),
    ("acknowledge", 150),
    ("read", 80),
    ("played", 30),
    ("edit", 50),
    ("react", 50),
    ("delete", 60),
    ("pin", 25),
    ("star", 30),
    ("starred", 15),
    ("devices", 15),
    ("device.remove", 12),
    ("timer", 30),
    ("contact.add", 25),
    ("contact.remove", 20),
    ("contacts", 15),
    ("block", 20),
    ("unblock", 30),
    ("history", 50),
    ("settings", 30),
    ("chat", 40),
    ("sync", 25),
    ("group.create", 25),
    ("group.update", 30),
    ("group.settings", 30),
    ("group.add", 60),
    ("group.remove", 30),
    ("group.promote", 30),
    ("group.demote", 30),
    ("group.leave", 30),
    ("group.invite", 40),
    ("group.join", 40),
    ("group.get", 20),
    ("attach", 40),
    ("detach", 15),
    ("user.create", 14),
    ("user.remove", 8),
];

/// Draws what is asked next.
pub(crate) struct Draw<'a> {
    pub(crate) rng: &'a mut SmallRng,
    pub(crate) model: &'a Model,
}

impl Draw<'_> {
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.rng.random_range(0..from.len())].clone())
    }

    /// Draws a kind.
    pub(crate) fn kind(&mut self) -> &'static str {
        let sum: u32 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.random_range(0..sum);
        for (kind, weight) in WEIGHTS {
            if at < *weight {
                return kind;
            }
            at -= weight;
        }
        unreachable!("the sum is that of the weights")
    }

    /// Draws something of a kind; `None` where there is nothing to say yet.
    pub(crate) fn ask(&mut self, kind: &str) -> Option<Ask> {
        if let "attach" | "detach" | "acknowledge" | "user.create" | "user.remove" = kind {
            return Some(self.about_a_device(kind));
        }
        let verb = Verb::ALL.into_iter().find(|verb| verb.name() == kind);
        let mut user = self.somebody()?;
        let garbled = match verb {
            // Of these nothing else can be wrong.
            Some(Verb::Settings | Verb::Sync | Verb::Starred | Verb::Devices) => 30,
            Some(Verb::Unblock) => 10,
            _ => 2,
        };
        let what = if self.chance(garbled) {
            self.garbage(verb)
        } else {
            match verb {
                None => self.send(&user)?,
                Some(verb) => self.verb(verb, &mut user)?,
            }
        };
        let device = self.device_of(&user);
        // Garbage is none in either encoding.
        let json = self.chance(20);
        Some(Ask { json, ..Ask::new(&user, &device, what) })
    }

    pub(crate) fn somebody(&mut self) -> Option<String> {
        let users: Vec<&str> = USERS.into_iter().filter(|name| self.model.exists(name)).collect();
        self.pick(&users).map(str::to_owned)
    }

    /// A user who may be there.
    pub(crate) fn anybody(&mut self) -> String {
        if self.chance(3) {
            return format!("nobody-{}", self.rng.random_range(0..20));
        }
        self.pick(&USERS).expect("there are some").to_owned()
    }

    pub(crate) fn some_users(&mut self) -> Vec<String> {
        (0..self.rng.random_range(1..4)).map(|_| self.anybody()).collect()
    }

    /// A device that is attached, mostly.
    fn device_of(&mut self, user: &str) -> String {
        let attached: Vec<String> =
            self.model.users.get(user).into_iter().flat_map(|user| user.devices.keys().cloned()).collect();
        if self.chance(85)
            && let Some(device) = self.pick(&attached)
        {
            return device;
        }
        self.pick(&DEVICES).expect("there are some").to_owned()
    }

    fn about_a_device(&mut self, kind: &str) -> Ask {
        let mut user = self.anybody();
        let of_a_crowd = match kind {
            "acknowledge" => 30,
            "user.remove" => 5,
            _ => 0,
        };
        if self.chance(of_a_crowd) {
            user = guest(self.rng.random_range(0..GUESTS));
        }
        let what = match kind {
            "attach" => {
                // Guests who come back need a device. Many of the last one's, so that there are once too many.
                if self.chance(8) {
                    user = guest(self.rng.random_range(0..GUESTS));
                } else if self.chance(50) {
                    USERS[USERS.len() - 1].clone_into(&mut user);
                }
                What::Attach
            }
            "detach" => What::Detach,
            "acknowledge" if is_guest(&user) => What::Acknowledge(self.rng.random_range(0..100)),
            "acknowledge" => What::Acknowledge(self.rng.random_range(0..8)),
            "user.create" => {
                let all = USERS.into_iter().map(str::to_owned).chain((0..GUESTS).map(guest));
                let gone: Vec<String> = all.filter(|name| !self.model.exists(name)).collect();
                user = self.pick(&gone).unwrap_or(user);
                What::CreateUser
            }
            _ => What::RemoveUser,
        };
        let crowded = user == USERS[USERS.len() - 1];
        let device = match &what {
            What::Attach if crowded => format!("tab-{}", self.rng.random_range(0..14)),
            What::Attach if is_guest(&user) => DEVICES[0].to_owned(),
            What::Attach => self.pick(&DEVICES).expect("there are some").to_owned(),
            _ => self.device_of(&user),
        };
        Ask::new(&user, &device, what)
    }

    fn garbage(&mut self, verb: Option<Verb>) -> What {
        // A field that ends before it begins; no JSON either.
        let garbage: &[&[u8]] = &[b"\x0a\xff", b"\xff\xff\xff", b"\x7a"];
        let garbage = self.pick(garbage).expect("there are some");
        What::Garbage(verb, bytes::Bytes::from_static(garbage))
    }

    pub(crate) fn text(&mut self) -> String {
        let len = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(250..270),
            1 => 2_000,
            _ => self.rng.random_range(1..20),
        };
        let letter = char::from(self.rng.random_range(b'a'..=b'z'));
        format!("{}{}", self.rng.random_range(0..10_000), letter.to_string().repeat(len))
    }

    fn body(&mut self) -> Option<v1::Body> {
        if self.chance(2) {
            return None;
        }
        let kind = if self.chance(90) {
            BodyKind::Text(self.text())
        } else {
            BodyKind::Location(v1::Location { latitude: 1.5, longitude: 2.5, ..v1::Location::default() })
        };
        Some(v1::Body { kind: Some(kind) })
    }

    fn mentions(&mut self) -> Vec<v1::Mention> {
        let count = u32::from(self.chance(20));
        (0..count).map(|_| v1::Mention { user: self.anybody(), start: 0, length: 4 }).collect()
    }

    fn send(&mut self, user: &str) -> Option<What> {
        let chat = self.chat_to_write_to(user)?;
        let body = self.body();
        let mut send = v1::Send { body, mentions: self.mentions(), ..v1::Send::default() };
        if self.chance(10) {
            send.reply_to = Some(v1::Quote { seq: 1, sender: user.to_owned(), excerpt: self.text() });
        }
        if self.chance(12) {
            send.expires_in_s = self.pick(&[1, 2, 10, 60, 600, TIMER_MAX_S + 1]).expect("there are some");
        }
        if self.chance(70) {
            // Few enough that each comes again in other chats, and for who has the name later.
            let id: u16 = self.rng.random_range(0..400);
            send.client_msg_id = id.to_be_bytes().to_vec().into();
        }
        if self.chance(8) {
            // Again, if the device is the same that is drawn for it.
            let accepted = self.model.users.get(user)?.accepted.values().flatten().rev().take(40);
            let accepted: Vec<Accepted> = accepted.cloned().collect();
            let Accepted { chat, id, .. } = self.pick(&accepted)?;
            send.client_msg_id = id.into();
            return Some(What::Send(chat, send));
        }
        Some(What::Send(chat, send))
    }

    fn chat_to_write_to(&mut self, user: &str) -> Option<String> {
        match self.rng.random_range(0..100) {
            0..3 => Some(format!("u/{user}")),
            3..45 => Some(format!("u/{}", self.anybody())),
            45..50 => self.any_group(),
            _ => self.group_of(user),
        }
    }

    /// A chat that one has, mostly.
    fn chat(&mut self, user: &str) -> Option<String> {
        if self.chance(12) {
            return if self.chance(50) { self.any_group() } else { Some(format!("u/{}", self.anybody())) };
        }
        if self.chance(50) {
            return self.group_of(user);
        }
        Some(format!("u/{}", self.pick(&USERS)?))
    }

    /// A number that there is in a chat, mostly, and mostly a late one.
    fn number(&mut self, user: &str, chat: &str) -> u64 {
        let me = Person { name: user.to_owned(), life: self.model.person(user).life };
        let key = key(user, chat);
        let head = self.model.said(&key).len() as u64;
        match self.rng.random_range(0..20) {
            0 => head + self.rng.random_range(1..4),
            1 => self.rng.random_range(1..=head.max(1)),
            _ => {
                let seen: Vec<u64> = self.model.seen_by(&me, &key).map(|(seq, _)| seq).collect();
                let late = &seen[seen.len().saturating_sub(12)..];
                self.pick(late).unwrap_or(1)
            }
        }
    }

    /// The number of what one said last oneself, in so many of a hundred cases where there is one.
    fn own_number(&mut self, user: &str, chat: &str, percent: u32) -> u64 {
        let me = self.model.person(user);
        let own = |message: &Message| message.is_said && message.sender == me;
        match self.model.said(&key(user, chat)).iter().rposition(own) {
            Some(own) if self.chance(percent) => own as u64 + 1,
            _ => self.number(user, chat),
        }
    }

    pub(crate) fn any_group(&mut self) -> Option<String> {
        if self.chance(10) {
            return Some("g/nowhere".to_owned());
        }
        let groups: Vec<String> = self.model.groups.keys().cloned().collect();
        self.pick(&groups)
    }

    pub(crate) fn group_of(&mut self, user: &str) -> Option<String> {
        if self.speaks_of_a_crowd(user) {
            return self.crowd_of(user);
        }
        let me = self.model.person(user);
        let mut groups: Vec<(u64, String)> = Vec::new();
        for (chat, group) in self.model.groups.iter().filter(|(chat, _)| !is_crowd(chat)) {
            if group.members.iter().any(|member| member.person == me) {
                groups.push((self.model.said(chat).last().map_or(0, |last| last.time_ms), chat.clone()));
            }
        }
        groups.sort_unstable();
        let lately = groups.split_off(groups.len().saturating_sub(LATELY));
        self.pick(&lately).map(|(_, chat)| chat)
    }

    fn verb(&mut self, verb: Verb, user: &mut String) -> Option<What> {
        if verb.name().starts_with("group.") {
            return self.of_a_group(verb, user);
        }
        Some(match verb {
            Verb::Read | Verb::Played => {
                let mut conversation = self.chat(user)?;
                if self.chance(15) {
                    *user = guest(self.rng.random_range(0..GUESTS));
                    conversation = self.crowd_of(user)?;
                }
                let up_to_seq = self.number(user, &conversation);
                if verb == Verb::Read {
                    What::Read(v1::Read { conversation, up_to_seq, request_id: 0 })
                } else {
                    What::Played(v1::Played { conversation, up_to_seq, request_id: 0 })
                }
            }
            Verb::Edit => {
                let conversation = self.chat(user)?;
                let seq = self.own_number(user, &conversation, 70);
                let mentions = self.mentions();
                What::Edit(v1::Edit { conversation, seq, body: self.body(), mentions, ..v1::Edit::default() })
            }
            Verb::React => {
                let conversation = self.chat(user)?;
                let seq = self.number(user, &conversation);
                let emoji = if self.chance(20) { String::new() } else { "👍".to_owned() };
                What::React(v1::React { conversation, seq, emoji, request_id: 0 })
            }
            Verb::Delete => {
                let conversation = self.chat(user)?;
                let for_everyone = self.chance(50);
                let own = if for_everyone { 70 } else { 20 };
                let seq = self.own_number(user, &conversation, own);
                What::Delete(v1::Delete { conversation, seq, for_everyone, request_id: 0 })
            }
            Verb::Pin => {
                let conversation = self.chat(user)?;
                let seq = self.number(user, &conversation);
                What::Pin(v1::PinMessage { conversation, seq, pinned: self.rng.random(), request_id: 0 })
            }
            Verb::Star => {
                let conversation = self.chat(user)?;
                let seq = self.number(user, &conversation);
                What::Star(v1::Star { conversation, seq, starred: self.chance(80), request_id: 0 })
            }
            Verb::Starred => {
                let limit = self.rng.random_range(0..8);
                What::Starred(v1::Starred { limit, ..v1::Starred::default() })
            }
            Verb::Devices => What::Devices(v1::Devices { request_id: 0 }),
            Verb::DeviceRemove => {
                let device = match self.rng.random_range(0..10) {
                    0 => "a device".to_owned(),
                    1..4 => "tab-0".to_owned(),
                    _ => self.device_of(user),
                };
                What::RemoveDevice(v1::DeviceRemove { device, request_id: 0 })
            }
            Verb::Timer => {
                let conversation = self.chat(user)?;
                let seconds = self.pick(&[0, 0, 2, 30, 3_600, TIMER_MAX_S + 1]).expect("there are some");
                What::Timer(v1::SetTimer { conversation, seconds, request_id: 0 })
            }
            Verb::ContactAdd => {
                let users = if self.chance(3) { Vec::new() } else { self.some_users() };
                What::AddContacts(v1::ContactUsers { users, request_id: 0 })
            }
            Verb::ContactRemove => {
                let users = if self.chance(3) { Vec::new() } else { self.some_users() };
                What::RemoveContacts(v1::ContactUsers { users, request_id: 0 })
            }
            Verb::Block => What::Block(v1::BlockUser { user: self.anybody(), request_id: 0 }),
            Verb::Unblock => {
                let ties = self.model.users.get(user).into_iter().flat_map(|user| &user.ties);
                let blocked: Vec<String> =
                    ties.filter(|(_, tie)| tie.blocked).map(|(name, _)| name.clone()).collect();
                let blocked = if self.chance(80) { self.pick(&blocked) } else { None };
                let user = blocked.unwrap_or_else(|| self.anybody());
                What::Unblock(v1::BlockUser { user, request_id: 0 })
            }
            Verb::Contacts => {
                let after = match self.rng.random_range(0..10) {
                    0..3 => "?".to_owned(),
                    3..6 => self.anybody(),
                    _ => String::new(),
                };
                What::Contacts(v1::ContactList { after, limit: self.rng.random_range(0..5), request_id: 0 })
            }
            Verb::History => {
                let conversation = self.chat(user)?;
                let mut history = v1::History {
                    limit: if self.chance(30) { 0 } else { self.rng.random_range(1..30) },
                    ..v1::History::default()
                };
                let number = self.number(user, &conversation);
                match self.rng.random_range(0..10) {
                    0..4 => history.before_seq = number,
                    4..7 => history.from_seq = number,
                    7 => (history.before_seq, history.from_seq) = (number, number),
                    _ => {}
                }
                What::History(v1::History { conversation, ..history })
            }
            Verb::Settings => {
                let hide_read_receipts = (!self.chance(20)).then(|| self.chance(40));
                What::Settings(v1::Settings { hide_read_receipts, ..v1::Settings::default() })
            }
            Verb::Chat => {
                let conversation = self.chat(user)?;
                let mut chat = v1::Chat { ..v1::Chat::default() };
                match self.rng.random_range(0..8) {
                    0 => chat.muted_until_ms = Some(self.rng.random_range(0..3)),
                    1 => chat.pinned = Some(self.rng.random()),
                    2 => chat.archived = Some(self.rng.random()),
                    3 => chat.draft = Some(self.text()),
                    4 => chat.cleared_to_seq = Some(self.number(user, &conversation)),
                    5 => (chat.pinned, chat.archived) = (Some(self.rng.random()), Some(false)),
                    6 => (chat.pinned, chat.draft) = (Some(false), Some(String::new())),
                    _ => chat.read_seq = (self.chance(50)).then_some(1),
                }
                What::Chat(v1::Chat { conversation, ..chat })
            }
            Verb::Sync => {
                let after =
                    if self.chance(30) { bytes::Bytes::from_static(b"?") } else { bytes::Bytes::new() };
                What::Sync(v1::Sync { after, limit: self.rng.random_range(0..8), request_id: 0 })
            }
            other => panic!("the model does not know do/{}: see rules.rs", other.name()),
        })
    }

    /// Who begins: all users, each with a device or two, and the crowds.
    pub(crate) fn beginning() -> Vec<Ask> {
        let mut asks = Vec::new();
        for (at, name) in USERS.into_iter().enumerate() {
            asks.push(Ask::new(name, "phone", What::CreateUser));
            for device in &DEVICES[..=(at % DEVICES.len())] {
                debug_assert!(matches!(ack_of(device), Ack::Full | Ack::SuccessOnly | Ack::CodeOnly));
                asks.push(Ask::new(name, device, What::Attach));
            }
        }
        asks.extend(super::crowds::beginning());
        asks
    }
}
