//! Refusals: every code has legal numbers on each side and a reason that names it.

use chasqui_proto::error::Refusal;
use chasqui_proto::limits::REASON_MAX_BYTES;
use chasqui_proto::{ErrorCode, FilterRefusal, TopicError};

#[test]
fn codes_are_numbered_without_holes_and_listed_once() {
    for (number, code) in ErrorCode::ALL.into_iter().enumerate() {
        assert_eq!(code as usize, number);
        assert_eq!(ErrorCode::from_str_name(code.name()), Some(code));
    }
    let next = i32::try_from(ErrorCode::ALL.len()).expect("there are few codes");
    assert!(ErrorCode::try_from(next).is_err(), "a code is missing in ErrorCode::ALL");
}

#[test]
fn reason_codes_are_those_the_standard_allows() {
    for code in ErrorCode::ALL.into_iter().skip(1) {
        assert!([0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99].contains(&code.puback()), "{}", code.name());
        let suback = code.suback().unwrap();
        assert!([0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2].contains(&suback), "{}", code.name());
        assert!((400..600).contains(&code.http()), "{}", code.name());
        assert!(code.sentence().ends_with('.'), "{}", code.name());
    }
    assert_eq!((ErrorCode::Ok.puback(), ErrorCode::Ok.suback(), ErrorCode::Ok.http()), (0, None, 200));
}

#[test]
fn an_unknown_and_a_forbidden_user_are_refused_alike() {
    assert_eq!(ErrorCode::NoSuchUser.suback(), ErrorCode::Forbidden.suback());
}

#[test]
fn a_reason_names_its_code_and_is_cut_between_characters() {
    assert_eq!(
        Refusal::from(ErrorCode::NoSuchUser).reason(),
        "NO_SUCH_USER: There is no user of this name to send to."
    );
    let refusal = Refusal::because(ErrorCode::Forbidden, "é".repeat(REASON_MAX_BYTES));
    let reason = refusal.reason();
    assert!(reason.starts_with("FORBIDDEN: é"));
    assert!(reason.len() <= REASON_MAX_BYTES && reason.len() > REASON_MAX_BYTES - 2);
    assert_eq!(Refusal::retry_after(ErrorCode::RateLimited, 750).retry_after_ms, 750);
}

#[test]
fn what_parsers_refuse_keeps_its_own_words() {
    let refusal = Refusal::from(TopicError::UnknownVerb);
    assert_eq!(refusal.code, ErrorCode::InvalidTopic);
    assert!(refusal.reason().contains("verb"));
    assert_eq!(Refusal::from(FilterRefusal::Shared).code, ErrorCode::SharedNotSupported);
    assert!(Refusal::from(FilterRefusal::PublishOnly).reason().contains("u/{me}/in"));
}
