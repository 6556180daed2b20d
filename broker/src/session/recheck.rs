//! What a client may have no more: its filters are looked at again by the application, and those it revokes end.
//!
//! No packet of the client is taken meanwhile, so that what is looked at is what there is. Neither version of the standard has a
//! packet that tells the client. What waits because of a revoked filter is not delivered: of the messages that may have been
//! given out before the index changed, in the mailbox, in memory and in the stored queue, each is held against the filters that
//! are left. Later ones cost nothing.

use super::subscribing::{Pending, Reply};
use super::{Close, Context, Session, Turn};
use crate::codec::ReasonCode;
use crate::hook::Standing;
use crate::link::Delivery;
use crate::source::{Item, SourceKind};
use crate::store::{StoreError, StoredSubscription};
use crate::topic::{self, SharedFilter};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where looking again stands.
#[derive(Debug, Default)]
pub(crate) struct Recheck {
    /// Whoever asked for it and was not answered.
    pub(super) asked: Vec<oneshot::Sender<usize>>,
    /// How many [`Event::Swept`](crate::link::Event::Swept) are to come: until then, what comes from the mailbox may be for a filter
    /// that was revoked.
    pub(super) sweeping: u32,
    /// Messages of the stored queue up to here may be, too.
    pub(super) revoked_up_to: u64,
}

impl StoredSubscription {
    /// Whether it brings messages of this topic from the router.
    fn brings(&self, name: &str) -> bool {
        let filter = match SharedFilter::parse(&self.filter) {
            Ok(Some(shared)) => shared.filter,
            _ => &self.filter,
        };
        self.plain && topic::matches(filter, name)
    }
}

impl Session {
    /// Asks the application, where that is wanted and nothing else waits.
    pub(super) fn begin_recheck(&mut self, turn: &mut Turn) {
        if self.recheck.asked.is_empty() || self.pending.is_some() {
            return;
        }
        let told = std::mem::take(&mut self.recheck.asked);
        let filters: Vec<Arc<str>> =
            self.subscriptions.iter().map(|subscription| Arc::clone(&subscription.filter)).collect();
        if filters.is_empty() {
            return self.reply_after_saving(Reply::Rechecked { revoked: 0, told }, false, turn);
        }
        turn.recheck = Some(filters.clone());
        self.pending = Some(Box::new(Pending::Rechecking { filters, told }));
    }

    /// The application looked.
    pub(super) fn rechecked(
        &mut self,
        standings: Result<Vec<Standing>, StoreError>,
        cx: &Context<'_>,
        turn: &mut Turn,
    ) -> Result<(), Close> {
        let (filters, told) = match self.pending.take().map(|pending| *pending) {
            Some(Pending::Rechecking { filters, told }) => (filters, told),
            other => {
                self.pending = other.map(Box::new);
                return Ok(());
            }
        };
        let Ok(standings) = standings else {
            cx.stats.store_errors.count();
            return Err(Close::server(
                ReasonCode::ImplementationSpecificError,
                "the server cannot tell what this client may subscribe to; connect again later",
            ));
        };
        let before = self.subscriptions.len();
        for (filter, standing) in filters.iter().zip(standings) {
            if standing == Standing::Revoked
                && let Some(index) = self.subscriptions.iter().position(|known| known.filter == *filter)
            {
                let subscription = self.subscriptions.remove(index);
                self.revoke(&subscription, cx, turn);
            }
        }
        if turn.revoked {
            let waiting = std::mem::take(&mut self.plain);
            for delivery in waiting {
                if self.is_due(&delivery.message.topic, delivery.share.as_deref()) {
                    self.plain.push_back(delivery);
                } else {
                    self.plain_bytes -= delivery.message.weight();
                    self.give_up(delivery, cx);
                }
            }
        }
        let revoked = before - self.subscriptions.len();
        self.reply_after_saving(Reply::Rechecked { revoked, told }, revoked > 0, turn);
        Ok(())
    }

    /// A subscription, no longer among the others, ends because the application does not allow it any more.
    pub(super) fn revoke(&mut self, subscription: &StoredSubscription, cx: &Context<'_>, turn: &mut Turn) {
        tracing::info!(
            owner = &*self.client.session.owner,
            client_id = &*self.client.session.client_id,
            filter = &*subscription.filter,
            "a subscription ended: it is not allowed any more"
        );
        cx.stats.subscriptions_revoked.count();
        self.end_subscription(&subscription.filter, turn);
        if subscription.plain && !turn.revoked {
            turn.revoked = true;
            self.recheck.sweeping += 1;
        }
    }

    /// The index has forgotten what was revoked: what the queue holds by now is looked at before it is delivered.
    pub(crate) fn swept_up_to(&mut self, queue_end: u64) {
        if self.client.persistent {
            self.recheck.revoked_up_to = self.recheck.revoked_up_to.max(queue_end);
        }
    }

    /// Whether a plain message from the mailbox is still for this client.
    pub(super) fn may_have(&self, delivery: &Delivery) -> bool {
        self.recheck.sweeping == 0 || self.is_due(&delivery.message.topic, delivery.share.as_deref())
    }

    /// Whether an item waits in the stored queue for a filter that was revoked only. What was sent already is sent again all the
    /// same [MQTT-4.4.0-1].
    pub(super) fn was_revoked(&mut self, feed: usize, item: &Item, cx: &Context<'_>) -> bool {
        let share = item.message.as_ref().and_then(|message| message.share.as_ref());
        let was = item.position <= self.recheck.revoked_up_to
            && self.feeds[feed].kind == SourceKind::Queue
            && !self.is_due(&item.topic, share.map(|share| &*share.filter));
        if was {
            match item.message.as_ref().and_then(Delivery::shared) {
                Some(delivery) => self.give_up(delivery, cx),
                None => cx.stats.dropped_revoked.count(),
            }
        }
        was
    }

    /// A plain message is not for this client any more: one of a shared subscription is another member's.
    pub(super) fn give_up(&mut self, delivery: Delivery, cx: &Context<'_>) {
        if delivery.share.is_some() {
            self.given_up.push(delivery);
        } else {
            cx.stats.dropped_revoked.count();
        }
    }

    /// Whether some subscription that is left brings messages of a topic; of a group, its own subscription.
    fn is_due(&self, topic: &str, share: Option<&str>) -> bool {
        match share {
            Some(filter) => self.is_subscribed(filter),
            None => self.subscriptions.iter().any(|subscription| subscription.brings(topic)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::client::{self, ServerPacket};
    use crate::codec::{ByteStr, Limits, Peer, QoS, Version};
    use crate::config::Config;
    use crate::hook::{Admission, Ask, Client, Command, Granted, Hook, Login, Occasion, Roles, Route};
    use crate::link::{Event, Link};
    use crate::message::{Identifiers, Message};
    use crate::retained::Resume;
    use crate::session::{SourceReader, Terms};
    use crate::shared::SharedMessage;
    use crate::source::{Read, ReadLimit, SourceGrant, SourceId, View};
    use crate::stats::Stats;
    use crate::store::{RetainedPage, SessionKey};
    use bytes::Bytes;

    /// A world in which nothing is asked of anyone.
    struct Nothing;

    impl Hook for Nothing {
        fn authenticate(&self, _: &Login) -> Admission {
            unreachable!("nobody connects")
        }
        fn route(&self, _: &Client, _: &str) -> Route {
            Route::Plain
        }
        fn submit(&self, _: &Arc<Client>, _: Vec<Command>) {}
        fn subscribe(&self, _: &Arc<Client>, _: Occasion, _: Vec<Ask>, _: Granted) {}
        fn read(&self, _: &Client, _: &SourceId, _: u64, _: ReadLimit) -> Result<Read, StoreError> {
            Ok(Read::default())
        }
        fn view(&self, _: &Client, _: &SourceGrant, _: &Item) -> View {
            View::Skip
        }
    }

    impl SourceReader for Nothing {
        fn read(
            &self,
            _: &Client,
            _: &SourceId,
            _: SourceKind,
            _: u64,
            _: ReadLimit,
        ) -> Result<Read, StoreError> {
            Ok(Read::default())
        }
        fn queue_end(&self, _: &Client) -> Result<u64, StoreError> {
            Ok(0)
        }
        fn retained(&self, _: &str, _: Option<&Resume>, _: usize) -> Result<RetainedPage, StoreError> {
            Ok(RetainedPage::default())
        }
    }

    fn session(filters: &[&str]) -> Session {
        let config = Config::default();
        let key = SessionKey { owner: Arc::from("bob"), client_id: Arc::from("c") };
        let client = Arc::new(Client {
            session: key.clone(),
            version: Version::V5,
            persistent: false,
            connection: 1,
            roles: Roles::default(),
            problem_information: true,
            link: Link::new(key, config.mailbox),
        });
        let peer = Peer::unlimited(Version::V5);
        let terms =
            Terms { peer, window: 32, expiry_s: 0, keep_alive_s: 0, bounds: config.mailbox, aliases: 0 };
        let mut session = Session::new(client, terms, None, 0, 0);
        session.subscriptions = filters
            .iter()
            .map(|filter| StoredSubscription {
                filter: Arc::from(*filter),
                qos: QoS::AtMostOnce,
                no_local: false,
                retain_as_published: false,
                identifier: None,
                plain: true,
            })
            .collect();
        session
    }

    fn delivery(topic: &str) -> Event {
        let message = Message {
            topic: ByteStr::try_from(topic).unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        };
        let message = SharedMessage::new(message);
        Event::Deliver(Delivery {
            message,
            qos: QoS::AtMostOnce,
            retain: false,
            identifiers: Identifiers::new(),
            share: None,
        })
    }

    fn topics(session: &mut Session) -> Vec<String> {
        let bytes = Bytes::from(std::mem::take(&mut session.out));
        let (mut at, mut found) = (0, Vec::new());
        while let Some((packet, len)) = client::decode(Version::V5, &bytes, at, &Limits::UNLIMITED).unwrap() {
            let ServerPacket::Publish(publish, _) = packet else { panic!("unexpected: {packet:?}") };
            found.push(publish.topic.to_string());
            at += len;
        }
        found
    }

    #[test]
    fn what_is_in_the_mailbox_when_a_filter_is_revoked_is_held_against_those_that_are_left() {
        let (config, stats) = (Config::default(), Stats::default());
        let cx = Context {
            hook: &Nothing,
            reader: &Nothing,
            config: &config,
            stats: &stats,
            now_ms: 1,
            is_busy: false,
        };
        let mut session = session(&["a/#", "+/b", "$share/g/s/+"]);
        let mut turn = Turn::default();
        let (told, mut heard) = oneshot::channel();
        session.event(Event::Recheck(told), &cx, &mut turn).unwrap();
        assert!(!session.takes_packets(&cx), "the client says nothing more before it is done");
        session.pump(&cx, &mut turn).unwrap();
        assert_eq!(turn.recheck.take().map(|filters| filters.len()), Some(3));
        // Asked, and not answered: nothing has changed yet.
        session.event(delivery("a/x"), &cx, &mut turn).unwrap();
        assert_eq!(topics(&mut session), ["a/x"]);

        let standings = vec![Standing::Revoked, Standing::Kept, Standing::Kept];
        let of_another = Event::Rechecked(7, Ok(vec![Standing::Revoked; 3]));
        session.event(of_another, &cx, &mut turn).unwrap();
        session.event(Event::Rechecked(1, Ok(standings)), &cx, &mut turn).unwrap();
        assert_eq!((heard.try_recv(), turn.revoked, turn.routes.len()), (Ok(1), true, 1));
        assert!(session.takes_packets(&cx));
        for topic in ["a/x", "a/b", "s/1", "s/1/2"] {
            session.event(delivery(topic), &cx, &mut turn).unwrap();
        }
        assert_eq!(topics(&mut session), ["a/b", "s/1"]);
        assert_eq!(stats.dropped_revoked.get(), 2);
        // Behind the mark, nothing is looked at: the index has given it out for what is left.
        session.event(Event::Swept, &cx, &mut turn).unwrap();
        session.event(delivery("a/x"), &cx, &mut turn).unwrap();
        assert_eq!(topics(&mut session), ["a/x"]);
    }

    #[test]
    fn an_application_that_cannot_tell_ends_the_connection() {
        let (config, stats) = (Config::default(), Stats::default());
        let cx = Context {
            hook: &Nothing,
            reader: &Nothing,
            config: &config,
            stats: &stats,
            now_ms: 1,
            is_busy: false,
        };
        let (mut session, mut turn) = (session(&["a"]), Turn::default());
        let (told, mut heard) = oneshot::channel();
        session.event(Event::Recheck(told), &cx, &mut turn).unwrap();
        session.pump(&cx, &mut turn).unwrap();
        let failed = Event::Rechecked(1, Err(StoreError::new("no")));
        assert!(matches!(session.event(failed, &cx, &mut turn), Err(Close::Server(..))));
        assert!(heard.try_recv().is_err(), "whoever asked looks at it again when it is gone");
    }
}
