//! Who is in a group, for what is not decided by the machine.

use crate::machine::record::Member;
use crate::machine::{Key, Record};
use crate::sequencer::{self, FetchError};
use chasqui_proto::{GroupId, UserId};
use chasqui_storage::Reader;

/// The other members of a group that `user` is a member of, as far as they are `there`; nobody, where they are no member.
pub(super) fn others(
    reader: &Reader,
    group: &GroupId,
    user: &UserId,
    there: impl Fn(&UserId) -> bool,
) -> Result<Vec<UserId>, FetchError> {
    let members = match sequencer::read(reader, &Key::Group(group.clone()))? {
        Record::Group(group) => group.members,
        other => unreachable!("a read brings the kind of record it was asked for: {other:?}"),
    };
    // Whoever has the name of a member who was removed is somebody else.
    let is_alive = |member: &Member| -> Result<bool, FetchError> {
        match sequencer::read(reader, &Key::User(member.user.clone()))? {
            Record::User(user) => Ok(user.lives == member.life),
            other => unreachable!("a read brings the kind of record it was asked for: {other:?}"),
        }
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
