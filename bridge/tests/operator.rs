//! What an operator can get wrong, and what can go wrong under a server: one clear sentence, exit code 1, and nothing lost.

#![allow(clippy::print_stdout)] // The figures are what a reader of the log wants.

mod program;

use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::publish;
use chasqui_broker::codec::{PacketId, PublishOut, QoS, ReasonCode, Version};
use chasqui_proto::v1;
use chasqui_testkit::{Client, Hello};
use program::{Program, chasqui, dev, run, wrapped};
use prost::Message;
use rustix::process::{Resource, Rlimit, prlimit};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use v1::{body, event};

const Q1: QoS = QoS::AtLeastOnce;

fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Every file below a folder with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                found.insert(path.clone(), fs::read(&path).expect("a readable file"));
            }
        }
    }
    found
}

/// Asserts that a folder is as it was, byte for byte.
fn assert_untouched(folder: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let after = contents(folder);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "other files");
    for (path, bytes) in before {
        assert!(after[path] == *bytes, "{} has changed", path.display());
    }
}

fn hello(user: &str, device: &str) -> Hello {
    Hello::new(Version::V5, device).user(user, user).kept()
}

/// bob has a device that is away.
async fn bob_goes(server: &Program) {
    let mut bob = Client::connect(server.address, &hello("bob", "phone")).await;
    bob.subscribe(&[("u/bob/in", Q1)]).await;
    bob.disconnect().await;
}

fn payload(number: usize, bytes: usize) -> Vec<u8> {
    // Text that does not compress to nothing, so that a disk fills as one expects.
    let mut state = number as u64 + 1;
    let mut text = format!("{number}:");
    while text.len() < bytes {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        text.push(char::from(b'0' + (state >> 33) as u8 % 75));
    }
    let body = v1::Body { kind: Some(body::Kind::Text(text)) };
    v1::Send { body: Some(body), ..v1::Send::default() }.encode_to_vec()
}

/// The number that a text of [`payload`] begins with.
fn number_of(message: &v1::Message) -> usize {
    let body = message.body.as_ref().and_then(|body| body.kind.as_ref());
    let Some(body::Kind::Text(text)) = body else { panic!("a text: {message:?}") };
    text.split(':').next().and_then(|number| number.parse().ok()).expect("a number first")
}

/// What alice was promised: her numbers, each with its sequence number.
type Promised = BTreeMap<usize, u64>;

/// alice sends until the server is gone, or `at_most` messages; what was acknowledged.
async fn alice_sends(server: &Program, from: usize, at_most: usize, bytes: usize) -> Promised {
    let mut alice = Client::connect(server.address, &hello("alice", "laptop")).await;
    let mut promised = Promised::new();
    for number in from..from + at_most {
        let payload = payload(number, bytes);
        let out = PublishOut {
            qos: Q1,
            packet_id: PacketId::new(number as u16 % 60_000 + 1),
            ..PublishOut::new("u/bob/send", &payload)
        };
        let mut packet = Vec::new();
        publish::encode(&mut packet, &alice.peer, &out).expect("valid");
        if alice.stream.write_all(&packet).await.is_err() {
            break;
        }
        match alice.next().await {
            Some(ServerPacket::Puback(ack)) => {
                assert_eq!(Some(ack.packet_id), out.packet_id);
                assert_eq!(ack.reason, ReasonCode::Success, "a server that cannot store does not answer");
                let properties = ack.properties.as_ref().expect("it has its number");
                let seq = properties.user_properties.iter().find(|(name, _)| *name == "seq");
                let seq = seq.and_then(|(_, seq)| seq.parse().ok()).expect("a number");
                promised.insert(number, seq);
            }
            Some(ServerPacket::Disconnect(disconnect)) => {
                assert!(disconnect.reason.is_error(), "{disconnect:?}");
                break;
            }
            None => break,
            Some(other) => panic!("PUBACK expected: {other:?}"),
        }
    }
    promised
}

/// bob comes back: all that was promised is there, once, in order, and the numbers have no gap.
async fn bob_has(server: &Program, promised: &Promised) {
    let mut bob = Client::connect(server.address, &hello("bob", "phone")).await;
    assert!(bob.connack.session_present);
    let mut found = Promised::new();
    let mut last = 0;
    let wanted = promised.values().copied().max().expect("something was promised");
    while last < wanted {
        let publish = bob.take().await;
        let event = v1::Event::decode(publish.payload.clone()).expect("an event");
        let Some(event::Event::Message(message)) = event.event else { panic!("a message: {event:?}") };
        assert_eq!(message.seq, last + 1, "in order and without a gap");
        last = message.seq;
        assert_eq!(found.insert(number_of(&message), message.seq), None, "once");
    }
    for (number, seq) in promised {
        assert_eq!(found.get(number), Some(seq), "message {number}");
    }
    bob.disconnect().await;
}

/// A stopped store with something in it.
async fn store_with_messages(data: &Path) -> Promised {
    let server = Program::start(chasqui(&dev(data)));
    bob_goes(&server).await;
    let promised = alice_sends(&server, 0, 20, 100).await;
    assert_eq!(promised.len(), 20);
    server.stop();
    promised
}

/// Smaller files, so that rooms fill sooner.
const SMALL_SEGMENTS: (&str, &str) = ("CHASQUI_STORAGE_SEGMENT_BYTES", "16 MiB");

fn small(mut command: Command) -> Command {
    command.env(SMALL_SEGMENTS.0, SMALL_SEGMENTS.1);
    command
}

#[tokio::test]
async fn a_store_in_use_is_left_to_its_server() {
    let temp = temp();
    let server = Program::start(chasqui(&dev(temp.path())));
    bob_goes(&server).await;
    let ended = run(chasqui(&dev(temp.path())));
    let sentence = ended.sentence();
    assert!(sentence.contains(temp.path().to_str().expect("UTF-8")), "{sentence}");
    assert!(sentence.contains("in use by another process"), "{sentence}");
    let promised = alice_sends(&server, 0, 20, 100).await;
    assert_eq!(promised.len(), 20, "the first goes on");
    bob_has(&server, &promised).await;
    server.stop();
}

#[tokio::test]
async fn a_port_in_use_is_named_and_the_store_is_not_opened() {
    let temp = temp();
    let data = temp.path().join("data");
    store_with_messages(&data).await;
    let before = contents(&data);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for folder in [data.clone(), temp.path().join("none")] {
        let folder = folder.to_str().expect("UTF-8");
        let ended = run(chasqui(&["serve", "--dev", "--listen", &address, "--data", folder]));
        let sentence = ended.sentence();
        assert!(
            sentence.contains(&address) && sentence.contains("another program listens there"),
            "{sentence}"
        );
    }
    assert_untouched(&data, &before);
    assert!(!temp.path().join("none").exists(), "and none is made");
}

/// The checksum that the state store has over a value: of the envelope's version, the key and the body.
fn sealed(key: &[u8], body: &[u8]) -> Vec<u8> {
    const ENVELOPE: u8 = 1;
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[ENVELOPE]), key), body);
    [&[ENVELOPE][..], &crc.to_le_bytes(), body].concat()
}

/// Raises the format version of a state store, and gives it a column family of its own, as a newer program might.
fn make_state_newer(data: &Path) {
    const META: u8 = 0;
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let columns = ["default", "logs", "records", "groups"];
    let db = rocksdb::DB::open_cf(&options, data.join("state"), columns).expect("a state store");
    let key = [&[META][..], b"format"].concat();
    let stored = db.get(&key).expect("readable").expect("every store has it");
    assert_eq!(stored, sealed(&key, &1u64.to_be_bytes()), "the format this test knows");
    db.put(&key, sealed(&key, &7u64.to_be_bytes())).expect("writable");
    let columns = columns.map(|name| db.cf_handle(name).expect("open"));
    db.flush_cfs_opt(&columns, &rocksdb::FlushOptions::default()).expect("writable");
}

/// Raises the format version of the newest segment of the commit log.
fn make_log_newer(data: &Path) {
    let segments =
        fs::read_dir(data.join("log")).expect("a log").map(|entry| entry.expect("an entry").path());
    let newest = segments.filter(|path| path.extension().is_some_and(|end| end == "log")).max();
    let newest = newest.expect("a segment");
    let mut bytes = fs::read(&newest).expect("readable");
    assert_eq!(
        (&bytes[..8], &bytes[8..12]),
        (&b"CHASQLOG"[..], &1u32.to_le_bytes()[..]),
        "the format this test knows"
    );
    bytes[8..12].copy_from_slice(&7u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&newest, bytes).expect("writable");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_untouched() {
    let rows = [("the state store", make_state_newer as fn(&Path)), (".log", make_log_newer)];
    for (what, make_newer) in rows {
        let temp = temp();
        store_with_messages(temp.path()).await;
        make_newer(temp.path());
        let before = contents(temp.path());
        let ended = run(chasqui(&dev(temp.path())));
        let sentence = ended.sentence();
        for word in [what, "format 7", "newer version", "up to format 1"] {
            assert!(sentence.contains(word), "{word} is missing: {sentence}");
        }
        assert_untouched(temp.path(), &before);
    }
}

#[test]
fn settings_that_will_not_do_are_named_with_their_place() {
    let temp = temp();
    let data = temp.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let write = |name: &str, text: &str| {
        let path = temp.path().join(name);
        fs::write(&path, text).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let unknown = write("unknown.toml", "listen = \"127.0.0.1:0\"\nlimits.conections = 5\n");
    let malformed = write("malformed.toml", "listen = \n");
    let wrong = write("wrong.toml", "limits.connections = \"many\"\n");
    let missing = temp.path().join("missing.toml");
    let missing = missing.to_str().expect("UTF-8");
    let rows: [(&[&str], &[&str]); 7] = [
        (&["--config", &unknown], &[&unknown, "line 2", "\"limits.conections\"", "limits.connections"]),
        (&["--config", &malformed], &[&malformed, "line 1", "not TOML"]),
        (&["--config", &wrong], &[&wrong, "line 1", "limits.connections"]),
        (&["--config", missing], &[missing, "cannot be read"]),
        (&["--dev", "--listen", "0.0.0.0:0"], &["0.0.0.0:0", "loopback"]),
        (&["--dev", "--listen", "[::]:0"], &["[::]:0", "loopback"]),
        (&["--listen", "nowhere"], &["--listen", "nowhere"]),
    ];
    for (arguments, words) in rows {
        let arguments = [&["serve", "--data", data], arguments].concat();
        let ended = run(chasqui(&arguments));
        let sentence = ended.sentence();
        for word in words {
            assert!(sentence.contains(word), "{word} is missing: {sentence}");
        }
        assert!(!Path::new(data).exists(), "no store is made for settings that will not do");
    }
    let mut command = chasqui(&dev(Path::new(data)));
    command.env("CHASQUI_LIMITS_CONECTIONS", "5");
    let ended = run(command);
    assert!(ended.sentence().contains("CHASQUI_LIMITS_CONECTIONS"), "{:?}", ended.lines);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let temp = temp();
    let file = temp.path().join("file");
    fs::write(&file, "not a folder").expect("writable");
    for data in [file.clone(), file.join("below")] {
        let ended = run(chasqui(&dev(&data)));
        let sentence = ended.sentence();
        assert!(sentence.contains(&format!("the data folder {}", data.display())), "{sentence}");
    }
    assert_eq!(fs::read(&file).expect("readable"), b"not a folder");

    let closed = temp.path().join("closed");
    fs::create_dir(&closed).expect("writable");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("ours");
    // Root may write anywhere; without that privilege root is as anybody.
    let is_privileged = fs::write(closed.join("probe"), "").is_ok();
    if is_privileged {
        fs::remove_file(closed.join("probe")).expect("just made");
    }
    let unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let by = if is_privileged { &unprivileged[..] } else { &[] };
    for data in [closed.clone(), closed.join("below")] {
        let ended = run(wrapped(by, &dev(&data)));
        let sentence = ended.sentence();
        assert!(sentence.contains(&format!("the data folder {}", data.display())), "{sentence}");
        assert!(sentence.contains("Permission denied"), "{sentence}");
    }
    assert!(fs::read_dir(&closed).expect("readable").next().is_none(), "nothing was made");
}

/// As `chasqui`, for a process whose files have a largest size: the system says so with an error instead of a signal.
fn limited(arguments: &[String]) -> Command {
    small(wrapped(&["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""], arguments))
}

fn limit_files(server: &Program, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(server.pid()), Resource::Fsize, limit).expect("it is ours");
}

/// No file may grow beyond a size: what a quota does, and a full disk to a file that is to grow. Works for any user.
#[tokio::test]
async fn a_file_that_cannot_grow_at_the_start_is_said_and_nothing_is_lost() {
    let temp = temp();
    let sh = ["sh", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""];
    let ended = run(small(wrapped(&sh, &dev(&temp.path().join("new")))));
    assert!(ended.sentence().contains("File too large"), "{:?}", ended.lines);
    // With room again, the same folder does.
    Program::start(small(chasqui(&dev(&temp.path().join("new"))))).stop();

    let data = temp.path().join("data");
    let promised = store_with_messages(&data).await;
    let sh = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""];
    let ended = run(wrapped(&sh, &dev(&data)));
    assert!(ended.sentence().contains("File too large"), "{:?}", ended.lines);
    let server = Program::start(chasqui(&dev(&data)));
    bob_has(&server, &promised).await;
    server.stop();
}

#[tokio::test]
async fn a_file_that_cannot_grow_ends_the_server_and_nothing_acknowledged_is_lost() {
    let temp = temp();
    let server = Program::start(limited(&dev(temp.path())));
    bob_goes(&server).await;
    let mut promised = alice_sends(&server, 0, 50, 10_000).await;
    assert_eq!(promised.len(), 50);
    limit_files(&server, Some(1 << 20));
    promised.extend(alice_sends(&server, 50, 1_000, 10_000).await);
    assert!(promised.len() < 1_050, "the log is past a megabyte");
    let ended = server.ended();
    let sentence = ended.sentence();
    assert!(sentence.contains("File too large"), "{sentence}");
    assert!(sentence.contains("takes no more writes"), "{sentence}");
    let server = Program::start(small(chasqui(&dev(temp.path()))));
    bob_has(&server, &promised).await;
    server.stop();
}

/// The folder that is a small disk of its own, in the process that sees it.
const SMALL_DISK: &str = "TEST_SMALL_DISK";
const DISK_BYTES: u64 = 96 << 20;

/// A disk that is really full: a file system of its own in memory, mounted where only this test and its children see it.
#[test]
fn heavy_a_full_disk_ends_the_server_and_nothing_acknowledged_is_lost() {
    let name = "heavy_a_full_disk_ends_the_server_and_nothing_acknowledged_is_lost";
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        return runtime.block_on(on_a_small_disk(Path::new(&disk)));
    }
    let temp = temp();
    let mount = format!("mount -t tmpfs -o size={DISK_BYTES} none \"$0\" && exec \"$@\"");
    let this: OsString = std::env::current_exe().expect("this program").into();
    // Mounting is for root; in a user namespace everybody is, where the system has them.
    let ways: [&[&str]; 2] = [&["-rm"], &["-m"]];
    let may = |way: &&&[&str]| {
        let mut probe = Command::new("unshare");
        probe.args(**way).args(["sh", "-c", &mount]).arg(temp.path()).arg("true");
        probe.output().is_ok_and(|output| output.status.success())
    };
    let Some(way) = ways.iter().find(may) else {
        println!(
            "no way to mount here; a_file_that_cannot_grow… show the same with a limit instead of a disk"
        );
        return;
    };
    let mut again = Command::new("unshare");
    again.args(*way).args(["sh", "-c", &mount]).arg(temp.path()).arg(this);
    let output = again.args(["--exact", name, "--nocapture"]).env(SMALL_DISK, temp.path()).output();
    let output = output.expect("unshare was there a moment ago");
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Fills a disk but for so many bytes.
fn fill(disk: &Path, name: &str, leave: u64) -> PathBuf {
    let stat = rustix::fs::statvfs(disk).expect("mounted");
    let free = stat.f_bavail * stat.f_frsize;
    let ballast = disk.join(name);
    let file = fs::File::create(&ballast).expect("room for a name");
    let bytes = free.checked_sub(leave).expect("there is more than that");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("there is room");
    ballast
}

async fn on_a_small_disk(disk: &Path) {
    let data = disk.join("data");
    let serve = || small(chasqui(&dev(&data)));

    // Full at the first start.
    let ballast = fill(disk, "ballast", 4 << 20);
    let ended = run(serve());
    assert!(ended.sentence().contains("disk") && ended.sentence().contains("full"), "{:?}", ended.lines);
    fs::remove_file(&ballast).expect("there");

    // Full while it runs: there is no room for another segment.
    let server = Program::start(serve());
    bob_goes(&server).await;
    let mut promised = alice_sends(&server, 0, 50, 10_000).await;
    let ballast = fill(disk, "ballast", 2 << 20);
    promised.extend(alice_sends(&server, 50, 10_000, 10_000).await);
    assert!((50..10_050).contains(&promised.len()), "{} were acknowledged", promised.len());
    let ended = server.ended();
    let sentence = ended.sentence();
    assert!(sentence.contains("disk") && sentence.contains("full"), "{sentence}");

    // Full to the last block at a later start.
    let rest = fill(disk, "rest", 0);
    let ended = run(serve());
    assert!(ended.sentence().contains("full"), "{:?}", ended.lines);
    fs::remove_file(&rest).expect("there");

    // With room again everything is there, and more can be said.
    fs::remove_file(&ballast).expect("there");
    let server = Program::start(serve());
    promised.extend(alice_sends(&server, 20_000, 20, 100).await);
    bob_has(&server, &promised).await;
    server.stop();
    println!("acknowledged on a disk that filled up: {}", promised.len());
}
