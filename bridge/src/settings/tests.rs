//! Where a setting comes from, who wins, and what is refused.

use super::*;
use chasqui_proto::limits;

/// Settings from a file with this text, these variables and these flags.
fn load(
    file: Option<&str>,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = file.map(|text| {
        let path = dir.path().join("chasqui.toml");
        std::fs::write(&path, text).expect("the folder is writable");
        path
    });
    Settings::load(&Sources {
        config,
        variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: flags.iter().map(|(flag, key, value)| (*flag, *key, (*value).to_owned())).collect(),
    })
}

/// The sentence, with the temporary folder left out.
fn refusal(file: &str) -> String {
    let sentence = load(Some(file), &[], &[]).expect_err(file).to_string();
    match sentence.split_once("chasqui.toml") {
        Some((_, rest)) => format!("chasqui.toml{rest}"),
        None => sentence,
    }
}

#[test]
fn without_anything_the_defaults_hold() {
    let settings = load(None, &[], &[]).unwrap();
    assert_eq!(settings, Settings::default());
    assert!(settings.listen.0.iter().all(|address| address.ip().is_loopback()), "safe by default");
    assert!(!settings.dev && !settings.users.anonymous && !settings.users.auto_create);
}

#[test]
fn defaults_are_the_limits_of_the_protocol() {
    let settings = Settings::default();
    assert_eq!(settings.limits.packet_bytes.0, limits::PACKET_MAX_BYTES as u64);
    assert_eq!(settings.limits.connect_packet_bytes.0, limits::PACKET_BEFORE_CONNECT_MAX_BYTES as u64);
    assert_eq!(settings.limits.connect_wait.as_millis(), u128::from(limits::CONNECT_WAIT_MS));
    assert_eq!(settings.limits.topic_levels as usize, limits::TOPIC_MAX_LEVELS);
    assert_eq!(settings.sessions.inflight_window, u32::from(limits::WINDOW_V311));
    assert_eq!(settings.sessions.expiry_max.as_millis(), u128::from(limits::SESSION_EXPIRY_MAX_MS));
    assert_eq!(settings.storage.overlay_bytes.0, limits::OVERLAY_MAX_BYTES as u64);
    assert_eq!(settings.storage.overlay_age.as_millis(), u128::from(limits::OVERLAY_MAX_AGE_MS));
}

#[test]
fn bounds_keep_what_limits_rely_on() {
    let bounds = |key: &str| {
        let row = ROWS.iter().find(|row| row.key == key).expect("a setting of the table");
        row.bounds.expect("it has bounds")
    };
    let size = |text: &str| table::literal::<ByteSize>(text).0 as usize;
    let (least, most) = bounds("limits.packet_bytes");
    assert!(
        size(least) >= 4 * limits::SEND_MAX_BYTES + limits::TOPIC_MAX_BYTES,
        "the largest Send fits a packet"
    );
    assert!(size(most) <= limits::BATCH_MAX_BYTES, "the largest packet fits a batch");
    assert!(
        Settings::default().storage.segment_bytes.0 > limits::BATCH_MAX_BYTES as u64,
        "the largest batch fits a segment; where an operator wants smaller ones, it gets one of its own"
    );
    let levels: usize = bounds("limits.topic_levels").0.parse().expect("a number");
    assert!(levels >= limits::DEEPEST_TOPIC_LEVELS, "every topic of the contract can be published");
    let window: u16 = bounds("sessions.inflight_window").1.parse().expect("a window is 16 bits");
    assert!(window < limits::PACKET_ID_DISTANCE);
}

#[test]
fn every_default_and_bound_is_a_value_within_bounds() {
    for row in ROWS {
        let shown = (row.print)(&Settings::default());
        let text = shown.trim_matches(|c| "[]".contains(c)).trim_matches('"').to_owned();
        let mut settings = Settings::default();
        for value in
            [Some(text.as_str()), row.bounds.map(|b| b.0), row.bounds.map(|b| b.1)].into_iter().flatten()
        {
            assert_eq!(
                (row.set)(&mut settings, &Raw::Text(value.to_owned())),
                Ok(()),
                "{} = {value}",
                row.key
            );
        }
        assert!(
            !row.meaning.is_empty() && row.meaning.iter().all(|line| line.starts_with(' ')),
            "{}",
            row.key
        );
    }
}

#[test]
fn flags_beat_variables_beat_the_file_beats_the_default() {
    let file =
        "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n[limits]\nconnections = 10\n[log]\nlevel = \"warn\"\n";
    let variables =
        [("CHASQUI_LIMITS_CONNECTIONS", "20"), ("CHASQUI_LISTEN", "127.0.0.1:3"), ("PATH", "/bin")];
    let settings = load(Some(file), &variables, &[("--listen", "listen", "127.0.0.1:4")]).unwrap();
    assert_eq!(settings.log.level.0, "warn");
    assert_eq!(settings.limits.connections, 20);
    assert_eq!(settings.listen.0, ["127.0.0.1:4".parse().unwrap()]);
    assert_eq!(settings.sessions, Settings::default().sessions);
}

#[test]
fn a_variable_names_the_file_unless_a_flag_does() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.toml"), dir.path().join("two.toml"));
    std::fs::write(&one, "data = \"one\"").unwrap();
    std::fs::write(&two, "data = \"two\"").unwrap();
    let mut sources = Sources { variables: vec![(CONFIG_VARIABLE.into(), one.into())], ..Sources::default() };
    assert_eq!(Settings::load(&sources).unwrap().data, Path::new("one"));
    sources.config = Some(two);
    assert_eq!(Settings::load(&sources).unwrap().data, Path::new("two"));
}

#[test]
fn what_config_prints_is_a_file_with_the_same_effect() {
    let file = "data = 'a \"quoted\" \\folder'\nlisten = [\"127.0.0.1:3\", \"[::1]:4\"]\ndev = true\n[storage]\noverlay_age = \"1500 ms\"\n";
    for settings in [Settings::default(), load(Some(file), &[], &[]).unwrap()] {
        let printed = settings.to_toml();
        assert_eq!(load(Some(&printed), &[], &[]).unwrap(), settings, "{printed}");
        for row in ROWS {
            assert!(printed.contains(&row.variable()), "{} is missing", row.key);
        }
    }
}

#[test]
fn unknown_names_are_refused_with_their_place() {
    assert_eq!(
        refusal("\n[limits]\nconections = 5\n"),
        "chasqui.toml, line 3: there is no setting \"limits.conections\", did you mean \"limits.connections\"?; `chasqui config` shows them all"
    );
    assert_eq!(
        refusal("[quotas]\nwhatever = 5\n"),
        "chasqui.toml, line 2: there is no setting \"quotas.whatever\"; `chasqui config` shows them all"
    );
    assert_eq!(
        load(None, &[("CHASQUI_LISTEM", "127.0.0.1:1")], &[]).unwrap_err().to_string(),
        "the environment: there is no setting \"CHASQUI_LISTEM\", did you mean \"CHASQUI_LISTEN\"?; `chasqui config` shows them all"
    );
}

#[test]
fn values_that_will_not_do_are_refused_with_their_place() {
    assert_eq!(
        refusal("[storage]\noverlay_age = 5\n"),
        "chasqui.toml, line 2: storage.overlay_age: 5 will not do: write a time as a whole number and a unit, such as \"20 ms\", \"5 s\", \"2 hours\" or \"30 days\""
    );
    assert_eq!(
        refusal("[sessions]\n\ninflight_window = 0\n"),
        "chasqui.toml, line 3: sessions.inflight_window: 0 is out of bounds: write 1 to 32767"
    );
    assert_eq!(
        refusal("dev = \n"),
        "chasqui.toml, line 1: this is not TOML: string values must be quoted, expected literal string"
    );
    assert_eq!(
        load(None, &[("CHASQUI_DEV", "yes")], &[]).unwrap_err().to_string(),
        "the variable CHASQUI_DEV: \"yes\" will not do: write true or false"
    );
    let flag = load(None, &[], &[("--listen", "listen", "1883")]).unwrap_err().to_string();
    assert!(flag.starts_with("--listen: \"1883\" will not do: write an IP address and a port"), "{flag}");
    // A section is no value, and a value no section.
    assert!(refusal("limits = 3\n").contains("line 1: there is no setting \"limits\""));
    assert!(refusal("[data]\npath = \"x\"\n").contains("line 2: there is no setting \"data.path\""));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources { config: Some("/nonexistent/chasqui.toml".into()), ..Sources::default() };
    let sentence = Settings::load(&sources).unwrap_err().to_string();
    assert!(
        sentence.starts_with("the settings file /nonexistent/chasqui.toml cannot be read: "),
        "{sentence}"
    );
}

#[test]
fn dev_is_for_loopback_only() {
    for address in ["0.0.0.0:1883", "[::]:1883", "192.0.2.1:1883", "127.0.0.1:1883, 192.0.2.1:1883"] {
        let error = load(None, &[("CHASQUI_DEV", "true"), ("CHASQUI_LISTEN", address)], &[]).unwrap_err();
        assert!(matches!(error, SettingsError::DevOnOpenAddress(_)), "{address}: {error}");
        assert!(load(None, &[("CHASQUI_LISTEN", address)], &[]).is_ok(), "without dev any address is fine");
    }
    assert!(load(None, &[("CHASQUI_DEV", "true"), ("CHASQUI_LISTEN", "127.0.0.2:0,[::1]:0")], &[]).is_ok());
}

#[test]
fn what_belongs_to_others_is_not_taken_for_a_setting() {
    let others = [
        ("CHASQUI_SERVICE_HOST", "10.0.0.1"),
        ("CHASQUI_SERVICE_PORT_MQTT", "1883"),
        ("CHASQUI_PORT", "tcp://10.0.0.1:1883"),
        ("CHASQUI_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ("CHASQUI_BIN", "/usr/bin/chasqui"),
        ("LISTEN", "here"),
    ];
    assert_eq!(load(None, &others, &[]).unwrap(), Settings::default());
    for name in ["CHASQUI_DAT", "CHASQUI_CONFIGS", "CHASQUI_LIMITS_QUOTA", "CHASQUI_LOG_", "CHASQUI_LISTEN_"]
    {
        let error = load(None, &[(name, "1")], &[]).unwrap_err();
        assert!(matches!(error, SettingsError::Unknown { .. }), "{name}: {error}");
    }
}

const RULES: &str = r##"
dev = true

[[access]]
deny = "publish"
topics = ["alarms/#"]
clients = ["display-*", "odd \"id\""]

[[access]]
allow = "all"
topics = "home/%u/#"
users = ["bob", "al*"]
anonymous = true

[[access]]
allow = "subscribe"
topics = ["#", "$other/+"]
anonymous = false

[limits]
connections = 10
"##;

#[test]
fn rules_are_read_in_their_order_and_printed_as_they_were() {
    use crate::access::{Action, Effect};
    let settings = load(Some(RULES), &[], &[]).unwrap();
    let rules = &settings.access.0;
    let said: Vec<_> = rules.iter().map(|rule| (rule.effect, rule.action)).collect();
    let expected =
        [(Effect::Deny, Action::Publish), (Effect::Allow, Action::All), (Effect::Allow, Action::Subscribe)];
    assert_eq!(said, expected);
    let shown = |rule: usize| {
        let rule = &rules[rule];
        let globs = |globs: &[crate::access::Glob]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
        (globs(&rule.users), rule.anonymous, globs(&rule.clients))
    };
    assert_eq!(shown(0), (vec![], false, vec!["display-*".to_owned(), "odd \"id\"".to_owned()]));
    assert_eq!(shown(1), (vec!["bob".to_owned(), "al*".to_owned()], true, vec![]));
    assert_eq!(shown(2), (vec![], false, vec![]));
    let printed = settings.to_toml();
    assert_eq!(load(Some(&printed), &[], &[]).unwrap(), settings, "{printed}");
    assert_eq!(load(Some(&printed), &[], &[]).unwrap().to_toml(), printed);
}

#[test]
fn the_rules_that_config_shows_as_an_example_are_rules() {
    let printed = Settings::default().to_toml();
    let (_, example) = printed.split_once("\n# [[access]]").expect("an example");
    let example: String =
        example.lines().map(|line| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n").collect();
    assert_eq!(load(Some(&format!("[[access]]{example}")), &[], &[]).unwrap().access.0.len(), 2);
}

#[test]
fn rules_that_will_not_do_are_refused_with_their_place() {
    for (rule, expected) in [
        ("topics = [\"a\"]", "line 2: access: a rule needs allow or deny"),
        ("allow = \"all\"", "line 2: access: a rule needs topics"),
        (
            "allow = \"write\"\ntopics = [\"a\"]",
            "line 3: access: allow: \"write\" will not do: write \"publish\", \"subscribe\" or \"all\"",
        ),
        (
            "allow = \"all\"\ndeny = \"all\"\ntopics = [\"a\"]",
            "line 4: access: deny: a rule either allows or denies: make two of it",
        ),
        (
            "allow = \"all\"\ntopics = [\"a\", \"u/bob/#\"]",
            "line 4: access: topics: \"u/bob/#\" reaches topics of the contract (u/, g/, do/, json/, $SYS/), which rules have no say in",
        ),
        (
            "allow = \"all\"\ntopics = [\"a/#/b\"]",
            "line 4: access: topics: \"a/#/b\" is no topic filter: '#' is not in the last level",
        ),
        (
            "allow = \"all\"\ntopics = \"$share/x/a\"",
            "line 4: access: topics: \"$share/x/a\" is a shared subscription: write the filter behind the share name, which stands for both",
        ),
        (
            "allow = \"all\"\ntopics = []",
            "line 4: access: topics: [] will not do: write a list of topic filters",
        ),
        (
            "allow = \"all\"\ntopics = [\"a\"]\nusers = []",
            "line 5: access: users: [] will not do: write a list of names of users",
        ),
        (
            "allow = \"all\"\ntopics = [\"a\"]\n\nusers = [\"b b\"]",
            "line 6: access: users: \"b b\" is no user's name: write 1 to 64 letters, digits, - and _, and * for any text",
        ),
        (
            "allow = \"all\"\ntopics = [\"a\"]\nclients = [\"\"]",
            "line 5: access: clients: \"\" is no client id: write one, with * for any text",
        ),
        (
            "allow = \"all\"\ntopics = [\"a\"]\nanonymous = \"yes\"",
            "line 5: access: anonymous: \"yes\" will not do: write true or false",
        ),
        (
            "allow = \"all\"\ntopic = [\"a\"]",
            "line 4: access: \"topic\" is no part of a rule: it has allow or deny, topics, users, clients and anonymous",
        ),
    ] {
        assert_eq!(
            refusal(&format!("\n[[access]]\n{rule}\n")),
            format!("chasqui.toml, {expected}"),
            "{rule}"
        );
    }
    for other in ["[access]\nallow = \"all\"\n", "access = \"all\"\n", "access = []\n"] {
        let sentence = refusal(other);
        assert!(
            sentence.ends_with("access: rules are a list of tables: begin each with [[access]]"),
            "{sentence}"
        );
    }
    assert_eq!(
        refusal("\n[[acces]]\nallow = \"all\"\n"),
        "chasqui.toml, line 2: there is no setting \"acces\", did you mean \"access\"?; `chasqui config` shows them all"
    );
}

#[test]
fn what_differs_is_named() {
    let (one, other) = (load(Some(RULES), &[], &[]).unwrap(), Settings::default());
    assert_eq!(one.others_than(&other), ["dev", "limits.connections"]);
    assert!(one.others_than(&one.clone()).is_empty());
}
