//! The macro that turns the one table of settings into the types that hold them and the rows that read and print them.
//!
//! Adding a setting is one entry in the table in [`settings`](super): its meaning (the doc comment), name, type, default and
//! bounds. File, variable, flag and `chasqui config` follow from it.

use super::Settings;
use super::value::{Raw, Refusal};

/// One setting, as file, variables and `chasqui config` see it.
pub(super) struct Row {
    /// `section.name`, or `name` where it has no section.
    pub(super) key: &'static str,
    /// What it means, one line after the other.
    pub(super) meaning: &'static [&'static str],
    /// Unit or form.
    pub(super) form: &'static str,
    /// The least and the greatest value, as they would be written.
    pub(super) bounds: Option<(&'static str, &'static str)>,
    /// Sets it, if the value will do.
    pub(super) set: fn(&mut Settings, &Raw) -> Result<(), Refusal>,
    /// Its value as TOML.
    pub(super) print: fn(&Settings) -> String,
}

impl Row {
    /// The variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("CHASQUI_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }
}

/// Reads a default or a bound of the table.
pub(super) fn literal<T: super::value::Value>(text: &str) -> T {
    T::read(&Raw::Text(text.to_owned()))
        .expect("defaults and bounds in the table are values of their type; a test reads all")
}

/// Reads a value and holds it against its bounds.
pub(super) fn read_within<T: super::value::Value + PartialOrd>(
    raw: &Raw,
    bounds: Option<(&str, &str)>,
) -> Result<T, Refusal> {
    let value = T::read(raw)?;
    if let Some((least, most)) = bounds
        && !(literal::<T>(least)..=literal::<T>(most)).contains(&value)
    {
        return Err(format!("{} is out of bounds: write {least} to {most}", value.print()));
    }
    Ok(value)
}

/// See the module.
macro_rules! settings {
    (
        Settings {
            $($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:literal;)+
        }
        $($(#[doc = $section_doc:literal])+ [$section:ident: $Section:ident] {
            $($(#[doc = $in_doc:literal])+ $in_name:ident: $in_kind:ty = $in_default:literal
                $(, $least:literal ..= $most:literal)?;)+
        })+
    ) => {
        /// Every setting, with its effective value.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $kind,)+
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
            /// Access rules, which are no scalars: see `settings/access.rs`.
            pub access: Rules,
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section { $($(#[doc = $in_doc])+ pub $in_name: $in_kind,)+ }
        )+

        impl Default for Settings {
            fn default() -> Settings {
                Settings {
                    $($name: table::literal($default),)+
                    $($section: $Section { $($in_name: table::literal($in_default),)+ },)+
                    access: Rules::default(),
                }
            }
        }

        /// All rows, in the order of `chasqui config`.
        const ROWS: &[Row] = &[
            $(Row {
                key: stringify!($name),
                meaning: &[$($doc),+],
                form: <$kind as Value>::FORM,
                bounds: None,
                set: |settings, raw| { settings.$name = Value::read(raw)?; Ok(()) },
                print: |settings| Value::print(&settings.$name),
            },)+
            $($({
                const BOUNDS: Option<(&str, &str)> = settings!(@bounds $($least, $most)?);
                Row {
                    key: concat!(stringify!($section), ".", stringify!($in_name)),
                    meaning: &[$($in_doc),+],
                    form: <$in_kind as Value>::FORM,
                    bounds: BOUNDS,
                    set: |settings, raw| {
                        settings.$section.$in_name = settings!(@read $in_kind, raw, BOUNDS $(, $least)?);
                        Ok(())
                    },
                    print: |settings| Value::print(&settings.$section.$in_name),
                }
            },)+)+
        ];

        /// Sections with what they are about, in the order of `chasqui config`.
        const SECTIONS: &[(&str, &[&str])] = &[$((stringify!($section), &[$($section_doc),+]),)+];
    };
    (@bounds) => { None };
    (@bounds $least:literal, $most:literal) => { Some(($least, $most)) };
    (@read $kind:ty, $raw:ident, $bounds:ident) => { <$kind as Value>::read($raw)? };
    (@read $kind:ty, $raw:ident, $bounds:ident, $least:literal) => { table::read_within::<$kind>($raw, $bounds)? };
}
pub(super) use settings;
