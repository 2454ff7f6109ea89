//! Hixie-75 over real sockets: what its frames, which have no length, cost.

use std::io::Read;
use support::client::{Client, shown};
use support::process::resident;
use support::server::Server;
use support::wire::{ANSWER_75, REQUEST_75};

/// A text frame has no length, so it may go on for ever; it is echoed as it comes, and nothing is kept.
#[test]
fn an_endless_text_costs_no_memory() {
    const MEBIBYTE: usize = 1 << 20;
    let server = Server::start(&["--policy", "off", "--max-message", "0"]);
    let mut client = open_75(&server);
    // Its first byte alone might be the start of `quit`.
    client.send(b"\0a");
    client.expect(b"\0a");
    let text = vec![b'a'; MEBIBYTE];
    let pass = |client: &mut Client, count: usize| {
        let mut writer = client.twin();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..count).for_each(|_| writer.send(&text)));
            let mut back = vec![0; MEBIBYTE];
            for _ in 0..count {
                client.read_exact(&mut back).expect("the echo");
                assert!(back == text, "what comes back is what went out");
            }
        });
    };
    pass(&mut client, 1);
    let before = resident(server.pid());
    pass(&mut client, 64);
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < MEBIBYTE, "64 MiB of one message make the server grow by {grown} bytes");
    client.send(b"\xff\0x\xff");
    client.expect(b"\xff\0x\xff");
}

#[test]
fn a_text_beyond_the_limit_is_cut_off_and_never_looks_whole() {
    let server = Server::start(&["--policy", "off", "--max-message", "1000", "--log-level", "debug"]);
    let mut client = open_75(&server);
    let longest = [b"\0", &[b'a'; 1000][..], b"\xff"].concat();
    client.send(&longest);
    client.expect(&longest);
    client.send([b"\0", &[b'a'; 1001][..]].concat());
    let heard = client.rest();
    assert!(longest.starts_with(&heard) && heard.len() < longest.len(), "{}", shown(&heard));
    server.wait_for("too big");
}

fn open_75(server: &Server) -> Client {
    let mut client = Client::connect(server.echo);
    client.send(format!("{REQUEST_75}\r\n"));
    client.expect(format!(
        "{ANSWER_75}WebSocket-Origin: null\r\nWebSocket-Location: ws://example.com:8087/echo?a=b&c\r\n\r\n"
    ));
    client
}
