//! What happens to a group: who is told what, and who is a member then.

use super::*;

#[test]
fn a_new_group_is_told_to_all_its_members() {
    let mut memory = Memory::with_users(&["alice", "bob"]);
    let decision = act(&mut memory, create("alice", &["bob", "alice", "bob"]), &env());
    let expected = [("alice".to_owned(), true), ("bob".to_owned(), false)];
    assert_eq!(members(&memory), expected);
    let shown = shown(&decision);
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["alice", "bob"], "its maker's devices, too");
    for message in shown.values().flatten() {
        let heading = (message.conversation.as_str(), message.sender.as_str(), message.seq, message.time_ms);
        assert_eq!(heading, ("g/hikers", "alice", 1, NOW_MS.cast_signed()));
        assert_eq!(message.body, None);
        let Happened::Created(group) = happened(message) else { panic!("{message:?}") };
        assert_eq!(group, memory.group("hikers").snapshot(&hikers()));
        assert_eq!(group.info.unwrap().members, 2);
    }
    // The same again gets the same answer, and makes no second group.
    let again = act(&mut memory, create("alice", &[]), &env());
    assert_eq!(again.outcome, decision.outcome);
    assert!(is_quiet(&again));
}

#[test]
fn with_dev_users_come_into_being_when_they_are_named() {
    let mut memory = Memory::default();
    let dev = Env { dev: true, ..env() };
    let decision = act(&mut memory, create("alice", &["bob"]), &dev);
    assert!(memory.user("alice").exists && memory.user("bob").exists);
    assert_eq!(shown(&decision).len(), 2);
    act(&mut memory, add("bob", &["carol"]), &dev);
    assert!(memory.user("carol").exists);
    assert_eq!(shown(&act(&mut memory, post("carol"), &dev)).len(), 2);
}

/// What is told of a change, to each of those who are told.
fn told(memory: &mut Memory, command: Command) -> Vec<(String, Happened)> {
    let decision = act(memory, command, &env());
    let told = shown(&decision).into_iter();
    told.flat_map(|(name, messages)| {
        messages.into_iter().map(move |message| (name.clone(), happened(&message)))
    })
    .collect()
}

fn each(names: &[&str], happened: &Happened) -> Vec<(String, Happened)> {
    names.iter().map(|name| ((*name).to_owned(), happened.clone())).collect()
}

#[test]
fn every_change_is_told_to_the_members_of_before_and_after() {
    let mut memory = memory();
    let all = ["alice", "bob", "carol"];
    let added = Happened::Added(users(&["dave"]));
    assert_eq!(
        told(&mut memory, add("bob", &["dave", "carol"])),
        each(&["alice", "bob", "carol", "dave"], &added)
    );
    let removed = Happened::Removed(users(&["dave"]));
    let was_told = told(&mut memory, remove("alice", &["dave", "erin"]));
    assert_eq!(was_told, each(&["alice", "bob", "carol", "dave"], &removed), "it is the last that they get");
    assert_eq!(
        shown(&act(&mut memory, post("alice"), &env())).into_keys().collect::<Vec<_>>(),
        ["bob", "carol"]
    );
    let promoted = Happened::Promoted(users(&["bob"]));
    assert_eq!(told(&mut memory, roles("alice", &["bob", "alice"], Role::Admin)), each(&all, &promoted));
    let demoted = Happened::Demoted(users(&["alice"]));
    assert_eq!(told(&mut memory, roles("bob", &["alice", "carol"], Role::Member)), each(&all, &demoted));
    let told_name = told(&mut memory, rename("carol", "Walkers"));
    assert_eq!(told_name.len(), 3);
    for (_, happened) in told_name {
        let Happened::Updated(info) = happened else { panic!("{happened:?}") };
        assert_eq!((info.name.as_str(), info.members), ("Walkers", 3));
    }
    let only_admins = NewSettings { admins_post: Some(true), ..NewSettings::default() };
    let told_settings = told(&mut memory, configure("bob", only_admins));
    assert!(matches!(&told_settings[0].1, Happened::Updated(info) if info.admins_post && !info.admins_edit));
    assert_eq!(memory.group("hikers").name, "Walkers", "settings say nothing about the name");
}

#[test]
fn what_is_so_already_is_done_and_told_to_nobody() {
    let same = NewSettings { admins_post: Some(false), ..NewSettings::default() };
    for command in [
        add("alice", &["bob"]),
        remove("alice", &["erin"]),
        roles("alice", &["bob"], Role::Member),
        rename("alice", "Hikers"),
        configure("alice", same),
    ] {
        let decision = act(&mut memory(), command, &env());
        assert_eq!(decision.outcome, Outcome::Done);
        assert!(is_quiet(&decision));
    }
}

#[test]
fn who_comes_sees_the_group_as_it_is_and_what_follows() {
    let mut memory = memory();
    act(&mut memory, post("alice"), &env());
    let decision = act(&mut memory, add("alice", &["dave"]), &env());
    let shown_now = shown(&decision);
    assert_eq!(shown_now["bob"][0].change.as_ref().unwrap().group, None, "who is there knows it");
    let welcome = &shown_now["dave"][0];
    let group = welcome.change.as_ref().unwrap().group.clone();
    assert_eq!(group, Some(memory.group("hikers").snapshot(&hikers())));
    assert_eq!((welcome.seq, welcome.prev_seq), (3, 0));
    let membership = memory.membership("hikers", "dave");
    assert!(!membership.covers(Seq(2)) && membership.covers(Seq(3)) && membership.covers(Seq(9)));
    // Who comes again is told what was the last they saw.
    act(&mut memory, remove("alice", &["dave"]), &env());
    act(&mut memory, post("alice"), &env());
    let again = act(&mut memory, add("bob", &["dave"]), &env());
    let welcome = &shown(&again)["dave"][0];
    assert_eq!((welcome.seq, welcome.prev_seq), (6, 4));
    let membership = memory.membership("hikers", "dave");
    let seen: Vec<u64> = (1..8).filter(|seq| membership.covers(Seq(*seq))).collect();
    assert_eq!(seen, [3, 4, 6, 7]);
}

#[test]
fn the_last_admin_hands_over_and_the_last_member_ends_it() {
    let mut memory = memory();
    act(&mut memory, add("bob", &["dave"]), &env());
    act(&mut memory, remove("alice", &["bob"]), &env());
    act(&mut memory, add("carol", &["bob"]), &env());
    // carol has been a member for longest now.
    let decision = act(&mut memory, leave("alice"), &env());
    let expected = [Happened::Promoted(users(&["carol"])), Happened::Left(users(&["alice"]))];
    for name in ["alice", "bob", "carol", "dave"] {
        let told: Vec<Happened> = shown(&decision)[name].iter().map(happened).collect();
        assert_eq!(told, expected, "{name}");
    }
    assert_eq!(number(&decision), 6, "the number of the leaving");
    assert_eq!(
        members(&memory),
        [("bob".to_owned(), false), ("carol".to_owned(), true), ("dave".to_owned(), false)]
    );
    for (who, entries) in [("dave", 3), ("carol", 3), ("bob", 1)] {
        let decision = act(&mut memory, leave(who), &env());
        let told: usize = shown(&decision).values().map(Vec::len).sum();
        assert!(told >= entries, "{who}: {told}");
    }
    let group = memory.group("hikers");
    assert!(group.exists && group.members.is_empty());
    // It has ended: nothing opens it, and nobody has its name.
    for command in [post("bob"), add("bob", &["carol"]), join("bob", ""), create("alice", &[])] {
        let decision = act(&mut memory, command.clone(), &env());
        assert!(matches!(decision.outcome, Outcome::Refused { .. }), "{command:?}");
        assert!(is_quiet(&decision), "{command:?}");
    }
    assert_eq!(act(&mut memory, leave("bob"), &env()).outcome, Outcome::Done);
}

fn secret(decision: &Decision) -> String {
    match &decision.outcome {
        Outcome::Answered(answered) => answered.invite.clone().unwrap(),
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn who_has_the_secret_joins() {
    let mut memory = memory();
    assert_eq!(code(&act(&mut memory, join("dave", ""), &env())), ErrorCode::Forbidden, "there is none yet");
    assert_eq!(secret(&act(&mut memory, invite("bob", InviteAction::Get, "one"), &env())), "one");
    let again = act(&mut memory, invite("alice", InviteAction::Get, "two"), &env());
    assert_eq!((secret(&again).as_str(), is_quiet(&again)), ("one", true));
    let joined = act(&mut memory, join("dave", "one"), &env());
    let told = shown(&joined);
    assert_eq!(told.len(), 4);
    assert_eq!(happened(&told["alice"][0]), Happened::Joined(users(&["dave"])));
    assert_eq!((told["alice"][0].sender.as_str(), number(&joined)), ("dave", 2));
    assert!(told["dave"][0].change.as_ref().unwrap().group.is_some());
    let Outcome::Answered(answered) = &joined.outcome else { panic!("{joined:?}") };
    assert!(answered.group.is_some());
    let once_more = act(&mut memory, join("dave", "anything"), &env());
    assert!(is_quiet(&once_more) && once_more.outcome.is_success_code(), "a member is one already");

    assert_eq!(secret(&act(&mut memory, invite("alice", InviteAction::Reset, "three"), &env())), "three");
    assert_eq!(code(&act(&mut memory, join("erin", "one"), &env())), ErrorCode::Forbidden);
    assert_eq!(secret(&act(&mut memory, invite("alice", InviteAction::Revoke, "four"), &env())), "");
    for guess in ["three", ""] {
        assert_eq!(code(&act(&mut memory, join("erin", guess), &env())), ErrorCode::Forbidden);
    }
    assert_eq!(names_of(&memory), ["alice", "bob", "carol", "dave"]);
}

#[test]
fn a_full_group_takes_nobody() {
    let dev = Env { dev: true, ..env() };
    let mut memory = memory();
    let many: Vec<String> = (3..GROUP_MAX_MEMBERS).map(|n| format!("user-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(act(&mut memory, add("alice", &many), &dev).outcome.is_success_code());
    assert_eq!(memory.group("hikers").members.len(), GROUP_MAX_MEMBERS);
    act(&mut memory, invite("alice", InviteAction::Get, "secret"), &env());
    for command in [add("alice", &["dave"]), join("dave", "secret")] {
        assert_eq!(code(&act(&mut memory, command, &env())), ErrorCode::QuotaExceeded);
    }
    act(&mut memory, leave("bob"), &env());
    assert!(act(&mut memory, join("dave", "secret"), &env()).outcome.is_success_code());
}
