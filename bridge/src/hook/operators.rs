//! Who may read what the server says about itself.

use crate::settings::Settings;
use std::collections::HashSet;

/// Users that are operators.
#[derive(Debug, Clone, Default)]
pub struct Operators {
    everyone: bool,
    names: HashSet<String>,
}

impl Operators {
    /// Those that the settings name; with `dev` everyone, dashboards and load tools without a user name too.
    pub fn of(settings: &Settings) -> Operators {
        Operators { everyone: settings.dev, names: settings.users.operators.0.iter().cloned().collect() }
    }

    /// Whether a user is one; `None` for clients without a user name.
    pub(super) fn has(&self, user: Option<&str>) -> bool {
        self.everyone || user.is_some_and(|user| self.names.contains(user))
    }
}
