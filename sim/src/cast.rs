//! Who takes part in a run: users and their devices, drawn from the seed.

use crate::device::GROUP;
use chasqui_broker::codec::Version;
use chasqui_testkit::history::{Conversation, Device};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::sync::Arc;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dan"];
const DEVICES: [&str; 3] = ["phone", "desk", "pad"];

/// One device, and how its owner uses it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) device: Device,
    pub(crate) version: Version,
    /// Whom it writes to, in turn; nobody for one that only reads.
    pub(crate) writes_to: Vec<Arc<str>>,
    /// So many of its messages are unacknowledged at most.
    pub(crate) window: usize,
    /// So many messages are in flight to it at most, which 5.0 can say.
    pub(crate) receive_maximum: u16,
    /// It acknowledges what came together from the end to the beginning.
    pub(crate) acks_backwards: bool,
    /// It publishes on plain topics too, one in so many messages; 0 for never.
    pub(crate) plain_in: u32,
    /// It reads what is published there.
    pub(crate) follows: bool,
    /// What it has to do with the group.
    pub(crate) in_group: InGroup,
    /// It edits messages, and answers them with signs, one in so many times; 0 for never.
    pub(crate) acts_in: u32,
}

/// What a device has to do with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InGroup {
    /// Nothing; there may be none.
    Never,
    /// Its user may be a member: it writes there, and leaves now and then.
    Maybe,
    /// It founds it, and says who is in it.
    Founds,
}

/// Draws two to four users with one to three devices each.
pub(crate) fn draw(rng: &mut SmallRng) -> Vec<Part> {
    let users = &USERS[..rng.random_range(2..=USERS.len())];
    let has_group = rng.random_bool(0.6);
    let mut parts: Vec<Part> = Vec::new();
    for user in users {
        let peers: Vec<Arc<str>> =
            users.iter().filter(|peer| *peer != user).map(|peer| Arc::from(*peer)).collect();
        for (index, id) in DEVICES[..rng.random_range(1..=DEVICES.len())].iter().enumerate() {
            // Each user writes from somewhere.
            let writes = index == 0 || rng.random_bool(0.4);
            let some = rng.random_range(1..=peers.len());
            parts.push(Part {
                device: Device::new(user, id),
                version: if rng.random() { Version::V5 } else { Version::V311 },
                writes_to: if writes { peers[..some].to_vec() } else { Vec::new() },
                window: rng.random_range(1..=8),
                receive_maximum: rng.random_range(1..=8),
                acks_backwards: rng.random_bool(0.2),
                plain_in: if rng.random_bool(0.5) { rng.random_range(2..=4) } else { 0 },
                follows: rng.random_bool(0.4),
                in_group: match (has_group && writes, parts.is_empty()) {
                    (false, _) => InGroup::Never,
                    (true, true) => InGroup::Founds,
                    (true, false) => InGroup::Maybe,
                },
                acts_in: if rng.random_bool(0.5) { rng.random_range(4..=10) } else { 0 },
            });
        }
    }
    parts
}

/// The conversations that these can have.
pub(crate) fn conversations(parts: &[Part]) -> Vec<Conversation> {
    let mut users: Vec<&str> = parts.iter().map(|part| &*part.device.user).collect();
    users.dedup();
    let pairs = users
        .iter()
        .enumerate()
        .flat_map(|(index, one)| users[index + 1..].iter().map(move |other| Conversation::of(one, other)));
    let group = parts.iter().any(|part| part.in_group == InGroup::Founds).then(|| Conversation::group(GROUP));
    pairs.chain(group).collect()
}
