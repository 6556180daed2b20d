//! An application that turns some clients away, so that every refusal of the standards has someone to say it: otherwise as
//! [`PlainHook`].

use crate::support::{PlainHook, Server};
use bytes::Bytes;
use chasqui_broker::Config;
use chasqui_broker::codec::ReasonCode;
use chasqui_broker::hook::{
    Admission, Ask, AuthStep, Client, Command, Exchange, Granted, Hook, Login, Occasion, Roles, Route,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::StoreError;
use chasqui_broker::store::ram::RamStore;
use std::sync::{Arc, Mutex};

/// The authentication method that a [`Door`] knows: the client says `begin`, is asked for `more`, answers, and hears that it is `done`.
pub(crate) const METHOD: &str = "STEPS";

struct Steps {
    asked: bool,
}

impl Exchange for Steps {
    fn step(&mut self, data: Option<&[u8]>) -> AuthStep {
        match (std::mem::replace(&mut self.asked, true), data) {
            (false, Some(b"begin")) => AuthStep::Continue(Some(Bytes::from_static(b"more"))),
            (true, Some(b"answer")) => AuthStep::Admitted {
                owner: Arc::from("u"),
                roles: Roles::default(),
                data: Some(Bytes::from_static(b"done")),
            },
            _ => AuthStep::Refused(ReasonCode::NotAuthorized, "this is no answer".to_owned()),
        }
    }
}

/// Lets in whoever has neither a client id nor a password that names a reason to be refused; remembers who asked.
#[derive(Default)]
pub(crate) struct Door(pub(crate) Mutex<Vec<Login>>);

impl Door {
    /// A server behind a door.
    pub(crate) async fn open() -> (Server, Arc<Door>) {
        Door::open_with(Config::default()).await
    }

    pub(crate) async fn open_with(config: Config) -> (Server, Arc<Door>) {
        let door = Arc::new(Door::default());
        let hook: Arc<dyn Hook> = Arc::<Door>::clone(&door);
        (Server::start_on(config, hook, Arc::new(RamStore::default())).await, door)
    }
}

impl Hook for Door {
    fn authenticate(&self, login: &Login) -> Admission {
        self.0.lock().expect("no test panics with it").push(login.clone());
        let refused = |code| Admission::Refused(code, "this client is not let in".to_owned());
        match (&*login.client_id, login.password.as_deref()) {
            ("not-valid", _) => refused(ReasonCode::ClientIdentifierNotValid),
            (_, Some(b"wrong")) => refused(ReasonCode::BadUserNameOrPassword),
            (_, Some(b"banned")) => refused(ReasonCode::Banned),
            (_, Some(b"not now")) => refused(ReasonCode::ServerUnavailable),
            // No return code of 3.1.1 says this.
            (_, Some(b"not so")) => refused(ReasonCode::ImplementationSpecificError),
            _ => PlainHook.authenticate(login),
        }
    }

    fn is_quick(&self, _login: &Login) -> bool {
        true
    }

    fn begin_authentication(&self, method: &str, _login: &Login) -> Option<Box<dyn Exchange>> {
        (method == METHOD).then(|| Box::new(Steps { asked: false }) as Box<dyn Exchange>)
    }

    fn response_information(&self, _client: &Client) -> Option<String> {
        Some("answers/here".to_owned())
    }

    fn route(&self, client: &Client, topic: &str) -> Route {
        PlainHook.route(client, topic)
    }

    fn submit(&self, client: &Arc<Client>, commands: Vec<Command>) {
        PlainHook.submit(client, commands);
    }

    fn subscribe(&self, client: &Arc<Client>, occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        if asks.iter().any(|ask| &*ask.filter == "fails") {
            granted(Err(StoreError::new("the disk is away")));
            return;
        }
        PlainHook.subscribe(client, occasion, asks, granted);
    }

    fn read(
        &self,
        client: &Client,
        source: &SourceId,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        PlainHook.read(client, source, after, limit)
    }

    fn view(&self, client: &Client, grant: &SourceGrant, item: &Item) -> View {
        PlainHook.view(client, grant, item)
    }
}
