//! Reports written, read back, and shown in every format.

#[path = "report/sample.rs"]
mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;

use loadgen::report::{self, Format, Report, Stat};

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

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Decoding by Python's hdrhistogram, checking by Python's jsonschema: neither knows our code.
#[test]
fn foreign_software_reads_every_report_back() {
    let dir = folder("readback");
    for (name, report) in samples() {
        for (format, extension) in FORMATS {
            // A fan-out has no single response time.
            if name != "fanout" || format != Format::Hgrm {
                report::save(&report, format, &dir.join(name).with_extension(extension)).unwrap();
            }
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readback.sh");
    let out =
        Command::new(script).args([env!("CARGO_TARGET_TMPDIR").as_ref(), dir.as_os_str()]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.starts_with("read back: 5 reports"), "{said}");
}

/// What is in the file is what was in memory, and the page carries the same.
#[test]
fn json_and_html_hold_the_whole_report() {
    let dir = folder("whole");
    for (name, mut report) in samples() {
        report.run.name = Some("</script><b>&amp; \"names\" are text".into());
        let json = |r: &Report| Format::Json.render(r, false).unwrap();
        for (format, extension) in [(Format::Json, "json"), (Format::Html, "html")] {
            let path = dir.join(name).with_extension(extension);
            report::save(&report, format, &path).unwrap();
            let same = json(&report::load(&path).unwrap()) == json(&report);
            assert!(same, "{} reads back differently", path.display());
        }
        let html = Format::Html.render(&report, false).unwrap();
        assert_eq!(html.matches("</script>").count(), 1, "{name}");
        assert!(!html.contains("<b>&amp; "), "{name}");
    }
}

#[test]
fn a_reader_ignores_fields_it_does_not_know_and_refuses_another_schema() {
    let dir = folder("schema");
    let json = Format::Json.render(&sample::run(1), false).unwrap();
    let load = |json: String| {
        let path = dir.join("report.json");
        std::fs::write(&path, json).unwrap();
        report::load(&path)
    };
    let newer = json.replacen('{', "{\"moon\": {\"phase\": 3},", 1);
    assert_eq!(load(newer).unwrap().messages.sent, 100_000);
    let older = load(json.replace("loadgen.report/2", "loadgen.report/1")).unwrap();
    assert_eq!((older.schema.as_str(), older.config.stamps.as_str()), ("loadgen.report/2", "read"));
    let other = load(json.replace("loadgen.report/2", "loadgen.report/3")).unwrap_err();
    assert!(other.contains("schema `loadgen.report/3` is none of"), "{other}");
    assert!(load("{".into()).unwrap_err().ends_with("report.json: not a loadgen report"));
    assert!(report::load(&dir.join("absent.json")).unwrap_err().contains("absent.json"));
    let huge = load(json.replacen('{', "{\"moon\": {\"phase\": 18446744073709551615},", 1)).unwrap_err();
    assert!(huge.ends_with("report.json: has numbers that no run can have"), "{huge}");
}

#[test]
fn an_interval_without_length_has_no_rate() {
    let mut report = sample::run(1);
    report.intervals[1].len_ns = 0;
    for format in [Format::Text, Format::Svg] {
        assert!(!format.render(&report, false).unwrap().contains("NaN"), "{format:?}");
    }
}

#[test]
fn the_page_says_what_the_text_says() {
    for (name, mut report) in samples() {
        report.run.command = Some("loadgen find --slo 'p99<5ms' ws://h/".into());
        report.verdict.note("one", "a note");
        let page = Format::Html.render(&report, false).unwrap();
        let page = &page[..page.find("<script").unwrap()];
        assert!(page.contains("<dt>to repeat</dt><dd>loadgen find --slo "), "{name}");
        assert!(page.contains("<span class=\"kind\">note</span> a note"), "{name}");
        let rows =
            report.conns.as_ref().map(|c| c.steps.len()).or(report.find.as_ref().map(|f| f.steps.len()));
        if let Some(rows) = rows {
            let table = &page[page.rfind("<table").unwrap()..page.rfind("</table>").unwrap()];
            assert_eq!(table.matches("<tr>").count(), rows + 1, "{name}: {table}");
        }
        assert!(page.matches("<dt>survivors</dt>").count() <= 1, "{name}");
        // Every row of the latencies has a name of its own, and it is the text's.
        let latencies = &page[page.find("<h2>Latency</h2>").unwrap()..page.find("</tbody>").unwrap()];
        let called: Vec<&str> =
            latencies.split("<tr><th>").skip(1).map(|row| &row[..row.find("</th>").unwrap()]).collect();
        let mut once = called.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), called.len(), "{name}: {called:?}");
        let text = Format::Text.render(&report, false).unwrap();
        for row in called.iter().filter(|row| !row.starts_with("fan-out") && !row.starts_with("storm")) {
            let row = row.replace("<small></small>", "").replace("<small>", " (").replace("</small>", ")");
            assert!(text.contains(&format!("\n{row}")), "{name}: {row} is not in the text:\n{text}");
        }
    }
}

#[test]
fn a_page_does_not_take_back_how_far_its_numbers_hold() {
    let mut report = sample::run(1);
    report.verdict.status = report::Status::Valid;
    let claims_all = |report: &Report| {
        Format::Html.render(report, false).unwrap().contains("The numbers are the server’s.")
    };
    assert!(claims_all(&report));
    report.verdict.valid_to = Some("50".into());
    report.verdict.trust = [("50", true), ("99", false)]
        .map(|(p, trusted)| report::model::Trust { p: p.into(), trusted, ..Default::default() })
        .to_vec();
    assert!(!claims_all(&report));
}

#[test]
fn a_short_run_has_plots_of_what_there_is() {
    let mut report = sample::run(1);
    report.intervals.truncate(1);
    let page = Format::Html.render(&report, false).unwrap();
    for title in ["Latency by percentile", "Latency over time"] {
        assert!(page.contains(&format!("<h2>{title}</h2>")), "{title}");
    }
    let mut words = page.split(|c: char| !c.is_alphanumeric() && c != '.');
    assert!(
        !words.any(|word| word.ends_with("NaN") || word == "inf" || word == "Minf"),
        "a place that is none"
    );
    report.intervals.clear();
    Format::Svg.render(&report, false).unwrap();
}

#[test]
fn the_text_fits_a_terminal_with_all_its_figures() {
    for (name, report) in samples() {
        let wide = Format::Text.render(&report, false).unwrap();
        for width in [80, 100, 120] {
            let text = report::fit::fit(&wide, width);
            for line in text.lines() {
                assert!(report::fit::columns(line) <= width, "{name} at {width}: {line}");
            }
            let Some(response) = &report.latency_ns.response else { continue };
            for figure in [report::format::ns(response.p["50"]), report::format::ns(response.max)] {
                assert!(text.contains(&figure), "{name} at {width} lacks {figure}:\n{text}");
            }
        }
    }
}

#[test]
fn the_text_begins_with_the_verdict_and_keeps_to_the_terminal() {
    for (name, report) in samples() {
        let text = Format::Text.render(&report, false).unwrap();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().contains("ws://127.0.0.1:9001/echo"), "{name}");
        assert!(lines.next().unwrap().starts_with("VERDICT  SUSPECT"), "{name}");
        assert_eq!(
            lines.next().unwrap(),
            "REASON   the host's longest hiccup is 21% of the longest response"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= 125, "{name}: {line}");
        }
        assert!(!text.contains('\x1b'), "{name}");
        assert!(Format::Text.render(&report, true).unwrap().contains("\x1b[1;33mSUSPECT\x1b[0m"), "{name}");
    }
}

/// The own slip beside the verdict is the one it was judged by: the highest percentile that the samples carry.
#[test]
fn the_own_slip_of_few_samples_is_shown_all_the_same() {
    let mut report = sample::run(1);
    report.latency_ns.own_slip = report.latency_ns.connect.clone();
    let shown = report::format::ns(report.latency_ns.own_slip.as_ref().unwrap().p["90"]);
    let text = Format::Text.render(&report, false).unwrap();
    assert!(text.lines().nth(1).unwrap().contains(&format!("own slip p90 {shown}")), "{text}");
}

#[test]
fn the_page_counts_threads() {
    let mut report = sample::run(1);
    for (threads, words) in [(1, "1 thread, "), (2, "2 threads, ")] {
        report.config.threads = threads;
        let html = Format::Html.render(&report, false).unwrap();
        assert!(html.contains(words), "{words}");
    }
}

/// A percentile nobody measured is a dash, not a number.
#[test]
fn what_the_samples_do_not_carry_is_not_shown() {
    let mut report = sample::run(1);
    let h = report.latency_ns.connect.as_ref().unwrap().histogram().unwrap();
    assert_eq!(h.len(), 100);
    report.latency_ns.response = Some(Stat::new(&h, 0));
    let text = Format::Text.render(&report, false).unwrap();
    let row = text.lines().find(|l| l.starts_with("response")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[6..9], ["-", "-", "-"], "{row}");
    assert!(!report.latency_ns.response.unwrap().p.contains_key("99"));
}

/// Every row has as many cells as the header, whatever the mode.
#[test]
fn csv_rows_are_as_long_as_their_header() {
    let rows = [("run", 25), ("conns", 3), ("find", 6), ("storm", 25), ("fanout", 25)];
    for ((name, report), (same, expected)) in samples().into_iter().zip(rows) {
        assert_eq!(name, same);
        let csv = Format::Csv.render(&report, false).unwrap();
        let cells: Vec<usize> = csv.lines().map(|l| l.split(',').count()).collect();
        assert_eq!(cells.len(), 1 + expected, "{name}");
        assert!(cells.iter().all(|n| *n == cells[0]), "{name}: {cells:?}");
    }
}

/// Both pictures are well-formed XML and fetch nothing: no script, no font, no image, no link.
#[test]
fn pictures_and_pages_stand_alone() {
    for (name, report) in samples() {
        let svg = Format::Svg.render(&report, false).unwrap();
        let html = Format::Html.render(&report, false).unwrap();
        let page = html.split("<script type=\"application/json\"").next().unwrap();
        for (kind, text) in [("svg", svg.as_str()), ("html", page)] {
            for reference in ["http:", "https:", "url(", "@import", "<script", "<img", "src="] {
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(reference), "{name}.{kind} has {reference}");
            }
            assert!(
                !text.contains("NaN") && !text.contains("inf\""),
                "{name}.{kind} has a point at no number"
            );
        }
        let depth = svg.matches("<g ").count();
        assert_eq!(depth, svg.matches("</g>").count(), "{name}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count(), "{name}");
    }
}

/// An interrupted run of nothing at all still prints.
#[test]
fn an_empty_report_renders_in_every_format() {
    let report = Report::default();
    for (format, extension) in FORMATS {
        let rendered = format.render(&report, false);
        assert_eq!(rendered.is_err(), format == Format::Hgrm, "{extension}");
    }
}
