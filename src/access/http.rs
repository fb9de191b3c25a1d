//! The plugin `auth_http`: a web server says who may come in, as with amqtt's
//! `UserAuthHttpPlugin`.
//!
//! Here is what it is asked and what its answers mean; asking is the shell's (`fetch.rs`). Clients
//! that were let in are remembered for a while (`remembered.rs`). Where amqtt takes silence and
//! errors for no opinion, so that another plugin might let the client in, they refuse it here.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tracing::warn;

use super::remembered::{Key, Remembered};
use super::{
    Answer, Authenticate, ConnectRequest, FetchError, Line, Method, Refusal, Request, Server, Told,
    Verdict,
};
use crate::plant::{self, Plant};

/// Bytes of the longest address that is asked for, which servers take fewer of, and of the longest
/// body: very many may wait for their turn.
const QUESTION_BYTES_MAX: usize = 16 << 10;

/// How a server is asked, and what its answers mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path, and a query if there is to be one.
    pub uri: String,
    /// How it is asked.
    pub method: Method,
    /// How it is told about the client.
    pub params: HttpParams,
    /// What of an answer decides.
    pub response: HttpResponse,
    /// Whether over TLS.
    pub is_tls: bool,
    /// Over TLS, whom to trust: a file of authorities in PEM; none: the system's.
    pub cafile: Option<PathBuf>,
    /// Who is asking.
    pub user_agent: String,
    /// Seconds that an answer may take.
    pub timeout: u64,
    /// Seconds for which a client that was let in is let in again without a question.
    pub remember: u64,
}

/// How a server is told about the client: user name, password and client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpParams {
    /// As JSON in the body.
    Json,
    /// As a form: in the query of a GET, else in the body.
    Form,
}

/// What of an answer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpResponse {
    /// The status: 2xx is yes, 4xx is no.
    Status,
    /// With a status of 2xx, `"ok"` in its JSON: true, false, or null for no opinion.
    Json,
    /// With a status of 2xx, whether its text is `ok`.
    Text,
}

impl HttpSettings {
    /// amqtt's defaults, for a server there.
    pub fn new(host: &str, port: u16) -> HttpSettings {
        HttpSettings {
            host: host.to_owned(),
            port,
            uri: "/user".to_owned(),
            method: Method::Get,
            params: HttpParams::Json,
            response: HttpResponse::Json,
            is_tls: false,
            cafile: None,
            user_agent: "amqtt".to_owned(),
            timeout: 5,
            remember: 30,
        }
    }

    /// Whether a text can be the host of a server.
    pub fn is_host(text: &str) -> bool {
        ServerName::try_from(text).is_ok()
    }

    /// Whether a text can be a path, with a query or without.
    pub fn is_uri(text: &str) -> bool {
        let is_fine = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte);
        text.starts_with('/') && text.bytes().all(is_fine)
    }
}

/// Asks a web server about clients.
#[derive(Debug)]
pub struct Http {
    settings: HttpSettings,
    server: Arc<Server>,
    user_agent: Arc<str>,
    remembered: Mutex<Remembered>,
    /// Of which statuses the log has spoken, and of no answer at all.
    told: Mutex<Told<Option<u16>>>,
}

impl Http {
    /// With these settings. `tls`: whom to trust, if it is asked over TLS. `key`: unpredictable.
    pub fn new(
        settings: &HttpSettings,
        tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
        key: [u8; 32],
    ) -> Http {
        let server = Server { host: settings.host.clone(), port: settings.port, tls };
        Http {
            server: Arc::new(server),
            user_agent: Arc::from(settings.user_agent.as_str()),
            remembered: Mutex::new(Remembered::new(key, Duration::from_secs(settings.remember))),
            told: Mutex::default(),
            settings: settings.clone(),
        }
    }

    /// Logs that a client is refused because of such an answer, unless that was said just now.
    fn warn_of_nonsense(&self, status: u16, now: Duration) {
        if let Some(Line { unlogged }) = self.line(Some(status), now) {
            let server = &self.server;
            warn!(
                ?server,
                reason = status,
                unlogged,
                "a client is refused: no sense in the answer"
            );
        }
    }

    /// The same where there is none.
    fn warn_of_silence(&self, error: &FetchError, now: Duration) {
        if let Some(Line { unlogged }) = self.line(None, now) {
            let server = &self.server;
            warn!(?server, %error, unlogged, "a client is refused: there is no answer");
        }
    }

    fn line(&self, cause: Option<u16>, now: Duration) -> Option<Line> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).tell(cause, now)
    }

    /// What the server is asked; none if the password cannot be put into words, or all that is too
    /// long.
    fn question(&self, client: &ConnectRequest) -> Option<Request> {
        let mut target = self.settings.uri.clone();
        let (content_type, body) = match (self.settings.params, self.settings.method) {
            (HttpParams::Json, _) => (Some("application/json"), Bytes::from(json_of(client)?)),
            (HttpParams::Form, Method::Get) => {
                target.push(if target.contains('?') { '&' } else { '?' });
                target.push_str(&form_of(client));
                (None, Bytes::new())
            }
            (HttpParams::Form, Method::Post | Method::Put) => {
                (Some("application/x-www-form-urlencoded"), Bytes::from(form_of(client)))
            }
        };
        if target.len().max(body.len()) > QUESTION_BYTES_MAX {
            return None;
        }
        Some(Request {
            server: Arc::clone(&self.server),
            whose: client.whose,
            method: self.settings.method,
            target,
            user_agent: Arc::clone(&self.user_agent),
            content_type,
            body,
            timeout: Duration::from_secs(self.settings.timeout),
        })
    }

    fn is_remembered(&self, key: &Key, now: Duration) -> bool {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).has(key, now)
    }

    fn remember(&self, key: Key, now: Duration) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).add(key, now);
    }

    fn key(&self, client: &ConnectRequest) -> Key {
        let fields = [
            Some(client.client_id.as_bytes()),
            client.username.as_ref().map(|name| name.as_bytes()),
            client.password.as_deref().filter(|_| !plant::is_on(Plant::RememberedByName)),
        ];
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).key(&fields)
    }
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Yes,
    No,
    NoOpinion,
    /// The server has an error of its own.
    Nonsense,
}

fn meaning(response: HttpResponse, answer: &Answer) -> Meaning {
    match (response, answer.status) {
        (HttpResponse::Status, 200..300) => Meaning::Yes,
        (HttpResponse::Json, 200..300) => meaning_of_json(&answer.body),
        (HttpResponse::Text, 200..300) => match answer.body.eq_ignore_ascii_case(b"ok") {
            true => Meaning::Yes,
            false => Meaning::No,
        },
        (_, 400..500) => Meaning::No,
        _ => Meaning::Nonsense,
    }
}

/// `{"ok": true}`, in amqtt's three spellings. The first that is there and says something decides.
fn meaning_of_json(body: &[u8]) -> Meaning {
    let Ok(Value::Object(said)) = serde_json::from_slice(body) else { return Meaning::Nonsense };
    for name in ["OK", "Ok", "ok"] {
        match said.get(name) {
            Some(Value::Bool(true)) => return Meaning::Yes,
            Some(Value::Bool(false)) => return Meaning::No,
            Some(Value::Null) => return Meaning::NoOpinion,
            _ => {}
        }
    }
    Meaning::No
}

/// None: JSON has no words for a password that is no text.
fn json_of(client: &ConnectRequest) -> Option<Vec<u8>> {
    let password = client.password.as_deref().map(std::str::from_utf8).transpose().ok()?;
    let (user, id) = (client.username.as_deref(), &*client.client_id);
    let said = json!({"username": user, "password": password, "client_id": id});
    Some(said.to_string().into_bytes())
}

/// What the client did not give is left out.
fn form_of(client: &ConnectRequest) -> String {
    let fields = [
        ("username", client.username.as_ref().map(|name| name.as_bytes())),
        ("password", client.password.as_deref()),
        ("client_id", Some(client.client_id.as_bytes())),
    ];
    let mut form = String::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        value.iter().for_each(|byte| add_encoded(&mut form, *byte));
    }
    form
}

fn add_encoded(form: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        form.push(char::from(byte));
    } else {
        write!(form, "%{byte:02X}").expect("a String takes everything");
    }
}

impl Authenticate for Http {
    async fn authenticate(&self, client: &ConnectRequest) -> Verdict {
        let is_named = client.username.as_deref().is_some_and(|name| !name.is_empty());
        let let_in = if is_named { Verdict::Proven } else { Verdict::Admitted };
        let refused = Verdict::Refused(match is_named {
            true => Refusal::BadCredentials,
            false => Refusal::NotAuthorized,
        });
        let key = self.key(client);
        if self.is_remembered(&key, client.now) {
            return let_in;
        }
        let Some(question) = self.question(client) else { return refused };
        let asked = client.now;
        match client.fetcher.fetch(question).await {
            Ok(answer) => match meaning(self.settings.response, &answer) {
                Meaning::Yes => {
                    self.remember(key, asked);
                    let_in
                }
                Meaning::No => refused,
                Meaning::NoOpinion => Verdict::Abstains,
                Meaning::Nonsense => {
                    self.warn_of_nonsense(answer.status, asked);
                    Verdict::Refused(Refusal::Unavailable)
                }
            },
            Err(FetchError::Busy) => Verdict::Refused(Refusal::Busy),
            Err(error) => {
                self.warn_of_silence(&error, asked);
                Verdict::Refused(Refusal::Unavailable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::super::Fetch;
    use super::super::authenticate::tests::{now, request};
    use super::*;

    /// A server that always says the same, and remembers what it was asked.
    #[derive(Debug)]
    struct Says(Result<Answer, FetchError>, Mutex<Vec<Request>>);

    impl Fetch for Says {
        fn fetch(
            &self,
            request: Request,
        ) -> Pin<Box<dyn Future<Output = Result<Answer, FetchError>> + Send>> {
            self.1.lock().expect("no panic").push(request);
            Box::pin(std::future::ready(self.0.clone()))
        }
    }

    fn answer(status: u16, body: &'static str) -> Result<Answer, FetchError> {
        Ok(Answer { status, body: Bytes::from_static(body.as_bytes()) })
    }

    fn ask(
        plugin: &Http,
        says: Result<Answer, FetchError>,
        at: u64,
        user: Option<&str>,
        password: Option<&str>,
    ) -> (Verdict, Vec<Request>) {
        let server = Arc::new(Says(says, Mutex::default()));
        let mut client = request(user, password);
        client.now = Duration::from_secs(at);
        client.fetcher = server.clone();
        let verdict = now(plugin.authenticate(&client));
        let asked = server.1.lock().expect("no panic").clone();
        (verdict, asked)
    }

    fn plugin(change: impl FnOnce(&mut HttpSettings)) -> Http {
        let mut settings = HttpSettings::new("auth.lan", 8080);
        change(&mut settings);
        Http::new(&settings, None, [7; 32])
    }

    #[test]
    fn answers_mean_what_they_mean_in_amqtt_and_errors_refuse() {
        use HttpResponse::{Json, Status, Text};
        let no = Verdict::Refused(Refusal::BadCredentials);
        let broken = Verdict::Refused(Refusal::Unavailable);
        let table = [
            (Status, answer(200, ""), Verdict::Proven),
            (Status, answer(204, "no"), Verdict::Proven),
            (Status, answer(403, ""), no.clone()),
            (Status, answer(301, ""), broken.clone()),
            (Status, answer(500, ""), broken.clone()),
            (Json, answer(200, r#"{"ok": true}"#), Verdict::Proven),
            (Json, answer(200, r#"{"Ok": true}"#), Verdict::Proven),
            (Json, answer(200, r#"{"OK": false, "ok": true}"#), no.clone()),
            (Json, answer(200, r#"{"ok": null}"#), Verdict::Abstains),
            (Json, answer(200, r#"{"ok": "yes"}"#), no.clone()),
            (Json, answer(200, r#"{"ok": 1}"#), no.clone()),
            (Json, answer(200, "{}"), no.clone()),
            (Json, answer(200, "true"), broken.clone()),
            (Json, answer(200, "{"), broken.clone()),
            (Json, answer(401, r#"{"ok": true}"#), no.clone()),
            (Json, answer(500, r#"{"ok": true}"#), broken.clone()),
            (Text, answer(200, "OK"), Verdict::Proven),
            (Text, answer(200, "ok\n"), no.clone()),
            (Text, answer(200, ""), no.clone()),
            (Text, answer(404, "ok"), no),
            (Text, answer(500, "ok"), broken.clone()),
            (Status, Err(FetchError::TooLate), broken.clone()),
            (Status, Err(FetchError::Failed("gone".to_owned())), broken),
            (Status, Err(FetchError::Busy), Verdict::Refused(Refusal::Busy)),
        ];
        for (response, says, want) in table {
            let plugin = plugin(|settings| settings.response = response);
            let (got, _) = ask(&plugin, says.clone(), 0, Some("ann"), Some("word"));
            assert_eq!(got, want, "{response:?} {says:?}");
        }
    }

    #[test]
    fn the_server_is_told_who_it_is_about() {
        let yes = || answer(200, r#"{"ok": true}"#);
        let json = plugin(|_| {});
        let (_, asked) = ask(&json, yes(), 0, Some("ann"), Some("w\"rd"));
        let want = r#"{"client_id":"","password":"w\"rd","username":"ann"}"#;
        assert_eq!((asked[0].target.as_str(), &asked[0].body[..]), ("/user", want.as_bytes()));
        let (_, asked) = ask(&json, yes(), 0, None, None);
        let want = r#"{"client_id":"","password":null,"username":null}"#;
        assert_eq!(&asked[0].body[..], want.as_bytes());

        let form = |method, uri: &str| {
            let plugin = plugin(|settings| {
                (settings.method, settings.uri) = (method, uri.to_owned());
                settings.params = HttpParams::Form;
            });
            let (_, asked) = ask(&plugin, yes(), 0, Some("ä&b"), Some("a b=%"));
            let body = String::from_utf8(asked[0].body.to_vec()).expect("text");
            (asked[0].target.clone(), body, asked[0].content_type)
        };
        let fields = "username=%C3%A4%26b&password=a%20b%3D%25&client_id=";
        assert_eq!(form(Method::Get, "/user"), (format!("/user?{fields}"), String::new(), None));
        assert_eq!(form(Method::Get, "/u?k=1").0, format!("/u?k=1&{fields}"));
        let kind = Some("application/x-www-form-urlencoded");
        assert_eq!(form(Method::Put, "/user"), ("/user".to_owned(), fields.to_owned(), kind));
    }

    #[test]
    fn who_was_let_in_is_remembered_for_a_while_and_who_was_not_is_asked_about_again() {
        let plugin = plugin(|settings| settings.response = HttpResponse::Status);
        let is_asked = |status, at, user, password| {
            let (verdict, asked) = ask(&plugin, answer(status, ""), at, user, password);
            (verdict == Verdict::Proven, asked.len())
        };
        let (ann, word) = (Some("ann"), Some("word"));
        assert_eq!(is_asked(403, 0, ann, word), (false, 1));
        assert_eq!(is_asked(200, 0, ann, word), (true, 1));
        assert_eq!(is_asked(403, 29, ann, word), (true, 0));
        assert_eq!(is_asked(403, 29, ann, Some("wordy")), (false, 1));
        assert_eq!(is_asked(403, 29, ann, None), (false, 1));
        assert_eq!(is_asked(403, 29, Some("annw"), Some("ord")), (false, 1));
        assert_eq!(is_asked(403, 30, ann, word), (false, 1));
    }

    #[test]
    fn a_client_without_a_name_is_let_in_and_nobody() {
        let plugin = plugin(|_| {});
        let (verdict, _) = ask(&plugin, answer(200, r#"{"ok": true}"#), 0, None, None);
        assert_eq!(verdict, Verdict::Admitted);
    }

    #[test]
    fn a_password_that_is_no_text_is_sent_in_forms_alone() {
        let mut client = request(Some("ann"), None);
        client.password = Some(Bytes::from_static(b"\xff"));
        assert!(plugin(|_| {}).question(&client).is_none());
        let form = plugin(|settings| settings.params = HttpParams::Form);
        let asked = form.question(&client).expect("a form takes all bytes").target;
        assert!(asked.contains("password=%FF&"), "{asked}");
        client.password = Some(Bytes::from(vec![0xff; 6_000]));
        assert!(form.question(&client).is_none(), "no address is that long");
        let posted = plugin(|settings| {
            (settings.params, settings.method) = (HttpParams::Form, Method::Post);
        });
        for (count, is_asked) in [(5_000, true), (6_000, false)] {
            client.password = Some(Bytes::from(vec![0xff; count]));
            assert_eq!(posted.question(&client).is_some(), is_asked, "{count}");
        }
        client.password = Some(Bytes::from("\u{1}".repeat(3_000)));
        assert!(plugin(|_| {}).question(&client).is_none(), "six bytes each in JSON");
    }

    #[test]
    fn passwords_are_not_shown() {
        let plugin = plugin(|_| {});
        let question = plugin.question(&request(Some("ann"), Some("secret"))).expect("text");
        assert!(!format!("{question:?} {plugin:?}").contains("secret"));
    }
}
