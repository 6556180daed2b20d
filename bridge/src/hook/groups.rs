//! Who is in a group, for what is not decided by the machine.

use crate::machine::record::Member;
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
    // Whoever has the name of a member who was removed is somebody else.
    let is_alive = |member: &Member| -> Result<bool, FetchError> {
        Ok(fetch::user(reader, &member.user)?.lives == member.life)
    };
    match members.iter().find(|member| member.user == *user) {
        Some(me) if is_alive(me)? => {}
        _ => return Ok(Vec::new()),
    }
    let mut others = Vec::new();
    for member in members {
        if member.user != *user && there(&member.user) && is_alive(&member)? {
            others.push(member.user);
        }
    }
    Ok(others)
}
