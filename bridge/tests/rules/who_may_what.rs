//! The table "Who may what" of `topics.md`, walked: each command by each kind of user, where members may most and where they may least.

use crate::support::*;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_proto::v1;
use prost::Message as _;

/// Each column of the table, and who is that in the groups of this test.
const COLUMNS: [(&str, &str); 4] =
    [("stranger", "erin"), ("former member", "carol"), ("member", "bob"), ("admin", "alice")];

/// The rows of the table: each command, and the cell of each column.
fn table() -> Vec<(String, Vec<String>)> {
    let document = include_str!("../../../topics.md");
    let part = document.split("\n### Who may what\n").nth(1).expect("topics.md says who may what");
    let mut lines =
        part.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head = cells(lines.next().expect("a table has a head"));
    assert_eq!(head[1..], COLUMNS.map(|(name, _)| name.to_owned()));
    lines.skip(1).map(cells).map(|mut cells| (cells.remove(0), cells)).collect()
}

/// Whether a cell says yes, in a group where members may least or most.
fn says_yes(cell: &str, least: bool) -> bool {
    match cell {
        // What is asked about was sent by the admin.
        "" | "what they sent" => false,
        "yes" | "yes, nothing happens" | "yes, not the last one" | "with the secret" | "what they saw" => {
            true
        }
        cell if cell.starts_with("unless `") => !least,
        cell => panic!("the table of topics.md says something that this test does not know: {cell:?}"),
    }
}

/// The topic of a row and what is published there.
fn asks(row: &str, group: &str, secret: &str) -> (String, Vec<u8>) {
    let id = group.to_owned();
    let users = |users: &[&str]| {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        v1::GroupUsers { group: group.to_owned(), users, request_id: 0 }.encode_to_vec()
    };
    let named = || v1::GroupNamed { group: group.to_owned(), request_id: 0 }.encode_to_vec();
    let invite = |action: v1::group_invite::Action| {
        v1::GroupInvite { group: group.to_owned(), action: action.into(), request_id: 0 }.encode_to_vec()
    };
    let topic = row.split('`').nth(1).expect("a topic in each row").replace("{group}", group);
    let chat = format!("g/{group}");
    let payload = match row.replace('`', "").as_str() {
        "g/{group}/send" => says("hello"),
        "g/{group}/typing" => v1::Typing::default().encode_to_vec(),
        "do/read" => read(&chat, 1),
        "do/played" => v1::Played { conversation: chat, up_to_seq: 1, request_id: 0 }.encode_to_vec(),
        "do/react" => {
            v1::React { conversation: chat, seq: 2, emoji: "+".to_owned(), request_id: 0 }.encode_to_vec()
        }
        "do/chat" => {
            v1::Chat { conversation: chat, pinned: Some(true), ..v1::Chat::default() }.encode_to_vec()
        }
        "do/delete, for oneself" => {
            v1::Delete { conversation: chat, seq: 2, ..v1::Delete::default() }.encode_to_vec()
        }
        "do/delete, for everyone" => {
            v1::Delete { conversation: chat, seq: 2, for_everyone: true, request_id: 0 }.encode_to_vec()
        }
        "do/pin" => {
            v1::PinMessage { conversation: chat, seq: 2, pinned: true, request_id: 0 }.encode_to_vec()
        }
        "do/star" => v1::Star { conversation: chat, seq: 2, starred: true, request_id: 0 }.encode_to_vec(),
        "do/timer" => v1::SetTimer { conversation: chat, seconds: 60, request_id: 0 }.encode_to_vec(),
        "do/report" => {
            v1::Report { conversation: chat, seqs: vec![2], ..v1::Report::default() }.encode_to_vec()
        }
        "do/history" => v1::History { conversation: chat, ..v1::History::default() }.encode_to_vec(),
        "do/group.update" => {
            v1::GroupUpdate { group: id, name: Some("Walkers".to_owned()), ..v1::GroupUpdate::default() }
                .encode_to_vec()
        }
        "do/group.settings" => {
            let settings =
                Some(v1::GroupSettings { admins_post: Some(true), ..v1::GroupSettings::default() });
            v1::GroupConfigure { group: id, settings, request_id: 0 }.encode_to_vec()
        }
        "do/group.add" => users(&["dave"]),
        "do/group.remove" | "do/group.promote" | "do/group.demote" => users(&["frank"]),
        "do/group.leave" | "do/group.get" => named(),
        "do/group.invite, GET" => invite(v1::group_invite::Action::Get),
        "do/group.invite, RESET, REVOKE" => invite(v1::group_invite::Action::Reset),
        "do/group.join" => {
            v1::GroupJoin { group: id, invite: secret.to_owned(), request_id: 0 }.encode_to_vec()
        }
        other => panic!("the table of topics.md has a command that this test does not know: {other}"),
    };
    (topic, payload)
}

/// A group of alice, bob and frank, that carol was in; and the secret of its link.
async fn prepare(alice: &mut Client, group: &str, least: bool) -> String {
    let only_admins = Some(least);
    let settings =
        v1::GroupSettings { admins_post: only_admins, admins_edit: only_admins, admins_add: only_admins };
    let create = v1::GroupCreate {
        group: group.to_owned(),
        name: "Hikers".to_owned(),
        members: ["bob", "carol", "frank"].map(str::to_owned).to_vec(),
        settings: Some(settings),
        ..v1::GroupCreate::default()
    };
    let carol = v1::GroupUsers { group: group.to_owned(), users: vec!["carol".to_owned()], request_id: 0 };
    let steps = [
        ("do/group.create".to_owned(), create.encode_to_vec()),
        (format!("g/{group}/send"), says("number two")),
        ("do/group.remove".to_owned(), carol.encode_to_vec()),
    ];
    for (verb, payload) in &steps {
        assert_eq!(alice.publish(verb, payload).await.reason, ReasonCode::Success, "{verb}");
    }
    let invite = v1::GroupInvite { group: group.to_owned(), request_id: 1, ..v1::GroupInvite::default() };
    let (_, taken) = alice.publish_and_take("do/group.invite", &invite.encode_to_vec()).await;
    let reply = match taken.into_iter().next() {
        Some(reply) => reply,
        None => alice.take().await,
    };
    v1::Reply::decode(reply.payload).expect("a Reply").invite
}

#[tokio::test]
async fn everybody_may_what_the_table_says_and_nothing_else() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    alice.subscribe_once("u/alice/d/publisher/reply").await;
    let mut cases = 0;
    for (row, cells) in table() {
        for least in [false, true] {
            for ((column, name), cell) in COLUMNS.into_iter().zip(&cells) {
                cases += 1;
                let group = format!("case-{cases}");
                let secret = prepare(&mut alice, &group, least).await;
                let mut client = service.connect(&user(Version::V5, name, "asks")).await;
                let (topic, payload) = asks(&row, &group, &secret);
                let ack = client.publish(&topic, &payload).await;
                let what = format!("{row} by {column}, with least rights: {least}");
                // Who may not type is not told so.
                let silent = topic.ends_with("/typing");
                if silent || says_yes(cell, least) {
                    assert_eq!(ack.reason, ReasonCode::Success, "{what}: {:?}", reason_of(&ack));
                } else {
                    let about = ["read", "played", "history", "chat", "oneself", "star", "report"];
                    let expected = if about.iter().any(|verb| row.contains(verb)) {
                        "NO_SUCH_MESSAGE: "
                    } else {
                        "FORBIDDEN: "
                    };
                    let reason = reason_of(&ack).unwrap_or_default();
                    assert!(reason.starts_with(expected), "{what}: {:?} {reason}", ack.reason);
                }
            }
        }
    }
    assert_eq!(cases, 24 * 2 * 4, "the table has the rows it had");
}
