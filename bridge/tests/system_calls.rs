//! What a message costs the server in system calls. The real program runs under `strace`, which writes down each call of each thread; what
//! was written while messages went through is counted, by kind.

mod program;

use chasqui_broker::codec::packet::publish;
use chasqui_broker::codec::{PacketId, Peer, PublishOut, QoS, Version};
use chasqui_proto::v1;
use chasqui_testkit::Hello;
use chasqui_testkit::blocking::Blocking;
use program::{PATIENCE, Program, dev, wrapped};
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// Messages that are counted.
const MESSAGES: usize = 500;

/// Kinds of calls, by what they are for.
const KINDS: [(&str, &[&str]); 5] = [
    ("sockets read", &["recvfrom", "recvmsg", "readv"]),
    ("sockets written", &["sendto", "sendmsg", "writev"]),
    ("waits for sockets, and their ends", &["epoll_wait", "epoll_pwait", "epoll_pwait2", "write", "read"]),
    ("threads woken and put to sleep", &["futex", "sched_yield"]),
    ("log written and flushed", &["pwrite64", "pwritev", "fdatasync", "fsync"]),
];

/// Messages of one sender to one reader, and what [`MESSAGES`] of them take of each kind, and of all other calls together, at most.
struct Load {
    what: &'static str,
    topic: &'static str,
    filter: &'static str,
    payload: Vec<u8>,
    at_once: usize,
    /// Whether the session of who takes them is kept.
    kept: bool,
    /// Each message comes in one read and goes out in one write, and so does each PUBACK: four calls for the sockets, which is exact but
    /// for a read that finds nothing; and a burst shares them. Who waits and who is woken is up to the scheduler, so those have room for
    /// twice as much, on a machine that does much else; a cursor that waits longer than 20 ms for the next batch makes one of its own, so
    /// there may be twice as many flushes as messages.
    ceilings: [u64; 6],
}

fn loads() -> [Load; 4] {
    let kind = Some(v1::body::Kind::Text("hello, world".to_owned()));
    let said = v1::Send { body: Some(v1::Body { kind }), ..v1::Send::default() }.encode_to_vec();
    let plain = |what, at_once, ceilings| Load {
        what,
        topic: "rooms/kitchen",
        filter: "rooms/+",
        payload: b"21.5".to_vec(),
        at_once,
        kept: false,
        ceilings,
    };
    let chat = |what, at_once, ceilings| Load {
        what,
        topic: "u/bob/send",
        filter: "u/bob/in",
        payload: said.clone(),
        at_once,
        kept: true,
        ceilings,
    };
    [
        plain("plain, one at a time", 1, [1_100, 1_010, 2_400, 1_500, 10, 50]),
        plain("plain, 100 at once", 100, [60, 60, 150, 150, 10, 50]),
        chat("between users, one at a time", 1, [1_100, 1_010, 4_000, 8_000, 2_010, 50]),
        chat("between users, 100 at once", 100, [60, 60, 200, 200, 40, 50]),
    ]
}

/// The server under `strace`, and what that writes.
struct Traced {
    program: Program,
    trace: PathBuf,
}

impl Traced {
    fn start(folder: &Path) -> Traced {
        let trace = folder.join("trace");
        let path = trace.to_str().expect("paths of tests are UTF-8");
        let mut command = wrapped(&["strace", "-f", "-qq", "-o", path], &dev(&folder.join("data")));
        // What is done now and then, whether or not there are messages, stays out of it.
        command.env("CHASQUI_STORAGE_OVERLAY_AGE", "10 min").env("CHASQUI_SYS_INTERVAL", "0 s");
        Traced { program: Program::start(command), trace }
    }

    fn written(&self) -> String {
        std::fs::read_to_string(&self.trace).expect("strace writes it")
    }

    /// Waits until nothing is written any more that belongs to what was before: until the threads have gone to sleep.
    fn settled(&self) -> usize {
        let since = Instant::now();
        let mut len = self.written().len();
        loop {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let now = self.written().len();
            // Timers write a few lines now and then.
            if now - len < 1_000 {
                return now;
            }
            len = now;
            assert!(since.elapsed() < PATIENCE, "the server does not come to rest");
        }
    }

    /// The calls that were made from here in the trace on, by name.
    fn calls(&self, from: usize) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for line in self.written()[from..].lines() {
            // `PID name(…`; a call that was interrupted by another's line goes on in `PID <... name resumed>`.
            let Some((name, _)) =
                line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('))
            else {
                continue;
            };
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// Stops the server, not `strace`, which ends with it.
    fn stop(self) {
        let written = self.written();
        let first = written.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        kill_process(first.expect("a line begins with the process"), Signal::TERM).expect("it runs");
        let ended = self.program.ended();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    }
}

fn packets(load: &Load) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 1..=load.at_once {
        let packet_id = PacketId::new(n as u16);
        let out =
            PublishOut { qos: QoS::AtLeastOnce, packet_id, ..PublishOut::new(load.topic, &load.payload) };
        publish::encode(&mut bytes, &Peer::unlimited(Version::V311), &out).expect("valid");
    }
    bytes
}

fn sorted(calls: BTreeMap<String, u64>) -> [u64; 6] {
    let mut by_kind = [0; 6];
    for (name, count) in calls {
        let kind = KINDS.iter().position(|(_, names)| names.contains(&name.as_str()));
        by_kind[kind.unwrap_or(5)] += count;
    }
    by_kind
}

#[test]
fn heavy_a_message_takes_no_more_system_calls_than_it_did() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let traced = Traced::start(folder.path());
    let mut excess = Vec::new();
    for load in loads() {
        let named = |user: &str, client_id| Hello::new(Version::V311, client_id).user(user, user);
        let mut alice = Blocking::connect(traced.program.address, &named("alice", "publisher"));
        let hello = named("bob", "phone");
        let hello = if load.kept { hello.kept() } else { hello };
        let mut bob = Blocking::connect(traced.program.address, &hello);
        bob.subscribe(load.filter);
        let packets = packets(&load);
        let mut talk = |messages: usize| {
            for _ in 0..messages / load.at_once {
                alice.write(&packets);
                alice.acknowledged(load.at_once);
                bob.take(load.at_once);
            }
        };
        talk(100);
        let from = traced.settled();
        talk(MESSAGES);
        traced.settled();
        let calls = traced.calls(from);
        println!("{}: {MESSAGES} messages took {calls:?}", load.what);
        for (kind, (count, ceiling)) in sorted(calls).into_iter().zip(load.ceilings).enumerate() {
            let kind = KINDS.get(kind).map_or("everything else", |(kind, _)| kind);
            println!("    {kind}: {count}, {ceiling} are allowed");
            if count > ceiling {
                excess.push(format!("{}, {kind}: {count}, {ceiling} are allowed", load.what));
            }
        }
    }
    traced.stop();
    assert!(excess.is_empty(), "{MESSAGES} messages took more system calls than allowed: {excess:#?}");
}
