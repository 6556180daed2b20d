//! `SetTies`: who stands on a user's contact list and on their block list.

use super::reject::refuse;
use super::{Caller, Decision, Missing, View, group};
use crate::entry;
use crate::machine::record::{Conversation, Tie, User};
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::limits::TIES_PER_USER;
use chasqui_proto::{ConversationId, ErrorCode, Refusal, UserId, v1};

/// Others are to be something to a user, or not to be it any more. Those who are so already are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetTies {
    /// Whose lists these are.
    pub caller: Caller,
    /// Who; not the caller.
    pub users: Vec<UserId>,
    /// What they are to be.
    pub what: What,
}

/// What somebody is to be to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A contact, or none.
    Contact(bool),
    /// Blocked, or not.
    Blocked(bool),
}

impl What {
    fn of(self, tie: Tie) -> Tie {
        match self {
            What::Contact(contact) => Tie { contact, ..tie },
            What::Blocked(blocked) => Tie { blocked, ..tie },
        }
    }

    /// Whether it takes nothing away: then there has to be such a user.
    fn adds(self) -> bool {
        matches!(self, What::Contact(true) | What::Blocked(true))
    }
}

/// Somebody whose tie is to be another.
struct Another<'a> {
    user: &'a UserId,
    record: &'a User,
    /// Whether a tie to them is counted among the owner's, perhaps one to who had the name before.
    counted: bool,
    now: Tie,
    to: Tie,
    /// What they say to each other.
    id: ConversationId,
    conversation: &'a Conversation,
}

impl SetTies {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let mut missing = Missing::default();
        let owner = missing.note(view.user(me));
        let mut found = Vec::with_capacity(self.users.len());
        for user in group::each_once(&self.users) {
            let record = missing.note(view.user(user));
            let tie = missing.note(view.tie(me, user));
            let id = ConversationId::direct(me, user);
            if let (Some(record), Some(tie), Some(conversation)) =
                (record, tie, missing.note(view.conversation(&id)))
            {
                found.push((user, record, *tie, (id, conversation)));
            }
        }
        let Some(owner) = owner.filter(|_| missing.0.is_empty()) else { return Err(missing) };
        if !owner.exists && !env.dev {
            return refuse(view, &self.caller, None, group::removed());
        }
        let mut others: Vec<Another<'_>> = Vec::with_capacity(found.len());
        others.extend(found.into_iter().map(|(user, record, tie, (id, conversation))| {
            let now = tie.between(owner, record);
            let counted = tie.life == owner.lives && tie.is_kept();
            Another { user, record, counted, now, to: self.what.of(now), id, conversation }
        }));
        // Of who had the name before something may be left to be taken away.
        others.retain(|other| other.to != other.now || other.counted != other.to.is_kept());
        if let Some(refusal) = self.refusal(&others, env) {
            return refuse(view, &self.caller, None, refusal);
        }

        let mut changes = Vec::with_capacity(1 + 3 * others.len());
        if !owner.exists && !others.is_empty() {
            changes.push(Change::CreateUser { user: me.clone(), at_ms: env.now_ms });
        }
        let (mut ties, mut position) = (owner.ties, owner.inbox_head);
        for other in &others {
            position += 1;
            ties = ties + u32::from(other.to.is_kept()) - u32::from(other.counted);
            self.change(other, (owner, ties), position, env, &mut changes);
        }
        if ties as usize > TIES_PER_USER && ties > owner.ties {
            let sentence = format!(
                "a user has at most {TIES_PER_USER} others on their contact and block list; nobody was added"
            );
            return refuse(view, &self.caller, None, Refusal::because(ErrorCode::QuotaExceeded, sentence));
        }
        Ok(Decision { changes, outcome: Outcome::Done })
    }

    /// All that follows from somebody being something else to the caller.
    fn change(
        &self,
        other: &Another<'_>,
        (record, ties): (&User, u32),
        position: u64,
        env: &Env,
        changes: &mut Vec<Change>,
    ) {
        let (owner, user) = (&self.caller.user, other.user);
        if self.what.adds() && !other.record.exists {
            changes.push(Change::CreateUser { user: user.clone(), at_ms: env.now_ms });
        }
        // From here on who is blocked is not seen, or is seen again.
        if let What::Blocked(blocks) = self.what {
            let to = other.conversation.with_block(&other.id, (owner, record), other.record, blocks);
            changes.push(Change::PutShade { conversation: other.id.clone(), to: Some(to) });
        }
        changes.push(Change::PutTie { owner: owner.clone(), other: user.clone(), to: other.to, ties });
        let tie =
            v1::Tie { user: user.as_str().to_owned(), contact: other.to.contact, blocked: other.to.blocked };
        let entry = entry::tie(position, tie);
        changes.push(Change::AppendInbox { user: owner.clone(), position, entry });
    }

    /// Why it cannot be. Who names too many who do not exist is told nothing for a while, but of those whom they know.
    fn refusal(&self, others: &[Another<'_>], env: &Env) -> Option<Refusal> {
        if !self.what.adds() {
            return None;
        }
        if let Some(wait_ms) = env.guess_wait_ms
            && others.iter().any(|other| !other.now.is_kept())
        {
            return Some(Refusal::retry_after(ErrorCode::RateLimited, wait_ms));
        }
        let unknown = others.iter().find(|other| !other.record.exists && !env.dev)?;
        let sentence = format!("there is no user {}; nothing was changed", unknown.user);
        Some(Refusal::because(ErrorCode::NoSuchUser, sentence))
    }
}

#[cfg(test)]
#[allow(clippy::type_complexity)] // The types of tables of cases.
mod tests {
    use super::*;
    use crate::entry::Rendered;
    use crate::machine::command::tests::{
        act, caller, device, env, inbox_entries, is_quiet, old_caller, refused, user,
    };
    use crate::machine::command::{Attach, CreateUser, RemoveUser};
    use crate::machine::testing::Memory;
    use crate::machine::{Key, Told, decide};
    use chasqui_proto::ConversationId;
    use prost::Message as _;

    fn set(what: What, users: &[&str]) -> SetTies {
        SetTies {
            caller: caller("alice", "phone"),
            users: users.iter().map(|name| user(name)).collect(),
            what,
        }
    }

    fn memory() -> Memory {
        Memory::with_users(&["alice", "bob", "carol"])
    }

    /// What alice's devices are told.
    fn told(decision: &Decision) -> Vec<(String, bool, bool)> {
        let entries = inbox_entries(decision, "alice");
        let tie = |entry: &&bytes::Bytes| {
            assert_eq!(entry::about(&user("alice"), entry), Ok(None));
            let nothing = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
            let rendered = entry::render(entry, &user("alice"), &device("phone"), 0, nothing).unwrap();
            let Rendered::Event(event) = rendered else { panic!("skipped") };
            match v1::Event::decode(event).unwrap().event {
                Some(v1::event::Event::Tie(v1::Tie { user, contact, blocked })) => (user, contact, blocked),
                other => panic!("a tie was expected: {other:?}"),
            }
        };
        entries.iter().map(tie).collect()
    }

    #[test]
    fn each_change_is_told_once_and_what_is_so_already_is_no_change() {
        use What::{Blocked, Contact};
        let rows: [(What, &[&str], &[(&str, bool, bool)], u32); 10] = [
            (Contact(true), &["bob", "carol", "bob"], &[("bob", true, false), ("carol", true, false)], 2),
            (Contact(true), &["carol", "bob"], &[], 2),
            (Blocked(true), &["bob"], &[("bob", true, true)], 2),
            (Blocked(true), &["bob"], &[], 2),
            (Contact(false), &["bob", "carol"], &[("bob", false, true), ("carol", false, false)], 1),
            (Contact(false), &["bob", "carol", "nobody"], &[], 1),
            (Blocked(false), &["carol"], &[], 1),
            (Contact(true), &["bob"], &[("bob", true, true)], 1),
            (Blocked(false), &["bob"], &[("bob", true, false)], 1),
            (Contact(false), &["bob"], &[("bob", false, false)], 0),
        ];
        let mut memory = memory();
        for (what, users, expected, ties) in rows {
            let decision = act(&mut memory, set(what, users), &env());
            assert_eq!(decision.outcome, Outcome::Done);
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, contact, blocked)| ((*name).to_owned(), *contact, *blocked))
                .collect();
            assert_eq!(told(&decision), expected, "{what:?} {users:?}");
            assert_eq!(is_quiet(&decision), expected.is_empty());
            assert_eq!(memory.user("alice").ties, ties, "{what:?} {users:?}");
            for (name, contact, blocked) in expected {
                let tie = memory.tie("alice", &name);
                assert_eq!((tie.contact, tie.blocked), (contact, blocked));
            }
        }
        assert_eq!(*memory.tie("bob", "alice"), Tie::default(), "it is nothing of the other's");
    }

    #[test]
    fn who_is_not_there_is_refused_and_nothing_is_changed() {
        for what in [What::Contact(true), What::Blocked(true)] {
            let mut memory = memory();
            let decision = act(&mut memory, set(what, &["bob", "nobody"]), &env());
            let (refusal, told) = refused(&decision.outcome);
            assert_eq!((refusal.code, told), (ErrorCode::NoSuchUser, Told::ByAck));
            assert!(refusal.reason().contains("nobody;"), "{}", refusal.reason());
            assert!(is_quiet(&decision));
            // With --dev they come into being.
            act(&mut memory, set(what, &["bob", "nobody"]), &Env { dev: true, ..env() });
            assert!(memory.user("nobody").exists && memory.tie("alice", "nobody").is_kept());
        }
    }

    #[test]
    fn who_guesses_too_much_is_told_nothing_but_of_those_whom_they_know() {
        let mut memory = memory();
        act(&mut memory, set(What::Contact(true), &["bob"]), &env());
        let waits = Env { guess_wait_ms: Some(700), ..env() };
        for users in [&["carol"][..], &["nobody"], &["bob", "nobody"]] {
            let decision = act(&mut memory, set(What::Blocked(true), users), &waits);
            let (refusal, _) = refused(&decision.outcome);
            assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::RateLimited, 700), "{users:?}");
        }
        for (what, users) in
            [(What::Blocked(true), "bob"), (What::Contact(false), "bob"), (What::Contact(false), "nobody")]
        {
            let decision = act(&mut memory, set(what, &[users]), &waits);
            assert_eq!(decision.outcome, Outcome::Done, "{what:?}");
        }
    }

    #[test]
    fn the_lists_have_an_end() {
        let mut memory = memory();
        let full = User { exists: true, ties: TIES_PER_USER as u32 - 1, ..User::default() };
        memory.set_user("alice", full);
        let decision = act(&mut memory, set(What::Contact(true), &["bob", "carol"]), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::QuotaExceeded);
        assert!(is_quiet(&decision));
        act(&mut memory, set(What::Contact(true), &["bob"]), &env());
        let decision = act(&mut memory, set(What::Blocked(true), &["carol"]), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::QuotaExceeded);
        // Who is on them already may be more, and who goes makes place.
        act(&mut memory, set(What::Blocked(true), &["bob"]), &env());
        act(&mut memory, set(What::Contact(false), &["bob"]), &env());
        act(&mut memory, set(What::Blocked(false), &["bob"]), &env());
        let decision = act(&mut memory, set(What::Blocked(true), &["carol"]), &env());
        assert_eq!(decision.outcome, Outcome::Done);
        assert_eq!(memory.user("alice").ties as usize, TIES_PER_USER);
    }

    #[test]
    fn somebody_else_of_the_name_is_nothing_yet() {
        let again = |memory: &mut Memory, name: &str| {
            act(memory, RemoveUser { user: user(name) }, &env());
            act(memory, CreateUser { user: user(name) }, &env());
        };
        let mut memory = memory();
        act(&mut memory, set(What::Blocked(true), &["bob"]), &env());
        act(&mut memory, set(What::Contact(true), &["bob", "carol"]), &env());
        again(&mut memory, "bob");
        let between =
            |memory: &Memory| memory.tie("alice", "bob").between(memory.user("alice"), memory.user("bob"));
        assert!(!between(&memory).is_kept());
        // What is left of the one before takes a place until it is taken away.
        let decision = act(&mut memory, set(What::Contact(false), &["bob"]), &env());
        assert_eq!(told(&decision), [("bob".to_owned(), false, false)]);
        assert_eq!((memory.user("alice").ties, memory.tie("alice", "bob").is_kept()), (1, false));
        assert!(is_quiet(&act(&mut memory, set(What::Contact(false), &["bob"]), &env())));
        let decision = act(&mut memory, set(What::Contact(true), &["bob"]), &env());
        assert_eq!(told(&decision), [("bob".to_owned(), true, false)], "and no block of the one before");
        assert_eq!(memory.user("alice").ties, 2);
        // The same when it is the owner.
        again(&mut memory, "alice");
        assert_eq!(memory.user("alice").ties, 0);
        assert!(!between(&memory).is_kept());
        assert!(is_quiet(&act(&mut memory, set(What::Contact(false), &["bob", "carol"]), &env())));
        let decision = act(&mut memory, set(What::Blocked(true), &["carol"]), &env());
        assert_eq!(told(&decision), [("carol".to_owned(), false, true)]);
        assert_eq!(memory.user("alice").ties, 1);
    }

    #[test]
    fn who_was_removed_has_no_lists_and_an_old_client_hears_of_refusals_in_its_inbox() {
        let mut memory = memory();
        act(&mut memory, RemoveUser { user: user("alice") }, &env());
        let decision = act(&mut memory, set(What::Contact(true), &["bob"]), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::Unauthenticated);
        act(&mut memory, set(What::Contact(true), &["bob"]), &Env { dev: true, ..env() });
        assert!(memory.user("alice").exists);
        act(&mut memory, Attach { user: user("alice"), device: device("phone") }, &env());
        let old = SetTies { caller: old_caller("alice", "phone"), ..set(What::Blocked(true), &["nobody"]) };
        let decision = act(&mut memory, old, &env());
        assert_eq!(refused(&decision.outcome).1, Told::ByEntry);
    }

    #[test]
    fn all_that_is_needed_is_asked_for_at_once() {
        let (alice, bob) = (user("alice"), user("bob"));
        let missing =
            decide(&Memory::cold(), &set(What::Contact(true), &["bob"]).into(), &env()).unwrap_err();
        let said = Key::Conversation(ConversationId::direct(&alice, &bob));
        let expected = [Key::User(alice.clone()), Key::User(bob.clone()), Key::Tie(alice, bob), said];
        assert_eq!(missing.0, expected);
    }
}
