//! Asking web servers: what a plugin asks, and what comes of it.
//!
//! Only the seam. Connections, time limits and how many may be under way are the shell's:
//! `server/fetch.rs`. The plugin that asks is `http.rs`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_rustls::rustls::ClientConfig;

use super::Whose;

/// Where to ask.
#[derive(Clone)]
pub struct Server {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom to trust, where it is asked over TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
}

/// What to ask. May hold passwords: not in the output of `Debug`.
#[derive(Clone)]
pub struct Request {
    /// Whom.
    pub server: Arc<Server>,
    /// Whose question it is.
    pub whose: Whose,
    /// How.
    pub method: Method,
    /// The path, and the query if there is one.
    pub target: String,
    /// Who is asking.
    pub user_agent: Arc<str>,
    /// What kind of thing the body is; none: there is no body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
    /// The time that the answer may take, waiting in turn and connecting included.
    pub timeout: Duration,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("server", &self.server)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Too many are being asked already.
    #[error("too many questions are under way")]
    Busy,
    /// It took too long.
    #[error("no answer in time")]
    TooLate,
    /// The server cannot be reached, or makes no sense.
    #[error("{0}")]
    Failed(String),
}

/// Asks web servers.
pub trait Fetch: Send + Sync + fmt::Debug {
    /// Asks. To be called on the thread that asks the plugin for its verdict.
    fn fetch(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, FetchError>> + Send>>;
}

/// Reaches no server: for tests.
#[derive(Clone, Copy, Debug)]
pub struct Unreachable;

impl Fetch for Unreachable {
    fn fetch(
        &self,
        _: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, FetchError>> + Send>> {
        let error = FetchError::Failed("there is no network".to_owned());
        Box::pin(std::future::ready(Err(error)))
    }
}
