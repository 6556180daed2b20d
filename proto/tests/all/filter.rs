//! Subscription filters, as alice's laptop, others and nobody ask for them.

use chasqui_proto::filter::{FilterRefusal, FilterScope, GroupFilter, OwnFilter, ParsedFilter, Reader};
use chasqui_proto::topic::{Direction, ROWS};
use chasqui_proto::{DeviceId, GroupId, RowKind, Topic, UserId};
use proptest::prelude::*;

fn parse_as(user: Option<&str>, device: Option<&str>, filter: &str) -> ParsedFilter {
    let user = user.map(|id| UserId::parse(id).unwrap());
    let device = device.map(|id| DeviceId::parse(id).unwrap());
    ParsedFilter::parse(filter, Reader { user: user.as_ref(), device: device.as_ref() })
}

fn alice(filter: &str) -> ParsedFilter {
    parse_as(Some("alice"), Some("laptop"), filter)
}

fn own(filter: &str) -> OwnFilter {
    match alice(filter).scope {
        FilterScope::Own(own) => own,
        other => panic!("{filter} is {other:?}"),
    }
}

fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Subscribable topics that exist beside alice; each is here to be reached or not.
const TOPICS: [&str; 14] = [
    "u/alice/in",
    "u/alice/g/climbers/in",
    "u/alice/d/laptop/reply",
    "u/alice/d/phone/reply",
    "u/alice/receipts/u/bob",
    "u/alice/receipts/g/climbers",
    "u/alice/typing/u/bob",
    "u/alice/typing/g/climbers/bob",
    "u/alice/presence/bob",
    "u/alice/profile",
    "u/bob/in",
    "u/bob/profile",
    "u/bob/receipts/u/alice",
    "g/climbers/in",
];

#[test]
fn filters_of_ones_own_reach_what_they_match_and_one_may_see() {
    let all = &[0, 1, 2, 4, 5, 6, 7, 9][..];
    let with_json = &[0, 1, 2, 4, 5][..];
    let table = [
        ("u/alice/#", all),
        ("u/alice/in", &[0]),
        ("u/alice/in/#", &[0]),
        ("u/alice/+", &[0, 9]),
        ("u/alice/+/#", all),
        ("u/alice/+/+/in", &[1]),
        ("u/alice/g/#", &[1]),
        ("u/alice/g/climbers/in", &[1]),
        ("u/alice/g/divers/in", &[]),
        ("u/alice/d/laptop/reply", &[2]),
        ("u/alice/d/+/reply", &[2]),
        ("u/alice/d/#", &[2]),
        ("u/alice/receipts/#", &[4, 5]),
        ("u/alice/receipts/u/+", &[4]),
        ("u/alice/receipts/+/climbers", &[5]),
        ("u/alice/receipts/u/carol", &[]),
        ("u/alice/typing/#", &[6, 7]),
        ("u/alice/+/u/bob", &[4, 6]),
        ("u/alice/profile", &[9]),
        ("json/u/alice/#", with_json),
        ("json/u/alice/in", &[0]),
        ("json/u/alice/+", &[0]),
    ];
    for (filter, reached) in table {
        let parsed = alice(filter);
        assert_eq!(parsed.json, filter.starts_with("json/"), "{filter}");
        let own = own(filter);
        let found: Vec<usize> = (0..TOPICS.len()).filter(|at| own.matches(&topic(TOPICS[*at]))).collect();
        assert_eq!(found, reached, "{filter}");
        assert_eq!(own.covers_in(), reached.contains(&0), "{filter}");
        assert_eq!(own.as_str(), filter.trim_start_matches("json/"));
    }
}

#[test]
fn filters_that_reach_nothing_one_may_see_are_refused_with_the_reason() {
    use FilterRefusal::{Forbidden, NoRow, PresenceByName, PublishOnly, Shared};
    let table = [
        ("u/bob/in", Forbidden),
        ("u/nobody/in", Forbidden),
        ("u/+/in", Forbidden),
        ("u/#", Forbidden),
        ("u/+", Forbidden),
        ("u/+/profile", Forbidden),
        ("u/bob/#", Forbidden),
        ("u/bob", Forbidden),
        ("u/al+ice/in", Forbidden),
        ("json/u/bob/in", Forbidden),
        ("json/u/+/in", Forbidden),
        ("json/u/bob/profile", Forbidden),
        ("u/alice/d/phone/reply", Forbidden),
        ("u", NoRow),
        ("u/alice", NoRow),
        ("u/alice/", NoRow),
        ("u/alice/in/", NoRow),
        ("u/alice/in/+", NoRow),
        ("u/alice/inbox", NoRow),
        ("u/alice/receipts/u/a b", NoRow),
        ("u/alice/presence/b b", NoRow),
        ("g", NoRow),
        ("g/climbers", NoRow),
        ("g/cl mbers/in", NoRow),
        ("json", NoRow),
        ("json/#", NoRow),
        ("json/+/alice/in", NoRow),
        ("json/sensors/1", NoRow),
        ("json/json/u/alice/in", NoRow),
        ("json/$SYS/#", NoRow),
        ("json/u/alice/profile", NoRow),
        ("json/u/alice/typing/#", NoRow),
        ("json/g/climbers/info", NoRow),
        ("u/alice/send", PublishOnly),
        ("g/climbers/send", PublishOnly),
        ("do/read", PublishOnly),
        ("do/#", PublishOnly),
        ("json/do/#", PublishOnly),
        ("u/alice/presence/+", PresenceByName),
        ("u/alice/presence/#", PresenceByName),
        ("u/alice/presence", NoRow),
        ("json/u/alice/presence/+", PresenceByName),
        ("u/alice/presence/bob/#", PresenceByName),
        ("u/alice/+/bob", PresenceByName),
        ("$share/x/u/alice/in", Shared),
        ("$share/x/u/#", Shared),
        ("$share/x/json/u/alice/in", Shared),
        ("$share/x/g/climbers/in", Shared),
        ("$share/x/do/read", Shared),
        ("$share/x/$SYS/#", Shared),
    ];
    for (filter, why) in table {
        assert_eq!(alice(filter).scope, FilterScope::Refused(why), "{filter}");
    }
}

#[test]
fn a_first_level_that_is_no_root_of_ours_is_generic() {
    for filter in [
        "#",
        "+",
        "+/alice/in",
        "+/+/in",
        "+/#",
        "/u/alice/in",
        "sensors/#",
        "$share/x/#",
        "$share/x/+/alice/in",
        "$share/x/sensors/1",
        "$share/x",
    ] {
        assert_eq!(alice(filter), ParsedFilter { json: false, scope: FilterScope::Generic }, "{filter}");
        assert_eq!(parse_as(None, None, filter).scope, FilterScope::Generic, "{filter}");
    }
}

#[test]
fn who_one_is_decides() {
    for filter in ["u/alice/in", "u/alice/#", "u/bob/profile", "g/climbers/in", "json/u/alice/in"] {
        let anonymous = parse_as(None, Some("laptop"), filter).scope;
        assert_eq!(anonymous, FilterScope::Refused(FilterRefusal::Anonymous), "{filter}");
        let no_device = parse_as(Some("alice"), None, filter).scope;
        assert_eq!(no_device, FilterScope::Refused(FilterRefusal::NotADevice), "{filter}");
    }
    let bob = parse_as(Some("bob"), Some("laptop"), "u/alice/in").scope;
    assert_eq!(bob, FilterScope::Refused(FilterRefusal::Forbidden));
    let phone = parse_as(Some("alice"), Some("phone"), "u/alice/d/laptop/reply").scope;
    assert_eq!(phone, FilterScope::Refused(FilterRefusal::Forbidden));
}

#[test]
fn what_is_asked_for_by_name() {
    let bob = UserId::parse("bob").unwrap();
    for (filter, json) in [("u/alice/presence/bob", false), ("json/u/alice/presence/bob", true)] {
        let scope = FilterScope::Presence { contact: bob.clone() };
        assert_eq!(alice(filter), ParsedFilter { json, scope }, "{filter}");
    }
    assert_eq!(alice("u/bob/profile").scope, FilterScope::Profile { user: bob });
    assert_eq!(alice("$SYS/#"), ParsedFilter { json: false, scope: FilterScope::Sys });
    assert_eq!(alice("$SYS/broker/uptime").scope, FilterScope::Sys);
}

#[test]
fn groups_by_name_and_by_wildcard() {
    let climbers = || Some(GroupId::parse("climbers").unwrap());
    let table = [
        ("g/climbers/in", climbers(), true, false),
        ("g/climbers/info", climbers(), false, true),
        ("g/climbers/+", climbers(), true, true),
        ("g/climbers/#", climbers(), true, true),
        ("json/g/climbers/#", climbers(), true, false),
        ("g/+/in", None, true, false),
        ("g/#", None, true, true),
    ];
    for (filter, group, log, info) in table {
        let expected = GroupFilter { group, log, info };
        assert_eq!(alice(filter).scope, FilterScope::Group(expected.clone()), "{filter}");
        assert_eq!(expected.matches(&topic("g/climbers/in")), log, "{filter}");
        assert_eq!(expected.matches(&topic("g/climbers/info")), info, "{filter}");
        assert_eq!(expected.matches(&topic("g/divers/in")), log && expected.group.is_none(), "{filter}");
        assert!(!expected.matches(&topic("u/alice/in")));
    }
}

proptest! {
    /// Whatever alice's laptop asks for, nothing of another user's, another device's or of presence comes with it.
    #[test]
    fn no_filter_reaches_what_is_not_ones_own(
        filter in "(json/)?(u|g|\\+|#)(/(\\+|alice|bob|in|d|laptop|phone|reply|receipts|presence|typing|u|g|climbers|profile)){0,5}(/#)?"
    ) {
        let mut reached: Vec<&str> = Vec::new();
        if let FilterScope::Own(own) = alice(&filter).scope {
            reached.extend(TOPICS.iter().copied().filter(|name| own.matches(&topic(name))));
            // A granted filter is one that something can come of.
            let rows = ROWS.iter().filter(|row| own.reaches(row.kind));
            prop_assert!(rows.clone().count() > 0);
            prop_assert!(rows.clone().all(|row| row.direction == Direction::Subscribe));
            prop_assert!(!own.reaches(RowKind::Presence));
        }
        for name in reached {
            prop_assert!(name.starts_with("u/alice/") && !name.contains("presence") && !name.contains("phone"), "{filter} → {name}");
        }
    }
}
