//! Who may what, in a table: every command by everyone there is.

use super::*;

/// Who asks. The group is alice's, carol was a member and is none any more, erin never was.
const WHO: [&str; 4] = ["alice", "bob", "carol", "erin"];

fn scene(settings: Settings) -> Memory {
    let mut memory = memory();
    act(&mut memory, remove("alice", &["carol"]), &env());
    let Settings { admins_post, admins_edit, admins_add } = settings;
    let settings = NewSettings {
        admins_post: Some(admins_post),
        admins_edit: Some(admins_edit),
        admins_add: Some(admins_add),
    };
    act(&mut memory, configure("alice", settings), &env());
    memory
}

const OPEN: Settings = Settings { admins_post: false, admins_edit: false, admins_add: false };
const CLOSED: Settings = Settings { admins_post: true, admins_edit: true, admins_add: true };

#[test]
fn who_may_what() {
    type Asks = fn(&str) -> Command;
    // (what, the command, who of an admin, a member, a former member and a stranger may, where members may most and where least)
    let rows: [(&str, Asks, &str, &str); 12] = [
        ("post", post, "yynn", "ynnn"),
        ("rename", |by| rename(by, "Walkers"), "yynn", "ynnn"),
        ("add", |by| add(by, &["dave"]), "yynn", "ynnn"),
        ("see the invite", |by| invite(by, InviteAction::Get, "s"), "yynn", "ynnn"),
        ("get", get, "yynn", "yynn"),
        ("remove", |by| remove(by, &["dave"]), "ynnn", "ynnn"),
        ("promote", |by| roles(by, &["bob"], Role::Admin), "ynnn", "ynnn"),
        ("demote", |by| roles(by, &["bob"], Role::Member), "ynnn", "ynnn"),
        (
            "configure",
            |by| configure(by, NewSettings { admins_post: Some(true), ..NewSettings::default() }),
            "ynnn",
            "ynnn",
        ),
        ("reset the invite", |by| invite(by, InviteAction::Reset, "s"), "ynnn", "ynnn"),
        ("revoke the invite", |by| invite(by, InviteAction::Revoke, "s"), "ynnn", "ynnn"),
        // Who has left has left.
        ("leave", leave, "yyyn", "yyyn"),
    ];
    for (what, asks, open, closed) in rows {
        for (settings, may) in [(OPEN, open), (CLOSED, closed)] {
            for (by, may) in WHO.into_iter().zip(may.chars()) {
                let mut memory = scene(settings);
                let decision = act(&mut memory, asks(by), &env());
                if may == 'y' {
                    assert!(decision.outcome.is_success_code(), "{what} by {by}: {:?}", decision.outcome);
                } else {
                    assert_eq!(code(&decision), ErrorCode::Forbidden, "{what} by {by} with {settings:?}");
                    assert!(is_quiet(&decision), "{what} by {by}");
                }
            }
        }
    }
}

#[test]
fn a_group_that_is_not_there_is_like_one_that_is_not_ones_own() {
    for asks in [
        post("erin"),
        rename("erin", "x"),
        add("erin", &["bob"]),
        remove("erin", &["bob"]),
        roles("erin", &["bob"], Role::Admin),
        leave("erin"),
        invite("erin", InviteAction::Get, "s"),
        join("erin", "guessed"),
        get("erin"),
        read("erin", 1),
    ] {
        let mut without = Memory::with_users(&["bob", "erin"]);
        let there = act(&mut memory(), asks.clone(), &env());
        let not_there = act(&mut without, asks.clone(), &env());
        assert_eq!(there.outcome, not_there.outcome, "{asks:?}");
        assert!(is_quiet(&there) && is_quiet(&not_there), "{asks:?}");
    }
}

#[test]
fn a_refusal_reaches_a_client_that_has_no_codes() {
    let mut memory = memory();
    act(&mut memory, Attach { user: user("erin"), device: device("phone") }, &env());
    let decision = act(&mut memory, says(old_caller("erin", "phone"), "hello", Some(b"id")), &env());
    assert_eq!(refused(&decision.outcome).1, Told::ByEntry);
    assert_eq!(decision.changes.len(), 1);
    let nobody = Caller { ack: Ack::Nothing, ..caller("dave", "phone") };
    let decision = act(&mut memory, says(nobody, "hello", None), &env());
    assert_eq!(refused(&decision.outcome).1, Told::NoWay);
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_reason() {
    let many: Vec<String> = (0..GROUP_MAX_MEMBERS).map(|n| format!("user-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let dev = Env { dev: true, ..env() };
    let guessed = Env { guess_wait_ms: Some(9_000), ..env() };
    let rows = [
        ("an id that is taken", create("bob", &[]), env(), ErrorCode::AlreadyExists),
        ("a user who is not there", add("alice", &["dave", "nobody"]), env(), ErrorCode::NoSuchUser),
        ("a user, guessed too often", add("alice", &["dave"]), guessed, ErrorCode::RateLimited),
        ("too many members", add("alice", &many), dev, ErrorCode::QuotaExceeded),
        ("oneself", remove("alice", &["alice"]), env(), ErrorCode::InvalidPayload),
        (
            "a stranger's promotion",
            roles("alice", &["bob", "erin"], Role::Admin),
            env(),
            ErrorCode::InvalidPayload,
        ),
        ("the last admin's demotion", roles("alice", &["alice"], Role::Member), env(), ErrorCode::Forbidden),
        ("what is not there yet", read("bob", 2), env(), ErrorCode::NoSuchMessage),
    ];
    for (what, command, env, expected) in rows {
        let mut memory = memory();
        let decision = act(&mut memory, command, &env);
        assert_eq!(code(&decision), expected, "{what}");
        assert!(is_quiet(&decision), "{what}");
    }
    let mut memory = Memory::with_users(&["alice"]);
    assert_eq!(code(&act(&mut memory, create("alice", &["nobody"]), &env())), ErrorCode::NoSuchUser);
    assert_eq!(code(&act(&mut memory, create("alice", &many), &dev)), ErrorCode::QuotaExceeded);
    assert_eq!(code(&act(&mut memory, create("nobody", &[]), &env())), ErrorCode::Unauthenticated);
    assert!(!memory.group("hikers").exists);
}

#[test]
fn who_is_removed_and_comes_again_under_the_name_is_somebody_else() {
    let mut memory = memory();
    act(&mut memory, RemoveUser { user: user("bob") }, &env());
    let shown_to = |decision: &Decision| shown(decision).into_keys().collect::<Vec<_>>();
    assert_eq!(shown_to(&act(&mut memory, post("alice"), &env())), ["carol"], "nobody is there");
    act(&mut memory, CreateUser { user: user("bob") }, &env());
    assert_eq!(shown_to(&act(&mut memory, post("alice"), &env())), ["carol"], "somebody else is");
    assert_eq!(code(&act(&mut memory, post("bob"), &env())), ErrorCode::Forbidden);
    assert_eq!(code(&act(&mut memory, get("bob"), &env())), ErrorCode::Forbidden);
    assert_eq!(code(&act(&mut memory, leave("bob"), &env())), ErrorCode::Forbidden);
    assert_eq!(code(&act(&mut memory, read("bob", 1), &env())), ErrorCode::NoSuchMessage);
    // To be added is to be another member.
    let decision = act(&mut memory, add("alice", &["bob"]), &env());
    let welcome = &shown(&decision)["bob"][0];
    assert_eq!((happened(welcome), welcome.prev_seq), (Happened::Added(users(&["bob"])), 0));
    let membership = memory.membership("hikers", "bob");
    assert!(
        !membership.covers(Seq(1)) && membership.covers(Seq(welcome.seq)),
        "what the other saw is none of his"
    );
    assert!(act(&mut memory, post("bob"), &env()).outcome.is_success_code());
}

#[test]
fn where_all_admins_are_gone_who_has_been_there_for_longest_stands_in() {
    let mut memory = memory();
    act(&mut memory, add("alice", &["dave"]), &env());
    act(&mut memory, RemoveUser { user: user("alice") }, &env());
    // bob and carol are there since the beginning: bob is the first of them.
    for (by, may) in [("carol", false), ("dave", false), ("bob", true)] {
        let decision = act(&mut memory, roles(by, &["dave"], Role::Admin), &env());
        assert_eq!(decision.outcome.is_success_code(), may, "{by}: {:?}", decision.outcome);
    }
    // dave is an admin now, and nobody stands in any more.
    assert_eq!(code(&act(&mut memory, rename_by_admins("bob"), &env())), ErrorCode::Forbidden);
    assert!(act(&mut memory, rename_by_admins("dave"), &env()).outcome.is_success_code());
}

fn rename_by_admins(by: &str) -> Command {
    configure(by, NewSettings { admins_edit: Some(true), ..NewSettings::default() })
}

#[test]
fn whose_account_was_removed_is_no_member_for_anything_that_is_shown_or_done() {
    let mut memory = memory();
    act(&mut memory, RemoveUser { user: user("bob") }, &env());
    let Outcome::Answered(answered) = act(&mut memory, get("alice"), &env()).outcome else {
        panic!("refused")
    };
    let group = v1::Group::decode(answered.group.unwrap()).unwrap();
    assert_eq!(group.info.unwrap().members, 2);
    assert!(group.members.iter().all(|member| member.user != "bob"));
    let promotion = act(&mut memory, roles("alice", &["bob"], Role::Admin), &env());
    assert_eq!(code(&promotion), ErrorCode::InvalidPayload);
    assert!(is_quiet(&act(&mut memory, remove("alice", &["bob"]), &env())));
    act(&mut memory, rename("alice", "Walkers"), &env());
    assert_eq!(names_of(&memory), ["alice", "carol"], "who changes the group writes it down");
}

#[test]
fn who_has_the_name_of_a_groups_maker_has_not_made_it() {
    let mut memory = memory();
    act(&mut memory, RemoveUser { user: user("alice") }, &env());
    act(&mut memory, CreateUser { user: user("alice") }, &env());
    act(&mut memory, add("bob", &["alice"]), &env());
    assert_eq!(code(&act(&mut memory, create("alice", &[]), &env())), ErrorCode::AlreadyExists);
}
