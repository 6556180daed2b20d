//! A group: what it shows of itself, who may what in it, and who is in it.
//!
//! All its members are in the one record, sorted: a message needs each of them, and what writes it is rare: a change of membership, or the
//! first message after an account was removed.

use crate::machine::codec::{self, DecodeError, Input, put_bytes, put_number};
use bytes::Bytes;
use chasqui_proto::{GroupId, Seq, UserId, v1};
use prost::Message as _;

const VERSION: u8 = 1;

const EXISTS: u8 = 1;
const ADMINS_POST: u8 = 2;
const ADMINS_EDIT: u8 = 4;
const ADMINS_ADD: u8 = 8;
const ADMIN: u8 = 1;

/// A group. One that had members once keeps its id for ever; without any it has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Whether there is, or was, such a group.
    pub exists: bool,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Its picture: an encoded [`Media`](v1::Media), or nothing.
    pub photo: Bytes,
    /// What only admins may.
    pub settings: Settings,
    /// The secret of its invite link; empty where there is none.
    pub invite: String,
    /// Who made it; `None` only where it does not exist.
    pub creator: Option<UserId>,
    /// Its members, in the order of their ids.
    pub members: Vec<Member>,
}

/// What only admins may do in a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// Send messages.
    pub admins_post: bool,
    /// Change name, description and photo.
    pub admins_edit: bool,
    /// Add members, and ask for the invite link.
    pub admins_add: bool,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Which of the users of this name: a number of [`User::lives`](super::User::lives). Of a removed user nothing is left but this.
    pub life: u32,
    /// Whether they are an admin.
    pub admin: bool,
    /// The event that made them a member.
    pub since: Seq,
}

impl Group {
    /// Where a member stands among the members, or would stand.
    fn place(&self, user: &UserId) -> Result<usize, usize> {
        self.members.binary_search_by(|member| member.user.cmp(user))
    }

    /// The member of this name.
    pub fn member(&self, user: &UserId) -> Option<&Member> {
        self.place(user).ok().map(|at| &self.members[at])
    }

    /// The same, to be changed.
    pub fn member_mut(&mut self, user: &UserId) -> Option<&mut Member> {
        self.place(user).ok().map(|at| &mut self.members[at])
    }

    /// Makes somebody a member, in place of one of the same name.
    pub fn put(&mut self, member: Member) {
        match self.place(&member.user) {
            Ok(at) => self.members[at] = member,
            Err(at) => self.members.insert(at, member),
        }
    }

    /// Takes a member away.
    pub fn take(&mut self, user: &UserId) -> Option<Member> {
        self.place(user).ok().map(|at| self.members.remove(at))
    }

    /// What it shows of itself.
    pub fn info(&self) -> v1::GroupInfo {
        v1::GroupInfo {
            name: self.name.clone(),
            description: self.description.clone(),
            // Checked when it came in.
            photo: (!self.photo.is_empty())
                .then(|| v1::Media::decode(self.photo.clone()).unwrap_or_default()),
            members: self.members.len() as u32,
            admins_post: self.settings.admins_post,
            admins_edit: self.settings.admins_edit,
            admins_add: self.settings.admins_add,
        }
    }

    /// All that its members may know of it.
    pub fn snapshot(&self, id: &GroupId) -> v1::Group {
        let member = |member: &Member| v1::GroupMember { user: member.user.to_string(), admin: member.admin };
        v1::Group {
            group: id.to_string(),
            info: Some(self.info()),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Settings { admins_post, admins_edit, admins_add } = self.settings;
        let flags = u8::from(self.exists) * EXISTS
            + u8::from(admins_post) * ADMINS_POST
            + u8::from(admins_edit) * ADMINS_EDIT
            + u8::from(admins_add) * ADMINS_ADD;
        out.extend_from_slice(&[VERSION, flags]);
        let creator = self.creator.as_ref().map_or(&b""[..], UserId::as_bytes);
        for text in
            [self.name.as_bytes(), self.description.as_bytes(), &self.photo, self.invite.as_bytes(), creator]
        {
            put_bytes(out, text);
        }
        put_number(out, self.members.len() as u64);
        for Member { user, life, admin, since } in &self.members {
            put_bytes(out, user.as_bytes());
            put_number(out, u64::from(*life));
            out.push(u8::from(*admin) * ADMIN);
            put_number(out, since.0);
        }
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no group.
    pub fn decode(stored: &[u8]) -> Result<Group, DecodeError> {
        codec::versioned("group", VERSION, stored, |input| {
            let flags = input.byte()?;
            let has = |flag| flags & flag != 0;
            let settings = Settings {
                admins_post: has(ADMINS_POST),
                admins_edit: has(ADMINS_EDIT),
                admins_add: has(ADMINS_ADD),
            };
            let mut group = Group {
                exists: has(EXISTS),
                name: input.text()?.to_owned(),
                description: input.text()?.to_owned(),
                photo: Bytes::copy_from_slice(input.bytes()?),
                settings,
                invite: input.text()?.to_owned(),
                creator: None,
                members: Vec::new(),
            };
            let creator = input.text()?;
            if !creator.is_empty() {
                group.creator = Some(UserId::parse(creator).ok()?);
            }
            for _ in 0..input.number()? {
                group.members.push(member(input)?);
            }
            let known = flags & !(EXISTS | ADMINS_POST | ADMINS_EDIT | ADMINS_ADD) == 0;
            let sorted = group.members.is_sorted_by(|a, b| a.user < b.user);
            (known && sorted).then_some(group)
        })
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.name.capacity()
            + self.description.capacity()
            + self.photo.len()
            + self.invite.capacity()
            + self.members.capacity() * size_of::<Member>()
    }
}

fn member(input: &mut Input<'_>) -> Option<Member> {
    let user = UserId::parse(input.text()?).ok()?;
    let life = u32::try_from(input.number()?).ok()?;
    let flags = input.byte()?;
    let member = Member { user, life, admin: flags & ADMIN != 0, since: Seq(input.number()?) };
    (flags & !ADMIN == 0).then_some(member)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn arbitrary() -> impl Strategy<Value = Group> {
        let user = || "[A-Za-z0-9_-]{1,64}".prop_map(|id| UserId::parse(&id).unwrap());
        let member = (user(), any::<(u32, bool, u64)>());
        let members = prop::collection::vec(member, 0..5);
        let photo = prop::collection::vec(any::<u8>(), 0..9);
        let texts = (any::<[String; 2]>(), "[a-z]{0,9}");
        (any::<[bool; 4]>(), texts, photo, prop::option::of(user()), members).prop_map(
            |(
                [exists, admins_post, admins_edit, admins_add],
                ([name, description], invite),
                photo,
                creator,
                members,
            )| {
                let settings = Settings { admins_post, admins_edit, admins_add };
                let mut group = Group {
                    exists,
                    name,
                    description,
                    photo: photo.into(),
                    settings,
                    invite,
                    creator,
                    members: Vec::new(),
                };
                for (user, (life, admin, since)) in members {
                    group.put(Member { user, life, admin, since: Seq(since) });
                }
                group
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(group in arbitrary()) {
            let mut stored = Vec::new();
            group.encode(&mut stored);
            prop_assert_eq!(Group::decode(&stored), Ok(group));
            prop_assert!(Group::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Group::decode(&[&[VERSION][..], &bytes].concat());
        }

        #[test]
        fn members_are_found_until_they_are_taken(names in prop::collection::btree_set("[a-z]{1,3}", 0..40), other in "[A-Z]") {
            let user = |name: &str| UserId::parse(name).unwrap();
            let mut group = Group::default();
            for (at, name) in names.iter().rev().enumerate() {
                group.put(Member { user: user(name), life: 0, admin: false, since: Seq(at as u64) });
            }
            for name in &names {
                prop_assert!(group.member(&user(name)).is_some());
            }
            prop_assert!(group.member(&user(&other)).is_none() && group.take(&user(&other)).is_none());
            for name in &names {
                prop_assert_eq!(group.take(&user(name)).map(|member| member.user), Some(user(name)));
            }
            prop_assert!(group.members.is_empty());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(Group::decode(&[2]), Err(DecodeError::Newer { what: "group", found: 2, known: 1 }));
    }
}
