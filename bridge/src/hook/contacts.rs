//! `do/contacts`: a page of a user's contacts and of whom they block.
//!
//! As with [history](super::history), nothing is decided: what is durable is read on the connection's thread, at a cost that follows
//! what is asked for.

use crate::machine::record::Tie;
use crate::sequencer::fetch::{self, FetchError};
use crate::sequencer::names;
use crate::session_store::space;
use chasqui_proto::limits::CONTACTS_MAX_ITEMS;
use chasqui_proto::{UserId, v1};
use chasqui_storage::Reader;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContactsAsked {
    /// Those behind this one in the order of names; `None` for all.
    pub(super) after: Option<UserId>,
    /// Users at most; 0 for as many as there may be.
    pub(super) limit: u32,
}

/// A page, in the order of names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ContactsPage {
    pub(super) ties: Vec<v1::Tie>,
    /// Whether there are more.
    pub(super) more: bool,
}

/// Reads a page. One who was removed stands there as nothing, since they take a place on the list.
pub(super) fn read(
    reader: &Reader,
    owner: &UserId,
    asked: &ContactsAsked,
) -> Result<ContactsPage, FetchError> {
    let me = fetch::user(reader, owner)?;
    let limit = match asked.limit as usize {
        0 => CONTACTS_MAX_ITEMS,
        limit => limit.min(CONTACTS_MAX_ITEMS),
    };
    let prefix = names::ties_of(owner);
    let after = asked.after.as_ref().map_or(&b""[..], UserId::as_bytes);
    let mut from = [&prefix[..], after].concat();
    if asked.after.is_some() {
        from.push(0);
    }
    let to = behind(&prefix);
    let mut page = ContactsPage::default();
    loop {
        let found = reader.ordered_range(space::TIES, &from, Some(&to), limit + 1)?;
        let Some((last, _)) = found.last() else { return Ok(page) };
        from = [&last[..], &[0]].concat();
        for (id, stored) in &found {
            let tie = Tie::decode(stored)?;
            let other = id.strip_prefix(&prefix[..]).and_then(|id| std::str::from_utf8(id).ok());
            let Some(other) = other.and_then(|id| UserId::parse(id).ok()) else { continue };
            // Of who had the owner's name before nothing is theirs.
            if tie.life != me.lives {
                continue;
            }
            if page.ties.len() == limit {
                page.more = true;
                return Ok(page);
            }
            let Tie { contact, blocked, .. } = tie.between(&me, &fetch::user(reader, &other)?);
            page.ties.push(v1::Tie { user: other.as_str().to_owned(), contact, blocked });
        }
    }
}

/// Whether `other` stands on the block list of `owner`.
pub(super) fn blocks(reader: &Reader, owner: &UserId, other: &UserId) -> Result<bool, FetchError> {
    let tie = fetch::tie(reader, owner, other)?;
    // Mostly there is none: then it does not matter who they are.
    Ok(tie.blocked && tie.between(&fetch::user(reader, owner)?, &fetch::user(reader, other)?).blocked)
}

/// What stands behind all that begins with a prefix that ends with `/`.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::record::User;
    use chasqui_storage::clock::SystemClock;
    use chasqui_storage::disk::RamDisk;
    use chasqui_storage::kv::ram::RamKv;
    use chasqui_storage::{Batch, Options, RecordKey, Storage};
    use std::sync::Arc;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    /// A store in which users have lived so often, and are this to each other.
    fn store(users: &[(&str, u32)], ties: &[(&str, &str, Tie)]) -> Storage {
        let (disk, kv, clock) = (RamDisk::new(), RamKv::new(), SystemClock);
        let storage =
            Storage::open_with(Arc::new(disk), Arc::new(kv), Arc::new(clock), Options::default()).unwrap();
        let mut batch = Batch::new();
        for (name, lives) in users {
            let mut stored = Vec::new();
            User { exists: true, lives: *lives, ..User::default() }.encode(&mut stored);
            batch.put(&RecordKey::record(format!("u/{name}").as_bytes()), &stored);
        }
        for (owner, other, tie) in ties {
            let mut stored = Vec::new();
            tie.encode(&mut stored);
            batch.ordered_put(space::TIES, format!("{owner}/{other}").as_bytes(), &stored);
        }
        storage.commit_and_wait(batch).unwrap();
        storage
    }

    /// All pages of alice's, one after the other.
    fn all(reader: &Reader, limit: u32) -> Vec<(String, bool, bool)> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = read(reader, &user("alice"), &ContactsAsked { after, limit }).unwrap();
            assert!(limit == 0 || page.ties.len() <= limit as usize);
            after = page.ties.last().map(|tie| user(&tie.user));
            all.extend(page.ties.into_iter().map(|tie| (tie.user, tie.contact, tie.blocked)));
            if !page.more {
                return all;
            }
        }
    }

    #[test]
    fn pages_go_on_where_the_one_before_ended_and_hold_nothing_of_others() {
        let contact = Tie { contact: true, ..Tie::default() };
        let blocked = Tie { blocked: true, ..Tie::default() };
        let before = Tie { life: 1, contact: true, ..Tie::default() };
        let storage = store(
            &[("alice", 0), ("bob", 0), ("bobby", 0), ("carol", 1), ("dave", 0)],
            &[
                ("alic", "z", contact),
                ("alice", "bob", contact),
                ("alice", "bobby", blocked),
                ("alice", "carol", contact),
                ("alice", "claire", before),
                ("alice", "dave", Tie { blocked: true, ..contact }),
                ("alice-", "a", contact),
                ("alice0", "a", contact),
            ],
        );
        let expected =
            [("bob", true, false), ("bobby", false, true), ("carol", false, false), ("dave", true, true)];
        let expected = expected.map(|(name, contact, blocked)| (name.to_owned(), contact, blocked));
        for limit in 0..6 {
            assert_eq!(all(&storage.reader(), limit), expected, "{limit} on a page");
        }
    }

    #[test]
    fn a_page_has_an_end() {
        let names: Vec<String> = (0..=2 * CONTACTS_MAX_ITEMS).map(|n| format!("user-{n:04}")).collect();
        let contact = Tie { contact: true, ..Tie::default() };
        let ties: Vec<_> = names.iter().map(|name| ("alice", name.as_str(), contact)).collect();
        let storage = store(&[("alice", 0)], &ties);
        let first = read(&storage.reader(), &user("alice"), &ContactsAsked { after: None, limit: 100_000 });
        let first = first.unwrap();
        assert_eq!((first.ties.len(), first.more), (CONTACTS_MAX_ITEMS, true));
        let found: Vec<String> = all(&storage.reader(), 0).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(found, names);
        assert_eq!(all(&store(&[("alice", 0)], &[]).reader(), 0), []);
    }
}
