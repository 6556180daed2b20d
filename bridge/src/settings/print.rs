//! `chasqui config`: every setting as a TOML file that can be saved, edited and given to `--config`.

use super::table::Row;
use super::{Settings, access};
use std::fmt::Write as _;

/// The settings as TOML, with a comment above each.
pub(super) fn toml(settings: &Settings, rows: &[Row], sections: &[(&str, &[&str])]) -> String {
    let defaults = Settings::default();
    let mut out = String::from(
        "# The settings of chasqui with the values that are in effect.\n\
         # A file like this is given with --config FILE or CHASQUI_CONFIG; variables and then flags override it.\n",
    );
    for row in rows.iter().filter(|row| !row.key.contains('.')) {
        print_row(&mut out, row, row.key, settings, &defaults);
    }
    for (section, about) in sections {
        out.push('\n');
        comment(&mut out, about);
        let _ = writeln!(out, "[{section}]");
        for row in rows {
            if let Some(name) = row.key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')) {
                print_row(&mut out, row, name, settings, &defaults);
            }
        }
    }
    out.push_str(access::ABOUT);
    out.push_str(&access::print(&settings.access));
    out
}

fn print_row(out: &mut String, row: &Row, name: &str, settings: &Settings, defaults: &Settings) {
    out.push('\n');
    comment(out, row.meaning);
    let _ = write!(out, "# Value: {}", row.form);
    if let Some((least, most)) = row.bounds {
        let _ = write!(out, "; from {least} to {most}");
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, ".\n# Default: {}. Variable: {}.", (row.print)(defaults), row.variable());
    let _ = writeln!(out, "{name} = {}", (row.print)(settings));
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(out, "#{line}");
    }
}
