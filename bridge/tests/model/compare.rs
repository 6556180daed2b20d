//! Machine and model, held against each other.

use super::ask::{Answer, Ask, Told, What};
use super::rig::{Rig, receipt, user};
use super::state::{Message, Model, key};
use chasqui_bridge::hook::Publication;
use chasqui_bridge::machine::command::Expire;
use chasqui_bridge::machine::stored::StoredMessage;
use chasqui_bridge::machine::{self, Outcome};
use chasqui_bridge::sequencer::{NewItems, Source, fetch, names};
use chasqui_proto::v1::event::Event as Kind;
use chasqui_proto::{ConversationId, ErrorCode, GroupId, v1};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// What they disagree about, as a sentence.
pub(crate) type Verdict = Result<(), String>;

/// A device that nobody has: it is shown what is for all.
const ANY: &str = "any";

/// So much is read at once.
const PAGE: (usize, usize) = (256, 1 << 20);

fn same<T: PartialEq + Debug>(what: impl Fn() -> String, machine: &T, model: &T) -> Verdict {
    if machine == model {
        return Ok(());
    }
    Err(format!("{}:\nthe machine says {machine:?}\nthe model says   {model:?}", what()))
}

/// The same of lists: the first place where they differ says more than all of both.
fn same_all<T: PartialEq + Debug>(what: impl Fn() -> String, machine: &[T], model: &[T]) -> Verdict {
    for (at, (machine, model)) in machine.iter().zip(model).enumerate() {
        same(|| format!("{}, at {at}", what()), machine, model)?;
    }
    let end = machine.len().min(model.len());
    same(|| format!("{}, from {end} on", what()), &&machine[end..], &&model[end..])
}

/// What the machine answered, in the model's words.
pub(crate) fn heard(outcome: &Outcome, ask: &Ask) -> Answer {
    match outcome {
        // What an attached device sees is compared as what waits for it.
        Outcome::Done | Outcome::Attached { .. } | Outcome::Heads { .. } => Answer::Done,
        Outcome::Accepted { seq, .. } => Answer::Number(seq.0),
        Outcome::Answered(answered) => match (&answered.group, &answered.invite) {
            (Some(group), _) => {
                let group = v1::Group::decode(group.clone()).expect("it is a Group");
                Answer::Group(answered.seq.0, group.into())
            }
            (None, Some(invite)) => Answer::Invite(invite.clone()),
            (None, None) => Answer::Number(answered.seq.0),
        },
        Outcome::Refused { refusal, told } => {
            let told = match told {
                machine::Told::ByAck => Told::ByAck,
                machine::Told::ByEntry => Told::ByEntry,
                machine::Told::NoWay => Told::NoWay,
            };
            assert_eq!(refusal.retry_after_ms > 0, refusal.code == ErrorCode::RateLimited, "{ask:?}");
            Answer::Refused(refusal.code, told)
        }
        Outcome::Failed(why) => panic!("{ask:?} was not decided: {why}"),
    }
}

/// An entry without what only the machine knows.
fn plain(event: v1::Event) -> Option<Kind> {
    match event.event? {
        Kind::Message(mut message) => {
            // It may be left out there.
            if message.prev_seq + 1 == message.seq {
                message.prev_seq = 0;
            }
            Some(Kind::Message(message))
        }
        Kind::Rejected(rejected) => {
            Some(Kind::Rejected(v1::Rejected { reason: String::new(), retry_after_ms: 0, ..rejected }))
        }
        other => Some(other),
    }
}

/// What has come of a round: the new entries of each inbox as each device sees them, the receipts and the conversations that changed.
pub(crate) fn news(rig: &Rig, model: &mut Model, tails: &[NewItems]) -> Verdict {
    let news = std::mem::take(&mut model.news);
    let mut entries: BTreeMap<String, Vec<bytes::Bytes>> = BTreeMap::new();
    let mut receipts: BTreeMap<(String, String), v1::Receipt> = BTreeMap::new();
    for NewItems { source, items } in tails {
        match source {
            Source::Inbox(owner) => {
                let entries = entries.entry(owner.to_string()).or_default();
                entries.extend(items.iter().map(|item| item.stored.clone()));
            }
            Source::Receipts(owner) => receipts.extend(items.iter().map(|item| {
                let chat = item.chat.as_ref().map(ToString::to_string).unwrap_or_default();
                ((owner.to_string(), chat), receipt(&item.stored))
            })),
            // The log of the conversation itself, which is compared as such below.
            Source::Group(_) => {}
        }
    }
    let owners: BTreeSet<&String> = entries.keys().chain(news.inboxes.keys()).collect();
    for owner in owners {
        let user = &model.users[owner];
        let from = news.inboxes.get(owner).copied().unwrap_or(user.log.len());
        let stored = entries.get(owner).map_or(&[][..], Vec::as_slice);
        // What was taken out meanwhile may have been told before, and is told again: what waits is compared below.
        let gone: BTreeSet<(&str, u64)> = user.log.iter().filter_map(|entry| gone(&entry.event)).collect();
        let is_gone = |event: &Kind| match event {
            Kind::Message(message) => gone.contains(&(&message.conversation, message.seq)),
            other => matches!(other, Kind::Gone(_)),
        };
        for on in user.devices.keys().map(String::as_str).chain([ANY]) {
            let machine = stored.iter().filter_map(|one| plain(rig.render(owner, on, one)?));
            let machine: Vec<Kind> = machine.filter(|event| !is_gone(event)).collect();
            let of_model = user.log[from..].iter().filter_map(|entry| entry.shown_to(on, model.now_ms));
            let of_model: Vec<Kind> = of_model.filter(|event| !is_gone(event)).collect();
            same_all(|| format!("what is new to {owner}/{on}"), &machine, &of_model)?;
        }
    }
    for (owner, chat) in receipts.keys().chain(&news.receipts) {
        let machine = receipts.get(&(owner.clone(), chat.clone()));
        let of_model = model.users[owner].receipts.get(chat);
        same(|| format!("what {owner} is told of {chat}"), &machine, &of_model)?;
    }
    for (name, places) in &news.erased {
        erased(rig, model, name, places)?;
    }
    for (key, from) in &news.conversations {
        conversation(rig, model, key, *from)?;
    }
    Ok(())
}

/// What was taken out of an inbox, as the devices see it that wait for it.
fn erased(rig: &Rig, model: &Model, name: &str, places: &BTreeSet<usize>) -> Verdict {
    let of_model = &model.users[name];
    let head = fetch::user(&rig.reader(), &user(name)).expect("it can be read").inbox_head;
    for place in places {
        // From the end on both count alike: what who had the name before was sent has places in the inbox, too.
        let position = head - (of_model.log.len() - 1 - place) as u64;
        for (on, _) in of_model.devices.iter().filter(|(_, had)| *had <= place) {
            let machine = rig.entry(name, on, position).and_then(plain);
            let of_model = of_model.log[*place].shown_to(on, model.now_ms);
            same(|| format!("what {name}/{on} is shown at {position}"), &machine, &of_model)?;
        }
    }
    Ok(())
}

/// What is no more, if an entry says so.
fn gone(event: &Kind) -> Option<(&str, u64)> {
    let Kind::Gone(gone) = event else { return None };
    Some((&gone.conversation, gone.seq))
}

/// What is over, and not erased.
pub(crate) fn due(rig: &Rig, model: &Model) -> Result<Vec<Expire>, String> {
    let due = rig.due();
    let machine = due.iter().map(|one| (one.at_ms, one.conversation.to_string(), one.seq.0));
    let of_model = model.expiries.iter().filter(|(at_ms, ..)| *at_ms <= model.now_ms);
    let of_model: BTreeSet<_> = of_model.cloned().collect();
    same(|| "what is to be erased".to_owned(), &machine.collect(), &of_model)?;
    Ok(due)
}

/// A conversation from a place on.
fn conversation(rig: &Rig, model: &Model, key: &str, from: usize) -> Verdict {
    let id = ConversationId::parse(key).expect("it is the name of one");
    let reader = rig.reader();
    let mut found = Vec::new();
    loop {
        let next = (from + found.len()) as u64 + 1;
        let page = reader.read_log(&names::conversation(&id), next, PAGE.0, PAGE.1).expect("it can be read");
        if page.is_empty() {
            break;
        }
        for (seq, stored) in page {
            same(|| format!("the next number in {key}"), &seq, &((from + found.len()) as u64 + 1))?;
            let message = StoredMessage::decode(&stored).expect("it is a message");
            let content = v1::Message::decode(message.content).expect("it has content");
            let id = message.client_msg_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
            let (time_ms, expires_at_ms) = (message.time_ms, message.expires_at_ms);
            found.push((message.sender.to_string(), time_ms, expires_at_ms, id, content));
        }
    }
    let plain = |message: &Message| {
        let (time_ms, expires_at_ms) = (message.time_ms, message.expires_at_ms);
        (message.sender.name.clone(), time_ms, expires_at_ms, message.id.clone(), message.content.clone())
    };
    let of_model: Vec<_> = model.said(key)[from..].iter().map(plain).collect();
    same_all(|| format!("what {key} holds from {} on", from + 1), &found, &of_model)
}

/// Everything there is.
pub(crate) fn everything(rig: &mut Rig, model: &Model) -> Verdict {
    for key in model.conversations.keys() {
        conversation(rig, model, key, 0)?;
    }
    for (name, of_model) in &model.users {
        let record = fetch::user(&rig.reader(), &user(name)).expect("it can be read");
        same(|| format!("whether there is {name}"), &record.exists, &of_model.exists)?;
        let devices: Vec<String> = record.devices.iter().map(|device| device.id.to_string()).collect();
        same(|| format!("the devices of {name}"), &devices, &of_model.devices.keys().cloned().collect())?;
        if !of_model.exists {
            continue;
        }
        same(|| format!("what {name} hides"), &record.hides_reads, &of_model.hides_reads)?;
        for on in of_model.devices.keys() {
            waiting(rig, model, name, on)?;
        }
        let prefix = format!("u/{name}/receipts/");
        let told = rig
            .receipts(name)
            .into_iter()
            .map(|(topic, receipt)| (topic.strip_prefix(&prefix).unwrap_or(&topic).to_owned(), receipt));
        same(|| format!("the receipts of {name}"), &told.collect(), &of_model.receipts)?;
        list(rig, model, &Ask::new(name, "phone", What::Sync(v1::Sync::default())))?;
        starred(rig, model, &Ask::new(name, "phone", What::Starred(v1::Starred::default())))?;
        self::devices(rig, model, &Ask::new(name, "phone", What::Devices(v1::Devices::default())))?;
        let all = v1::ContactList::default();
        contacts(rig, model, &Ask::new(name, "phone", What::Contacts(all.clone())), &all)?;
    }
    for chat in model.groups.keys() {
        let id = GroupId::parse(chat.trim_start_matches("g/")).expect("it has the form of one");
        let group = fetch::group(&rig.reader(), &id).expect("it can be read");
        same(|| format!("the secret of {chat}"), &group.invite, &model.groups[chat].invite)?;
    }
    Ok(())
}

/// What waits for a device.
fn waiting(rig: &Rig, model: &Model, name: &str, on: &str) -> Verdict {
    let waiting = rig.waiting(name, on);
    let positions: Vec<u64> = waiting.iter().map(|(position, ..)| *position).collect();
    for (position, _, event) in &waiting {
        same(|| format!("a place in the inbox of {name}"), &event.position, position)?;
    }
    if !positions.is_sorted_by(|one, other| one < other) {
        return Err(format!("places in the inbox of {name} do not grow: {positions:?}"));
    }
    let machine: Vec<Kind> = waiting.into_iter().filter_map(|(.., event)| plain(event)).collect();
    let of_model: Vec<Kind> = model.waiting(name, on).into_iter().map(|(_, event)| event).collect();
    same_all(|| format!("what waits for {name}/{on}"), &machine, &of_model)
}

/// A reply with a page; or why there is none.
fn page(rig: &mut Rig, ask: &Ask) -> Result<v1::Reply, ErrorCode> {
    let (topic, payload) = ask.published().expect("it is published");
    match rig.publish(ask, &topic, &payload) {
        Publication::Page(page) => Ok(v1::Reply::decode(page).expect("it is a Reply")),
        Publication::Command(machine::Command::Reject(reject)) => Err(reject.refusal.code),
        other => panic!("{ask:?} is no page: {other:?}"),
    }
}

/// A page of history. Answers why there is none.
pub(crate) fn history(
    rig: &mut Rig,
    model: &Model,
    ask: &Ask,
    asked: &v1::History,
) -> Result<Option<ErrorCode>, String> {
    let machine = page(rig, ask).map(|page| (page.messages, page.more));
    let of_model = model.history(ask, asked);
    same(|| format!("{ask:?}"), &machine, &of_model)?;
    Ok(of_model.err())
}

/// A page of contacts and of who is blocked. Answers why there is none.
pub(crate) fn contacts(
    rig: &mut Rig,
    model: &Model,
    ask: &Ask,
    asked: &v1::ContactList,
) -> Result<Option<ErrorCode>, String> {
    let machine = page(rig, ask).map(|page| (page.ties, page.more));
    let of_model = model.contacts(ask, asked);
    same(|| format!("{ask:?}"), &machine, &of_model)?;
    Ok(of_model.err())
}

/// The list of somebody's conversations, page by page. Answers why there is none.
pub(crate) fn list(rig: &mut Rig, model: &Model, ask: &Ask) -> Result<Option<ErrorCode>, String> {
    let What::Sync(mut asked) = ask.what.clone() else { unreachable!("it asks for a list") };
    if !asked.after.is_empty() {
        let machine = page(rig, ask).err();
        same(|| format!("{ask:?}"), &machine, &Some(ErrorCode::InvalidPayload))?;
        return Ok(machine);
    }
    let mut list = Vec::new();
    loop {
        let ask = Ask { what: What::Sync(asked.clone()), ..ask.clone() };
        let page = page(rig, &ask).map_err(|code| format!("{ask:?} is refused: {code:?}"))?;
        let most = if asked.limit == 0 { 50 } else { asked.limit as usize };
        if page.chats.len() > most || (page.chats.is_empty() && !page.next.is_empty()) {
            return Err(format!("{ask:?} has a page of {}", page.chats.len()));
        }
        list.extend(page.chats);
        if page.next.is_empty() {
            break;
        }
        asked.after = page.next;
    }
    same_all(|| format!("the list of {}", ask.user), &list, &model.list(&ask.user))?;
    Ok(None)
}

/// What somebody has marked, page by page. Answers why there is none.
pub(crate) fn starred(rig: &mut Rig, model: &Model, ask: &Ask) -> Result<Option<ErrorCode>, String> {
    let What::Starred(mut asked) = ask.what.clone() else { unreachable!("it asks for what is marked") };
    let mut starred = Vec::new();
    loop {
        let ask = Ask { what: What::Starred(asked.clone()), ..ask.clone() };
        let page = page(rig, &ask).map_err(|code| format!("{ask:?} is refused: {code:?}"))?;
        let most = if asked.limit == 0 { 100 } else { asked.limit as usize };
        let is_empty = page.messages.is_empty();
        if page.messages.len() > most || (is_empty && !page.next.is_empty()) {
            return Err(format!("{ask:?} has a page of {}", page.messages.len()));
        }
        same(|| format!("whether there is more than {ask:?}"), &page.more, &!page.next.is_empty())?;
        starred.extend(page.messages);
        if page.next.is_empty() {
            break;
        }
        asked.after = page.next;
    }
    same_all(|| format!("what {} has marked", ask.user), &starred, &model.starred(&ask.user))?;
    Ok(None)
}

/// The devices of somebody. Answers why there are none.
pub(crate) fn devices(rig: &mut Rig, model: &Model, ask: &Ask) -> Result<Option<ErrorCode>, String> {
    let devices = page(rig, ask).map_err(|code| format!("{ask:?} is refused: {code:?}"))?.devices;
    same_all(|| format!("the devices of {}", ask.user), &devices, &model.devices(&ask.user))?;
    Ok(None)
}

/// Whether something that is to be edited, or answered with a sign, or the like, is there at all.
pub(crate) fn is_there(model: &Model, ask: &Ask) -> bool {
    let (chat, seq) = match &ask.what {
        What::Edit(edit) => (&edit.conversation, edit.seq),
        What::React(react) => (&react.conversation, react.seq),
        What::Delete(delete) => (&delete.conversation, delete.seq),
        What::Pin(pin) => (&pin.conversation, pin.seq),
        _ => return false,
    };
    let said = model.said(&key(&ask.user, chat));
    let message = seq.checked_sub(1).and_then(|at| said.get(at as usize));
    message.is_some_and(|message| message.is_said)
}

/// Whether somebody has taken away for themselves what they take away now.
pub(crate) fn is_away(model: &Model, ask: &Ask) -> bool {
    let What::Delete(delete) = &ask.what else { return false };
    let hidden = &model.users[&ask.user].hidden;
    !delete.for_everyone && hidden.contains(&(delete.conversation.clone(), delete.seq))
}
