//! What is asked of groups next: see `draw.rs`.

use super::ask::What;
use super::crowds::is_crowd;
use super::draw::{Draw, GROUPS};
use super::state::Person;
use chasqui_proto::topic::Verb;
use chasqui_proto::v1;
use rand::RngExt;

impl Draw<'_> {
    /// A group, and who asks something of it: somebody in charge, a member, or anybody.
    fn group_and(&mut self, user: &mut String, in_charge: u32) -> Option<String> {
        let chat = if self.chance(88) { self.group_of(user)? } else { self.any_group()? };
        let members = self.model.members(&chat);
        let members: Vec<Person> = members.into_iter().map(|member| member.person).collect();
        if self.chance(in_charge) {
            let may: Vec<Person> =
                members.iter().filter(|member| self.model.is_in_charge(&chat, member)).cloned().collect();
            if let Some(who) = self.pick(&may) {
                *user = who.name;
            }
        } else if self.chance(70) {
            if let Some(who) = self.pick(&members) {
                *user = who.name;
            }
        } else {
            *user = self.somebody()?;
        }
        Some(chat)
    }

    pub(crate) fn of_a_group(&mut self, verb: Verb, user: &mut String) -> Option<What> {
        if verb == Verb::GroupCreate {
            return Some(self.create());
        }
        let group = |chat: &str| chat.trim_start_matches("g/").to_owned();
        let in_charge = match verb {
            Verb::GroupLeave | Verb::GroupGet | Verb::GroupJoin => 10,
            _ => 60,
        };
        let chat = self.group_and(user, in_charge)?;
        let id = group(&chat);
        let users = |draw: &mut Self, of_members: u32| {
            if draw.chance(3) {
                return Vec::new();
            }
            let members: Vec<String> =
                draw.model.members(&chat).into_iter().map(|member| member.person.name).collect();
            if draw.chance(of_members) {
                draw.pick(&members).into_iter().collect()
            } else {
                draw.some_users()
            }
        };
        Some(match verb {
            Verb::GroupUpdate => {
                let mut update = v1::GroupUpdate { group: id, ..v1::GroupUpdate::default() };
                match self.rng.random_range(0..6) {
                    0 | 1 => update.name = Some(format!("name {}", self.rng.random_range(0..5))),
                    2 => update.description = Some(self.text()),
                    3 => {
                        let url = if self.rng.random() { "https://example.org/1" } else { "" };
                        update.photo = Some(v1::Media { url: url.to_owned(), ..v1::Media::default() });
                    }
                    4 => update.name = Some(" ".to_owned()),
                    _ => {}
                }
                What::Update(update)
            }
            Verb::GroupSettings => {
                let settings = (!self.chance(5)).then(|| v1::GroupSettings {
                    admins_post: self.chance(40).then(|| self.chance(30)),
                    admins_edit: self.chance(40).then(|| self.chance(30)),
                    admins_add: self.chance(40).then(|| self.chance(30)),
                });
                What::Configure(v1::GroupConfigure { group: id, settings, request_id: 0 })
            }
            Verb::GroupAdd => {
                // A crowd stays one.
                let users = if is_crowd(&chat) && self.chance(60) { self.all() } else { users(self, 10) };
                What::Add(v1::GroupUsers { group: id, users, request_id: 0 })
            }
            Verb::GroupRemove => {
                What::Remove(v1::GroupUsers { group: id, users: users(self, 80), request_id: 0 })
            }
            Verb::GroupPromote => {
                What::Promote(v1::GroupUsers { group: id, users: users(self, 80), request_id: 0 })
            }
            Verb::GroupDemote => {
                What::Demote(v1::GroupUsers { group: id, users: users(self, 85), request_id: 0 })
            }
            Verb::GroupLeave => What::Leave(v1::GroupNamed { group: id, request_id: 0 }),
            Verb::GroupGet => What::Get(v1::GroupNamed { group: id, request_id: 0 }),
            Verb::GroupInvite => {
                let action = self.rng.random_range(0..3);
                What::Invite(v1::GroupInvite { group: id, action, request_id: 0 })
            }
            Verb::GroupJoin => {
                let secret = self.model.groups.get(&chat).map_or("", |group| &group.invite);
                let invite = if self.chance(80) { secret.to_owned() } else { "a guess".to_owned() };
                if self.chance(60) {
                    *user = self.somebody()?;
                }
                What::Join(v1::GroupJoin { group: id, invite, request_id: 0 })
            }
            other => panic!("the model does not know do/{}: see rules.rs", other.name()),
        })
    }

    fn create(&mut self) -> What {
        let group =
            if self.chance(25) { String::new() } else { format!("g{}", self.rng.random_range(0..GROUPS)) };
        let name =
            if self.chance(3) { String::new() } else { format!("name {}", self.rng.random_range(0..5)) };
        let settings = self.chance(30).then(|| v1::GroupSettings {
            admins_post: Some(self.chance(20)),
            admins_edit: None,
            admins_add: Some(self.chance(20)),
        });
        let members = if self.chance(10) { Vec::new() } else { self.some_users() };
        let description = if self.chance(30) { self.text() } else { String::new() };
        What::Create(v1::GroupCreate {
            group,
            name,
            description,
            members,
            settings,
            ..v1::GroupCreate::default()
        })
    }
}
