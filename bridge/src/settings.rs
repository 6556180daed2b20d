//! Settings: defaults, then a TOML file, then `CHASQUI_*` variables, then flags; the later one wins.
//!
//! All settings are in the one table below, except for the access rules, which are a list and stand in the file only.
//! `limits.connections` in the file is `CHASQUI_LIMITS_CONNECTIONS` in the environment. A name nobody knows and a value that
//! will not do are refused with their place, never passed over: a setting that was misspelt must not fall back to its default in
//! silence.

mod access;
mod file;
mod print;
mod table;
mod units;
mod value;

use crate::access::Rules;
use chasqui_broker::{ClientCertificates, TlsFiles, UserFrom};
use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use table::{Row, settings};
use value::{Raw, Value};
pub use {
    units::ByteSize,
    value::{Addresses, FilePath, LogFilter, Names},
};

settings! {
    Settings {
        /// Where everything that must survive a restart is kept. One server at a time.
        data: PathBuf = "chasqui-data";
        /// Where MQTT 3.1.1 and 5.0 clients connect, both versions on the same port. Port 0 takes any free port.
        /// Passwords cross this connection as they are: beyond this machine, use `listen_tls`.
        listen: Addresses = "127.0.0.1:1883";
        /// Where they connect over TLS, usually on port 8883. Needs the certificate in `[tls]`.
        listen_tls: Addresses = "";
        /// Where they connect over WebSocket, at `/mqtt`, usually on port 8083. Passwords cross this as they are, too; and any
        /// page in a browser that reaches the address can connect, as an anonymous client where those are let in.
        listen_websocket: Addresses = "";
        /// Where they connect over WebSocket and TLS, at `/mqtt`, usually on port 8084. Needs the certificate in `[tls]`.
        listen_secure_websocket: Addresses = "";
        /// For trying out and for load tools: lets in any user whose password equals the name, and anonymous clients;
        /// users come into being when first named. Refuses any listen address but loopback.
        dev: bool = "false";
    }

    /// What the program says about itself, on stderr.
    [log: Log] {
        /// What is logged, and for which part of the program.
        level: LogFilter = "info";
    }

    /// TLS 1.2 and 1.3. The files are PEM; they are read again when they change, and on SIGHUP. What is wrong with new ones
    /// is said in the log, and the old ones stay in use.
    [tls: TlsSettings] {
        /// The certificate of the server, with the intermediate ones behind it.
        certificate: FilePath = "";
        /// The key of that certificate.
        key: FilePath = "";
        /// Whether clients are asked for a certificate. Whoever shows one is the user that it names, without a password;
        /// that user must exist, as with a password. `required` lets nobody in without.
        client_certificates: ClientCertificates = "off";
        /// The authorities whose client certificates are accepted.
        client_ca: FilePath = "";
        /// Which name in a client certificate is the user: the common name of the subject, or the first email address or DNS
        /// name among the alternative names.
        user_from: UserFrom = "common-name";
        /// How often the files are looked at.
        look_every: Duration = "5 s", "1 s" ..= "1 day";
    }

    /// Who is let in.
    [users: Users] {
        /// Lets in clients without a user name. They reach generic topics only. Always on with `dev`.
        anonymous: bool = "false";
        /// A user comes into being when first named, by a login or by a message to them. Always on with `dev`.
        auto_create: bool = "false";
        /// Users who may read what the server says about itself, under `$SYS/`. With `dev` everyone may.
        operators: Names = "";
    }

    /// What the server says about itself, under `$SYS/`: with the names of mosquitto, and its own under `$SYS/chasqui/`.
    [sys: Sys] {
        /// How often it is looked at; what has changed is published. 0 for never.
        interval: Duration = "10 s", "0 s" ..= "1 day";
    }

    /// Sessions, which outlive connections, and devices, the sessions that read their user's inbox.
    [sessions: Sessions] {
        /// The longest a session is kept after its connection ended, whatever the client asked for; 3.1.1 clients with
        /// Clean Session 0 get this.
        expiry_max: Duration = "30 days", "1 s" ..= "3650 days";
        /// Bytes of messages on generic topics that may wait for one session, away or slow. One that would go beyond ends as a
        /// whole, and never has a hole. Messages to people have no such limit.
        queue_bytes: ByteSize = "1 GiB", "8 MiB" ..= "1 TiB";
        /// Messages in flight to one 3.1.1 client; a 5.0 client says its own Receive Maximum.
        inflight_window: u32 = "32", "1" ..= "32767";
    }

    /// Bounds on what clients can ask of the server.
    [limits: Limits] {
        /// Connections at a time. One more is closed at once. Each takes a file descriptor: see `ulimit -n`.
        connections: u32 = "100000", "1" ..= "16777216";
        /// The largest MQTT packet, which 5.0 clients are told as Maximum Packet Size.
        packet_bytes: ByteSize = "1 MiB", "640 KiB" ..= "8 MiB";
        /// The largest CONNECT packet: until it is read nobody knows who is there.
        connect_packet_bytes: ByteSize = "16 KiB", "1 KiB" ..= "256 KiB";
        /// From an opened connection to its CONNECT packet, with the handshakes of TLS and WebSocket between them.
        connect_wait: Duration = "10 s", "1 s" ..= "10 min";
        /// Connections whose CONNECT packet is not there yet. One more is let in, and the oldest of them is closed.
        handshakes: u32 = "10000", "1" ..= "16777216";
        /// Connections of one listen address at a time; one more is closed at once. 0 for no limit of its own.
        connections_per_listener: u32 = "0", "0" ..= "16777216";
        /// Connections from one IP address at a time; one more is closed at once. An IPv6 address counts as its network of
        /// 64 bits. 0 for no limit.
        connections_per_address: u32 = "0", "0" ..= "16777216";
        /// New connections of one listen address in a second; one more is closed at once. 0 for no limit.
        connects_per_listener: u32 = "0", "0" ..= "1000000";
        /// New connections from one IP address in a second; one more is closed at once. 0 for no limit.
        connects_per_address: u32 = "0", "0" ..= "1000000";
        /// Connections of one user at a time; one more is refused (0x97, Quota exceeded). 0 for no limit.
        connections_per_user: u32 = "0", "0" ..= "16777216";
        /// New connections of one user in a second; one more is refused (0x9F, Connection rate exceeded). 0 for no limit.
        connects_per_user: u32 = "0", "0" ..= "1000000";
        /// Messages that one connection publishes in a second. A faster one is read more slowly, and what would have to wait
        /// longer than 5 s is refused. 0 for no limit.
        publishes_per_second: u32 = "0", "0" ..= "10000000";
        /// Bytes of topics and payloads that one connection publishes in a second, in the same way. 0 for no limit.
        publish_bytes_per_second: ByteSize = "0 bytes", "0 bytes" ..= "4 GB";
        /// Messages that all connections of one user publish in a second together, in the same way. 0 for no limit.
        publishes_per_second_per_user: u32 = "0", "0" ..= "10000000";
        /// Bytes that all connections of one user publish in a second together, in the same way. 0 for no limit.
        publish_bytes_per_second_per_user: ByteSize = "0 bytes", "0 bytes" ..= "4 GB";
        /// Messages that all connections from one IP address publish in a second together, in the same way. An IPv6 address
        /// counts as its network of 64 bits. 0 for no limit.
        publishes_per_second_per_address: u32 = "0", "0" ..= "10000000";
        /// Bytes that all connections from one IP address publish in a second together, in the same way. 0 for no limit.
        publish_bytes_per_second_per_address: ByteSize = "0 bytes", "0 bytes" ..= "4 GB";
        /// Messages that all connections of one listen address publish in a second together, in the same way. 0 for no limit.
        publishes_per_second_per_listener: u32 = "0", "0" ..= "10000000";
        /// Bytes that all connections of one listen address publish in a second together, in the same way. 0 for no limit.
        publish_bytes_per_second_per_listener: ByteSize = "0 bytes", "0 bytes" ..= "64 GB";
        /// Retained messages on generic topics. A publish that would add one more is refused (0x97, Quota exceeded). 0 for no
        /// limit.
        retained_messages: u32 = "0", "0" ..= "4294967295";
        /// Bytes of retained messages, each counted with its topic and 64 bytes around it, in the same way. 0 for no limit.
        retained_bytes: ByteSize = "0 bytes", "0 bytes" ..= "1024 TiB";
        /// Levels of a topic or filter. One with more ends the connection (0x90, Topic Name Invalid, or 0x8F, Topic Filter
        /// Invalid).
        topic_levels: u32 = "128", "7" ..= "1024";
        /// QoS 1 and 2 messages of one client that are not acknowledged; 5.0 clients are told as Receive Maximum. Fewer than the
        /// 256 ids of accepted messages that are remembered for a device, so that every retry is recognised.
        receive_maximum: u32 = "128", "1" ..= "255";
        /// Filters of one session.
        subscriptions: u32 = "2000", "1" ..= "1000000";
        /// The longest keep-alive: a 5.0 client that asks for more, or for none, is told this one. 0 for no bound.
        keep_alive_max: Duration = "0 ms", "0 ms" ..= "65535 s";
        /// How long a client may take nothing of what is sent to it before its connection is closed. 0 for ever.
        write_stall: Duration = "1 min", "0 ms" ..= "1 day";
    }

    /// What each user may do, with all their connections together. So much is possible at once, and comes back evenly over the
    /// time. What would have to wait for less than 5 s is carried out, and the connection read more slowly; the rest is refused
    /// (`RATE_LIMITED`), and says when to try again. Off with `dev`.
    [rates: Rates] {
        /// What a user sends in a minute: messages, edits, reactions, deletions, changes of groups. 0 for no limit.
        messages_per_minute: u32 = "3000", "0" ..= "10000000";
        /// Groups that a user makes in an hour. 0 for no limit.
        groups_per_hour: u32 = "60", "0" ..= "1000000";
        /// Invite links that a user asks for, and groups that they join by one, in an hour. 0 for no limit.
        invites_per_hour: u32 = "120", "0" ..= "1000000";
        /// Users that a user puts into groups and on their contact list in an hour. One command that names more takes all of
        /// it. 0 for no limit.
        adds_per_hour: u32 = "4000", "0" ..= "10000000";
        /// Reports that a user makes in an hour. 0 for no limit.
        reports_per_hour: u32 = "60", "0" ..= "1000000";
        /// How long an account is new. 0 for not at all.
        new_account: Duration = "1 day", "0 s" ..= "365 days";
        /// Hundredths of these rates that a new account has.
        new_account_percent: u32 = "25", "1" ..= "100";
    }

    /// How the store works. The defaults suit a phone-sized and a server-sized machine alike.
    [storage: Storage] {
        /// Committed changes held in memory before a chunk goes down to the state store. At most twice this is held.
        overlay_bytes: ByteSize = "64 MiB", "1 MiB" ..= "4 GiB";
        /// The age of the oldest such change at which the chunk goes down even if it is small.
        overlay_age: Duration = "5 s", "50 ms" ..= "10 min";
        /// Memory for blocks of the state store that were read lately.
        block_cache_bytes: ByteSize = "64 MiB", "1 MiB" ..= "1 TiB";
        /// One file of the commit log.
        segment_bytes: ByteSize = "64 MiB", "1 MiB" ..= "4 GiB";
    }
}

/// Settings that cannot be used. Each sentence names the place that has to be changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: this is not TOML: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A name that is no setting.
    #[error("{place}: there is no setting \"{name}\"{}; `chasqui config` shows them all", did_you_mean(.nearest.as_deref()))]
    Unknown {
        /// File and line, or variable.
        place: String,
        /// The name.
        name: String,
        /// The setting whose name is most like it.
        nearest: Option<String>,
    },
    /// A value that will not do.
    #[error("{place}: {reason}")]
    Value {
        /// File, line and key; or variable; or flag.
        place: String,
        /// The value and what to write instead.
        reason: String,
    },
    /// Nowhere to listen.
    #[error(
        "there is nowhere to listen: set listen, or one of listen_tls, listen_websocket and listen_secure_websocket"
    )]
    Nowhere,
    /// Settings of TLS that do not go together.
    #[error("{has} needs {needs}")]
    Tls {
        /// What is set.
        has: &'static str,
        /// What is not.
        needs: &'static str,
    },
    /// `dev` with an address that others can reach.
    #[error(
        "dev takes any user whose password equals the name, so it listens on loopback only, and {0} is not: leave dev out, or listen on 127.0.0.1 or [::1]"
    )]
    DevOnOpenAddress(SocketAddr),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!(", did you mean \"{nearest}\"?")).unwrap_or_default()
}

/// Where settings come from, beside the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named by `--config`; else the variable `CHASQUI_CONFIG` names it.
    pub config: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Flags that were given: the flag, the setting it sets, and its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// So many letters off, a variable is a setting misspelt.
const SLIPS: usize = 2;
/// The variable that names the settings file.
const CONFIG_VARIABLE: &str = "CHASQUI_CONFIG";

impl Settings {
    /// The effective settings.
    pub fn load(sources: &Sources) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        let variables = variables(&sources.variables)?;
        let named = variables.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        if let Some(path) = sources.config.clone().or(named.map(|(_, path)| path.into())) {
            settings.read_file(&path)?;
        }
        for (name, value) in variables.into_iter().filter(|(name, _)| name != CONFIG_VARIABLE) {
            settings.read_variable(&name, value)?;
        }
        for (flag, key, value) in &sources.flags {
            let row = ROWS.iter().find(|row| row.key == *key).expect("flags name settings of the table");
            (row.set)(&mut settings, &Raw::Text(value.clone()))
                .map_err(|reason| SettingsError::Value { place: (*flag).to_owned(), reason })?;
        }
        settings.check()?;
        Ok(settings)
    }

    /// All settings as a TOML file, each with meaning, unit, default and variable.
    pub fn to_toml(&self) -> String {
        print::toml(self, ROWS, SECTIONS)
    }

    /// The settings that differ from these, access rules excepted.
    pub fn others_than(&self, other: &Settings) -> Vec<&'static str> {
        let differs = |row: &&Row| (row.print)(self) != (row.print)(other);
        ROWS.iter().filter(differs).map(|row| row.key).collect()
    }

    fn read_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError::Unreadable { path: path.to_owned(), error })?;
        let contents = file::contents(&text).map_err(|file::Malformed { line, message }| {
            SettingsError::Malformed { path: path.to_owned(), line, message }
        })?;
        let place = |line: usize| format!("{}, line {line}", path.display());
        for listed in contents.listed {
            if listed.list != access::LIST {
                let nearest = nearest(&listed.list, [access::LIST.to_owned()].into_iter());
                return Err(SettingsError::Unknown { place: place(listed.line), name: listed.list, nearest });
            }
            let rule = access::rule(&listed)
                .map_err(|(line, reason)| SettingsError::Value { place: place(line), reason })?;
            self.access.0.push(rule);
        }
        for entry in contents.entries {
            let place = place(entry.line);
            if entry.key.split('.').next() == Some(access::LIST) {
                let reason = "access: rules are a list of tables: begin each with [[access]]".to_owned();
                return Err(SettingsError::Value { place, reason });
            }
            let Some(row) = ROWS.iter().find(|row| row.key == entry.key) else {
                let nearest = nearest(&entry.key, ROWS.iter().map(|row| row.key.to_owned()));
                return Err(SettingsError::Unknown { place, name: entry.key, nearest });
            };
            (row.set)(self, &entry.raw)
                .map_err(|reason| SettingsError::Value { place: format!("{place}: {}", row.key), reason })?;
        }
        Ok(())
    }

    fn read_variable(&mut self, name: &str, value: String) -> Result<(), SettingsError> {
        let Some(row) = ROWS.iter().find(|row| row.variable() == name) else {
            return Err(SettingsError::Unknown {
                place: "the environment".to_owned(),
                name: name.to_owned(),
                nearest: nearest(name, ROWS.iter().map(Row::variable).chain([CONFIG_VARIABLE.to_owned()])),
            });
        };
        (row.set)(self, &Raw::Text(value))
            .map_err(|reason| SettingsError::Value { place: format!("the variable {name}"), reason })
    }

    /// What no single setting can judge.
    fn check(&self) -> Result<(), SettingsError> {
        let places = [
            ("listen", &self.listen),
            ("listen_tls", &self.listen_tls),
            ("listen_websocket", &self.listen_websocket),
            ("listen_secure_websocket", &self.listen_secure_websocket),
        ];
        let mut addresses = places.iter().flat_map(|(_, addresses)| &addresses.0);
        if addresses.clone().next().is_none() {
            return Err(SettingsError::Nowhere);
        }
        if let Some(address) = addresses.find(|address| self.dev && !address.ip().is_loopback()) {
            return Err(SettingsError::DevOnOpenAddress(*address));
        }
        let needs = |has, needs| Err(SettingsError::Tls { has, needs });
        let tls = &self.tls;
        let secure = places.into_iter().find(|(name, addresses)| {
            matches!(*name, "listen_tls" | "listen_secure_websocket") && !addresses.0.is_empty()
        });
        match (secure, &tls.certificate.0, &tls.key.0) {
            (Some((has, _)), None, _) => needs(has, "a certificate: set tls.certificate and tls.key"),
            (_, Some(_), None) => needs("tls.certificate", "its key: set tls.key"),
            (_, None, Some(_)) => needs("tls.key", "its certificate: set tls.certificate"),
            _ if tls.client_certificates != ClientCertificates::Off && tls.client_ca.0.is_none() => {
                needs("tls.client_certificates", "the authorities that may issue them: set tls.client_ca")
            }
            _ => Ok(()),
        }
    }

    /// The files of TLS; `None` where there is no certificate.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        let tls = &self.tls;
        Some(TlsFiles {
            certificate: tls.certificate.0.clone()?,
            key: tls.key.0.clone()?,
            client_ca: tls.client_ca.0.clone(),
            client_certificates: tls.client_certificates,
            user_from: tls.user_from,
        })
    }
}

/// Our variables, as text: all that name a setting, or look as if they should. Others that begin as ours do belong to somebody else:
/// Kubernetes sets some for every service that is called `chasqui`.
fn variables(environment: &[(OsString, OsString)]) -> Result<Vec<(String, String)>, SettingsError> {
    let ours = environment.iter().filter_map(|(name, value)| {
        let name = name.to_str().filter(|name| is_ours(name))?;
        Some(match value.to_str() {
            Some(value) => Ok((name.to_owned(), value.to_owned())),
            None => Err(SettingsError::Value {
                place: format!("the variable {name}"),
                reason: "its value is not UTF-8".to_owned(),
            }),
        })
    });
    ours.collect()
}

fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("CHASQUI_") else { return false };
    let in_section = |(section, _): &(&str, &[&str])| {
        rest.strip_prefix(&section.to_ascii_uppercase()).is_some_and(|rest| rest.starts_with('_'))
    };
    let is_close = |variable: &str| distance(name, variable) <= SLIPS;
    SECTIONS.iter().any(in_section)
        || is_close(CONFIG_VARIABLE)
        || ROWS.iter().any(|row| is_close(&row.variable()))
}

/// The name most like a misspelt one, if any is like it at all.
fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let close = names.map(|other| (distance(name, &other), other)).min()?;
    (close.0 <= name.len().div_ceil(4)).then_some(close.1)
}

/// How many letters have to be changed, added or left out to get from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let cost = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests;
