//! What one step of a session wants done by the one who drives it.

use super::AuthWork;
use crate::codec::{PacketId, ReasonCode};
use crate::hook::{Ask, Command};
use crate::message::Message;
use crate::source::SourceId;
use crate::store::{Received, StoredSubscription};
use std::sync::Arc;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Close {
    /// The client said DISCONNECT.
    Client,
    /// The server ends it, and says so where the version has a word for it.
    Server(ReasonCode, &'static str),
    /// The server ends it, and what it says is written already.
    Said,
    /// The network connection is gone.
    Network,
}

impl Close {
    pub(crate) const fn server(code: ReasonCode, sentence: &'static str) -> Close {
        Close::Server(code, sentence)
    }
}

/// A plain publish.
#[derive(Debug)]
pub(crate) struct Plain {
    /// Names it until it is answered; 0 when nobody waits.
    pub(crate) token: u64,
    pub(crate) message: Message,
    /// Committed with what it does: it is not carried out again.
    pub(crate) received: Option<Received>,
}

/// A change to the router's index.
#[derive(Debug)]
pub(crate) enum RouteChange {
    Add(StoredSubscription),
    Remove(Arc<str>),
}

/// Filters the application is asked about.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) asks: Vec<Ask>,
}

/// What is to be done after a step, in the order of the fields.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) plains: Vec<Plain>,
    pub(crate) commands: Vec<Command>,
    pub(crate) routes: Vec<RouteChange>,
    pub(crate) attach: Vec<SourceId>,
    pub(crate) detach: Vec<SourceId>,
    pub(crate) unsubscribed: Vec<Arc<str>>,
    pub(crate) asked: Option<Asked>,
    /// Filters the application is to look at again.
    pub(crate) recheck: Option<Vec<Arc<str>>>,
    /// Some of `routes` are removals of what the application revoked.
    pub(crate) revoked: bool,
    /// Retained messages for the session's own queue.
    pub(crate) enqueue: Vec<Message>,
    /// The client has released these QoS 2 publishes: to be stored, and [`Event::Released`](crate::link::Event::Released) to come back.
    pub(crate) release: Vec<PacketId>,
    /// The cursors are to be stored with the flights, and [`Event::FlightsStored`](crate::link::Event::FlightsStored) to come back.
    pub(crate) store_flights: bool,
    /// A step of an authentication is to be taken, and [`Event::Authenticated`](crate::link::Event::Authenticated) to come back.
    pub(crate) authenticate: Option<AuthWork>,
    /// The session's record is to be stored, and [`Event::Stored`](crate::link::Event::Stored) to come back.
    pub(crate) save: bool,
}

impl Turn {
    pub(crate) fn is_empty(&self) -> bool {
        self.plains.is_empty()
            && self.commands.is_empty()
            && self.routes.is_empty()
            && self.attach.is_empty()
            && self.detach.is_empty()
            && self.unsubscribed.is_empty()
            && self.asked.is_none()
            && self.recheck.is_none()
            && !self.revoked
            && self.enqueue.is_empty()
            && self.release.is_empty()
            && !self.store_flights
            && self.authenticate.is_none()
            && !self.save
    }
}
