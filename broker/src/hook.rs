//! What the broker asks of the application that embeds it.
//!
//! The broker knows MQTT: packets, sessions, filters, windows. It does not know what a topic *means*. Each
//! publish is [routed](Hook::route) by the application: to the broker's own router ([`Route::Plain`]) or back to the
//! application as a [`Command`], in batches, answered later. Each subscription is [granted](Hook::subscribe) by the
//! application: as a plain filter, and as *sources*, ordered things the application stores and a session reads with a
//! cursor. After a commit the application calls [`Broker::committed`](crate::Broker::committed) with what is new in
//! which source, and the pump delivers it.
//!
//! Calls come from the connections' tasks and must not block, except where a method says so.

use crate::codec::{QoS, ReasonCode, RetainHandling, Version, Will};
use crate::link::{Event, Link, Pushed};
use crate::message::Message;
use crate::shared::SharedMessage;
use crate::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use crate::store::{Received, SessionKey, StoreError};
use crate::topic::is_system;
use bytes::Bytes;
use std::sync::Arc;

/// Who is at the other end of a connection: fixed at CONNECT, never taken from a topic or a payload.
#[derive(Debug, Clone)]
pub struct Client {
    /// The session this connection speaks for: the owner (empty for anonymous clients) and the client id.
    pub session: SessionKey,
    /// Which standard it speaks.
    pub version: Version,
    /// Whether the session outlives the connection.
    pub persistent: bool,
    /// Unique among the connections of this process, and of earlier ones as long as the clock goes forward.
    pub connection: u64,
    /// What the application said about this client in [`Hook::authenticate`].
    pub roles: Roles,
    /// False where a 5.0 client asked for no problem information: reason strings and user properties are
    /// left out of acknowledgements [MQTT-3.1.2-29].
    pub problem_information: bool,
    /// The way back to the connection.
    pub(crate) link: Arc<Link>,
}

impl Client {
    /// Answers commands of this connection. Does nothing when the connection is gone.
    pub fn answer(&self, done: Vec<Done>) {
        self.link.push(Event::Done(self.connection, done));
    }

    /// Gives a message to this session alone, if one of its subscriptions matches and it is connected.
    pub fn send(&self, message: Message) {
        self.link.push(Event::Direct(SharedMessage::new(message)));
    }

    /// Gives the value that a topic has now to this connection, with QoS 0 and RETAIN as in the message, if it has subscribed to that very
    /// topic; wildcards do not count. A newer value replaces one that waits. False where there is no room for it: it is to be
    /// given again later.
    pub fn show(&self, message: Message) -> bool {
        let message = SharedMessage::new(Message { qos: QoS::AtMostOnce, ..message });
        self.link.latest(message) != Pushed::Dropped
    }

    /// Has this connection wait for what it published: nothing more is read from it before this time, in Unix milliseconds, or for as
    /// long as [`Config::max_rate_wait`](crate::Config::max_rate_wait). Nothing is refused.
    pub fn slow_down(&self, until_ms: u64) {
        self.link.push(Event::Hold(until_ms));
    }

    /// Ends this connection with a reason.
    pub fn close(&self, code: ReasonCode, sentence: &'static str) {
        self.link.push(Event::Close(code, sentence));
    }

    /// The user name, or `None` for an anonymous client.
    pub fn user(&self) -> Option<&str> {
        Some(&*self.session.owner).filter(|owner| !owner.is_empty())
    }
}

/// What a client may do beside its own things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// May read `$SYS`. The broker refuses such filters to everyone else, whatever [`Hook::subscribe`] would grant.
    pub operator: bool,
}

/// A CONNECT that asks to be let in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user name, where given.
    pub user: Option<String>,
    /// The password, where given.
    pub password: Option<Bytes>,
    /// The client id; chosen by the server where the client left it empty.
    pub client_id: String,
    /// Which standard the client speaks.
    pub version: Version,
    /// Where it connects from.
    pub peer: std::net::SocketAddr,
    /// The name of the listener that it came through.
    pub listener: Arc<str>,
    /// The user that its client certificate names, where it showed one that the listener accepts.
    pub certificate_user: Option<String>,
}

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Let in, as `owner` (empty: anonymous).
    Admitted {
        /// Whose session this is.
        owner: Arc<str>,
        /// What it may do.
        roles: Roles,
    },
    /// Turned away, with the CONNACK reason code and a sentence for the log and for 5.0 clients.
    Refused(ReasonCode, String),
}

/// One enhanced authentication of one client by some method (4.12), such as SCRAM: steps until it is let in or turned away.
pub trait Exchange: Send {
    /// Takes the client's data, the first of it from CONNECT or from the AUTH that asks for authentication again. Runs where blocking
    /// is allowed.
    fn step(&mut self, data: Option<&[u8]>) -> AuthStep;
}

/// What comes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthStep {
    /// The client is asked for more, with this data.
    Continue(Option<Bytes>),
    /// Let in, as `owner`. One that authenticates again must be the same owner; its roles stay.
    Admitted {
        /// Whose session this is.
        owner: Arc<str>,
        /// What it may do.
        roles: Roles,
        /// The method's last data, for CONNACK or AUTH.
        data: Option<Bytes>,
    },
    /// Turned away, with the reason code of CONNACK or DISCONNECT and a sentence for the log.
    Refused(ReasonCode, String),
}

/// Where a PUBLISH goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To the router, as any MQTT broker would.
    Plain,
    /// To the application, through [`Hook::submit`].
    Command,
    /// Nowhere: the publish is refused. 5.0 gets the code and the sentence in the PUBACK; 3.1.1 has no negative
    /// acknowledgement and is disconnected [MQTT-3.3.5-2]. QoS 0 is dropped and counted.
    Refused(ReasonCode, &'static str),
}

impl Route {
    /// What the broker makes of the application's word: clients do not publish what the server says about itself.
    pub(crate) fn of(hook: &dyn Hook, client: &Client, topic: &str) -> Route {
        match hook.route(client, topic) {
            Route::Plain if is_system(topic) => {
                Route::Refused(ReasonCode::NotAuthorized, "only the server publishes under $SYS/")
            }
            route => route,
        }
    }
}

/// A publish that the application carries out.
#[derive(Debug, Clone)]
pub struct Command {
    /// Names this command to its connection; comes back in [`Done::token`]. Zero for QoS 0 and wills: nobody waits.
    pub token: u64,
    /// The message as published.
    pub message: Message,
    /// Whether this is a will that fires, authorised now and not when it was left.
    pub will: bool,
    /// Of a QoS 2 publish: to be committed with what the command does, if its outcome is a success code, as
    /// [`StoreOp::Receive`](crate::store::StoreOp::Receive).
    pub received: Option<Received>,
}

/// What became of a command; the PUBACK says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The reason code of the acknowledgement. On 3.1.1 only success is sent.
    pub code: ReasonCode,
    /// A sentence for 5.0 clients.
    pub reason: Option<String>,
    /// One user property with a number, such as a sequence number.
    pub number: Option<(&'static str, u64)>,
    /// Ends the connection instead of acknowledging: what is left on 3.1.1 where a refusal can be said no other way.
    pub disconnect: bool,
}

impl Outcome {
    /// Success with nothing to add.
    pub const SUCCESS: Outcome =
        Outcome { code: ReasonCode::Success, reason: None, number: None, disconnect: false };
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The [`Command::token`] this answers.
    pub token: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// One filter of a SUBSCRIBE, or of a session that is resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The filter as the client wrote it, known to follow the filter grammar.
    pub filter: Arc<str>,
    /// The QoS asked for.
    pub qos: QoS,
    /// Which of the values that are there already it asks for [MQTT-3.3.1-9].
    pub retain_handling: RetainHandling,
}

/// What a filter gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Refused with this SUBACK code; 3.1.1 gets 0x80.
    Refused(ReasonCode, &'static str),
    /// Granted at most this QoS.
    Granted {
        /// The highest QoS for this filter; the broker grants the smaller of this and what was asked.
        qos: QoS,
        /// Whether the filter goes into the router: it may match plain topics or signals.
        plain: bool,
        /// The sources this filter reads.
        sources: Vec<SourceGrant>,
    },
}

/// Why [`Hook::subscribe`] is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A SUBSCRIBE packet.
    Subscribe,
    /// A stored session comes back; its cursors are kept, and refusals drop the subscription.
    Resume,
}

/// What a subscription that was granted is worth by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It stays as it is.
    Kept,
    /// It ends: what it would have brought, and what waits because of it, is not delivered any more.
    Revoked,
}

/// Takes the standings of one [`Hook::recheck`], once, at any time, from any thread.
pub type Rechecked = Box<dyn FnOnce(Result<Vec<Standing>, StoreError>) + Send>;

/// Takes the grants of one [`Hook::subscribe`], once, at any time, from any thread.
pub type Granted = Box<dyn FnOnce(Result<Vec<Grant>, StoreError>) + Send>;

/// The application behind a broker.
pub trait Hook: Send + Sync + 'static {
    /// Decides on a CONNECT. Runs where blocking is allowed: hashing a password may take its time.
    fn authenticate(&self, login: &Login) -> Admission;

    /// Whether [`Hook::authenticate`] answers this login at once, so that it need not move to a blocking thread.
    fn is_quick(&self, _login: &Login) -> bool {
        false
    }

    /// Begins an enhanced authentication; `None` for a method that is not known [MQTT-4.12.0-1]. Runs where blocking is allowed.
    fn begin_authentication(&self, _method: &str, _login: &Login) -> Option<Box<dyn Exchange>> {
        None
    }

    /// What a client that asks for Response Information is told to build its response topics from (3.2.2.3.15).
    fn response_information(&self, _client: &Client) -> Option<String> {
        None
    }

    /// Where a publish to `topic` goes. Asked once for each publish, unless answers are kept: see [`Hook::route_version`]. What is
    /// plain under `$SYS/` is refused by the broker itself: only the server publishes there.
    fn route(&self, client: &Client, topic: &str) -> Route;

    /// A number that changes, after the change, whenever an answer of [`Hook::route`] may: while it stays the same, each
    /// connection keeps the answers for the topics that it published to lately, commands excepted. `None`: none is kept. Asked
    /// for each publish: keep it cheap.
    fn route_version(&self) -> Option<u64> {
        None
    }

    /// Whether so much waits that connections should stop taking packets for a while. Asked often: keep it cheap.
    fn is_busy(&self) -> bool {
        false
    }

    /// Carries out the commands of one turn of one connection, in order. Each with a token is answered once through
    /// [`Client::answer`], after what it promises is durable.
    fn submit(&self, client: &Arc<Client>, commands: Vec<Command>);

    /// Carries out a will whose topic is a command's. `then` is called when what it does is durable, or never will be: only after that is
    /// it forgotten that there was a will.
    fn submit_will(&self, client: &Arc<Client>, message: Message, then: Box<dyn FnOnce() + Send>) {
        self.submit(client, vec![Command { token: 0, message, will: true, received: None }]);
        then();
    }

    /// Decides on filters. One grant for each ask, in order.
    fn subscribe(&self, client: &Arc<Client>, occasion: Occasion, asks: Vec<Ask>, granted: Granted);

    /// Looks again at filters that were granted, because what is allowed may have changed ([`Broker::recheck`](crate::Broker::recheck)).
    /// One standing for each, in order. For an offline session only the filters in the router's index are asked about,
    /// and the client is one without a connection; [`Broker::start`](crate::Broker::start) asks too, and waits for the answer.
    fn recheck(&self, _client: &Arc<Client>, filters: Vec<Arc<str>>, rechecked: Rechecked) {
        rechecked(Ok(vec![Standing::Kept; filters.len()]));
    }

    /// Filters that a client gave up. Cursors stay until the session ends.
    fn unsubscribed(&self, _client: &Arc<Client>, _filters: &[Arc<str>]) {}

    /// Reads what a source holds after a position, in order. May read from disk, in small bounded pieces.
    fn read(
        &self,
        client: &Client,
        source: &SourceId,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError>;

    /// What this client sees of an item: nothing, or a topic and a payload.
    fn view(&self, client: &Client, grant: &SourceGrant, item: &Item) -> View;

    /// What the application does now and then, about once a second: called by one task, one call at a time.
    fn tend(&self) {}

    /// Called about every 50 ms, by the one task that looks after deadlines: what it does is to be little.
    fn tick(&self, _now_ms: u64) {}

    /// A connection was let in; called before anything else is asked for it.
    fn connected(&self, _client: &Arc<Client>) {}

    /// A connection is over; called after everything else that was asked for it.
    fn disconnected(&self, _client: &Arc<Client>) {}

    /// A session is gone, with its subscriptions and cursors: with its connection, by a clean start, or because it expired while
    /// offline.
    fn ended(&self, _session: &SessionKey) {}

    /// The same, where neither its client nor anybody else had asked for that: nobody was connected for too long, or more waited for
    /// it than may.
    fn lost(&self, session: &SessionKey) {
        self.ended(session);
    }

    /// Checks a will at CONNECT; a will that could never be published is refused early.
    fn accepts_will(&self, client: &Client, will: &Will) -> Result<(), ReasonCode> {
        match self.route(client, will.topic.as_str()) {
            Route::Plain if is_system(will.topic.as_str()) => Err(ReasonCode::NotAuthorized),
            Route::Refused(code, _) => Err(code),
            _ => Ok(()),
        }
    }
}
