//! Reports written, read back, and shown in every format.

#[path = "report/sample.rs"]
mod sample;

use std::path::PathBuf;

use loadgen::report::{self, Format, Report};

const FORMATS: [(Format, &str); 7] = [
    (Format::Text, "txt"),
    (Format::Json, "json"),
    (Format::Csv, "csv"),
    (Format::Hgrm, "hgrm"),
    (Format::Hlog, "hlog"),
    (Format::Svg, "svg"),
    (Format::Html, "html"),
];

fn samples() -> [(&'static str, Report); 5] {
    [
        ("run", sample::run(1)),
        ("conns", sample::conns()),
        ("find", sample::find()),
        ("storm", sample::storm()),
        ("fanout", sample::fanout()),
    ]
}

/// Writes every sample in every format and returns the folder.
fn written() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report-samples");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, report) in samples() {
        for (format, extension) in FORMATS {
            // A fan-out has no single response time.
            if name != "fanout" || format != Format::Hgrm {
                report::save(&report, format, &dir.join(name).with_extension(extension)).unwrap();
            }
        }
    }
    dir
}

#[test]
fn every_sample_is_written_in_every_format() {
    let dir = written();
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 5 * 7 - 1);
}
