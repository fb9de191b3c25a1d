//! The plugin that has opinions of users: takes its time as they say, and then has the broker's own
//! plugins find out who knows his password.
//!
//! Either `auth_file`, or `auth_http` with a server that has the same opinions; so these are in the
//! run as they are in production, but for the connection to that server.

use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stormpetrel::access::{
    self, Answer, Authenticate, ConnectRequest, Fetch, FetchError, Http, HttpResponse,
    HttpSettings, Method, PasswordFile, Proof, Refusal, Request, Verdict,
};

use super::{Opinion, Passwords, WRONG};
use crate::dice::Dice;

/// The hash of [`super::PASSWORD`], as cheap as it may be.
const PASSWORD_HASH: &str = "$7$1$c3Rvcm1wZXRyZWwh$BSUDWYtnwDFrSY0nWjh+rfYMDC/3pC7jxeSUdXtnNAI5eqpN0\
    C1v9QLZ99e3i4sUNP8m8TwKFvsvv31EuTvQMA==";
/// That of [`WRONG`].
const WRONG_HASH: &str = "$7$1$c3Rvcm1wZXRyZWwh$dg9/EjDNsGEXr+JLAdAZs5khoipsLvgfadUFc/UPBwQ834bmU9oA\
    LDQ2HqLz/UDGfZTWfGwc8Xyg9PkzKtDE9A==";

/// Whom the plugin asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A password file, of those who give a password.
    File,
    /// A server.
    Server {
        /// Seconds for which whoever was let in is let in again without a question.
        remember_s: u64,
        /// What of its answers decides.
        response: HttpResponse,
    },
}

impl Asked {
    /// Of a run with this seed.
    pub(crate) fn of(seed: u64) -> Asked {
        let mut dice = Dice::new(seed, "who is asked", 0);
        let remember_s = dice.one_of(&[0, 1, 30]);
        let response = dice.one_of(&[HttpResponse::Status, HttpResponse::Json, HttpResponse::Text]);
        if dice.chance(500) { Asked::File } else { Asked::Server { remember_s, response } }
    }
}

/// The plugin.
#[derive(Debug)]
pub(crate) struct Judge {
    known: Arc<Known>,
    plugin: Plugin,
}

#[derive(Debug)]
enum Plugin {
    File(PasswordFile),
    Http(Box<Http>, Arc<Server>),
}

/// What is known of users.
#[derive(Debug)]
struct Known {
    opinions: Vec<Opinion>,
    right: Passwords,
}

/// Who is asked by `auth_http`, and how he answers.
#[derive(Debug)]
struct Server {
    known: Arc<Known>,
    response: HttpResponse,
}

impl Judge {
    /// One that has these opinions, and knows which passwords are right.
    pub(crate) fn new(opinions: &[Opinion], right: Passwords, asked: Asked) -> Judge {
        let known = Arc::new(Known { opinions: opinions.to_vec(), right });
        let plugin = match asked {
            Asked::File => Plugin::File(known.file()),
            Asked::Server { remember_s, response } => {
                let settings = HttpSettings {
                    method: Method::Post,
                    response,
                    remember: remember_s,
                    ..HttpSettings::new("server", 80)
                };
                let server = Server { known: Arc::clone(&known), response };
                let http = Http::new(&settings, None, [0; 32]);
                Plugin::Http(Box::new(http), Arc::new(server))
            }
        };
        Judge { known, plugin }
    }

    /// What the plugin says of a user of whom there is an opinion.
    async fn ask(&self, opinion: &Opinion, request: &ConnectRequest) -> Verdict {
        match &self.plugin {
            Plugin::Http(http, server) => http.authenticate(&asking(request, server)).await,
            Plugin::File(_) if opinion.is_unavailable => Verdict::Refused(Refusal::Unavailable),
            Plugin::File(file) if request.password.is_some() => file.authenticate(request).await,
            Plugin::File(_) => match self.known.lets_in(opinion, None) {
                Some(true) => Verdict::Proven,
                _ => Verdict::Refused(Refusal::BadCredentials),
            },
        }
    }
}

impl Authenticate for Judge {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let Some(opinion) = self.known.opinion(request.username.as_deref()) else {
            return Verdict::Admitted;
        };
        match opinion.after_ms {
            Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            None => pending().await,
        }
        match (self.ask(opinion, request).await, opinion.token()) {
            (Verdict::Proven, Some(grants)) => {
                Verdict::Identified(Proof { user: opinion.user.clone(), grants: Some(grants) })
            }
            (verdict, _) => verdict,
        }
    }
}

impl Known {
    fn opinion(&self, user: Option<&str>) -> Option<&Opinion> {
        self.opinions.iter().find(|opinion| Some(&*opinion.user) == user)
    }

    /// Whether who gives this password is let in; none: nobody can say.
    fn lets_in(&self, opinion: &Opinion, password: Option<&[u8]>) -> Option<bool> {
        opinion.of_one(self.right.are_mistaken(password == Some(WRONG)))
    }

    /// Of the users who may be let in, with the password that is right.
    fn file(&self) -> PasswordFile {
        let hash = match self.right {
            Passwords::First => PASSWORD_HASH,
            Passwords::Others => WRONG_HASH,
        };
        let proven = self.opinions.iter().filter(|opinion| opinion.is_proven);
        let lines: String = proven.map(|opinion| format!("{}:{hash}\n", opinion.user)).collect();
        PasswordFile::new(access::Passwords::parse(&lines, "passwords").expect("a good hash"))
    }
}

/// The same request, by one who reaches that server.
fn asking(request: &ConnectRequest, server: &Arc<Server>) -> ConnectRequest {
    ConnectRequest {
        client_id: request.client_id.clone(),
        username: request.username.clone(),
        password: request.password.clone(),
        listener: Arc::clone(&request.listener),
        address: request.address,
        certificate: request.certificate.clone(),
        now: request.now,
        date: request.date,
        computer: Arc::clone(&request.computer),
        whose: request.whose,
        fetcher: Arc::<Server>::clone(server),
    }
}

impl Server {
    /// Status and body of the answer to a question.
    fn answer(&self, question: &[u8]) -> (u16, &'static str) {
        let asked: Value = serde_json::from_slice(question).unwrap_or_default();
        let opinion = self.known.opinion(asked["username"].as_str());
        let (Some(opinion), true) = (opinion, asked["client_id"].is_string()) else {
            return (500, "");
        };
        let password = asked["password"].as_str().map(str::as_bytes);
        match (self.known.lets_in(opinion, password), self.response) {
            (None, _) => (503, ""),
            (Some(true), HttpResponse::Status) => (204, ""),
            (Some(false), HttpResponse::Status) => (403, ""),
            (Some(true), HttpResponse::Json) => (200, r#"{"ok": true}"#),
            (Some(false), HttpResponse::Json) => (200, r#"{"ok": false}"#),
            (Some(true), HttpResponse::Text) => (200, "OK"),
            (Some(false), HttpResponse::Text) => (200, "no"),
        }
    }
}

impl Fetch for Server {
    fn fetch(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, FetchError>> + Send>> {
        let (status, body) = self.answer(&request.body);
        Box::pin(ready(Ok(Answer { status, body: body.into() })))
    }
}
