//! How a path under `/ws` ends, or goes on, where the end of one side can be said in TLS, too.

use super::{Authority, Talk, text};
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
        let mut sealed = talk.client.seal(&[text(b"hi"), super::masked(0x88, super::KEY, &[])].concat());
        if says_so {
            talk.client.tls.send_close_notify();
            sealed.append(&mut talk.client.flush());
        }
        talk.server.say(0, &sealed);
        if ends {
            talk.server.end(0);
        }
        talk.settle();
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
