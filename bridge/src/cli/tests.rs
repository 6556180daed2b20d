//! Commands from command line to exit, on real folders.

use super::*;
use crate::account::{Accounts, Hash};
use chasqui_broker::store::StoreError;
use chasqui_storage::Storage;
use std::path::Path;
use std::sync::Arc;

/// Carries out a command line with this on standard input; what it printed, or the sentence it failed with.
fn chasqui(line: &[&str], input: &str) -> Result<String, String> {
    chasqui_serving(line, input, |_, _| Ok(()))
}

fn chasqui_serving(
    line: &[&str],
    input: &str,
    serve: impl FnOnce(Settings, Sources) -> Result<(), ServerError>,
) -> Result<String, String> {
    let command_line = CommandLine::try_parse_from([&["chasqui"], line].concat())
        .map_err(|error| format!("usage: {error}"))?;
    let mut output = Vec::new();
    let mut surroundings = Surroundings {
        variables: Vec::new(),
        input: &mut input.as_bytes(),
        output: &mut output,
        terminal: false,
    };
    carry_out(command_line, &mut surroundings, serve).map_err(|failure| one_line(&failure.to_string()))?;
    Ok(String::from_utf8(output).expect("text"))
}

/// A user command on a data folder.
fn user(data: &Path, line: &[&str], input: &str) -> Result<String, String> {
    chasqui(&[&["user", "--data", data.to_str().expect("a temporary path is UTF-8")], line].concat(), input)
}

#[test]
fn serve_gets_the_effective_settings() {
    let mut seen = None;
    let serve = |settings: Settings, _: Sources| {
        seen = Some(settings);
        Err(ServerError::Read(StoreError::new("the store is damaged")))
    };
    let line = [
        "serve",
        "--dev",
        "--data",
        "/x",
        "--listen",
        "127.0.0.1:1",
        "--listen",
        "[::1]:2",
        "--log",
        "debug",
    ];
    assert_eq!(chasqui_serving(&line, "", serve), Err("the store is damaged".to_owned()));
    let settings = seen.expect("it was called");
    assert!(settings.dev);
    assert_eq!(settings.data, Path::new("/x"));
    assert_eq!(settings.listen.0, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(settings.log.level.0, "debug");
}

#[test]
fn config_prints_a_file_that_config_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chasqui.toml");
    let printed = chasqui(&["config", "--data", "/srv/x"], "").unwrap();
    assert!(printed.contains("\ndata = \"/srv/x\"\n"), "{printed}");
    std::fs::write(&path, &printed).unwrap();
    assert_eq!(chasqui(&["config", "--config", path.to_str().unwrap()], "").unwrap(), printed);
}

#[test]
fn what_cannot_be_is_one_sentence() {
    let dev = chasqui(&["serve", "--dev", "--listen", "0.0.0.0:1883"], "").unwrap_err();
    assert!(dev.starts_with("dev takes any user"), "{dev}");
    let listen = chasqui(&["config", "--listen", "here"], "").unwrap_err();
    assert!(listen.starts_with("--listen: \"here\" will not do"), "{listen}");
    let file = chasqui(&["config", "--config", "/nonexistent.toml"], "").unwrap_err();
    assert!(file.starts_with("the settings file /nonexistent.toml cannot be read"), "{file}");
    for usage in
        [&["dance"][..], &[], &["serve", "--loud"], &["user", "add"], &["user", "add", "bob", "secret"]]
    {
        assert!(chasqui(usage, "").unwrap_err().starts_with("usage: "), "{usage:?}");
    }
    assert_eq!(one_line("two\n  lines\n"), "two lines");
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory;
    CommandLine::command().debug_assert();
}

#[test]
fn users_are_managed_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let no_store = user(&data, &["list"], "").unwrap_err();
    assert!(no_store.starts_with("there is no store in "), "{no_store}");
    assert!(!data.exists(), "asking makes nothing");

    user(&data, &["add", "bob", "--password-stdin"], "first\n").unwrap();
    user(&data, &["add", "alice", "--password-stdin"], "wonder\n").unwrap();
    assert_eq!(user(&data, &["list"], "").unwrap(), "alice\nbob\n");
    let again = user(&data, &["add", "bob", "--password-stdin"], "x\n").unwrap_err();
    assert_eq!(again, "the user bob exists already; `chasqui user passwd bob` sets a new password");
    user(&data, &["passwd", "bob", "--password-stdin"], "second\n").unwrap();

    let storage = Arc::new(Storage::open(&data, crate::server::options(&Settings::default())).unwrap());
    with_accounts(&storage, |accounts| {
        assert!(!accounts.verify("bob", b"first").unwrap());
        assert!(accounts.verify("bob", b"second").unwrap());
        assert!(accounts.verify("alice", b"wonder").unwrap());
    });
    drop(storage);

    user(&data, &["remove", "bob"], "").unwrap();
    assert_eq!(user(&data, &["list"], "").unwrap(), "alice\n");
    let unknown = user(&data, &["remove", "bob"], "").unwrap_err();
    assert_eq!(unknown, "there is no user bob; `chasqui user list` shows all");

    // A user whom only an account makes exist can be sent to: the machine's record came in the same batch.
    let storage = Storage::open(&data, crate::server::options(&Settings::default())).unwrap();
    let read = |name: &str| {
        let key = crate::machine::Key::User(chasqui_proto::UserId::parse(name).unwrap());
        match crate::sequencer::read(&storage.reader(), &key).unwrap() {
            crate::machine::Record::User(user) => user.exists,
            _ => panic!("a user's key names a user"),
        }
    };
    assert!(read("alice"));
    assert!(!read("bob"));
    assert!(!read("carol"));
}

#[test]
fn a_password_must_come_from_somewhere_and_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (line, input, expected) in [
        (
            &["add", "bob"][..],
            "secret\n",
            "there is no terminal to ask for the password; pipe it in with --password-stdin",
        ),
        (&["add", "bob", "--password-stdin"], "\n", "the password is empty"),
        (&["add", "b/b", "--password-stdin"], "x\n", "\"b/b\" cannot be a user: "),
    ] {
        let sentence = user(&data, line, input).unwrap_err();
        assert!(sentence.starts_with(expected), "{sentence}");
    }
    assert!(!data.exists(), "nothing was made for it");
}

#[test]
fn users_are_managed_at_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let storage = Arc::new(Storage::open(&data, crate::server::options(&Settings::default())).unwrap());

    // In use, and nobody answers.
    let silent = user(&data, &["list"], "").unwrap_err();
    assert!(silent.contains("is in use by another process"), "{silent}");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    with_accounts(&storage, |accounts| {
        let socket = {
            let _entered = runtime.enter();
            ControlSocket::bind(&data).unwrap()
        };
        let serving = runtime.spawn(socket.serve(Arc::new(UserControl::new(Arc::clone(accounts)))));
        user(&data, &["add", "bob", "--password-stdin"], "secret\n").unwrap();
        assert!(accounts.verify("bob", b"secret").unwrap(), "at once");
        assert_eq!(user(&data, &["list"], "").unwrap(), "bob\n");
        let check = chasqui(&["check", "--data", data.to_str().unwrap()], "").unwrap();
        assert!(check.ends_with("is in use by a server, which answers\n"), "{check}");
        let again = user(&data, &["add", "bob", "--password-stdin"], "x\n").unwrap_err();
        assert!(again.starts_with("the user bob exists already"), "{again}");
        user(&data, &["remove", "bob"], "").unwrap();
        assert_eq!(user(&data, &["list"], "").unwrap(), "");

        // More of them than fit one answer.
        let hash = Hash::new(b"x").unwrap();
        for n in 0..protocol::USERS_PAGE + 3 {
            accounts.add(&format!("user{n:04}"), hash.clone()).unwrap();
        }
        let listed = user(&data, &["list"], "").unwrap();
        assert_eq!(listed.lines().count(), protocol::USERS_PAGE + 3);
        assert!(listed.lines().is_sorted());
        serving.abort();
        drop(runtime.block_on(serving));
    });
    drop(storage);
    assert!(user(&data, &["list"], "").unwrap().starts_with("user0000\n"), "the store itself says the same");
}

#[test]
fn check_says_what_it_finds() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let check = || chasqui(&["check", "--data", data.to_str().unwrap()], "");
    let fresh = check().unwrap();
    assert!(fresh.starts_with("settings: ok\nstore: ") && fresh.contains("holds none yet"), "{fresh}");
    assert!(!data.exists());
    user(&data, &["add", "bob", "--password-stdin"], "secret\n").unwrap();
    let found = check().unwrap();
    assert!(found.ends_with("; 1 accounts, 0 sessions\n"), "{found}");

    // An account of a newer version is not passed over.
    let storage = Storage::open(&data, crate::server::options(&Settings::default())).unwrap();
    let mut batch = chasqui_storage::Batch::new();
    batch.ordered_put(crate::session_store::space::ACCOUNTS, b"eve", &[99]);
    storage.commit_and_wait(batch).unwrap();
    storage.close().unwrap();
    let newer = check().unwrap_err();
    assert!(newer.starts_with("a stored account has format version 99"), "{newer}");
}

/// Accounts on an open store, by a sequencer that lives as long.
fn with_accounts(storage: &Arc<Storage>, with: impl FnOnce(&Arc<Accounts>)) {
    let offline = offline::Offline::on(Arc::clone(storage)).unwrap();
    with(offline.accounts());
    offline.stop().unwrap();
}

#[test]
fn reports_are_listed_by_time_shown_whole_and_taken_away() {
    use crate::machine::record::{Report, ReportId};
    use crate::sequencer::names;
    use chasqui_proto::{ChatName, UserId, v1};
    use prost::Message as _;
    use serde_json::Value;

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let path = data.to_str().unwrap();
    let reports = |line: &[&str]| chasqui(&[&["report", "--data", path], line].concat(), "");
    let sentence = reports(&["list"]).unwrap_err();
    assert!(sentence.contains("there is no store in"), "{sentence}");

    // More than a page of them, the oldest ones with the last ids; and one that is shown in many parts.
    let settings = Settings { data: data.clone(), ..Settings::default() };
    let storage = Storage::open(&data, crate::server::options(&settings)).unwrap();
    let text = "\u{1}\\\"é".repeat(12_000);
    let body = v1::Body { kind: Some(v1::body::Kind::Text(text.clone())) };
    let message = v1::Message { seq: 7, body: Some(body), ..v1::Message::default() };
    for n in 0..150u8 {
        let report = Report {
            at_ms: 1_000 - u64::from(n),
            reporter: UserId::parse("alice").unwrap(),
            chat: ChatName::parse("g/hikers").unwrap(),
            user: (n == 3).then(|| UserId::parse("bob").unwrap()),
            reason: 1,
            note: "the same every day".to_owned(),
            messages: vec![message.encode_to_vec().into()],
        };
        let mut batch = chasqui_storage::Batch::new();
        let mut stored = Vec::new();
        report.encode(&mut stored);
        batch.put(&names::report_record(&ReportId([n; 16])), &stored);
        storage.commit_and_wait(batch).unwrap();
    }
    storage.close().unwrap();

    let list = reports(&["list"]).unwrap();
    let found: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = found.iter().map(|report| report["id"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..150).rev().map(|n| ReportId([n; 16]).to_string()).collect();
    assert_eq!(ids, expected, "the oldest first");
    assert_eq!(
        found[146],
        serde_json::json!({
            "id": "03".repeat(16), "timeMs": "997", "reporter": "alice", "conversation": "g/hikers", "user": "bob",
            "reason": "SPAM", "messageCount": 1
        })
    );
    let shown: Value = serde_json::from_str(&reports(&["show", ids[146]]).unwrap()).unwrap();
    assert_eq!((&shown["note"], &shown["reporter"]), (&"the same every day".into(), &"alice".into()));
    assert_eq!(shown["messages"][0]["body"]["text"], text.as_str());
    assert_eq!(reports(&["remove", ids[0]]), Ok(String::new()));
    assert_eq!(reports(&["list"]).unwrap().lines().count(), 149);
    let gone = format!("there is no report {}; `chasqui report list` shows all", ids[0]);
    for line in [["show", ids[0]], ["remove", ids[0]]] {
        assert_eq!(reports(&line), Err(gone.clone()));
    }
    let sentence = reports(&["show", "7"]).unwrap_err();
    assert!(sentence.starts_with("\"7\" is no id of a report"), "{sentence}");
}
