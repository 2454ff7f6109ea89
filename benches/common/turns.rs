//! Two sides by turns, so that a slow moment of the machine meets both, and how their costs compare.

use std::fmt;

/// What a unit of work costs each side, in nanoseconds, and the second beside the first.
pub struct Comparison {
    /// The medians of the two sides.
    medians: [f64; 2],
    /// The quartiles of their ratio, round by round, and its median between them.
    ratio: [f64; 3],
}

/// Has both sides work in `rounds` of turns, after one that does not count. A `turn` says what each side's cost.
pub fn by_turns<E>(rounds: usize, mut turn: impl FnMut() -> Result<[f64; 2], E>) -> Result<Comparison, E> {
    let [mut floor, mut ours, mut ratio] = [const { Vec::new() }; 3];
    for round in 0..=rounds {
        let [beside, our] = turn()?;
        if round > 0 {
            floor.push(beside);
            ours.push(our);
            ratio.push(our / beside);
        }
    }
    Ok(Comparison {
        medians: [quantile(&mut floor, 0.5), quantile(&mut ours, 0.5)],
        ratio: [0.25, 0.5, 0.75].map(|part| quantile(&mut ratio, part)),
    })
}

/// The columns of a table, with the quartiles behind the ratio.
impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let ([floor, ours], [low, ratio, high]) = (self.medians, self.ratio);
        let spread = format!("{low:.2}-{high:.2}");
        write!(formatter, "{floor:>9.0} ns{ours:>9.0} ns{ratio:>8.2}  {spread:13}")
    }
}

/// The value below which `part` of the values lie (nearest rank).
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}
