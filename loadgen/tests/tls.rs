//! Over TLS, against other people's: Python's and Node's (both OpenSSL, by other roads) and OpenSSL's own server.

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use support::foreign::{EVERYTHING, Process, exercise, node, python, short};
use support::measure;

/// The folder with certificates, and a path in it.
fn certificate(name: &str) -> String {
    static ONCE: Once = Once::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates");
    ONCE.call_once(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/certificates.sh");
        let output = Command::new(script).arg(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    folder.join(name).to_str().unwrap().to_owned()
}

/// Python with a certificate of this name.
fn secure(name: &str, options: &[&str]) -> Process {
    let files = format!("{},{}", certificate(&format!("{name}.pem")), certificate(&format!("{name}.key")));
    let server = python(&[&["--tls", &files][..], options].concat());
    wss(server)
}

fn wss(mut server: Process) -> Process {
    server.url = server.url.replacen("ws://", "wss://", 1);
    server
}

#[test]
fn every_kind_of_message_goes_over_tls() {
    let trust = format!("--cacert {}", certificate("ca.pem"));
    exercise(&secure("server", &[]).url, &trust, &EVERYTHING);
    let files = ["", &certificate("server.pem"), &certificate("server.key")];
    let more =
        ["--deflate --draft 8", "--size 300k -R20", "--closed -p 8 --size 20k", "--tls 1.2 --size 1..70000"];
    exercise(&wss(node(&files)).url, &trust, &[&EVERYTHING[..4], &more[1..]].concat());
}

#[test]
fn the_report_says_what_was_agreed_and_what_it_took() {
    let ca = certificate("ca.pem");
    for (version, suite) in
        [("1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"), ("1.3", "TLS13_AES_256_GCM_SHA384")]
    {
        for side in ["server", "client"] {
            let only = ["--tls-version", version];
            let server = secure("server", if side == "server" { &only } else { &[] });
            let options = if side == "client" { vec!["--tls", version] } else { vec![] };
            let (report, said) = short(&[&["--cacert", &*ca, &*server.url][..], &options].concat());
            let tls = report.tls.unwrap_or_else(|| panic!("{said}"));
            let [session] = &tls.sessions[..] else { panic!("{tls:?}") };
            assert_eq!((&*session.version, &*session.suite), (&*format!("TLS {version}"), suite));
            assert_eq!((&*session.key_exchange, session.resumed, session.connections), ("X25519", false, 4));
            assert!(tls.verified);
            let row = report.latency_ns.tls.expect("a row of its own");
            assert_eq!(row.count, 4);
            assert_eq!(report.latency_ns.upgrade.unwrap().count, 4);
            assert!(
                said.contains(&format!("TLS {version}  {suite}  X25519   4 whole handshakes (100%)")),
                "{said}"
            );
            assert!(said.contains("tls (connected→done)"), "{said}");
        }
    }
    // Without TLS there is no row of it.
    let (report, said) = short(&[&python(&[]).url]);
    assert!(
        report.tls.is_none()
            && report.latency_ns.tls.is_none()
            && !said.contains("tls (")
            && !said.contains("TLS"),
        "{said}"
    );
}

/// Each failure is a sentence that says what to do, and one line in all.
#[test]
fn failures_are_told_by_their_reason() {
    let [ca, client, client_key] = ["ca.pem", "client.pem", "client.key"].map(certificate);
    let trust = ["--cacert", &*ca];
    let good = secure("server", &[]);
    let picky = secure("server", &["--client-ca", &ca]);
    let old = secure("server", &["--tls-version", "1.2"]);
    let plain = wss(node(&[]));
    for (server, options, why) in [
        (&good, &[][..], "the certificate's issuer is not trusted: name its root with --cacert"),
        (&secure("other", &[]), &trust, "the certificate is for another name: ask for that with --sni"),
        (&secure("expired", &[]), &trust, "the certificate has expired (--insecure takes it)"),
        (
            &openssl(&["-Verify", "1", "-verify_return_error", "-CAfile", &ca]),
            &trust,
            "it wants a client certificate (--cert",
        ),
        (
            &openssl(&["-tls1_2"]),
            &[&trust[..], &["--tls", "1.3"]].concat(),
            "protocol_version: it speaks another version (--tls)",
        ),
        (&openssl(&["-alpn", "h2"]), &trust, "no_application_protocol: it does not speak http/1.1"),
        (&plain, &trust, "ws:// may be what it speaks"),
    ] {
        let (report, said) = short(&[options, &[&*server.url]].concat());
        assert_eq!((report.connections.opened, said.lines().count()), (0, 1), "{said}");
        assert!(said.contains(why), "{why}: {said}");
        let (reason, n) = report.connections.failed.first_key_value().unwrap();
        assert!(reason.contains(why) && *n == 4, "{reason}");
    }
    // And with what each lacked it goes.
    for (server, options) in [
        (&good, vec!["--insecure"]),
        (&secure("other", &[]), [&trust[..], &["--sni", "other.example"]].concat()),
        (&secure("expired", &[]), vec!["--insecure"]),
        (&picky, [&trust[..], &["--cert", &client, "--key", &client_key]].concat()),
        (&old, [&trust[..], &["--tls", "1.2"]].concat()),
    ] {
        let (report, said) = short(&[&options[..], &[&*server.url]].concat());
        assert_eq!((report.connections.opened, report.messages.errors()), (4, 0), "{options:?}: {said}");
        let insecure = options.contains(&"--insecure");
        assert_eq!(report.tls.unwrap().verified, !insecure);
        assert_eq!(said.contains("certificates not checked (--insecure)"), insecure, "{said}");
    }
}

#[test]
fn sessions_are_taken_up_again_when_asked_for() {
    let ca = certificate("ca.pem");
    for version in ["1.2", "1.3"] {
        let server = secure("server", &["--tls-version", version]);
        // One after the other, so that each finds what the one before left.
        let one_by_one = ["--connect-inflight", "1", "--cacert", &ca, &server.url];
        let (report, said) = short(&[&one_by_one[..], &["--tls-resume"]].concat());
        let resumed: Vec<_> = report.tls.as_ref().unwrap().sessions.iter().filter(|s| s.resumed).collect();
        assert!(resumed.len() == 1 && resumed[0].connections == 3, "{version}: {said}");
        assert!(said.contains("3 resumed (75%)"), "{said}");
        let (report, _) = short(&one_by_one);
        assert!(report.tls.unwrap().sessions.iter().all(|session| !session.resumed));
    }
}

#[test]
fn the_systems_roots_are_trusted() {
    let server = secure("server", &[]);
    let empty = support::scratch("empty");
    std::fs::write(&empty, "").unwrap();
    for (roots, status, says) in
        [(&*certificate("ca.pem"), 0, ""), (empty.to_str().unwrap(), 2, "this host has no root certificates")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["-c1", "-R20", "-d100ms", "--warmup", "0s", "-q", &*server.url])
            // In the place of those that the system has.
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(status) && said.contains(says), "{:?}: {said}", output.status);
    }
}

/// The server that comes with OpenSSL, which answers any request with a page.
fn openssl(options: &[&str]) -> Process {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let files = [certificate("server.pem"), certificate("server.key")];
    let mut child = Command::new("openssl")
        .args(["s_server", "-www", "-port", &port, "-cert", &files[0], "-key", &files[1]])
        .args(options)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _accepts = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("ACCEPT")));
    std::thread::spawn(move || lines.for_each(drop));
    Process { child, url: format!("wss://localhost:{port}/") }
}

#[test]
fn openssls_own_server_is_no_websocket_server() {
    let server = openssl(&[]);
    let keys = support::scratch("keys");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["-c2", "-d100ms", "-q", "--cacert", &certificate("ca.pem"), &server.url])
        .env("SSLKEYLOGFILE", &keys)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("upgrade: HTTP 200 ok: this is no WebSocket server"), "{said}");
    // Wireshark can read along.
    let keys = std::fs::read_to_string(PathBuf::from(&keys)).unwrap();
    assert!(keys.contains("CLIENT_TRAFFIC_SECRET_0 "), "{keys}");
}

#[test]
fn every_mode_goes_over_tls() {
    let server = secure("server", &[]);
    let options = format!("--cacert {} {}", certificate("ca.pem"), server.url);
    let (report, _) = measure(&format!("conns -c20 --hold 300ms {options}"));
    assert!(report.connections.opened == 20 && !report.conns.unwrap().steps.is_empty());
    let (report, _) =
        measure(&format!("storm -c20 --before 300ms --after 2s --backoff fixed:10ms {options}"));
    let storm = report.storm.unwrap();
    assert_eq!((storm.dropped, storm.back), (19, 19), "{storm:?}");
    let (report, _) =
        measure(&format!("find --slo p50<10s --min 20 --max 40 -d300ms --warmup 0s -c4 {options}"));
    assert!(report.find.unwrap().best.is_some());
    let output = support::loadgen("--insecure ws://127.0.0.1:9/").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--insecure: no URL begins with wss://"));
}
