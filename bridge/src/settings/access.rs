//! `[[access]]`: access rules in the settings file, read, judged and printed.

use super::file::{Entry, Listed};
use super::value::{Raw, Refusal, toml_string};
use crate::access::{Action, Effect, Glob, Pattern, Rule, Rules};
use chasqui_proto::ids::check_id;
use std::fmt::Write as _;

/// The name of the list.
pub(super) const LIST: &str = "access";

/// What `chasqui config` says about rules.
pub(super) const ABOUT: &str = r#"
# Who may publish and subscribe to generic topics: all that are not under u/, g/, do/, json/ or $SYS/, which have rules of
# their own. The first rule that has something to say decides; where none has, nothing is allowed (with `dev`, everything is).
# A rule that allows a subscription covers all of its filter with one topic of the rule; one that denies meets any of it, so
# nothing that is denied is reached through a wildcard. Changes take effect with `chasqui reload` or SIGHUP, also on
# subscriptions that are there. A rule has:
#   allow or deny  "publish", "subscribe" or "all".
#   topics         Topic filters. %u is the user's name, %c the client id; a rule with %u says nothing about anonymous
#                  clients, and a name that contains /, + or # is not put in.
#   users          Optional: only these users; * is any text.
#   anonymous      Optional: true for clients without a user; with `users`, for either.
#   clients        Optional: and only these client ids; * is any text.
#
# [[access]]
# deny = "publish"
# topics = ["alarms/#"]
# clients = ["display-*"]
#
# [[access]]
# allow = "all"
# topics = ["home/%u/#", "alarms/#"]
"#;

/// A rule that will not do: the line, and why.
pub(super) type Misplaced = (usize, Refusal);

/// Reads one rule.
pub(super) fn rule(listed: &Listed) -> Result<Rule, Misplaced> {
    let mut said: Option<(Effect, Action)> = None;
    let mut rule = Rule {
        effect: Effect::Deny,
        action: Action::All,
        topics: Vec::new(),
        users: Vec::new(),
        anonymous: false,
        clients: Vec::new(),
    };
    for entry in &listed.entries {
        let refused = |reason: Refusal| (entry.line, format!("access: {}: {reason}", entry.key));
        match &*entry.key {
            "allow" | "deny" if said.is_some() => {
                let reason = "a rule either allows or denies: make two of it".to_owned();
                return Err(refused(reason));
            }
            "allow" => said = Some((Effect::Allow, action(&entry.raw).map_err(refused)?)),
            "deny" => said = Some((Effect::Deny, action(&entry.raw).map_err(refused)?)),
            "topics" => rule.topics = texts(entry, "topic filters", pattern).map_err(refused)?,
            "users" => rule.users = texts(entry, "names of users", user).map_err(refused)?,
            "clients" => rule.clients = texts(entry, "client ids", client).map_err(refused)?,
            "anonymous" => match entry.raw {
                Raw::Switch(anonymous) => rule.anonymous = anonymous,
                _ => return Err(refused(entry.raw.refused("true or false"))),
            },
            _ => {
                let reason =
                    "is no part of a rule: it has allow or deny, topics, users, clients and anonymous";
                return Err((entry.line, format!("access: \"{}\" {reason}", entry.key.escape_debug())));
            }
        }
    }
    let missing = |what: &str| (listed.line, format!("access: a rule needs {what}"));
    (rule.effect, rule.action) = said.ok_or_else(|| missing("allow or deny"))?;
    if rule.topics.is_empty() {
        return Err(missing("topics"));
    }
    Ok(rule)
}

fn action(raw: &Raw) -> Result<Action, Refusal> {
    let named = match raw {
        Raw::Text(text) => Action::NAMES.iter().find(|(name, _)| name == text),
        _ => None,
    };
    named.map(|(_, action)| *action).ok_or_else(|| raw.refused("\"publish\", \"subscribe\" or \"all\""))
}

/// A text or a list of them. An empty list is refused: it would be for everyone as well as for no one.
fn texts<T>(entry: &Entry, what: &str, read: fn(&str) -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
    match &entry.raw {
        Raw::Text(text) => Ok(vec![read(text)?]),
        Raw::List(list) if !list.is_empty() => list.iter().map(|text| read(text)).collect(),
        raw => Err(raw.refused(&format!("a list of {what}"))),
    }
}

fn pattern(text: &str) -> Result<Pattern, Refusal> {
    Pattern::parse(text).map_err(|error| format!("\"{}\" {error}", text.escape_debug()))
}

fn user(text: &str) -> Result<Glob, Refusal> {
    if check_id(&text.replace('*', "x")).is_err() {
        return Err(format!(
            "\"{}\" is no user's name: write 1 to 64 letters, digits, - and _, and * for any text",
            text.escape_debug()
        ));
    }
    Ok(Glob::new(text))
}

fn client(text: &str) -> Result<Glob, Refusal> {
    if text.is_empty() {
        return Err("\"\" is no client id: write one, with * for any text".to_owned());
    }
    Ok(Glob::new(text))
}

/// The rules as TOML.
pub(super) fn print(rules: &Rules) -> String {
    let mut out = String::new();
    for rule in &rules.0 {
        let effect = match rule.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n[[{LIST}]]\n{effect} = \"{}\"", rule.action.name());
        let _ = writeln!(out, "topics = {}", list(&rule.topics));
        if !rule.users.is_empty() {
            let _ = writeln!(out, "users = {}", list(&rule.users));
        }
        if rule.anonymous {
            let _ = writeln!(out, "anonymous = true");
        }
        if !rule.clients.is_empty() {
            let _ = writeln!(out, "clients = {}", list(&rule.clients));
        }
    }
    out
}

fn list(texts: &[impl ToString]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| toml_string(&text.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}
