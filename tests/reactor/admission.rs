//! Who is let in, when, and for how long who says nothing stays.

use crate::machine::Server;
use std::io::ErrorKind;
use std::time::Duration;
use wsecho::reactor::listener::Role;

/// ECONNABORTED concerns one client; when it comes for all of them, nobody waits for its end.
#[test]
fn a_stop_is_heard_although_every_accept_fails() {
    let mut server = Server::new(&[Role::Echo], |_| {});
    server.machine.borrow_mut().accept_error = Some(ErrorKind::ConnectionAborted);
    server.come(0, 1, b"");
    server.tick();
    server.signal();
    assert!(!server.tick(), "nobody is there who could be waited for");
    let accepts = server.machine.borrow().accepts;
    assert!(accepts <= 128, "{accepts} calls");
}

#[test]
fn silent_policy_clients_take_a_share_of_the_places_and_no_more() {
    let mut server = Server::new(&[Role::Policy, Role::Echo], |config| config.max_connections = 80);
    server.come(0, 500, b"");
    server.come(1, 70, b"");
    let mut most = 0;
    for _ in 0..500 {
        server.tick();
        let machine = server.machine.borrow();
        let echo_clients_wait = !machine.queues[1].is_empty();
        drop(machine);
        most = most.max(server.open());
        if server.machine.borrow().now < Duration::from_secs(1) {
            continue;
        }
        assert!(!echo_clients_wait, "places are free, and clients wait for them");
        break;
    }
    assert_eq!(most, 80, "ten with nothing to say, and all seventy");
    // They have three seconds, so three more tens come in nine.
    while server.machine.borrow().now < Duration::from_secs(9) {
        server.tick();
    }
    assert!(server.machine.borrow().peers.len() >= 70 + 30, "others get the share in turn");
}

#[test]
fn silent_scrapers_do_not_silence_the_health_of_a_full_server() {
    let mut server = Server::new(&[Role::Echo, Role::Stats], |config| {
        config.max_connections = 10;
        config.handshake_timeout = Duration::from_secs(1000);
    });
    server.come(0, 20, b"");
    server.come(1, 4, b"");
    server.come(1, 1, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = |server: &Server| server.machine.borrow().peers.get(14).map(|peer| peer.heard.clone());
    while answer(&server).is_none_or(|heard| heard.is_empty()) {
        server.tick();
        let now = server.machine.borrow().now;
        assert!(now < Duration::from_millis(1100), "no answer after {now:?}");
    }
    assert!(answer(&server).expect("it is there").starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn silent_scrapers_who_come_again_do_not_silence_it_either() {
    let mut server = Server::new(&[Role::Echo, Role::Stats], |config| config.max_connections = 10);
    server.come(0, 20, b"");
    server.come(1, 12, b"");
    let mut asked = None;
    let mut last = 0;
    loop {
        server.tick();
        let machine = server.machine.borrow();
        let (now, peers) = (machine.now, machine.peers.len());
        let health = machine.peers.iter().find(|peer| peer.heard.starts_with(b"HTTP/1.1 200 OK\r\n"));
        if health.is_some() {
            break;
        }
        drop(machine);
        if now > Duration::from_secs(2) && asked.is_none() {
            server.come(1, 1, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            asked = Some(now);
        }
        assert!(asked.is_none_or(|asked| now < asked + Duration::from_millis(500)), "no answer");
        // Whoever is dropped comes again at once, behind those who wait.
        let gone = (10..peers).filter(|peer| server.peer(*peer).gone).count();
        if gone > last {
            server.come(1, gone - last, b"");
            last = gone;
        }
    }
    // Those who were let in long ago as clients are still there.
    assert!((0..10).all(|peer| !server.peer(peer).gone));
}
