//! A broker that is killed and started again while its clients go on.

use procfs::process::{ProcState, Process};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What is to happen to the broker.
#[derive(Debug, Clone)]
pub struct Crash {
    /// What starts it again, as a line for `sh`.
    pub restart: String,
    /// How often it is killed, spread over the measurement.
    pub kills: u32,
}

/// How a broker came back, each from the moment it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// Until it accepted a connection.
    pub accepting: Duration,
    /// Until all clients were connected, with their sessions.
    pub all_back: Duration,
    /// Until messages were delivered at half the rate from before.
    pub flowing: Duration,
}

/// The broker's process, which is killed and started again.
pub(crate) struct Victim {
    pid: i32,
    restart: String,
    child: Option<Child>,
}

impl Victim {
    pub(crate) fn new(pid: i32, restart: &str) -> Victim {
        Victim { pid, restart: restart.to_owned(), child: None }
    }

    /// SIGKILL: whatever it had in hand is gone.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::NotFound)?;
        kill_process(pid, Signal::KILL)?;
        // Its port and its files are free when it has ended, and that is not at once.
        while is_running(self.pid) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    pub(crate) fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new("sh");
        // The shell becomes the broker, so that what is killed next is not the shell.
        command.arg("-c").arg(format!("exec {}", self.restart));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.pid = child.id().cast_signed();
        self.child = Some(child);
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Victim {
    /// What the tool has started ends with it.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = Pid::from_raw(self.pid) {
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = child.wait();
        }
    }
}

/// Whether a process has not ended; one that nobody has asked about since it did counts as ended.
fn is_running(pid: i32) -> bool {
    let state = Process::new(pid).and_then(|process| process.stat()).and_then(|stat| stat.state());
    state.is_ok_and(|state| !matches!(state, ProcState::Zombie | ProcState::Dead))
}

/// Whether somebody accepts connections there.
pub(crate) fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
