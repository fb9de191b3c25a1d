//! Short scenes that a few newcomers play beside everybody else, mostly on a topic of their own:
//! what takes several steps, each at its time, that clients who do as they like hardly ever make.

mod groups;
mod plenty;

use std::ops::Range;
use std::sync::Arc;

use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{
    AckPolicy, Action, ClientIndex, Connect, Fault, FaultKind, Manners, MessageNumber, Op, Publish,
    Qos, Scenario, Subscribe, Will,
};
use crate::survival::add_newcomer;
pub(crate) use groups::{GUARDED, add_heirs, kept_out};

/// The numbers of messages for who is pardoned begin here, so that they are known by sight.
const PARDONED_FROM: MessageNumber = 930_000;
/// And those that wait for who moves.
const MOVED_FROM: MessageNumber = 950_000;
/// And those that are on the shelf.
const READ_FROM: MessageNumber = 960_000;
/// And those for who does nothing with them.
const IDLE_FROM: MessageNumber = 970_000;
/// And that of the will of who departs.
const WILL: MessageNumber = 980_000;
/// And those that are retained until no more can be.
const RETAINED_FROM: MessageNumber = 990_000;
/// And those of who has not released others.
const HASTY_FROM: MessageNumber = 910_000;
/// How the client ids of who moves begin.
const MOVER: &str = "mover";
/// Milliseconds from what somebody does to what comes next.
const STEP_MS: u64 = 400;
/// Disconnect with Will Message.
const WITH_WILL: u8 = 0x04;
/// Seconds of a keep alive that a scene waits for, at most.
const SILENCE_S_MAX: u16 = 4;
/// Seconds that the session of who never comes back outlives its connection.
const SHORT_S: u32 = 3;
const SHORT_MS: u64 = SHORT_S as u64 * 1_000;
/// Seconds that other sessions do.
const LONG_S: u32 = 1_000;

/// Adds the scenes that this seed has, but for that of the heirs and the rush: some of them only if
/// the broker may die beside all else.
pub(crate) fn add(scenario: &mut Scenario, topics: &[Arc<str>], plan: &Plan, may_die: bool) {
    add_pardoned(scenario, plan);
    groups::add(scenario, plan);
    add_mover(scenario, topics, plan);
    add_idler(scenario);
    add_nameless(scenario);
    add_collection(scenario);
    add_hasty(scenario);
    plenty::add(scenario, topics, plan);
    if may_die {
        add_reader(scenario);
        add_departed(scenario);
        add_last(scenario);
    }
}

/// One comes from elsewhere to a session for which a message waits: rules may not let it have that
/// there.
fn add_mover(scenario: &mut Scenario, topics: &[Arc<str>], plan: &Plan) {
    let mut dice = Dice::new(scenario.seed, "mover", 0);
    let has_owners = plan.opinions > 0; // who may not let it in
    if plan.policies == 0 || plan.zones < 2 || has_owners || !dice.chance(600) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    let here = scene.enter(MOVER, LONG_S);
    let there = scene.enter(MOVER, LONG_S);
    let giver = scene.enter("giver", 0);
    let clients = &mut scene.scenario.clients;
    clients[there.client].client_id = Arc::clone(&clients[here.client].client_id);
    clients[there.client].zone = (clients[here.client].zone + 1) % plan.zones;
    scene.connect(&here);
    scene.connect(&giver);
    scene.step();
    let topic = dice.one_of(topics);
    scene.act(&here, Action::Subscribe(Subscribe::to(Arc::clone(&topic), Qos::AtLeastOnce)));
    scene.step();
    scene.act(&here, Action::Cut);
    scene.step();
    let count = dice.between(1, 2);
    scene.publish(&giver, &topic, MOVED_FROM..MOVED_FROM + count, Qos::AtLeastOnce);
    scene.step();
    scene.come_back(&there);
    scene.step();
    scene.end();
}

/// Where the one goes who moves, and with which subscription, if anybody does.
pub(crate) fn moves_to(scenario: &Scenario) -> Option<(usize, Arc<str>)> {
    let clients = &scenario.clients;
    let is_mover = |client: ClientIndex| clients[client].client_id.starts_with(MOVER);
    let subscribed = scenario.ops.iter().find_map(|op| match &op.action {
        Action::Subscribe(subscribe) if is_mover(op.client) => Some(subscribe),
        _ => None,
    });
    let there = (0..clients.len()).rfind(|&client| is_mover(client))?;
    Some((clients[there].zone, Arc::clone(&subscribed?.filters[0].filter)))
}

/// One has received something that it never completes, and not answered what came before that, when
/// it goes. When it is back it takes one message at a time and answers nothing, and is told all the
/// same that what it received is released.
fn add_idler(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "idler", 0);
    if !dice.chance(150) {
        return;
    }
    let latency_ms = scenario.weather.latency_max_ms;
    let mut scene = Scene::begin(scenario, &mut dice);
    let mut idler = scene.enter("idler", LONG_S);
    let giver = scene.enter("giver", 0);
    scene.act(&idler, answering(AckPolicy::Never));
    [&idler, &giver].into_iter().for_each(|player| scene.connect(player));
    scene.step();
    scene.act(&idler, Action::Subscribe(Subscribe::to("idle", Qos::ExactlyOnce)));
    scene.step();
    scene.publish(&giver, "idle", IDLE_FROM..IDLE_FROM + 2, Qos::AtLeastOnce);
    scene.now_ms += STEP_MS + 4 * latency_ms;
    scene.act(&idler, answering(AckPolicy::NeverComplete));
    scene.publish(&giver, "idle", IDLE_FROM + 2..IDLE_FROM + 3, Qos::ExactlyOnce);
    scene.now_ms += STEP_MS + 6 * latency_ms;
    scene.act(&idler, Action::Cut);
    scene.act(&idler, answering(AckPolicy::Never));
    scene.step();
    idler.connect.receive_maximum = Some(1);
    scene.come_back(&idler);
    scene.now_ms += 4 * STEP_MS + 24 * latency_ms;
    scene.act(&idler, Action::Subscribe(Subscribe::to("idle/not", Qos::AtMostOnce)));
    scene.now_ms += STEP_MS + 2 * latency_ms;
    scene.end();
}

/// One gives no name, and may be silent for longer than the broker allows: it is told both what it
/// is called and how long it may be.
fn add_nameless(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "nameless", 0);
    let Some(max) = scenario.broker.keep_alive_max_s.filter(|_| dice.chance(300)) else { return };
    let mut scene = Scene::begin(scenario, &mut dice);
    let mut nameless = scene.enter("nameless", 0);
    scene.scenario.clients[nameless.client].client_id = Arc::from("");
    nameless.connect.keep_alive_s = dice.one_of(&[0, max, max.saturating_add(1), u16::MAX]);
    scene.connect(&nameless);
    scene.step();
    if max <= SILENCE_S_MAX && dice.chance(500) {
        // And is silent for longer than that.
        scene.act(&nameless, Action::Behave(Manners { pings: false, ..Manners::default() }));
        scene.now_ms += u64::from(max) * 1_500 + 4 * STEP_MS;
    }
    scene.act(&nameless, Action::Disconnect { reason: 0, expiry_s: None });
    scene.end();
}

/// One has as much retained as the broker retains, and one more, and then all of it anew: what takes
/// the place of another finds room.
fn add_collection(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "collection", 0);
    let Some(max) = scenario.broker.retained_messages.filter(|_| dice.chance(500)) else { return };
    let mut scene = Scene::begin(scenario, &mut dice);
    let collector = scene.enter("collector", 0);
    scene.connect(&collector);
    scene.step();
    let count = max as u64 + 1;
    for message in (RETAINED_FROM..).take(2 * count as usize) {
        let publish = Publish {
            message,
            topic: format!("c{}", message % count).into(),
            qos: Qos::AtLeastOnce,
            retain: true,
            ..Publish::default()
        };
        scene.act(&collector, Action::Publish(publish));
    }
    scene.step();
    scene.end();
}

/// One sends as many messages as it may have under way, goes before it can release them, and when it
/// is back sends as many others: those of before take nothing of that.
fn add_hasty(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "hasty", 0);
    let Some(max) = scenario.broker.inflight.filter(|_| dice.chance(400)) else { return };
    let latency_ms = scenario.weather.latency_max_ms;
    let mut scene = Scene::begin(scenario, &mut dice);
    let hasty = scene.enter("hasty", LONG_S);
    scene.act(&hasty, Action::Behave(Manners { resends: false, ..Manners::default() }));
    scene.connect(&hasty);
    scene.now_ms += STEP_MS + 4 * latency_ms;
    let middle = HASTY_FROM + u64::from(max);
    scene.publish(&hasty, "haste", HASTY_FROM..middle, Qos::ExactlyOnce);
    scene.now_ms += latency_ms + dice.below(latency_ms + 1);
    scene.act(&hasty, Action::Cut);
    scene.step();
    scene.come_back(&hasty);
    scene.now_ms += STEP_MS + 4 * latency_ms;
    scene.publish(&hasty, "haste", middle..middle + u64::from(max), Qos::ExactlyOnce);
    scene.now_ms += STEP_MS + 4 * latency_ms;
    scene.end();
}

/// One with a will goes, mostly with a word that there is no need of it, and the broker dies before
/// its session ends.
fn add_departed(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "departed", 0);
    if scenario.broker.store.is_none() || !dice.chance(200) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    if dice.chance(600) {
        scene.now_ms = scene.scenario.safety_ms; // when nobody disturbs
    }
    let mourner = scene.enter("mourner", LONG_S);
    let mut departed = scene.enter("departed", SHORT_S);
    let message = Publish {
        message: WILL,
        topic: Arc::from("obituary"),
        qos: Qos::AtLeastOnce,
        ..Publish::default()
    };
    departed.connect.will = Some(Will { message, delay_s: dice.one_of(&[0, 1, SHORT_S]) });
    scene.connect(&mourner);
    scene.step();
    scene.act(&mourner, Action::Subscribe(Subscribe::to("obituary", Qos::AtLeastOnce)));
    scene.step();
    scene.connect(&departed);
    scene.step();
    scene.act(
        &departed,
        match dice.below(4) {
            0 => Action::Cut,
            1 => Action::Disconnect { reason: WITH_WILL, expiry_s: None },
            _ => Action::Disconnect { reason: 0, expiry_s: None },
        },
    );
    scene.step();
    if dice.chance(300) {
        scene.fault(FaultKind::Rewrite);
    }
    scene.step();
    scene.fault(FaultKind::Crash { down_ms: 10, kept: dice.one_of(&[0, 1_000]) });
    scene.step();
    scene.come_back(&mourner);
    departed.connect.will = None;
    match dice.chance(400) {
        true => scene.connect(&departed), // which ends its session
        false => scene.now_ms += SHORT_MS,
    }
    scene.step();
    scene.end();
}

/// Everybody has gone but for one, who has just asked for something when the broker is told to stop:
/// it is answered, and told why it must go.
fn add_last(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "last", 0);
    if scenario.broker.store.is_none() || !dice.chance(200) {
        return;
    }
    let latency_ms = scenario.weather.latency_max_ms;
    let mut scene = Scene::begin(scenario, &mut dice);
    scene.now_ms = scene.scenario.safety_ms;
    let others = 0..scene.scenario.clients.len();
    for client in others {
        scene.scenario.ops.push(Op { at_ms: scene.now_ms, client, action: Action::Cut });
    }
    let [before, last] = ["last but one", "last"].map(|name| scene.enter(name, 0));
    scene.step();
    // A broker that has several workers gives them one each.
    for player in [&before, &last] {
        scene.connect(player);
        scene.now_ms += STEP_MS + 4 * latency_ms;
    }
    if dice.chance(700) {
        scene.act(&before, Action::Cut);
        scene.now_ms += STEP_MS + 4 * latency_ms;
    }
    scene.act(&last, Action::Subscribe(Subscribe::to("last", Qos::AtMostOnce)));
    scene.now_ms += dice.below(2 * latency_ms + 2);
    scene.fault(FaultKind::Stop { down_ms: 10 });
    scene.step();
    scene.end();
}

/// Some guess a password at once: no more of them are looked at together than may fail. Where it is
/// known by now who is judged.
pub(crate) fn add_rush(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(scenario.seed, "rush", 0);
    // One with whose name nobody has failed yet, so that there is anything to gain.
    let user = scenario.broker.opinions.last().map(|opinion| opinion.user.clone());
    if !plan.has_guessers() || user.is_none() || !dice.chance(700) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    for name in ["first", "second", "third"] {
        let guesser = scene.enter(name, 0);
        let known = &mut scene.scenario.clients[guesser.client];
        (known.user, known.is_mistaken) = (user.clone(), true);
        scene.connect(&guesser);
    }
    scene.step();
    scene.end();
}

/// One subscribes to more that is retained than it takes at a time. Before it has all of it, it
/// subscribes anew, goes and comes back, or the broker dies; and more is retained meanwhile.
fn add_reader(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "reader", 0);
    let mut rare = Dice::new(scenario.seed, "reader's second thoughts", 0);
    if !dice.chance(150) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    let mut reader = scene.enter("reader", LONG_S);
    reader.connect.receive_maximum = Some(1);
    let giver = scene.enter("giver", 0);
    scene.act(&reader, answering(AckPolicy::Never));
    scene.connect(&giver);
    scene.connect(&reader);
    scene.step();
    let count = dice.between(2, 4);
    // On some shelves is more than it subscribes to.
    let (filter, ends): (_, &[&str]) = match dice.chance(500) {
        true => ("shelf/+", &[""]),
        false => ("shelf/+/read", &["/unread", "/read"]),
    };
    (0..count).for_each(|number| scene.retain(&giver, number, ends));
    scene.step();
    let mut subscribe = Subscribe::to(filter, Qos::AtLeastOnce);
    subscribe.subscription_id = Some(1);
    scene.act(&reader, Action::Subscribe(subscribe.clone()));
    scene.step();
    if dice.chance(400) {
        subscribe.subscription_id = Some(2);
        let filter = &mut subscribe.filters[0];
        filter.qos = dice.one_of(&[Qos::AtLeastOnce, Qos::ExactlyOnce]);
        // What it was to get by the first one it still is.
        filter.retain_handling = rare.one_of(&[0, 0, 1, 2]);
        scene.act(&reader, Action::Subscribe(subscribe));
        scene.step();
    }
    scene.act(&reader, Action::Cut);
    scene.step();
    scene.retain(&giver, count, ends);
    scene.step();
    if scene.scenario.broker.store.is_some() {
        if dice.chance(700) {
            scene.fault(FaultKind::Rewrite);
            scene.now_ms += dice.between(1, 4) * STEP_MS; // it takes some syncs
        }
        if dice.chance(800) {
            scene.fault(FaultKind::Crash { down_ms: 10, kept: dice.one_of(&[0, 1_000]) });
            scene.step();
        }
    }
    scene.act(&reader, answering(AckPolicy::Prompt));
    scene.come_back(&reader);
    scene.step();
    scene.end();
}

/// One has not answered messages when it goes, may not have them while it is away, and may again
/// before it comes back: they are sent again, as if nothing had been.
fn add_pardoned(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(scenario.seed, "pardoned", 0);
    if plan.policies == 0 || !dice.chance(300) {
        return;
    }
    let allowed = FaultKind::Reload { policy: plan.policies }; // there are no rules
    let forbidden = FaultKind::Reload { policy: 0 }; // what no rule means is denied
    let mut scene = Scene::begin(scenario, &mut dice);
    let pardoned = scene.enter("pardoned", LONG_S);
    let giver = scene.enter("giver", 0);
    scene.fault(allowed);
    scene.step();
    scene.act(&pardoned, answering(AckPolicy::Never));
    scene.connect(&pardoned);
    scene.connect(&giver);
    scene.step();
    let subscribe = Subscribe::to("clemency", Qos::ExactlyOnce);
    scene.act(&pardoned, Action::Subscribe(subscribe));
    scene.step();
    let count = dice.between(1, 3);
    let qos = dice.one_of(&[Qos::AtLeastOnce, Qos::ExactlyOnce]);
    scene.publish(&giver, "clemency", PARDONED_FROM..PARDONED_FROM + count, qos);
    scene.step();
    scene.act(&pardoned, Action::Cut);
    scene.step();
    scene.fault(forbidden);
    scene.step();
    if dice.chance(800) {
        scene.fault(allowed);
    }
    scene.step();
    scene.act(&pardoned, answering(AckPolicy::Prompt));
    scene.come_back(&pardoned);
    scene.step();
    scene.end();
}

/// To answer so from now on, and to be honest in all else.
fn answering(acks: AckPolicy) -> Action {
    Action::Behave(Manners { acks, ..Manners::default() })
}

/// A scene, as far as it is written.
struct Scene<'s> {
    scenario: &'s mut Scenario,
    now_ms: u64,
}

/// Who plays, and how it comes in for the first time.
struct Player {
    client: ClientIndex,
    connect: Connect,
}

impl<'s> Scene<'s> {
    fn begin(scenario: &'s mut Scenario, dice: &mut Dice) -> Scene<'s> {
        let now_ms = dice.below(scenario.safety_ms);
        Scene { scenario, now_ms }
    }

    /// A newcomer whose session outlives its connection by so many seconds.
    fn enter(&mut self, name: &str, expiry_s: u32) -> Player {
        let name = format!("{name}-{}", self.scenario.clients.len());
        let (client, mut connect) = add_newcomer(self.scenario, &name);
        connect.expiry_s = (expiry_s > 0).then_some(expiry_s);
        Player { client, connect }
    }

    fn step(&mut self) {
        self.now_ms += STEP_MS;
    }

    fn act(&mut self, player: &Player, action: Action) {
        self.scenario.ops.push(Op { at_ms: self.now_ms, client: player.client, action });
    }

    fn connect(&mut self, player: &Player) {
        self.act(player, Action::Connect(player.connect.clone()));
    }

    fn come_back(&mut self, player: &Player) {
        let connect = Connect { clean_start: false, ..player.connect.clone() };
        self.act(player, Action::Connect(connect));
    }

    fn publish(&mut self, player: &Player, topic: &str, messages: Range<u64>, qos: Qos) {
        self.publish_large(player, topic, messages, (qos, 0));
    }

    /// The same, of so many bytes each.
    fn publish_large(
        &mut self,
        player: &Player,
        topic: &str,
        messages: Range<u64>,
        (qos, bytes): (Qos, usize),
    ) {
        for message in messages {
            let topic = Arc::from(topic);
            let publish = Publish { message, topic, qos, bytes, ..Publish::default() };
            self.act(player, Action::Publish(publish));
        }
    }

    /// Has one more message retained below `shelf`, whose topics have these ends in turn.
    fn retain(&mut self, player: &Player, number: u64, ends: &[&str]) {
        let end = ends[number as usize % ends.len()];
        let publish = Publish {
            message: READ_FROM + number,
            topic: format!("shelf/{number}{end}").into(),
            qos: Qos::ExactlyOnce,
            retain: true,
            ..Publish::default()
        };
        self.act(player, Action::Publish(publish));
    }

    fn fault(&mut self, kind: FaultKind) {
        self.scenario.faults.push(Fault { at_ms: self.now_ms, kind });
    }

    fn end(self) {
        let scenario = self.scenario;
        scenario.safety_ms = scenario.safety_ms.max(self.now_ms + STEP_MS);
        scenario.faults.sort_by_key(|fault| fault.at_ms);
        scenario.ops.sort_by_key(|op| op.at_ms);
    }
}
