//! An offline device costs disk only: the real program on a store with 200,000 of them, each with messages that wait, takes hardly more
//! memory than on an empty one, and starts as fast; also after some of them came back, caught up and left.

#![allow(clippy::print_stdout)] // The figures are what a reader of the log wants.

mod program;

use bytes::Bytes;
use chasqui_bridge::hook::Operations;
use chasqui_bridge::machine::command::{Ack, Attach, Caller, Send};
use chasqui_bridge::machine::{Command, Outcome};
use chasqui_bridge::sequencer::{self, Committed, Intake, Request, Sequencer, Sink, Unanswered};
use chasqui_bridge::server::options;
use chasqui_bridge::session_store::SessionStore;
use chasqui_bridge::settings::Settings;
use chasqui_broker::codec::{QoS, Version};
use chasqui_broker::source::SourceId;
use chasqui_broker::store::{
    Cursors, Due, DueKind, SessionKey, SessionRecord, Store, StoreOp, StoredSubscription,
};
use chasqui_proto::{ClientMsgId, DeviceId, Outgoing, UserId, v1};
use chasqui_storage::clock::{Clock, SystemClock};
use chasqui_storage::{Poisoned, Storage};
use chasqui_testkit::{Client, Hello};
use program::{Program, chasqui, dev};
use prost::Message;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use v1::{body, event};

const DEVICES: usize = 200_000;
const WAITING: usize = 10;
const COME_BACK: usize = 10_000;
/// Devices that come back at the same time.
const WAVE: usize = 500;
/// Users who have written to everybody.
const SENDERS: usize = 50;
/// Devices whose messages are handed in together.
const BATCH: usize = 100;

const MORE_MEMORY: u64 = 20 << 20;
const START: Duration = Duration::from_secs(2);
const THIRTY_DAYS_S: u32 = 30 * 24 * 60 * 60;

fn name_of(device: usize) -> String {
    format!("user-{device}")
}

fn sender_of(device: usize) -> String {
    format!("sender-{}", device % SENDERS)
}

fn text_of(device: usize, message: usize) -> String {
    format!("message {message} for device {device}, as long as people write")
}

/// Counts what was accepted.
#[derive(Default)]
struct Accepted {
    sends: AtomicUsize,
    attached: AtomicUsize,
}

impl Sink for Accepted {
    fn committed(&self, committed: Committed) {
        for answer in committed.answers {
            match answer.outcome {
                Outcome::Accepted { .. } => self.sends.fetch_add(1, Ordering::Relaxed),
                Outcome::Attached { .. } => self.attached.fetch_add(1, Ordering::Relaxed),
                other => panic!("not accepted: {other:?}"),
            };
        }
    }

    fn poisoned(&self, _unanswered: Vec<Unanswered>, why: &Poisoned) {
        panic!("{why}");
    }
}

/// What a device does when it first comes, and what its user is sent while it is away, as one connection each would hand it in.
fn requests(device: usize) -> impl Iterator<Item = Request> {
    let origin = device as u64 + 1;
    let user = UserId::parse(&name_of(device)).expect("an id");
    let attach = Attach { user: user.clone(), device: DeviceId::parse("phone").expect("an id") };
    let sends = (1..=WAITING).map(move |message| {
        let kind = Some(body::Kind::Text(text_of(device, message)));
        let body = Some(v1::Body { kind });
        let payload = Bytes::from(v1::Send { body, ..v1::Send::default() }.encode_to_vec());
        let mut message_id = [0; 16];
        message_id[..8].copy_from_slice(&(device as u64).to_be_bytes());
        message_id[8..].copy_from_slice(&(message as u64).to_be_bytes());
        let outgoing = Outgoing::parse(&payload).expect("a message");
        let id = ClientMsgId::from_bytes(&message_id).expect("an id");
        let caller = Caller {
            user: UserId::parse(&sender_of(device)).expect("an id"),
            device: Some(DeviceId::parse("laptop").expect("an id")),
            ack: Ack::Full,
            topic: format!("u/{user}/send").into(),
        };
        let message = Outgoing { client_msg_id: Some(id), ..outgoing };
        Command::from(Send { caller, to: user.clone(), message })
    });
    let commands = std::iter::once(Command::from(attach)).chain(sends);
    commands.map(move |command| Request { origin, token: 1, command, extra: None, on_success: None })
}

/// What the broker stores when a device leaves.
fn session(device: usize, now_ms: u64) -> Vec<StoreOp> {
    let name = name_of(device);
    let key = SessionKey { owner: Arc::from(&*name), client_id: Arc::from("phone") };
    let subscription = StoredSubscription {
        filter: Arc::from(format!("u/{name}/in")),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        identifier: None,
        plain: false,
    };
    let record = SessionRecord {
        expiry_s: THIRTY_DAYS_S,
        disconnected_ms: now_ms,
        clean_stop: true,
        subscriptions: vec![subscription],
        ..SessionRecord::default()
    };
    let at_ms = record.expires_at_ms().expect("it is offline");
    let cursors =
        Cursors { positions: vec![(SourceId::new(&format!("in/{name}")), 0)], ..Cursors::default() };
    vec![
        StoreOp::PutDue(Due { at_ms, kind: DueKind::Expiry, session: key.clone() }),
        StoreOp::PutSession(key.clone(), Box::new(record)),
        StoreOp::PutCursors(key, cursors),
    ]
}

/// Fills a store by the way that everything takes: sequencer, machine, commit log, state store.
fn load(data: &Path) {
    let storage = Storage::open(data, options(&Settings::default())).expect("a new store");
    let storage = Arc::new(storage);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let accepted = Arc::new(Accepted::default());
    let sink = Arc::<Accepted>::clone(&accepted);
    let dev = sequencer::Options { dev: true, ..sequencer::Options::default() };
    let sequencer = Arc::new(Sequencer::start(Arc::clone(&storage), sink, Arc::clone(&clock), dev));
    let operations = Arc::new(Operations::default());
    operations.join(&sequencer);
    let sessions = SessionStore::new(storage.reader(), operations, Arc::clone(&clock));
    for first in (0..DEVICES).step_by(BATCH) {
        sequencer.submit((first..first + BATCH).flat_map(requests).collect());
        for device in first..first + BATCH {
            sessions.commit(session(device, clock.now_ms()), None);
        }
    }
    drop(sessions);
    let sequencer = Arc::into_inner(sequencer).expect("nobody else holds it");
    sequencer.stop().expect("a store that works");
    assert_eq!(accepted.sends.load(Ordering::Relaxed), DEVICES * WAITING);
    assert_eq!(accepted.attached.load(Ordering::Relaxed), DEVICES);
    Arc::into_inner(storage).expect("nobody else holds it").close().expect("a store that works");
}

/// What a start costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    started_in: Duration,
    /// Memory when it listens, and a second later.
    rss: [u64; 2],
}

/// Starts the program on a store and looks at what it costs.
async fn start(data: &Path) -> (Program, Cost) {
    let program = Program::start(chasqui(&dev(data)));
    let at_once = program.rss();
    // What it does by itself after a start is part of the cost.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cost = Cost { started_in: program.started_in, rss: [at_once, program.rss()] };
    (program, cost)
}

fn assert_cheap(what: &str, cost: Cost, empty: Cost) {
    let mib = |bytes: u64| f64::from((bytes >> 10) as u32) / 1024.0;
    println!(
        "{what}: started in {:.3} s (empty: {:.3} s), memory {:.1} MiB (empty: {:.1} MiB), a second later {:.1} MiB (empty: {:.1} MiB)",
        cost.started_in.as_secs_f64(),
        empty.started_in.as_secs_f64(),
        mib(cost.rss[0]),
        mib(empty.rss[0]),
        mib(cost.rss[1]),
        mib(empty.rss[1]),
    );
    for (rss, empty) in cost.rss.iter().zip(empty.rss) {
        assert!(*rss < empty + MORE_MEMORY, "{what}: {:.1} MiB more than an empty store", mib(rss - empty));
    }
    assert!(cost.started_in < START, "{what}: started in {:?}", cost.started_in);
}

async fn connect(address: SocketAddr, device: usize) -> Client {
    let version = if device.is_multiple_of(2) { Version::V311 } else { Version::V5 };
    let name = name_of(device);
    let client = Client::connect(address, &Hello::new(version, "phone").user(&name, &name).kept()).await;
    assert!(client.connack.session_present, "{name}");
    client
}

/// A device comes back, gets everything in order without asking, acknowledges it and leaves.
async fn catch_up(address: SocketAddr, device: usize) {
    let mut client = connect(address, device).await;
    for expected in 1..=WAITING {
        let publish = client.take().await;
        assert_eq!(&*publish.topic, format!("u/{}/in", name_of(device)));
        let event = v1::Event::decode(publish.payload).expect("an event");
        let Some(event::Event::Message(message)) = event.event else { panic!("a message: {event:?}") };
        assert_eq!((event.position, message.seq), (expected as u64, expected as u64));
        assert_eq!(message.conversation, format!("u/{}", sender_of(device)));
        let text = message.body.and_then(|body| body.kind);
        assert_eq!(text, Some(body::Kind::Text(text_of(device, expected))));
    }
    client.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_offline_devices_cost_disk_only() {
    let (loaded, empty) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let since = Instant::now();
    let path = loaded.path().to_owned();
    tokio::task::spawn_blocking(move || load(&path)).await.expect("it loads");
    println!(
        "loaded {DEVICES} devices with {WAITING} messages each in {:.1} s",
        since.elapsed().as_secs_f64()
    );

    let (program, nothing) = start(empty.path()).await;
    program.stop();
    let (program, cost) = start(loaded.path()).await;
    assert_cheap("offline", cost, nothing);

    let since = Instant::now();
    // All over the store, not its first page.
    let apart = DEVICES / COME_BACK;
    for wave in (0..COME_BACK).step_by(WAVE) {
        let mut devices = JoinSet::new();
        for back in wave..wave + WAVE {
            devices.spawn(catch_up(program.address, back * apart));
        }
        while let Some(device) = devices.join_next().await {
            device.expect("it catches up");
        }
    }
    println!(
        "{COME_BACK} came back in {:.1} s, then {} MiB",
        since.elapsed().as_secs_f64(),
        program.rss() >> 20
    );
    program.stop();

    let (program, cost) = start(loaded.path()).await;
    assert_cheap("after some came back", cost, nothing);
    connect(program.address, 0).await.nothing().await;
    catch_up(program.address, 1).await;
    program.stop();
}
