//! The application behind the broker: what topics mean here, who may what, and what each device gets to see.
//!
//! Publishes to topics of the contract become commands for the [sequencer](crate::sequencer); everything else is plain MQTT,
//! as far as the [access rules](crate::access) go. Filters become sources: a user's inbox is a log, their receipts are states. What the
//! sequencer has committed comes back here, on the commit thread, and goes to the connections as answers and tails.
//!
//! Invariants: who someone is comes from the connection; nothing that changes anything is answered before the sequencer says that it is
//! durable, and what is only read is read from what is.

mod asks;
mod chance;
mod commands;
mod connections;
mod contacts;
mod devices;
mod expiry;
mod grants;
mod group_log;
mod groups;
mod history;
mod look;
mod operators;
mod ops;
mod presence;
mod publication;
mod rates;
mod replies;
mod reports;
mod sight;
mod sink;
mod sources;
mod starred;
mod sync;
mod typing;
mod users;
mod verbs;
mod watches;

pub use expiry::due;
pub use operators::Operators;
pub use ops::Operations;
pub use publication::Publication;
pub use rates::UserRates;
pub use users::LiveUsers;

use crate::access::Who;
use crate::access::live::LiveRules;
use crate::account::{Accounts, AdminAnswers};
use crate::machine::command::{Attach, Detach, Heads, Lose};
use crate::machine::{Command, Outcome};
use crate::sequencer::fetch::FetchError;
use crate::sequencer::{Intake, Request, Sink, Unanswered};
use crate::session_store::put_received;
use asks::{Asks, Question};
use chasqui_broker::Broker;
use chasqui_broker::codec::{QoS, ReasonCode};
use chasqui_broker::hook::{
    self, Admission, Ask, Client, Command as Published, Done, Granted, Hook, Login, Occasion, Rechecked,
    Roles, Route, Standing,
};
use chasqui_broker::message::Message;
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::{SessionKey, StoreError};
use chasqui_proto::filter::{FilterScope, ParsedFilter, Reader as Subscriber};
use chasqui_proto::{ChatName, DeviceId, ErrorCode, ParsedTopic, UserId};
use chasqui_storage::clock::Clock;
use chasqui_storage::{Batch, Poisoned, Reader};
use commands::{LookUp, Wish};
use connections::Connections;
use devices::Removals;
use grants::{GrantAll, Wanted, grant_other};
use ops::origin_of;
use parking_lot::{Mutex, RwLock};
use presence::Presence;
use rates::Rates;
use replies::ReplyTo;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, Weak};
use typing::{Repeats, Typing};

/// What is open to whom, beside what accounts say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Open {
    /// A user's password is their name.
    pub by_name: bool,
    /// Clients without a user name are let in.
    pub anonymous: bool,
}

/// See the module.
pub struct ChatHook {
    reader: Reader,
    clock: Arc<dyn Clock>,
    /// Set once, when the service is put together: the sequencer answers through this hook. Weak, so that who stops the service
    /// is the last to hold it.
    sequencer: OnceLock<Weak<dyn Intake>>,
    broker: RwLock<Option<Broker>>,
    accounts: RwLock<Option<Arc<Accounts>>>,
    /// Administrative commands that wait.
    admin: Arc<AdminAnswers>,
    connections: Connections,
    presence: Arc<Presence>,
    repeats: Repeats,
    rates: Rates,
    asks: Asks,
    /// Messages whose time is over and that are being erased.
    expiring: Arc<AtomicUsize>,
    removals: Arc<Removals>,
    open: Open,
    operators: Operators,
    access: LiveRules,
    /// Given once, so that a store that fails is said in the log once and not by every connection.
    said_poisoned: Mutex<bool>,
}

impl ChatHook {
    /// A hook that reads what is stored with `reader`.
    pub fn new(
        reader: Reader,
        clock: Arc<dyn Clock>,
        open: Open,
        operators: Operators,
        access: LiveRules,
        rates: UserRates,
    ) -> Arc<ChatHook> {
        Arc::new(ChatHook {
            reader,
            clock,
            sequencer: OnceLock::new(),
            broker: RwLock::new(None),
            accounts: RwLock::new(None),
            admin: Arc::default(),
            connections: Connections::default(),
            presence: Arc::default(),
            repeats: Repeats::default(),
            rates: Rates::new(rates),
            asks: Asks::default(),
            expiring: Arc::default(),
            removals: Arc::default(),
            open,
            operators,
            access,
            said_poisoned: Mutex::new(false),
        })
    }

    /// Tells the hook what it works with. Called once, before the broker serves anybody.
    pub fn join<I: Intake>(&self, sequencer: &Arc<I>, broker: Broker, accounts: Arc<Accounts>) {
        let sequencer: Weak<I> = Arc::downgrade(sequencer);
        let joined = self.sequencer.set(sequencer).is_ok();
        debug_assert!(joined, "a hook is joined once");
        *self.accounts.write() = Some(accounts);
        *self.broker.write() = Some(broker);
    }

    /// Lets go of what holds this hook: called when the service has stopped.
    pub fn leave(&self) {
        *self.broker.write() = None;
        *self.accounts.write() = None;
    }

    /// Where answers to administrative commands go.
    pub fn admin(&self) -> Arc<AdminAnswers> {
        Arc::clone(&self.admin)
    }

    /// The access rules in effect.
    pub fn access(&self) -> &LiveRules {
        &self.access
    }

    /// Whether the access rules allow a filter; those of the contract they have no say in.
    fn allows(&self, client: &Client, parsed: &ParsedFilter, filter: &str) -> bool {
        parsed.scope != FilterScope::Generic || self.access.may_subscribe(who(client), filter)
    }

    fn broker(&self) -> Option<Broker> {
        self.broker.read().clone()
    }

    /// The sequencer; `None` when the service has stopped.
    fn sequencer(&self) -> Option<Arc<dyn Intake>> {
        self.sequencer.get().and_then(Weak::upgrade)
    }

    /// What time it is, Unix milliseconds.
    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Hands requests in, or says that there is nobody to hand them to.
    fn hand_in(&self, requests: Vec<Request>) {
        if let Some(sequencer) = self.sequencer() {
            return sequencer.submit(requests);
        }
        let unanswered =
            requests.iter().map(|request| Unanswered { origin: request.origin, token: request.token });
        self.poisoned(unanswered.collect(), &stopped());
    }

    /// Tells the connections of those whom it is for that somebody writes to them. Nobody is told whether there are any.
    fn pass_on(&self, from: &UserId, typing: &Typing) {
        if !self.repeats.is_news(from, typing) {
            return;
        }
        match &typing.to {
            ChatName::User(to) if !self.connections.has(to) => {}
            ChatName::User(to) => match contacts::blocks(&self.reader, to, from) {
                Ok(true) => {}
                Ok(false) => self.signal(from, typing, to),
                Err(error) => tracing::error!("whom a user blocks could not be read: {error}"),
            },
            ChatName::Group(group) => {
                match groups::others(&self.reader, group, from, |user| self.connections.has(user)) {
                    Ok(others) => others.iter().for_each(|member| self.signal(from, typing, member)),
                    Err(error) => tracing::error!("who is in a group could not be read: {error}"),
                }
            }
        }
    }

    fn signal(&self, from: &UserId, typing: &Typing, to: &UserId) {
        let live = self.connections.of(to.as_str());
        if live.is_empty() {
            return;
        }
        if let (Some(broker), Some(message)) = (self.broker(), typing.message(from, to.clone())) {
            broker.signal(live.iter().map(|client| &**client), message);
        }
    }

    /// Gives a connection the page it asks for; what cannot be given is refused.
    fn look_up(&self, client: &Client, asked: LookUp) -> Option<commands::Asked> {
        let page = match asked
            .look(&self.reader, self.now_ms(), |device| self.is_connected(&asked.caller.user, device))
        {
            Ok(page) => page,
            Err(refusal) => return Some(asked.refused(refusal)),
        };
        if let Some(reply_to) = asked.reply_to {
            reply_to.send_page(client, &page);
        }
        done_at_once(client, asked.token);
        None
    }

    /// The session of a device is over.
    fn detach(&self, session: &SessionKey, command: impl FnOnce(UserId, DeviceId) -> Command) {
        let (Some(user), Ok(device)) = (user_of(session), DeviceId::parse(&session.client_id)) else {
            return;
        };
        self.ask(origin_of(session), command(user, device), |outcome| {
            if let Err(error) = outcome {
                tracing::error!("a device could not be detached: {error}");
            }
        });
    }

    /// Asks the machine, and goes on with its answer on the commit thread.
    fn ask(
        &self,
        origin: u64,
        command: Command,
        then: impl FnOnce(Result<Outcome, StoreError>) + Send + 'static,
    ) {
        self.ask_with(origin, command, None, then);
    }

    /// The same, with something to be committed in its batch.
    fn ask_with(
        &self,
        origin: u64,
        command: Command,
        extra: Option<Batch>,
        then: impl FnOnce(Result<Outcome, StoreError>) + Send + 'static,
    ) {
        let token = self.asks.put(Box::new(then));
        self.hand_in(vec![Request { origin, token, command, extra, on_success: None }]);
    }
}

/// What is said to whoever comes after the end.
fn stopped() -> Poisoned {
    Poisoned { why: Arc::from("the server is stopping") }
}

/// The device a client is, where its client id is one.
fn device_of(client: &Client) -> Option<DeviceId> {
    DeviceId::parse(&client.session.client_id).ok()
}

/// Who a client is to the access rules.
fn who(client: &Client) -> Who<'_> {
    Who { user: client.user(), client_id: &client.session.client_id }
}

/// The user a client is; `None` for anonymous ones.
fn user_of(session: &SessionKey) -> Option<UserId> {
    UserId::parse(&session.owner).ok()
}

impl Hook for ChatHook {
    fn authenticate(&self, login: &Login) -> Admission {
        let certified = login.certificate_user.is_some();
        let name = match (&login.certificate_user, &login.user) {
            (Some(certificate), Some(user)) if certificate != user => {
                let sentence = "the client certificate is another user's than the user name says";
                return Admission::Refused(ReasonCode::NotAuthorized, sentence.to_owned());
            }
            (Some(name), _) | (None, Some(name)) => Some(name),
            (None, None) => None,
        };
        let roles = Roles { operator: self.operators.has(name.map(String::as_str)) };
        let Some(name) = name else {
            return if self.open.anonymous {
                Admission::Admitted { owner: Arc::from(""), roles }
            } else {
                let sentence = "this server lets nobody in without a user name and a password";
                Admission::Refused(ReasonCode::NotAuthorized, sentence.to_owned())
            };
        };
        let password = login.password.as_deref().unwrap_or_default();
        let accounts = self.accounts.read().clone();
        let known = match accounts {
            _ if self.open.by_name => {
                Ok(UserId::parse(name).is_ok() && (certified || password == name.as_bytes()))
            }
            // The authority that issued the certificate has verified them.
            Some(accounts) if certified => accounts.exists(name),
            Some(accounts) => accounts.verify(name, password),
            None => Ok(false),
        };
        match known {
            Ok(true) => Admission::Admitted { owner: Arc::from(name.as_str()), roles },
            Ok(false) => Admission::Refused(
                ReasonCode::BadUserNameOrPassword,
                "there is no such user, or the password is wrong".to_owned(),
            ),
            Err(error) => {
                tracing::error!("an account could not be read: {error}");
                Admission::Refused(ReasonCode::ServerUnavailable, "accounts cannot be read now".to_owned())
            }
        }
    }

    fn is_quick(&self, login: &Login) -> bool {
        self.open.by_name || (login.user.is_none() && login.certificate_user.is_none())
    }

    fn response_information(&self, client: &Client) -> Option<String> {
        // Where a device's replies come to without a response topic, and what one may be.
        let (user, device) = (user_of(&client.session)?, device_of(client)?);
        Some(format!("u/{}/d/{}/reply", user.as_str(), device.as_str()))
    }

    fn route(&self, client: &Client, topic: &str) -> Route {
        match ParsedTopic::parse(topic) {
            Ok(None) if self.access.may_publish(who(client), topic) => Route::Plain,
            Ok(None) => Route::Refused(
                ReasonCode::NotAuthorized,
                "the access rules of this server do not allow this client to publish to this topic",
            ),
            // What is ours and wrong is refused like a command, so that 3.1.1 devices hear of it in their inbox.
            Ok(Some(_)) | Err(_) if client.user().is_some() => Route::Command,
            Ok(Some(_)) | Err(_) => {
                let code = ErrorCode::Unauthenticated;
                let puback = ReasonCode::from_u8(code.puback()).unwrap_or(ReasonCode::NotAuthorized);
                Route::Refused(puback, code.sentence())
            }
        }
    }

    fn route_version(&self) -> Option<u64> {
        Some(self.access.version())
    }

    fn is_busy(&self) -> bool {
        self.sequencer().is_some_and(|sequencer| sequencer.is_crowded())
    }

    fn submit(&self, client: &Arc<Client>, published: Vec<Published>) {
        let Some(user) = user_of(&client.session) else { return };
        let device = device_of(client);
        let mut requests = Vec::with_capacity(published.len());
        for published in published {
            let on_success = published.received.as_ref().map(|received| {
                let mut batch = Batch::new();
                put_received(&mut batch, received);
                batch
            });
            let asked = match commands::wish(&self.reader, client, &user, device.as_ref(), published) {
                Wish::Command(asked) => Some(self.at_its_rate(client, asked)),
                Wish::Typing(token, typing) => {
                    self.pass_on(&user, &typing);
                    done_at_once(client, token);
                    None
                }
                Wish::Look(asked) => self.look_up(client, asked),
                Wish::RemoveDevice(removal) => self.remove_device(client, removal),
            };
            let Some(commands::Asked { command, token, reply_to }) = asked else { continue };
            let token = match reply_to {
                None => token,
                Some(reply_to) => self.asks.put(answer_and_reply(Arc::clone(client), token, reply_to)),
            };
            requests.push(Request { origin: client.connection, token, command, extra: None, on_success });
        }
        if !requests.is_empty() {
            self.hand_in(requests);
        }
    }

    fn submit_will(&self, client: &Arc<Client>, message: Message, then: Box<dyn FnOnce() + Send>) {
        let Some(user) = user_of(&client.session) else { return then() };
        let published = Published { token: 0, message, will: true, received: None };
        let Wish::Command(commands::Asked { command, .. }) =
            commands::wish(&self.reader, client, &user, device_of(client).as_ref(), published)
        else {
            return then();
        };
        let command = match self.over_rate(client, &command) {
            Some(reject) => reject.into(),
            None => command,
        };
        self.ask(client.connection, command, move |outcome| {
            if let Ok(Outcome::Refused { refusal, .. }) = &outcome {
                tracing::info!(user = user.as_str(), "a will was refused: {}", refusal.reason());
            }
            then();
        });
    }

    fn subscribe(&self, client: &Arc<Client>, occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        let (user, device) = (user_of(&client.session), device_of(client));
        let subscriber = Subscriber { user: user.as_ref(), device: device.as_ref() };
        let wanted = |ask: &Ask| -> Result<Wanted, FetchError> {
            let filter = ParsedFilter::parse(&ask.filter, subscriber);
            let allowed = self.allows(client, &filter, &ask.filter);
            let group_start = match (&filter.scope, &user) {
                (FilterScope::Group(group), Some(user)) => {
                    group_log::start(&self.reader, group, user, occasion)?
                }
                _ => None,
            };
            Ok(Wanted { filter, qos: ask.qos, allowed, group_start })
        };
        let filters: Result<Vec<Wanted>, FetchError> = asks.iter().map(wanted).collect();
        let mut filters = match filters {
            Ok(filters) => filters,
            Err(error) => return granted(Err(StoreError::new(error.to_string()))),
        };
        let granted = self.watch(client, occasion, &asks, &mut filters, granted);
        // A persistent session that reads its inbox at QoS 1 or 2 is a device.
        let becomes_device = client.persistent
            && filters.iter().any(|Wanted { filter, qos, .. }| {
                *qos > QoS::AtMostOnce && matches!(&filter.scope, FilterScope::Own(own) if own.covers_in())
            });
        let has_own = filters.iter().any(|wanted| matches!(wanted.filter.scope, FilterScope::Own(_)));
        let (Some(user), Some(device)) = (user.filter(|_| has_own), device) else {
            let grants = filters.iter().map(grant_other).collect();
            return granted(Ok(grants));
        };
        let command: Command = if becomes_device {
            Attach { user: user.clone(), device }.into()
        } else {
            Heads { user: user.clone() }.into()
        };
        let grant_all = GrantAll { user, filters, granted };
        // In order with what the session before it left behind.
        let origin = origin_of(&client.session);
        // The hook is not needed to go on: what was asked says all.
        self.ask(origin, command, move |outcome| grant_all.go_on(outcome));
    }

    fn recheck(&self, client: &Arc<Client>, filters: Vec<Arc<str>>, rechecked: Rechecked) {
        // Of what the contract grants nothing is ever taken back: the rules are all that changes.
        let subscriber = Subscriber { user: None, device: None };
        let standing = |filter: &Arc<str>| {
            if self.allows(client, &ParsedFilter::parse(filter, subscriber), filter) {
                Standing::Kept
            } else {
                Standing::Revoked
            }
        };
        rechecked(Ok(filters.iter().map(standing).collect()));
    }

    fn read(
        &self,
        _client: &Client,
        source: &SourceId,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        sources::read(&self.reader, source, after, limit)
    }

    fn view(&self, client: &Client, grant: &SourceGrant, item: &Item) -> View {
        sources::view(&self.reader, client, grant, item, || self.now_ms())
    }

    fn tend(&self) {
        self.expire();
    }

    fn unsubscribed(&self, client: &Arc<Client>, filters: &[Arc<str>]) {
        self.unwatch(client, filters);
    }

    fn tick(&self, now_ms: u64) {
        // Messages come first: what is shown meanwhile is conflated.
        if !self.is_busy() {
            self.presence.tick(&self.connections, now_ms);
        }
    }

    fn connected(&self, client: &Arc<Client>) {
        self.connections.add(client);
        if let Some(user) = user_of(&client.session) {
            self.presence.connected(&user, client.connection, self.now_ms());
        }
    }

    fn disconnected(&self, client: &Arc<Client>) {
        if let Some(user) = user_of(&client.session) {
            self.presence.disconnected(&user, client.connection, self.now_ms());
        }
        self.connections.remove(client);
    }

    fn ended(&self, session: &SessionKey) {
        self.detach(session, |user, device| Detach { user, device }.into());
    }

    fn lost(&self, session: &SessionKey) {
        self.detach(session, |user, device| Lose { user, device }.into());
    }
}

/// Says that something which nothing waits for is done.
fn done_at_once(client: &Client, token: u64) {
    if token != 0 {
        client.answer(vec![Done { token, outcome: hook::Outcome::SUCCESS }]);
    }
}

/// Answers a command that asked for a reply as well.
fn answer_and_reply(client: Arc<Client>, token: u64, reply_to: ReplyTo) -> Question {
    Box::new(move |outcome| match outcome {
        Ok(outcome) => {
            reply_to.send(&client, &outcome);
            client.answer(commands::done(&client, token, outcome).into_iter().collect());
        }
        Err(_) => client.close(
            ReasonCode::ImplementationSpecificError,
            "the server cannot write to its disk; nothing more is acknowledged",
        ),
    })
}
