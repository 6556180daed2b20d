//! From filters to watches: whose [presence](super::presence) a client asks to be shown.

use super::grants::Wanted;
use super::presence::Wants;
use super::{ChatHook, Subscriber, device_of, user_of};
use chasqui_broker::hook::{Ask, Client, Granted, Occasion};
use chasqui_broker::store::StoreError;
use chasqui_proto::UserId;
use chasqui_proto::filter::{FilterScope, ParsedFilter};
use std::sync::Arc;

impl ChatHook {
    /// Begins to watch whom the filters of a SUBSCRIBE, or of a session that is back, ask for. Those that there is no room for are not allowed;
    /// the others are shown behind the grants, for before them the session does not know what it has subscribed to.
    pub(super) fn watch(
        &self,
        client: &Arc<Client>,
        occasion: Occasion,
        asks: &[Ask],
        filters: &mut [Wanted],
        granted: Granted,
    ) -> Granted {
        let Some(user) = user_of(&client.session) else { return granted };
        let (mut wants, mut wanted) = (Vec::new(), Vec::new());
        for (filter, ask) in filters.iter_mut().zip(asks) {
            if let FilterScope::Presence { contact } = &filter.filter.scope {
                let (contact, json) = (contact.clone(), filter.filter.json);
                wants.push(Wants { contact, json, retain_handling: ask.retain_handling });
                wanted.push(&mut filter.allowed);
            }
        }
        if wants.is_empty() {
            return granted;
        }
        let begun = self.presence.begin(client, &user, occasion, &wants);
        wanted.into_iter().zip(begun).for_each(|(allowed, begun)| *allowed = begun);
        let learned = self.presence.learn(&self.reader, client, &user, &wants);
        let contacts: Vec<UserId> = wants.into_iter().map(|wants| wants.contact).collect();
        let (presence, clock, client) =
            (Arc::clone(&self.presence), Arc::clone(&self.clock), Arc::clone(client));
        Box::new(move |grants| {
            if let Err(error) = learned {
                return granted(Err(StoreError::new(error.to_string())));
            }
            granted(grants);
            presence.granted(&client, &contacts, clock.now_ms());
        })
    }

    /// Ends the watches of filters that a client gave up.
    pub(super) fn unwatch(&self, client: &Client, filters: &[Arc<str>]) {
        let (user, device) = (user_of(&client.session), device_of(client));
        let subscriber = Subscriber { user: user.as_ref(), device: device.as_ref() };
        for filter in filters {
            let ParsedFilter { json, scope } = ParsedFilter::parse(filter, subscriber);
            if let FilterScope::Presence { contact } = scope {
                self.presence.unwatch(client, &contact, json);
            }
        }
    }
}
