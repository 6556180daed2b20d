//! The kinds of value a setting can have: how each is read from a file, a variable or a flag, and how it is printed.
//!
//! What is printed is TOML, and is read back as the same value.

use super::units::{self, ByteSize};
use chasqui_broker::{ClientCertificates, UserFrom};
use chasqui_proto::UserId;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A value as a source gave it, before its setting has judged it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// A variable, a flag, or a TOML string.
    Text(String),
    /// A TOML array of strings.
    List(Vec<String>),
    /// A TOML integer.
    Number(i64),
    /// A TOML boolean.
    Switch(bool),
    /// Some other TOML value, named for the error.
    Other(&'static str),
}

/// Says why a value will not do, as the end of a sentence that starts with the value's place.
pub(super) type Refusal = String;

/// A kind of value.
pub(super) trait Value: Sized + Clone + PartialEq {
    /// The unit or form, for `chasqui config`.
    const FORM: &'static str;

    /// Reads a value.
    fn read(raw: &Raw) -> Result<Self, Refusal>;

    /// The value as TOML.
    fn print(&self) -> String;
}

impl Raw {
    /// The value as it would look in a sentence.
    fn quoted(&self) -> String {
        match self {
            Raw::Text(text) => format!("\"{}\"", text.escape_debug()),
            Raw::List(list) => format!("{list:?}"),
            Raw::Number(number) => number.to_string(),
            Raw::Switch(switch) => switch.to_string(),
            Raw::Other(kind) => (*kind).to_owned(),
        }
    }

    pub(super) fn refused(&self, wanted: &str) -> Refusal {
        format!("{} will not do: write {wanted}", self.quoted())
    }
}

pub(super) fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Value for bool {
    const FORM: &'static str = "true or false";

    fn read(raw: &Raw) -> Result<bool, Refusal> {
        match raw {
            Raw::Switch(value) => Ok(*value),
            Raw::Text(text) if text == "true" => Ok(true),
            Raw::Text(text) if text == "false" => Ok(false),
            _ => Err(raw.refused(Self::FORM)),
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const FORM: &'static str = "a whole number";

    fn read(raw: &Raw) -> Result<u32, Refusal> {
        let number = match raw {
            Raw::Number(number) => u32::try_from(*number).ok(),
            Raw::Text(text) => text.trim().replace('_', "").parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| raw.refused("a whole number from 0 to 4294967295"))
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for ByteSize {
    const FORM: &'static str = "a size, such as \"64 MiB\" or \"512 bytes\"";

    fn read(raw: &Raw) -> Result<ByteSize, Refusal> {
        match raw {
            Raw::Text(text) => units::parse_size(text),
            Raw::Number(0) => Some(ByteSize(0)),
            _ => None,
        }
        .ok_or_else(|| {
            raw.refused("a size as a whole number and a unit, such as \"64 MiB\" or \"512 bytes\"")
        })
    }

    fn print(&self) -> String {
        toml_string(&units::print_size(*self))
    }
}

impl Value for Duration {
    const FORM: &'static str = "a time, such as \"20 ms\", \"5 s\" or \"30 days\"";

    fn read(raw: &Raw) -> Result<Duration, Refusal> {
        match raw {
            Raw::Text(text) => units::parse_time(text),
            Raw::Number(0) => Some(Duration::ZERO),
            _ => None,
        }
        .ok_or_else(|| {
            raw.refused(
                "a time as a whole number and a unit, such as \"20 ms\", \"5 s\", \"2 hours\" or \"30 days\"",
            )
        })
    }

    fn print(&self) -> String {
        toml_string(&units::print_time(*self))
    }
}

impl Value for PathBuf {
    const FORM: &'static str = "a path; a relative one starts at the folder the program was started in";

    fn read(raw: &Raw) -> Result<PathBuf, Refusal> {
        match raw {
            Raw::Text(text) if !text.is_empty() && !text.contains('\0') => Ok(PathBuf::from(text)),
            _ => Err(raw.refused("the path of a folder")),
        }
    }

    fn print(&self) -> String {
        toml_string(&self.to_string_lossy())
    }
}

/// The path of a file, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePath(pub Option<PathBuf>);

impl Value for FilePath {
    const FORM: &'static str =
        "a path, or \"\" for none; a relative one starts at the folder the program was started in";

    fn read(raw: &Raw) -> Result<FilePath, Refusal> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(FilePath(None)),
            Raw::Text(text) if !text.contains('\0') => Ok(FilePath(Some(PathBuf::from(text)))),
            _ => Err(raw.refused("the path of a file")),
        }
    }

    fn print(&self) -> String {
        toml_string(&self.0.as_deref().unwrap_or(Path::new("")).to_string_lossy())
    }
}

/// A value that is one of a few words.
macro_rules! words {
    ($kind:ty: $form:literal, $($word:literal => $value:path),+) => {
        impl Value for $kind {
            const FORM: &'static str = $form;

            fn read(raw: &Raw) -> Result<$kind, Refusal> {
                match raw {
                    $(Raw::Text(text) if text == $word => Ok($value),)+
                    _ => Err(raw.refused(Self::FORM)),
                }
            }

            fn print(&self) -> String {
                match self {
                    $($value => toml_string($word),)+
                }
            }
        }
    };
}

words!(ClientCertificates: "\"off\", \"optional\" or \"required\"",
    "off" => ClientCertificates::Off,
    "optional" => ClientCertificates::Optional,
    "required" => ClientCertificates::Required);

words!(UserFrom: "\"common-name\", \"email\" or \"dns\"",
    "common-name" => UserFrom::CommonName,
    "email" => UserFrom::Email,
    "dns" => UserFrom::Dns);

/// Where to listen: no address, one or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub Vec<SocketAddr>);

impl Value for Addresses {
    const FORM: &'static str =
        "addresses with ports, or [] for none; in a variable or flag separated by commas";

    fn read(raw: &Raw) -> Result<Addresses, Refusal> {
        let texts: Vec<&str> = match raw {
            Raw::Text(text) if text.is_empty() => Vec::new(),
            Raw::Text(text) => text.split(',').collect(),
            Raw::List(list) => list.iter().map(String::as_str).collect(),
            _ => vec![""],
        };
        let addresses: Option<Vec<SocketAddr>> = texts.iter().map(|text| address(text.trim())).collect();
        match addresses {
            Some(addresses) => Ok(Addresses(addresses)),
            None => Err(raw.refused(
                "an IP address and a port, such as \"127.0.0.1:1883\", \"0.0.0.0:1883\" or \"[::1]:1883\"",
            )),
        }
    }

    fn print(&self) -> String {
        let quoted: Vec<String> = self.0.iter().map(|address| format!("\"{address}\"")).collect();
        format!("[{}]", quoted.join(", "))
    }
}

/// Names of users; none, one or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    const FORM: &'static str = "user names; in a variable or flag separated by commas";

    fn read(raw: &Raw) -> Result<Names, Refusal> {
        let texts: Vec<&str> = match raw {
            Raw::Text(text) if text.is_empty() => Vec::new(),
            Raw::Text(text) => text.split(',').map(str::trim).collect(),
            Raw::List(list) => list.iter().map(String::as_str).collect(),
            _ => vec![""],
        };
        match texts.iter().find(|text| UserId::parse(text).is_err()) {
            None => Ok(Names(texts.into_iter().map(str::to_owned).collect())),
            Some(_) => {
                Err(raw.refused("names of 1 to 64 letters, digits, _ and -, such as [\"alice\", \"bob\"]"))
            }
        }
    }

    fn print(&self) -> String {
        let quoted: Vec<String> = self.0.iter().map(|name| toml_string(name)).collect();
        format!("[{}]", quoted.join(", "))
    }
}

/// An address and port. Names are not looked up: what a server listens on must not hang on DNS.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

/// What is logged, as `tracing` filters are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl Value for LogFilter {
    const FORM: &'static str = "\"error\", \"warn\", \"info\", \"debug\", \"trace\" or \"off\"; also per part: \"info,chasqui_broker=debug\"";

    fn read(raw: &Raw) -> Result<LogFilter, Refusal> {
        match raw {
            Raw::Text(text) if text.split(',').all(|part| directive(part.trim())) => {
                // A space would be taken for a part of a name.
                Ok(LogFilter(text.split(',').map(str::trim).collect::<Vec<_>>().join(",")))
            }
            _ => Err(raw.refused(
                "one of error, warn, info, debug, trace, off, alone or per part as in \"info,chasqui_broker=debug\"",
            )),
        }
    }

    fn print(&self) -> String {
        toml_string(&self.0)
    }
}

/// Whether this is a level, or a part of the program and a level. (A bare word that is no level would silently be taken for a
/// part, and log nothing else: it is refused.)
fn directive(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    match text.split_once('=') {
        None => LEVELS.contains(&text),
        Some((part, level)) => {
            LEVELS.contains(&level)
                && !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn addresses_are_read_from_one_text_or_a_list() {
        let two = Addresses(vec!["127.0.0.1:1883".parse().unwrap(), "[::1]:1884".parse().unwrap()]);
        assert_eq!(Addresses::read(&text("localhost:1883, [::1]:1884")), Ok(two.clone()));
        assert_eq!(Addresses::read(&Raw::List(vec!["127.0.0.1:1883".into(), "[::1]:1884".into()])), Ok(two));
        for bad in
            [" ", "1883", "example.org:1883", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:1,", "localhost:x"]
        {
            assert!(Addresses::read(&text(bad)).is_err(), "{bad}");
        }
        for none in [text(""), Raw::List(vec![])] {
            assert_eq!(Addresses::read(&none), Ok(Addresses(vec![])));
        }
        assert!(Addresses::read(&Raw::Number(1883)).is_err());
    }

    #[test]
    fn names_are_read_from_one_text_or_a_list() {
        let two = Names(vec!["alice".to_owned(), "bob-2".to_owned()]);
        assert_eq!(Names::read(&text("alice, bob-2")), Ok(two.clone()));
        assert_eq!(Names::read(&Raw::List(vec!["alice".into(), "bob-2".into()])), Ok(two.clone()));
        assert_eq!(two.print(), r#"["alice", "bob-2"]"#);
        for none in [text(""), Raw::List(vec![])] {
            assert_eq!(Names::read(&none), Ok(Names::default()));
        }
        for bad in ["alice,", "al ice", "a/b", ","] {
            assert!(Names::read(&text(bad)).is_err(), "{bad}");
        }
        assert!(Names::read(&Raw::Switch(true)).is_err());
    }

    #[test]
    fn files_and_words_are_read_back_as_printed() {
        for path in [FilePath(None), FilePath(Some(PathBuf::from("/etc/a \"b\".pem")))] {
            let printed: toml::Value =
                format!("x = {}", path.print()).parse::<toml::Table>().unwrap()["x"].clone();
            assert_eq!(FilePath::read(&text(printed.as_str().unwrap())), Ok(path));
        }
        assert!(FilePath::read(&text("a\0b")).is_err());
        for mode in [ClientCertificates::Off, ClientCertificates::Optional, ClientCertificates::Required] {
            assert_eq!(ClientCertificates::read(&text(mode.print().trim_matches('"'))), Ok(mode));
        }
        for from in [UserFrom::CommonName, UserFrom::Email, UserFrom::Dns] {
            assert_eq!(UserFrom::read(&text(from.print().trim_matches('"'))), Ok(from));
        }
        assert!(
            ClientCertificates::read(&text("on")).is_err() && UserFrom::read(&Raw::Switch(true)).is_err()
        );
    }

    #[test]
    fn a_log_filter_must_say_a_level() {
        for good in ["info", "off", "info,chasqui_broker=debug", "warn, chasqui_storage::overlay=trace"] {
            assert!(LogFilter::read(&text(good)).is_ok(), "{good}");
        }
        for bad in ["", "loud", "chasqui_broker", "=info", "a=b", "info,"] {
            assert!(LogFilter::read(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_accepted_filter_is_one_for_tracing() {
        for good in ["info", "off", "info,chasqui_broker=debug", "warn, chasqui_storage::overlay=trace"] {
            let LogFilter(filter) = LogFilter::read(&text(good)).unwrap();
            assert!(tracing_subscriber::EnvFilter::try_new(&filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn numbers_and_switches_are_read_from_text_too() {
        assert_eq!(u32::read(&text("100_000")), Ok(100_000));
        assert_eq!(u32::read(&Raw::Number(7)), Ok(7));
        assert!(u32::read(&Raw::Number(-1)).is_err());
        assert!(u32::read(&text("many")).is_err());
        assert_eq!(bool::read(&text("true")), Ok(true));
        assert!(bool::read(&text("1")).is_err());
        assert_eq!(bool::read(&Raw::Switch(false)), Ok(false));
    }

    #[test]
    fn a_refusal_shows_the_value_and_what_to_write() {
        let sentence = ByteSize::read(&text("5 parsecs")).unwrap_err();
        assert_eq!(
            sentence,
            "\"5 parsecs\" will not do: write a size as a whole number and a unit, such as \"64 MiB\" or \"512 bytes\""
        );
        assert!(Duration::read(&Raw::Other("a table")).unwrap_err().starts_with("a table will not do"));
    }
}
