//! How near `loadgen find` comes to a capacity that is known.

use loadgen::cli::args::{FindArgs, Subcommand};
use loadgen::cli::problem::Problem;
use loadgen::engine::plan::Plan;
use loadgen::modes::find::{Ground, search};
use loadgen::report::Report;
use loadgen::report::model::{Answer, Mode};

use crate::host::{Host, Manner};
use crate::rounds;
use crate::run::{command, measure, plan};
use crate::servers::{Server, Time};
use crate::world::World;

/// One server in one world, which goes on from step to step.
struct Virtual<'a> {
    args: &'a FindArgs,
    seed: u64,
    world: Option<World>,
    bystander: Host,
}

impl Ground for Virtual<'_> {
    fn plan(&self) -> Plan {
        plan(&self.args.common())
    }

    fn measure(&mut self, connections: usize, plan: &Plan) -> Result<Report, Problem> {
        let world = self.world.take().expect("it comes back");
        let common = self.args.common();
        let done = measure(Mode::Find, connections, plan, &common, self.seed, world, &mut self.bystander);
        self.world = Some(done.world);
        Ok(done.report)
    }

    fn say(&mut self, _: &str) {}
}

/// A server of 500 messages a second, steps of the default length: 5 s. What the SLO allows (a queue of 60 ms) is made by
/// 1.2 % too much, and the search ends within 5 %. The second load is nearly twice the capacity: whoever
/// tries the next one in its backlog finds none above the first.
#[test]
fn a_known_capacity_is_found_within_five_per_cent_or_not_told() {
    let Subcommand::Find(args) = command("find --slo p99<60ms -c20 --min 450 --max 1600") else {
        panic!("not a search")
    };
    println!("| machine | searches | within 5 % | could not tell | wrong |\n|--|--|--|--|--|");
    for (name, manner) in [
        ("quiet", Manner::Quiet),
        ("neighbours", Manner::Shared),
        ("more neighbours", Manner::Crowded),
        ("starved", Manner::Starved),
    ] {
        let all = 3 * rounds();
        let (mut right, mut untold, mut wrong) = (0, 0, Vec::new());
        for seed in 0..all {
            let [ours, servers, bystander] = Host::threads(manner, seed << 8);
            let server = Server::new(Time::Fixed(0.0), Time::Fixed(2e6), seed);
            let world = Some(World::new(server, [ours, servers]));
            let ground = || Ok(Virtual { args: &args, seed, world, bystander });
            let (_, report) = search(&args, ground).unwrap_or_else(|_| panic!("seed {seed}: no report"));
            let find = report.find.expect("a search");
            let best = find.best.unwrap_or(0.0);
            let doubt = find.steps.iter().any(|step| step.answer() == Answer::Unknown);
            match best {
                475.0..=525.0 => right += 1,
                _ if doubt && best <= 525.0 => untold += 1,
                _ => wrong.push(format!("seed {seed}: {best} {}", find.stopped)),
            }
        }
        println!("| {name} | {all} | {right} | {untold} | {} |", wrong.len());
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        assert!(manner == Manner::Starved || right == all, "{name}: {right} of {all}");
    }
}
