//! The whole server, driven by a kernel that follows a seed.
//!
//! How it works:
//!
//! 1. A seed draws the configuration, the clients (what each says, how it reads, how it leaves) and every whim of the kernel.
//! 2. Each poll lets some clients act, then reports as edge-triggered epoll would: late, cut short, with stale and spurious
//!    events, through signals, leaping clocks and failing calls.
//! 3. After every tick the reactor's own invariants are checked, and the faults that the world found in what it did.
//! 4. At last everyone is forgiven: all clients read and leave. Then everything owed must arrive and every slot become free.

mod kernel;
mod peer;
mod program;
mod said;
#[cfg(feature = "tls")]
mod secure;
mod tcp;
mod world;

use fastrand::Rng;
use kernel::Scripted;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use support::config;
use support::seeds;
use world::{FAREWELL, World};
use wsecho::reactor::Reactor;
use wsecho::reactor::listener::Role;

#[test]
fn a_few_clients() {
    seeds::each_seed(60, |mut rng| {
        let peers = rng.usize(1..80);
        simulate(rng, peers, false);
    });
}

#[test]
fn a_few_clients_and_a_signal() {
    seeds::each_seed(60, |mut rng| {
        let peers = rng.usize(1..80);
        simulate(rng, peers, true);
    });
}

#[test]
fn chains_of_steps_among_other_clients() {
    seeds::each_seed(120, |mut rng| {
        let peers = rng.usize(1..60);
        let stops = rng.bool();
        simulate_with(rng, peers, stops, 2, false);
    });
}

#[test]
fn thousands_of_clients() {
    seeds::each_seed(1, |rng| simulate(rng, 3_000, false));
}

/// How many ticks all of it is to have had at least: worlds of every kind, one after the other.
const TICKS: u64 = 1_000_000;

#[test]
fn a_million_ticks() {
    let ticks = Cell::new(0);
    seeds::each_seed_while(
        || ticks.get() < TICKS,
        |mut rng| {
            let (peers, stops, programs) = (rng.usize(1..25), rng.bool(), rng.usize(..3));
            let may_be_secure = cfg!(feature = "tls") && rng.u8(..8) == 0;
            ticks.set(ticks.get() + simulate_with(rng, peers, stops, programs, may_be_secure));
        },
    );
}

fn simulate(rng: Rng, peers: usize, stops: bool) {
    simulate_with(rng, peers, stops, 0, false);
}

/// rustls's own random numbers change nothing that is drawn here: a certificate of Ed25519 makes all its messages as long in
/// every run.
#[cfg(feature = "tls")]
#[test]
fn clients_in_tls_among_others() {
    seeds::each_seed(60, |mut rng| {
        let (peers, stops) = (rng.usize(1..40), rng.bool());
        let programs = rng.usize(..2);
        simulate_with(rng, peers, stops, programs, true);
    });
}

#[cfg(feature = "tls")]
static AUTHORITY: std::sync::LazyLock<crate::secure::Authority> =
    std::sync::LazyLock::new(crate::secure::Authority::new);

/// Of three clients so many are those of paths under `/ws`; of those who come for an echo, most speak TLS if they may. How
/// many ticks it took.
fn simulate_with(mut rng: Rng, peers: usize, stops: bool, programs: usize, may_be_secure: bool) -> u64 {
    let mut config = config::config();
    let seconds = |rng: &mut Rng| rng.bool().then(|| Duration::from_secs(rng.u64(1..40)));
    config.idle_timeout = seconds(&mut rng);
    config.ping_interval = seconds(&mut rng);
    if rng.bool() {
        config.max_connections = rng.usize(1..=peers);
    }
    config.drain_spread = Duration::from_millis(rng.u64(..1_500));
    let mut world = World::new(rng.fork(), &config, peers, programs);
    if rng.bool() {
        world.table = rng.usize(..=peers);
    }
    #[cfg(feature = "tls")]
    if may_be_secure {
        world.secure(&AUTHORITY);
    }
    let world = Rc::new(RefCell::new(world));
    #[cfg(feature = "tls")]
    let roles = [Role::Echo, Role::Policy, Role::SecureEcho];
    #[cfg(not(feature = "tls"))]
    let roles = [Role::Echo, Role::Policy];
    let roles = if may_be_secure { &roles[..] } else { &roles[..2] };
    let mut reactor = Reactor::new(Scripted(world.clone()), roles, config);
    #[cfg(feature = "tls")]
    reactor.show(may_be_secure.then(|| AUTHORITY.service.clone()));
    let signal_at = if stops { rng.u64(..peers as u64 * 4) } else { u64::MAX };

    let mut ticks = 0;
    while reactor.tick().expect("the kernel only interrupts") {
        reactor.assert_invariants();
        ticks += 1;
        let mut world = world.borrow_mut();
        assert!(ticks < 100_000, "no end in sight: {}", world.describe());
        assert_eq!(world.faults, [] as [String; 0], "tick {ticks}");
        if ticks == signal_at {
            world.signal();
        }
        if world.trouble && (world.stuck || world.naps > 30) {
            world.forgive();
        } else if world.stuck {
            break;
        }
    }
    let left = reactor.connections();
    drop(reactor);
    let mut world = world.borrow_mut();
    world.forgive();
    world.exhaust();
    assert_eq!(world.faults, [] as [String; 0], "in the end");
    if let Some(at) = world.stopped_at {
        assert!(world.now <= at + FAREWELL + 1_000, "the farewell took {} ms", world.now - at);
    } else {
        assert_eq!((left, world.used), (0, 0), "connections held for nobody");
    }
    let waiting = world.peers.iter().filter(|peer| !peer.done).count();
    assert_eq!(waiting, 0, "clients that still wait for something");
    ticks
}
