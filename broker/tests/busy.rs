//! An application that has too much to do for a while: connections leave what comes in their sockets, and take it up again by themselves, whenever
//! it is that the application has time again.

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_broker::hook::{
    Admission, Ask, Client as Connected, Command, Granted, Hook, Login, Occasion, Route,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{PlainHook, Server, ram_store};

/// Has too much to do for as many questions as are left, and never again.
struct Busy {
    left: AtomicUsize,
}

impl Hook for Busy {
    fn is_busy(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn authenticate(&self, login: &Login) -> Admission {
        PlainHook.authenticate(login)
    }

    fn is_quick(&self, login: &Login) -> bool {
        PlainHook.is_quick(login)
    }

    fn route(&self, client: &Connected, topic: &str) -> Route {
        PlainHook.route(client, topic)
    }

    fn submit(&self, client: &Arc<Connected>, commands: Vec<Command>) {
        PlainHook.submit(client, commands);
    }

    fn subscribe(&self, client: &Arc<Connected>, occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        PlainHook.subscribe(client, occasion, asks, granted);
    }

    fn read(
        &self,
        client: &Connected,
        source: &SourceId,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        PlainHook.read(client, source, after, limit)
    }

    fn view(&self, client: &Connected, grant: &SourceGrant, item: &Item) -> View {
        PlainHook.view(client, grant, item)
    }
}

#[tokio::test]
async fn what_was_left_in_the_socket_is_taken_up_again() {
    let hook = Arc::new(Busy { left: AtomicUsize::new(0) });
    let config = Config::default();
    let store = Arc::new(ram_store(&config));
    let server = Server::start_on(config, Arc::<Busy>::clone(&hook), store).await;
    let mut client = server.client(Version::V5, "client").await;
    // Over at whichever of the questions of one round, or of one of those that follow.
    for questions in (0..8).cycle().take(32) {
        hook.left.store(questions, Ordering::SeqCst);
        let ack = client.publish("a", b"x").await;
        assert_eq!(ack.reason, ReasonCode::NoMatchingSubscribers, "busy for {questions} questions");
    }
}
