//! How a path under `/ws` ends, or goes on, where the end of one side can be said in TLS, too.

use super::{Authority, KEY, Talk, masked, text};
use rustls::version::{TLS12, TLS13};
use support::wire::{ANSWER, REQUEST};

fn open(authority: &Authority, version: &'static rustls::SupportedProtocolVersion, path: &str) -> Talk {
    let mut talk = Talk::shaken(authority, authority.client(&[version]), |_| {});
    let request = REQUEST.replacen("/echo", path, 1);
    assert_eq!(talk.exchange(request.as_bytes(), usize::MAX), ANSWER.as_bytes());
    talk
}

/// Whether the server has said in TLS that it says no more.
fn has_closed(talk: &mut Talk) -> bool {
    talk.client.tls.process_new_packets().expect("nothing new").peer_has_closed()
}

/// The client sends `sealed`, and that nothing follows: by close_notify, by FIN, or by both.
fn say_the_last(talk: &mut Talk, mut sealed: Vec<u8>, says_so: bool, ends: bool) {
    if says_so {
        talk.client.tls.send_close_notify();
        sealed.append(&mut talk.client.flush());
    }
    talk.server.say(0, &sealed);
    if ends {
        talk.server.end(0);
    }
    talk.settle();
}

#[test]
fn who_says_no_more_hears_the_rest_but_for_tls_1_2_where_it_says_so() {
    let authority = Authority::new();
    for (version, says_so, ends, is_told) in [
        (&TLS12, false, true, true),
        (&TLS12, true, false, false),
        (&TLS12, true, true, false),
        (&TLS13, false, true, true),
        (&TLS13, true, false, true),
        (&TLS13, true, true, true),
    ] {
        let what = format!("{:?}, close_notify {says_so}, FIN {ends}", version.version);
        let mut talk = open(&authority, version, "/ws/latency/50ms/close-late/30ms");
        let sealed = talk.client.seal(&[text(b"hi"), masked(0x88, KEY, &[])].concat());
        say_the_last(&mut talk, sealed, says_so, ends);
        assert_eq!(talk.server.peer(0).gone, !is_told, "{what}");
        talk.wait(200);
        let expected: &[u8] = if is_told { b"\x81\x02hi\x88\0" } else { b"" };
        assert_eq!(talk.hear(), expected, "{what}");
        assert_eq!(has_closed(&mut talk), is_told || says_so, "{what}");
        assert_eq!(talk.server.peer(0).ended, is_told, "{what}");
        talk.wait(3_000);
        assert!(talk.server.peer(0).gone, "{what}");
    }
}

#[test]
fn a_reset_says_nothing_in_tls() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let mut talk = Talk::shaken(&authority, authority.client(&[version]), |_| {});
        let request = REQUEST.replacen("/echo", "/ws/message/hi/reset", 1);
        let heard = talk.exchange(request.as_bytes(), usize::MAX);
        assert_eq!(heard, [ANSWER.as_bytes(), b"\x81\x02hi"].concat());
        assert!(!has_closed(&mut talk));
        let peer = talk.server.peer(0);
        assert!(peer.was_reset && peer.gone && !peer.ended);
    }
}

/// In the middle of a message that has no end: the one before it was answered.
#[test]
fn who_sends_no_more_still_takes_what_was_answered() {
    let authority = Authority::new();
    let message = masked(0x82, KEY, &[7; 60_000]);
    for (says_so, ends) in [(true, false), (false, true), (true, true)] {
        let mut talk = Talk::open(&authority, authority.client(&[&TLS13]), |_| {});
        talk.server.machine.borrow_mut().peers[0].room = Some(1_000);
        let sealed = talk.client.seal(&[&message[..], &message[..20_000]].concat());
        say_the_last(&mut talk, sealed, says_so, ends);
        talk.server.take(0, 200_000);
        talk.settle();
        let heard = talk.hear();
        assert!(heard.len() >= message.len() - 4, "{} bytes: {says_so}, {ends}", heard.len());
        assert!(talk.server.peer(0).gone);
    }
}
