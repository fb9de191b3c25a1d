//! Plays a scenario: the loop around turmoil.
//!
//! One host is the broker, built inside its host's future so that nothing of it survives a crash
//! by accident; each zone is a host with its clients. The loop applies faults, steps, and looks
//! after each step for panics, which turmoil does not report. At the end the broker is told to
//! stop, and must.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stormpetrel::config::Config;
use stormpetrel::machine::Timestamp;
use stormpetrel::server::{self, Clock, Network, Shared};
use turmoil::Sim;

use crate::dice::Dice;
use crate::network::{SimNetwork, unix_millis};
use crate::panics::Watch;
use crate::script::client::{BROKER, Client};
use crate::script::history::{History, Recorder, What};
use crate::script::scenario::{Fault, Planned, Scenario};
use crate::script::stages::Stages;

/// Simulated time at the beginning of every run, in seconds since the Unix epoch.
const EPOCH: u64 = 1_700_000_000;
/// Simulated time of one step. Timers are in seconds, so this is fine enough.
const TICK: Duration = Duration::from_millis(5);
/// Segments on their way in one connection. Small numbers meet faults of turmoil's: a FIN that
/// finds the buffer full is lost.
const TCP_CAPACITY: usize = 4_096;
/// Simulated milliseconds that the broker has to stop: more than it gives its clients.
const STOP_TIMEOUT: u64 = 10_000;

/// What became of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What everybody asked and saw.
    pub history: History,
    /// Simulated time that it took.
    pub elapsed: Duration,
    /// Why it failed; none if it did not.
    pub failure: Option<Failure>,
}

/// Why a run failed, whatever its history says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A task panicked.
    #[error("panicked at {0}")]
    Panicked(String),
    /// The broker ended with an error.
    #[error("a host failed: {0}")]
    HostFailed(String),
    /// Not every script came to its end in time.
    #[error("{0} scripts did not come to their end in time")]
    Unfinished(usize),
    /// The broker was told to stop, and did not.
    #[error("the broker did not stop")]
    DidNotStop,
    /// A broker is gone, but not what it held.
    #[error("{0} brokers are gone and still held in memory")]
    Leaked(usize),
}

/// Plays the scenario on this thread.
pub fn run(scenario: &Scenario) -> Run {
    let watch = Watch::start();
    let mut stage = Stage::new(scenario);
    let failure = stage.play(scenario, &watch).err();
    let (history, elapsed) = (stage.recorder.take(), stage.sim.elapsed());
    let brokers = stage.brokers.clone();
    drop(stage);
    let failure = failure.or_else(|| panicked(&watch).err()).or_else(|| brokers.leaked().err());
    Run { history, elapsed, failure }
}

/// A simulation that is under way.
struct Stage {
    sim: Sim<'static>,
    recorder: Recorder,
    brokers: Brokers,
}

impl Stage {
    fn new(scenario: &Scenario) -> Stage {
        let mut sim = builder(scenario).build();
        let recorder = Recorder::default();
        let brokers = Brokers::default();
        let network = SimNetwork::new(scenario.noise, scenario.weather.chaos);
        add_broker(&mut sim, scenario, &brokers, network.clone());
        let network = network.of_clients();
        let stages = Rc::new(Stages::of(scenario));
        for (number, scripts) in scenario.zones.iter().enumerate() {
            let (scripts, network) = (scripts.clone(), network.clone());
            let (recorder, stages) = (recorder.clone(), stages.clone());
            sim.host(zone(number), move || {
                for script in scripts.clone() {
                    let (network, recorder) = (network.clone(), recorder.clone());
                    let client = Client::new(script, network.clone(), recorder, stages.clone());
                    network.spawn(client.follow());
                }
                std::future::pending()
            });
        }
        Stage { sim, recorder, brokers }
    }

    fn play(&mut self, scenario: &Scenario, watch: &Watch) -> Result<(), Failure> {
        let mut faults = scenario.faults.iter().peekable();
        let clients = scenario.clients();
        while self.recorder.finished() < clients || faults.peek().is_some() {
            let now = self.millis();
            while let Some(due) = faults.next_if(|planned| planned.at <= now) {
                self.apply(due);
            }
            if now >= scenario.time_max {
                return Err(Failure::Unfinished(clients - self.recorder.finished()));
            }
            self.step(watch)?;
        }
        self.stop(watch)
    }

    /// Tells the broker to stop if it is up, and waits until it has.
    fn stop(&mut self, watch: &Watch) -> Result<(), Failure> {
        self.brokers.stop();
        let late = self.millis() + STOP_TIMEOUT;
        while self.sim.is_host_running(BROKER) {
            if self.millis() >= late {
                return Err(Failure::DidNotStop);
            }
            self.step(watch)?;
        }
        Ok(())
    }

    fn step(&mut self, watch: &Watch) -> Result<(), Failure> {
        let stepped = self.sim.step();
        panicked(watch)?;
        stepped.map(drop).map_err(|error| Failure::HostFailed(error.to_string()))
    }

    fn apply(&mut self, planned: &Planned) {
        self.recorder.note(self.sim.elapsed(), None, What::Fault(planned.fault));
        match planned.fault {
            Fault::Hold(number) => self.sim.hold(zone(number), BROKER),
            Fault::Release(number) => self.sim.release(zone(number), BROKER),
            Fault::Crash => self.sim.crash(BROKER),
            Fault::Restart => self.sim.bounce(BROKER),
            Fault::Stop => self.brokers.stop(),
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis())
            .expect("the simulation is not in the far future")
    }
}

/// The brokers that one run started, one after the other. Holds none of them in memory.
#[derive(Clone, Debug, Default)]
struct Brokers(Rc<RefCell<Vec<Weak<SimShared>>>>);

type SimShared = Shared<<SimNetwork as Network>::Accepted>;

impl Brokers {
    fn add(&self, shared: &Arc<SimShared>) {
        self.0.borrow_mut().push(Arc::downgrade(shared));
    }

    fn stop(&self) {
        let last = self.0.borrow().last().and_then(Weak::upgrade);
        last.inspect(|shared| shared.stop());
    }

    /// Whether all are gone, now that their tasks are.
    fn leaked(&self) -> Result<(), Failure> {
        match self.0.borrow().iter().filter(|shared| shared.strong_count() > 0).count() {
            0 => Ok(()),
            some => Err(Failure::Leaked(some)),
        }
    }
}

fn builder(scenario: &Scenario) -> turmoil::Builder {
    let weather = scenario.weather;
    let mut builder = turmoil::Builder::new();
    builder
        .epoch(epoch())
        .tick_duration(TICK)
        .tcp_capacity(TCP_CAPACITY)
        .simulation_duration(Duration::from_millis(scenario.time_max + 2 * STOP_TIMEOUT))
        .min_message_latency(Duration::from_millis(weather.latency_min))
        .max_message_latency(Duration::from_millis(weather.latency_max))
        .rng_seed(Dice::new(scenario.noise, "latencies", 0).below(u64::MAX));
    if weather.is_order_random {
        builder.enable_random_order();
    }
    builder
}

fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(EPOCH)
}

fn add_broker(sim: &mut Sim<'static>, scenario: &Scenario, brokers: &Brokers, network: SimNetwork) {
    let (noise, config, brokers) = (scenario.noise, scenario.config.clone(), brokers.clone());
    let starts = Cell::new(0);
    sim.host(BROKER, move || {
        let seed = Dice::new(noise, "machine", starts.get()).seed();
        starts.set(starts.get() + 1);
        serve(network.clone(), config.clone(), seed, brokers.clone())
    });
}

/// The broker, from its start to its end.
async fn serve(
    network: SimNetwork,
    config: Config,
    seed: stormpetrel::machine::Seed,
    brokers: Brokers,
) -> turmoil::Result {
    let clock = Clock::starting_at(Timestamp(unix_millis()));
    let shared = server::shared(&config, seed, clock, 1);
    brokers.add(&shared);
    Ok(server::run(network, &config, shared).await?)
}

fn zone(number: usize) -> String {
    format!("zone-{number}")
}

fn panicked(watch: &Watch) -> Result<(), Failure> {
    watch.first().map_or(Ok(()), |panic| Err(Failure::Panicked(panic)))
}
