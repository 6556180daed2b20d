//! Fills a store with devices that are offline, by the way that everything takes: sequencer, machine, commit log, state store.

#![allow(dead_code, unreachable_pub)] // A test and a bench use each its own part.

use bytes::Bytes;
use chasqui_bridge::hook::Operations;
use chasqui_bridge::machine::command::{Ack, Attach, Caller, Send};
use chasqui_bridge::machine::{Command, Outcome};
use chasqui_bridge::sequencer::{self, Committed, Intake, Request, Sequencer, Sink, Unanswered};
use chasqui_bridge::server::options;
use chasqui_bridge::session_store::SessionStore;
use chasqui_bridge::settings::Settings;
use chasqui_broker::codec::{ByteStr, QoS};
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::source::SourceId;
use chasqui_broker::store::{
    Cursors, Due, DueKind, SessionKey, SessionRecord, Store, StoreOp, StoredSubscription, StoredWill,
};
use chasqui_proto::{ChatName, ClientMsgId, DeviceId, Outgoing, UserId, v1};
use chasqui_storage::clock::{Clock, SystemClock};
use chasqui_storage::{Poisoned, Storage};
use prost::Message as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use v1::body;

/// Users who have written to everybody.
const SENDERS: usize = 50;
/// Devices whose messages are handed in together.
const BATCH: usize = 100;
const DAY_S: u32 = 24 * 60 * 60;
const THIRTY_DAYS_S: u32 = 30 * DAY_S;

/// What is put into a store.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Devices, one for each user.
    pub devices: usize,
    /// Messages that wait for each.
    pub waiting: usize,
    /// Whether each has left a will that is due in a day.
    pub wills: bool,
}

/// The name of a device's user.
pub fn name_of(device: usize) -> String {
    format!("user-{device}")
}

/// Who has written to it.
pub fn sender_of(device: usize) -> String {
    format!("sender-{}", device % SENDERS)
}

/// What a message says.
pub fn text_of(device: usize, message: usize) -> String {
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
fn requests(device: usize, waiting: usize) -> impl Iterator<Item = Request> {
    let origin = device as u64 + 1;
    let user = UserId::parse(&name_of(device)).expect("an id");
    let attach = Attach { user: user.clone(), device: DeviceId::parse("phone").expect("an id") };
    let sends = (1..=waiting).map(move |message| {
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
        Command::from(Send { caller, to: ChatName::User(user.clone()), message })
    });
    let commands = std::iter::once(Command::from(attach)).chain(sends);
    commands.map(move |command| Request { origin, token: 1, command, extra: None, on_success: None })
}

/// What the broker stores when a device leaves.
fn session(device: usize, will: bool, now_ms: u64) -> Vec<StoreOp> {
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
    let will = will.then(|| StoredWill {
        message: Message {
            topic: ByteStr::try_from(format!("left/{name}")).expect("a topic"),
            payload: Bytes::from_static(b"gone"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        },
        delay_s: DAY_S,
        connection: device as u64 + 1,
    });
    let record = SessionRecord {
        will,
        expiry_s: THIRTY_DAYS_S,
        disconnected_ms: now_ms,
        clean_stop: true,
        subscriptions: vec![subscription],
        ..SessionRecord::default()
    };
    let due = |at_ms, kind| StoreOp::PutDue(Due { at_ms, kind, session: key.clone() });
    let mut ops = vec![due(record.expires_at_ms().expect("it is offline"), DueKind::Expiry)];
    ops.extend(record.will_at_ms().map(|at_ms| due(at_ms, DueKind::Will)));
    let cursors =
        Cursors { positions: vec![(SourceId::new(&format!("in/{name}")), 0)], ..Cursors::default() };
    ops.push(StoreOp::PutSession(key.clone(), Box::new(record)));
    ops.push(StoreOp::PutCursors(key, cursors));
    ops
}

/// Fills a new store.
pub fn fill(data: &Path, Fill { devices, waiting, wills }: Fill) {
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
    for first in (0..devices).step_by(BATCH) {
        let batch = first..devices.min(first + BATCH);
        sequencer.submit(batch.clone().flat_map(|device| requests(device, waiting)).collect());
        for device in batch {
            sessions.commit(session(device, wills, clock.now_ms()), None);
        }
    }
    drop(sessions);
    let sequencer = Arc::into_inner(sequencer).expect("nobody else holds it");
    sequencer.stop().expect("a store that works");
    assert_eq!(accepted.sends.load(Ordering::Relaxed), devices * waiting);
    assert_eq!(accepted.attached.load(Ordering::Relaxed), devices);
    Arc::into_inner(storage).expect("nobody else holds it").close().expect("a store that works");
}
