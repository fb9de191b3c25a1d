//! The embedding API: build a broker, start it, publish and subscribe from inside, stop it.
//!
//! What the broker does is in `server/` and `machine/`; here it only gets its threads, its
//! clock and its seed. `server/local.rs` is the connection that publishing and subscribing use.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Mutex;
use tracing::warn;

use crate::access::{Authenticate, Authorise};
use crate::config::{Config, Errors};
use crate::machine::{Durability, Outgoing, Seed, Timestamp};
use crate::mqtt::message::Message;
use crate::mqtt::topic::{Filter, FilterError, NameError, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason, Text};
use crate::mqtt::wire::{
    Ack, Delivery, Packet, Publish, Subscribe, SubscriptionOptions, SubscriptionRequest,
};
use crate::server::door::Plugins;
use crate::server::threads::{self, TcpShared, Threads};
use crate::server::{self, Clock, Keeper};
use crate::store::Files;

type Local = server::Local<<server::Sockets as server::Network>::Accepted>;

/// A running broker, on threads of its own. It stops when it is dropped;
/// [`Broker::shut_down`] also waits for that.
///
/// ```no_run
/// use stormpetrel::{Broker, config::Config, mqtt::types::QoS};
///
/// # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::new(Config::default()).start().await?;
/// let mut readings = broker.subscribe("plant/+/temperature", QoS::AtLeastOnce).await?;
/// broker.publish("plant/7/temperature", "21.5", QoS::AtLeastOnce, false).await?;
/// let message = readings.recv().await.expect("the broker runs");
/// assert_eq!(message.topic.as_str(), "plant/7/temperature");
/// assert!(broker.shut_down_and_wait().await, "all is kept");
/// # Ok(())
/// # }
/// ```
///
/// A program that has thousands of clients needs as many descriptors, and may raise its limit with
/// [`server::raise_descriptor_limit`]. One whose files may not grow for ever (`RLIMIT_FSIZE`) must
/// handle SIGXFSZ, which would end it.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<TcpShared>,
    threads: Threads,
    addresses: Vec<SocketAddr>,
    publisher: Mutex<Publisher>,
    /// Those of the program, to be found again when it reloads.
    plugins: Plugins,
}

/// A broker that is not started yet.
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
    workers: NonZeroU16,
    plugins: Plugins,
}

/// Messages that arrive inside the process. Ends when it is dropped.
///
/// What is not received waits as for a client that reads slowly: above
/// [`queue_messages`](crate::machine::Limits::queue_messages) and `queue_bytes` new messages are
/// dropped, and counted.
#[derive(Debug)]
pub struct Subscription {
    local: Local,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is not a topic name.
    #[error(transparent)]
    Topic(#[from] NameError),
    /// The broker does not take it.
    #[error("refused: {}", .0.sentence())]
    Refused(Reason),
    /// The broker has stopped.
    #[error("the broker has stopped")]
    Stopped,
}

/// Why a subscription was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter is not a topic filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The broker does not serve it.
    #[error("refused: {}", .0.sentence())]
    Refused(Reason),
    /// The broker has stopped.
    #[error("the broker has stopped")]
    Stopped,
}

impl PublishError {
    fn because(refusal: Option<Reason>) -> PublishError {
        refusal.map_or(PublishError::Stopped, PublishError::Refused)
    }
}

impl SubscribeError {
    fn because(refusal: Option<Reason>) -> SubscribeError {
        refusal.map_or(SubscribeError::Stopped, SubscribeError::Refused)
    }
}

/// Bytes of topic and payload that a packet can hold, with all else that it may say (MQTT 5.0,
/// section 1.5.5).
const MESSAGE_BYTES_MAX: usize = 268_435_455 - 1_024;

/// How many threads serve connections where nothing is said. Not one for each core: the kernel, the
/// log and what else runs there need some too, and a message that has to change threads costs more
/// than one that does not.
fn default_workers() -> NonZeroU16 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    u16::try_from(cores - 1).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

impl Broker {
    /// A broker that will do what `config` says.
    #[expect(clippy::new_ret_no_self, reason = "there is no broker until it is started")]
    pub fn new(config: Config) -> Builder {
        Builder {
            workers: config.threads.unwrap_or_else(default_workers),
            config,
            plugins: Plugins::default(),
        }
    }

    /// A broker that will do what the YAML says: see [`Config::from_yaml`]. Warnings are logged.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn from_yaml(yaml: &str) -> Result<Builder, Errors> {
        let loaded = Config::from_yaml(yaml, "the configuration")?;
        let dangers = loaded.config.dangers("the configuration");
        for warning in loaded.warnings.iter().chain(&dangers) {
            warn!(%warning, "the configuration");
        }
        Ok(Broker::new(loaded.config))
    }

    /// The network addresses where clients come in, with the ports that the system chose. Unix
    /// sockets are not among them.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Publishes a message, and waits until the broker has taken it. Needs no particular
    /// runtime. Messages published at the same time wait for each other. If this is dropped before
    /// it is done, the message may have been published or not.
    ///
    /// # Errors
    /// The topic is not one, no packet can hold the message, or the broker has stopped. Above QoS 0,
    /// the broker refuses it: at QoS 0 that is only counted.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: bool,
    ) -> Result<(), PublishError> {
        let (topic, payload) = (TopicName::try_from(topic)?, payload.into());
        if topic.len() + payload.len() > MESSAGE_BYTES_MAX {
            return Err(PublishError::Refused(Reason::PacketTooLarge));
        }
        let mut publisher = self.publisher.lock().await;
        publisher.publish(&self.shared, topic, payload, qos, retain).await
    }

    /// Subscribes inside the process: `$share/GROUP/FILTER` is a share in a group's
    /// subscription. Retained messages come first. Needs no particular runtime; if this is dropped
    /// before it is done, there is no subscription.
    ///
    /// # Errors
    /// The filter is not one, the broker refuses it, or it has stopped.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<Subscription, SubscribeError> {
        let filter = Filter::new(Text::try_from(filter).map_err(FilterError::Text)?)?;
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let opened = Local::open(self.shared.clone());
        let mut local = opened.map_err(SubscribeError::because)?;
        local.hand_in(Packet::Subscribe(Box::new(Subscribe {
            id: PacketId::FIRST,
            subscription_id: None,
            user_properties: Vec::new(),
            requests: vec![SubscriptionRequest { filter: Ok(filter), options }].into(),
        })));
        loop {
            match local.next().await {
                Some(Outgoing::Packet(Packet::SubAck(answers))) => {
                    let refusal = answers.reasons.iter().find(|reason| reason.is_error());
                    return match refusal {
                        Some(&reason) => Err(SubscribeError::Refused(reason)),
                        None => Ok(Subscription { local }),
                    };
                }
                Some(_) => {}
                None => return Err(SubscribeError::because(local.refusal())),
            }
        }
    }

    /// Puts another configuration in force: authentication plugins and password files, the rules
    /// of who may use which topics, and the certificates of listeners, told apart by their names.
    /// No connection ends; what clients may no longer see is not delivered from then on. All else
    /// in it takes a restart. Reads files: blocks for as long as that takes.
    ///
    /// # Errors
    /// A file that it names cannot be used, or it does not name a plugin that the program brought
    /// ([`Builder::plugin`]). Then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), server::Error> {
        self.plugins.refuse_unnamed(&config.authentication)?;
        server::reload(&self.shared, config, &self.plugins)
    }

    /// Waits until a part of the broker has panicked. It stops then by itself: not all clients
    /// would be served any more. Safe to cancel.
    pub async fn failed(&self) {
        self.shared.failed().await;
    }

    /// Begins to stop: no client is let in any more, and those that are there are told. For a broker
    /// that is shared; who has it whole may wait for the end by [`Broker::shut_down`].
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Stops: tells every client, waits five seconds at most until they are gone, and for the disk
    /// until it has everything or has failed. Whether all is on it that had to be kept. Blocks; where
    /// that is not wanted, there is [`Broker::shut_down_and_wait`].
    #[must_use = "what had to be kept may not be on the disk"]
    pub fn shut_down(mut self) -> bool {
        self.shared.stop();
        self.threads.join();
        !self.shared.loss.is_raised()
    }

    /// Stops: tells every client, waits five seconds at most until they are gone, and for the disk
    /// until it has everything or has failed. Whether all is on it that had to be kept. Needs no
    /// particular runtime.
    #[must_use = "what had to be kept may not be on the disk"]
    pub async fn shut_down_and_wait(mut self) -> bool {
        self.shared.stop();
        self.threads.ended().await;
        self.threads.join();
        !self.shared.loss.is_raised()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Builder {
    /// With that many threads that serve connections, whatever the configuration says.
    #[must_use]
    pub fn workers(mut self, workers: NonZeroU16) -> Builder {
        self.workers = workers;
        self
    }

    /// Brings an authentication plugin, under the name by which
    /// [`Authentication::Named`](crate::config::Authentication::Named) names it in
    /// [`Config::authentication`]: it is asked as one of those.
    ///
    /// ```no_run
    /// # use stormpetrel::access::{Authenticate, ConnectRequest, Verdict};
    /// use stormpetrel::{Broker, config::Authentication, config::Config};
    ///
    /// # struct Plants;
    /// #
    /// # impl Authenticate for Plants {
    /// #     async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
    /// #         if request.client_id.starts_with("plant-") { Verdict::Admitted } else { Verdict::Abstains }
    /// #     }
    /// # }
    /// #
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut config = Config::from_file("broker.yaml")?.config;
    /// config.authentication = vec![Authentication::Named("plants".to_owned())];
    /// let broker = Broker::new(config).plugin("plants", Plants).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It is asked on a thread that serves connections, so that others wait while it computes:
    /// [`Compute`](crate::access::Compute) has other threads. A plugin that panics stops the broker.
    #[must_use]
    pub fn plugin(mut self, name: &str, plugin: impl Authenticate) -> Builder {
        self.plugins.register(name, plugin);
        self
    }

    /// Brings an authorisation plugin: clients may do what neither it nor the configuration
    /// denies. The program itself may do everything but publish below `$SYS`. A plugin that panics
    /// stops the broker.
    #[must_use]
    pub fn authorise(mut self, plugin: impl Authorise) -> Builder {
        self.plugins.limit(plugin);
        self
    }

    /// Starts the broker. Every address is bound when it returns. Reads the files that the
    /// configuration names, and the whole log: blocks for as long as that takes. Needs no particular
    /// runtime. If this is dropped before it is done, there is no broker.
    ///
    /// # Errors
    /// An address cannot be bound, a thread does not start, the system has no entropy, the data
    /// directory cannot be used or is another broker's, something is to be kept and there is none,
    /// what the configuration names to keep clients out is not there, or it does not name a plugin
    /// that the program brought.
    pub async fn start(self) -> Result<Broker, server::Error> {
        let is_kept = self.config.durabilities().any(|durability| durability != Durability::None);
        if is_kept && self.config.data_dir.is_none() {
            return Err(server::Error::NoDirectory);
        }
        self.plugins.refuse_unnamed(&self.config.authentication)?;
        let (shared, keeper) = self.open()?;
        let (threads, addresses) =
            threads::start(shared.clone(), self.config.listeners, keeper).await?;
        let publisher = Publisher { local: None, id: PacketId::FIRST };
        let (publisher, plugins) = (Mutex::new(publisher), self.plugins);
        Ok(Broker { shared, threads, addresses, publisher, plugins })
    }

    /// What the workers share, with what the last broker has left, and who writes the log. Compiled
    /// once, as the threads (`server/threads.rs`).
    fn open(&self) -> Result<(Arc<TcpShared>, Option<Keeper<Files>>), server::Error> {
        let clock = Clock::starting_at(wall_clock());
        let (seed, workers) = (entropy()?, self.workers.get());
        let (config, plugins) = (&self.config, &self.plugins);
        let Some(files) = server::open_directory(config)? else {
            return Ok((server::shared_with(config, plugins, seed, clock, workers)?, None));
        };
        let (shared, keeper) =
            server::shared_on_with(files, config, plugins, seed, clock, workers)?;
        Ok((shared, Some(keeper)))
    }
}

/// Unpredictable bytes.
fn entropy() -> Result<Seed, server::Error> {
    let mut seed = Seed::default();
    getrandom::fill(&mut seed)
        .map_err(|error| server::Error::Entropy(std::io::Error::other(error)))?;
    Ok(seed)
}

/// What the wall clock shows. What it is set to later, `server/wall.rs` sees.
#[expect(clippy::disallowed_methods, reason = "where machine time begins")]
fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

impl Subscription {
    /// The next message; none when the broker has stopped. Acknowledges it. Safe to cancel: no
    /// message is lost. Needs no particular runtime.
    pub async fn recv(&mut self) -> Option<Arc<Message>> {
        loop {
            match self.local.next().await? {
                Outgoing::Deliver(deliver) => {
                    match deliver.delivery {
                        Delivery::AtMostOnce => {}
                        Delivery::AtLeastOnce { id, .. } => self.answer(Packet::PubAck, id),
                        Delivery::ExactlyOnce { id, .. } => self.answer(Packet::PubRec, id),
                    }
                    return Some(deliver.message);
                }
                Outgoing::Packet(Packet::PubRel(ack)) => self.answer(Packet::PubComp, ack.id),
                Outgoing::Packet(_) | Outgoing::Close(_) => {}
            }
        }
    }

    fn answer(&self, packet: fn(Ack) -> Packet, id: PacketId) {
        self.local.hand_in(packet(Ack::new(id, Reason::Success)));
    }
}

/// The connection that the embedding program publishes on.
#[derive(Debug)]
struct Publisher {
    /// None before the first message.
    local: Option<Local>,
    /// Of the last message above QoS 0.
    id: PacketId,
}

impl Publisher {
    async fn publish(
        &mut self,
        shared: &Arc<TcpShared>,
        topic: TopicName,
        payload: Bytes,
        qos: QoS,
        retain: bool,
    ) -> Result<(), PublishError> {
        self.id = self.id.next();
        let (id, dup) = (self.id, false);
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        };
        let packet = Packet::Publish(Publish {
            delivery,
            retain,
            topic: Some(topic),
            topic_alias: None,
            subscription_ids: Vec::new(),
            properties: None,
            payload,
        });
        let local = self.hand_in(shared, packet).map_err(PublishError::because)?;
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce | QoS::ExactlyOnce => taken(local, id).await,
        }
    }

    /// Hands a packet in on a connection that lives: the last one, or if the broker has closed
    /// that, a new one.
    fn hand_in(
        &mut self,
        shared: &Arc<TcpShared>,
        packet: Packet,
    ) -> Result<&mut Local, Option<Reason>> {
        if !self.local.as_ref().is_some_and(|local| local.hand_in(packet.clone())) {
            let local = Local::open(shared.clone())?;
            local.hand_in(packet);
            self.local = Some(local);
        }
        Ok(self.local.as_mut().expect("it is there or was made"))
    }
}

/// Waits for the last acknowledgement. Those of earlier messages, whose caller no longer waits,
/// are seen to as well.
async fn taken(local: &mut Local, id: PacketId) -> Result<(), PublishError> {
    while let Some(outgoing) = local.next().await {
        let ack = match outgoing {
            Outgoing::Packet(Packet::PubRec(ack)) if !ack.reason.is_error() => {
                let release = Ack::new(ack.id, Reason::Success);
                local.hand_in(Packet::PubRel(release));
                continue;
            }
            Outgoing::Packet(Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) => {
                ack
            }
            _ => continue,
        };
        if ack.id == id {
            return if ack.reason.is_error() {
                Err(PublishError::Refused(ack.reason))
            } else {
                Ok(())
            };
        }
    }
    Err(PublishError::because(local.refusal()))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::machine::Limits;

    fn start(limits: Limits) -> Broker {
        let config = Config { limits, ..Config::default() };
        let config = Config { listeners: Vec::new(), ..config };
        let builder = Broker::new(config).workers(NonZeroU16::MIN);
        block_on(builder.start()).expect("nothing is bound")
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn a_broker_has_as_many_threads_as_its_configuration_says() {
        let three = NonZeroU16::new(3);
        let config = Config { threads: three, listeners: Vec::new(), ..Config::default() };
        let broker = block_on(Broker::new(config).start()).expect("nothing is bound");
        assert_eq!(Some(broker.shared.workers()), three.map(NonZeroU16::get));
        assert!(broker.shut_down());
    }

    #[test]
    fn a_directory_is_enough_to_have_everything_kept_and_nothing_is_kept_without() {
        let directory = format!("stormpetrel-kept-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        let config = Config { listeners: Vec::new(), ..Config::default() };
        let kept = Config { data_dir: Some(directory.clone()), ..config.clone() };
        assert_eq!(kept.durability(), Durability::Sync);
        let start = || block_on(Broker::new(kept.clone()).start());
        let broker = start().expect("a directory of its own");
        block_on(broker.publish("t", "m", QoS::AtLeastOnce, true)).expect("there is room");
        assert!(broker.shut_down());
        let broker = start_when_free(start);
        let mut subscription = block_on(broker.subscribe("t", QoS::AtMostOnce)).expect("room");
        assert!(block_on(subscription.recv()).is_some(), "it is still retained");
        drop(subscription);
        assert!(broker.shut_down());
        std::fs::remove_dir_all(directory).expect("it can be removed");

        let nowhere = Config { durability: Some(Durability::Async), ..config };
        let refused = block_on(Broker::new(nowhere).start());
        assert!(matches!(refused, Err(server::Error::NoDirectory)), "{refused:?}");
    }

    #[test]
    fn a_plugin_that_nobody_would_ask_is_refused_at_the_start_and_when_it_reloads() {
        use crate::access::{ConnectRequest, Verdict};
        use crate::config::Authentication;

        struct Nobody;
        impl Authenticate for Nobody {
            async fn authenticate(&self, _: &ConnectRequest) -> Verdict {
                Verdict::Abstains
            }
        }
        let open = Config { listeners: Vec::new(), ..Config::default() };
        let refused = block_on(Broker::new(open.clone()).plugin("nobody", Nobody).start());
        let is_right = |error: &server::Error| match error {
            server::Error::UnnamedPlugin(name) => name == "nobody",
            _ => false,
        };
        assert!(refused.as_ref().is_err_and(is_right), "{refused:?}");
        let authentication = vec![Authentication::Named("nobody".to_owned())];
        let named = Config { authentication, ..open.clone() };
        let broker = block_on(Broker::new(named).plugin("nobody", Nobody).start());
        let broker = broker.expect("it is named");
        assert!(broker.reload(&open).is_err_and(|error| is_right(&error)));
        assert!(broker.shut_down());
    }

    #[test]
    fn what_no_packet_can_hold_is_not_published() {
        let broker = start(Limits::default());
        let payload = Bytes::from(vec![0; 268_435_455]);
        let published = block_on(broker.publish("t", payload, QoS::AtMostOnce, false));
        assert_eq!(published, Err(PublishError::Refused(Reason::PacketTooLarge)));
        broker.stop();
        assert!(broker.shut_down());
    }

    /// A program shares it among threads, and waits for what it does on any.
    #[test]
    fn a_broker_and_what_it_does_can_be_sent() {
        fn is_shared<T: Send + Sync>() {}
        fn is_sent<T: Send>(_: &T) {}
        is_shared::<Broker>();
        is_shared::<Subscription>();
        let broker = start(Limits::default());
        is_sent(&broker.publish("t", "m", QoS::AtMostOnce, false));
        is_sent(&broker.subscribe("t", QoS::AtMostOnce));
        is_sent(&Broker::new(Config::default()).start());
        assert!(broker.shut_down());
    }

    #[test]
    fn a_broker_that_was_dropped_leaves_its_directory_to_the_next() {
        let directory = format!("stormpetrel-dropped-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        let config = Config { data_dir: Some(directory.clone()), ..Config::default() };
        let config = Config { listeners: Vec::new(), ..config };
        let start = || block_on(Broker::new(config.clone()).start());
        let first = start().expect("a directory of its own");
        drop(first);
        let second = start_when_free(start);
        let panics = || second.shared.visit(|_, _| panic!("a test"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).expect_err("it panics");
        drop(second);
        assert!(start_when_free(start).shut_down());
        std::fs::remove_dir_all(directory).expect("it can be removed");
    }

    /// Starts a broker as soon as nobody else has its directory: within seconds.
    fn start_when_free(start: impl Fn() -> Result<Broker, server::Error>) -> Broker {
        let begun = Instant::now();
        loop {
            match start() {
                Ok(broker) => return broker,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_that_is_refused_is_told_why() {
        let broker = start(Limits { total_bytes: 1, ..Limits::default() });
        let refused = Reason::QuotaExceeded;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let subscribed = block_on(broker.subscribe("t", qos)).map(drop);
            assert_eq!(subscribed, Err(SubscribeError::Refused(refused)));
            let published = block_on(broker.publish("t", "m", qos, false));
            assert_eq!(published, Err(PublishError::Refused(refused)));
        }
        assert!(broker.shut_down());
    }

    #[test]
    fn a_program_whose_broker_stopped_is_told_so() {
        let broker = start(Limits::default());
        let mut subscription = block_on(broker.subscribe("t", QoS::AtLeastOnce)).expect("room");
        block_on(broker.publish("t", "m", QoS::AtLeastOnce, false)).expect("it runs");
        assert!(block_on(subscription.recv()).is_some());
        let told = block_on(async {
            let mut next = pin!(subscription.recv());
            assert!(poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await);
            broker.shared.stop(); // while it waits
            timeout(Duration::from_secs(20), next).await
        });
        assert!(told.expect("it is woken").is_none());
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let published = block_on(broker.publish("t", "m", qos, false));
            assert_eq!(published, Err(PublishError::Stopped));
        }
        assert_eq!(
            block_on(broker.subscribe("t", QoS::AtMostOnce)).map(drop),
            Err(SubscribeError::Stopped)
        );
    }

    #[test]
    fn a_machine_that_panicked_stops_the_broker_and_harms_nobody_else() {
        let broker = start(Limits::default());
        let mut subscription = block_on(broker.subscribe("t", QoS::AtLeastOnce)).expect("room");
        let panics = || broker.shared.visit(|_, _| panic!("a test"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).expect_err("it panics");
        block_on(broker.failed());
        assert!(block_on(subscription.recv()).is_none());
        let published = block_on(broker.publish("t", "m", QoS::AtMostOnce, false));
        assert_eq!(published, Err(PublishError::Stopped));
        drop(subscription);
        assert!(broker.shut_down());
    }
}
