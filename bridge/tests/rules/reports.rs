//! Reports to who runs the server: what was said goes with them as the reporter saw it, once, and only what they may see.
//!
//! Who reports speaks 5.0, whose PUBACK says why something is refused; how 3.1.1 hears of refusals is in `refusals`.

use crate::support::*;
use chasqui_bridge::machine::record::Report;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;

fn report(conversation: &str, seqs: &[u64]) -> v1::Report {
    v1::Report {
        conversation: conversation.to_owned(),
        seqs: seqs.to_vec(),
        reason: v1::report::Reason::Spam.into(),
        note: "again".to_owned(),
        ..v1::Report::default()
    }
}

/// All reports there are.
fn reports(service: &Service) -> Vec<Report> {
    let reports = service.server().accounts().reports(None, 100).expect("reports can be read");
    reports.into_iter().map(|(_, report)| report).collect()
}

/// What is said of a report: OK, or the name of the refusal and its reason.
async fn said(client: &mut Client, report: &v1::Report) -> String {
    let ack = client.publish("do/report", &report.encode_to_vec()).await;
    if ack.reason == ReasonCode::Success { "OK".to_owned() } else { reason_of(&ack).expect("why not") }
}

async fn code(client: &mut Client, report: &v1::Report) -> ErrorCode {
    let said = said(client, report).await;
    ErrorCode::from_str_name(said.split(':').next().expect("split gives something")).expect("a code")
}

#[tokio::test]
async fn a_report_has_copies_of_what_its_reporter_saw_and_a_retry_makes_no_second_one() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut bob = service.publisher(version, "bob").await;
        for text in ["one", "two", "three"] {
            bob.tell("alice", text).await;
        }
        let mut alice = service.publisher(Version::V5, "alice").await;
        assert_eq!(code(&mut alice, &report("u/bob", &[3, 1])).await, ErrorCode::Ok);
        // What is said is taken back; the report has it.
        let delete = v1::Delete {
            conversation: "u/alice".to_owned(),
            seq: 3,
            for_everyone: true,
            ..v1::Delete::default()
        };
        does(&mut bob, "do/delete", &delete.encode_to_vec()).await;
        assert_eq!(code(&mut alice, &report("u/bob", &[1, 3])).await, ErrorCode::Ok, "a retry");
        assert_eq!(code(&mut alice, &report("u/bob", &[3])).await, ErrorCode::NoSuchMessage);
        service.power_cut(5).await;
        let found = reports(&service);
        let [found] = &found[..] else { panic!("one report: {found:?}") };
        assert_eq!((found.reporter.as_str(), found.chat.to_string().as_str()), ("alice", "u/bob"));
        assert_eq!((found.reason, found.note.as_str()), (1, "again"));
        assert!(found.at_ms > 0);
        let messages = found.messages.iter().map(|message| v1::Message::decode(&message[..]).unwrap());
        let said: Vec<_> = messages
            .map(|message| (message.seq, message.sender.clone(), text_of(&message).unwrap().to_owned()))
            .collect();
        let by_bob = |seq, text: &str| (seq, "bob".to_owned(), text.to_owned());
        assert_eq!(said, [by_bob(1, "one"), by_bob(3, "three")]);
        // Who is reported hears of what they deleted themselves, and of nothing else.
        let mut phone = service.device(version, "bob", "phone").await;
        let Some(v1::event::Event::Message(deletion)) = event(&phone.take().await).event else {
            panic!("a message")
        };
        assert_eq!((deletion.sender.as_str(), deletion.seq), ("bob", 4));
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn what_one_does_not_see_is_not_reported_and_who_exists_is_not_told() {
    both(|version| async move {
        let service = Service::start_with(with_accounts()).await;
        service.add_users(&["alice", "bob", "carol"]).await;
        service.publisher(version, "bob").await.tell("carol", "between us").await;
        let create = v1::GroupCreate {
            group: "hikers".to_owned(),
            name: "Hikers".to_owned(),
            members: vec!["carol".to_owned()],
            ..v1::GroupCreate::default()
        };
        does(&mut service.publisher(version, "bob").await, "do/group.create", &create.encode_to_vec()).await;
        let mut alice = service.publisher(Version::V5, "alice").await;
        for conversation in ["u/bob", "u/nobody", "g/hikers", "g/nothing"] {
            let found = code(&mut alice, &report(conversation, &[1])).await;
            assert_eq!(found, ErrorCode::NoSuchMessage, "{conversation}");
        }
        for (conversation, expected) in [
            ("u/bob", ErrorCode::Ok),
            ("u/nobody", ErrorCode::Ok),
            ("g/hikers", ErrorCode::NoSuchMessage),
            ("g/nothing", ErrorCode::NoSuchMessage),
        ] {
            assert_eq!(code(&mut alice, &report(conversation, &[])).await, expected, "{conversation}");
        }
        let mut carol = service.publisher(Version::V5, "carol").await;
        let of_bob = v1::Report { user: "bob".to_owned(), ..report("g/hikers", &[]) };
        assert_eq!(code(&mut carol, &of_bob).await, ErrorCode::Ok);
        assert_eq!(code(&mut carol, &report("u/bob", &[2])).await, ErrorCode::NoSuchMessage);
        assert_eq!(reports(&service).len(), 3);
    })
    .await;
}

#[tokio::test]
async fn reports_have_a_rate_and_a_size() {
    both(|version| async move {
        let mut settings = with_accounts();
        settings.rates.reports_per_hour = 4;
        settings.rates.new_account = std::time::Duration::ZERO;
        let service = Service::start_with(settings).await;
        service.clock.stand_still();
        service.add_users(&["alice", "bob"]).await;
        let mut bob = service.publisher(version, "bob").await;
        for n in 0..5 {
            let ack = bob.publish("u/alice/send", &says(&format!("{n}{}", "x".repeat(60_000)))).await;
            assert_eq!(ack.reason, ReasonCode::Success);
        }
        let mut alice = service.publisher(Version::V5, "alice").await;
        assert_eq!(code(&mut alice, &report("u/bob", &[1, 2, 3, 4, 5])).await, ErrorCode::TooLarge);
        for seqs in [&[1, 2, 3, 4][..], &[1], &[2], &[3]] {
            assert_eq!(code(&mut alice, &report("u/bob", seqs)).await, ErrorCode::Ok, "{seqs:?}");
        }
        let refused = said(&mut alice, &report("u/bob", &[4])).await;
        assert_eq!(refused, "RATE_LIMITED: this user reports too much; try again in 900 s");
        assert_eq!(reports(&service).len(), 4);
    })
    .await;
}
