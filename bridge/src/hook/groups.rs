//! Who is in a group, for what is not decided by the machine.

use crate::machine::record::{Group, Member};
use crate::sequencer::fetch::{self, FetchError};
use chasqui_proto::{GroupId, UserId};
use chasqui_storage::Reader;

/// The other members of a group that `user` is a member of, as far as they are `there`; nobody, where they are no member.
pub(super) fn others(
    reader: &Reader,
    group: &GroupId,
    user: &UserId,
    there: impl Fn(&UserId) -> bool,
) -> Result<Vec<UserId>, FetchError> {
    let members = fetch::group(reader, group)?.members;
    match members.iter().find(|member| member.user == *user) {
        Some(me) if is_alive(reader, me)? => {}
        _ => return Ok(Vec::new()),
    }
    let mut others = Vec::new();
    for member in members {
        if member.user != *user && there(&member.user) && is_alive(reader, &member)? {
            others.push(member.user);
        }
    }
    Ok(others)
}

/// A group as it is: without those whose accounts were removed, who are no members any more.
pub(super) fn living(reader: &Reader, id: &GroupId) -> Result<Group, FetchError> {
    let mut group = fetch::group(reader, id)?;
    for member in std::mem::take(&mut group.members) {
        if is_alive(reader, &member)? {
            group.members.push(member);
        }
    }
    Ok(group)
}

/// Whoever has the name of a member who was removed is somebody else.
fn is_alive(reader: &Reader, member: &Member) -> Result<bool, FetchError> {
    Ok(fetch::user(reader, &member.user)?.lives == member.life)
}
