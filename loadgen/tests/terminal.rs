//! On a terminal: what renews itself leaves nothing behind, and everything fits.

mod support;

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::thread;

use nix::pty::{Winsize, openpty};
use support::{Faults, Server, alone, loadgen};

/// A terminal, as far as loadgen uses one. What it shows is what anybody would see.
struct Screen {
    width: usize,
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Lines that were longer than the terminal is wide.
    broken: usize,
    /// Lines that loadgen went back to, the most at once.
    most_up: usize,
    colours: usize,
}

impl Screen {
    fn new(width: usize) -> Screen {
        Screen { width, lines: vec![Vec::new()], row: 0, column: 0, broken: 0, most_up: 0, colours: 0 }
    }

    fn show(&mut self, text: &str) {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => self.column = 0,
                '\n' => self.down(),
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['), "a sequence of another kind");
                    let mut number = String::new();
                    let end = loop {
                        match chars.next().expect("a whole sequence") {
                            c if c.is_ascii_alphabetic() => break c,
                            c => number.push(c),
                        }
                    };
                    self.obey(end, &number);
                }
                c => {
                    if self.column == self.width {
                        self.broken += 1;
                        self.down();
                        self.column = 0;
                    }
                    let line = &mut self.lines[self.row];
                    line.resize(line.len().max(self.column + 1), ' ');
                    line[self.column] = c;
                    self.column += 1;
                }
            }
        }
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn obey(&mut self, sequence: char, number: &str) {
        match sequence {
            'A' => {
                let up = number.parse().unwrap_or(1);
                self.most_up = self.most_up.max(up);
                self.row = self.row.checked_sub(up).expect("it went above its own lines");
            }
            'K' => self.lines[self.row].truncate(self.column),
            'J' => {
                self.lines[self.row].truncate(self.column);
                self.lines.truncate(self.row + 1);
            }
            'm' => self.colours += 1,
            other => panic!("{number}{other}"),
        }
    }

    fn text(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(|line| line.iter().collect()).collect();
        lines.join("\n")
    }
}

/// Runs loadgen on a terminal of so many columns and lines, and returns what that shows in the end.
fn on_terminal(width: u16, height: u16, line: &str, no_color: bool) -> Screen {
    let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).unwrap();
    let mut command = loadgen(line);
    command.env_remove("COLUMNS").env_remove("NO_COLOR");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    command.stdin(Stdio::null());
    command.stdout(terminal.slave.try_clone().unwrap()).stderr(terminal.slave);
    let mut child = command.spawn().unwrap();
    // Its copies of our side go with it, so that reading ends when the program does.
    drop(command);
    let mut master = File::from(terminal.master);
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        // The end of a terminal is an error (EIO).
        let _ = master.read_to_end(&mut said);
        String::from_utf8(said).unwrap()
    });
    assert!(child.wait().unwrap().success());
    let said = reader.join().unwrap();
    let mut screen = Screen::new(usize::from(width));
    // A terminal makes CR LF of LF.
    screen.show(&said.replace("\r\n", "\n\r"));
    screen
}

#[test]
fn what_renews_itself_leaves_nothing_behind_at_any_width() {
    let server = Server::start(Faults::default());
    let _alone = alone();
    let line = format!("-c3 -R200 -d1s --warmup 300ms {}", server.url());
    for (width, height, lines) in [(40, 24, 1), (60, 24, 4), (80, 24, 4), (120, 40, 4), (120, 8, 1)] {
        let screen = on_terminal(width, height, &line, true);
        let text = screen.text();
        assert!(text.starts_with("loadgen "), "the report begins at the top:\n{text}");
        assert_eq!(screen.broken, 0, "at {width} columns:\n{text}");
        assert_eq!(screen.most_up + 1, lines, "lines of the view, {width} by {height}");
        assert_eq!(screen.colours, 0);
        assert!(text.contains("VERDICT") && text.contains("response"), "{text}");
        for left in ["connecting", "warm-up", "left", "so far"] {
            assert!(!text.contains(left), "{left} is left behind at {width}:\n{text}");
        }
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let server = Server::start(Faults::default());
    let _alone = alone();
    let line = format!("-c3 -R100 -d500ms --warmup 0s --fail-if p50>10s {}", server.url());
    assert!(on_terminal(100, 24, &line, false).colours > 0);
    assert_eq!(on_terminal(100, 24, &line, true).colours, 0);
    let piped = loadgen(&line).output().unwrap();
    assert!(![piped.stdout, piped.stderr].concat().contains(&0x1B));
}

#[test]
fn a_regression_is_painted_on_a_terminal_and_nowhere_else() {
    let _alone = alone();
    let delays = [100, 300].map(std::time::Duration::from_millis);
    let [old, new] = delays.map(|delay| {
        let server = Server::start(Faults { delay, ..Faults::default() });
        let path = support::scratch("report.json");
        let line = format!("-c4 -R400 -d2s --warmup 0s --interval 250ms -q --json {}", path.display());
        assert!(loadgen(&format!("{line} {}", server.url())).output().unwrap().status.success());
        path.display().to_string()
    });
    let line = format!("compare {old} {new}");
    let piped = loadgen(&line).output().unwrap();
    let said = String::from_utf8([piped.stdout, piped.stderr].concat()).unwrap();
    assert!(piped.status.code() == Some(3) && said.contains("REGRESSION"), "{said}");
    assert!(!said.contains('\x1b'), "{said}");
    // The same reports in the other order are no reason to exit.
    let line = format!("compare {new} {old}");
    assert!(on_terminal(100, 24, &line, false).colours > 0);
    assert_eq!(on_terminal(100, 24, &line, true).colours, 0);
    for path in [old, new] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn help_fits_the_terminal() {
    for width in [40, 80, 132] {
        for line in ["help", "run --help", "help verdict"] {
            assert!(
                on_terminal(width, 24, line, true).broken <= if width < 80 { 10 } else { 0 },
                "{line} at {width}"
            );
        }
    }
}
