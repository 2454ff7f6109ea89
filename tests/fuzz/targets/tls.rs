//! TLS: whatever comes as a handshake, in any cut, is answered or refused, and nothing waits without a bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, OnceLock};
use wsecho::tls::certificate::Identity;
use wsecho::tls::connection::Tls;

static CONFIG: OnceLock<Arc<wsecho::tls::ServerConfig>> = OnceLock::new();

fn refused(said: &[u8], piece: usize) -> bool {
    let config = CONFIG.get_or_init(|| Identity::default().load().expect("a certificate of our own").config);
    let mut tls = Tls::new(config.clone()).expect("a configuration");
    let (mut carry, mut out) = (Vec::new(), Vec::new());
    for piece in said.chunks(piece.max(1)) {
        carry.extend_from_slice(piece);
        let end = carry.len();
        let opened = tls.open(&mut carry, 0..0, 0..end, &mut out);
        assert!(opened.plain.is_empty(), "plaintext without a handshake");
        if opened.closed {
            return true;
        }
        carry.drain(..opened.rest.start);
        assert!(carry.len() < 64 * 1024, "{} bytes wait", carry.len());
    }
    false
}

fuzz_target!(|data: &[u8]| {
    let [cut, said @ ..] = data else { return };
    assert_eq!(refused(said, usize::MAX), refused(said, usize::from(*cut)));
});
