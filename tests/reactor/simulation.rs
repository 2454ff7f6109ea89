//! The whole server, driven by a kernel that follows a seed.
//!
//! How it works:
//!
//! 1. A seed draws the configuration, the clients (what each says, how it reads, how it leaves) and every whim of the kernel.
//! 2. Each poll lets some clients act, then reports as edge-triggered epoll would: late, cut short, with stale and spurious
//!    events, through signals, leaping clocks and failing calls.
//! 3. After every tick the reactor's own invariants are checked, what it has allocated, and the faults that the world found in
//!    what it did.
//! 4. At last everyone is forgiven: all clients read and leave. Then everything owed must arrive and every slot become free.

mod bounds;
mod kernel;
mod peer;
mod program;
mod said;
#[cfg(feature = "tls")]
mod secure;
mod tcp;
mod world;

use bounds::Bounds;
use fastrand::Rng;
use kernel::Scripted;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use support::allocator;
use support::config;
use support::seeds;
use world::{FAREWELL, World};
use wsecho::reactor::Reactor;
use wsecho::reactor::listener::Role;

#[test]
fn a_few_clients() {
    seeds::each_seed(60, |mut rng| {
        let peers = rng.usize(1..80);
        simulate(rng, Plan { peers, ..Plan::default() });
    });
}

#[test]
fn a_few_clients_and_a_signal() {
    seeds::each_seed(60, |mut rng| {
        let peers = rng.usize(1..80);
        simulate(rng, Plan { peers, stops: true, ..Plan::default() });
    });
}

#[test]
fn chains_of_steps_among_other_clients() {
    seeds::each_seed(120, |mut rng| {
        let peers = rng.usize(1..60);
        let stops = rng.bool();
        simulate(rng, Plan { peers, stops, programs: 2, ..Plan::default() });
    });
}

#[test]
fn too_little_memory_for_a_few_clients() {
    seeds::each_seed(60, |mut rng| {
        let peers = rng.usize(1..80);
        simulate(rng, Plan { peers, is_scarce: true, ..Plan::default() });
    });
}

#[test]
fn thousands_of_clients() {
    seeds::each_seed(1, |rng| {
        simulate(rng, Plan { peers: 3_000, ..Plan::default() });
    });
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
            let is_scarce = !may_be_secure && rng.u8(..8) == 0;
            ticks.set(ticks.get() + simulate(rng, Plan { peers, stops, programs, may_be_secure, is_scarce }));
        },
    );
}

/// rustls's own random numbers change nothing that is drawn here: a certificate of Ed25519 makes all its messages as long in
/// every run.
#[cfg(feature = "tls")]
#[test]
fn clients_in_tls_among_others() {
    seeds::each_seed(200, |mut rng| {
        let (peers, stops) = (rng.usize(1..40), rng.bool());
        let programs = rng.usize(..2);
        simulate(rng, Plan { peers, stops, programs, may_be_secure: true, ..Plan::default() });
    });
}

#[cfg(feature = "tls")]
static AUTHORITY: std::sync::LazyLock<crate::secure::Authority> =
    std::sync::LazyLock::new(crate::secure::Authority::new);

/// What a simulation is to show.
#[derive(Default)]
struct Plan {
    peers: usize,
    /// A signal comes.
    stops: bool,
    /// Of three clients so many are those of paths under `/ws`.
    programs: usize,
    /// Of those who come for an echo, most speak TLS.
    may_be_secure: bool,
    /// The budget for what is kept is less than they would need.
    is_scarce: bool,
}

/// How many ticks it took.
fn simulate(mut rng: Rng, plan: Plan) -> u64 {
    let Plan { peers, stops, programs, may_be_secure, is_scarce } = plan;
    let before = allocator::live();
    let mut config = allocator::counted(config::config);
    let seconds = |rng: &mut Rng| rng.bool().then(|| Duration::from_secs(rng.u64(1..40)));
    config.idle_timeout = seconds(&mut rng);
    config.ping_interval = seconds(&mut rng);
    if rng.bool() {
        config.max_connections = rng.usize(1..=peers);
    }
    config.drain_spread = Duration::from_millis(rng.u64(..1_500));
    if is_scarce {
        config.max_buffered = rng.usize(50_000..1_000_000);
    }
    let budget = config.max_buffered;
    let mut world = World::new(rng.fork(), &config, peers, programs);
    if is_scarce {
        world.become_scarce();
    }
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
    if rng.u8(..4) == 0 {
        config.spin = Duration::from_millis(rng.u64(1..20));
        world.borrow_mut().spins = true;
    }
    let kernel = Scripted(world.clone());
    let mut reactor = allocator::counted(|| Reactor::new(kernel, roles, config));
    #[cfg(feature = "tls")]
    reactor.show(may_be_secure.then(|| AUTHORITY.service.clone()));
    // What rustls takes for its handshakes is no matter of the budget.
    let bounds = (!may_be_secure).then(|| Bounds::new(budget, is_scarce));
    let signal_at = if stops { rng.u64(..peers as u64 * 4) } else { u64::MAX };

    let mut ticks = 0;
    while allocator::counted(|| reactor.tick()).expect("the kernel only interrupts") {
        if let Some(bounds) = &bounds {
            bounds.check(&reactor, &world.borrow());
        }
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
    allocator::counted(|| drop(reactor));
    assert!(may_be_secure || allocator::live() == before, "bytes that nobody gave back");
    conclude(&mut world.borrow_mut(), left);
    ticks
}

/// Everyone is forgiven: what is owed arrives, and nobody waits any more. `left` are connections that the server has held.
fn conclude(world: &mut World, left: usize) {
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
}
