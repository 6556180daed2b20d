//! What clients are for, and what all of them have in common.

use crate::payload::Form;
use crate::presence::{Arrivals, Watches};
use crate::wire::Version;
use std::sync::Arc;

/// Fewer than there are packet ids, so that one is free again before it is its turn.
const MOST_IN_FLIGHT: usize = 60_000;

/// What all clients of a run have in common.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// The version they speak.
    pub version: Version,
    /// The QoS they publish with and subscribe at.
    pub qos: u8,
    /// The form of their payloads.
    pub form: Form,
    /// The size of their payloads, bytes.
    pub size: usize,
    /// Publishes in flight of one client; 0 where a rate says when it publishes.
    pub window: usize,
    /// What they let the broker have in flight, where the version lets them say so.
    pub receive_maximum: Option<u16>,
    /// Publishes in flight of one client at most, however many are due: the others wait, and their time counts.
    pub most_in_flight: usize,
    /// An acknowledgement that takes longer is counted as slow, nanoseconds.
    pub slow_ns: u64,
    /// Whether they come again when a connection ends, and send again what was not acknowledged.
    pub resilient: bool,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            version: Version::V311,
            qos: 1,
            form: Form::Plain,
            size: 0,
            window: 0,
            receive_maximum: None,
            most_in_flight: MOST_IN_FLIGHT,
            slow_ns: u64::MAX,
            resilient: false,
        }
    }
}

/// What has to be there before a client can do what it is for.
#[derive(Debug, Clone)]
pub struct Prepares {
    /// Where it is asked for.
    pub topic: String,
    /// What is asked for.
    pub payload: Vec<u8>,
}

/// What a client asks for, over and over.
#[derive(Debug, Clone)]
pub struct Asks {
    /// Where.
    pub topic: String,
    /// For what. The answer is a message that its filter matches.
    pub payload: Vec<u8>,
}

/// What a client is for.
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// Names it in stamps.
    pub number: u32,
    /// The client id.
    pub client_id: String,
    /// User name and password; without, it is anonymous.
    pub user: Option<String>,
    /// Whether its session ends with the connection.
    pub clean: bool,
    /// What it subscribes to.
    pub filter: Option<String>,
    /// What it publishes to.
    pub publishes_to: Option<String>,
    /// Of Chasqui's own topics: it publishes each message to another user, whose name begins so.
    pub spreads_over: Option<String>,
    /// Those whose messages it is to receive.
    pub hears: Vec<u32>,
    /// Messages that it publishes, in all; without, as many as there is time for.
    pub quota: Option<u64>,
    /// What it does once it is connected and subscribed.
    pub stay: Stay,
    /// Of Chasqui's own topics: it says what it has read, and hears how far its own messages are.
    pub reads: Option<Reads>,
    /// What it publishes, once it is subscribed, before it is ready for anything else.
    pub prepares: Option<Prepares>,
    /// Its messages are retained, each under a topic of its own beside what it publishes to.
    pub retains: Option<Shelf>,
    /// It looks for what is retained, over and over.
    pub looks: Option<Shelf>,
    /// It asks for something once the measurement begins, and again whenever it is answered.
    pub asks: Option<Asks>,
    /// Of Chasqui's own topics: it subscribes to the presence of these, instead of to a filter.
    pub watches: Option<Watches>,
    /// Where it says that it comes.
    pub arrives: Option<Arc<Arrivals>>,
}

impl Role {
    /// Whether it publishes.
    pub fn publishes(&self) -> bool {
        self.publishes_to.is_some() || self.spreads_over.is_some() || self.retains.is_some()
    }
}

/// Retained messages in groups: `{prefix}/{group}/{place}`.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// Where they are.
    pub prefix: String,
    /// The first group.
    pub first: u64,
    /// How many groups there are from it on.
    pub groups: u64,
    /// Messages in each.
    pub per_group: u64,
}

impl Shelf {
    /// The topic of one of its messages, counted from 0.
    pub fn topic(&self, number: u64) -> String {
        let (group, place) = (self.first + number / self.per_group, number % self.per_group);
        format!("{}/{group}/{place}", self.prefix)
    }

    /// What matches one of its groups; which one, a number decides that may be any.
    pub fn filter(&self, number: u64) -> String {
        // Far from each other for numbers that follow each other: no two look-ups share what the broker has at hand.
        let group = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.groups;
        format!("{}/{}/+", self.prefix, self.first + group)
    }
}

/// How a user says what they have read.
#[derive(Debug, Clone, Default)]
pub struct Reads {
    /// The conversation, as they call it.
    pub conversation: String,
    /// A mark for every so many messages; 0 for none.
    pub every: u64,
}

/// What a client does once it is connected and subscribed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stay {
    /// It stays to the end.
    #[default]
    On,
    /// It disconnects and comes again, over and over.
    Churning,
    /// It disconnects, comes back when the measurement begins, and then stays.
    Away,
    /// It stays and reads nothing more.
    Stuck,
    /// It comes and goes, once messages may be published.
    Coming(Coming),
}

/// When a client comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coming {
    /// When it comes first, nanoseconds from when messages may be published.
    pub first_ns: u64,
    /// How long it stays, nanoseconds.
    pub stay_ns: u64,
    /// How long it is away then, nanoseconds.
    pub away_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_is_there() {
        let shelf = Shelf { prefix: "run".to_owned(), first: 5, groups: 4, per_group: 3 };
        assert_eq!(
            [0, 2, 3, 11].map(|number| shelf.topic(number)),
            ["run/5/0", "run/5/2", "run/6/0", "run/8/2"]
        );
        for number in 0..100 {
            let filter = shelf.filter(number);
            let group: u64 = filter["run/".len()..filter.len() - "/+".len()].parse().expect("a number");
            assert!((5..9).contains(&group), "{filter}");
        }
    }
}
