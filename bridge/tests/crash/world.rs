//! What all players share: where the server is, what is going on, what has happened, and how far everybody is.

use super::player::Player;
use chasqui_broker::codec::Version;
use chasqui_testkit::PATIENCE;
use chasqui_testkit::history::{Conversation, Device, Event, History, unacknowledged_at_crashes};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;

/// What a client does beside writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Does {
    Nothing,
    /// It edits what it said, and answers others' messages with signs.
    Acts,
    /// The same; and it makes the group, of all users, before it writes anything else.
    Founds,
}

/// One client of the cast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) user: &'static str,
    pub(crate) id: &'static str,
    pub(crate) version: Version,
    /// Whom it writes to, in turn: users, and the group once it knows that there is one.
    pub(crate) writes_to: &'static [&'static str],
    /// So many of its messages are unacknowledged at most.
    pub(crate) window: usize,
    /// It acknowledges what came together from the end to the beginning.
    pub(crate) acks_backwards: bool,
    /// It leaves in good order and comes back, again and again.
    pub(crate) leaves: bool,
    /// What it does beside writing.
    pub(crate) does: Does,
    /// It subscribes at the beginning and is not there until the end: the catch-up reader.
    pub(crate) absent: bool,
}

impl Part {
    const fn reader(user: &'static str, id: &'static str, version: Version) -> Part {
        Part {
            user,
            id,
            version,
            writes_to: &[],
            window: 0,
            acks_backwards: false,
            leaves: false,
            does: Does::Nothing,
            absent: false,
        }
    }

    const fn writer(self, writes_to: &'static [&'static str], window: usize) -> Part {
        Part { writes_to, window, ..self }
    }

    pub(crate) fn device(&self) -> Device {
        Device::new(self.user, self.id)
    }
}

/// Who plays: writers, readers and watchers of receipts in both versions, and one for each user who was away all the time.
pub(crate) const CAST: &[Part] = &[
    Part {
        does: Does::Founds,
        ..Part::reader("alice", "laptop", Version::V5).writer(&["bob", "carol", GROUP], 16)
    },
    Part::reader("alice", "tablet", Version::V311).writer(&["bob"], 8),
    Part { absent: true, ..Part::reader("alice", "attic", Version::V5) },
    Part { acks_backwards: true, ..Part::reader("bob", "phone", Version::V311).writer(&["alice"], 4) },
    Part { leaves: true, ..Part::reader("bob", "desk", Version::V5) },
    Part { absent: true, ..Part::reader("bob", "attic", Version::V311) },
    Part {
        does: Does::Acts,
        leaves: true,
        acks_backwards: true,
        ..Part::reader("carol", "pad", Version::V5).writer(&["alice", "bob", GROUP], 8)
    },
];

/// The conversations of the cast.
pub(crate) fn conversations() -> [Conversation; 4] {
    [
        Conversation::of("alice", "bob"),
        Conversation::of("alice", "carol"),
        Conversation::of("bob", "carol"),
        named("alice", GROUP),
    ]
}

/// The group, whose members all users are.
pub(crate) const GROUP: &str = "g/hikers";

/// The conversation that a user calls so: by the name of the other one, or of a group.
pub(crate) fn named(user: &str, chat: &str) -> Conversation {
    match chat.strip_prefix("g/") {
        Some(group) => Conversation::group(group),
        None => Conversation::of(user, chat.strip_prefix("u/").unwrap_or(chat)),
    }
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// All connect and subscribe.
    Meeting,
    /// All write and read.
    Traffic,
    /// What is unacknowledged is sent again, and all is read.
    Quiet,
    /// All leave.
    Over,
}

/// Where the server is, if it runs, and what is going on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) phase: Phase,
}

/// How far everybody is: enough to know when nothing is on its way any more.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) subscribed: usize,
    pub(crate) connected: usize,
    /// Unacknowledged messages of a device.
    pub(crate) open: HashMap<Device, usize>,
    /// Acknowledged messages of a device.
    pub(crate) accepted: HashMap<(Conversation, Device), usize>,
    /// Messages of others that a device has.
    pub(crate) got: HashMap<(Conversation, Device), usize>,
    /// The newest message of a user that anybody has seen.
    pub(crate) newest: HashMap<(Conversation, &'static str), u64>,
    /// How far a user said to have read, and got an acknowledgement.
    pub(crate) read: HashMap<(Conversation, &'static str), u64>,
    /// The last receipt a device was told.
    pub(crate) receipts: HashMap<(Conversation, Device), (u64, u64)>,
}

impl Tally {
    /// What is still to come; `None` when everybody has everything.
    fn awaited(&self) -> Option<String> {
        for part in CAST {
            let device = part.device();
            if let Some(open) = self.open.get(&device).filter(|open| **open > 0) {
                return Some(format!("{device} has {open} unacknowledged messages"));
            }
            let is_theirs = |chat: &Conversation| chat.has(part.user) || *chat == named(part.user, GROUP);
            for conversation in conversations().into_iter().filter(is_theirs) {
                let others = self
                    .accepted
                    .iter()
                    .filter(|((chat, sender), _)| *chat == conversation && *sender != device)
                    .map(|(_, accepted)| accepted)
                    .sum::<usize>();
                let key = (conversation.clone(), device.clone());
                let got = self.got.get(&key).copied().unwrap_or(0);
                if got < others {
                    return Some(format!("{device} has {got} of {others} messages of {conversation}"));
                }
                let Some(peer) = conversation.peer_of(part.user) else { continue };
                let told = self.receipts.get(&key).copied().unwrap_or_default();
                let own = (conversation.clone(), part.user);
                let newest = self.newest.get(&own).copied().unwrap_or(0);
                let peer = CAST.iter().find(|part| part.user == peer);
                let theirs = peer.map(|peer| (conversation.clone(), peer.user));
                let read = theirs.and_then(|theirs| self.read.get(&theirs)).copied().unwrap_or(0);
                if told.0 < newest || told.1 < read {
                    return Some(format!(
                        "{device} was told delivered {}, read {} of {conversation}, not {newest} and {read}",
                        told.0, told.1
                    ));
                }
            }
        }
        None
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) history: History,
    /// Read while something is recorded as sent and written; written while the server is killed. So what counts as sent before a kill was
    /// handed to the kernel before it.
    pub(crate) gate: RwLock<()>,
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) tally: watch::Sender<Tally>,
    /// Messages acknowledged so far.
    pub(crate) acknowledged: watch::Sender<u64>,
    /// Publishes that were refused.
    pub(crate) refused: AtomicUsize,
    /// Whether the end of a server is the end of the network too. A process whose power was cut lives on here, and says what it
    /// never could have said.
    pub(crate) severs: bool,
}

impl World {
    /// A world without a server, and its players, who wait for one.
    pub(crate) fn begin(seed: u64, severs: bool) -> (Arc<World>, JoinSet<()>) {
        let world = Arc::new(World {
            history: History::default(),
            gate: RwLock::new(()),
            stage: watch::Sender::new(Stage { address: None, phase: Phase::Meeting }),
            tally: watch::Sender::default(),
            acknowledged: watch::Sender::default(),
            refused: AtomicUsize::new(0),
            severs,
        });
        let mut players = JoinSet::new();
        for (index, part) in CAST.iter().enumerate() {
            players.spawn(Player::new(Arc::clone(&world), part, seed.wrapping_add(index as u64)).play());
        }
        (world, players)
    }

    /// The server is there.
    pub(crate) fn opened(&self, address: SocketAddr) {
        self.stage.send_modify(|stage| stage.address = Some(address));
    }

    /// Whether the server that was at an address is still to be heard. Asked with the gate held.
    pub(crate) fn is_served_at(&self, address: SocketAddr) -> io::Result<()> {
        let served = self.stage.borrow().address == Some(address);
        if served { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }

    /// The server is killed, or told to stop, by `end`.
    pub(crate) async fn ended<T>(&self, event: Event, end: impl FnOnce() -> T) -> T {
        let _gate = self.gate.write().await;
        self.stage.send_modify(|stage| stage.address = None);
        self.history.record(event);
        end()
    }

    /// Waits until all have read to the end of their connections.
    pub(crate) async fn is_deserted(&self) {
        let mut tally = self.tally.subscribe();
        let none = tally.wait_for(|tally| tally.connected == 0);
        tokio::time::timeout(PATIENCE, none)
            .await
            .expect("connections end in time")
            .expect("the world is there");
    }

    /// Goes on to the next phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.stage.send_modify(|stage| stage.phase = phase);
    }

    /// Waits until everybody is subscribed.
    pub(crate) async fn meet(&self) {
        let mut tally = self.tally.subscribe();
        let all = tally.wait_for(|tally| tally.subscribed == CAST.len());
        tokio::time::timeout(PATIENCE, all)
            .await
            .expect("all subscribe in time")
            .expect("the world is there");
    }

    /// Waits until so many more messages have been acknowledged; whether that was so in time.
    pub(crate) async fn acknowledges(&self, more: u64, patience: Duration) -> bool {
        let mut acknowledged = self.acknowledged.subscribe();
        let target = *acknowledged.borrow() + more;
        tokio::time::timeout(patience, acknowledged.wait_for(|count| *count >= target)).await.is_ok()
    }

    /// Waits until everybody has everything; what is missing when patience has ended.
    pub(crate) async fn settles(&self, patience: Duration) -> Result<(), String> {
        let mut tally = self.tally.subscribe();
        let all = tally.wait_for(|tally| tally.awaited().is_none());
        if tokio::time::timeout(patience, all).await.is_ok() {
            return Ok(());
        }
        Err(self.tally.borrow().awaited().unwrap_or_default())
    }

    /// Crashes that hit with publishes unacknowledged.
    pub(crate) fn hits(&self) -> usize {
        unacknowledged_at_crashes(&self.history.events()).iter().filter(|open| **open > 0).count()
    }

    /// Publishes that were refused.
    pub(crate) fn refusals(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}
