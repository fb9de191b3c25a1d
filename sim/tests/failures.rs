//! A run that fails says so: what would go unnoticed on turmoil alone.

use stormpetrel::mqtt::types::{QoS, Version};
use stormpetrel_sim::script::{Failure, Fault, Planned, Scenario, Script, Step, run};

fn with(steps: impl IntoIterator<Item = Step>) -> Scenario {
    let script = Script::new("client", Version::V5).then([Step::Connect]).then(steps);
    Scenario { zones: vec![vec![script]], time_max: 5_000, ..Scenario::new(1) }
}

#[test]
fn a_panic_that_tokio_caught_fails_the_run() {
    let failure = run(&with([Step::publish("no/#/topic", "x", QoS::AtMostOnce)])).failure;
    let Some(Failure::Panicked(panic)) = failure else { panic!("{failure:?}") };
    assert!(panic.contains("scripts publish to topics"), "{panic}");
}

#[test]
fn a_script_that_waits_for_ever_fails_the_run() {
    let run = run(&with([Step::Await("never published".to_owned())]));
    assert_eq!(run.failure, Some(Failure::Unfinished(1)));
    assert_eq!(run.elapsed.as_millis(), 5_000);
}

#[test]
fn a_broker_that_cannot_start_fails_the_run() {
    let mut scenario = with([]);
    scenario.config.listeners.push(scenario.config.listeners[0].clone());
    let failure = run(&scenario).failure;
    let Some(Failure::HostFailed(error)) = failure else { panic!("{failure:?}") };
    assert!(error.contains("cannot listen on"), "{error}");
}

#[test]
fn a_broker_that_crashed_for_good_holds_nothing() {
    let faults = vec![Planned { at: 1_000, fault: Fault::Crash }];
    let scenario = Scenario { faults, ..with([Step::subscribe("a/#", QoS::ExactlyOnce)]) };
    assert_eq!(run(&scenario).failure, None);
}
