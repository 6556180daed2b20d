//! What a subscription filter means for the one who asks.
//!
//! Filters are plain MQTT; what they reach is decided here, once, at SUBSCRIBE. The rules: access is checked on the
//! filter without `json/`; a first level that is a wildcard reaches generic topics only; `$share` before one of our
//! roots is refused; below `u/` everyone names themselves, so `u/+/in` and `u/bob/in` are answered alike; presence
//! is asked for by name. A filter that could never match a topic of the contract is refused: a grant that
//! delivers nothing would be a silent failure.
//!
//! The filter's own grammar (where `#` and `+` may stand) is the codec's to check [MQTT-4.7.1-1] to [MQTT-4.7.1-3].

use thiserror::Error;

use crate::ids::{DeviceId, GroupId, UserId};
use crate::topic::{Direction, JSON_ROOT, ROWS, RowKind, Topic, is_ours};

/// Who subscribes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The user; `None` for an anonymous connection.
    pub user: Option<&'a UserId>,
    /// The device; `None` where the client id is no device id.
    pub device: Option<&'a DeviceId>,
}

/// A subscription filter, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedFilter {
    /// Whether it asks for proto3 JSON.
    pub json: bool,
    /// What it reaches.
    pub scope: FilterScope,
}

/// What a filter reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterScope {
    /// Generic topics, under the configured rules. Also every filter whose first level is a wildcard: it
    /// must be kept away from the topics of the contract.
    Generic,
    /// Topics of the reader's own, under `u/{me}`.
    Own(OwnFilter),
    /// One contact's presence, asked for by name, whichever encoding.
    Presence {
        /// The contact.
        contact: UserId,
    },
    /// Another user's profile.
    Profile {
        /// The user.
        user: UserId,
    },
    /// Groups. Membership is to be asked, at SUBSCRIBE for a named group and at delivery for a wildcard.
    Group(GroupFilter),
    /// Below `$SYS/`: for ops.
    Sys,
    /// Nothing.
    Refused(FilterRefusal),
}

/// Why a filter is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FilterRefusal {
    /// It names a user other than the reader, existing or not, or another device's topic.
    #[error("under u/ a filter names the connection's own user and device; wildcards do not stand for users")]
    Forbidden,
    /// The connection is nobody's.
    #[error("anonymous connections see generic topics only")]
    Anonymous,
    /// The client id cannot be a device id.
    #[error(
        "the client id is not a device id ([A-Za-z0-9_-], 1 to 64): such a session sees generic topics only"
    )]
    NotADevice,
    /// `$share` before one of our roots.
    #[error("shared subscriptions are for generic topics: a log has one reader per session")]
    Shared,
    /// No topic of the contract could match.
    #[error("no topic of the contract matches this filter; see topics.md")]
    NoRow,
    /// Only topics that clients publish to match.
    #[error("this topic is for publishing; what comes back is in u/{{me}}/in")]
    PublishOnly,
    /// A wildcard where a contact's name should be.
    #[error("presence is subscribed to one contact at a time, by name")]
    PresenceByName,
}

/// A set of rows of the topic table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct RowSet(u32);

const _: () = assert!(ROWS.len() <= u32::BITS as usize);

impl RowSet {
    fn insert(&mut self, kind: RowKind) {
        self.0 |= 1 << kind as u32;
    }

    fn contains(self, kind: RowKind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A filter under the reader's own root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFilter {
    filter: Box<str>,
    device: DeviceId,
    reach: RowSet,
}

impl OwnFilter {
    /// Whether it matches `u/{me}/in`. At QoS 1 or 2 it then makes a persistent session a device.
    pub fn covers_in(&self) -> bool {
        self.reaches(RowKind::Inbox)
    }

    /// Whether it can match topics of this row.
    pub fn reaches(&self, kind: RowKind) -> bool {
        self.reach.contains(kind)
    }

    /// Whether what the server publishes to `topic` goes to this reader by this filter.
    pub fn matches(&self, topic: &Topic) -> bool {
        if !self.reach.contains(topic.kind()) {
            return false;
        }
        match topic {
            Topic::Reply { device, .. } if *device != self.device => false,
            _ => matches(&self.filter, &topic.to_string()),
        }
    }

    /// The filter, without `json/`.
    pub fn as_str(&self) -> &str {
        &self.filter
    }
}

/// A filter under `g/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFilter {
    /// The group it names; `None` for a wildcard, which reaches the groups the reader is a member of.
    pub group: Option<GroupId>,
    /// Whether it matches the log, `g/{group}/in`.
    pub log: bool,
    /// Whether it matches `g/{group}/info`.
    pub info: bool,
}

impl GroupFilter {
    /// Whether what the server publishes to `topic` goes to a member who subscribed with this filter.
    pub fn matches(&self, topic: &Topic) -> bool {
        let group = match topic {
            Topic::GroupLog { group } if self.log => group,
            Topic::GroupInfo { group } if self.info => group,
            _ => return false,
        };
        self.group.as_ref().is_none_or(|named| named == group)
    }
}

/// Whether an MQTT filter matches a topic name [MQTT-4.7.1].
fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether a filter matches some topic of a row, given the ids that the row's variable levels may take.
fn intersects(filter: &str, pattern: &str, allowed: impl Fn(&str, &str) -> bool) -> bool {
    let mut wanted = filter.split('/');
    for level in pattern.split('/') {
        match wanted.next() {
            Some("#") => return true,
            Some("+") => {}
            Some(text) if level.starts_with('{') => {
                if !allowed(level, text) {
                    return false;
                }
            }
            Some(text) if text == level => {}
            None | Some(_) => return false,
        }
    }
    // `a/#` matches `a` too.
    matches!(wanted.next(), None | Some("#"))
}

fn first_level(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

impl ParsedFilter {
    /// Understands a filter whose grammar is right.
    pub fn parse(filter: &str, reader: Reader<'_>) -> Self {
        if let Some(shared) = filter.strip_prefix("$share/") {
            let inner = shared.split_once('/').map_or("", |(_, inner)| inner);
            let json = inner.starts_with(JSON_ROOT);
            return if is_ours(first_level(inner)) {
                Self { json, scope: FilterScope::Refused(FilterRefusal::Shared) }
            } else {
                Self { json: false, scope: FilterScope::Generic }
            };
        }
        if !is_ours(first_level(filter)) {
            return Self { json: false, scope: FilterScope::Generic };
        }
        let (json, rest) = match filter.strip_prefix(JSON_ROOT) {
            Some(rest) => (true, rest),
            None => (false, filter),
        };
        let scope = match first_level(rest) {
            "do" => Err(FilterRefusal::PublishOnly),
            "$SYS" if !json => Ok(FilterScope::Sys),
            "u" => identified(reader).and_then(|(user, device)| under_u(rest, json, user, device)),
            "g" => identified(reader).and_then(|_| under_g(rest, json)),
            // `json/` before a generic topic or a wildcard: generic topics have no JSON twins.
            _ => Err(FilterRefusal::NoRow),
        };
        Self { json, scope: scope.unwrap_or_else(FilterScope::Refused) }
    }
}

fn identified(reader: Reader<'_>) -> Result<(&UserId, &DeviceId), FilterRefusal> {
    let user = reader.user.ok_or(FilterRefusal::Anonymous)?;
    let device = reader.device.ok_or(FilterRefusal::NotADevice)?;
    Ok((user, device))
}

fn under_u(filter: &str, json: bool, me: &UserId, device: &DeviceId) -> Result<FilterScope, FilterRefusal> {
    let mut levels = filter.split('/').skip(1);
    let (user, what, name, more) = (levels.next(), levels.next(), levels.next(), levels.next());
    let user = user.ok_or(FilterRefusal::NoRow)?;
    if *me != user {
        return match (UserId::parse(user), what, name) {
            (Ok(user), Some("profile"), None) if !json => Ok(FilterScope::Profile { user }),
            _ => Err(FilterRefusal::Forbidden),
        };
    }
    if let (Some("presence"), Some(contact), None) = (what, name, more) {
        let contact = UserId::parse(contact).map_err(|_| match contact {
            "+" | "#" => FilterRefusal::PresenceByName,
            _ => FilterRefusal::NoRow,
        })?;
        return Ok(FilterScope::Presence { contact });
    }

    let own = |name: &str, text: &str| match name {
        "{device}" => *device == text,
        _ => crate::ids::check_id(text).is_ok(),
    };
    let mut reach = RowSet::default();
    for row in
        ROWS.iter().filter(|row| row.direction == Direction::Subscribe && row.kind != RowKind::Presence)
    {
        if (row.json || !json) && intersects(filter, row.pattern, own) {
            reach.insert(row.kind);
        }
    }
    if reach.is_empty() {
        return Err(why_nothing(filter, json));
    }
    Ok(FilterScope::Own(OwnFilter { filter: filter.into(), device: device.clone(), reach }))
}

fn under_g(filter: &str, json: bool) -> Result<FilterScope, FilterRefusal> {
    let any_id = |_: &str, text: &str| crate::ids::check_id(text).is_ok();
    let reaches =
        |kind: RowKind| (kind.row().json || !json) && intersects(filter, kind.row().pattern, any_id);
    let (log, info) = (reaches(RowKind::GroupLog), reaches(RowKind::GroupInfo));
    if !log && !info {
        return Err(why_nothing(filter, json));
    }
    let group = filter.split('/').nth(1).and_then(|name| GroupId::parse(name).ok());
    Ok(FilterScope::Group(GroupFilter { group, log, info }))
}

/// The most helpful reason for a filter that reaches nothing it may.
fn why_nothing(filter: &str, json: bool) -> FilterRefusal {
    let any_id = |_: &str, text: &str| crate::ids::check_id(text).is_ok();
    let could = |wanted: fn(&crate::topic::Row) -> bool| {
        ROWS.iter().any(|row| wanted(row) && (row.json || !json) && intersects(filter, row.pattern, any_id))
    };
    if could(|row| row.kind == RowKind::Reply) {
        FilterRefusal::Forbidden
    } else if could(|row| row.direction == Direction::Publish) {
        FilterRefusal::PublishOnly
    } else if could(|row| row.kind == RowKind::Presence) {
        FilterRefusal::PresenceByName
    } else {
        FilterRefusal::NoRow
    }
}
