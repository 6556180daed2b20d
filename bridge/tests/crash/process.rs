//! The real program, as a process.

#![allow(dead_code)] // Each test binary uses its own part.

use chasqui_testkit::PATIENCE;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A running server. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    said: mpsc::Receiver<SocketAddr>,
    /// Reads what it says until it ends.
    listener: Option<JoinHandle<String>>,
}

/// The program as it serves a data folder, on a free port.
pub(crate) fn serve(program: impl AsRef<OsStr>, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    command
}

impl Process {
    /// Starts the program on a data folder, on a free port.
    pub(crate) fn start(data: &Path) -> Process {
        Process::run(serve(env!("CARGO_BIN_EXE_chasqui"), data))
    }

    /// Starts the program as a command says.
    pub(crate) fn run(mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is built");
        let stderr = child.stderr.take().expect("it is piped");
        let (tell, said) = mpsc::channel();
        let listener = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ")
                    && let Some(Ok(address)) = rest.split(',').next().map(str::parse)
                {
                    // Nobody waits for it where the start is cut short.
                    let _ = tell.send(address);
                }
                all.push_str(&line);
                all.push('\n');
            }
            all
        });
        Process { child, said, listener: Some(listener) }
    }

    /// Waits until it listens.
    pub(crate) fn address(&mut self) -> SocketAddr {
        match self.said.recv_timeout(PATIENCE) {
            Ok(address) => address,
            Err(why) => {
                self.kill();
                panic!("the server does not listen ({why}): {}", self.said_all());
            }
        }
    }

    /// Waits until it listens; `None` where it ends before.
    pub(crate) fn address_or_end(&self) -> Option<SocketAddr> {
        match self.said.recv_timeout(PATIENCE) {
            Ok(address) => Some(address),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the server neither listens nor ends"),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        self.child.wait().expect("it is our child");
    }

    /// SIGTERM. It goes on until it has drained.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status();
        assert!(told.expect("there is a shell").success(), "the server had ended by itself");
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut left = PATIENCE;
        let pause = Duration::from_millis(5);
        loop {
            if let Some(status) = self.ended() {
                return (status, self.said_all());
            }
            if left.is_zero() {
                self.kill();
                panic!("the server does not end: {}", self.said_all());
            }
            left = left.saturating_sub(pause);
            std::thread::sleep(pause);
        }
    }

    /// All that it has said. It has ended.
    pub(crate) fn said_all(&mut self) -> String {
        self.listener.take().map(|listener| listener.join().unwrap_or_default()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
