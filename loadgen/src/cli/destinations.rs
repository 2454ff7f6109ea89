//! Where a report goes: each file once, and stdout holds one document.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::cli::args::Common;
use crate::cli::problem::Problem;
use crate::report::{self, Format};

/// Where the parts of a report go.
#[derive(Debug, Default)]
pub struct Destinations {
    /// The form of the report on stdout, if it goes there.
    pub stdout: Option<Format>,
    /// Files: the option that named each, its form and its path.
    pub files: Vec<(&'static str, Format, PathBuf)>,
    /// Where a line an interval goes while the run is under way; `-` is stdout.
    pub ndjson: Option<PathBuf>,
}

impl Destinations {
    /// Reads them off the command line. A path of `-` is stdout.
    ///
    /// # Errors
    /// When two documents would go to one place.
    pub fn of(common: &Common) -> Result<Destinations, String> {
        let is_stdout = |path: &Path| path == Path::new("-");
        let output = common.output.as_ref().filter(|path| !is_stdout(path));
        let mut to_stdout = Vec::new();
        if output.is_none() && (common.format != Format::Text || common.output.is_some()) {
            to_stdout.push((if common.output.is_some() { "-o" } else { "--format" }, Some(common.format)));
        }
        let mut files: Vec<_> = output.map(|path| ("-o", common.format, path.clone())).into_iter().collect();
        for (format, path) in &common.files {
            match is_stdout(path) {
                true => to_stdout.push((option(*format), Some(*format))),
                false => files.push((option(*format), *format, path.clone())),
            }
        }
        if common.ndjson.as_deref().is_some_and(is_stdout) {
            to_stdout.push(("--ndjson", None));
        }
        if let [(one, _), (other, _), ..] = to_stdout[..] {
            return Err(format!(
                "{one} and {other} both go to stdout, which holds one document: name a file"
            ));
        }
        let ndjson = common.ndjson.clone();
        let all: Vec<(&str, &PathBuf)> = files
            .iter()
            .map(|(option, _, path)| (*option, path))
            .chain(ndjson.iter().filter(|path| !is_stdout(path)).map(|path| ("--ndjson", path)))
            .collect();
        for (i, (one, path)) in all.iter().enumerate() {
            if let Some((other, _)) = all[i + 1..].iter().find(|(_, other)| same_file(path, other)) {
                return Err(format!("{one} and {other} name the same file, {}", path.display()));
            }
        }
        let stdout = match (to_stdout.pop(), output) {
            (Some((_, format)), _) => format,
            (None, Some(_)) => None,
            (None, None) => Some(common.format),
        };
        Ok(Destinations { stdout, files, ndjson })
    }

    /// Whether stdout is free for a table that belongs to the report.
    pub fn takes_tables(&self) -> bool {
        self.stdout.is_none_or(|format| format == Format::Text)
            && self.ndjson.as_deref() != Some(Path::new("-"))
    }

    /// Tries the files: a run must not be lost to a wrong path.
    ///
    /// # Errors
    /// Which cannot be written, and why.
    pub fn check(&self) -> Result<(), Problem> {
        for (option, _, path) in &self.files {
            report::try_path(path)
                .map_err(|e| Problem::Failed(format!("{option} {}: {e}", path.display())))?;
        }
        Ok(())
    }

    /// Opens what `--ndjson` names.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open_ndjson(&self) -> Result<Option<Box<dyn std::io::Write + Send>>, Problem> {
        match &self.ndjson {
            None => Ok(None),
            Some(path) if path == Path::new("-") => Ok(Some(Box::new(std::io::stdout()))),
            Some(path) => match File::create(path) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(e) => Err(Problem::Failed(format!("--ndjson {}: {e}", path.display()))),
            },
        }
    }
}

/// The option that names a file of this form.
fn option(format: Format) -> &'static str {
    match format {
        Format::Json => "--json",
        Format::Hgrm => "--hdr",
        Format::Hlog => "--hlog",
        Format::Csv => "--csv",
        Format::Svg => "--svg",
        Format::Html => "--html",
        Format::Text => "-o",
    }
}

/// Whether two paths lead to one file. Devices and pipes take as many documents as come.
fn same_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| match path.canonicalize() {
        Ok(whole) => whole.is_file().then_some(whole),
        // It is not there yet: its folder is.
        Err(_) => {
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(folder.canonicalize().ok()?.join(path.file_name()?))
        }
    };
    place(one).is_some_and(|place_of_one| Some(place_of_one) == place(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Subcommand};
    use crate::cli::argv::normalize;

    fn of(line: &str) -> Result<Destinations, String> {
        let line = normalize(format!("ws://h/ {line}").split_whitespace().map(str::to_owned));
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        match <Args as argh::FromArgs>::from_args(&["loadgen"], &line) {
            Ok(Args { command: Subcommand::Run(run) }) => Destinations::of(&run.common()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stdout_holds_one_document() {
        for (line, stdout, files, tables) in [
            ("", Some(Format::Text), "", true),
            ("-o a", None, "-o", true),
            ("-o -", Some(Format::Text), "", true),
            ("--format csv", Some(Format::Csv), "", false),
            ("--format csv -o a", None, "-o", true),
            ("--json a --hdr b", Some(Format::Text), "--json --hdr", true),
            ("--json -", Some(Format::Json), "", false),
            ("--json - -o a", Some(Format::Json), "-o", false),
            ("--ndjson -", None, "", false),
            ("--ndjson - -o a --json b", None, "-o --json", false),
        ] {
            let found = of(line).unwrap();
            let options: Vec<&str> = found.files.iter().map(|(option, ..)| *option).collect();
            assert_eq!(
                (found.stdout, &*options.join(" "), found.takes_tables()),
                (stdout, files, tables),
                "{line}"
            );
        }
        for line in [
            "--json - --csv -",
            "--format csv --json -",
            "-o - --json -",
            "--json - --ndjson -",
            "--format json --ndjson -",
        ] {
            assert!(of(line).unwrap_err().contains("one document"), "{line}");
        }
    }

    #[test]
    fn a_file_holds_one_document() {
        for line in ["-o a --json a", "--json a --csv ./a", "--hdr ../loadgen/a --svg a", "--ndjson a -o a"] {
            assert!(of(line).unwrap_err().contains("the same file"), "{line}");
        }
        assert!(of("--json /dev/null --csv /dev/null").is_ok());
        // One that is there already, by another name.
        let folder = std::env::temp_dir().join(format!("loadgen-destinations-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a"), "").unwrap();
        std::os::unix::fs::symlink(folder.join("a"), folder.join("b")).unwrap();
        let line = format!("--json {0}/a --csv {0}/b", folder.display());
        assert!(of(&line).unwrap_err().contains("the same file"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
