//! What this host allows before a run is tried: each limit a number of connections meets, and the command that raises
//! it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::engine::target::{addresses, first_to_connect};
use crate::host::address::Address;
use crate::host::limits::Limits;
use crate::host::source_addresses::{self, Sources};
use crate::protocol::url::{Place, Url};
use crate::report::format::{bytes, count};

/// Kernel memory of an idle pair of loopback sockets, and of one that has carried a message: slab growth measured on
/// Linux 6.18. A remote target has one end here, half of it.
const PAIR_BYTES: [u64; 2] = [7987, 9114];

/// Descriptors beside the connections: polls, timers, files.
const OTHER_DESCRIPTORS: u64 = 64;

/// How long a server may take to answer a SYN.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections being opened at a time, the default of `--connect-inflight`.
const CONNECT_INFLIGHT: u64 = 256;

/// Examines this host for `connections` to `url` (a loopback server if absent), at the place of `elsewhere` if there is
/// one, from `sources`.
///
/// Answers the findings, one a line with remedies below, and whether such a run can work.
///
/// # Errors
/// When `url` is none or does not resolve.
pub fn examine(
    connections: u64,
    url: Option<&str>,
    elsewhere: Option<&Place>,
    sources: Option<&str>,
) -> Result<(String, bool), String> {
    let (target, server) = match url {
        Some(url) => {
            let reach = source_addresses::reach(sources)?;
            let all = addresses(&Url::parse(url)?, elsewhere, reach)?;
            match first_to_connect(&all, PATIENCE) {
                Ok(target) => (target.clone(), Some(ok(format!("{target} takes connections")))),
                Err(e) => (all[0].clone(), Some(fail(e, vec!["start the server".to_owned()]))),
            }
        }
        None => (Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80)), None),
    };
    let plan = PlannedRun { connections, local: target.is_local(), target, sources };
    let mut findings = plan.findings(&Limits::read());
    findings.extend(server);
    let mut out = String::new();
    let mut sysctl = false;
    for finding in &findings {
        let word = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let _ = writeln!(out, " {word:4}  {}", finding.text);
        for remedy in &finding.remedies {
            sysctl |= remedy.starts_with("sysctl");
            let _ = writeln!(out, "         {remedy}");
        }
    }
    if sysctl {
        out.push_str(
            "sysctl -w needs root and lasts until the next boot; a file in /etc/sysctl.d keeps it.\n",
        );
    }
    Ok((out, findings.iter().all(|f| f.level != Level::Fail)))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug)]
struct Diagnosis {
    level: Level,
    text: String,
    /// Commands, each as one would type it.
    remedies: Vec<String>,
}

/// What is to be done.
struct PlannedRun<'a> {
    connections: u64,
    target: Address,
    /// Client and server share this host, so its limits are met from both ends.
    local: bool,
    sources: Option<&'a str>,
}

impl PlannedRun<'_> {
    fn findings(&self, limits: &Limits) -> Vec<Diagnosis> {
        let mut findings = vec![self.ports(limits), self.descriptors(limits)];
        findings.extend(self.open_files(limits));
        findings.extend(self.backlog(limits));
        findings.extend(self.kernel_memory(limits));
        findings.extend(self.tcp_mem(limits));
        findings.extend(self.conntrack(limits));
        findings.extend(self.time_wait(limits));
        findings.extend(self.processors(limits));
        findings.extend(self.clock(limits));
        findings
    }

    /// Sockets on this host.
    fn ends(&self) -> u64 {
        self.connections * if self.local { 2 } else { 1 }
    }

    fn ports(&self, limits: &Limits) -> Diagnosis {
        let each = count(limits.ports as u64);
        match Sources::plan(self.sources, &self.target, self.connections as usize, limits.ports) {
            Ok(sources) => {
                let from = match sources.count() {
                    1 => format!("one source address, {each} ports"),
                    n => format!("{n} source addresses, {each} ports each"),
                };
                ok(format!("{} connections to {} from {from}", count(self.connections), self.target))
            }
            Err(_) => {
                let wide = 65_535 - 1024 + 1;
                let mut remedies = Vec::new();
                if limits.ports < wide {
                    remedies.push("sysctl -w net.ipv4.ip_local_port_range='1024 65535'".to_owned());
                }
                let addresses = self.connections.div_ceil(wide as u64);
                if addresses > 1 {
                    remedies.push(format!(
                        "--source with {addresses} addresses of this host (ip addr add ADDRESS/32 dev lo)"
                    ));
                }
                let [low, high] = limits.port_ends;
                fail(
                    format!(
                        "ports {low} to {high} are {each} an address, too few for {}",
                        count(self.connections)
                    ),
                    remedies,
                )
            }
        }
    }

    fn descriptors(&self, limits: &Limits) -> Diagnosis {
        let needed = self.connections + OTHER_DESCRIPTORS;
        let hard = limits.nofile_hard;
        if hard >= needed {
            return ok(format!("descriptors: {} needed, hard limit {}", count(needed), count(hard)));
        }
        let mut remedies = Vec::new();
        if limits.nr_open.is_some_and(|most| most < needed) {
            remedies.push(format!("sysctl -w fs.nr_open={needed}"));
        }
        remedies.push(format!("ulimit -Hn {needed}    as root, in the shell that starts loadgen"));
        remedies.push(format!("LimitNOFILE={needed}    in a systemd unit"));
        if self.local {
            remedies.push("and the same for the server".to_owned());
        }
        let processes = needed.div_ceil(hard.saturating_sub(OTHER_DESCRIPTORS).max(1));
        if processes <= 64 {
            remedies.push(format!(
                "or {processes} processes: --shard 1/{processes} to {processes}/{processes}, then merge"
            ));
        }
        fail(format!("descriptors: {} needed, hard limit {}", count(needed), count(hard)), remedies)
    }

    fn open_files(&self, limits: &Limits) -> Option<Diagnosis> {
        let needed = self.ends() + 4096;
        let most = limits.file_max.filter(|most| *most < needed)?;
        let text = format!("open files of the host: {} needed, at most {}", count(needed), count(most));
        Some(fail(text, vec![format!("sysctl -w fs.file-max={}", needed * 2)]))
    }

    /// The queues between a SYN and the server's accept; only a local server's can be seen.
    fn backlog(&self, limits: &Limits) -> Option<Diagnosis> {
        if !self.local {
            return None;
        }
        let (accept, syn) = (limits.somaxconn?, limits.syn_backlog?);
        let text = format!("somaxconn {}, tcp_max_syn_backlog {}", count(accept), count(syn));
        let at_once = self.connections.min(CONNECT_INFLIGHT);
        if accept.min(syn) >= at_once {
            return Some(ok(format!(
                "{text}: enough for {at_once} connects at a time, if the server's own backlog is"
            )));
        }
        let mut remedies = Vec::new();
        for (name, value) in [("net.core.somaxconn", accept), ("net.ipv4.tcp_max_syn_backlog", syn)] {
            if value < at_once {
                remedies.push(format!("sysctl -w {name}=4096"));
            }
        }
        remedies.push(format!("or --connect-inflight {}", accept.min(syn).max(1)));
        Some(warn(
            format!("{text}: {at_once} connects at a time overflow it, and wait a second each"),
            remedies,
        ))
    }

    fn kernel_memory(&self, limits: &Limits) -> Option<Diagnosis> {
        let available = limits.memory_available?;
        let share = if self.local { 1 } else { 2 };
        let [idle, used] = PAIR_BYTES.map(|b| self.connections * b / share);
        let what = if self.local { "both ends" } else { "this end" };
        let text = format!(
            "kernel memory: about {} to {} for {what}, {} available",
            bytes(idle as f64),
            bytes(used as f64),
            bytes(available as f64)
        );
        Some(match used {
            used if used > available => fail(text, vec!["more memory, or fewer connections".to_owned()]),
            used if used > available / 2 => warn(text, Vec::new()),
            _ => ok(text),
        })
    }

    /// Data in flight takes at least a page of buffer in each direction.
    fn tcp_mem(&self, limits: &Limits) -> Option<Diagnosis> {
        let pressure = limits.tcp_mem_pressure?;
        let pages = self.ends();
        let text = format!(
            "tcp_mem: pressure begins at {} of buffers, {} if every connection holds a page at each end",
            bytes(pressure as f64 * 4096.0),
            bytes(pages as f64 * 4096.0)
        );
        if pages <= pressure {
            return Some(ok(text));
        }
        let remedy = format!("sysctl -w net.ipv4.tcp_mem='{} {} {}'", pages, pages * 2, pages * 3);
        Some(warn(text, vec![remedy]))
    }

    fn conntrack(&self, limits: &Limits) -> Option<Diagnosis> {
        let (used, most) = limits.conntrack?;
        let needed = used + self.connections;
        let text = format!("conntrack: {} entries needed, at most {}", count(needed), count(most));
        if needed <= most {
            return Some(ok(text));
        }
        let remedies = vec![
            format!("sysctl -w net.netfilter.nf_conntrack_max={}", needed * 2),
            "or, where no rule needs it: iptables -t raw -A OUTPUT -p tcp -j NOTRACK; \
             iptables -t raw -A PREROUTING -p tcp -j NOTRACK"
                .to_owned(),
        ];
        // Connection tracking may be loaded without a rule that makes it track.
        Some(if used == 0 {
            warn(format!("{text}; it tracks nothing now"), remedies)
        } else {
            fail(text, remedies)
        })
    }

    fn time_wait(&self, limits: &Limits) -> Option<Diagnosis> {
        let sources =
            Sources::plan(self.sources, &self.target, self.connections as usize, limits.ports).ok()?;
        (limits.time_wait + self.connections > (limits.ports * sources.count()) as u64).then(|| {
            let text = format!(
                "{} sockets of earlier runs are in TIME_WAIT and may keep ports",
                count(limits.time_wait)
            );
            warn(text, vec!["wait a minute".to_owned()])
        })
    }

    fn processors(&self, limits: &Limits) -> Option<Diagnosis> {
        (self.local && limits.cpus < 4).then(|| {
            let text = format!(
                "{} CPUs for client and server: they compete, and a hard run will be SUSPECT",
                limits.cpus
            );
            let remedy = match limits.cpus {
                1 => "measure from another machine".to_owned(),
                _ => "taskset -c 0 SERVER; taskset -c 1 loadgen …    or measure from another machine"
                    .to_owned(),
            };
            warn(text, vec![remedy])
        })
    }

    fn clock(&self, limits: &Limits) -> Option<Diagnosis> {
        let source = limits.clocksource.as_deref()?;
        // These are read by a system call or a slow register, a microsecond each time.
        let slow = ["hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"].contains(&source);
        let governor = limits.governor.as_deref();
        let text = match governor {
            Some(governor) => format!("clock {source}, frequency governor {governor}"),
            None => format!("clock {source}"),
        };
        let mut remedies = Vec::new();
        if slow {
            remedies.push(
                "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource".to_owned(),
            );
        }
        if governor == Some("powersave") {
            remedies.push("cpupower frequency-set -g performance".to_owned());
        }
        Some(if remedies.is_empty() { ok(text) } else { warn(text, remedies) })
    }
}

fn ok(text: String) -> Diagnosis {
    Diagnosis { level: Level::Ok, text, remedies: Vec::new() }
}

fn warn(text: String, remedies: Vec<String>) -> Diagnosis {
    Diagnosis { level: Level::Warn, text, remedies }
}

fn fail(text: String, remedies: Vec<String>) -> Diagnosis {
    Diagnosis { level: Level::Fail, text, remedies }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that stands in nobody's way.
    fn generous() -> Limits {
        Limits {
            nofile_hard: 1 << 21,
            nr_open: Some(1 << 21),
            file_max: Some(1 << 24),
            ports: 64_512,
            port_ends: [1024, 65_535],
            somaxconn: Some(4096),
            syn_backlog: Some(4096),
            tcp_mem_pressure: Some(1 << 22),
            memory_available: Some(64 << 30),
            conntrack: None,
            time_wait: 0,
            cpus: 16,
            clocksource: Some("tsc".into()),
            governor: Some("performance".into()),
        }
    }

    fn plan(connections: u64, target: &str) -> PlannedRun<'static> {
        let target = Address::Tcp(target.parse().unwrap());
        PlannedRun { connections, local: target.is_local(), target, sources: None }
    }

    #[test]
    fn a_million_on_a_generous_host_is_fine() {
        let findings = plan(1_000_000, "127.0.0.1:80").findings(&generous());
        assert!(findings.iter().all(|f| f.level == Level::Ok), "{findings:?}");
        assert!(findings[0].text.contains("source addresses"), "{findings:?}");
        assert!(
            findings.iter().any(|f| f.text.contains("about 7.44 GiB to 8.49 GiB for both ends")),
            "{findings:?}"
        );
    }

    /// One limit at a time: what is lowered is what is found, with the command that raises it.
    #[test]
    fn each_limit_is_found_with_its_remedy() {
        type Spoil = fn(&mut Limits);
        let rows: [(&str, Spoil, Level, &str); 13] = [
            ("127.0.0.1:80", |l| l.nofile_hard = 20_000, Level::Fail, "ulimit -Hn 100064"),
            (
                "127.0.0.1:80",
                |l| (l.nofile_hard, l.nr_open) = (20_000, Some(65_536)),
                Level::Fail,
                "sysctl -w fs.nr_open=100064",
            ),
            ("127.0.0.1:80", |l| l.file_max = Some(150_000), Level::Fail, "sysctl -w fs.file-max=408192"),
            ("198.51.100.1:80", |_| (), Level::Fail, "--source with 2 addresses"),
            ("198.51.100.1:80", |l| l.ports = 28_232, Level::Fail, "ip_local_port_range='1024 65535'"),
            ("127.0.0.1:80", |l| l.somaxconn = Some(128), Level::Warn, "sysctl -w net.core.somaxconn=4096"),
            ("127.0.0.1:80", |l| l.memory_available = Some(1 << 29), Level::Fail, "fewer connections"),
            (
                "127.0.0.1:80",
                |l| l.tcp_mem_pressure = Some(190_000),
                Level::Warn,
                "tcp_mem='200000 400000 600000'",
            ),
            (
                "127.0.0.1:80",
                |l| l.conntrack = Some((9, 65_536)),
                Level::Fail,
                "sysctl -w net.netfilter.nf_conntrack_max=200018",
            ),
            ("127.0.0.1:80", |l| l.conntrack = Some((0, 65_536)), Level::Warn, "NOTRACK"),
            ("127.0.0.1:80", |l| l.time_wait = 800_000, Level::Warn, "wait a minute"),
            ("127.0.0.1:80", |l| l.cpus = 2, Level::Warn, "taskset"),
            ("127.0.0.1:80", |l| l.clocksource = Some("hpet".into()), Level::Warn, "echo tsc"),
        ];
        for (target, spoil, level, remedy) in rows {
            let mut limits = generous();
            spoil(&mut limits);
            let findings = plan(100_000, target).findings(&limits);
            let bad: Vec<_> = findings.iter().filter(|f| f.level != Level::Ok).collect();
            assert_eq!(bad.len(), 1, "{remedy}: {findings:?}");
            assert_eq!(bad[0].level, level, "{bad:?}");
            assert!(bad[0].remedies.iter().any(|r| r.contains(remedy)), "{remedy}: {bad:?}");
        }
    }

    #[test]
    fn this_host_can_hold_ten_and_not_a_billion() {
        let (text, fine) = examine(10, None, None, None).unwrap();
        assert!(fine, "{text}");
        let (text, fine) = examine(1_000_000_000, Some("ws://127.0.0.1:9/"), None, None).unwrap();
        assert!(!fine && text.contains(" FAIL  "), "{text}");
        assert!(examine(10, Some("http://x/"), None, None).is_err());
    }

    #[test]
    fn a_port_where_nobody_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let (text, fine) = examine(10, Some(&url), None, None).unwrap();
        assert!(fine && text.contains("takes connections"), "{text}");
        drop(listener);
        let (text, fine) = examine(10, Some(&url), None, None).unwrap();
        assert!(!fine && text.contains("Connection refused"), "{text}");
    }
}
