//! Access rules: who may publish to which generic topics, and subscribe to which.
//!
//! Rules stand in the order of the settings file, and the first one that has something to say decides; where none has,
//! the caller's default does. A publish is to one name, and a rule says something where a pattern of it matches. A
//! subscription is a set of names: a rule that allows says something where one pattern covers all of it, a rule that denies
//! where one pattern meets any of it. So nothing that is denied is reached through a wildcard, and nothing is looked at again
//! when messages are delivered.
//!
//! The rules are a plain value; [`live`] holds those in effect. They have no say in the topics of the contract.

mod glob;
pub mod live;
mod pattern;

pub use glob::Glob;
pub use pattern::{Pattern, PatternError, covers, intersects};

use chasqui_broker::topic::{self, SharedFilter};

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It may be done.
    Allow,
    /// It may not.
    Deny,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Both.
    All,
}

impl Action {
    /// The words of the settings file.
    pub const NAMES: [(&'static str, Action); 3] =
        [("publish", Action::Publish), ("subscribe", Action::Subscribe), ("all", Action::All)];

    /// The word of the settings file.
    pub fn name(self) -> &'static str {
        match self {
            Action::Publish => "publish",
            Action::Subscribe => "subscribe",
            Action::All => "all",
        }
    }

    fn includes(self, other: Action) -> bool {
        self == other || self == Action::All
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it says.
    pub effect: Effect,
    /// What about.
    pub action: Action,
    /// For which topics.
    pub topics: Vec<Pattern>,
    /// For these users only; with `anonymous`, for either.
    pub users: Vec<Glob>,
    /// For anonymous clients only; with `users`, for either.
    pub anonymous: bool,
    /// And for these client ids only.
    pub clients: Vec<Glob>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The user; `None` for an anonymous client.
    pub user: Option<&'a str>,
    /// The client id.
    pub client_id: &'a str,
}

/// Rules in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

impl Rule {
    fn is_about(&self, action: Action, who: Who<'_>) -> bool {
        let by_name = match who.user {
            _ if self.users.is_empty() && !self.anonymous => true,
            Some(user) => self.users.iter().any(|known| known.matches(user)),
            None => self.anonymous,
        };
        by_name
            && self.action.includes(action)
            && (self.clients.is_empty() || self.clients.iter().any(|known| known.matches(who.client_id)))
    }

    fn has_pattern(&self, who: Who<'_>, meets: impl Fn(&str) -> bool) -> bool {
        let mut filters =
            self.topics.iter().filter_map(|pattern| pattern.filter_for(self.effect, who.user, who.client_id));
        filters.any(|filter| meets(&filter))
    }
}

impl Rules {
    /// What they say about a publish to this topic, if anything.
    pub fn publish(&self, who: Who<'_>, topic: &str) -> Option<Effect> {
        let says = |rule: &&Rule| {
            rule.is_about(Action::Publish, who)
                && rule.has_pattern(who, |pattern| topic::matches(pattern, topic))
        };
        self.0.iter().find(says).map(|rule| rule.effect)
    }

    /// What they say about a subscription with this filter, if anything. Of a shared one it is the filter behind the share name.
    pub fn subscribe(&self, who: Who<'_>, filter: &str) -> Option<Effect> {
        let filter = match SharedFilter::parse(filter) {
            Ok(Some(shared)) => shared.filter,
            _ => filter,
        };
        let says = |rule: &&Rule| {
            rule.is_about(Action::Subscribe, who)
                && rule.has_pattern(who, |pattern| match rule.effect {
                    Effect::Allow => covers(pattern, filter),
                    Effect::Deny => intersects(pattern, filter),
                })
        };
        self.0.iter().find(says).map(|rule| rule.effect)
    }
}

#[cfg(test)]
mod tests;
