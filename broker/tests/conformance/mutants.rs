//! Breaks one rule of the broker at a time, and sees that the test of that rule fails: `make mutations`.
//!
//! Each line names a mutation (`broker/src/mutation.rs`), the statement it breaks, and the test that is to notice. This
//! binary then runs that test of itself in a process of its own, with the rule broken and, first, with all rules kept.

use crate::table::shows;
use chasqui_broker::mutation::Mutation;
use std::collections::BTreeSet;
use std::process::{Command, Output};

/// A statement of one standard.
enum Of {
    V311(&'static str),
    V5(&'static str),
}

use Of::{V5, V311};

/// What is broken, which statement that breaks, and who notices.
const MUTANTS: &[(Mutation, Of, &str)] = &[
    (Mutation::TakesNul, V311("1.5.3-2"), "format::a_string_with_u_0000_closes"),
    (Mutation::SkipsByteOrderMark, V5("1.5.4-3"), "format::a_byte_order_mark_is_a_character_like_others"),
    (
        Mutation::TakesLongIntegers,
        V5("1.5.5-1"),
        "format::a_variable_byte_integer_has_no_more_bytes_than_it_needs",
    ),
    (Mutation::TakesAnyHeaderFlags, V311("2.2.2-2"), "format::wrong_header_flags_close"),
    (Mutation::TakesPacketIdZero, V311("2.3.1-1"), "format::packet_id_0_closes"),
    (Mutation::TakesAnyProtocolName, V311("3.1.2-1"), "connect::another_protocol_name_is_not_served"),
    (Mutation::SilentAboutLevel, V311("3.1.2-2"), "connect::another_protocol_level_is_refused"),
    (Mutation::TakesReservedConnectFlag, V5("3.1.2-3"), "connect::the_reserved_flag_closes"),
    (Mutation::TakesWillFlagsWithoutWill, V5("3.1.2-11"), "wills::will_qos_and_will_retain_need_a_will"),
    (Mutation::TakesPasswordAlone, V311("3.1.2-22"), "connect::a_password_without_a_user_name_is_for_5_only"),
    (
        Mutation::KeepsEmptyClientId,
        V311("3.1.3-8"),
        "connect::an_empty_client_id_needs_a_clean_session_on_3_1_1",
    ),
    (Mutation::TakesTrailingBytes, V311("3.1.4-1"), "connect::a_connect_against_the_format_is_not_let_in"),
    (Mutation::TakesLargePackets, V5("3.2.2-15"), "connect::a_packet_larger_than_the_server_takes_closes"),
    (
        Mutation::SendsLargePackets,
        V5("3.1.2-24"),
        "connect::no_packet_is_larger_than_the_client_takes_and_what_would_be_counts_as_sent",
    ),
    (Mutation::SendsNoShorterWords, V5("3.2.2-19"), "connack::words_are_left_out_where_they_do_not_fit"),
    (
        Mutation::SendsUnwantedProblems,
        V5("3.1.2-29"),
        "connect::no_problem_information_is_sent_to_who_asked_for_none",
    ),
    (
        Mutation::SaysSessionPresent,
        V311("3.2.2-3"),
        "connack::session_present_says_whether_there_was_a_session",
    ),
    (Mutation::TakesAnyReasonCode, V5("3.14.2-1"), "closing::a_disconnect_of_another_reason_code_closes"),
    (Mutation::MixesUpSuback, V311("2.3.1-7"), "format::suback_and_unsuback_carry_the_packet_id"),
    (Mutation::TakesNoFilter, V311("3.8.3-3"), "subscribe::without_a_filter_it_closes"),
    (
        Mutation::TakesReservedOptions,
        V5("3.8.3-5"),
        "subscribe::reserved_bits_and_qos_3_in_the_options_close",
    ),
    (Mutation::TakesNoLocalOnShared, V5("3.8.3-4"), "subscribe::no_local_on_a_shared_subscription_closes"),
    (Mutation::TakesDupWithQoS0, V311("3.3.1-2"), "publish::dup_with_qos_0_closes"),
    (Mutation::TakesWildcardInName, V311("3.3.2-2"), "topics::a_wildcard_in_a_topic_name_closes"),
    (Mutation::TakesWildcardInLevel, V5("4.7.1-2"), "topics::a_single_level_wildcard_fills_its_level"),
    (Mutation::TakesSubscriptionId, V5("3.3.4-6"), "publish::a_subscription_identifier_from_a_client_closes"),
    (Mutation::LosesContentType, V5("3.3.2-20"), "publish::properties_are_passed_on_unaltered_and_in_order"),
    (
        Mutation::LosesUserProperties,
        V5("3.3.2-17"),
        "publish::properties_are_passed_on_unaltered_and_in_order",
    ),
    (Mutation::ForgetsWaiting, V5("3.3.2-6"), "publish::the_expiry_that_is_left_goes_with_the_message"),
    (
        Mutation::ShowsDollarTopics,
        V311("4.7.2-1"),
        "topics::wildcards_do_not_match_topics_with_a_dollar_in_front",
    ),
    (Mutation::SetsDupOnNew, V311("3.3.1-3"), "publish::dup_is_not_passed_on"),
    (
        Mutation::RepeatsWithoutDup,
        V5("3.3.1-1"),
        "delivery::what_is_not_acknowledged_is_sent_again_with_its_id_and_dup_in_order",
    ),
    (Mutation::KeepsAtQoS0, V5("3.3.1-5"), "retained::a_retained_message_is_kept_with_its_qos"),
    (Mutation::KeepsEmpty, V311("3.3.1-11"), "retained::an_empty_retained_message_is_not_kept"),
    (
        Mutation::KeepsWithoutRetain,
        V311("3.3.1-12"),
        "retained::without_retain_nothing_is_kept_replaced_or_removed",
    ),
    (
        Mutation::SendsKeptWithoutRetain,
        V311("3.3.1-8"),
        "retained::a_message_for_a_new_subscription_has_retain",
    ),
    (
        Mutation::PassesRetainOn,
        V311("3.3.1-9"),
        "retained::retain_is_not_passed_on_to_an_established_subscription",
    ),
    (Mutation::IgnoresRetainAsPublished, V5("3.3.1-13"), "retained::retain_as_published_passes_the_flag_on"),
    (
        Mutation::IgnoresRetainHandling1,
        V5("3.3.1-10"),
        "retained::retain_handling_1_sends_what_is_kept_to_a_new_subscription_alone",
    ),
    (
        Mutation::IgnoresRetainHandling2,
        V5("3.3.1-11"),
        "retained::retain_handling_2_sends_nothing_that_is_kept",
    ),
    (Mutation::SendsExpired, V5("3.3.2-5"), "publish::an_expired_message_is_not_delivered"),
    (Mutation::DeliversAsPublished, V311("3.8.4-6"), "subscribe::suback_grants_the_qos_that_is_kept"),
    (
        Mutation::DeliversAtLowestQoS,
        V311("3.3.5-1"),
        "publish::overlapping_subscriptions_deliver_at_the_highest_qos",
    ),
    (
        Mutation::SendsOneIdentifier,
        V5("3.3.4-4"),
        "publish::a_message_carries_the_identifiers_of_all_matching_subscriptions",
    ),
    (Mutation::IgnoresNoLocal, V5("3.8.3-3"), "subscribe::no_local_keeps_own_messages_away_and_no_others"),
    (
        Mutation::KeepsFirstSubscription,
        V311("3.8.4-3"),
        "subscribe::the_same_filter_replaces_the_subscription",
    ),
    (
        Mutation::TurnsSubackAround,
        V311("3.9.3-1"),
        "subscribe::several_filters_are_answered_as_one_each_in_its_place",
    ),
    (
        Mutation::UnsubscribesWhatIsCovered,
        V5("3.10.4-1"),
        "subscribe::unsubscribe_removes_exactly_the_filter_it_names",
    ),
    (
        Mutation::DeliversAfterUnsubscribe,
        V311("3.10.4-2"),
        "subscribe::after_unsubscribe_no_new_message_is_delivered",
    ),
    (Mutation::SendsTooMuch, V5("4.9.0-2"), "delivery::no_more_than_the_receive_maximum_is_in_flight"),
    (
        Mutation::TakesTooManyPublishes,
        V5("3.3.4-7"),
        "publish::more_publishes_at_once_than_the_receive_maximum_close",
    ),
    (
        Mutation::DeliversQoS2Twice,
        V311("4.3.3-2"),
        "qos2::a_repeated_qos_2_publish_is_answered_and_delivered_once",
    ),
    (
        Mutation::ForgetsWhatItReceived,
        V5("4.3.3-10"),
        "qos2::a_qos_2_publish_repeated_after_a_restart_is_delivered_once",
    ),
    (Mutation::MixesUpPubrel, V5("4.3.3-4"), "qos2::pubrec_is_answered_with_pubrel_and_its_packet_id"),
    (Mutation::ReleasesRefused, V5("4.4.0-2"), "delivery::a_message_that_was_refused_is_not_sent_again"),
    (Mutation::TakesAnyAlias, V5("3.3.2-9"), "alias::an_alias_above_the_maximum_closes"),
    (
        Mutation::SendsTooManyAliases,
        V5("3.3.2-11"),
        "alias::aliases_of_the_server_stay_within_the_maximum_of_the_client",
    ),
    (
        Mutation::SharesAsPublished,
        V5("4.8.2-3"),
        "shared::each_message_goes_to_one_member_at_its_granted_qos",
    ),
    (
        Mutation::HandsOnWhatWasBegun,
        V5("4.8.2-5"),
        "shared::a_qos_2_message_that_was_begun_goes_to_nobody_else_when_the_session_ends",
    ),
    (Mutation::AsksWithAnotherCode, V5("4.12.0-2"), "auth::the_server_asks_and_says_the_method_of_connect"),
    (Mutation::TakesAnotherMethod, V5("4.12.0-5"), "auth::an_answer_of_another_method_or_code_is_refused"),
    (Mutation::TakesTextFrames, V311("6.0.0-1"), "transport::a_text_frame_closes"),
    (Mutation::TakesAnySubprotocol, V5("6.0.0-3"), "transport::the_subprotocol_is_mqtt"),
    (Mutation::ChoosesNoSubprotocol, V311("6.0.0-4"), "transport::the_subprotocol_is_mqtt"),
    (Mutation::FoldsTopics, V311("4.7.3-4"), "topics::topics_are_compared_as_they_are"),
];

/// Runs one test in a process of its own.
fn run(test: &str, broken: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its binary"));
    command.args(["--exact", test, "--nocapture"]).env_remove("CHASQUI_MUTATION").env("RUST_BACKTRACE", "0");
    if let Some(name) = broken {
        command.env("CHASQUI_MUTATION", name);
    }
    command.output().expect("this binary runs")
}

fn says(output: &Output, result: &str) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(&format!("test result: {result}"))
}

#[test]
fn every_mutation_is_caught_by_the_test_of_its_rule() {
    let mut survivors = Vec::new();
    for (mutation, of, test) in MUTANTS {
        let name = format!("{mutation:?}");
        let named = match of {
            V311(number) => shows("3.1.1", number, test),
            V5(number) => shows("5.0", number, test),
        };
        assert!(named, "{name}: the row of this statement does not name {test}");
        let kept = run(test, None);
        assert!(says(&kept, "ok. 1 passed"), "{test} fails with nothing broken: {kept:?}");
        if !says(&run(test, Some(&name)), "FAILED. 0 passed; 1 failed") {
            survivors.push((name, test));
        }
    }
    assert!(survivors.is_empty(), "nobody notices these: {survivors:?}");
}

#[test]
fn every_mutation_has_its_line() {
    let lines: BTreeSet<String> = MUTANTS.iter().map(|(mutation, ..)| format!("{mutation:?}")).collect();
    assert_eq!(lines.len(), MUTANTS.len(), "a mutation is there twice");
    let all: BTreeSet<String> = Mutation::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(lines, all);
}
