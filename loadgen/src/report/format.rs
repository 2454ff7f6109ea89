//! Numbers as people read them: three significant digits and a unit.

/// A time given in nanoseconds: `780 ns`, `61.2 µs`, `1.31 ms`, `2.11 s`.
pub fn time(ns: impl Into<f64>) -> String {
    let ns = ns.into();
    match ns.abs() {
        0.0 => "0 s".into(),
        // The bounds are where rounding to three digits would show 1000 of the smaller unit.
        a if a < 999.5 => format!("{} ns", ns.round()),
        a if a < 999.5e3 => format!("{} µs", digits(ns / 1e3)),
        a if a < 999.5e6 => format!("{} ms", digits(ns / 1e6)),
        _ => format!("{} s", digits(ns / 1e9)),
    }
}

/// As [`time`], for the integers of the report.
pub fn ns(ns: u64) -> String {
    time(ns as f64)
}

/// A count in full: `2,999,880`.
pub fn count(n: u64) -> String {
    let plain = n.to_string();
    let mut out = String::new();
    for (i, digit) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A rate or a load, short: `412`, `24.8k`, `1.20M`.
pub fn short(n: f64) -> String {
    match n.abs() {
        a if a < 999.5 => digits(n),
        a if a < 999.5e3 => format!("{}k", digits(n / 1e3)),
        a if a < 999.5e6 => format!("{}M", digits(n / 1e6)),
        _ => format!("{}G", digits(n / 1e9)),
    }
}

/// Bytes in binary units: `640 B`, `1.94 KiB`, `21.9 MiB`.
pub fn bytes(n: f64) -> String {
    match n.abs() {
        a if a < 999.5 => format!("{} B", n.round()),
        a if a < 999.5 * 1024.0 => format!("{} KiB", digits(n / 1024.0)),
        a if a < 999.5 * 1048576.0 => format!("{} MiB", digits(n / 1048576.0)),
        _ => format!("{} GiB", digits(n / 1073741824.0)),
    }
}

/// A change as a fraction, signed: `+13.2%`.
pub fn change(fraction: f64) -> String {
    let percent = (fraction * 1000.0).round() / 10.0;
    if percent == 0.0 { "0.0%".into() } else { format!("{percent:+.1}%") }
}

/// Three significant digits below a thousand, whole numbers in full, no trailing zeros where the number is whole.
fn digits(x: f64) -> String {
    if x == x.round() {
        return format!("{x:.0}");
    }
    match x.abs() {
        a if a < 9.995 => format!("{x:.2}"),
        a if a < 99.95 => format!("{x:.1}"),
        _ => format!("{x:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_three_digits_and_change_unit_where_rounding_would_overflow() {
        let rows = [
            (0, "0 s"),
            (999, "999 ns"),
            (1000, "1 µs"),
            (1310, "1.31 µs"),
            (61_234, "61.2 µs"),
            (999_400, "999 µs"),
            (999_600, "1.00 ms"),
            (2_110_000_000, "2.11 s"),
        ];
        for (value, shown) in rows {
            assert_eq!(ns(value), shown, "{value}");
        }
    }

    #[test]
    fn counts_are_grouped_in_threes() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(2_999_880), "2,999,880");
    }

    #[test]
    fn short_forms() {
        assert_eq!(short(24_800.0), "24.8k");
        assert_eq!(short(50_000.0), "50k");
        assert_eq!(bytes(1987.0), "1.94 KiB");
        assert_eq!(change(0.132), "+13.2%");
        assert_eq!(change(-0.0001), "0.0%");
    }
}
