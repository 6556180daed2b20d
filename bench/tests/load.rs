//! Every scenario against the real server, in this process; and against brokers that do what no broker should, which the tool must not
//! take for good figures.

use chasqui_bench::crash::Return;
use chasqui_bench::report::Report;
use chasqui_bench::run::{self, Findings, Plan, RunError};
use chasqui_bench::scenario::catch_up::CatchUp;
use chasqui_bench::scenario::chat_group::ChatGroup;
use chasqui_bench::scenario::chat_pair::ChatPair;
use chasqui_bench::scenario::chat_receipts::ChatReceipts;
use chasqui_bench::scenario::churn::Churn;
use chasqui_bench::scenario::crash::Crash;
use chasqui_bench::scenario::fanout::Fanout;
use chasqui_bench::scenario::idle::Idle;
use chasqui_bench::scenario::offline::Offline;
use chasqui_bench::scenario::overload::Overload;
use chasqui_bench::scenario::pair::Pair;
use chasqui_bench::scenario::presence::Presence;
use chasqui_bench::scenario::rate::Rate;
use chasqui_bench::scenario::retained::Retained;
use chasqui_bench::scenario::sync::Sync;
use chasqui_bridge::server::{self, Server};
use chasqui_bridge::settings::{ByteSize, Settings};
use chasqui_storage::Storage;
use chasqui_storage::clock::SystemClock;
use chasqui_storage::disk::RamDisk;
use chasqui_storage::kv::ram::RamKv;
use clap::{Args, Command, FromArgMatches};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Runtime;

/// A server on a port of its own, with its store in memory.
fn served<T>(test: impl FnOnce(SocketAddr) -> T) -> T {
    let mut settings = Settings { dev: true, ..Settings::default() };
    settings.storage.segment_bytes = ByteSize(16 << 20);
    let clock = Arc::new(SystemClock);
    let (disk, kv) = (Arc::new(RamDisk::new()), Arc::new(RamKv::new()));
    let storage = Storage::open_with(disk, kv, Arc::clone(&clock) as _, server::options(&settings));
    let storage = storage.expect("the store opens");
    let runtime = Runtime::new().expect("threads");
    let server = runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Server::start_on(&settings, storage, clock, vec![listener]).await.expect("the server starts")
    });
    let result = test(server.addresses()[0]);
    runtime.block_on(server.stop()).expect("the server stops");
    result
}

/// A scenario as its command line says it.
fn scenario<S: Args + FromArgMatches>(arguments: &[&str]) -> S {
    let command = S::augment_args(Command::new("scenario").no_binary_name(true));
    let short = ["--seconds", "1", "--warm-up", "0"];
    let matches = command.try_get_matches_from(arguments.iter().chain(&short)).expect("good arguments");
    S::from_arg_matches(&matches).expect("good arguments")
}

fn found(plan: Plan, address: SocketAddr) -> Findings {
    run::run(plan, address, None, &|_| {}).expect("the run goes through")
}

fn sound(name: &str, plan: Plan, address: SocketAddr) -> Report {
    let clients = plan.roles.len();
    let report = Report::new(name, clients, &found(plan, address));
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.duplicated, report.out_of_order), (0, 0), "{report}");
    report
}

#[test]
fn plain_messages_arrive_at_every_qos_and_in_both_versions() {
    served(|address| {
        for mqtt in ["3.1.1", "5.0"] {
            let rate: Rate = scenario(&["--clients", "10", "--qos", "0", "--mqtt", mqtt]);
            assert!(sound("rate", rate.plan(), address).delivered_per_s > 0.0);
            for qos in ["1", "2"] {
                // Of two threads one may be kept from reading, which ends a session that is not kept.
                for more in [&[][..], &["--persistent", "--threads", "2"]] {
                    let arguments = [&["--clients", "10", "--qos", qos, "--mqtt", mqtt], more].concat();
                    let pair: Pair = scenario(&arguments);
                    let report = sound("pair", pair.plan(), address);
                    assert!(report.delivered_per_s > 0.0 && report.acked_per_s > 0.0, "{report}");
                }
            }
        }
    });
}

#[test]
fn one_message_to_many_arrives_as_often() {
    served(|address| {
        let fanout: Fanout = scenario(&["--subscribers", "20"]);
        let found = found(fanout.plan(), address);
        assert!(found.measured.delivered >= 10 * found.measured.acked, "{found:?}");
        assert_eq!((found.lost, found.dead), (0, 0));
    });
}

#[test]
fn a_rate_is_kept_and_its_latency_counts_from_when_a_message_was_due() {
    served(|address| {
        let rate: Rate = scenario(&["--clients", "20", "--rate", "500"]);
        let found = found(rate.plan(), address);
        let published = found.measured.published;
        // What is late at one end of the second is made up for; what is at the edges is not.
        assert!((400..=600).contains(&published), "{published} messages in a second at 500");
        assert_eq!((found.lost, found.dead), (0, 0));
        assert_eq!(found.measured.delivery_ns.len(), found.measured.delivered);
    });
}

#[test]
fn idle_clients_and_those_that_come_and_go_are_served() {
    served(|address| {
        let idle: Idle = scenario(&["--clients", "50"]);
        assert_eq!(sound("idle", idle.plan(), address).delivered_per_s.to_bits(), 0);
        for more in [&["--clean"][..], &[]] {
            // More than are opened at once.
            let churn: Churn = scenario(&[&["--clients", "300"], more].concat());
            assert!(sound("churn", churn.plan(), address).cycles_per_s > 0.0);
        }
    });
}

#[test]
fn messages_between_users_arrive_and_their_receipts_come_back() {
    served(|address| {
        for mqtt in ["3.1.1", "5.0"] {
            let pair: ChatPair = scenario(&["--clients", "10", "--mqtt", mqtt]);
            let found = found(pair.plan(), address);
            assert_eq!((found.lost, found.dead, found.measured.refused), (0, 0, 0), "{found:?}");
            assert!(found.measured.delivered > 0 && found.measured.others > 0, "{found:?}");
        }
    });
}

#[test]
fn what_was_published_for_devices_that_were_away_reaches_them_when_they_are_back() {
    served(|address| {
        for mqtt in ["3.1.1", "5.0"] {
            let arguments = ["--devices", "20", "--backlog", "300", "--mqtt", mqtt];
            let offline: Offline = scenario(&arguments);
            let catch_up: CatchUp = scenario(&arguments);
            for (name, plan) in [("offline", offline.plan()), ("catch-up", catch_up.plan())] {
                let found = found(plan, address);
                let tally = &found.measured;
                assert_eq!(
                    (found.lost, found.dead, tally.delivered),
                    (0, 0, 6_000),
                    "{name} {mqtt}: {found:?}"
                );
                assert_eq!((tally.duplicated, tally.out_of_order), (0, 0), "{name} {mqtt}: {found:?}");
                assert_eq!((tally.first_ns.len(), tally.published), (20, 0), "{name} {mqtt}: {found:?}");
                assert_eq!(found.backlog.expect("something waited").acked, 6_000);
            }
        }
    });
}

#[test]
fn more_than_a_broker_carries_is_withheld_and_nothing_is_lost() {
    served(|address| {
        for more in [&["--chat"][..], &["--stuck", "2"]] {
            let arguments = ["--clients", "10", "--factor", "3", "--in-flight", "20", "--normal-ms", "10000"];
            let mut overload: Overload = scenario(&[&arguments[..], more].concat());
            overload.common.warm_up = 1;
            let found = found(overload.plan(), address);
            assert_eq!((found.lost, found.dead), (0, 0), "{found:?}");
            let over = found.overload.expect("it was overloaded");
            assert!(over.offered_per_s > over.carried_per_s && over.carried_per_s > 0.0, "{over:?}");
            assert!(over.normal_after.is_some(), "{over:?}");
            // Clients that have 20 in flight and owe more.
            assert!(found.measured.withheld > 0 && found.measured.acked > 0, "{found:?}");
        }
    });
}

#[test]
fn a_user_with_many_conversations_asks_for_a_page_of_them() {
    served(|address| {
        for mqtt in ["3.1.1", "5.0"] {
            let sync: Sync = scenario(&["--conversations", "120", "--devices", "2", "--mqtt", mqtt]);
            let found = found(sync.plan(), address);
            assert_eq!((found.lost, found.dead, found.measured.refused), (0, 0, 0), "{found:?}");
            assert!(found.measured.cycles > 0 && found.measured.look_ns.len() == found.measured.cycles);
            // A page of fifty conversations is not a small answer.
            assert!(found.measured.bytes_in > found.measured.cycles * 50 * 40, "{found:?}");
        }
    });
}

#[test]
fn what_is_retained_is_found_and_removed_in_the_end() {
    served(|address| {
        for mqtt in ["3.1.1", "5.0"] {
            let retained: Retained = scenario(&["--groups", "50", "--lookers", "3", "--mqtt", mqtt]);
            let found = found(retained.plan(), address);
            assert_eq!((found.lost, found.dead, found.measured.refused), (0, 0, 0), "{found:?}");
            assert!(found.measured.cycles > 0, "{found:?}");
            assert_eq!(found.backlog.expect("it was published").acked, 150);
            // A second look finds nothing that is left: it would be given to whoever looks for all.
            let mut left = std::net::TcpStream::connect(address).expect("the server is there");
            left.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a timeout");
            left.write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x").expect("loopback");
            left.write_all(b"\x82\x06\0\x01\0\x01#\0").expect("loopback");
            let mut answers = Vec::new();
            let _ = left.read_to_end(&mut answers);
            assert_eq!(answers, b"\x20\x02\0\0\x90\x03\0\x01\0", "CONNACK and SUBACK alone");
        }
    });
}

#[test]
fn a_sender_hears_when_a_message_is_delivered_and_read() {
    for mqtt in ["3.1.1", "5.0"] {
        // One server each: a message with the id of an earlier one is that one.
        served(|address| {
            let receipts: ChatReceipts = scenario(&["--clients", "6", "--rate", "100", "--mqtt", mqtt]);
            let found = found(receipts.plan(), address);
            let tally = &found.measured;
            assert_eq!((found.lost, found.dead, tally.refused), (0, 0, 0), "{found:?}");
            let (delivered, read) = (tally.delivered_receipt_ns.len(), tally.read_receipt_ns.len());
            // Those on their way at the end of the second are not among them.
            let most = tally.published / 2;
            assert!(delivered > most && read > most, "{delivered} and {read} of {}", tally.published);
            assert!(tally.read_receipt_ns.min() >= tally.delivery_ns.min());
        });
    }
}

#[test]
fn all_members_of_a_group_hear_what_one_writes() {
    for mqtt in ["3.1.1", "5.0"] {
        served(|address| {
            let group: ChatGroup = scenario(&["--members", "7", "--mqtt", mqtt]);
            let found = found(group.plan(), address);
            let tally = &found.measured;
            assert_eq!((found.lost, found.dead, tally.refused), (0, 0, 0), "{found:?}");
            assert!(tally.acked > 0 && tally.delivered > 6 * tally.acked, "{found:?}");
        });
    }
}

#[test]
fn who_watches_is_shown_that_others_come() {
    for mqtt in ["3.1.1", "5.0"] {
        // One server each: who was there a moment ago does not come.
        served(|address| {
            let size = ["--users", "240", "--watchers", "40", "--contacts", "12"];
            let pace = ["--stay", "1", "--away", "11", "--mqtt", mqtt];
            let mut presence: Presence = scenario(&[&size[..], &pace].concat());
            // By then watchers have been shown what there was to begin with.
            presence.common.warm_up = 2;
            let found = found(presence.plan(), address);
            let tally = &found.measured;
            assert_eq!((found.lost, found.dead), (0, 0), "{found:?}");
            // Twenty of them come in a second, each watched by two.
            assert!((20..=80).contains(&tally.delivered), "{found:?}");
            assert_eq!(
                tally.delivery_ns.len(),
                tally.delivered,
                "nobody has gone for ten seconds: {found:?}"
            );
        });
    }
}

/// A free port that the system gives to nobody by itself. A client that looks for a server which is not there yet may be given the very port
/// that it looks at, finds itself there, and keeps the server from coming back.
fn port_to_come_back_to() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    // Tests of one process look for theirs at the same time, and let go of it before their server takes it.
    const APART: u32 = 101;
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    let from = std::process::id().wrapping_mul(7_919).wrapping_add(asked * APART);
    let mut ports = (0..COUNT).map(|more| FIRST + from.wrapping_add(more) % COUNT);
    let bound = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port as u16)).ok());
    bound.and_then(|free| free.local_addr().ok()).expect("a free port")
}

/// Starts `examples/served.rs`; what starts it, the process, and where it listens.
fn program(folder: &std::path::Path) -> (String, std::process::Child, SocketAddr) {
    let port = port_to_come_back_to();
    let mut path = std::env::current_exe().expect("this test is a file");
    path.pop();
    path.set_file_name("examples");
    path.push("served");
    let line = format!("'{}' {port} '{}'", path.display(), folder.display());
    let child = std::process::Command::new("sh").args(["-c", &format!("exec {line}")]).spawn().expect("sh");
    while std::net::TcpStream::connect(port).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (line, child, port)
}

#[test]
fn a_broker_that_is_killed_comes_back_with_all_that_it_has_acknowledged() {
    for chat in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let (line, mut first, address) = program(folder.path());
        let mut arguments = vec!["--restart", &line, "--kills", "2", "--clients", "10"];
        arguments.extend(chat.then_some("--chat"));
        let crash: Crash = scenario(&arguments);
        let found = run::run(crash.plan(), address, Some(first.id().cast_signed()), &|_| {});
        let found = found.expect("the run goes through");
        first.wait().expect("it was killed");
        assert_eq!((found.lost, found.dead, found.returns.len()), (0, 0, 2), "{found:?}");
        let in_order = |back: &Return| back.accepting <= back.all_back && back.all_back <= back.flowing;
        assert!(found.returns.iter().all(in_order), "{found:?}");
        assert!(found.measured.acked > 0 && found.measured.delivered > 0, "{found:?}");
    }
}

#[test]
fn a_broker_that_comes_back_without_its_sessions_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (line, mut first, address) = program(folder.path());
    let forgetful = line.replace("' 127", "' --forget 127");
    let crash: Crash = scenario(&["--restart", &forgetful, "--clients", "4"]);
    let error = run::run(crash.plan(), address, Some(first.id().cast_signed()), &|_| {});
    first.wait().expect("it was killed");
    let error = error.expect_err("clients never come back").to_string();
    assert!(error.contains("did not come back") && error.contains("forgotten"), "{error}");
}

#[test]
fn what_cannot_be_killed_or_does_not_come_back_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, mut first, address) = program(folder.path());
    let crash: Crash = scenario(&["--restart", "false", "--clients", "4"]);
    let error = run::run(crash.plan(), address, Some(first.id().cast_signed()), &|_| {});
    first.wait().expect("it was killed");
    let error = error.expect_err("nothing starts it").to_string();
    assert!(error.contains("what was to start it has ended"), "{error}");
    let error = run::run(crash.plan(), hollow(b"\x20\x02\0\0", 0), Some(i32::MAX), &|_| {});
    assert!(matches!(error, Err(RunError::NoProcess(_))), "{error:?}");
}

/// A broker that answers CONNECT with this, SUBSCRIBE with success, and each PUBLISH of QoS 1 with PUBACK, so many times; then it hangs
/// up. It delivers nothing.
fn hollow(connack: &'static [u8], publishes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("loopback");
            std::thread::spawn(move || {
                let (mut buffer, mut acknowledged) = (Vec::new(), 0);
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    buffer.extend_from_slice(&bytes[..count]);
                    // Every packet of these tests is shorter than 128 bytes.
                    while let Some(length) = buffer.get(1).map(|rest| 2 + usize::from(*rest)) {
                        if buffer.len() < length {
                            break;
                        }
                        let packet: Vec<u8> = buffer.drain(..length).collect();
                        let answer = match packet[0] >> 4 {
                            1 => connack.to_vec(),
                            8 => vec![0x90, 3, packet[2], packet[3], 1],
                            3 => {
                                acknowledged += 1;
                                let at = 4 + usize::from(packet[3]);
                                vec![0x40, 2, packet[at], packet[at + 1]]
                            }
                            _ => Vec::new(),
                        };
                        if acknowledged > publishes || stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

#[test]
fn what_was_acknowledged_and_did_not_arrive_is_lost() {
    let rate: Rate = scenario(&["--clients", "4", "--rate", "100", "--size", "40"]);
    let found = found(rate.plan(), hollow(b"\x20\x02\0\0", usize::MAX));
    assert!(found.measured.acked > 0 && found.lost >= found.measured.acked, "{found:?}");
    assert!(!Report::new("rate", 4, &found).is_sound());
}

#[test]
fn a_session_that_was_to_be_kept_and_is_not_is_named() {
    let offline: Offline = scenario(&["--devices", "2", "--backlog", "3", "--size", "40"]);
    let found = found(offline.plan(), hollow(b"\x20\x02\0\0", usize::MAX));
    assert_eq!((found.lost, found.dead), (6, 2), "{found:?}");
    assert!(found.trouble.is_some_and(|trouble| trouble.contains("forgotten a session")));
}

#[test]
fn a_run_in_which_connections_died_says_so() {
    let pair: Pair = scenario(&["--clients", "4", "--size", "40"]);
    let found = found(pair.plan(), hollow(b"\x20\x02\0\0", 3));
    assert_eq!(found.dead, 4);
    let report = Report::new("pair", 4, &found);
    assert!(!report.is_sound() && report.to_string().contains("closed a connection"), "{report}");
}

#[test]
fn who_cannot_be_measured_is_named() {
    let pair = || scenario::<Pair>(&["--clients", "4"]).plan();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let refused =
        |plan, address| run::run(plan, address, None, &|_| {}).expect_err("there is nothing to find");
    assert!(matches!(refused(pair(), nobody), RunError::NoBroker(..)));
    let error = refused(pair(), hollow(b"\x20\x02\0\x05", 0)).to_string();
    assert!(error.contains("0 of 4") && error.contains("0x05"), "{error}");
    let many: Idle = scenario(&["--clients", "1000000"]);
    let error = refused(many.plan(), nobody).to_string();
    assert!(error.contains("ulimit -n 1000032"), "{error}");
}
