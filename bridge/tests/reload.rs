//! `chasqui reload` and SIGHUP on the real program: rules that change, and files that will not do.

mod program;

use chasqui_broker::codec::{QoS, ReasonCode, Version};
use chasqui_testkit::{Client, Hello, both};
use program::{Ended, Program, chasqui, dev, run};
use rustix::process::{Signal, kill_process};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const Q1: QoS = QoS::AtLeastOnce;
const OPEN: &str = "[[access]]\nallow = \"all\"\ntopics = [\"a/#\"]\n";
const SHUT: &str = "[limits]\nconnections = 77\n\n[[access]]\ndeny = \"all\"\ntopics = [\"a/#\"]\n";

struct Place {
    folder: TempDir,
    config: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("chasqui.toml");
        let place = Place { folder, config };
        place.write(OPEN);
        place
    }

    fn write(&self, toml: &str) {
        std::fs::write(&self.config, toml).expect("the folder can be written to");
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn serve(&self) -> Program {
        let mut arguments = dev(&self.data());
        arguments.extend(["--config".to_owned(), text(&self.config)]);
        Program::start(chasqui(&arguments))
    }

    fn reload(&self) -> Ended {
        run(chasqui(&["reload", "--data", &text(&self.data())]))
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

/// A client that reads `a/#` and `b`, and one that publishes.
async fn clients(version: Version, server: &Program) -> (Client, Client) {
    let mut reader = Client::connect(server.address, &Hello::new(version, "r")).await;
    let codes = reader.subscribe(&[("a/#", Q1), ("b", Q1)]).await;
    assert_eq!(codes, [ReasonCode::GrantedQoS1; 2]);
    (reader, Client::connect(server.address, &Hello::new(version, "p")).await)
}

/// Asserts that the reader has lost `a/#`, and the publisher may not publish there.
async fn is_shut(reader: &mut Client, publisher: &mut Client) {
    publisher.publish("b", b"x").await;
    assert_eq!(&*reader.take().await.topic, "b");
    reader.nothing().await;
    if publisher.peer.version == Version::V5 {
        assert_eq!(publisher.publish("a/x", b"x").await.reason, ReasonCode::NotAuthorized);
    }
}

#[tokio::test]
async fn reload_puts_new_rules_into_effect_and_says_so() {
    both(|version| async move {
        let place = Place::new();
        let mut server = place.serve();
        let (mut reader, mut publisher) = clients(version, &server).await;
        publisher.publish("a/x", b"x").await;
        assert_eq!(&*reader.take().await.topic, "a/x");

        place.write(SHUT);
        let ended = place.reload();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
        // It has happened when the command is done.
        is_shut(&mut reader, &mut publisher).await;
        server.wait_for("1 access rules, 1 subscriptions ended");
        server.wait_for("take effect at the next start: limits.connections");
        server.stop();
    })
    .await;
}

#[tokio::test]
async fn sighup_does_the_same() {
    both(|version| async move {
        let place = Place::new();
        let mut server = place.serve();
        let (mut reader, mut publisher) = clients(version, &server).await;
        place.write(SHUT);
        kill_process(server.pid(), Signal::HUP).expect("it runs");
        server.wait_for("1 access rules, 1 subscriptions ended");
        is_shut(&mut reader, &mut publisher).await;
        server.stop();
    })
    .await;
}

#[tokio::test]
async fn a_file_that_will_not_do_changes_nothing() {
    let place = Place::new();
    let mut server = place.serve();
    let (mut reader, mut publisher) = clients(Version::V5, &server).await;
    place.write(&SHUT.replace("\"all\"", "\"everything\""));
    let ended = place.reload();
    let sentence = ended.sentence();
    assert!(
        sentence.contains("chasqui.toml, line 5: access: deny: \"everything\" will not do"),
        "{sentence}"
    );
    assert!(sentence.ends_with("the server goes on with the access rules it had"), "{sentence}");
    std::fs::remove_file(&place.config).expect("it is there");
    kill_process(server.pid(), Signal::HUP).expect("it runs");
    server.wait_for("chasqui.toml cannot be read");
    publisher.publish("a/x", b"x").await;
    assert_eq!(&*reader.take().await.topic, "a/x");
    server.stop();
}

#[test]
fn where_no_server_runs_there_is_nothing_to_reload() {
    let place = Place::new();
    let ended = place.reload();
    assert!(ended.sentence().ends_with("there is nothing to reload"), "{}", ended.sentence());
}
