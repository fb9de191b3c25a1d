//! Authentication: the trait that a plugin implements, and how the verdicts of several combine.
//!
//! A plugin may wait, and may have costly work done elsewhere ([`ConnectRequest::compute`]).
//! Knows nothing of how a client is answered: the machine does that.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Fetch, Grants, PeerCertificate};
use crate::mqtt::types::{Reason, Text};

/// Decides who may connect.
///
/// ```
/// use stormpetrel::access::{Authenticate, ConnectRequest, Verdict};
///
/// struct ByClientId;
///
/// impl Authenticate for ByClientId {
///     async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
///         if request.client_id.starts_with("plant-") { Verdict::Admitted } else { Verdict::Abstains }
///     }
/// }
/// ```
pub trait Authenticate: Send + Sync + 'static {
    /// Judges a client that wants to connect. Dropped if the client leaves, or takes longer than
    /// the time it has to connect.
    fn authenticate(&self, request: &ConnectRequest) -> impl Future<Output = Verdict> + Send;
}

/// What a plugin thinks of a client. One is let in if no plugin refuses, at least one says that it is
/// proven, identified or admitted, as in amqtt, and none that it is unproven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is who it says it is.
    Proven,
    /// What proves who it is says so itself, as a certificate does. It is refused if something
    /// else proves that it is somebody else.
    Identified(Proof),
    /// It may come in; whether it is who it says it is was not looked at.
    Admitted,
    /// The plugin has no opinion.
    Abstains,
    /// It gives a user name and nothing that proves it. It is refused unless it is
    /// [identified](Verdict::Identified) as that user.
    Unproven,
    /// It may not come in.
    Refused(Refusal),
}

/// Who a client is proven to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Its user name, whatever it gave.
    pub user: Arc<str>,
    /// What it may do, if the proof says that too.
    pub grants: Option<Arc<Grants>>,
}

/// Why a client may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user name and the password do not belong together.
    BadCredentials,
    /// Clients of this kind are not let in.
    NotAuthorized,
    /// Too many clients are being judged: it may try again.
    Busy,
    /// What decides cannot be reached: it may try again.
    Unavailable,
    /// Too many logins have failed before this one: it may try again later.
    Throttled,
}

impl Refusal {
    /// The reason that a client of 5.0 is told.
    pub fn reason(self) -> Reason {
        match self {
            Refusal::BadCredentials => Reason::BadUserNameOrPassword,
            Refusal::NotAuthorized => Reason::NotAuthorized,
            Refusal::Busy => Reason::ServerBusy,
            Refusal::Unavailable => Reason::ServerUnavailable,
            Refusal::Throttled => Reason::ConnectionRateExceeded,
        }
    }
}

/// Who a client is, as far as the broker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its user name.
    pub user: Option<Arc<str>>,
    /// Whether a plugin has seen proof of that.
    pub is_proven: bool,
    /// Where it connects from.
    pub address: Option<IpAddr>,
    /// What it may do, if what proved who it is said so.
    pub grants: Option<Arc<Grants>>,
}

impl Identity {
    /// Whether a session that `owner` began is this client's too. One that belongs to a proven
    /// user is nobody else's; any other is whoever's gives its client id.
    pub fn may_resume(&self, owner: &Identity) -> bool {
        !owner.is_proven || (self.is_proven && self.user == owner.user)
    }

    /// About as many bytes as it takes beside itself: clients choose how long their names are.
    pub(crate) fn bytes(&self) -> usize {
        let grants = self.grants.as_deref().map_or(0, Grants::bytes);
        self.user.as_deref().map_or(0, str::len) + grants
    }
}

/// The bytes of an address: 4 or 16.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address of these bytes; none if there are as many of no address.
pub(crate) fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6).ok()
}

/// What all plugins together come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The client is let in.
    Accepted(Identity),
    /// It is not.
    Refused(Refusal),
}

/// What a plugin is asked: a client that wants to connect.
pub struct ConnectRequest {
    /// As it gave it: may be empty.
    pub client_id: Text,
    /// Who it says it is.
    pub username: Option<Text>,
    /// And its proof. Not in the output of `Debug`.
    pub password: Option<Bytes>,
    /// The listener where it came in.
    pub listener: Arc<str>,
    /// Where it connects from.
    pub address: Option<IpAddr>,
    /// The certificate that it showed over TLS. It leads to an authority of the listener's.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Since 1970, by the broker's own clock, which never goes back: for intervals.
    pub now: Duration,
    /// Since 1970, by the system's calendar, which may be set: for what expires on a date.
    pub date: Duration,
    /// Who does costly work.
    pub computer: Arc<dyn Compute>,
    /// Whose work that is.
    pub whose: Whose,
    /// Who asks web servers. He is of the thread that asks for this verdict.
    pub fetcher: Arc<dyn Fetch>,
}

impl ConnectRequest {
    /// Has costly work done where it holds up no connection.
    ///
    /// # Errors
    /// There is too much to do already.
    pub async fn compute(
        &self,
        work: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool, Busy> {
        self.computer.compute(Box::new(work), self.whose).await
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("listener", &self.listener)
            .field("address", &self.address)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Costly work with a yes or no at its end.
pub type Work = Box<dyn FnOnce() -> bool + Send>;

/// Whose work it is: nobody's may hold up all others'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// Stands for all who count as one; none: for those who have no address.
    pub address: Option<IpAddr>,
    /// It is no stranger there.
    pub is_known: bool,
}

/// Does costly work.
pub trait Compute: Send + Sync + fmt::Debug {
    /// Does it, now or later.
    fn compute(
        &self,
        work: Work,
        whose: Whose,
    ) -> Pin<Box<dyn Future<Output = Result<bool, Busy>> + Send>>;
}

/// There is too much to do already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is too much to do")]
pub struct Busy;

/// Does all work at once, where it is asked for: for simulations and tests.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Compute for Inline {
    fn compute(
        &self,
        work: Work,
        _: Whose,
    ) -> Pin<Box<dyn Future<Output = Result<bool, Busy>> + Send>> {
        Box::pin(std::future::ready(Ok(work())))
    }
}

/// All plugins that are asked before a client is let in.
#[derive(Clone, Default)]
pub struct Door {
    plugins: Vec<Arc<dyn Ask>>,
    is_open: bool,
}

impl Door {
    /// One at which nobody is asked, and everybody is whoever they say.
    pub(crate) fn open() -> Door {
        Door { plugins: Vec::new(), is_open: true }
    }

    /// Whether it is such a one.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Adds a plugin.
    pub fn add(&mut self, plugin: impl Authenticate) {
        self.plugins.push(Arc::new(plugin));
    }

    /// Adds the plugins of another.
    pub fn extend(&mut self, other: &Door) {
        self.plugins.extend_from_slice(&other.plugins);
    }

    /// Asks every plugin until one refuses.
    pub async fn judge(&self, request: &ConnectRequest) -> Judgement {
        let given: Option<Arc<str>> = request.username.as_deref().map(Arc::from);
        let mut findings = Findings { is_admitted: self.is_open, ..Findings::default() };
        for plugin in &self.plugins {
            let added = match plugin.ask(request).await {
                Verdict::Proven => findings.add_proof(given.clone(), None),
                Verdict::Identified(proof) => {
                    findings.is_identified = true;
                    findings.add_proof(Some(proof.user), proof.grants)
                }
                Verdict::Admitted => {
                    findings.is_admitted = true;
                    Ok(())
                }
                Verdict::Abstains => Ok(()),
                Verdict::Unproven => {
                    findings.is_unproven = true;
                    Ok(())
                }
                Verdict::Refused(refusal) => Err(refusal),
            };
            if let Err(refusal) = added {
                return Judgement::Refused(refusal);
            }
        }
        if findings.is_unproven && !findings.identify(&given) {
            return Judgement::Refused(Refusal::BadCredentials);
        }
        if !findings.is_admitted {
            return Judgement::Refused(Refusal::NotAuthorized);
        }
        let is_proven = findings.proven.is_some();
        let (user, address) = (findings.proven.unwrap_or(given), request.address);
        Judgement::Accepted(Identity { user, is_proven, address, grants: findings.grants })
    }
}

/// What was found out about a client so far.
#[derive(Default)]
struct Findings {
    is_admitted: bool,
    /// Who it is proven to be; within, none: a client without a user name.
    proven: Option<Option<Arc<str>>>,
    grants: Option<Arc<Grants>>,
    /// Something says by itself who it is.
    is_identified: bool,
    /// Somebody misses a proof that it is who it says it is.
    is_unproven: bool,
}

impl Findings {
    /// Whether something says by itself that this is the client's user name.
    fn identify(&self, given: &Option<Arc<str>>) -> bool {
        self.is_identified && self.proven.as_ref() == Some(given)
    }

    /// Nobody is two users.
    fn add_proof(
        &mut self,
        user: Option<Arc<str>>,
        grants: Option<Arc<Grants>>,
    ) -> Result<(), Refusal> {
        self.is_admitted = true;
        self.grants = self.grants.take().or(grants);
        match &self.proven {
            Some(known) if *known != user => Err(Refusal::NotAuthorized),
            _ => {
                self.proven = Some(user);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("plugins", &self.plugins.len()).finish()
    }
}

/// A plugin of any type.
trait Ask: Send + Sync {
    fn ask<'a>(
        &'a self,
        request: &'a ConnectRequest,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

impl<P: Authenticate> Ask for P {
    fn ask<'a>(
        &'a self,
        request: &'a ConnectRequest,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(self.authenticate(request))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::{Anonymous, PasswordFile, Passwords, Unreachable};
    use super::*;

    /// Waits for what is ready at once.
    pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    /// A client that gives these.
    pub(crate) fn request(username: Option<&str>, password: Option<&str>) -> ConnectRequest {
        ConnectRequest {
            client_id: Text::default(),
            username: username.map(|name| Text::try_from(name).expect("text")),
            password: password.map(|word| Bytes::copy_from_slice(word.as_bytes())),
            listener: Arc::from("default"),
            address: None,
            certificate: None,
            now: Duration::ZERO,
            date: Duration::ZERO,
            computer: Arc::new(Inline),
            whose: Whose::default(),
            fetcher: Arc::new(Unreachable),
        }
    }

    fn door(file: bool, anonymous: Option<bool>) -> Door {
        let mut door = Door::default();
        if let Some(is_allowed) = anonymous {
            door.add(Anonymous { is_allowed });
        }
        if file {
            let text = "test:$6$l4zQEHEcowc1Pnv4$HHrh8xnsZoLItQ8BmpFHM4r6q5UqK3DnXp2GaTm5zp5buQ7\
                        NheY3Xt9f6godVKbEtA.hOC7IEDwnok3pbAOip.";
            door.add(PasswordFile::new(Passwords::parse(text, "passwd").expect("valid")));
        }
        door
    }

    /// amqtt's table of plugins, `allow-anonymous` and credentials, every field of it.
    #[test]
    fn every_combination_of_plugins_and_credentials_is_judged_as_by_amqtt() {
        use Refusal::{BadCredentials as Bad, NotAuthorized as Not};
        type Answer = Result<bool, Refusal>;
        const IN: Answer = Ok(false);
        const PROVEN: Answer = Ok(true);
        let credentials = [
            (None, None),
            (Some("test"), None),
            (Some("test"), Some("test")),
            (Some("test"), Some("wrong")),
            (Some("nobody"), Some("test")),
            (Some(""), None),
            (Some(""), Some("test")),
        ];
        let (not, bad) = (Err(Not), Err(Bad));
        let table: [(bool, Option<bool>, [Answer; 7]); 6] = [
            (true, None, [not, bad, PROVEN, bad, bad, not, not]),
            (false, Some(true), [IN, IN, IN, IN, IN, IN, IN]),
            (false, Some(false), [not, IN, IN, IN, IN, not, not]),
            (true, Some(true), [IN, bad, PROVEN, bad, bad, IN, IN]),
            (true, Some(false), [not, bad, PROVEN, bad, bad, not, not]),
            (false, None, [not; 7]),
        ];
        for (file, anonymous, wants) in table {
            for ((user, password), want) in credentials.into_iter().zip(wants) {
                let door = door(file, anonymous);
                let got = match now(door.judge(&request(user, password))) {
                    Judgement::Accepted(identity) => {
                        assert_eq!(identity.user.as_deref(), user);
                        Ok(identity.is_proven)
                    }
                    Judgement::Refused(refusal) => Err(refusal),
                };
                assert_eq!(got, want, "file {file}, {anonymous:?}: {user:?} {password:?}");
            }
        }
    }

    #[test]
    fn a_session_of_a_proven_user_is_nobody_elses() {
        let identity = |user: Option<&str>, is_proven| Identity {
            user: user.map(Arc::from),
            is_proven,
            ..Identity::default()
        };
        let cases = [
            (identity(Some("a"), true), identity(Some("a"), true), true),
            (identity(Some("a"), true), identity(Some("b"), true), false),
            (identity(Some("a"), true), identity(Some("a"), false), false),
            (identity(Some("a"), true), identity(None, false), false),
            (identity(None, false), identity(Some("b"), true), true),
            (identity(Some("a"), false), identity(Some("b"), false), true),
        ];
        for (owner, client, want) in cases {
            assert_eq!(client.may_resume(&owner), want, "{owner:?} {client:?}");
        }
    }

    struct Says(Verdict);

    impl Authenticate for Says {
        async fn authenticate(&self, _: &ConnectRequest) -> Verdict {
            self.0.clone()
        }
    }

    #[test]
    fn who_is_proven_to_be_two_users_is_refused() {
        let is = |user: &str| Verdict::Identified(Proof { user: Arc::from(user), grants: None });
        let (refused, bad) = (Err(Refusal::NotAuthorized), Err(Refusal::BadCredentials));
        let table = [
            (vec![is("a")], Some("b"), Ok((Some("a"), true))),
            (vec![is("a")], None, Ok((Some("a"), true))),
            (vec![is("a"), is("a")], None, Ok((Some("a"), true))),
            (vec![is("a"), is("b")], None, refused),
            (vec![is("a"), Verdict::Proven], Some("a"), Ok((Some("a"), true))),
            (vec![is("a"), Verdict::Proven], Some("b"), refused),
            (vec![Verdict::Proven, is("a")], None, refused),
            (vec![is("a"), Verdict::Admitted], Some("b"), Ok((Some("a"), true))),
            (vec![Verdict::Admitted], Some("b"), Ok((Some("b"), false))),
            // Without a password, only what needs none proves a name.
            (vec![Verdict::Unproven], Some("a"), bad),
            (vec![is("a"), Verdict::Unproven], Some("a"), Ok((Some("a"), true))),
            (vec![Verdict::Unproven, is("a")], Some("a"), Ok((Some("a"), true))),
            (vec![is("a"), Verdict::Unproven], Some("b"), bad),
            (vec![Verdict::Proven, Verdict::Unproven], Some("a"), bad),
            (vec![Verdict::Admitted, Verdict::Unproven], Some("a"), bad),
        ];
        for (verdicts, user, want) in table {
            let mut door = Door::default();
            verdicts.iter().for_each(|verdict| door.add(Says(verdict.clone())));
            let judgement = now(door.judge(&request(user, None)));
            let got = match &judgement {
                Judgement::Accepted(who) => Ok((who.user.as_deref(), who.is_proven)),
                Judgement::Refused(refusal) => Err(*refusal),
            };
            assert_eq!(got, want, "{verdicts:?} {user:?}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert!(!format!("{:?}", request(Some("user"), Some("secret"))).contains("secret"));
    }
}
