//! Stands in for the broker until it is merged: binds the listeners and serves nobody.
//! To be deleted; `main.rs` then takes `stormpetrel::Broker`.

use std::net::{SocketAddr, TcpListener};

use stormpetrel::config::Config;

pub(crate) struct Broker {
    addresses: Vec<SocketAddr>,
    _listeners: Vec<TcpListener>,
}

pub(crate) struct Builder(Config);

impl Broker {
    #[expect(clippy::new_ret_no_self, reason = "there is no broker until it is started")]
    pub(crate) fn new(config: Config) -> Builder {
        Builder(config)
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    #[expect(clippy::unused_async, reason = "as the broker's")]
    pub(crate) async fn shut_down_and_wait(self) {}
}

impl Builder {
    #[expect(clippy::unused_async, reason = "as the broker's")]
    pub(crate) async fn start(self) -> anyhow::Result<Broker> {
        let mut listeners = Vec::new();
        for listener in &self.0.listeners {
            let host = listener.bind.host.as_deref().unwrap_or("0.0.0.0");
            let bound = TcpListener::bind((host, listener.bind.port)).map_err(|error| {
                let (name, bind) = (&listener.name, &listener.bind);
                anyhow::anyhow!("listener '{name}' cannot listen on {bind}: {error}")
            })?;
            listeners.push(bound);
        }
        let addresses =
            listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        Ok(Broker { addresses, _listeners: listeners })
    }
}
