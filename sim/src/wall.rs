//! When the wall clock of the broker's machine is set, as data.
//!
//! A broker that runs sees it within a second, and has to have it in its log: one that ends before
//! that knows no better than the wall clock does how long it was down, and neither does one whose
//! clock is set while it is down. What it makes of that is no fault of its if time seems to have
//! gone by, so the clock is never set forward at such times. If it was set back, the log says that
//! it is later: nothing may be kept for longer than from when the broker started.

use std::ops::Range;

use crate::dice::Dice;
use crate::scenario::{AMID_MS, Action, Connect, Fault, FaultKind, Op, Scenario};
use crate::survival::RETRY_MAX_MS;
use crate::survival::add_newcomer;

/// Milliseconds until it is seen and on a disk that works.
const SEEN_MS: u64 = 3_000;
/// Milliseconds from when the broker should be there again until it surely is.
const BACK_MS: u64 = 1_000;
/// Milliseconds that a broker that was told to stop may take for that.
const STOPPING_MS: u64 = 8_000;
/// Milliseconds that the clock is away from the time, at most: 50 years. A run begins in 2023.
const AWAY_MS_MAX: u64 = 50 * YEAR_MS;
const YEAR_MS: u64 = 31_557_600_000;
/// Milliseconds that the broker is down, at most, when it dies of that.
const DOWN_MS_MAX: u64 = 2_000;
/// Milliseconds that it is, at least, when the clock is set meanwhile.
const SET_MEANWHILE_MS: u64 = 300;
/// Seconds of a session that is to end soon after such a broker is back.
const SHORT_S: u32 = 4;
/// Milliseconds before that a witness comes.
const WITNESS_MS: u64 = 5_000;
/// Milliseconds before its end that the broker had something to record for the last time.
const LEFT_MS: u64 = 1_500;
/// Milliseconds until such a session has surely ended.
const SOON_MS: u64 = 2_500;
/// Milliseconds that a run may go on for it.
const QUIET_MS: u64 = 20_000;
/// So often times are drawn until they are good ones.
const TRIES: usize = 30;

/// In about one of five plans with a store it is set, once or twice. Drawn by itself, so that
/// nothing else depends on it, and made to fit what else goes wrong.
pub(crate) fn drawn(seed: u64, faults: &[Fault], safety_ms: u64) -> Vec<Fault> {
    let mut dice = Dice::new(seed, "wall clock", 0);
    if !dice.chance(220) {
        return Vec::new();
    }
    let mut faults = faults.to_vec();
    faults.sort_by_key(|fault| fault.at_ms);
    let tries = std::iter::repeat_with(|| some(&mut dice, &faults, safety_ms)).take(TRIES);
    let mut good = tries.filter(|drawn| {
        let all = [&faults[..], drawn].concat();
        let mut sets = all.iter().filter(|fault| is_set(fault));
        sets.all(|set| is_seen(set.at_ms, &all) || down_meanwhile(set, &all).is_some())
    });
    good.next().unwrap_or_default()
}

/// Milliseconds that a run goes on behind these, so that a broker that dies of the last one is
/// back before all goes well, and what must end soon after has ended.
pub(crate) fn aftermath_ms(drawn: &[Fault]) -> u64 {
    match drawn.last() {
        None => 0,
        Some(last) if is_set(last) => DOWN_MS_MAX + BACK_MS + SOON_MS,
        Some(_) => DOWN_MS_MAX + BACK_MS,
    }
}

/// Somebody who leaves a session behind before the clock is set. Most sessions of others are short,
/// or do not end: this one is an hour's, and is taken up again when all is over. If the clock is set
/// while the broker is down, it is a short one, and must have ended soon after that is back: that
/// so much of its time had gone by before, the log knows of who left later.
pub(crate) fn add_witness(scenario: &mut Scenario) {
    let Some(&set) = scenario.faults.iter().find(|fault| is_set(fault)) else { return };
    let down = down_meanwhile(&set, &scenario.faults);
    let at_ms = down.as_ref().map_or(set.at_ms, |down| down.start);
    let expiry_s = if down.is_some() { SHORT_S } else { 3_600 };
    let (client, connect) = add_newcomer(scenario, "witness");
    let connect = Connect { expiry_s: Some(expiry_s), ..connect };
    let leave = Action::Disconnect { reason: 0, expiry_s: None };
    let mut acts = vec![
        (WITNESS_MS, client, Action::Connect(connect.clone())),
        (4_000, client, leave.clone()),
    ];
    if let Some(down) = down {
        let (later, _) = add_newcomer(scenario, "later");
        acts.push((WITNESS_MS, later, Action::Connect(connect.clone())));
        acts.push((LEFT_MS, later, leave));
        let at_ms = down.end + SOON_MS;
        let connect = Connect { clean_start: false, ..connect };
        scenario.ops.push(Op { at_ms, client, action: Action::Connect(connect) });
    }
    for (before_ms, client, action) in acts {
        scenario.ops.push(Op { at_ms: at_ms.saturating_sub(before_ms), client, action });
    }
    scenario.ops.sort_by_key(|op| op.at_ms);
}

fn some(dice: &mut Dice, others: &[Fault], safety_ms: u64) -> Vec<Fault> {
    // Behind all that people do there is always a quiet time for it.
    let until_ms = safety_ms + dice.one_of(&[0, QUIET_MS]);
    let (mut at_ms, mut away_ms) = (dice.below(until_ms), 0);
    if dice.chance(300) {
        return meanwhile(dice, at_ms + WITNESS_MS).to_vec();
    }
    let mut faults = Vec::new();
    for _ in 0..dice.one_of(&[1, 1, 2]) {
        let by_ms = some_way(dice, away_ms);
        away_ms += by_ms;
        faults.push(Fault { at_ms, kind: FaultKind::SetClock { by_ms } });
        at_ms += SEEN_MS + dice.below(3_000);
    }
    // What it comes to is only seen when the broker has to go by its log.
    if dice.chance(700) {
        let sets = faults.iter().map(|set: &Fault| kept_by(set.at_ms, others) + 1);
        at_ms = sets.fold(at_ms, u64::max);
        if dice.chance(500) {
            faults.push(Fault { at_ms, kind: FaultKind::Rewrite });
            at_ms += SEEN_MS;
        }
        let (down_ms, kept) = (dice.one_of(&[10, 300, DOWN_MS_MAX]), dice.below(1_001) as u16);
        faults.push(Fault { at_ms, kind: FaultKind::Crash { down_ms, kept } });
    }
    faults
}

/// The broker dies, and it is set back before another one starts.
fn meanwhile(dice: &mut Dice, at_ms: u64) -> [Fault; 2] {
    let (down_ms, kept) = (dice.between(SET_MEANWHILE_MS, DOWN_MS_MAX), dice.below(1_001) as u16);
    let set = FaultKind::SetClock { by_ms: -far(dice) };
    [
        Fault { at_ms, kind: FaultKind::Crash { down_ms, kept } },
        Fault { at_ms: at_ms + down_ms / 2, kind: set },
    ]
}

/// How far it is set, from where it is so far away from the time.
fn some_way(dice: &mut Dice, away_ms: i64) -> i64 {
    let way = far(dice);
    let is_back = match away_ms {
        0 => dice.chance(500),
        away_ms => away_ms > 0, // some come back
    };
    if is_back { -way } else { way }
}

fn far(dice: &mut Dice) -> i64 {
    let most = dice.one_of(&[60_000, 86_400_000, YEAR_MS, AWAY_MS_MAX]);
    dice.between(SEEN_MS, most).cast_signed()
}

fn is_set(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::SetClock { .. })
}

/// Whether a broker that runs surely sees that the clock is set then, and keeps it.
fn is_seen(at_ms: u64, faults: &[Fault]) -> bool {
    let kept_ms = kept_by(at_ms, faults);
    faults
        .iter()
        .all(|fault| back_ms(fault).is_none_or(|back_ms| back_ms < at_ms) || fault.at_ms > kept_ms)
}

/// For how long the broker surely is down while it is set back, with nothing else to bring it back.
fn down_meanwhile(set: &Fault, faults: &[Fault]) -> Option<Range<u64>> {
    let is_back = matches!(set.kind, FaultKind::SetClock { by_ms } if by_ms < 0);
    faults.iter().filter(|_| is_back).find_map(|crash| {
        let FaultKind::Crash { down_ms, .. } = crash.kind else { return None };
        let down = crash.at_ms..crash.at_ms + down_ms;
        let is_away = |other: &Fault| {
            back_ms(other).is_none_or(|back_ms| back_ms < down.start || other.at_ms > down.end)
        };
        let is_alone = faults.iter().filter(|other| *other != crash).all(is_away);
        (is_alone && down.contains(&set.at_ms)).then_some(down)
    })
}

/// When a broker is surely back that ends of this, if one does.
fn back_ms(end: &Fault) -> Option<u64> {
    let down_ms = match end.kind {
        FaultKind::Crash { down_ms, .. } => down_ms,
        FaultKind::CrashAmid { down_ms, .. } => AMID_MS + down_ms,
        FaultKind::Stop { down_ms } => down_ms.max(STOPPING_MS),
        _ => return None,
    };
    Some(end.at_ms + down_ms + BACK_MS)
}

/// When it is on the disk, whatever is wrong with that. Faults come in their order.
fn kept_by(at_ms: u64, faults: &[Fault]) -> u64 {
    let mut kept_ms = at_ms + SEEN_MS;
    for fault in faults {
        if let FaultKind::Disk { for_ms, .. } = fault.kind {
            let works_ms = fault.at_ms + for_ms + RETRY_MAX_MS + SEEN_MS;
            if fault.at_ms <= kept_ms && works_ms >= at_ms {
                kept_ms = kept_ms.max(works_ms);
            }
        }
    }
    kept_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survival::Trouble;

    #[test]
    fn a_clock_is_only_set_where_a_broker_sees_it_and_lives_to_keep_it() {
        let end = |at_ms, kind| Fault { at_ms, kind };
        let crash = |at_ms| end(at_ms, FaultKind::Crash { down_ms: 500, kept: 0 });
        let stop = |at_ms| end(at_ms, FaultKind::Stop { down_ms: 500 });
        let trouble = Trouble::Failing;
        let fails = |at_ms| end(at_ms, FaultKind::Disk { trouble, for_ms: 100 });
        for (faults, want) in [
            (vec![], true),
            (vec![crash(20_000 - 1_501)], true),
            (vec![crash(20_000 - 1_500)], false),
            (vec![crash(20_000)], false),
            (vec![crash(23_000)], false),
            (vec![crash(23_001)], true),
            (vec![stop(20_000 - 9_000)], false),
            (vec![stop(20_000 - 9_001)], true),
            (vec![fails(19_000), crash(40_000)], false),
            (vec![fails(19_000), crash(52_101)], true),
        ] {
            assert_eq!(is_seen(20_000, &faults), want, "{faults:?}");
        }
    }

    #[test]
    fn some_plans_have_a_clock_that_is_set_both_ways_and_never_out_of_bounds() {
        let sets = (0..1_000).flat_map(|seed| {
            let sets = drawn(seed, &[], 10_000).into_iter().filter(is_set);
            let ways = sets.map(|fault| match fault.kind {
                FaultKind::SetClock { by_ms } => by_ms,
                _ => 0,
            });
            ways.scan(0, |away_ms, by_ms| {
                *away_ms += by_ms;
                Some((by_ms, *away_ms))
            })
            .collect::<Vec<_>>()
        });
        let sets: Vec<(i64, i64)> = sets.collect();
        assert!((200..500).contains(&sets.len()), "{}", sets.len());
        assert!(sets.iter().any(|(by_ms, _)| *by_ms < -(YEAR_MS as i64)));
        assert!(sets.iter().any(|(by_ms, _)| *by_ms > YEAR_MS as i64));
        let is_within = |(_, away_ms): &(i64, i64)| away_ms.unsigned_abs() <= AWAY_MS_MAX;
        assert!(sets.iter().all(is_within));
    }
}
