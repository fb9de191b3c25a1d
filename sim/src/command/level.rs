//! The two levels, and a run at either with all that is wrong with it.

use std::ops::Range;

use clap::{Args, ValueEnum};
use stormpetrel_sim::{
    Plan, Run, Scenario, Violation, keeping_log, machine_level, network_level, oracle, report,
};

use super::{Chosen, Origin, commit};

/// Where a scenario is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// On the state machine alone: thousands of scenarios a second.
    #[default]
    Machine,
    /// On the whole broker and a simulated network.
    Network,
}

impl Level {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Machine => "machine",
            Level::Network => "network",
        }
    }

    /// The seeds that find what is to be found: as many as are played in a minute or less.
    pub(crate) fn standard_sweep(self) -> Range<u64> {
        match self {
            Level::Machine => 0..20_000,
            Level::Network => 0..2_000,
        }
    }

    /// Plays a scenario. The violations are those of the run itself and the oracle's.
    pub(crate) fn play(self, scenario: &Scenario) -> (Run, Vec<Violation>) {
        let run = match self {
            Level::Machine => machine_level::run(scenario),
            Level::Network => network_level::run(scenario),
        };
        let mut wrong: Vec<Violation> = run.failure.iter().cloned().collect();
        wrong.extend(oracle::check(scenario, &run.history));
        (run, wrong)
    }
}

/// Where and on what a scenario is played.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Ground {
    /// On the machine alone, or on the whole broker.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) level: Level,
    /// With so many clients, in place of as many as the seed says.
    #[arg(long)]
    clients: Option<usize>,
    /// With this fault planted into the broker.
    #[cfg(feature = "plants")]
    #[arg(long, value_parser = super::plants::named)]
    pub(crate) plant: Option<stormpetrel::plant::Plant>,
}

impl Ground {
    /// The plan of a seed.
    pub(crate) fn plan(self, seed: u64) -> Plan {
        let plan = Plan::drawn(seed);
        Plan { clients: self.clients.unwrap_or(plan.clients), ..plan }
    }

    /// Plays a scenario: see [`Level::play`].
    pub(crate) fn play(self, scenario: &Scenario) -> (Run, Vec<Violation>) {
        #[cfg(feature = "plants")]
        let _planted = self.plant.map(stormpetrel_sim::plants::Planted::new);
        self.level.play(scenario)
    }

    /// Only what is wrong with it.
    pub(crate) fn check(self, scenario: &Scenario) -> Vec<Violation> {
        self.play(scenario).1
    }

    /// The options that say so on the command line.
    pub(crate) fn options(self) -> String {
        let clients = self.clients.map_or(String::new(), |clients| format!(" --clients {clients}"));
        let level = format!("--level {}{clients}", self.level.name());
        #[cfg(feature = "plants")]
        let level = match self.plant {
            Some(plant) => format!("{level} --plant {plant:?}"),
            None => level,
        };
        level
    }
}

impl Chosen {
    /// The scenario, and the plan that it was made from if it was.
    pub(crate) fn scenario(&self) -> anyhow::Result<(Option<Plan>, Scenario)> {
        match &self.origin {
            Origin::Seed(seed) => {
                let plan = self.ground.plan(*seed);
                let scenario = plan.scenario();
                Ok((Some(plan), scenario))
            }
            Origin::File(path) => {
                let text = std::fs::read_to_string(path)?;
                Ok((None, Scenario::from_yaml(&text)?))
            }
            Origin::Named(named, seed) => Ok((None, (named.scenario)(*seed))),
        }
    }

    /// Plays it, for people.
    pub(crate) fn report(&self) -> anyhow::Result<report::Report> {
        let (plan, scenario) = self.scenario()?;
        let ((run, violations), log) = keeping_log(|| self.ground.play(&scenario));
        let (origin, command) = match &self.origin {
            Origin::Seed(seed) => (format!("seed {seed}"), format!("replay {seed} --trace")),
            Origin::File(path) => {
                let path = path.display();
                (path.to_string(), format!("replay {path} --trace"))
            }
            Origin::Named(named, seed) => {
                let name = named.name;
                (format!("{name}, seed {seed}"), format!("scenario {name} --seed {seed}"))
            }
        };
        let level = self.ground.level.name().to_owned();
        let options = self.ground.options();
        let replay = format!("cargo sim {command} {options}");
        let shrink = match &self.origin {
            Origin::Seed(seed) => format!("cargo sim shrink {seed} {options}"),
            Origin::File(path) => format!("cargo sim shrink {} {options}", path.display()),
            Origin::Named(..) => "write the scenario to a file, and shrink that".to_owned(),
        };
        let commit = commit();
        Ok(report::Report {
            origin,
            level,
            commit,
            plan,
            scenario,
            run,
            violations,
            log,
            replay,
            shrink,
        })
    }
}
