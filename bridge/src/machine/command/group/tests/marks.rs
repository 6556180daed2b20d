//! How far members are, as those who sent something are shown it.

use super::*;

fn acknowledges(by: &str, messages: &[(&str, u64)]) -> Command {
    let conversation = ConversationId::Group(hikers());
    let acknowledged = |(at, (sender, seq)): (usize, &(&str, u64))| Acknowledged {
        position: at as u64 + 1,
        conversation: conversation.clone(),
        sender: user(sender),
        seq: Seq(*seq),
        time_ms: NOW_MS,
    };
    let messages: Vec<Acknowledged> = messages.iter().enumerate().map(acknowledged).collect();
    let up_to = 1_000;
    Delivered { user: user(by), device: device("phone"), up_to, messages }.into()
}

/// What `owner` is shown of how far each member is: delivered and read.
fn marks(memory: &Memory, owner: &str) -> Vec<(String, u64, u64)> {
    let receipt = memory.receipt(owner, &ChatName::Group(hikers()));
    match receipt.members.as_deref() {
        None => Vec::new(),
        Some(Members::Named(named)) => named
            .iter()
            .map(|marks| (marks.user.to_string(), marks.delivered.up_to.0, marks.read.up_to.0))
            .collect(),
        Some(Members::Counted(counts)) => panic!("counted: {counts:?}"),
    }
}

fn with_devices(names: &[&str]) -> Memory {
    let mut memory = memory();
    for name in names {
        act(&mut memory, Attach { user: user(name), device: device("phone") }, &env());
    }
    memory
}

#[test]
fn who_sent_what_is_newly_delivered_is_told_by_whom() {
    let mut memory = with_devices(&["bob", "carol"]);
    act(&mut memory, post("alice"), &env()); // 2
    act(&mut memory, post("carol"), &env()); // 3
    let decision = act(&mut memory, acknowledges("bob", &[("alice", 2), ("carol", 3)]), &env());
    for owner in ["alice", "carol"] {
        assert_eq!(marks(&memory, owner), [("bob".to_owned(), 3, 0)], "{owner}");
        let receipt = memory.receipt(owner, &ChatName::Group(hikers()));
        assert_eq!((receipt.position, receipt.delivered), (1, Mark::default()));
    }
    assert_eq!(memory.membership("hikers", "bob").delivered, Mark { up_to: Seq(3), at_ms: NOW_MS });
    assert!(!is_quiet(&decision));
    act(&mut memory, acknowledges("carol", &[("alice", 2)]), &env());
    assert_eq!(marks(&memory, "alice"), [("bob".to_owned(), 3, 0), ("carol".to_owned(), 2, 0)]);
    let receipt = memory.receipt("alice", &ChatName::Group(hikers()));
    assert_eq!(receipt.delivered, Mark { up_to: Seq(2), at_ms: NOW_MS }, "all of them have it");
    assert_eq!(marks(&memory, "carol"), [("bob".to_owned(), 3, 0)], "nothing new to her");
}

#[test]
fn reading_is_told_to_who_sent_something_since() {
    let mut memory = memory();
    act(&mut memory, post("alice"), &env()); // 2
    act(&mut memory, post("carol"), &env()); // 3
    act(&mut memory, read("bob", 2), &env());
    assert_eq!(marks(&memory, "alice"), [("bob".to_owned(), 0, 2)]);
    act(&mut memory, read("bob", 3), &env());
    assert_eq!(marks(&memory, "carol"), [("bob".to_owned(), 0, 3)]);
    assert_eq!(marks(&memory, "alice"), [("bob".to_owned(), 0, 2)], "she sent nothing since");
    for up_to in [3, 2, 0] {
        let again = act(&mut memory, read("bob", up_to), &env());
        assert!(is_quiet(&again) && again.outcome == Outcome::Done, "marks only grow");
    }
    let played =
        Read { caller: caller("bob", "phone"), chat: ChatName::Group(hikers()), up_to: Seq(2), played: true };
    act(&mut memory, played, &env());
    let receipt = memory.receipt("alice", &ChatName::Group(hikers()));
    let Some(Members::Named(named)) = receipt.members.as_deref() else { panic!("{receipt:?}") };
    assert_eq!((named[0].read.up_to, named[0].played.up_to), (Seq(2), Seq(2)));
}

#[test]
fn who_hides_reading_neither_shows_nor_sees_it() {
    for hides in ["alice", "bob"] {
        let mut memory = memory();
        act(&mut memory, post("alice"), &env());
        let mut hidden = memory.user(hides).clone();
        hidden.hides_reads = true;
        memory.set_user(hides, hidden);
        act(&mut memory, read("bob", 2), &env());
        assert_eq!(marks(&memory, "alice"), [], "{hides} hides");
    }
}

#[test]
fn who_was_a_member_may_read_what_they_saw_and_tells_nobody() {
    let mut memory = memory();
    act(&mut memory, post("alice"), &env()); // 2
    act(&mut memory, leave("bob"), &env()); // 3
    act(&mut memory, post("alice"), &env()); // 4
    let decision = act(&mut memory, read("bob", 2), &env());
    assert!(is_for_oneself(&decision) && decision.outcome == Outcome::Done);
    assert_eq!(code(&act(&mut memory, read("bob", 4), &env())), ErrorCode::NoSuchMessage);
    act(&mut memory, Attach { user: user("bob"), device: device("phone") }, &env());
    act(&mut memory, acknowledges("bob", &[("alice", 2)]), &env());
    assert_eq!(marks(&memory, "alice"), []);
}

#[test]
fn of_a_larger_group_it_is_counted_how_many_have_the_newest_message() {
    let dev = Env { dev: true, ..env() };
    let mut memory = memory();
    let many: Vec<String> = (0..RECEIPT_MAX_MEMBERS).map(|n| format!("user-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    act(&mut memory, add("alice", &many), &dev); // 2
    for name in &many {
        act(&mut memory, Attach { user: user(name), device: device("phone") }, &env());
    }
    let counts =
        |memory: &Memory| match memory.receipt("alice", &ChatName::Group(hikers())).members.as_deref() {
            Some(Members::Counted(counts)) => *counts,
            other => panic!("not counted: {other:?}"),
        };
    act(&mut memory, post("alice"), &env()); // 3
    act(&mut memory, acknowledges("user-0", &[("alice", 3)]), &env());
    act(&mut memory, acknowledges("user-1", &[("alice", 3)]), &env());
    let seen = counts(&memory);
    let others = RECEIPT_MAX_MEMBERS as u32 + 2;
    assert_eq!((seen.seq, seen.members, seen.delivered, seen.read), (Seq(3), others, 2, 0));
    act(&mut memory, read("user-0", 3), &env());
    assert_eq!((counts(&memory).delivered, counts(&memory).read), (2, 1));
    // A newer one is counted anew, and what is behind it no more.
    act(&mut memory, post("alice"), &env()); // 4
    act(&mut memory, acknowledges("user-2", &[("alice", 3), ("alice", 4)]), &env());
    let seen = counts(&memory);
    assert_eq!((seen.seq, seen.delivered, seen.read), (Seq(4), 1, 0));
    act(&mut memory, acknowledges("user-3", &[("alice", 3)]), &env());
    assert_eq!(counts(&memory).delivered, 1, "not as far as the newest");
    // Who has read a part of it only says nothing about the newest.
    act(&mut memory, post("alice"), &env()); // 5
    let part = act(&mut memory, read("user-4", 4), &env());
    assert_eq!((counts(&memory).seq, counts(&memory).read), (Seq(4), 1));
    assert!(!is_quiet(&part));
    // The others' marks are told by count as well, each member once.
    let again = act(&mut memory, read("user-0", 4), &env());
    assert!(!is_quiet(&again));
    assert_eq!((counts(&memory).seq, counts(&memory).delivered, counts(&memory).read), (Seq(4), 1, 2));
}

#[test]
fn what_all_have_does_not_wait_for_whose_account_was_removed() {
    let mut memory = memory();
    for name in ["bob", "carol"] {
        act(&mut memory, Attach { user: user(name), device: device("phone") }, &env());
    }
    act(&mut memory, post("alice"), &env()); // 2
    act(&mut memory, RemoveUser { user: user("carol") }, &env());
    act(&mut memory, acknowledges("bob", &[("alice", 2)]), &env());
    act(&mut memory, read("bob", 2), &env());
    let receipt = memory.receipt("alice", &ChatName::Group(hikers()));
    assert_eq!((receipt.delivered.up_to, receipt.read.up_to), (Seq(2), Seq(2)));
}

#[test]
fn whose_account_was_removed_is_counted_until_the_next_message() {
    let dev = Env { dev: true, ..env() };
    let mut memory = memory();
    let many: Vec<String> = (0..=RECEIPT_MAX_MEMBERS).map(|n| format!("user-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    act(&mut memory, add("alice", &many), &dev); // 2
    for name in &many {
        act(&mut memory, CreateUser { user: user(name) }, &env());
        act(&mut memory, Attach { user: user(name), device: device("phone") }, &env());
    }
    let others =
        |memory: &Memory| match memory.receipt("alice", &ChatName::Group(hikers())).members.as_deref() {
            Some(Members::Counted(counts)) => (counts.seq.0, counts.members as usize, counts.delivered),
            other => panic!("not counted: {other:?}"),
        };
    let all = RECEIPT_MAX_MEMBERS + 3;
    act(&mut memory, post("alice"), &env()); // 3
    act(&mut memory, RemoveUser { user: user("user-7") }, &env());
    act(&mut memory, acknowledges("user-0", &[("alice", 3)]), &env());
    assert_eq!(others(&memory), (3, all, 1), "it was for them, too");
    let posted = act(&mut memory, post("alice"), &env()); // 4
    assert!(!shown(&posted).contains_key("user-7"));
    act(&mut memory, acknowledges("user-1", &[("alice", 4)]), &env());
    assert_eq!(others(&memory), (4, all - 1, 1));
    let puts = |decision: &Decision| {
        decision.changes.iter().filter(|change| matches!(change, Change::PutGroup { .. })).count()
    };
    let next = act(&mut memory, post("alice"), &env());
    assert_eq!((puts(&posted), puts(&next)), (1, 0), "once is enough");
}
