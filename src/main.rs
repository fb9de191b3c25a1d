//! The command line.
use stormpetrel::{Broker, config::Config};
fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    rt.block_on(async {
        let broker = Broker::new(Config::default()).start().await?;
        tracing::info!(addresses = ?broker.addresses(), "listening");
        tokio::signal::ctrl_c().await?;
        broker.shut_down_and_wait().await;
        Ok(())
    })
}
