//! What is measured: a URL, and the one address behind it that the whole run goes to.

use std::net::{IpAddr, SocketAddrV6, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::engine::conversation::Word;
use crate::host::address::Address;
use crate::host::system_error::describe;
use crate::protocol::template::Template;
use crate::protocol::tls::Tls;
use crate::protocol::url::{Place, Url};

/// How long an address may keep the next one waiting (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// A URL and its address.
#[derive(Clone, Debug)]
pub struct Target {
    /// As it was given.
    pub url: Url,
    /// Where connections go.
    pub address: Address,
    /// Of a `wss:` URL.
    pub tls: Option<Secured>,
    /// What the URL's path and query are filled in from, where they have places.
    pub resource: Option<Template>,
    /// The opening words of its connections.
    pub script: Arc<[Word]>,
}

/// How connections are made secure.
#[derive(Clone, Debug)]
pub struct Secured {
    /// What certificates are checked against, and what is offered.
    pub config: Arc<ClientConfig>,
    /// Who the server has to be.
    pub name: ServerName<'static>,
}

impl Secured {
    /// A connection's TLS.
    ///
    /// # Errors
    /// What does not fit together, in words.
    pub fn begin(&self) -> Result<Tls, String> {
        Tls::new(&self.config, self.name.clone())
    }
}

impl Target {
    /// The address that serves the run: of several of `url`, the first that takes a connection. Of one address nothing
    /// is asked: that is left to the run. The arguments are those of [`addresses`].
    ///
    /// # Errors
    /// A sentence that says which name has no address, or why none of them can be reached.
    pub fn find(
        url: Url,
        elsewhere: Option<&Place>,
        usable: impl Fn(IpAddr) -> bool,
        patience: Duration,
    ) -> Result<Target, String> {
        let mut all = addresses(&url, elsewhere, usable)?;
        let address = match all.len() {
            1 => all.remove(0),
            _ => first_to_connect(&all, patience)
                .map_err(|e| format!("cannot connect to {}: {e}", url.shown))?,
        };
        Ok(Target { url, address, tls: None, resource: None, script: Arc::default() })
    }
}

/// The addresses that can serve a run to `url`, at least one, in the order in which they are to be tried.
///
/// `elsewhere` is looked up in place of the URL's host (`--connect-to`); `usable` says towards which addresses
/// connections can start.
///
/// # Errors
/// A sentence that says why there is none.
pub fn addresses(
    url: &Url,
    elsewhere: Option<&Place>,
    usable: impl Fn(IpAddr) -> bool,
) -> Result<Vec<Address>, String> {
    let mut all = of_place(elsewhere.unwrap_or(&url.place)).map_err(|e| format!("{}: {e}", url.shown))?;
    all.retain(|address| address.ip().is_none_or(&usable));
    match all.is_empty() {
        true => Err(format!("{}: no address of the family of --source", url.shown)),
        false => Ok(all),
    }
}

/// All addresses of `place`, a name's in the resolver's order (RFC 6724).
fn of_place(place: &Place) -> Result<Vec<Address>, String> {
    let mut all: Vec<Address> = match place {
        Place::Unix(path) => vec![Address::Unix(path.clone())],
        Place::V6(ip, zone, port) => {
            let zone = zone.as_deref().map(interface).transpose()?.unwrap_or(0);
            vec![Address::Tcp(SocketAddrV6::new(*ip, *port, 0, zone).into())]
        }
        Place::Name(name, port) => {
            let all = (&**name, *port).to_socket_addrs().map_err(|e| {
                let text = e.to_string();
                format!("cannot resolve {name}: {}", text.rsplit(": ").next().unwrap_or_default())
            })?;
            all.map(Address::Tcp).collect()
        }
    };
    // The hosts file may name one twice.
    let mut seen = Vec::new();
    all.retain(|address| {
        !seen.contains(address) && {
            seen.push(address.clone());
            true
        }
    });
    if all.is_empty() { Err("it has no address".into()) } else { Ok(all) }
}

/// The number of the interface that `zone` names (RFC 4007 section 11).
fn interface(zone: &str) -> Result<u32, String> {
    match zone.parse() {
        Ok(number) => Ok(number),
        Err(_) => nix::net::if_::if_nametoindex(zone).map_err(|_| format!("there is no interface {zone}")),
    }
}

/// Connects to each of `all` in turn, the next when the one before failed or takes long (RFC 8305); the first that
/// succeeds.
///
/// # Errors
/// Why each cannot be connected to.
pub fn first_to_connect(all: &[Address], patience: Duration) -> Result<Address, String> {
    let (sender, results) = mpsc::channel();
    let until = Instant::now() + patience;
    let mut errors: Vec<Option<String>> = vec![None; all.len()];
    let (mut started, mut failed) = (0, 0);
    while failed < all.len() && Instant::now() < until {
        if started < all.len() {
            let (sender, address, number) = (sender.clone(), all[started].clone(), started);
            // It ends by itself when its patience does; nobody waits for it then.
            thread::spawn(move || sender.send((number, address.connect(patience))));
            started += 1;
        }
        let rest = until.saturating_duration_since(Instant::now());
        match results.recv_timeout(if started < all.len() { rest.min(STAGGER) } else { rest }) {
            Ok((number, Ok(()))) => return Ok(all[number].clone()),
            Ok((number, Err(e))) => {
                errors[number] = Some(describe(&e));
                failed += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is here"),
        }
    }
    let said = all.iter().zip(errors);
    let said = said
        .map(|(address, error)| format!("{address}: {}", error.as_deref().unwrap_or("no answer in time")));
    Err(said.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn target(
        url: &str,
        elsewhere: Option<&Place>,
        usable: impl Fn(IpAddr) -> bool,
    ) -> Result<Target, String> {
        Target::find(Url::parse(url).unwrap(), elsewhere, usable, PATIENCE)
    }

    /// An address of this host that nobody listens on.
    fn deaf(ip: &str) -> Address {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        Address::Tcp(listener.local_addr().unwrap())
    }

    #[test]
    fn the_first_address_that_connects_is_the_runs() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = Address::Tcp(listener.local_addr().unwrap());
        let closed = deaf("127.0.0.1");
        assert_eq!(first_to_connect(&[closed.clone(), open.clone()], PATIENCE).as_ref(), Ok(&open));
        assert_eq!(first_to_connect(&[open.clone(), closed.clone()], PATIENCE).as_ref(), Ok(&open));
        let said =
            first_to_connect(&[closed.clone(), Address::Unix("/nonexistent".into())], PATIENCE).unwrap_err();
        assert_eq!(said, format!("{closed}: Connection refused, /nonexistent: No such file or directory"));
    }

    #[test]
    fn an_address_that_never_answers_holds_the_next_one_up_for_a_moment_only() {
        // A full backlog: the kernel does not answer SYNs.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = Address::Tcp(listener.local_addr().unwrap());
        assert_eq!(first_to_connect(&[Address::Tcp(address), open.clone()], PATIENCE), Ok(open));
        let said = first_to_connect(&[Address::Tcp(address)], Duration::from_millis(10)).unwrap_err();
        assert!(said.contains("no answer in time") || said.contains("timed out"), "{said}");
    }

    #[test]
    fn names_have_all_their_addresses_and_zones_are_interfaces() {
        let all = of_place(&Place::Name("127.0.0.1".into(), 9)).unwrap();
        assert_eq!(all, [Address::Tcp("127.0.0.1:9".parse().unwrap())]);
        let all = of_place(&Place::V6("fe80::1".parse().unwrap(), Some("lo".into()), 9)).unwrap();
        let Address::Tcp(SocketAddr::V6(address)) = all[0] else { panic!("{all:?}") };
        assert_eq!(address.scope_id(), nix::net::if_::if_nametoindex("lo").unwrap());
        let gone = of_place(&Place::V6("fe80::1".parse().unwrap(), Some("no such".into()), 9));
        assert_eq!(gone, Err("there is no interface no such".into()));
        let gone = target("ws://nobody.invalid/", None, |_| true).unwrap_err();
        assert!(gone.starts_with("ws://nobody.invalid/: cannot resolve nobody.invalid: "), "{gone}");
    }

    #[test]
    fn another_place_can_be_connected_to_and_the_host_stays() {
        let elsewhere = Place::Name("127.0.0.2".into(), 9);
        let target_of = |usable: fn(IpAddr) -> bool| target("ws://h.example:80/a", Some(&elsewhere), usable);
        let found = target_of(|_| true).unwrap();
        assert_eq!((found.address.to_string().as_str(), &*found.url.authority), ("127.0.0.2:9", "h.example"));
        assert!(found.address.is_local());
        assert!(target_of(|ip| ip.is_ipv6()).unwrap_err().contains("--source"));
    }
}
