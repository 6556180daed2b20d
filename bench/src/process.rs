//! What the broker's process costs: found by its port or its id, read from `/proc`.

use procfs::process::{FDTarget, Process, all_processes};
use std::net::SocketAddr;
use std::time::Duration;

/// A process on this machine.
#[derive(Debug)]
pub struct Watched(Process);

/// What it has used, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time of all its threads, in user and system.
    pub cpu: Duration,
    /// Memory that is resident, bytes.
    pub resident: u64,
}

impl Watched {
    /// The process with this id, if there is one.
    pub fn by_id(id: i32) -> Option<Watched> {
        Process::new(id).ok().map(Watched)
    }

    /// The process that listens at this port; `None` if it is not on this machine, or is another user's.
    pub fn listening_at(address: SocketAddr) -> Option<Watched> {
        let sockets = procfs::net::tcp().into_iter().chain(procfs::net::tcp6()).flatten();
        let mut listening = sockets.filter(|socket| {
            socket.state == procfs::net::TcpState::Listen && socket.local_address.port() == address.port()
        });
        let inode = listening.next()?.inode;
        let has_it = |process: &Process| {
            let files = process.fd().into_iter().flatten().flatten();
            files.map(|file| file.target).any(|target| matches!(target, FDTarget::Socket(of) if of == inode))
        };
        all_processes().ok()?.flatten().find(has_it).map(Watched)
    }

    /// Its id.
    pub fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.0.stat().map(|stat| stat.comm).unwrap_or_default()
    }

    /// What it has used until now; `None` when it is gone.
    pub fn usage(&self) -> Option<Usage> {
        let stat = self.0.stat().ok()?;
        let ticks = stat.utime + stat.stime;
        let cpu = Duration::from_secs_f64(precise(ticks) / precise(procfs::ticks_per_second()));
        Some(Usage { cpu, resident: stat.rss * procfs::page_size() })
    }
}

/// Counts of a run are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn precise(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn who_listens_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = Watched::listening_at(listener.local_addr().unwrap()).expect("this process");
        assert_eq!(found.0.pid().cast_unsigned(), std::process::id());
        assert!(found.usage().unwrap().resident > 0);
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(Watched::listening_at(address).is_none());
    }
}
