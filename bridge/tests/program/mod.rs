//! The real program as a child process: started, watched, asked how much memory it takes, ended by its own id.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its own part.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What the program says when it is ready.
const READY: &str = "listening on ";

/// A server that runs.
pub struct Program {
    child: Child,
    said: Receiver<String>,
    lines: Vec<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// From spawn to the line that it listens.
    pub started_in: Duration,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it said on standard error.
    pub lines: Vec<String>,
}

/// `chasqui` with these arguments, and nothing of ours in its environment.
pub fn chasqui<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    wrapped::<&str, S>(&[], arguments)
}

/// The same, started by another program that becomes it, such as `setpriv`.
pub fn wrapped<W: AsRef<OsStr>, S: AsRef<OsStr>>(by: &[W], arguments: &[S]) -> Command {
    let mut words = by.iter().map(AsRef::as_ref).chain([OsStr::new(env!("CARGO_BIN_EXE_chasqui"))]);
    let mut command = Command::new(words.next().expect("there is at least the program"));
    command.args(words).args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CHASQUI_")) {
            command.env_remove(name);
        }
    }
    command
}

/// The arguments of a server for trying out, on a free port.
pub fn dev(data: &Path) -> Vec<String> {
    let data = data.to_str().expect("paths of tests are UTF-8");
    ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", data].map(str::to_owned).to_vec()
}

fn spawn(mut command: Command) -> (Child, Receiver<String>) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let stderr = child.stderr.take().expect("it is piped");
    let (say, said) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody listens any more when the test has failed.
            let _ = say.send(line);
        }
    });
    (child, said)
}

/// Runs a program that is to end by itself.
pub fn run(command: Command) -> Ended {
    let (mut child, said) = spawn(command);
    end(&mut child, &said, Vec::new())
}

/// Waits until a child has ended, and for the rest of what it says.
fn end(child: &mut Child, said: &Receiver<String>, mut lines: Vec<String>) -> Ended {
    let since = Instant::now();
    loop {
        match said.recv_timeout(PATIENCE.saturating_sub(since.elapsed())) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // It is ours, and nobody waits for it any more.
                let _ = child.kill();
                panic!("the program was to end: {lines:#?}");
            }
        }
    }
    let status = child.wait().expect("a child can be waited for");
    Ended { code: status.code(), lines }
}

impl Program {
    /// Starts a server and waits until it listens.
    pub fn start(command: Command) -> Program {
        let since = Instant::now();
        let (mut child, said) = spawn(command);
        let mut lines = Vec::new();
        loop {
            let Ok(line) = said.recv_timeout(PATIENCE) else {
                // It is ours, and has failed.
                let _ = child.kill();
                panic!("the server was to start: {lines:#?}");
            };
            let started_in = since.elapsed();
            let address = line.split_once(READY).and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
            lines.push(line);
            if let Some(address) = address {
                return Program { child, said, lines, address, started_in };
            }
        }
    }

    /// What it has said until it was ready.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Waits until it says a line with these words.
    pub fn wait_for(&mut self, words: &str) -> String {
        loop {
            let Ok(line) = self.said.recv_timeout(PATIENCE) else { panic!("no {words}: {:#?}", self.lines) };
            self.lines.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Memory it holds now, in bytes.
    pub fn rss(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory it has held, in bytes.
    pub fn peak_rss(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("every process has it");
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kib * 1024
    }

    /// Says SIGTERM and waits for an orderly end.
    pub fn stop(self) {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let ended = self.ended();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    }

    /// Says SIGKILL and waits.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        assert_eq!(self.ended().code, None);
    }

    /// Waits until it has ended.
    pub fn ended(mut self) -> Ended {
        let lines = std::mem::take(&mut self.lines);
        end(&mut self.child, &self.said, lines)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing to do where it has ended; a test that fails leaves nobody behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The one sentence it ended with, without `chasqui: `. Asserts that it is one line for an operator and the last word.
    pub fn sentence(&self) -> &str {
        assert_eq!(self.code, Some(1), "{:#?}", self.lines);
        let sentences: Vec<&str> =
            self.lines.iter().filter_map(|line| line.strip_prefix("chasqui: ")).collect();
        let [sentence] = sentences[..] else { panic!("one sentence was expected: {:#?}", self.lines) };
        assert!(self.lines.last().is_some_and(|last| last.ends_with(sentence)), "{:#?}", self.lines);
        for line in &self.lines {
            for word in ["panicked", "backtrace", "Os {", "Err(", "Error(", "Some(", "Error {", "unwrap"] {
                assert!(!line.contains(word), "not for an operator, {word}: {:#?}", self.lines);
            }
        }
        sentence
    }
}
