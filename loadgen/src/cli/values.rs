//! What the values of options may be, and what is said of those that may not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::engine::schedule::ArrivalProcess;
use crate::report::units;

/// A value, and its place among such on the command line: of different options, which comes first matters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// Which comes first.
    pub place: usize,
    /// As it was given.
    pub text: String,
}

/// Notes the place of a value.
pub fn placed(text: &str) -> Result<Placed, String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // argh reads options in the order in which they stand.
    Ok(Placed { place: NEXT.fetch_add(1, Ordering::Relaxed), text: text.to_owned() })
}

/// `even` or `poisson`.
pub fn arrival(text: &str) -> Result<ArrivalProcess, String> {
    match text {
        "even" => Ok(ArrivalProcess::Even),
        "poisson" => Ok(ArrivalProcess::Poisson),
        _ => Err(format!("`{text}` is neither even nor poisson")),
    }
}

/// 1 to 256.
pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=256) => Ok(n),
        _ => Err(format!("`{text}` is not a number of threads from 1 to 256")),
    }
}

/// A count above zero.
pub fn some_count(text: &str) -> Result<u64, String> {
    match units::count(text)? {
        0 => Err("the number must be above zero".into()),
        n => Ok(n),
    }
}

/// 1 to a million.
pub fn positive(text: &str) -> Result<u32, String> {
    units::count(text)
        .ok()
        .filter(|n| (1..=1_000_000).contains(n))
        .map(|n| n as u32)
        .ok_or_else(|| format!("`{text}` is not a number from 1 to 1M"))
}

/// A payload of at least one byte.
pub fn fragment(text: &str) -> Result<usize, String> {
    units::message_size(text)?
        .checked_sub(1)
        .map(|n| n + 1)
        .ok_or_else(|| "a fragment has at least 1 byte".to_owned())
}

/// A time above zero.
pub fn some_time(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        Duration::ZERO => Err("the time must be above zero".into()),
        time => Ok(time),
    }
}

/// `2%`, or `0.02`.
pub fn share(text: &str) -> Result<f64, String> {
    units::share(text)
        .ok()
        .filter(|share| *share <= 1.0)
        .ok_or_else(|| format!("`{text}` is not a percentage such as 2%"))
}

/// A share above zero.
pub fn some_share(text: &str) -> Result<f64, String> {
    match share(text)? {
        0.0 => Err("the share must be above zero".into()),
        share => Ok(share),
    }
}

/// A header line that cannot become two.
pub fn header(text: &str) -> Result<String, String> {
    let name = text.split_once(':').map_or("", |(name, _)| name);
    match is_token(name) && !has_controls(text) {
        true => Ok(text.to_owned()),
        // What it says instead may be a secret.
        false => Err("it takes a whole header line such as 'X-Trace: 7'".to_owned()),
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// What would end a header line, or is not allowed in one (RFC 9110 section 5.5).
fn has_controls(text: &str) -> bool {
    text.contains(|c: char| c.is_control() && c != '\t')
}

/// RFC 6455 section 4.1, item 10 of the request: tokens, each once.
pub fn subprotocols(text: &str) -> Result<String, String> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    let once = names.iter().enumerate().all(|(i, name)| !names[..i].contains(name));
    match once && names.iter().all(|name| is_token(name)) {
        true => Ok(names.join(", ")),
        false => Err("it takes different names such as chat,superchat".to_owned()),
    }
}

/// An origin without spaces (RFC 6454).
pub fn origin(text: &str) -> Result<String, String> {
    match text.is_empty() || has_controls(text) || text.contains(char::is_whitespace) {
        true => Err("it takes an origin such as https://a.example".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A process of this host whose memory can be read.
pub fn pid(text: &str) -> Result<u32, String> {
    let pid = text.parse().map_err(|_| format!("`{text}` is not a process id"))?;
    match crate::host::procfs::rss(pid) {
        Some(_) => Ok(pid),
        None => Err(format!("there is no process {pid} whose memory can be read")),
    }
}

/// A moment: seconds since 1970, or the next HH:MM:SS in UTC.
pub fn start_at(text: &str) -> Result<SystemTime, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .map(|since| UNIX_EPOCH + since)
            .map_err(|_| format!("`{text}` is not a time"));
    }
    let wrong = || format!("`{text}` is neither seconds since 1970 nor HH:MM:SS in UTC");
    let parts: Vec<u64> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let [h @ 0..24, m @ 0..60, s @ 0..60] = parts[..] else { return Err(wrong()) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let today = now / 86_400 * 86_400 + h * 3600 + m * 60 + s;
    // The next such time: tomorrow's, if today's has passed.
    let at = if today <= now { today + 86_400 } else { today };
    Ok(UNIX_EPOCH + Duration::from_secs(at))
}

/// What ends a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clock {
    /// When the kernel received it.
    Kernel,
    /// When loadgen read it.
    Read,
}

/// `kernel` or `read`.
pub fn stamp(text: &str) -> Result<Clock, String> {
    match text {
        "kernel" => Ok(Clock::Kernel),
        "read" => Ok(Clock::Read),
        _ => Err("--stamps is kernel or read".into()),
    }
}

/// A part of the connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Portion {
    /// So many.
    Number(usize),
    /// A share of all, 0 to 1.
    Share(f64),
}

impl Portion {
    /// `N` or `P%`; none at all is refused.
    pub fn parse(text: &str) -> Result<Portion, String> {
        let part = match text.strip_suffix('%') {
            Some(_) => Portion::Share(share(text)?),
            None => Portion::Number(units::count(text)? as usize),
        };
        match part {
            Portion::Number(0) | Portion::Share(0.0) => {
                Err("none at all is no part of the connections".into())
            }
            part => Ok(part),
        }
    }

    /// That part of `n`, at least one.
    pub fn of(self, n: usize) -> usize {
        match self {
            Portion::Number(k) => k.min(n),
            Portion::Share(s) => (s * n as f64).round() as usize,
        }
        .max(1)
    }
}

/// `--shard I/N`: process I, counted from 0 here and from 1 there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// Of how many.
    pub count: usize,
}

/// What launchers call a process's rank, from 0, and how many there are: Slurm, Open MPI, and MPICH and others by PMI.
const RANK_AND_SIZE: [(&str, &str); 3] = [
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
];

/// Where there is a rank alone, and from which number it counts: indexed jobs of Kubernetes, arrays of PBS and of Torque,
/// the slots of GNU parallel.
const RANK: [(&str, usize); 4] =
    [("JOB_COMPLETION_INDEX", 0), ("PBS_ARRAY_INDEX", 1), ("PBS_ARRAYID", 1), ("PARALLEL_JOBSLOT", 1)];

impl Shard {
    /// Reads `I/N`, or `auto` and `auto/N` with what the launcher says.
    pub fn parse(text: &str) -> Result<Shard, String> {
        Shard::of(text, |name| std::env::var(name).ok())
    }

    fn of(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
        let number = |name: &str| variable(name)?.parse::<usize>().ok();
        let size = match text {
            "auto" => None,
            _ => match text.strip_prefix("auto/") {
                Some(size) => Some(size),
                None => return Shard::written(text),
            },
        };
        let launched =
            RANK_AND_SIZE.into_iter().find_map(|(rank, size)| Some((rank, number(rank)?, number(size)?)));
        let (name, rank, size) = match size {
            None => launched.ok_or_else(|| {
                let names = RANK_AND_SIZE.map(|(rank, size)| format!("{rank} and {size}")).join(", ");
                format!(
                    "auto: no launcher says rank and size ({names}); auto/N takes the rank of more of them"
                )
            })?,
            Some(size) => {
                let count = size.parse().map_err(|_| format!("`{text}` is not auto/N"))?;
                let alone = RANK.into_iter().find_map(|(name, first)| {
                    // A number from before the first is refused below.
                    Some((name, number(name)?.checked_sub(first).unwrap_or(usize::MAX), count))
                });
                let of_both = launched.map(|(name, rank, _)| (name, rank, count));
                alone.or(of_both).ok_or_else(|| {
                    let names = RANK.map(|(name, _)| name).join(", ");
                    format!("{text}: no launcher says a rank ({names}, SLURM_PROCID, …)")
                })?
            }
        };
        if rank < size {
            return Ok(Shard { index: rank, count: size });
        }
        let said = variable(name).unwrap_or_default();
        let from = RANK.iter().find(|(other, _)| *other == name).map_or(0, |(_, first)| *first);
        Err(format!(
            "{text}: {name} is {said}, and of {size} processes it is {from} to {}",
            (size + from).saturating_sub(1)
        ))
    }

    fn written(text: &str) -> Result<Shard, String> {
        text.split_once('/')
            .and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)))
            .filter(|(i, n)| *i >= 1 && i <= n)
            .map(|(i, n)| Shard { index: i - 1, count: n })
            .ok_or_else(|| format!("`{text}` is not I/N with I from 1 to N"))
    }

    /// Where this shard's part of `n` begins and how large it is.
    pub fn part(self, n: usize) -> (usize, usize) {
        let begin = |i| n * i / self.count;
        (begin(self.index), begin(self.index + 1) - begin(self.index))
    }
}

/// `--steps` of `conns`.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps(pub Vec<usize>);

/// `--fault` of `storm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A RST.
    Rst,
    /// A Close frame.
    Close,
}

/// `rst` or `close`.
pub fn fault(text: &str) -> Result<Fault, String> {
    match text {
        "rst" => Ok(Fault::Rst),
        "close" => Ok(Fault::Close),
        _ => Err(format!("`{text}` is neither rst nor close")),
    }
}

/// Ascending numbers with commas.
pub fn steps(text: &str) -> Result<Steps, String> {
    let steps =
        text.split(',').map(|n| units::count(n).map(|n| n as usize)).collect::<Result<Vec<_>, _>>()?;
    match steps.is_sorted_by(|a, b| a < b) && steps[0] > 0 {
        true => Ok(Steps(steps)),
        false => Err(format!("`{text}` is not ascending")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(text: &str, variables: &[(&str, &str)]) -> Result<(usize, usize), String> {
        let variable =
            |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        Shard::of(text, variable).map(|shard| (shard.index, shard.count))
    }

    #[test]
    fn launchers_say_which_shard_it_is() {
        let slurm = [("SLURM_PROCID", "2"), ("SLURM_NTASKS", "4")];
        for (text, variables, is) in [
            ("3/4", &[][..], (2, 4)),
            ("auto", &slurm, (2, 4)),
            ("auto", &[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "1")], (0, 1)),
            ("auto", &[("PMI_RANK", "7"), ("PMI_SIZE", "8")], (7, 8)),
            ("auto/4", &[("JOB_COMPLETION_INDEX", "3")], (3, 4)),
            ("auto/4", &[("PBS_ARRAY_INDEX", "1")], (0, 4)),
            ("auto/4", &[("PBS_ARRAYID", "4")], (3, 4)),
            ("auto/2", &[("PARALLEL_JOBSLOT", "2")], (1, 2)),
            ("auto/4", &slurm, (2, 4)),
        ] {
            assert_eq!(shard(text, variables), Ok(is), "{text} {variables:?}");
        }
        for (text, variables, says) in [
            ("auto", &[][..], "no launcher says rank and size (SLURM_PROCID and SLURM_NTASKS"),
            ("auto", &[("JOB_COMPLETION_INDEX", "3")], "auto/N takes the rank"),
            ("auto", &[("SLURM_PROCID", "2")], "no launcher says rank and size"),
            ("auto/4", &[], "no launcher says a rank (JOB_COMPLETION_INDEX"),
            ("auto/4", &[("JOB_COMPLETION_INDEX", "4")], "is 4, and of 4 processes it is 0 to 3"),
            ("auto/4", &[("PBS_ARRAY_INDEX", "0")], "is 0, and of 4 processes it is 1 to 4"),
            ("auto/0", &[("JOB_COMPLETION_INDEX", "0")], "is 0, and of 0 processes"),
            ("auto/x", &slurm, "is not auto/N"),
            ("automatic", &slurm, "is not I/N"),
            ("0/4", &[], "is not I/N"),
        ] {
            let error = shard(text, variables).unwrap_err();
            assert!(error.contains(says), "{text} {variables:?}: {error}");
        }
    }
}
