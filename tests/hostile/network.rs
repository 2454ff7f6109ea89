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

pub const LISTEN: &[&str] = &["--listen", "0.0.0.0:0"];
const LISTEN_AND_PING: &[&str] = &["--listen", "0.0.0.0:0", "--ping-interval", "1"];

pub const CASES: &[Case] = &[
    Case::new(
        "N82",
        "the link of 50 silent clients goes down",
        "an end after two intervals",
        "no FIN comes from there, nor a reset",
        |scene| {
            let net = Net::new(217);
            let crowd = net.inside(|| Crowd::start(net.reach(scene), 50, Part::saying(request(""))));
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
        "an end after two intervals",
        "no Ping gets past data that is not acknowledged",
        |scene| {
            let net = Net::new(217);
            let part =
                Part { refrain: frame(FIN | BINARY, &[7; 5000]), times: None, ..Part::saying(request("")) };
            let crowd = net.inside(|| Crowd::start(net.reach(scene), 50, part));
            wait("they talk", || crowd.heard() > 1_000_000);
            net.link("down");
            wait("they are dropped", || scene.clients() == 1);
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
            let net = Net::new(217);
            let mut clients: Vec<Client> = (0..20).map(|_| net.inside(|| open(net.reach(scene)))).collect();
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
            let net = Net::new(217);
            net.run("tc qdisc add dev wsh217a root tbf rate 4mbit burst 16kb latency 400ms");
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
            let net = Net::new(217);
            net.run("ip netns exec wsh217 nft add table inet lossy");
            net.run(
                "ip netns exec wsh217 nft add chain inet lossy in { type filter hook input priority 0 ; }",
            );
            net.run("ip netns exec wsh217 nft add rule inet lossy in numgen random mod 10 == 0 drop");
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
            let net = Net::new(86);
            let far = net.far_away(150, net.reach(scene).port());
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
    let mut clients: Vec<Client> = (0..10).map(|_| net.inside(|| open(net.reach(scene)))).collect();
    thread::scope(|scope| {
        for client in &mut clients {
            let mut writer = client.twin();
            let payload = &payload;
            scope.spawn(move || writer.send(frame(FIN | BINARY, payload)));
            scope.spawn(move || client.expect(reply(FIN | BINARY, payload)));
        }
    });
}

pub fn open(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.send(request(""));
    client.expect(SWITCHING);
    client
}

/// A network of its own, and a link to it: of 198.18.0.0/16, which is set apart for tests of networks (RFC 2544), the part
/// with this number. Each only once at a time.
pub struct Net(u8);

impl Net {
    pub fn new(number: u8) -> Net {
        let net = Net(number);
        // Of a run that was cut short.
        net.clear();
        net.run(&format!("ip netns add wsh{number}"));
        net.run(&format!("ip link add wsh{number}a type veth peer name wsh{number}b netns wsh{number}"));
        net.run(&format!("ip addr add 198.18.{number}.1/30 dev wsh{number}a"));
        net.run(&format!("ip link set wsh{number}a up"));
        net.run(&format!("ip -n wsh{number} addr add 198.18.{number}.2/30 dev wsh{number}b"));
        net.run(&format!("ip -n wsh{number} link set wsh{number}b up"));
        net
    }

    /// Where clients in there reach the server.
    pub fn reach(&self, scene: &Scene) -> SocketAddr {
        let line = scene.server.wait_for("listening on 0.0.0.0:");
        let port = line.split("0.0.0.0:").nth(1).and_then(|rest| rest.split(',').next());
        format!("198.18.{}.1:{}", self.0, port.expect("a port")).parse().expect("an address")
    }

    fn run(&self, line: &str) {
        let mut words = line.split(' ');
        let output = Command::new(words.next().expect("a command")).args(words).output();
        let output = output.expect("iproute2 and nftables are there");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn link(&self, state: &str) {
        self.run(&format!("ip link set wsh{}a {state}", self.0));
    }

    fn clear(&self) {
        let name = format!("wsh{}", self.0);
        let _ = Command::new("ip").args(["link", "del", &format!("{name}a")]).output();
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
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
        let number = self.0;
        let far = Far { relay, address: format!("198.18.{number}.5:{port}").parse().expect("an address") };
        self.run(&format!("ip link set wsd1 netns wsh{number}"));
        self.run(&format!("ip addr add 198.18.{number}.5/30 dev wsd0"));
        self.run("ip link set wsd0 up");
        self.run(&format!("ip -n wsh{number} addr add 198.18.{number}.6/30 dev wsd1"));
        self.run(&format!("ip -n wsh{number} link set wsd1 up"));
        far
    }

    /// What is done there: sockets belong to where they are made.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let there = File::open(format!("/run/netns/wsh{}", self.0)).expect("it was made");
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
        self.clear();
    }
}
