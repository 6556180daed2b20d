//! The service's rules that are easy to get wrong, each shown over real sockets, for both versions of MQTT where it holds for both.

mod support;

#[path = "rules/access.rs"]
mod access;
#[path = "rules/access_rules.rs"]
mod access_rules;
#[path = "rules/acts.rs"]
mod acts;
#[path = "rules/blocks.rs"]
mod blocks;
#[path = "rules/chat_complaints.rs"]
mod chat_complaints;
#[path = "rules/complaints.rs"]
mod complaints;
#[path = "rules/contacts.rs"]
mod contacts;
#[path = "rules/delete.rs"]
mod delete;
#[path = "rules/delivered.rs"]
mod delivered;
#[path = "rules/devices.rs"]
mod devices;
#[path = "rules/disappear.rs"]
mod disappear;
#[path = "rules/durability.rs"]
mod durability;
#[path = "rules/exactly_once.rs"]
mod exactly_once;
#[path = "rules/foreign_client.rs"]
mod foreign_client;
#[path = "rules/group_log.rs"]
mod group_log;
#[path = "rules/groups.rs"]
mod groups;
#[path = "rules/large_messages.rs"]
mod large_messages;
#[path = "rules/limits.rs"]
mod limits;
#[path = "rules/operators.rs"]
mod operators;
#[path = "rules/overlapping.rs"]
mod overlapping;
#[path = "rules/own_devices.rs"]
mod own_devices;
#[path = "rules/packet_ids.rs"]
mod packet_ids;
#[path = "rules/presence.rs"]
mod presence;
#[path = "rules/rates.rs"]
mod rates;
#[path = "rules/read_receipts.rs"]
mod read_receipts;
#[path = "rules/refusals.rs"]
mod refusals;
#[path = "rules/replies.rs"]
mod replies;
#[path = "rules/reports.rs"]
mod reports;
#[path = "rules/retries.rs"]
mod retries;
#[path = "rules/shared.rs"]
mod shared;
#[path = "rules/stars.rs"]
mod stars;
#[path = "rules/state.rs"]
mod state;
#[path = "rules/sync.rs"]
mod sync;
#[path = "rules/typing.rs"]
mod typing;
#[path = "rules/undelivered_floor.rs"]
mod undelivered_floor;
#[path = "rules/unknown_users.rs"]
mod unknown_users;
#[path = "rules/verbs.rs"]
mod verbs;
#[path = "rules/who_may_what.rs"]
mod who_may_what;
#[path = "rules/wills.rs"]
mod wills;
