//! The man page.

use super::options;

const BEFORE: &str = include_str!("man/before");
const AFTER: &str = include_str!("man/after");

pub fn page(help: &str) -> String {
    let mut page = [".TH WSECHO 1 \"\" \"wsecho ", env!("CARGO_PKG_VERSION"), "\"\n", BEFORE].concat();
    for option in options::read(help) {
        // A bare `-` is a hyphen, which nobody can paste into a shell.
        page.extend([".TP\n\\fB", &option.names.replace('-', "\\-"), "\\fR"]);
        if let Some(value) = &option.value {
            page.extend([" \\fI", value, "\\fR"]);
        }
        page.push('\n');
        for (at, text) in option.about.split('`').enumerate() {
            let is_code = at % 2 == 1;
            page.extend(if is_code { ["\\fB", text, "\\fR"] } else { ["", text, ""] });
        }
        page.push('\n');
    }
    page + AFTER
}
