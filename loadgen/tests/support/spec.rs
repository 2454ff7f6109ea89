//! What a run goes by that is asked for nothing in particular: one thread, one server, over a network that is made up.

use std::sync::Arc;

use loadgen::engine::conversation::Talk;
use loadgen::engine::payload::Payloads;
use loadgen::engine::spec::Spec;
use loadgen::engine::target::Target;
use loadgen::host::address::Address;
use loadgen::host::clock::Nanos;
use loadgen::host::source_addresses::Sources;
use loadgen::protocol::handshake::Extras;
use loadgen::protocol::session::Rules;
use loadgen::protocol::url::Url;

/// Of so many connections, to `url`. Messages of up to 1000 bytes more than the largest of `payloads` are taken.
pub fn plain(url: &str, payloads: Payloads, connections: usize) -> Spec {
    Spec {
        targets: vec![Target {
            url: Url::parse(url).expect("a URL"),
            address: Address::Tcp("127.0.0.1:9".parse().expect("an address")),
            tls: None,
            resource: None,
            script: Arc::default(),
        }],
        headers: Vec::new(),
        talk: Talk::default(),
        listening: None,
        messages_each: None,
        slow: None,
        publishers: None,
        matched: None,
        replies: 1,
        rules: Rules { extras: Extras::default(), limit: payloads.max_size() + 1000 },
        sources: Sources::plan(None, &Address::Unix("/".into()), connections, 28_000).expect("room"),
        payloads,
        fragment: None,
        verify: true,
        kernel_stamps: true,
        max_inflight: None,
        timeout: None,
        silence: None,
        ping: None,
        connect_rate: 1e5,
        connect_inflight: 1,
        connect_timeout: Nanos(200_000_000),
        spin: Nanos(0),
        spin_read: false,
        seed: 0,
        threads: 1,
        first: 0,
        shard: 1,
        wall_offset: 0,
    }
}
