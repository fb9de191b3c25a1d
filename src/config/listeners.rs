//! The section `listeners`: who inherits what from `default`, and which are started.
//!
//! As in amqtt up to 0.11.2: `default` is only defaults unless it has a `bind`, and what a
//! listener says itself wins. Addresses are in `bind.rs`.

use std::path::PathBuf;

use super::problem::{Position, Report, printable};
use super::section::{Entry, Section};
use super::{Bind, BindError, Certificates, Endpoint, Listener, Subnet, durability};
use crate::machine::Durability;

/// Reads the section; none if it is not there.
pub(super) fn read(top: &mut Section<'_>, report: &mut Report) -> Option<Vec<Listener>> {
    let Some(entry) = top.value("listeners", report) else {
        let message = "no listeners are given: only 127.0.0.1:1883 is served, to this machine";
        report.warn((None, "listeners"), message);
        return None;
    };
    Some(entry.section(report).map_or_else(Vec::new, |section| all(&entry, section, top, report)))
}

fn all(
    entry: &Entry<'_>,
    section: Section<'_>,
    top: &mut Section<'_>,
    report: &mut Report,
) -> Vec<Listener> {
    let has_directory = top.value("data-dir", report).is_some();
    let mut candidates: Vec<Candidate<'_>> = section
        .all()
        .filter_map(|(name, entry)| {
            let settings = Settings::read(&entry, report)?;
            Some(Candidate { name, entry, settings })
        })
        .collect();
    let defaults = candidates.iter().find(|candidate| candidate.name == "default");
    let defaults = defaults.map(|candidate| candidate.settings.clone()).unwrap_or_default();
    for candidate in &mut candidates {
        candidate.settings.inherit(&defaults);
        candidate.settings.choose_port();
    }
    let is_complete = candidates.len() == section.all().count();
    if is_complete && candidates.iter().all(|candidate| !candidate.settings.has_bind()) {
        let cause = "no listener has a `bind`, so nobody could connect";
        report.error(entry.spot(), cause, "give one an address: `bind: 127.0.0.1:1883`");
    }
    if !has_directory {
        candidates.iter().for_each(|candidate| candidate.refuse_to_keep(report));
    }
    let listeners: Vec<_> =
        candidates.iter().filter_map(|candidate| candidate.listener(report)).collect();
    report_shared_binds(&candidates, report);
    report_idle_modes(&candidates, report);
    report_idle_proxies(&candidates, report);
    listeners
}

/// A listener of the file, which may turn out to be only defaults.
struct Candidate<'n> {
    name: &'n str,
    entry: Entry<'n>,
    settings: Settings,
}

/// A value, and where it is written.
#[derive(Clone)]
struct Given<T> {
    value: T,
    at: Position,
    path: String,
}

impl<T> Given<T> {
    fn new(value: T, entry: &Entry<'_>) -> Given<T> {
        Given { value, at: entry.at, path: entry.path.clone() }
    }
}

/// How packets come in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    WebSocket,
}

/// What `bind` says.
#[derive(Clone, PartialEq, Eq)]
enum Address {
    /// Null, which starts nothing.
    Nowhere,
    /// Not an address: reported already.
    Bad,
    At(Endpoint),
    /// Without a port, which is then its transport's.
    Portless(Bind),
}

/// What a listener says itself, or with what it inherits.
#[derive(Clone, Default)]
struct Settings {
    bind: Option<Given<Address>>,
    /// Of a Unix socket.
    mode: Option<Given<u32>>,
    transport: Option<Transport>,
    connections_max: Option<usize>,
    durability: Option<Given<Durability>>,
    tls: Option<Given<bool>>,
    /// Of TLS.
    files: [Option<Given<String>>; FILE_KEYS.len()],
    is_certificate_required: Option<Given<bool>>,
    is_proxied: Option<Given<bool>>,
    trusted_proxies: Option<Given<Vec<Subnet>>>,
}

/// What TLS reads.
const FILE_KEYS: [&str; 5] = ["certfile", "keyfile", "cafile", "capath", "cadata"];

impl Settings {
    fn read(entry: &Entry<'_>, report: &mut Report) -> Option<Settings> {
        let mut section = entry.section(report)?;
        let settings = Settings {
            bind: section
                .entry("bind", report)
                .map(|entry| Given::new(read_bind(&entry, report), &entry)),
            mode: section
                .value("mode", report)
                .and_then(|entry| Some(Given::new(read_mode(&entry, report)?, &entry))),
            transport: section
                .value("type", report)
                .and_then(|entry| read_transport(&entry, report)),
            connections_max: section
                .value("max-connections", report)
                .and_then(|entry| entry.limit(-1..=i64::from(u32::MAX), report))
                .map(connections_max),
            durability: section
                .value("durability", report)
                .and_then(|entry| Some(Given::new(durability::read_word(&entry, report)?, &entry))),
            tls: section
                .value("ssl", report)
                .and_then(|entry| Some(Given::new(entry.switch(report)?, &entry))),
            files: FILE_KEYS.map(|name| read_file(&mut section, name, report)),
            is_certificate_required: section
                .guard("require-certificate", report)
                .and_then(|entry| Some(Given::new(entry.switch(report)?, &entry))),
            is_proxied: section
                .value("proxy-protocol", report)
                .and_then(|entry| Some(Given::new(entry.switch(report)?, &entry))),
            trusted_proxies: section
                .value("trusted-proxies", report)
                .map(|entry| Given::new(read_subnets(&entry, report), &entry)),
        };
        for name in ["reader", "writer"] {
            if let Some(entry) = section.value(name, report) {
                report.warn(entry.spot(), "has no effect, as in amqtt");
            }
        }
        section.finish(report);
        Some(settings)
    }

    /// Takes the defaults for what it does not say itself.
    fn inherit(&mut self, defaults: &Settings) {
        let own = std::mem::take(self);
        *self = Settings {
            bind: own.bind.or_else(|| defaults.bind.clone()),
            mode: own.mode.or_else(|| defaults.mode.clone()),
            transport: own.transport.or(defaults.transport),
            connections_max: own.connections_max.or(defaults.connections_max),
            durability: own.durability.or_else(|| defaults.durability.clone()),
            tls: own.tls.or_else(|| defaults.tls.clone()),
            files: std::array::from_fn(|at| {
                own.files[at].clone().or_else(|| defaults.files[at].clone())
            }),
            is_certificate_required: own
                .is_certificate_required
                .or_else(|| defaults.is_certificate_required.clone()),
            is_proxied: own.is_proxied.or_else(|| defaults.is_proxied.clone()),
            trusted_proxies: own.trusted_proxies.or_else(|| defaults.trusted_proxies.clone()),
        };
    }

    /// The port of what travels there, if `bind` gives none.
    fn choose_port(&mut self) {
        let is_websocket = self.transport == Some(Transport::WebSocket);
        let Some(given) = &mut self.bind else { return };
        if let Address::Portless(bind) = &mut given.value {
            if is_websocket {
                bind.port = Bind::DEFAULT_PORT_OF_WEBSOCKET;
            }
            given.value = Address::At(Endpoint::Tcp(bind.clone()));
        }
    }

    fn has_bind(&self) -> bool {
        self.bind.as_ref().is_some_and(|given| given.value != Address::Nowhere)
    }

    /// What TLS needs, if it is on. Files are looked at only then, and not here.
    fn certificates(&self, report: &mut Report) -> Option<Certificates> {
        let [certfile, keyfile, cafile, capath, cadata] = &self.files;
        let tls = self.tls.as_ref().filter(|given| given.value)?;
        let path = |given: &Option<Given<String>>| given.as_ref().map(|g| PathBuf::from(&g.value));
        let (Some(certfile), Some(keyfile)) = (path(certfile), path(keyfile)) else {
            let cause = "TLS needs a certificate and its key";
            let mend = "give `certfile` and `keyfile`, two files in PEM, or write `ssl: off`";
            report.error((Some(tls.at), &tls.path), cause, mend);
            return None;
        };
        Some(Certificates {
            certfile,
            keyfile,
            cafile: path(cafile),
            capath: path(capath),
            cadata: cadata.as_ref().map(|given| given.value.clone()),
            is_required: self.is_certificate_required.as_ref().is_some_and(|given| given.value),
        })
    }
}

impl Candidate<'_> {
    /// The listener, if it is one that can be started.
    fn listener(&self, report: &mut Report) -> Option<Listener> {
        if !self.settings.has_bind() {
            if self.name != "default" {
                report.warn(self.entry.spot(), "not started: it has no `bind`");
            }
            return None;
        }
        let settings = &self.settings;
        let certificates = settings.certificates(report);
        if settings.tls.as_ref().is_none_or(|given| !given.value) {
            self.report_idle_files(report);
        }
        let trusted_proxies = settings.trusted_proxies.as_ref().filter(|_| self.hears_proxies());
        let trusted_proxies = trusted_proxies.map(|given| given.value.clone()).unwrap_or_default();
        let proxied = settings.is_proxied.as_ref().filter(|given| given.value);
        let bind = self.bind()?;
        // Who may connect to a Unix socket is its mode's affair: it needs no list.
        let is_anybody = bind.unix().is_none() && trusted_proxies.is_empty();
        if let (Some(given), true) = (proxied, is_anybody) {
            let cause = "nobody may connect: no proxy is trusted";
            let mend = "name the proxies, like `trusted-proxies: [127.0.0.1, 10.0.0.0/8]`";
            report.error((Some(given.at), &given.path), cause, mend);
        }
        Some(Listener {
            name: self.name.to_owned(),
            bind,
            connections_max: settings.connections_max.unwrap_or(usize::MAX),
            durability: settings.durability.as_ref().map(|given| given.value),
            is_websocket: settings.transport.as_ref() == Some(&Transport::WebSocket),
            certificates,
            is_proxied: proxied.is_some(),
            trusted_proxies,
        })
    }

    /// Says what of TLS has no effect, because it is off. Nobody shows a certificate then: what
    /// asks clients for one is refused, or whoever should stay out would come in.
    fn report_idle_files(&self, report: &mut Report) {
        let Settings { tls, files, is_certificate_required, .. } = &self.settings;
        let name = printable(self.name);
        let required = is_certificate_required.as_ref().filter(|given| given.value);
        if let Some(given) = required {
            let cause = format!("the listener `{name}` has no TLS: no client could show one");
            let mend =
                "write `ssl: on` with `certfile` and `keyfile`, or `require-certificate: off`";
            return report.error((Some(given.at), &given.path), cause, mend);
        }
        let [pair @ .., cafile, capath, cadata] = files;
        let authority = [cafile, capath, cadata].into_iter().flatten().next();
        let own_authority = authority.filter(|given| self.is_own(given));
        if let (None, Some(given)) = (tls, own_authority) {
            let cause = format!(
                "the listener `{name}` has no TLS: no certificate of a client would be checked"
            );
            let mend = "write `ssl: on` with `certfile` and `keyfile`, or `ssl: off`";
            return report.error((Some(given.at), &given.path), cause, mend);
        }
        let message = match (tls, own_authority) {
            (Some(_), Some(given)) => Some((given, "has no effect with `ssl: off`".to_owned())),
            (Some(_), None) => None,
            (None, _) => pair.iter().flatten().chain(authority).next().map(|given| {
                let words = format!(
                    "has no effect without `ssl: on`: the listener `{name}` is not encrypted, as \
                     in amqtt"
                );
                (given, words)
            }),
        };
        if let Some((given, words)) = message {
            report.warn((Some(given.at), &given.path), words);
        }
    }

    /// Whether a proxy can say here where a client connects from.
    fn hears_proxies(&self) -> bool {
        let is_proxied = self.settings.is_proxied.as_ref().is_some_and(|given| given.value);
        is_proxied || self.settings.transport == Some(Transport::WebSocket)
    }

    /// Whether the listener says so itself.
    fn is_own<T>(&self, given: &Given<T>) -> bool {
        let rest = given.path.strip_prefix(&self.entry.path);
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// Refuses a listener that promises to keep what nobody keeps.
    fn refuse_to_keep(&self, report: &mut Report) {
        let is_kept = |given: &&Given<Durability>| given.value != Durability::None;
        let kept = self.settings.durability.as_ref().filter(is_kept);
        if let Some(given) = kept.filter(|_| self.settings.has_bind()) {
            durability::refuse_without_directory((Some(given.at), &given.path), report);
        }
    }

    /// Where it listens.
    fn bind(&self) -> Option<Endpoint> {
        let mut bind = self.written_bind()?.0.clone();
        if let (Endpoint::Unix(socket), Some(mode)) = (&mut bind, &self.settings.mode) {
            socket.mode = mode.value;
        }
        Some(bind)
    }

    /// What `bind` says, and where that is written.
    fn written_bind(&self) -> Option<(&Endpoint, &Given<Address>)> {
        match self.settings.bind.as_ref()? {
            given @ Given { value: Address::At(bind), .. } => Some((bind, given)),
            _ => None,
        }
    }
}

/// Refuses two listeners at one address.
fn report_shared_binds(candidates: &[Candidate<'_>], report: &mut Report) {
    let is_exclusive = |candidate: &&Candidate<'_>| {
        candidate.written_bind().is_some_and(|(bind, _)| bind.is_exclusive())
    };
    let bound: Vec<&Candidate<'_>> = candidates.iter().filter(is_exclusive).collect();
    for (index, one) in bound.iter().enumerate() {
        let Some((bind, given)) = one.written_bind() else { continue };
        let is_same = |other: &&&Candidate<'_>| {
            other.written_bind().is_some_and(|(written, _)| written == bind)
        };
        if let Some(other) = bound[..index].iter().find(is_same) {
            let (one, other) = (printable(one.name), printable(other.name));
            let cause = format!("the listeners `{other}` and `{one}` have one address, {bind}");
            report.error((Some(given.at), &given.path), cause, "give each its own `bind`");
        }
    }
}

fn read_bind(entry: &Entry<'_>, report: &mut Report) -> Address {
    const MEND: &str = "write it like 127.0.0.1:1883, :1883, '[::1]:1883' or unix:/run/mqtt.sock";
    if entry.node.is_null() {
        return Address::Nowhere;
    }
    if entry.is_placeholder() {
        entry.report_placeholder(MEND, report);
        return Address::Bad;
    }
    let Some(text) = entry.word() else {
        entry.unexpected("an address", MEND, report);
        return Address::Bad;
    };
    if Bind::is_ambiguous(text) {
        let message = "an IPv6 address with a port needs brackets: the part after the last \
                       colon is taken for the port";
        report.warn(entry.spot(), message);
    }
    match text.parse() {
        Ok(Endpoint::Tcp(bind)) if !Bind::gives_port(text) => Address::Portless(bind),
        Ok(bind) => Address::At(bind),
        Err(error) => {
            let mend = match error {
                BindError::UnixSocket | BindError::NoPath => "write it like unix:/run/mqtt.sock",
                BindError::Port | BindError::Host | BindError::Brackets => MEND,
            };
            report.error(entry.spot(), format!("{}: {error}", entry.node.describe()), mend);
            Address::Bad
        }
    }
}

/// The permissions of a file, as `chmod` takes them: octal, with or without a leading 0.
fn read_mode(entry: &Entry<'_>, report: &mut Report) -> Option<u32> {
    let word = entry.word().unwrap_or_default();
    let is_octal = !word.is_empty() && word.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = is_octal.then(|| u32::from_str_radix(word, 8).ok()).flatten();
    let mode = mode.filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        entry.unexpected("permissions in octal", "write them like 0660", report);
    }
    mode
}

/// Says so if `mode` is given and nobody has a use for it.
fn report_idle_modes(candidates: &[Candidate<'_>], report: &mut Report) {
    let has_unix = candidates.iter().any(|c| c.bind().is_some_and(|bind| bind.unix().is_some()));
    let modes = candidates.iter().filter_map(|candidate| candidate.settings.mode.as_ref());
    for given in modes.filter(|_| !has_unix) {
        let message = "has no effect: no listener has a Unix socket, like `bind: unix:PATH`";
        report.warn((Some(given.at), &given.path), message);
    }
}

/// Says where nobody is believed to be a proxy, because none could speak. What is inherited is
/// meant for others, and so may be what `default` says.
fn report_idle_proxies(candidates: &[Candidate<'_>], report: &mut Report) {
    let started = || candidates.iter().filter(|candidate| candidate.settings.has_bind());
    let is_heard = started().any(Candidate::hears_proxies);
    let is_idle = |candidate: &&Candidate<'_>| {
        let is_ground = candidate.name == "default" && is_heard;
        !candidate.hears_proxies() && !is_ground
    };
    for candidate in started().filter(is_idle) {
        let Some(given) = candidate.settings.trusted_proxies.as_ref() else { continue };
        if candidate.is_own(given) && !given.value.is_empty() {
            let message = format!(
                "has no effect without `proxy-protocol: on` or `type: ws`: no proxy could tell \
                 the listener `{}` where a client connects from",
                printable(candidate.name)
            );
            report.warn((Some(given.at), &given.path), message);
        }
    }
}

fn read_transport(entry: &Entry<'_>, report: &mut Report) -> Option<Transport> {
    let word = entry.word().unwrap_or_default();
    let lower = word.to_ascii_lowercase();
    let transport = match lower.as_str() {
        "tcp" => Some(Transport::Tcp),
        "ws" => Some(Transport::WebSocket),
        "external" => {
            let cause = "`external` opens no socket: it is for programs that embed amqtt";
            report.error(entry.spot(), cause, "remove the listener");
            None
        }
        _ => {
            let mend = match lower.as_str() {
                "wss" | "ws-ssl" | "ws-tls" | "https" => "write `type: ws` with `ssl: on`",
                "ssl" | "tls" | "mqtts" | "tcp-ssl" | "tcp-tls" => {
                    "write `type: tcp` with `ssl: on`"
                }
                "websocket" | "websockets" | "http" => "write `type: ws`",
                _ => "write `tcp`",
            };
            entry.unexpected("`tcp` or `ws`", mend, report);
            None
        }
    };
    if transport.is_some() && lower != word {
        report.warn(entry.spot(), format!("read as `{lower}`; amqtt would not know it"));
    }
    transport
}

/// A path or, for `cadata`, a text.
fn read_file(
    section: &mut Section<'_>,
    name: &'static str,
    report: &mut Report,
) -> Option<Given<String>> {
    let entry = section.value(name, report)?;
    if let Some(word) = entry.word() {
        return Some(Given::new(word.to_owned(), &entry));
    }
    entry.unexpected("the path of a file", "write one", report);
    None
}

/// A list of addresses and networks, or one of them.
pub(super) fn read_subnets(entry: &Entry<'_>, report: &mut Report) -> Vec<Subnet> {
    let entries = match entry.word() {
        Some(_) => vec![Entry { at: entry.at, path: entry.path.clone(), node: entry.node }],
        None => entry.list(report).unwrap_or_default(),
    };
    let mut subnets = Vec::new();
    for entry in entries {
        match entry.word().unwrap_or_default().parse::<Subnet>() {
            Ok(subnet) => subnets.push(subnet),
            Err(error) => report.error(
                entry.spot(),
                format!("{}: {error}", entry.node.describe()),
                "write addresses or networks, like [127.0.0.1, 10.0.0.0/8]",
            ),
        }
    }
    subnets
}

/// As in amqtt, 0 and less are "no limit".
fn connections_max(number: i64) -> usize {
    match usize::try_from(number) {
        Err(_) | Ok(0) => usize::MAX,
        Ok(number) => number,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::tests::{assert_problems, load};
    use crate::config::{Config, Listener};

    const OPEN: &str = "auth: {plugins: [auth_anonymous]}\n";

    /// The listeners in short: `name bind` and, where there are any, the limit and the layers.
    fn show(config: Option<Config>) -> String {
        let show = |listener: &Listener| {
            let mut text = format!("{} {}", listener.name, listener.bind);
            if let Some(socket) = listener.bind.unix() {
                text += &format!(" {:o}", socket.mode);
            }
            match listener.connections_max {
                usize::MAX => {}
                max => text += &format!(" {max}"),
            }
            if listener.is_websocket {
                text += " ws";
            }
            if let Some(files) = &listener.certificates {
                text += &format!(" {}+{}", files.certfile.display(), files.keyfile.display());
                let authorities = [files.cafile.as_deref(), files.capath.as_deref()];
                text += &authorities.into_iter().flatten().map(show_path).collect::<String>();
                text += files.cadata.as_deref().unwrap_or_default();
                text += if files.is_required { "!" } else { "" };
            }
            text
        };
        let listeners = config.map(|config| config.listeners).unwrap_or_default();
        listeners.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    fn show_path(path: &Path) -> String {
        format!(" {}", path.display())
    }

    #[test]
    fn listeners_inherit_what_they_do_not_say() {
        for (listeners, want) in [
            ("{default: {bind: ':1'}}", "default *:1"),
            ("{default: {bind: ':1'}, a: {bind: ':2'}}", "default *:1, a *:2"),
            ("{default: {max-connections: 5}, a: {bind: ':2'}}", "a *:2 5"),
            ("{default: {max_connections: 5}, a: {bind: ':2', max-connections: 6}}", "a *:2 6"),
            ("{default: {max-connections: 5}, a: {bind: ':2', max-connections: 0}}", "a *:2"),
            ("{default: {max-connections: 5}, a: {bind: ':2', max-connections: -1}}", "a *:2"),
            ("{a: {bind: ':2', max-connections: '7'}}", "a *:2 7"),
            ("{a: {bind: ':2', max-connections: 1_000, max_connections: 1000}}", "a *:2 1000"),
            ("{default: {type: ws, ssl: on}, a: {bind: ':2', type: tcp, ssl: off}}", "a *:2"),
            ("{a: {bind: ':2', ssl: 'off', certfile: /nowhere, keyfile: null}}", "a *:2"),
            ("{a: {bind: ':2', ssl: 0}}", "a *:2"),
            (
                "{default: {type: ws}, a: {bind: ':2'}, b: {bind: ':3', type: tcp}}",
                "a *:2 ws, b *:3",
            ),
            (
                "{default: {ssl: on, certfile: c, keyfile: k}, a: {bind: ':2'}, b: {bind: ':3', keyfile: l}}",
                "a *:2 c+k, b *:3 c+l",
            ),
            (
                "{a: {bind: ':2', ssl: 'ON', certfile: c, keyfile: k, cafile: f, capath: p, require-certificate: on}}",
                "a *:2 c+k f p!",
            ),
            (
                "{default: {ssl: on, certfile: c, keyfile: k, cafile: f, require-certificate: on}, a: {bind: ':2', cafile: g}}",
                "a *:2 c+k g!",
            ),
            ("{a: {bind: 1884}}", "a *:1884"),
            ("{a: {bind: '1884'}}", "a *:1884"),
            ("{a: {bind: ''}}", "a *:1883"),
            ("{a: {bind: ':0'}, b: {bind: ':0'}}", "a *:0, b *:0"),
            (
                "{default: {bind: 0.0.0.0}, b: {type: ws}, c: {bind: ':1', type: ws}}",
                "default 0.0.0.0:1883, b 0.0.0.0:8883 ws, c *:1 ws",
            ),
            ("{default: {type: ws}, b: {bind: ::1}}", "b [::1]:8883 ws"),
            ("{b: {bind: ':2'}, default:, a: {bind: ':1'}}", "b *:2, a *:1"),
            ("{a: {bind: unix:/x}}", "a unix:/x 660"),
            ("{a: {bind: unix:x y, mode: 0600, type: ws}}", "a unix:x y 600 ws"),
            ("{a: {bind: unix:/x, mode: 666}}", "a unix:/x 666"),
            ("{a: {bind: unix:/x, mode: '0666'}}", "a unix:/x 666"),
            (
                "{default: {mode: 0600}, a: {bind: unix:/x}, b: {bind: ':2'}}",
                "a unix:/x 600, b *:2",
            ),
            ("{a: {bind: unix:/x, proxy-protocol: on}}", "a unix:/x 660"),
        ] {
            let config = load(&format!("{OPEN}listeners: {listeners}\n"));
            assert_eq!(show(Some(config)), want, "{listeners}");
        }
    }

    /// Transport and TLS in short.
    #[test]
    fn listeners_inherit_what_their_connections_travel_in() {
        let show = |listener: &Listener| {
            let files = listener.certificates.as_ref().map(|files| files.certfile.clone());
            let proxies = listener.trusted_proxies.iter().map(ToString::to_string);
            let proxies = proxies.collect::<Vec<_>>().join(" ");
            format!("{} {files:?} {} {proxies}", listener.is_websocket, listener.is_proxied)
        };
        for (listeners, want) in [
            ("{a: {bind: ':1', type: ws}}", "true None false "),
            ("{default: {type: ws}, a: {bind: ':1'}}", "true None false "),
            ("{default: {type: ws}, a: {bind: ':1', type: tcp}}", "false None false "),
            (
                "{default: {ssl: on, keyfile: k, certfile: c}, a: {bind: ':1', certfile: d}}",
                "false Some(\"d\") false ",
            ),
            (
                "{default: {trusted-proxies: [10.1.0.0/16, '::1']}, a: {bind: ':1', proxy-protocol: on}}",
                "false None true 10.1.0.0/16 ::1/128",
            ),
            (
                "{a: {bind: ':1', type: ws, trusted-proxies: 127.0.0.1}}",
                "true None false 127.0.0.1/32",
            ),
            ("{default: {trusted-proxies: 127.0.0.1}, a: {bind: ':1'}}", "false None false "),
            (
                "{default: {type: ws, trusted-proxies: 127.0.0.1}, a: {bind: ':1', trusted-proxies: []}}",
                "true None false ",
            ),
            ("{a: {bind: ':1', trusted-proxies: []}}", "false None false "),
            (
                "{default: {bind: ':1', trusted-proxies: 127.0.0.1}, a: {bind: ':2', type: ws}}",
                "false None false ",
            ),
        ] {
            let config = load(&format!("{OPEN}listeners: {listeners}\n"));
            assert_eq!(show(&config.listeners[0]), want, "{listeners}");
        }
    }

    #[test]
    fn what_is_odd_about_a_listener_is_warned_of() {
        for (listeners, want) in [
            ("a: {bind: '::1:1884'}", "warning 3: listeners.a.bind: an IPv6 address with a port"),
            ("a: {bind: ':1', type: TCP}", "warning 3: listeners.a.type: read as `tcp`"),
            ("a: {bind: ':1', reader: x}", "warning 3: listeners.a.reader: has no effect"),
            (
                "a: {bind: ':1', certfile: x}",
                "warning 3: listeners.a.certfile: has no effect without",
            ),
            (
                "a: {bind: ':1', keyfile: k, certfile: x}",
                "warning 3: listeners.a.certfile: has no effect without `ssl: on`: the listener `a` is not encrypted, as in amqtt",
            ),
            (
                "a: {bind: ':1', ssl: off, cafile: c}",
                "warning 3: listeners.a.cafile: has no effect with `ssl: off`",
            ),
            (
                "default: {cafile: c}\n  d: {bind: ':1'}",
                "warning 3: listeners.default.cafile: has no effect without `ssl: on`",
            ),
            (
                "a: {bind: ':1', mode: 0600}",
                "warning 3: listeners.a.mode: has no effect: no listen",
            ),
            (
                "a: {bind: ':1', trusted-proxies: 10.0.0.1}",
                "warning 3: listeners.a.trusted-proxies: has no effect without `proxy-protocol: on` or `type: ws`: no proxy could tell the listener `a` where",
            ),
            (
                "default: {bind: ':1', trusted-proxies: 10.0.0.1}\n  a: {bind: ':2'}",
                "warning 3: listeners.default.trusted-proxies: has no effect without",
            ),
            ("a: {bind: ':1', b: x}", "warning 3: listeners.a.b: the key is not known and has no"),
            (
                "a: {bind: ':1', max-conections: 1}",
                "warning 3: listeners.a.max-conections: the key is not known and has no effect; the \
                 nearest known key is `max-connections`",
            ),
            ("a: {bind: ':1'}\n  b: {type: tcp}", "warning 4: listeners.b: not started: it has no"),
            ("a: {bind: ':1'}\n  b: {type: ws}", "warning 4: listeners.b: not started: it has no"),
            ("a: {bind: ':1'}\n  b: {bind: }", "warning 4: listeners.b: not started: it has no"),
        ] {
            assert!(
                assert_problems(&format!("{OPEN}listeners:\n  {listeners}"), &[want]).is_some()
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_listener_is_refused() {
        for (listeners, want) in [
            ("{}", "error 2: listeners: no listener has a `bind`"),
            ("{default: {type: tcp}}", "error 2: listeners: no listener has a `bind`"),
            ("[a]", "error 2: listeners: expected a section, found a list"),
            ("{a: 5}", "error 2: listeners.a: expected a section, found `5`"),
            ("{a: {bind: ':1', type: external}}", "error 2: listeners.a.type: `external` opens no"),
            (
                "{a: {bind: ':1', type: wss}}",
                "error 2: listeners.a.type: expected `tcp` or `ws`, found `wss`; write `type: ws` with `ssl: on`",
            ),
            ("{a: {bind: ':1', type: quic}}", "error 2: listeners.a.type: expected `tcp` or `ws`"),
            ("{a: {bind: ':1', ssl: on}}", "error 2: listeners.a.ssl: TLS needs a certificate"),
            ("{a: {bind: ':1', ssl: 'ON'}}", "error 2: listeners.a.ssl: TLS needs a certificate"),
            ("{a: {bind: ':1', ssl: 1, certfile: x}}", "error 2: listeners.a.ssl: TLS needs a"),
            ("{a: {bind: ':1', ssl: on, keyfile: x}}", "error 2: listeners.a.ssl: TLS needs a"),
            (
                "{a: {bind: ':1', require-certificate: on}}",
                "error 2: listeners.a.require-certificate: the listener `a` has no TLS: no client could show one; write `ssl: on` with `certfile` and `keyfile`",
            ),
            (
                "{a: {bind: ':1', ssl: off, require-certificate: on, cafile: c}}",
                "error 2: listeners.a.require-certificate: the listener `a` has",
            ),
            (
                "{default: {require-certificate: on}, a: {bind: ':1'}}",
                "error 2: listeners.default.require-certificate: the listener `a` has",
            ),
            (
                "{a: {bind: ':1', cafile: c}}",
                "error 2: listeners.a.cafile: the listener `a` has no TLS",
            ),
            (
                "{a: {bind: ':1', certfile: x, keyfile: k, cadata: c}}",
                "error 2: listeners.a.cadata: the listener `a` has no TLS",
            ),
            (
                "{a: {bind: ':1', tls: on}}",
                "error 2: listeners.a.tls: the key is not known here; it may be meant as `ssl`",
            ),
            (
                "{a: {bind: ':1', use_ssl: on}}",
                "error 2: listeners.a.use_ssl: the key is not known here; it may be meant as `ssl`",
            ),
            (
                "{a: {bind: ':1', sll: on}}",
                "error 2: listeners.a.sll: the key is not known here; it may be meant as `ssl`",
            ),
            (
                "{a: {bind: ':1', SSL: on}}",
                "error 2: listeners.a.SSL: the key is not known here; it may be meant as `ssl`",
            ),
            (
                "{a: {bind: ':1', require_cert: on}}",
                "error 2: listeners.a.require_cert: the key is not known here; it may be meant as `require-certificate`",
            ),
            (
                "{a: {bind: unix:/x, Mode: 0600}}",
                "error 2: listeners.a.Mode: the key is not known here; it may be meant as `mode`",
            ),
            (
                "{a: {bind: ':1', proxy-protocol: on}}",
                "error 2: listeners.a.proxy-protocol: nobody may connect: no proxy is trusted",
            ),
            (
                "{a: {bind: ':1', type: ws, trusted-proxies: [::1, 10.0.0.0/40]}}",
                "error 2: listeners.a.trusted-proxies[1]: `10.0.0.0/40`: it is neither an IP",
            ),
            ("{a: {bind: ':1', ssl: 2}}", "error 2: listeners.a.ssl: expected true or false"),
            ("{a: {bind: ':1', ssl: maybe}}", "error 2: listeners.a.ssl: expected true or false"),
            (
                "{a: {bind: ':1', ssl: true / false}}",
                "error 2: listeners.a.ssl: `true / false` is the documentation's placeholder",
            ),
            ("{a: {bind: ':1', sssl: on}}", "error 2: listeners.a.sssl: the key is not known here"),
            ("{a: {bind: ':1', ssl: on, certfile: x}}", "error 2: listeners.a.ssl: TLS needs"),
            ("{a: {bind: ':1', keyfile: [x]}}", "error 2: listeners.a.keyfile: expected the path"),
            ("{default: {ssl: on}, a: {bind: ':1'}}", "error 2: listeners.default.ssl: TLS needs"),
            ("{a: {bind: ':70000'}}", "error 2: listeners.a.bind: `:70000`: the port is not"),
            ("{a: {bind: 1.5}}", "error 2: listeners.a.bind: expected an address, found a decimal"),
            ("{a: {bind: [x]}}", "error 2: listeners.a.bind: expected an address, found a list"),
            ("{a: {bind: ...}}", "error 2: listeners.a.bind: `...` is the documentation's"),
            (
                "{a: {bind: /x}}",
                "error 2: listeners.a.bind: `/x`: a path is written as `unix:PATH`",
            ),
            ("{a: {bind: 'unix:'}}", "error 2: listeners.a.bind: `unix:`: the path of the Unix"),
            ("{a: {bind: unix:/x}, b: {bind: unix:/x}}", "error 2: listeners.b.bind: the listen"),
            ("{a: {bind: unix:/x, mode: 0888}}", "error 2: listeners.a.mode: expected permissio"),
            ("{a: {bind: unix:/x, mode: 01777}}", "error 2: listeners.a.mode: expected permissi"),
            ("{a: {bind: unix:/x, mode: rw}}", "error 2: listeners.a.mode: expected permissions"),
            ("{a: {bind: ':1'}, b: {bind: ':1'}}", "error 2: listeners.b.bind: the listeners `a`"),
            (
                "{a: {bind: ':1', max-connections: 5, max_connections: 6}}",
                "error 2: listeners.a.max_connections: line 2 gives this key another value",
            ),
            (
                "{a: {bind: ':1', max-connections: many}}",
                "error 2: listeners.a.max-connections: expected a whole number from -1 to 4294967295, found `many`; write such a number, 0 for no limit, or remove the key",
            ),
        ] {
            assert_problems(&format!("{OPEN}listeners: {listeners}"), &[want]);
        }
    }
}
