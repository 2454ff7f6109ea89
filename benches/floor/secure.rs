//! The rows in TLS: what it costs wsecho beside itself without TLS, beside ring alone, beside rustls's buffered API in a plain
//! loop, and beside nginx and HAProxy that terminate TLS before a plain wsecho.

#[path = "secure/alone.rs"]
mod alone;
#[path = "secure/client.rs"]
mod client;
#[path = "secure/rustls_echo.rs"]
pub mod rustls_echo;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use self::client::{Client, other};
use crate::Args;
use crate::client::Script;
use crate::server::{Server, cpu_of, pin};
use crate::turns::by_turns;

/// What wsecho in TLS is put beside.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    /// wsecho without TLS.
    Plain,
    /// The same, and opening and sealing the same bytes with ring.
    Ring,
    /// The same, and rustls's part of a handshake in memory.
    Handshake,
    /// rustls's buffered API in a plain loop.
    Rustls,
    Nginx,
    Haproxy,
}

struct Row {
    name: &'static str,
    title: &'static str,
    beside: Beside,
    connections: usize,
    size: usize,
    work: Work,
    aim: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Messages,
    Connect,
    Memory,
}

#[rustfmt::skip]
const ROWS: [Row; 12] = [
    Row { name: "tls", title: "20 B, beside wsecho without TLS", beside: Beside::Plain, connections: 100, size: 20,
          work: Work::Messages, aim: "1.20" },
    Row { name: "tls-woken", title: "20 B, 2,000 in turn: keys made again", beside: Beside::Plain, connections: 2_000, size: 20,
          work: Work::Messages, aim: "" },
    Row { name: "tls-16k", title: "16 KiB, beside that and ring's open, seal", beside: Beside::Ring, connections: 20, size: 16 << 10,
          work: Work::Messages, aim: "1.10" },
    Row { name: "tls-rustls", title: "20 B, beside rustls in a plain loop", beside: Beside::Rustls, connections: 100, size: 20,
          work: Work::Messages, aim: "" },
    Row { name: "tls-rustls-16k", title: "16 KiB, beside rustls in a plain loop", beside: Beside::Rustls, connections: 20, size: 16 << 10,
          work: Work::Messages, aim: "" },
    Row { name: "tls-nginx", title: "20 B, beside nginx before wsecho", beside: Beside::Nginx, connections: 100, size: 20,
          work: Work::Messages, aim: "" },
    Row { name: "tls-nginx-16k", title: "16 KiB, beside nginx before wsecho", beside: Beside::Nginx, connections: 20, size: 16 << 10,
          work: Work::Messages, aim: "" },
    Row { name: "tls-haproxy", title: "20 B, beside HAProxy before wsecho", beside: Beside::Haproxy, connections: 100, size: 20,
          work: Work::Messages, aim: "" },
    Row { name: "tls-haproxy-16k", title: "16 KiB, beside HAProxy before wsecho", beside: Beside::Haproxy, connections: 20, size: 16 << 10,
          work: Work::Messages, aim: "" },
    Row { name: "tls-connect", title: "500 times open, echo, close, beside rustls", beside: Beside::Rustls, connections: 500, size: 20,
          work: Work::Connect, aim: "" },
    Row { name: "tls-handshake", title: "the same, beside plain and rustls alone", beside: Beside::Handshake, connections: 500, size: 20,
          work: Work::Connect, aim: "1.15" },
    Row { name: "tls-memory", title: "5,000 idle: memory of one, beside rustls", beside: Beside::Rustls, connections: 5000, size: 20,
          work: Work::Memory, aim: "2400 B" },
];

/// Names of the rows.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

pub fn run(args: &Args, cpus: usize) -> io::Result<()> {
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| args.rows.is_empty() || args.rows.iter().any(|name| name == row.name))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    println!(
        "{:42}{:>12}{:>12}{:>8}  {:13}{:>6}",
        "in TLS 1.3, AES-256-GCM", "the other", "wsecho", "ratio", "quartiles", "aim"
    );
    let scene = Scene::new(cpus)?;
    for row in rows {
        match scene.measure(row, args) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                println!("{:42}not measured: {error} (apt-get install nginx-light haproxy)", row.title);
            }
            result => result?,
        }
    }
    Ok(())
}

/// Where certificates are, and who has which CPU.
struct Scene {
    folder: PathBuf,
    cpus: usize,
}

/// One way to serve the client: the processes that take part, and who drives them.
struct Side {
    /// Kept for as long as they serve.
    servers: Vec<Server>,
    proxy: Option<Proxy>,
    client: Client,
}

impl Scene {
    fn new(cpus: usize) -> io::Result<Scene> {
        let folder = std::env::temp_dir().join(format!("wsecho-floor-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Scene { folder, cpus })
    }

    fn state(&self) -> PathBuf {
        self.folder.join("wsecho")
    }

    fn pin(&self, server: &Server) -> io::Result<()> {
        if self.cpus > 1 { Ok(server.pin(1)?) } else { Ok(()) }
    }

    fn wsecho(&self, listen: &str) -> io::Result<Server> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsecho"));
        command.args([listen, "127.0.0.1:0", "--policy", "off"]).env("XDG_STATE_HOME", &self.folder);
        let server = Server::start(command)?;
        self.pin(&server)?;
        Ok(server)
    }

    /// What `cost` finds of this process where the servers are otherwise.
    fn on_servers_cpu(&self, cost: impl FnOnce() -> io::Result<f64>) -> io::Result<f64> {
        if self.cpus > 1 {
            pin(Pid::from_raw(0), 1)?;
        }
        let cost = cost()?;
        if self.cpus > 1 {
            pin(Pid::from_raw(0), 0)?;
        }
        Ok(cost)
    }

    /// wsecho in TLS itself.
    fn ours(&self, row: &Row) -> io::Result<Side> {
        let server = self.wsecho("--listen-tls")?;
        self.sealed(vec![server], None, Script::web_socket(row.size, 1))
    }

    fn other(&self, row: &Row) -> io::Result<Side> {
        let script = Script::web_socket(row.size, 1);
        match row.beside {
            Beside::Plain | Beside::Ring | Beside::Handshake => {
                let server = self.wsecho("--listen")?;
                let client = Client::plain(server.address, script)?;
                Ok(Side { servers: vec![server], proxy: None, client })
            }
            Beside::Rustls => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--rustls-echo").arg(self.state());
                let server = Server::start(command)?;
                self.pin(&server)?;
                self.sealed(vec![server], None, Script::plain(row.size, 1))
            }
            Beside::Nginx | Beside::Haproxy => {
                let server = self.wsecho("--listen")?;
                let proxy = Proxy::start(row.beside, &self.folder, server.address)?;
                if self.cpus > 1 {
                    pin(Pid::from_raw(proxy.child.id() as i32), 1)?;
                }
                self.sealed(vec![server], Some(proxy), script)
            }
        }
    }

    fn sealed(&self, servers: Vec<Server>, proxy: Option<Proxy>, script: Script) -> io::Result<Side> {
        let address = proxy.as_ref().map_or(servers[0].address, |proxy| proxy.address);
        let client = Client::sealed(address, script, &self.state().join("ca.pem"))?;
        Ok(Side { servers, proxy, client })
    }

    /// Both by turns, after a turn each that does not count.
    fn measure(&self, row: &Row, args: &Args) -> io::Result<()> {
        // The certificate is made by the first that wants it.
        let mut ours = self.ours(row)?;
        let mut other = self.other(row)?;
        print!("{:42}", row.title);
        if row.work == Work::Memory {
            for side in [&mut other, &mut ours] {
                print!("{:>10.0} B", side.memory(row.connections)?);
            }
            println!("{:23}{:>6}", "", row.aim);
            return Ok(());
        }
        if row.work == Work::Messages {
            other.client.open(row.connections)?;
            ours.client.open(row.connections)?;
        }
        let time = Duration::from_secs_f64(args.seconds);
        let mut ring = Ring::new(row.size)?;
        let serving = rustls_echo::configuration(&self.state())?;
        let asking = client::configuration(&self.state().join("ca.pem"))?;
        let comparison = by_turns(args.rounds, || {
            let mut beside = other.cost(row, time)?;
            if row.beside == Beside::Ring {
                beside += self.on_servers_cpu(|| ring.cost())?;
            }
            if row.beside == Beside::Handshake {
                beside += self.on_servers_cpu(|| alone::handshake(&serving, &asking, row.connections))?;
            }
            io::Result::Ok([beside, ours.cost(row, time)?])
        })?;
        println!("{comparison}{:>6}", row.aim);
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Side {
    /// CPU time of everyone who takes part, for one message or connection, in nanoseconds.
    fn cost(&mut self, row: &Row, time: Duration) -> io::Result<f64> {
        let before = self.cpu()?;
        let units = match row.work {
            Work::Messages => self.client.run(time)?,
            _ => self.client.come_and_go(row.connections)?,
        };
        Ok((self.cpu()? - before) as f64 / units as f64)
    }

    fn cpu(&self) -> io::Result<u64> {
        let proxy = match &self.proxy {
            Some(proxy) => cpu_of(proxy.child.id())?,
            None => 0,
        };
        self.servers.iter().try_fold(proxy, |sum, server| Ok(sum + server.cpu()?))
    }

    /// Growth of the server's resident memory by each of so many connections.
    fn memory(&mut self, count: usize) -> io::Result<f64> {
        self.client.open(1)?;
        let before = self.servers[0].resident()?;
        self.client.open(1 + count)?;
        Ok((self.servers[0].resident()? as f64 - before as f64) / count as f64)
    }
}

/// ring's work for one echo: the message is opened, its echo sealed; each in records as large as they may be.
struct Ring {
    key: LessSafeKey,
    records: Vec<Vec<u8>>,
}

impl Ring {
    fn new(size: usize) -> io::Result<Ring> {
        let key =
            UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| io::Error::other("ring takes no key"))?;
        // A frame with the longer header that clients have.
        let frame = vec![0; size + 8];
        let records = frame.chunks(16_384).map(|piece| [piece, &[0; 17]].concat()).collect();
        Ok(Ring { key: LessSafeKey::new(key), records })
    }

    /// CPU time of one of many, in nanoseconds.
    fn cost(&mut self) -> io::Result<f64> {
        const TIMES: usize = 5_000;
        let unsealed = |_| io::Error::other("ring opens not what it sealed");
        let before = cpu_of(std::process::id())?;
        for time in 0..TIMES {
            for record in &mut self.records {
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&(time as u64).to_be_bytes());
                let at = record.len() - 16;
                let (content, room) = record.split_at_mut(at);
                let tag = self
                    .key
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from([0; 5]),
                        content,
                    )
                    .map_err(unsealed)?;
                room.copy_from_slice(tag.as_ref());
                self.key
                    .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from([0; 5]), record)
                    .map_err(unsealed)?;
            }
        }
        Ok((cpu_of(std::process::id())? - before) as f64 / TIMES as f64)
    }
}

/// A terminator of TLS in front of wsecho, in one process with one thread.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(which: Beside, folder: &Path, behind: SocketAddr) -> io::Result<Proxy> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let state = folder.join("wsecho");
        let read = |name: &str| std::fs::read_to_string(state.join(name));
        let (chain, both) = (folder.join("chain.pem"), folder.join("both.pem"));
        let authority = read("ca.pem")?;
        std::fs::write(&chain, format!("{}{authority}", read("cert.pem")?))?;
        std::fs::write(&both, format!("{}{authority}{}", read("cert.pem")?, read("key.pem")?))?;
        let (program, text) = match which {
            Beside::Nginx => ("nginx", nginx(folder, &chain, &state.join("key.pem"), address, behind)),
            _ => ("haproxy", haproxy(&both, address, behind)),
        };
        let file = folder.join(program);
        std::fs::write(&file, text)?;
        let mut command = Command::new(program);
        match which {
            Beside::Nginx => command.arg("-c").arg(&file).arg("-p").arg(folder).args(["-e", "stderr"]),
            _ => command.args(["-db", "-f"]).arg(&file),
        };
        let child = command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        let proxy = Proxy { child, address };
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end {
                return Err(io::Error::other(format!("{program} does not listen")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nginx(folder: &Path, chain: &Path, key: &Path, address: SocketAddr, behind: SocketAddr) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {pid}; error_log /dev/null;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {temp}; proxy_temp_path {temp}; fastcgi_temp_path {temp};\n\
         uwsgi_temp_path {temp}; scgi_temp_path {temp};\n\
         server {{ listen {address} ssl; ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;\n\
         location / {{ proxy_pass http://{behind}; proxy_http_version 1.1; proxy_set_header Host $host;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 1h; }} }} }}\n",
        pid = folder.join("nginx.pid").display(),
        temp = folder.join("temp").display(),
        chain = chain.display(),
        key = key.display(),
    )
}

fn haproxy(both: &Path, address: SocketAddr, behind: SocketAddr) -> String {
    format!(
        "global\n    nbthread 1\n    maxconn 4096\n\
         defaults\n    mode http\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n    timeout tunnel 1h\n\
         frontend tls\n    bind {address} ssl crt {} ssl-min-ver TLSv1.3\n    default_backend wsecho\n\
         backend wsecho\n    server a {behind}\n",
        both.display()
    )
}
