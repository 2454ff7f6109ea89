//! What the options take.

use super::*;
use crate::cli::argv::normalize;
use std::time::UNIX_EPOCH;

fn parse(line: &str) -> Result<Subcommand, String> {
    let args = normalize(line.split_whitespace().map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Args::from_args(&["loadgen"], &args).map(|args| args.command).map_err(|exit| exit.output)
}

fn run(line: &str) -> RunArgs {
    match parse(line) {
        Ok(Subcommand::Run(run)) => run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_url_is_enough() {
    let run = run("ws://127.0.0.1:9/");
    assert_eq!((run.connections, run.rate, run.closed), (100, None, false));
    assert_eq!(run.urls, ["ws://127.0.0.1:9/"]);
}

#[test]
fn options_take_units() {
    let run =
        run("-c10k -R50k -d1m --warmup=250ms --active 5% --size 90%:64,10%:1k ws://h/ --fail-if p99>5ms");
    assert_eq!(run.connections, 10_000);
    assert_eq!(run.rate, Some(Rate::Constant(50_000.0)));
    assert_eq!(run.duration, Duration::from_secs(60));
    assert_eq!(run.warmup, Duration::from_millis(250));
    assert_eq!(run.active.of(10_000), 500);
    assert_eq!(run.fail_if.len(), 1);
}

#[test]
fn errors_name_the_option_and_what_it_takes() {
    for (line, option, takes) in [
        ("-c many ws://h/", "-c", "is not a count such as"),
        ("--rate=fast ws://h/", "--rate", "is not a rate above zero"),
        ("-d soon ws://h/", "-d", "is not a time such as"),
        ("--size big ws://h/", "--size", "is not a size up to"),
        ("--draft 14 ws://h/", "--draft", "is not 13, 8, 7, 76 or 75"),
        ("--shard 3/2 ws://h/", "--shard", "is not I/N"),
        ("--fail-if p99 ws://h/", "--fail-if", "p99"),
        ("-H nonsense ws://h/", "-H", "header line"),
        ("-H a/b:c ws://h/", "-H", "header line"),
        ("--subprotocol a,a ws://h/", "--subprotocol", "different names"),
        ("--subprotocol a/b ws://h/", "--subprotocol", "different names"),
        ("--connect-to h ws://h/", "--connect-to", "names no port"),
        ("--connect-inflight 0 ws://h/", "--connect-inflight", "above zero"),
        ("--connect-timeout 0 ws://h/", "--connect-timeout", "above zero"),
        ("--tls 1.1 wss://h/", "--tls", "neither 1.2 nor 1.3"),
        ("-c 0 ws://h/", "-c", "above zero"),
        ("--active 0 ws://h/", "--active", "none at all"),
        ("--active 0% ws://h/", "--active", "none at all"),
        ("storm --survivors 0 ws://h/", "--survivors", "none at all"),
        ("fanout --publishers 0 ws://h/", "--publishers", "above zero"),
        ("find --slo p99<1s --precision 0 ws://h/", "--precision", "above zero"),
        ("-R 1e308 ws://h/", "-R", "not a rate"),
        ("conns --steps 2k,1k ws://h/", "--steps", "not ascending"),
        ("storm --backoff often ws://h/", "--backoff", "is not none, fixed"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(option) && error.contains(takes), "{line}: {error}");
    }
}

#[test]
fn shards_cover_everything_once() {
    for (n, count) in [(100, 3), (7, 7), (1_000_000, 64)] {
        let mut next = 0;
        for index in 0..count {
            let (begin, len) = Shard { index, count }.part(n);
            assert_eq!(begin, next);
            next += len;
        }
        assert_eq!(next, n);
    }
}

#[test]
fn a_time_of_day_is_the_next_such_time() {
    let now = SystemTime::now();
    let at = start_at("03:04:05").unwrap();
    assert!(at > now && at <= now + Duration::from_secs(86_400));
    assert_eq!(start_at("1795219199"), Ok(UNIX_EPOCH + Duration::from_secs(1_795_219_199)));
    assert!(start_at("25:00:00").is_err());
}
