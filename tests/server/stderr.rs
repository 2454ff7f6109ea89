//! A log that cannot be written, or that nobody reads: the server goes on, and what is lost are whole lines.

use std::fs::{self, File};
use std::io::{Read, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use support::client::*;
use support::command::{Running, shell, wsecho};

const ARGUMENTS: [&str; 6] = ["--listen", "127.0.0.1:0", "--policy", "off", "--log-level", "debug"];

/// Gives it much to log, sees that it serves all the same, and ends it.
fn serves_and_ends(server: &mut Running) {
    let address = server.address();
    let mut witness = Client::connect(address);
    witness.send(upgrade("/echo", ""));
    witness.expect(SWITCHING);
    for number in 0..1000 {
        // Two lines each, together more than a pipe holds (64 KiB).
        let mut client = Client::connect(address);
        client.send([upgrade("/echo", "").into_bytes(), frame(FIN | CLOSE, b"\x03\xe8")].concat());
        client.expect(SWITCHING);
        client.expect(b"\x88\x02\x03\xe8");
        // No FIN, so that no thousand sockets are left in TIME_WAIT.
        client.reset();
        if number % 50 == 0 {
            witness.echo("served");
        }
    }
    server.signal(Signal::SIGTERM);
    witness.expect(STOPPING);
    witness.expect_eof();
    drop(witness);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    serves_and_ends(&mut Running::start(wsecho(&ARGUMENTS).stderr(full)));
    let (reader, writer) = pipe().expect("two descriptors");
    drop(reader);
    serves_and_ends(&mut Running::start(wsecho(&ARGUMENTS).stderr(writer)));
    serves_and_ends(&mut Running::start(&mut shell("exec \"$0\" \"$@\" >&- 2>&- <&-", &ARGUMENTS)));
}

#[test]
fn a_log_that_nobody_reads_loses_whole_lines_and_stops_nothing() {
    let mut server = Running::start(&mut wsecho(&ARGUMENTS));
    serves_and_ends(&mut server);
    let stderr = String::from_utf8(server.output().stderr).expect("text");
    assert!(stderr.len() > 32 * 1024 && stderr.ends_with('\n'), "{} bytes", stderr.len());
    for line in stderr.lines() {
        assert!(line.starts_with("wsecho: ") && line.matches("wsecho: ").count() == 1, "{line:?}");
    }
    let told = stderr.matches("opened").count();
    assert!((100..1000).contains(&told), "{told} lines of 1001: some are lost, or this is no test");
}

/// It polls writable while it has room for a byte, and then would wait for the rest of a line: a hung ssh did that.
#[test]
fn a_terminal_that_nobody_reads_stops_nothing() {
    let OpenptyResult { master, slave } = openpty(None, None).expect("a terminal");
    serves_and_ends(&mut Running::start(wsecho(&ARGUMENTS).stderr(slave.try_clone().expect("a descriptor"))));
    assert!(may_wait(&slave), "whoever shares the terminal finds it as it was");
    drop(slave);
    // What came before it was full is there, in whole lines but the last.
    let mut told = Vec::new();
    // The other end is closed, which a terminal says with EIO.
    let _ = File::from(master).read_to_end(&mut told);
    let told = String::from_utf8(told).expect("text");
    assert!(told.starts_with("wsecho: listening on ") && told.len() > 1024, "{} bytes", told.len());
    assert!(told.lines().all(|line| line.matches("wsecho: ").count() <= 1), "{told}");
}

/// It cannot be opened anew, so nothing can be written without the risk to wait.
#[test]
fn a_terminal_of_somebody_else_stops_nothing() {
    if !Uid::effective().is_root() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("wsecho-terminal-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory for temporary files");
    let copy = directory.join("wsecho");
    fs::copy(env!("CARGO_BIN_EXE_wsecho"), &copy).expect("room for a copy");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let OpenptyResult { master, slave } = openpty(None, None).expect("a terminal");
    let mut command = std::process::Command::new(&copy);
    command.args(ARGUMENTS).env_remove("PORT").uid(65534).gid(65534).stderr(slave);
    serves_and_ends(&mut Running::start(&mut command));
    drop(master);
    fs::remove_dir_all(&directory).expect("it is ours");
}

#[test]
fn a_socket_that_nobody_reads_stops_nothing() {
    let (ours, theirs) = UnixStream::pair().expect("two descriptors");
    let theirs: OwnedFd = theirs.into();
    serves_and_ends(&mut Running::start(
        wsecho(&ARGUMENTS).stderr(theirs.try_clone().expect("a descriptor")),
    ));
    assert!(may_wait(&theirs), "whoever shares the socket finds it as it was");
    drop(theirs);
    let mut told = String::new();
    (&ours).read_to_string(&mut told).expect("text");
    assert!(told.starts_with("wsecho: listening on "), "{told}");
    assert!(told.lines().all(|line| line.matches("wsecho: ").count() <= 1), "{told}");
}

/// Whether calls on this description wait.
fn may_wait(descriptor: impl AsFd) -> bool {
    let flags = fcntl(descriptor, FcntlArg::F_GETFL).expect("an open descriptor");
    !OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK)
}
