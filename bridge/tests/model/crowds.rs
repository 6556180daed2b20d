//! Groups that are too large to name their members in receipts, and the many who are in them: these do little but have and read what is said
//! there.

use super::ask::{Ask, What};
use super::draw::{DEVICES, Draw, USERS};
use chasqui_proto::v1;

/// So many more users, each with a device.
pub(crate) const GUESTS: usize = 34;
const CROWDS: [&str; 2] = ["crowd-0", "crowd-1"];
/// In so many of a hundred cases where a group is spoken of, it is one of these.
const OF_A_CROWD: u32 = 2;

pub(crate) fn guest(at: usize) -> String {
    format!("guest-{at}")
}

pub(crate) fn is_crowd(chat: &str) -> bool {
    chat.strip_prefix("g/").is_some_and(|group| CROWDS.contains(&group))
}

/// The guests, and the groups of all of them.
pub(crate) fn beginning() -> Vec<Ask> {
    let mut asks = Vec::new();
    for at in 0..GUESTS {
        asks.push(Ask::new(&guest(at), DEVICES[0], What::CreateUser));
        asks.push(Ask::new(&guest(at), DEVICES[0], What::Attach));
    }
    for group in CROWDS {
        let (group, name) = (group.to_owned(), group.to_owned());
        let create = v1::GroupCreate { group, name, members: everybody(), ..v1::GroupCreate::default() };
        asks.push(Ask::new(USERS[0], DEVICES[0], What::Create(create)));
    }
    asks
}

impl Draw<'_> {
    /// Whether a group that is spoken of is one of these. Guests know no other.
    pub(crate) fn speaks_of_a_crowd(&mut self, user: &str) -> bool {
        is_guest(user) || self.chance(OF_A_CROWD)
    }

    /// Everybody who is there.
    pub(crate) fn all(&self) -> Vec<String> {
        everybody().into_iter().filter(|name| self.model.exists(name)).collect()
    }

    /// One of the groups that are too large to name their members, which somebody is in.
    pub(crate) fn crowd_of(&mut self, user: &str) -> Option<String> {
        let me = self.model.person(user);
        let crowds = CROWDS.map(|group| format!("g/{group}"));
        let crowds: Vec<String> = crowds.into_iter().filter(|chat| self.model.is_member(chat, &me)).collect();
        self.pick(&crowds)
    }
}

pub(crate) fn is_guest(user: &str) -> bool {
    user.starts_with("guest-")
}

fn everybody() -> Vec<String> {
    USERS.into_iter().map(str::to_owned).chain((0..GUESTS).map(guest)).collect()
}
