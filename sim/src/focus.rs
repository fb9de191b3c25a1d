//! Plans that go for one thing: what needs many of its conditions at once is rarely met by those
//! that do a little of everything.
//!
//! Each narrows a plan that is drawn already. Drawn by itself, so that other plans stay as they
//! are.

use crate::dice::Dice;
use crate::plan::{Actions, Plan};
use crate::scenario::{Broker, Weather};
use crate::survival::{Durability, Store};

/// Bytes that a session takes at most, with a few subscriptions and nothing that waits.
const SESSION_BYTES_MAX: u64 = 1_500;

/// Operations of a run in which answers add up that were given long ago.
const LONG_OPS: usize = 2_800;

/// Makes one of some plans that go for something.
pub(crate) fn narrow(plan: &mut Plan) {
    let mut dice = Dice::new(plan.seed, "bent", 0);
    match (plan.broker.store.is_some(), dice.below(1_000)) {
        (true, 0..20) => run_out(plan, &mut dice),
        (true, 20..60) => die_twice(plan, &mut dice),
        (true, 60..220) => exact(plan, &mut dice),
        (true, 220..470 | 820..868) => survive(plan, &mut dice),
        (false, 0..80) => clog(plan),
        (false, 80..140) => say_nothing(plan),
        (false, 140..230 | 780..830) => crowd(plan, &mut dice),
        (false, 230..350) => share(plan, &mut dice),
        (_, 470..540) => return_often(plan, &mut dice),
        (_, 540..570) => fan_out(plan),
        (_, 570..620) => expire(plan, &mut dice),
        (_, 620..680) => judge(plan, &mut dice),
        (true, 680..760 | 887..920) => share(plan, &mut dice),
        (true, 760..820) => rewrite(plan, &mut dice),
        (true, 868..887 | 935..940) => overtax(plan, &mut dice),
        (true, 920..935) => hoard(plan),
        (_, 940..970) => collect(plan, &mut dice),
        (_, 970..1_000) | (false, 680..740) => forbid(plan, &mut dice),
        (false, 740..780) => fill(plan, &mut dice),
        _ => {}
    }
}

/// Messages that must survive, and come once: lasting sessions that all have to do with one
/// topic, at QoS 2 mostly.
fn exact(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.qos = [0, 1, 5];
    plan.expiring_messages = 0;
    plan.clean_starts = 0;
    plan.actions = Actions { connect: 3, subscribe: 6, publish: 20, cut: 1, ..Actions::default() };
    sync_slowly(plan, dice);
}

/// Everything that must survive, in a broker that dies soon after it.
fn survive(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.topics = if dice.chance(500) { 1 } else { 2 };
    plan.bursts = dice.one_of(&[0, 200, 700]);
    plan.retained = 300;
    plan.clean_starts = dice.one_of(&[50, 50, 400]);
    (plan.wills, plan.short_sessions) = dice.one_of(&[(0, 0), (0, 0), (0, 400), (300, 400)]);
    plan.policies = dice.one_of(&[0, 0, 0, 0, 2]);
    plan.clumsy_clients = dice.one_of(&[0, 0, 0, 600]);
    plan.actions = Actions {
        connect: 4,
        subscribe: 12,
        unsubscribe: 8,
        publish: 24,
        cut: 3,
        disconnect: if plan.wills > 0 { 8 } else { 2 },
        ..Actions::default()
    };
    sync_slowly(plan, dice);
    if plan.policies > 0 {
        // What tokens grant must survive too.
        (plan.policies, plan.opinions) = (dice.one_of(&[1, 1, 2]), 900);
    }
}

/// A process that dies before its disk has all that was written, and the power soon after, when
/// clients have come back to the next one.
fn die_twice(plan: &mut Plan, dice: &mut Dice) {
    survive(plan, dice);
    plan.killed = 700;
    plan.clean_starts = 50;
    plan.faults = 0;
    plan.shared_client_ids = 0;
    plan.nameless_clients = 0;
    plan.gap_ms_max = 100;
    plan.actions.connect = 20;
    if Dice::new(plan.seed, "a second end within a sync", 0).chance(500) {
        plan.broker.store = Some(Store { durability: Durability::Sync, sync_ms_max: 400 });
        (plan.gap_ms_max, plan.clean_starts) = (600, 400);
    }
}

/// Everything that a log that is written anew must say again: what is retained, in flight and
/// waits, and how far each client is with it.
fn rewrite(plan: &mut Plan, dice: &mut Dice) {
    survive(plan, dice);
    plan.topics = 3;
    plan.retained = 500;
    plan.client_limits = 600;
    plan.expiring_messages = 300;
    plan.shared_filters = dice.one_of(&[0, 400]);
    // Drawn by itself, so that all else is as it is without.
    plan.dollar_topics = Dice::new(plan.seed, "dollars", 0).one_of(&[0, 0, 300]);
    plan.actions.pause = 4;
    plan.actions.resume = 3;
    if Dice::new(plan.seed, "groups in a log", 0).chance(300) {
        // What waits for a member that ends is another's, however often it was written anew.
        (plan.topics, plan.qos, plan.shared_filters) = (1, [0, 4, 1], 800);
        (plan.expiring_messages, plan.short_sessions, plan.clean_starts) = (0, 500, 100);
        plan.actions = Actions { unsubscribe: 1, disconnect: 8, cut: 8, ..plan.actions };
    }
}

/// Messages as long as those few that are read from the disk in many parts.
fn hoard(plan: &mut Plan) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.clients = plan.clients.min(3);
    plan.ops = 20;
    plan.gap_ms_max = 1_200;
    plan.qos = [0, 1, 1];
    plan.retained = 500;
    plan.giant_messages = 300;
    plan.clean_starts = 0;
    plan.weather = Weather { chaos: 0, latency_min_ms: 0, latency_max_ms: 0, ..plan.weather };
    plan.weather.pull_bytes_max = None;
    plan.actions = Actions { connect: 3, subscribe: 10, publish: 10, ..Actions::default() };
}

/// A disk that is full for long while nothing else is wrong: everybody has an answer at once.
fn run_out(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.broker.store = Some(Store { durability: Durability::Sync, sync_ms_max: 5 });
    plan.full_ms = dice.between(6_000, 12_000);
    plan.faults = 0;
    plan.gap_ms_max = 300;
    plan.qos = [1, 3, 2];
    plan.retained = 300;
    plan.clean_starts = dice.one_of(&[0, 200]);
    plan.weather = Weather { spikes: 0, chaos: 0, pull_bytes_max: None, ..plan.weather };
    plan.weather.latency_max_ms = plan.weather.latency_min_ms;
    plan.actions =
        Actions { connect: 3, subscribe: 6, publish: 30, disconnect: 1, ..Actions::default() };
}

/// Clients that ask for more than a disk keeps up with: so many answers wait for it that they are
/// not read, for longer than they may be silent; or very many, one after the other.
fn overtax(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    let store = Store { durability: Durability::Sync, sync_ms_max: dice.one_of(&[0, 5, 20]) };
    plan.broker.store = Some(store);
    plan.broker.inflight = Some(1);
    plan.broker.keep_alive_max_s = Some(1);
    plan.faults = 0;
    plan.clients = 2;
    plan.ops = 250;
    plan.bursts = 400;
    plan.gap_ms_max = 40;
    plan.older_clients = 800; // who know no Receive Maximum
    plan.shared_client_ids = 0;
    plan.nameless_clients = 0;
    plan.qos = [0, 1, 0];
    plan.retained = 700;
    plan.expiring_messages = 0;
    plan.large_messages = 0; // what is behind one comes late
    plan.huge_messages = 0;
    plan.clean_starts = 0;
    plan.wills = 0;
    plan.stalled_ms = dice.between(3_500, 8_000);
    plan.weather.latency_max_ms = plan.weather.latency_min_ms;
    // Who has asked for an answer goes when there is none, before the broker gives it up.
    plan.actions = Actions { subscribe: 1, publish: 60, ..Actions::default() };
    if dice.chance(60) {
        (plan.clients, plan.ops) = (1, LONG_OPS);
        (plan.bursts, plan.gap_ms_max) = (0, 8);
        (plan.stalled_ms, plan.retained) = (10, 1_000);
        plan.broker.inflight = Some(1_000); // or they go on for ever, one by one
        plan.actions = Actions { publish: 1, ..Actions::default() };
    }
}

/// Clients that leave while messages are in flight and wait for them, and come back to them with
/// other limits than before.
fn return_often(plan: &mut Plan, dice: &mut Dice) {
    let inflight = plan.broker.inflight;
    bring_together(plan);
    only_plain_topics(plan);
    plan.broker.inflight = inflight;
    if dice.chance(500) {
        // Some do not go on with what they had begun, and have their whole window all the same.
        plan.broker.inflight = u16::try_from(dice.between(1, 3)).ok();
        plan.clumsy_clients = 700;
    }
    let most = usize::try_from(dice.between(1, 10)).ok();
    plan.broker.queue_messages = most.filter(|_| dice.chance(600));
    plan.qos = [1, 4, 4];
    plan.clean_starts = 0;
    plan.client_limits = 700;
    plan.expiring_messages = 300;
    plan.actions = Actions {
        connect: 4,
        subscribe: 8,
        publish: 40,
        pause: 4,
        resume: 3,
        disconnect: 2,
        cut: 4,
        ..Actions::default()
    };
    if dice.chance(500) {
        // One large message may be too much, or some that fit one by one.
        let most = dice.one_of(&[1_000, 3_000, 15_000]);
        plan.broker.queue_bytes = usize::try_from(dice.between(300, most)).ok();
        plan.large_messages = 700;
        plan.actions.cut = 10;
    }
}

/// So many clients that want the same that no visit to the machine serves them all, and pauses in
/// which nothing reminds the broker of the others.
fn fan_out(plan: &mut Plan) {
    bring_together(plan);
    plan.clients = 20;
    plan.gap_ms_max = 1_200;
    plan.weather.latency_max_ms = plan.weather.latency_min_ms;
    plan.actions = Actions { connect: 2, subscribe: 20, publish: 20, ..Actions::default() };
    plan.broker.effort_max = Some(1);
    // Drawn by itself, so that all else is as it is without.
    if Dice::new(plan.seed, "leaving", 0).chance(500) {
        leave_often(plan);
    }
}

/// Some go, or want it no more, while a message is on its way to all of them.
fn leave_often(plan: &mut Plan) {
    plan.gap_ms_max = 2;
    plan.clean_starts = 500;
    plan.actions = Actions { connect: 12, unsubscribe: 6, disconnect: 4, cut: 4, ..plan.actions };
}

/// Clients that stop reading for longer than a broker waits, while there is more for them than
/// the network holds.
fn clog(plan: &mut Plan) {
    bring_together(plan);
    plan.ops = 80;
    plan.gap_ms_max = 1_200;
    plan.huge_messages = 500;
    plan.faults = 0; // who is cut off takes nothing either
    plan.actions =
        Actions { connect: 6, subscribe: 10, publish: 40, pause: 6, ..Actions::default() };
    plan.weather.pull_bytes_max = None;
    // Drawn by itself, so that all else is as it is without.
    plan.chatter = Dice::new(plan.seed, "chatter", 0).one_of(&[0, 0, 0, 0, 500]);
    let mut dice = Dice::new(plan.seed, "steady readers", 0);
    if plan.chatter == 0 && dice.chance(400) {
        read_steadily(plan, &mut dice);
    } else if plan.chatter == 0 && Dice::new(plan.seed, "short queues", 0).chance(800) {
        // Of what is too much some is dropped.
        plan.broker.queue_messages = usize::try_from(dice.between(1, 3)).ok();
        plan.weather.latency_max_ms = plan.weather.latency_min_ms;
    }
}

/// Some of them read on, so slowly that what the broker has pulled for them at once is not gone
/// before it would have given up who reads nothing, and yet many whole packets meanwhile. Nobody
/// leaves, so that they get so far.
fn read_steadily(plan: &mut Plan, dice: &mut Dice) {
    plan.weather.sip_bytes = Some(dice.one_of(&[150, 300, 500]));
    plan.clients = plan.clients.clamp(2, 4);
    plan.ops = 300;
    plan.gap_ms_max = 400;
    plan.bursts = 0;
    plan.huge_messages = 0;
    plan.large_messages = 1_000;
    plan.actions = Actions { subscribe: 6, publish: 50, pause: 3, ..Actions::default() };
}

/// Clients that come and go, faster than an address may.
pub(crate) fn come_often(plan: &mut Plan) {
    plan.gap_ms_max = 100;
    plan.zones = 1;
    plan.actions = Actions { connect: 30, cut: 10, disconnect: 10, ..plan.actions };
}

/// Clients that have a keep alive, and say nothing for longer.
fn say_nothing(plan: &mut Plan) {
    bring_together(plan);
    plan.ops = 50;
    plan.gap_ms_max = 1_200;
    plan.bursts = 0;
    plan.faults = 0;
    plan.keep_alives = 900;
    plan.silent_clients = 700;
    plan.sys_filters = 200;
    plan.broker.sys_interval_s = Some(5);
    plan.actions = Actions {
        connect: 8,
        subscribe: 8,
        publish: 8,
        ping: 2,
        half_open: 2,
        disconnect: 1,
        ..Actions::default()
    };
}

/// Sessions and delayed wills that end while their clients are away.
fn expire(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    let most = u32::try_from(dice.between(1, 5)).ok();
    plan.broker.session_expiry_max_s = most.filter(|_| dice.chance(400));
    plan.ops = 80;
    plan.gap_ms_max = 1_200;
    plan.bursts = 0;
    plan.clean_starts = 0;
    plan.short_sessions = 800;
    plan.wills = 600;
    plan.actions = Actions {
        connect: 2,
        subscribe: 10,
        publish: 10,
        disconnect: 6,
        cut: 10,
        ..Actions::default()
    };
    if dice.chance(200) {
        // While nobody is there the broker goes on to say how it is.
        plan.clients = plan.clients.min(2);
        plan.sys_filters = 300;
        plan.broker.sys_interval_s = Some(5);
    }
}

/// More clients than places, that come and go in all ways.
fn crowd(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    plan.clients = plan.clients.max(3);
    plan.gap_ms_max = 100;
    let places = dice.between(1, plan.clients as u64 - 1);
    plan.broker.connections = usize::try_from(places).ok();
    plan.broker.connect_timeout_ms = Some(dice.between(50, 1_000));
    // Who comes in place of another may come by another listener, where no place is left.
    if Dice::new(plan.seed, "the same in a crowd", 0).chance(800) {
        plan.shared_client_ids = 600;
        plan.wrap(600);
    }
    plan.actions = Actions {
        connect: 12,
        linger: 80,
        subscribe: 6,
        publish: 12,
        disconnect: 6,
        cut: 6,
        half_open: 2,
        garble: 3,
        ..Actions::default()
    };
}

/// Users who prove who they are, or do not, and come to each other's sessions.
fn judge(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    plan.policies = dice.one_of(&[0, 0, 2]);
    part_ways(plan);
    plan.clients = plan.clients.max(3);
    plan.zones = plan.zones.max(2);
    plan.shared_client_ids = 600;
    plan.opinions = dice.one_of(&[0, 800, 800]);
    plan.client_limits = 300;
    plan.clean_starts = 200;
    plan.short_sessions = 300;
    plan.actions = Actions {
        connect: 10,
        subscribe: 8,
        publish: 14,
        disconnect: 5,
        cut: 5,
        garble: 1,
        ..Actions::default()
    };
}

/// Rules that change while messages are in flight and wait: some ways to them are closed, others
/// stay, and what was forbidden is allowed again.
fn forbid(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.clients = plan.clients.min(4);
    plan.policies = 3;
    plan.topics = 2;
    plan.wildcards = 600;
    plan.clean_starts = 0;
    plan.client_limits = 800;
    plan.shared_filters = dice.one_of(&[0, 0, 300]);
    plan.qos = [1, 4, 4];
    plan.actions = Actions {
        connect: 4,
        subscribe: 16,
        publish: 30,
        pause: 6,
        resume: 2,
        disconnect: 1,
        cut: 4,
        ..Actions::default()
    };
}

/// New subscriptions to much that is retained, a little of it at a time.
fn collect(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.topics = 6;
    plan.wildcards = 800;
    plan.retained = 700;
    plan.large_messages = 300;
    plan.weather.pull_bytes_max = Some(dice.one_of(&[1, 40, 400]));
    plan.actions = Actions {
        connect: 3,
        subscribe: 20,
        unsubscribe: 6,
        publish: 20,
        cut: 1,
        ..Actions::default()
    };
}

/// A broker whose memory is used up by what waits for those who do not take it, where some clear
/// what is retained.
fn fill(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.clients = plan.clients.clamp(3, 5);
    plan.topics = 2;
    plan.older_clients = 0; // whom it refuses, it closes
    plan.nameless_clients = 0;
    plan.wills = 0;
    plan.large_messages = 0;
    plan.huge_messages = 0;
    plan.qos = [0, 4, 1];
    plan.retained = 600;
    plan.clean_starts = 0;
    // Their sessions have room, whatever else has.
    let sessions = SESSION_BYTES_MAX * plan.clients as u64;
    plan.broker.total_bytes = usize::try_from(sessions + dice.between(1_000, 6_000)).ok();
    plan.actions = Actions {
        connect: 3,
        subscribe: 8,
        publish: 60,
        pause: 4,
        cut: 2,
        disconnect: 2,
        ..Actions::default()
    };
}

/// Groups whose members come and go, and may not have everything.
fn share(plan: &mut Plan, dice: &mut Dice) {
    bring_together(plan);
    only_plain_topics(plan);
    plan.clients = plan.clients.max(4);
    plan.shared_filters = 800;
    plan.policies = dice.one_of(&[0, 0, 1, 2]);
    part_ways(plan);
    // Some are members of groups for one topic and for another.
    if Dice::new(plan.seed, "groups for two topics", 0).chance(500) {
        plan.topics = 2;
    }
    plan.actions = Actions {
        connect: 6,
        subscribe: 14,
        unsubscribe: 4,
        publish: 40,
        disconnect: 2,
        cut: 3,
        pause: 1,
        resume: 2,
        ..Actions::default()
    };
    let has_store = plan.broker.store.is_some();
    if has_store || dice.chance(400) {
        // What a group had given to a member that ends is another's.
        plan.qos = [0, 3, 3];
        plan.gap_ms_max = dice.one_of(&[20, 100, 400]);
        plan.client_limits = 600;
        plan.clean_starts = 300;
        plan.short_sessions = 600;
        plan.actions = Actions { disconnect: 5, cut: 5, pause: 4, ..plan.actions };
    }
    if has_store {
        sync_slowly(plan, dice); // and stays so over a crash
    }
    if Dice::new(plan.seed, "groups that are away", 0).chance(250) {
        // For some of them nothing is kept.
        (plan.qos, plan.clean_starts, plan.short_sessions) = ([2, 3, 3], 0, 0);
        plan.actions = Actions { subscribe: 8, unsubscribe: 1, disconnect: 16, ..plan.actions };
    }
}

/// One topic that all have to do with, and nothing that would keep them apart.
fn bring_together(plan: &mut Plan) {
    plan.topics = 1;
    plan.wildcards = 0;
    plan.shared_filters = 0;
    plan.invalid_filters = 0;
    plan.clumsy_clients = 0;
    plan.client_limits = 0;
    plan.policies = 0;
    plan.opinions = 0;
    let Broker { store, log_bytes, effort_max, disconnect_delay_s, .. } = plan.broker;
    plan.broker = Broker { store, log_bytes, effort_max, disconnect_delay_s, ..Broker::default() };
    plan.weather.spikes = 0;
}

/// Where there are rules, two topics, and filters for both: who may not have all that a filter
/// brings may have a part of it, and what comes by two filters may come by one.
fn part_ways(plan: &mut Plan) {
    if plan.policies > 0 {
        plan.topics = 2;
        plan.wildcards = 500;
    }
}

/// No topics that begin with `$`.
fn only_plain_topics(plan: &mut Plan) {
    plan.dollar_topics = 0;
    plan.sys_topics = 0;
    plan.sys_filters = 0;
}

/// Syncs that take longer than it takes to come to the broker, or even to hear its answer, so
/// that it dies before they end.
fn sync_slowly(plan: &mut Plan, dice: &mut Dice) {
    let sync_ms_max = dice.one_of(&[40, 200]);
    plan.broker.store = plan.broker.store.map(|store| Store { sync_ms_max, ..store });
    // Mostly it is known to the millisecond when something comes, and when to die of it.
    let more_ms = if dice.chance(700) { 0 } else { 5 };
    plan.weather.latency_max_ms = plan.weather.latency_min_ms + more_ms;
}
