//! A broker inside a program: start it, subscribe, publish, stop.

#![allow(clippy::print_stdout)]

use stormpetrel::Broker;
use stormpetrel::config::{Bind, Config, Listener};
use stormpetrel::mqtt::types::QoS;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let listener = Listener::tcp("tcp", Bind { host: Some("127.0.0.1".to_owned()), port: 0 });
    let config = Config { listeners: vec![listener], ..Config::default() };
    let broker = Broker::new(config).start().await?;
    println!("clients may connect to {:?}", broker.addresses());

    let mut readings = broker.subscribe("plant/+/temperature", QoS::AtLeastOnce).await?;
    broker.publish("plant/7/temperature", "21.5", QoS::AtLeastOnce, false).await?;
    if let Some(message) = readings.recv().await {
        println!("{}: {:?}", message.topic, message.payload);
    }

    anyhow::ensure!(broker.shut_down_and_wait().await, "not all is on the disk");
    Ok(())
}
