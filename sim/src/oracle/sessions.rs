//! Which connections belong to the same session, and when sessions begin and end (MQTT 5.0,
//! section 4.1).
//!
//! A session is what CONNACKs say it is (those of 3.1 say nothing: there it is what it must be):
//! whether they say the truth is checked by `session_present.rs`. A CONNECT whose answer nobody saw may have done anything: what it
//! leaves behind is a doubt.

use super::facts::{Facts, NEVER, Ordinal, SLACK_MS, Span, Wish};

/// A client id, as a number: clients with the same one share it, a connection without one has
/// its own.
pub(super) type Identity = usize;

/// For ever, in seconds.
pub(super) const FOR_EVER: u32 = u32::MAX;

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) identity: Identity,
    /// Which of the broker's memories has it.
    pub(super) memory: usize,
    /// Its connections, in order.
    pub(super) connections: Vec<usize>,
    /// When its first CONNECT took effect.
    pub(super) begun: Span,
    /// When it ended: not before `from`, and surely at `to`.
    pub(super) ended: Span,
    /// CONNECTs that may have put another session in its place.
    pub(super) doubts: Vec<Span>,
    /// From when it may have been over, though one like it was there later.
    pub(super) may_be_over: Ordinal,
    /// Between two of its connections: it may have been over then, if a crash undid that.
    pub(super) gaps: Vec<Span>,
    /// Its client acknowledged packet ids by guess: it may have acknowledged what it never saw.
    pub(super) has_guessed: bool,
}

/// The connections of one client id to one memory of the broker's, by the order in which they took effect.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    pub(super) identity: Identity,
    pub(super) memory: usize,
    /// Those that are not known to be refused.
    pub(super) connections: Vec<usize>,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) all: Vec<Session>,
    pub(super) attempts: Vec<Attempts>,
    /// By connection: its session.
    pub(super) of: Vec<Option<usize>>,
    /// By connection.
    pub(super) identities: Vec<Identity>,
}

impl Session {
    /// Whether it may have been over then, and a crash undid its end.
    pub(super) fn may_be_over_during(&self, during: Span) -> bool {
        self.gaps.iter().any(|gap| gap.from <= during.to && during.from <= gap.to)
    }
}

impl Sessions {
    pub(super) fn of(facts: &Facts<'_>) -> Sessions {
        let connections = 0..facts.connections.len();
        let mut sessions = Sessions {
            all: Vec::with_capacity(facts.connections.len()),
            attempts: Vec::new(),
            of: vec![None; facts.connections.len()],
            identities: connections.map(|connection| identity(facts, connection)).collect(),
        };
        sessions.find_attempts(facts);
        for place in 0..sessions.attempts.len() {
            sessions.find_sessions(facts, place);
        }
        sessions
    }

    /// Whether a session may have had a connection that nobody saw let in between two events.
    pub(super) fn has_unseen(
        &self,
        facts: &Facts<'_>,
        session: usize,
        from: Ordinal,
        to: Ordinal,
    ) -> bool {
        let known = &self.all[session];
        self.attempts
            .iter()
            .filter(|attempts| {
                (attempts.identity, attempts.memory) == (known.identity, known.memory)
            })
            .flat_map(|attempts| &attempts.connections)
            .filter(|&&on| self.of[on] != Some(session))
            .filter_map(|&on| facts.connections[on].entry)
            .any(|entry| entry.to >= from && entry.from <= to)
    }

    fn find_attempts(&mut self, facts: &Facts<'_>) {
        let mut all: Vec<(Identity, usize, Ordinal, usize)> = Vec::new();
        for (place, connection) in facts.connections.iter().enumerate() {
            let is_refused = connection.answer.is_some_and(|answer| answer.reason != 0);
            if let (Some(entry), Some(life), false) =
                (connection.entry, connection.life, is_refused)
            {
                all.push((self.identities[place], facts.memory(life), entry.from, place));
            }
        }
        all.sort_unstable();
        for same in all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            self.attempts.push(Attempts {
                identity: same[0].0,
                memory: same[0].1,
                connections: same.iter().map(|(_, _, _, place)| *place).collect(),
            });
        }
    }

    fn find_sessions(&mut self, facts: &Facts<'_>, place: usize) {
        let Attempts { identity, memory, ref connections } = self.attempts[place];
        let connections = connections.clone();
        let mut current: Option<usize> = None;
        let mut doubts: Vec<Span> = Vec::new();
        // The first CONNECT without an answer since the last one with one.
        let mut unseen = NEVER;
        for (index, &on) in connections.iter().enumerate() {
            let connection = &facts.connections[on];
            let (Some(entry), Some(connect)) = (connection.entry, connection.connect) else {
                continue;
            };
            let is_tangled = index > 0 && overlaps(facts, connections[index - 1], on);
            let last = current.and_then(|at| self.all[at].connections.last().copied());
            let found = self.found(facts, &connections, index, &mut doubts);
            let Some(is_present) = found else {
                // Those before it that nobody saw answered may have been turned away.
                let over = first_over(facts, &connections[..index], last);
                let may_be_over = index == 0 || over <= entry.to;
                let may_be_undone = !facts.is_settled(entry.to);
                if connect.clean_start || is_tangled || may_be_over || may_be_undone {
                    doubts.push(Span { is_sure: false, ..entry });
                }
                if !connect.clean_start {
                    unseen = unseen.min(entry.from);
                }
                continue;
            };
            if is_tangled {
                doubts.push(Span { is_sure: false, ..entry });
            }
            // If that of before cannot have lasted, it is one that began without an answer.
            let since = connections[..=index].iter().skip_while(|&&on| last != Some(on));
            let may_be_current = is_present && may_last(facts, since.copied());
            let session = match current.filter(|_| may_be_current) {
                Some(session) => session,
                None => {
                    self.all.push(Session {
                        identity,
                        memory,
                        connections: Vec::new(),
                        begun: entry,
                        ended: Span { from: NEVER, to: NEVER, is_sure: false },
                        doubts: Vec::new(),
                        may_be_over: NEVER,
                        gaps: Vec::new(),
                        has_guessed: false,
                    });
                    self.all.len() - 1
                }
            };
            if current.is_some_and(|current| current != session) {
                self.end(facts, current, Some(entry), unseen, &mut doubts);
            }
            unseen = NEVER;
            if current == Some(session) && !doubts.is_empty() {
                let first = first_over(facts, &connections[..index], last);
                let known = &mut self.all[session].may_be_over;
                *known = (*known).min(first);
            }
            let last = last.filter(|_| current == Some(session));
            self.all[session].gaps.extend(last.and_then(|last| gap(facts, last, entry)));
            self.all[session].doubts.append(&mut doubts);
            self.all[session].connections.push(on);
            self.all[session].has_guessed |= connection.has_guessed();
            self.of[on] = Some(session);
            current = Some(session);
        }
        self.end(facts, current, None, unseen, &mut doubts);
    }

    /// Whether the CONNECT at `index` found a session: none, if it may not have been let in.
    fn found(
        &self,
        facts: &Facts<'_>,
        attempts: &[usize],
        index: usize,
        doubts: &mut Vec<Span>,
    ) -> Option<bool> {
        let connection = &facts.connections[attempts[index]];
        if let Some(told) = connection.answer.and_then(|answer| answer.session_present) {
            return Some(told);
        }
        let (connect, entry) = (connection.connect?, connection.entry?);
        // What a crash may have undone may not have been.
        let is_known = connection.answer.is_some() || facts.is_settled(entry.to);
        let is_let_in = connection.is_let_in && is_known;
        if connect.clean_start {
            return is_let_in.then_some(false);
        }
        let was = was(facts, attempts, index);
        if connection.answer.is_some() {
            if was == Was::Unknown {
                doubts.push(Span { is_sure: false, ..entry });
            }
            return Some(was != Was::Gone);
        }
        match was {
            _ if !is_let_in => None,
            Was::There(_) => Some(true),
            Was::Gone => Some(false),
            Was::Unknown => None,
        }
    }

    /// When a session ended: replaced by that CONNECT, if any. A CONNECT that nobody saw answered
    /// may have given it another expiry.
    fn end(
        &mut self,
        facts: &Facts<'_>,
        session: Option<usize>,
        replaced: Option<Span>,
        unseen: Ordinal,
        doubts: &mut Vec<Span>,
    ) {
        let Some(session) = session.map(|at| &mut self.all[at]) else { return };
        let Some(&last) = session.connections.last() else { return };
        let memory_to = facts.memory_to(session.memory);
        let (least, most) = expiry_s(facts, last);
        let end = facts.connections[last].end;
        let end_last = facts.done_last(end.to);
        let mut from = memory_to.min(after(facts, end.from, least)).min(unseen);
        let mut to = memory_to;
        if most != FOR_EVER && unseen == NEVER && end_last != NEVER {
            let gone_ms = may_last_ms(facts, end_last, most).saturating_add(SLACK_MS);
            to = to.min(facts.first_at(gone_ms));
        }
        if let Some(replaced) = replaced {
            from = from.min(replaced.from);
            to = to.min(replaced.to);
        }
        from = doubts.iter().fold(from, |from, doubt| from.min(doubt.from));
        session.ended = Span { from: from.min(to), to, is_sure: to != NEVER };
        session.doubts.append(doubts);
    }
}

/// From when the session that had the connection `last` may have been over: since that, or since
/// one of those behind it that may have had it too.
fn first_over(facts: &Facts<'_>, attempts: &[usize], last: Option<usize>) -> Ordinal {
    let from = attempts.iter().position(|&on| last == Some(on)).unwrap_or(0);
    attempts[from..].iter().map(|&on| over_from(facts, on)).min().unwrap_or(NEVER)
}

/// From when the session of a connection may have been over.
fn over_from(facts: &Facts<'_>, on: usize) -> Ordinal {
    after(facts, facts.connections[on].end.from, expiry_s(facts, on).0)
}

/// When a session may have been over that goes on with this CONNECT.
fn gap(facts: &Facts<'_>, last: usize, entry: Span) -> Option<Span> {
    let from = over_from(facts, last);
    (from <= entry.to).then_some(Span { from, ..entry })
}

/// The first event so many seconds after the earliest end of a connection.
fn after(facts: &Facts<'_>, end: Ordinal, secs: u32) -> Ordinal {
    match secs {
        FOR_EVER => NEVER,
        0 => end,
        secs => facts.not_before(facts.ms(end).saturating_add(u64::from(secs) * 1_000)),
    }
}

fn identity(facts: &Facts<'_>, connection: usize) -> Identity {
    let clients = &facts.scenario.clients;
    let client = facts.connections[connection].client;
    if clients[client].client_id.is_empty() {
        return clients.len() + connection;
    }
    facts.names[client]
}

/// Whether nobody knows which of the two came first.
fn overlaps(facts: &Facts<'_>, one: usize, other: usize) -> bool {
    match (facts.connections[one].entry, facts.connections[other].entry) {
        (Some(one), Some(other)) => one.to >= other.from,
        _ => false,
    }
}

/// Seconds that the session of a connection outlives it: at least, and at most.
pub(super) fn expiry_s(facts: &Facts<'_>, connection: usize) -> (u32, u32) {
    let broker = &facts.scenario.broker;
    let max = broker.session_expiry_max_s.unwrap_or(FOR_EVER);
    let Some(connect) = facts.connections[connection].connect else { return (0, FOR_EVER) };
    let asked = match (facts.is_v5(connection), connect.clean_start) {
        (true, _) => connect.expiry_s.unwrap_or(0),
        (false, true) => 0,
        (false, false) => broker.session_expiry_s.unwrap_or(FOR_EVER),
    };
    let asked = asked.min(max);
    let mut bounds = (asked, asked);
    for request in &facts.connections[connection].requests {
        if let Wish::Disconnect { expiry_s: Some(other), .. } = request.wish
            && connect.expiry_s.unwrap_or(0) != 0
        {
            let other = other.min(max);
            let end = facts.connections[connection].end;
            match request.arrived {
                Some(at) if facts.has_arrivals && at <= end.from && facts.done_last(at) == at => {
                    bounds = (other, other);
                }
                None if facts.is_exact => {}
                _ => bounds = (bounds.0.min(other), bounds.1.max(other)),
            }
        }
    }
    bounds
}

/// Whether there was a session, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    There(Ordinal),
    Gone,
    Unknown,
}

/// Whether the CONNECT at `place` must have found a session.
pub(super) fn was(facts: &Facts<'_>, attempts: &[usize], place: usize) -> Was {
    let on = attempts[place];
    let Some(entry) = facts.connections[on].entry else { return Was::Unknown };
    let mut is_gone = true;
    for (back, &earlier) in attempts[..place].iter().rev().enumerate() {
        let connection = &facts.connections[earlier];
        let Some(before) = connection.entry else { return Was::Unknown };
        if before.to >= entry.from {
            return Was::Unknown;
        }
        let least = expiry_s(facts, earlier).0;
        let surely = lasts_ms(facts, connection.end.from, least);
        if connection.is_let_in && back == 0 && least > 0 && surely > facts.ms(entry.to) {
            return Was::There(connection.answer.map_or(before.from, |answer| answer.at));
        }
        is_gone &= !may_last_until(facts, earlier, entry);
        if connection.is_let_in {
            break;
        }
    }
    if is_gone { Was::Gone } else { Was::Unknown }
}

/// Whether the session of the first of these connections may have lasted to the last one: those
/// between had no answer, and may have prolonged it or done nothing, if they were let in at all.
fn may_last(facts: &Facts<'_>, connections: impl Iterator<Item = usize>) -> bool {
    let mut until_ms = None;
    let mut connections = connections.peekable();
    while let Some(on) = connections.next() {
        let connection = &facts.connections[on];
        let from_ms = connection.entry.map_or(0, |entry| facts.ms(entry.from));
        let is_reached = until_ms.is_some_and(|until: u64| until > from_ms);
        if until_ms.is_some() && connections.peek().is_none() {
            return is_reached;
        }
        let most = expiry_s(facts, on).1;
        let is_clean = connection.connect.is_none_or(|connect| connect.clean_start);
        if until_ms.is_some() && connection.is_let_in && (is_clean || most == 0) {
            return false; // it was over with this one, if not before
        }
        if most != 0 && (until_ms.is_none() || (is_reached && !is_clean)) {
            let lasts = may_last_ms(facts, facts.done_last(connection.end.to), most)
                .saturating_add(SLACK_MS);
            until_ms = Some(until_ms.map_or(lasts, |until| until.max(lasts)));
        } else if until_ms.is_none() {
            return false;
        }
    }
    false
}

/// Whether the session of an earlier connection may still be there.
fn may_last_until(facts: &Facts<'_>, earlier: usize, entry: Span) -> bool {
    let most = expiry_s(facts, earlier).1;
    let perhaps = may_last_ms(facts, facts.done_last(facts.connections[earlier].end.to), most);
    most != 0 && perhaps.saturating_add(SLACK_MS) > facts.ms(entry.from)
}

/// Until when a session lives at least whose connection ended then.
fn lasts_ms(facts: &Facts<'_>, end: Ordinal, secs: u32) -> u64 {
    added_up(end, secs, facts.ms(end))
}

/// And at most, but for the time that it takes to end it.
fn may_last_ms(facts: &Facts<'_>, end: Ordinal, secs: u32) -> u64 {
    added_up(end, secs, facts.counts_from_ms(end))
}

/// That many seconds behind `from_ms`, for which a session lives that lost its connection `end`.
fn added_up(end: Ordinal, secs: u32, from_ms: u64) -> u64 {
    match (end, secs) {
        (_, FOR_EVER) => u64::MAX,
        (NEVER, 0) => 0,
        (NEVER, _) => u64::MAX,
        (_, secs) => from_ms + u64::from(secs) * 1_000,
    }
}
