//! The access rules in effect: asked by every connection, replaced while they are.

use super::{Effect, Rules, Who};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rules that can be replaced.
#[derive(Debug)]
pub struct LiveRules {
    rules: RwLock<Arc<Rules>>,
    /// What holds where no rule says anything.
    otherwise: Effect,
    version: AtomicU64,
    asked: AtomicU64,
}

impl LiveRules {
    /// These rules, and what holds where they say nothing.
    pub fn new(rules: Rules, otherwise: Effect) -> LiveRules {
        LiveRules {
            rules: RwLock::new(Arc::new(rules)),
            otherwise,
            version: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    /// Replaces them. Answers are new ones from here on.
    pub fn replace(&self, rules: Rules) {
        *self.rules.write() = Arc::new(rules);
        // Behind the change: whoever sees the new number gets new answers.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Changes behind the rules: an answer got under one number holds while the number does.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// How often the rules were gone through.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether this client may publish to a topic.
    pub fn may_publish(&self, who: Who<'_>, topic: &str) -> bool {
        self.says(|rules| rules.publish(who, topic))
    }

    /// Whether this client may subscribe to a filter.
    pub fn may_subscribe(&self, who: Who<'_>, filter: &str) -> bool {
        self.says(|rules| rules.subscribe(who, filter))
    }

    fn says(&self, ask: impl FnOnce(&Rules) -> Option<Effect>) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let rules = Arc::clone(&self.rules.read());
        ask(&rules).unwrap_or(self.otherwise) == Effect::Allow
    }
}
