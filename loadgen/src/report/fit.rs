//! A report in the width of a terminal: tables with narrower columns, everything else in more lines.

/// Where the columns of a latency table end, and those of the other tables.
const STATS: [usize; 9] = [23, 33, 43, 53, 63, 73, 83, 93, 106];
const CELL: usize = 13;

/// Columns that go when there is no room, in this order: the means, the rarest percentiles, p90.
const DISPENSABLE: [usize; 4] = [7, 5, 4, 2];

/// `text`, which is as `text::render` writes it, in lines of at most `width` columns.
pub fn fit(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if columns(line) <= width {
            out += line;
            out.push('\n');
        } else if let Some(kind) = TableKind::of(line) {
            let mut rows = vec![kind.cells(line)];
            while let Some(next) = lines.next_if(|next| kind.goes_on(next)) {
                rows.push(kind.cells(next));
            }
            table(&mut out, kind, rows, width);
        } else {
            wrap(&mut out, line, width);
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
enum TableKind {
    Stats,
    Cells,
}

impl TableKind {
    /// The table that `line` begins, or is all of.
    fn of(line: &str) -> Option<TableKind> {
        let chars: Vec<char> = line.chars().collect();
        let stats = chars.len() == STATS[8] && STATS[..8].iter().all(|at| chars[*at] == ' ');
        let cells = chars.len().is_multiple_of(CELL) && chars.chunks(CELL).all(|cell| cell[0] == ' ');
        match (stats, cells) {
            (true, _) => Some(TableKind::Stats),
            (_, true) => Some(TableKind::Cells),
            _ => None,
        }
    }

    fn goes_on(self, line: &str) -> bool {
        match self {
            // Rows of intervals end early.
            TableKind::Stats => !line.is_empty() && line.chars().count() <= STATS[8],
            TableKind::Cells => TableKind::of(line) == Some(TableKind::Cells),
        }
    }

    fn cells(self, line: &str) -> Vec<String> {
        let chars: Vec<char> = line.chars().collect();
        let ends: Vec<usize> = match self {
            TableKind::Stats => STATS.to_vec(),
            TableKind::Cells => (1..=chars.len() / CELL).map(|i| i * CELL).collect(),
        };
        let mut begin = 0;
        let cell = |end: usize| {
            let range = begin.min(chars.len())..end.min(chars.len());
            begin = end;
            chars[range].iter().collect::<String>().trim().to_owned()
        };
        ends.into_iter().map(cell).collect()
    }
}

fn table(out: &mut String, kind: TableKind, mut rows: Vec<Vec<String>>, width: usize) {
    let widths = |rows: &[Vec<String>]| -> Vec<usize> {
        let most = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| columns(cell)).max();
        (0..most).map(|i| widest(i).unwrap_or(0)).collect()
    };
    let total =
        |widths: &[usize], gap: usize| widths.iter().sum::<usize>() + gap * (widths.len().saturating_sub(1));
    if kind == TableKind::Stats && total(&widths(&rows), 2) > width {
        // What a row means is explained elsewhere (`loadgen help wire`).
        for row in &mut rows {
            row[0] = row[0].split(" (").next().unwrap_or_default().to_owned();
        }
        for (at, column) in DISPENSABLE.into_iter().enumerate() {
            // The means are worth less than the room between the others.
            if total(&widths(&rows), if at == 0 { 2 } else { 1 }) > width {
                rows.iter_mut().for_each(|row| drop(row.remove(column)));
            }
        }
    }
    let widths = widths(&rows);
    let gap = if total(&widths, 2) <= width { 2 } else { 1 };
    for row in &rows {
        let mut line = String::new();
        for (i, (cell, room)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(room - columns(cell));
            line += &" ".repeat(if i > 0 { gap } else { 0 });
            line += &if i == 0 && kind == TableKind::Stats {
                format!("{cell}{pad}")
            } else {
                format!("{pad}{cell}")
            };
        }
        match columns(&line) <= width {
            true => {
                out.push_str(line.trim_end());
                out.push('\n');
            }
            false => wrap(out, line.trim(), width),
        }
    }
}

/// Breaks `line` at spaces; what goes on stands below what it belongs to.
fn wrap(out: &mut String, line: &str, width: usize) {
    let named = line.find("   ").filter(|at| *at < CELL).map_or(0, |_| line.len() - line.trim_start().len());
    let indent = match line.find("  ") {
        Some(at) if at < CELL && named == 0 => {
            columns(&line[..at]) + line[at..].len() - line[at..].trim_start().len()
        }
        _ => named,
    }
    .min(width / 2);
    let mut used = 0;
    let mut begun = false;
    for word in line.split(' ') {
        let length = columns(word);
        if begun && used > indent && used + 1 + length > width {
            while out.ends_with(' ') {
                out.pop();
            }
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else if begun {
            out.push(' ');
            used += 1;
        }
        begun = true;
        // A word longer than the terminal breaks where it has to.
        let mut rest = word;
        while used + columns(rest) > width && width > indent {
            let at = rest.char_indices().nth(width - used.min(width)).map_or(rest.len(), |(at, _)| at);
            out.push_str(&rest[..at]);
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            (used, rest) = (indent, &rest[at..]);
        }
        out.push_str(rest);
        used += columns(rest);
    }
    out.push('\n');
}

/// Columns that `text` takes on a terminal, colours not counted.
pub fn columns(text: &str) -> usize {
    let mut all = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => drop(chars.by_ref().find(char::is_ascii_alphabetic)),
            _ => all += 1,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_below_what_they_belong_to() {
        let text = "VERDICT  \x1b[32mVALID\x1b[0m    one two three four\nNOTE     a note that is longer than the line\n";
        assert_eq!(
            fit(text, 30),
            "VERDICT  \x1b[32mVALID\x1b[0m    one two\n         three four\nNOTE     a note that is longer\n         \
             than the line\n"
        );
        assert_eq!(fit(text, 80), text);
        let long = format!("to repeat    {}\n", "x".repeat(100));
        assert!(fit(&long, 40).lines().all(|line| line.len() <= 40));
        assert_eq!(fit(&long, 40).matches('x').count(), 100);
    }

    #[test]
    fn tables_lose_their_means_and_explanations_first() {
        let row = |label: &str, cells: [&str; 7], n: &str| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>10}")).collect();
            format!("{label:23}{cells}{n:>13}\n")
        };
        let head = row("", ["p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"], "n");
        let wire =
            row("wire (written→read)", ["31.7 µs", "1 ms", "-", "-", "-", "2 ms", "35.9 µs"], "1,000,000");
        let text = format!("{head}{wire}  ± 95% CI               ±0.5 ns\n\nnext\n");
        let narrow = fit(&text, 80);
        assert!(narrow.contains("wire (written→read)") && narrow.contains("35.9 µs"), "{narrow}");
        let narrower = fit(&text, 60);
        assert!(narrower.contains("\nwire  ") && !narrower.contains("35.9 µs"), "{narrower}");
        assert!(narrower.contains("±0.5 ns") && narrower.ends_with("\n\nnext\n"), "{narrower}");
        for width in [50, 60, 80, 100] {
            let fitted = fit(&text, width);
            assert!(fitted.lines().all(|line| columns(line) <= width), "{width}");
            assert_eq!(fitted.lines().count(), text.lines().count(), "a row is a line: {fitted}");
        }
    }
}
