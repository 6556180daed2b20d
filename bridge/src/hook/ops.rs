//! What sessions store, on its way to the sequencer; and cursors that moved, as the deliveries they are.

use super::sources::inbox_owner;
use super::stopped;
use crate::entry::{About, Mention};
use crate::machine::DecodeError;
use crate::machine::command::{Acknowledged, Delivered};
use crate::sequencer::{CONNECTIONS_END, Intake, Ops, Request};
use crate::session_store::CommitOps;
use chasqui_broker::store::{Committed, CursorMove, SessionKey, StoreError};
use chasqui_proto::{DeviceId, UserId};
use chasqui_storage::Batch;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock, Weak};

/// Hands what the session store commits to the sequencer, in the order it comes.
#[derive(Default)]
pub struct Operations {
    /// Weak, so that who stops the service is the last to hold it.
    sequencer: OnceLock<Weak<dyn Intake>>,
}

impl Operations {
    /// Tells whom to hand things to. Called once, before the broker serves anybody.
    pub fn join<I: Intake>(&self, sequencer: &Arc<I>) {
        let sequencer: Weak<I> = Arc::downgrade(sequencer);
        let joined = self.sequencer.set(sequencer).is_ok();
        debug_assert!(joined, "operations are joined once");
    }

    /// The sequencer; `None` when the service has stopped.
    fn sequencer(&self) -> Option<Arc<dyn Intake>> {
        self.sequencer.get().and_then(Weak::upgrade)
    }
}

impl CommitOps for Operations {
    fn commit(&self, batch: Batch, done: Option<Committed>) {
        self.hand_in(0, batch, done);
    }

    fn commit_about(&self, session: &SessionKey, batch: Batch, done: Option<Committed>) {
        self.hand_in(origin_of(session), batch, done);
    }

    fn lazy(&self, session: &SessionKey, moves: Vec<CursorMove>, batch: Batch) {
        // A cursor that moves after the end is delivered again: it may.
        let Some(sequencer) = self.sequencer() else { return };
        let origin = origin_of(session);
        match moves.iter().find_map(|moved| delivered(session, moved)) {
            Some(delivered) => {
                let command = delivered.into();
                sequencer.lazy(Request { origin, token: 0, command, extra: Some(batch), on_success: None });
            }
            None => sequencer.lazy_ops(Ops { origin, fill: batch, done: None }),
        }
    }
}

impl Operations {
    fn hand_in(&self, origin: u64, batch: Batch, done: Option<Committed>) {
        let done = done.map(|done| -> crate::sequencer::Done {
            Box::new(move |result| done(result.map_err(|why| StoreError::new(why.to_string()))))
        });
        match self.sequencer() {
            Some(sequencer) => sequencer.ops(Ops { origin, fill: batch, done }),
            None => done.into_iter().for_each(|done| done(Err(stopped()))),
        }
    }
}

/// The origin of what concerns a session, so that it is done in the order it was handed in, whoever is connected. One for all sessions of a
/// user: a device that begins sees what the others have acknowledged before. Connections count from 1 and administration has a number
/// of its own; neither comes near.
pub(super) fn origin_of(session: &SessionKey) -> u64 {
    let hasher = foldhash::fast::FixedState::default();
    let hash =
        if session.owner.is_empty() { hasher.hash_one(session) } else { hasher.hash_one(&session.owner) };
    CONNECTIONS_END | hash >> 4
}

/// What a cursor's move in the user's own inbox delivers; nothing where writing moved it, or nobody's PUBACK did.
fn delivered(session: &SessionKey, moved: &CursorMove) -> Option<Delivered> {
    let user = UserId::parse(&session.owner).ok()?;
    let device = DeviceId::parse(&session.client_id).ok()?;
    if !moved.by_client || inbox_owner(&moved.source)? != user {
        return None;
    }
    // Receipts say how far somebody is: of each sender in each chat the newest message is enough, and mostly there is one of each.
    let mut newest: SmallVec<[(u64, Mention<'_>); 4]> = SmallVec::new();
    for item in &moved.acknowledged {
        match Mention::read(&item.stored) {
            Ok(None) => {}
            Ok(Some(mention)) => match newest.iter_mut().rev().find(|(_, one)| one.is_beside(&mention)) {
                Some(one) => *one = (item.position, mention),
                None => newest.push((item.position, mention)),
            },
            Err(error) => tell_unread(item.position, &error),
        }
    }
    let messages = newest.into_iter().filter_map(|(position, mention)| match mention.resolve(&user) {
        Ok(About { conversation, sender, seq, time_ms }) => {
            Some(Acknowledged { position, conversation, sender, seq, time_ms })
        }
        Err(error) => {
            tell_unread(position, &error);
            None
        }
    });
    let messages = messages.collect();
    Some(Delivered { user, device, up_to: moved.to, messages })
}

fn tell_unread(position: u64, error: &DecodeError) {
    tracing::error!(position, "an acknowledged entry could not be read: {error}");
}
