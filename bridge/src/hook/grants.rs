//! What filters get: plain ones by the access rules, a user's own as sources, and everything else a refusal.

use super::sources;
use crate::machine::Outcome;
use chasqui_broker::codec::{QoS, ReasonCode};
use chasqui_broker::hook::{Grant, Granted};
use chasqui_broker::store::StoreError;
use chasqui_proto::filter::{FilterRefusal, FilterScope, ParsedFilter};
use chasqui_proto::{ErrorCode, Refusal, UserId};

/// Where a user's sources stand for a session that subscribes.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadsOf {
    /// A new cursor in the inbox starts here.
    pub(super) start: u64,
    /// The newest receipt.
    pub(super) state_head: u64,
}

/// A refusal of the contract.
pub(super) fn refused(code: ErrorCode) -> Grant {
    let suback = code.suback().and_then(ReasonCode::from_u8).unwrap_or(ReasonCode::UnspecifiedError);
    Grant::Refused(suback, code.sentence())
}

/// One filter of a SUBSCRIBE.
pub(super) struct Wanted {
    pub(super) filter: ParsedFilter,
    pub(super) qos: QoS,
    /// Whether the access rules allow it, where they have a say; of presence, whether the connection has room for it.
    pub(super) allowed: bool,
    /// Where a cursor in the log of a group starts, where it asks for one and may have it.
    pub(super) group_start: Option<u64>,
}

/// What a filter gets that is not under the user's own root.
pub(super) fn grant_other(wanted: &Wanted) -> Grant {
    match &wanted.filter.scope {
        FilterScope::Generic if wanted.allowed => {
            Grant::Granted { qos: QoS::ExactlyOnce, plain: true, sources: Vec::new() }
        }
        FilterScope::Generic => Grant::Refused(
            ReasonCode::NotAuthorized,
            "the access rules of this server do not allow this client all that this filter matches",
        ),
        // The broker asks for operators only.
        FilterScope::Sys => Grant::Granted { qos: QoS::AtMostOnce, plain: true, sources: Vec::new() },
        FilterScope::Refused(FilterRefusal::PresenceByName) => Grant::Refused(
            ReasonCode::TopicFilterInvalid,
            "presence is subscribed to one contact at a time, by name: wildcards do not stand for contacts",
        ),
        FilterScope::Refused(why) => refused(Refusal::from(*why).code),
        // The same for every user and group, there or not.
        // The same for everybody, there or not: what is shown makes the difference.
        FilterScope::Presence { .. } if wanted.allowed => {
            Grant::Granted { qos: QoS::AtMostOnce, plain: false, sources: Vec::new() }
        }
        FilterScope::Presence { .. } => Grant::Refused(
            ReasonCode::QuotaExceeded,
            "this connection subscribes to the presence of as many as it may",
        ),
        FilterScope::Group(group) => sources::grant_group(group, wanted.filter.json, wanted.group_start),
        FilterScope::Profile { .. } | FilterScope::Own(_) => refused(ErrorCode::NotSupported),
    }
}

/// A SUBSCRIBE that waits for the machine to say where the user's logs stand.
pub(super) struct GrantAll {
    pub(super) user: UserId,
    pub(super) filters: Vec<Wanted>,
    pub(super) granted: Granted,
}

impl GrantAll {
    pub(super) fn go_on(self, outcome: Result<Outcome, StoreError>) {
        let heads = match outcome {
            Ok(Outcome::Attached { start, state_head, .. }) => Ok(HeadsOf { start, state_head }),
            // A session that is no device starts at the tail.
            Ok(Outcome::Heads { inbox_head, state_head }) => Ok(HeadsOf { start: inbox_head, state_head }),
            Ok(Outcome::Refused { refusal, .. }) => Err(refusal.code),
            Ok(other) => {
                debug_assert!(false, "an answer to another question: {other:?}");
                Err(ErrorCode::Internal)
            }
            Err(error) => return (self.granted)(Err(error)),
        };
        let grants = self.filters.iter().map(|wanted| match (&wanted.filter.scope, &heads) {
            (FilterScope::Own(_), Err(code)) => refused(*code),
            (FilterScope::Own(own), Ok(heads)) => {
                sources::grant_own(own, wanted.filter.json, &self.user, *heads)
            }
            _ => grant_other(wanted),
        });
        let grants = grants.collect();
        (self.granted)(Ok(grants));
    }
}
