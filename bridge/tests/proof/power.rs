//! The real program with its power in our hands: the shim (`shim/calls.c`), the folders it works in, and the file by which it is told
//! when to cut the power and what is wrong with the disk.

use super::process::{Process, serve};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The sources of the shim.
const SOURCES: &[&str] = &["calls.c", "cut.c", "files.c", "names.c", "on_files.c", "on_names.c"];

/// Which files something is about, as in `shim/control.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The commit log.
    Log,
    /// RocksDB.
    State,
    /// All of the data folder.
    Any = 3,
}

/// What survives a power cut besides what was flushed, as in `shim/control.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Nothing,
    Some,
    Prefix,
}

/// When the power is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// At the call of this number, counted from when it is asked for; 0 for at once.
    pub(crate) at: u64,
    /// Which calls are counted.
    pub(crate) class: Class,
    pub(crate) keeps: Keeps,
    pub(crate) seed: u64,
}

/// What is wrong with the disk, as in `shim/control.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Writes fail.
    Write = 1,
    /// Flushes of files fail.
    Flush,
    /// Flushes of folders fail.
    FlushFolder,
    /// New files cannot be made, nor space be reserved.
    Make,
    /// Flushes take long.
    Slow,
    /// Writes take a part.
    Short,
    /// Flushes do nothing.
    Lie,
}

/// A fault, where, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faulty {
    pub(crate) fault: Fault,
    pub(crate) class: Class,
    /// So many calls go well before.
    pub(crate) after: u64,
    /// So many have it; 0 for all that follow.
    pub(crate) times: u64,
    /// What the system says.
    pub(crate) error: rustix::io::Errno,
    /// How long a slow flush takes.
    pub(crate) takes: Duration,
}

/// A disk that is told nothing else: flushes take up to this.
const FLUSH: Duration = Duration::from_micros(1_500);

/// The fields of `struct control`, by their place.
#[derive(Clone, Copy)]
enum Field {
    CutAt,
    CutClass,
    CutAtEnd,
    Seed,
    Keeps,
    FlushMicros,
    Fault,
    FaultClass,
    FaultAfter,
    FaultTimes,
    FaultErrno,
    FaultMillis,
    Calls,
    Cut = 16,
    Faults,
    GoodAfterFault,
    LostWrites,
    LostBytes = 22,
    LostNames = 25,
    KeptWrites,
    TornWrites,
}

const FIELDS: u64 = Field::TornWrites as u64 + 1;

/// What power cuts took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) cuts: u64,
    /// Cuts that took something of the commit log, of RocksDB, of names.
    pub(crate) cuts_of_log: u64,
    pub(crate) cuts_of_state: u64,
    pub(crate) cuts_of_names: u64,
    pub(crate) log_writes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) state_writes: u64,
    pub(crate) state_bytes: u64,
    pub(crate) names: u64,
    /// Unflushed writes that have survived, and those of which only a part has.
    pub(crate) survived: u64,
    pub(crate) torn: u64,
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, more: Losses) {
        self.cuts += more.cuts;
        self.cuts_of_log += more.cuts_of_log;
        self.cuts_of_state += more.cuts_of_state;
        self.cuts_of_names += more.cuts_of_names;
        self.log_writes += more.log_writes;
        self.log_bytes += more.log_bytes;
        self.state_writes += more.state_writes;
        self.state_bytes += more.state_bytes;
        self.names += more.names;
        self.survived += more.survived;
        self.torn += more.torn;
    }
}

/// A data folder under power that can be cut, and the program to serve it.
pub(crate) struct Power {
    folder: TempDir,
    library: PathBuf,
    program: PathBuf,
    /// The settings of the store, as variables.
    variables: Vec<(&'static str, String)>,
}

impl Power {
    /// Builds the shim, and puts a name of the program beside it: a build meanwhile changes nothing.
    pub(crate) fn new(variables: Vec<(&'static str, String)>) -> Power {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["power", "stash"] {
            fs::create_dir(path(name)).expect("an empty folder");
        }
        let (library, program) = (path("power.so"), path("chasqui"));
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof/shim");
        let built = Command::new("cc")
            .args([
                "-shared",
                "-fPIC",
                "-O2",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-U_FORTIFY_SOURCE",
                "-pthread",
                "-o",
            ])
            .arg(&library)
            .args(SOURCES.iter().map(|source| sources.join(source)))
            .status();
        assert!(built.expect("there is a C compiler").success(), "the shim is not built");
        let binary = env!("CARGO_BIN_EXE_chasqui");
        if fs::hard_link(binary, &program).is_err() {
            fs::copy(binary, &program).expect("the program is built");
        }
        let power = Power { folder, library, program, variables };
        power.reset();
        power
    }

    /// The data folder. It is not there before the program makes it.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("power").join("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn reset(&self) {
        fs::write(self.path("control"), vec![0; FIELDS as usize * 8]).expect("the control file is written");
        fs::remove_dir_all(self.path("stash")).expect("the stash is there");
        fs::create_dir(self.path("stash")).expect("an empty folder");
    }

    fn control(&self) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path("control"))
            .expect("the control file is there")
    }

    fn set(&self, field: Field, value: u64) {
        self.control().write_all_at(&value.to_ne_bytes(), field as u64 * 8).expect("it is written");
    }

    fn get(&self, field: Field, index: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control().read_exact_at(&mut bytes, (field as u64 + index) * 8).expect("it is read");
        u64::from_ne_bytes(bytes)
    }

    /// Starts the program on what is left, with the power to be cut at some time, and something wrong with the disk.
    pub(crate) fn start(&self, cut: Option<Cut>, faulty: Option<Faulty>) -> Process {
        self.start_with(cut, faulty, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(
        &self,
        cut: Option<Cut>,
        faulty: Option<Faulty>,
        more: &[(&str, &str)],
    ) -> Process {
        self.reset();
        self.set(Field::FlushMicros, FLUSH.as_micros() as u64);
        // Whoever ends in good order has flushed what is to stay.
        self.set(Field::CutAtEnd, 1);
        if let Some(cut) = cut {
            self.cut(cut);
        }
        if let Some(faulty) = faulty {
            self.break_disk(faulty);
        }
        let mut command = serve(&self.program, &self.data());
        command
            .env("LD_PRELOAD", &self.library)
            .env("POWER_ROOT", self.path("power"))
            .env("POWER_STASH", self.path("stash"))
            .env("POWER_CONTROL", self.path("control"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().copied());
        Process::run(command)
    }

    /// Has the power cut, counted from now.
    pub(crate) fn cut(&self, cut: Cut) {
        self.set(Field::Seed, cut.seed);
        self.set(Field::Keeps, cut.keeps as u64);
        self.set(Field::CutClass, cut.class as u64);
        let now = self.get(Field::Calls, cut.class as u64);
        self.set(Field::CutAt, (now + cut.at).max(1));
    }

    /// Has something wrong with the disk from now on.
    pub(crate) fn break_disk(&self, faulty: Faulty) {
        self.set(Field::FaultClass, faulty.class as u64);
        self.set(Field::FaultAfter, faulty.after);
        self.set(Field::FaultTimes, faulty.times);
        self.set(Field::FaultErrno, u64::from(faulty.error.raw_os_error().unsigned_abs()));
        self.set(Field::FaultMillis, faulty.takes.as_millis() as u64);
        self.set(Field::Fault, faulty.fault as u64);
    }

    /// The disk is as good as new.
    pub(crate) fn mend_disk(&self) {
        self.set(Field::Fault, 0);
    }

    /// How often the fault was met, and how many writes and flushes went well after that.
    pub(crate) fn faults(&self) -> (u64, u64) {
        (self.get(Field::Faults, 0), self.get(Field::GoodAfterFault, 0))
    }

    /// What the power cut of the last process took; nothing where there was none.
    pub(crate) fn losses(&self) -> Losses {
        let get = |field| self.get(field, 0);
        let lost =
            |class| (self.get(Field::LostWrites, class as u64), self.get(Field::LostBytes, class as u64));
        let (log_writes, log_bytes) = lost(Class::Log);
        let (state_writes, state_bytes) = lost(Class::State);
        let names = get(Field::LostNames);
        Losses {
            cuts: get(Field::Cut),
            cuts_of_log: u64::from(log_writes > 0),
            cuts_of_state: u64::from(state_writes > 0),
            cuts_of_names: u64::from(names > 0),
            log_writes,
            log_bytes,
            state_writes,
            state_bytes,
            names,
            survived: get(Field::KeptWrites),
            torn: get(Field::TornWrites),
        }
    }
}
