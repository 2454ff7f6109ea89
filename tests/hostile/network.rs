//! Networks that fail: a namespace of our own behind a pair of virtual links. Wants root, as making one does.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use crate::talk::request;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::client::{BINARY, CLOSE, Client, FIN, SWITCHING, TEXT, frame, reply};

/// Addresses that are set apart for tests of networks (RFC 2544), ours and the clients'.
const OURS: &str = "198.18.217.1";
const THEIRS: &str = "198.18.217.2";
const OURS_FAR: &str = "198.18.217.5";
const THEIRS_FAR: &str = "198.18.217.6";

const LISTEN: &[&str] = &["--listen", "0.0.0.0:0"];
const LISTEN_AND_PING: &[&str] = &["--listen", "0.0.0.0:0", "--ping-interval", "1"];

pub const CASES: &[Case] = &[
    Case::new(
        "N82",
        "the link of 50 silent clients goes down",
        "an end after two intervals",
        "no FIN comes from there, nor a reset",
        |scene| {
            let net = Net::new();
            let crowd = net.inside(|| Crowd::start(address(scene), 50, Part::saying(request(""))));
            wait("all are open", || crowd.heard() == 50 * SWITCHING.len() as u64);
            net.link("down");
            wait("they are dropped", || scene.clients() == 1);
            drop(crowd);
        },
    )
    .args(LISTEN_AND_PING),
    Case::new(
        "N82b",
        "the link of 50 clients goes down while they are told something",
        "an end after a minute",
        "keepalive does not probe who owes acknowledgements",
        |scene| {
            let net = Net::new();
            let part =
                Part { refrain: frame(FIN | BINARY, &[7; 5000]), times: None, ..Part::saying(request("")) };
            let crowd = net.inside(|| Crowd::start(address(scene), 50, part));
            wait("they talk", || crowd.heard() > 1_000_000);
            net.link("down");
            let down = Instant::now();
            while scene.clients() > 1 {
                assert!(down.elapsed() < Duration::from_secs(100), "they are still there");
                sleep(Duration::from_millis(100));
            }
            drop(crowd);
        },
    )
    .args(LISTEN_AND_PING)
    .memory(64),
    Case::new(
        "N83",
        "the link of 20 clients goes down for two seconds, and they speak meanwhile",
        "each message once",
        "a short outage ends nothing",
        |scene| {
            let net = Net::new();
            let mut clients: Vec<Client> = (0..20).map(|_| net.inside(|| open(address(scene)))).collect();
            net.link("down");
            for client in &mut clients {
                client.send(frame(FIN | TEXT, b"meanwhile"));
            }
            sleep(Duration::from_secs(2));
            net.link("up");
            for client in &mut clients {
                client.expect(reply(FIN | TEXT, b"meanwhile"));
                client.echo("and afterwards");
            }
            clients.into_iter().for_each(Client::reset);
        },
    )
    .args(LISTEN),
    Case::new(
        "N84",
        "ten clients send 50 kB each over a link of 4 Mbit/s",
        "all of it",
        "a slow network is not a fault",
        |scene| {
            let net = Net::new();
            net.run("tc qdisc add dev wsh0 root tbf rate 4mbit burst 16kb latency 400ms");
            transfer(&net, scene);
        },
    )
    .args(LISTEN)
    .memory(16),
    Case::new(
        "N85",
        "the same over a link that loses every tenth packet",
        "all of it",
        "bytes come late, and in bursts",
        |scene| {
            let net = Net::new();
            net.run("ip netns exec wsh nft add table inet lossy");
            net.run("ip netns exec wsh nft add chain inet lossy in { type filter hook input priority 0 ; }");
            net.run("ip netns exec wsh nft add rule inet lossy in numgen random mod 10 == 0 drop");
            transfer(&net, scene);
        },
    )
    .args(LISTEN)
    .memory(16),
    Case::new(
        "N86",
        "20 clients behind a line of 150 ms each way: a message, 500 more at once, 200 kB, and a close",
        "all of it, and the peer's close behind ours",
        "far away is not gone: nothing is given up before it can have arrived",
        |scene| {
            let net = Net::new();
            let far = net.far_away(150, address(scene).port());
            thread::scope(|scope| {
                for _ in 0..20 {
                    scope.spawn(|| net.inside(|| speak_from_afar(far.address)));
                }
            });
            drop(far);
        },
    )
    .args(LISTEN)
    .memory(16),
];

fn speak_from_afar(address: SocketAddr) {
    let mut client = open(address);
    let start = Instant::now();
    client.echo("hello");
    assert!(start.elapsed() >= Duration::from_millis(300), "it is not far: {:?}", start.elapsed());
    client.send(frame(FIN | TEXT, b"more").repeat(500));
    client.expect(reply(FIN | TEXT, b"more").repeat(500));
    let payload = vec![7; 200_000];
    client.send(frame(FIN | BINARY, &payload));
    client.expect(reply(FIN | BINARY, &payload));
    client.send(frame(FIN | CLOSE, b"\x03\xe8"));
    client.expect(b"\x88\x02\x03\xe8");
    client.expect_eof();
}

fn transfer(net: &Net, scene: &Scene) {
    let payload = vec![7; 50_000];
    let mut clients: Vec<Client> = (0..10).map(|_| net.inside(|| open(address(scene)))).collect();
    thread::scope(|scope| {
        for client in &mut clients {
            let mut writer = client.twin();
            let payload = &payload;
            scope.spawn(move || writer.send(frame(FIN | BINARY, payload)));
            scope.spawn(move || client.expect(reply(FIN | BINARY, payload)));
        }
    });
}

fn open(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.send(request(""));
    client.expect(SWITCHING);
    client
}

/// Where clients of another network reach the server.
fn address(scene: &Scene) -> SocketAddr {
    let line = scene.server.wait_for("listening on 0.0.0.0:");
    let port = line.split("0.0.0.0:").nth(1).and_then(|rest| rest.split(',').next());
    format!("{OURS}:{}", port.expect("a port")).parse().expect("an address")
}

/// A network of its own, and a link to it. Only one at a time.
struct Net;

impl Net {
    fn new() -> Net {
        // Of a run that was cut short.
        let _ = Command::new("ip").args(["netns", "del", "wsh"]).output();
        let net = Net;
        net.run("ip netns add wsh");
        net.run("ip link add wsh0 type veth peer name wsh1 netns wsh");
        net.run(&format!("ip addr add {OURS}/30 dev wsh0"));
        net.run("ip link set wsh0 up");
        net.run(&format!("ip -n wsh addr add {THEIRS}/30 dev wsh1"));
        net.run("ip -n wsh link set wsh1 up");
        net
    }

    fn run(&self, line: &str) {
        let mut words = line.split(' ');
        let output = Command::new(words.next().expect("a command")).args(words).output();
        let output = output.expect("iproute2 and nftables are there");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn link(&self, state: &str) {
        self.run(&format!("ip link set wsh0 {state}"));
    }

    /// A second line to it, on which everything takes so many milliseconds; where the server's port is at its end of it.
    fn far_away(&self, milliseconds: u64, port: u16) -> Far {
        let mut relay = Command::new("python3")
            .args(["tests/support/delay.py", "wsd0", "wsd1", &milliseconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut ready = [0; 6];
        relay.stdout.as_mut().expect("a pipe").read_exact(&mut ready).expect("it says that it is ready");
        let far = Far { relay, address: format!("{OURS_FAR}:{port}").parse().expect("an address") };
        self.run("ip link set wsd1 netns wsh");
        self.run(&format!("ip addr add {OURS_FAR}/30 dev wsd0"));
        self.run("ip link set wsd0 up");
        self.run(&format!("ip -n wsh addr add {THEIRS_FAR}/30 dev wsd1"));
        self.run("ip -n wsh link set wsd1 up");
        far
    }

    /// What is done there: sockets belong to where they are made.
    fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let there = File::open("/run/netns/wsh").expect("it was made");
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(there, CloneFlags::CLONE_NEWNET).expect("we may");
                act()
            });
            thread.join().expect("nothing there panics")
        })
    }
}

/// A line that takes its time, as long as this lives.
struct Far {
    relay: Child,
    address: SocketAddr,
}

impl Drop for Far {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for.
        let _ = self.relay.kill();
        let _ = self.relay.wait();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", "wsh0"]).output();
        let _ = Command::new("ip").args(["netns", "del", "wsh"]).output();
    }
}
