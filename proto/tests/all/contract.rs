//! `topics.md` against the code: whoever changes a topic, a payload, a code or a limit changes the document too.
//!
//! Each test reads one part of the document and compares it, both ways, with what the code says. A part that is a
//! list is printed on failure as it should be.

use std::collections::BTreeSet;
use std::fmt::Write;

use chasqui_proto::limits::PROTOCOL;
use chasqui_proto::topic::ROWS;
use chasqui_proto::{Class, DESCRIPTORS, Direction, ErrorCode, Topic, Verb, json, v1};
use prost::Message;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../topics.md");
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part under a heading, up to the next heading of the same or a higher level.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let from =
        document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("topics.md has no {heading:?}"));
    let body = &document[from + heading.len() + 2..];
    let level = heading.split(' ').next().unwrap_or_default().len();
    let end = (1..=level).filter_map(|n| body.find(&format!("\n{} ", "#".repeat(n)))).min();
    &body[..end.unwrap_or(body.len())]
}

/// The cells of the first table in a part, without its head.
fn table(part: &str) -> Vec<Vec<String>> {
    part.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn render(rows: &[Vec<String>]) -> String {
    rows.iter().fold(String::new(), |text, row| format!("{text}| {} |\n", row.join(" | ")))
}

#[track_caller]
fn assert_table(heading: &str, expected: &[Vec<String>]) {
    let written = table(section(&document(), heading));
    assert!(written == expected, "topics.md, {heading}: the rows should be\n{}", render(expected));
}

/// A topic of a pattern, with an id for each variable level.
pub(crate) fn sample(pattern: &str) -> String {
    let level = |level: &str| match level {
        "{verb}" => "read".to_owned(),
        "#" => "broker/uptime".to_owned(),
        variable if variable.starts_with('{') => variable.trim_matches(['{', '}']).to_owned(),
        literal => literal.to_owned(),
    };
    pattern.split('/').map(level).collect::<Vec<_>>().join("/")
}

fn mark(built: bool) -> String {
    if built { String::new() } else { "**not built yet**".to_owned() }
}

#[test]
fn every_row_of_the_grammar_is_documented_and_every_documented_row_parses() {
    let expected: Vec<Vec<String>> = ROWS
        .iter()
        .map(|row| {
            let payload = match row.payload {
                "" if row.class == Class::Command => "one per verb".to_owned(),
                "" => "text".to_owned(),
                name => format!("`{name}`"),
            };
            vec![
                format!("`{}`", row.pattern),
                if row.direction == Direction::Publish { "publish" } else { "subscribe" }.to_owned(),
                row.class.name().to_owned(),
                payload,
                if row.json { "yes" } else { "" }.to_owned(),
                mark(row.built),
            ]
        })
        .collect();
    assert_table("### The table", &expected);
    for cells in table(section(&document(), "### The table")) {
        let pattern = cells[0].trim_matches('`');
        let topic = Topic::parse(&sample(pattern)).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(topic.row().pattern, pattern);
    }
}

#[test]
fn every_verb_is_documented() {
    let expected: Vec<Vec<String>> = Verb::ALL
        .iter()
        .map(|verb| vec![format!("`do/{}`", verb.name()), format!("`{}`", verb.payload())])
        .collect();
    let written: Vec<Vec<String>> = table(section(&document(), "### Verbs"))
        .into_iter()
        .map(|mut cells| {
            cells.remove(2);
            cells
        })
        .collect();
    assert!(
        written == expected,
        "topics.md, Verbs: without the third column it should be\n{}",
        render(&expected)
    );
}

/// An example means what it says if reading it and writing it again changes nothing: no field is unknown.
fn round_trip(message: &str, example: &str) -> Result<Vec<u8>, json::JsonError> {
    macro_rules! by_name {
        ($($name:ident),+) => {
            match message {
                $(stringify!($name) => json::encode(&json::decode::<v1::$name>(example.as_bytes())?),)+
                _ => panic!("topics.md has an example of {message}, which this test does not know"),
            }
        };
    }
    by_name!(
        Send,
        Event,
        Read,
        Played,
        Edit,
        React,
        History,
        Delete,
        PinMessage,
        SetTimer,
        Star,
        Starred,
        Devices,
        DeviceRemove,
        Settings,
        Chat,
        Sync,
        Reply,
        Receipt,
        Typing,
        Presence,
        Profile,
        GroupInfo,
        GroupCreate,
        GroupUpdate,
        GroupConfigure,
        GroupUsers,
        GroupNamed,
        GroupInvite,
        GroupJoin,
        ContactUsers,
        BlockUser,
        ContactList,
        Report
    )
}

#[test]
fn every_example_is_the_message_it_says_and_every_payload_has_one() {
    let document = document();
    let mut shown = BTreeSet::new();
    let mut parts = document.split("```json chasqui.v1.");
    parts.next();
    for part in parts {
        let (message, rest) = part.split_once('\n').expect("a fence's first line ends");
        let example = rest.split("```").next().expect("split gives at least one part");
        let again =
            round_trip(message, example).unwrap_or_else(|error| panic!("{message}: {error}\n{example}"));
        let as_value =
            |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("it was read before");
        assert_eq!(
            as_value(&again),
            as_value(example.as_bytes()),
            "{message}: not canonical, or a field is unknown"
        );
        shown.insert(message.to_owned());
    }
    let mut needed: BTreeSet<String> = ROWS.iter().map(|row| row.payload.to_owned()).collect();
    needed.extend(Verb::ALL.iter().map(|verb| verb.payload().to_owned()));
    needed.remove("");
    assert_eq!(shown, needed, "one example at least for each payload");
}

#[test]
fn every_error_is_documented() {
    let hex = |code: u8| format!("0x{code:02X}");
    let expected: Vec<Vec<String>> = ErrorCode::ALL
        .iter()
        .skip(1)
        .map(|code| {
            vec![
                format!("`{}`", code.name()),
                hex(code.puback()),
                code.suback().map(hex).unwrap_or_default(),
                code.http().to_string(),
                if code.is_temporary() { "yes" } else { "" }.to_owned(),
                code.sentence().to_owned(),
            ]
        })
        .collect();
    assert_table("## Errors", &expected);
}

#[test]
fn every_limit_is_documented() {
    let expected: Vec<Vec<String>> = PROTOCOL
        .iter()
        .map(|limit| vec![format!("`{}`", limit.name), grouped(limit.value), limit.meaning.to_owned()])
        .collect();
    assert_table("## Limits", &expected);
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn every_message_field_and_number_is_documented() {
    let part = section(&document(), "## Messages").to_owned();
    let written =
        part.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    let expected = listing();
    assert!(written == expected, "topics.md, Messages: the listing should be\n{expected}");
}

fn listing() -> String {
    let files = Files::decode(DESCRIPTORS).expect("the build wrote it");
    let mut out = String::new();
    for file in &files.file {
        for message in &file.message {
            list(&mut out, "", message);
        }
        for kind in &file.enums {
            list_enum(&mut out, "", kind);
        }
    }
    out
}

fn list(out: &mut String, within: &str, message: &MessageType) {
    let name = format!("{within}{}", message.name);
    writeln!(out, "{name}").expect("a string takes it");
    for field in &message.field {
        let kind = match field.type_name.rsplit_once("v1.") {
            Some((_, name)) => name,
            None => field.scalar(),
        };
        let repeated = if field.label == 3 { "repeated " } else { "" };
        writeln!(out, "  {} {} {repeated}{kind}", field.number, field.name).expect("a string takes it");
    }
    for nested in &message.nested {
        list(out, &format!("{name}."), nested);
    }
    for kind in &message.enums {
        list_enum(out, &format!("{name}."), kind);
    }
}

fn list_enum(out: &mut String, within: &str, kind: &EnumType) {
    let values: Vec<String> =
        kind.value.iter().map(|value| format!("{} {}", value.number, value.name)).collect();
    writeln!(out, "{within}{}: {}", kind.name, values.join(", ")).expect("a string takes it");
}

// The parts of google.protobuf.FileDescriptorSet that the listing needs, by their numbers in descriptor.proto.

#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(message, repeated, tag = "4")]
    message: Vec<MessageType>,
    #[prost(message, repeated, tag = "5")]
    enums: Vec<EnumType>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageType {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    field: Vec<FieldType>,
    #[prost(message, repeated, tag = "3")]
    nested: Vec<MessageType>,
    #[prost(message, repeated, tag = "4")]
    enums: Vec<EnumType>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FieldType {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    number: i32,
    #[prost(int32, tag = "4")]
    label: i32,
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(string, tag = "6")]
    type_name: String,
}

impl FieldType {
    fn scalar(&self) -> &'static str {
        match self.kind {
            1 => "double",
            2 => "float",
            3 => "int64",
            4 => "uint64",
            5 => "int32",
            8 => "bool",
            9 => "string",
            12 => "bytes",
            13 => "uint32",
            other => panic!("{}: give type {other} of descriptor.proto its name here", self.name),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct EnumType {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    value: Vec<EnumValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EnumValue {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "2")]
    number: i32,
}
