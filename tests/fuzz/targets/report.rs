//! loadgen's reader of reports: a foreign file is refused, or can be shown, judged and added up in every way.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::report::{self, Format, compare, merge};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(report) = report::read(text, "fuzz") else { return };
    for format in [Format::Text, Format::Csv, Format::Hgrm, Format::Hlog, Format::Svg, Format::Html] {
        // Nothing that a terminal would obey comes out of a foreign file.
        if let Ok(text) = format.render(&report, false) {
            assert!(!text.contains('\u{1b}'), "an escape sequence in {format:?}");
        }
    }
    let _ = compare::reports(&report, &report, 0.05).text(false);
    // The same one twice is refused.
    let mut other = report.clone();
    other.run.id.push('2');
    let _ = merge::reports(&[report, other]);
});
