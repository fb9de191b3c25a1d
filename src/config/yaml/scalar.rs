//! What a plain word stands for: the rules of YAML 1.1, as PyYAML applies them.
//!
//! `on` is true, `017` is 15, `12:30` is 750; quoted text never comes here. Trees are built in
//! `load.rs`.

use super::Value;

/// What a plain word stands for.
pub(in crate::config) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        _ if is_date(text) => Value::Foreign("a date"),
        _ if is_float(text) => Value::Foreign("a decimal number"),
        _ => resolve_int(text),
    }
}

/// An integer, or else a text.
fn resolve_int(text: &str) -> Value {
    let (is_negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    match magnitude(digits) {
        None => Value::Text,
        Some(None) => Value::Foreign("a number that is too large"),
        Some(Some(number)) => Value::Int(if is_negative { -number } else { number }),
    }
}

/// The number that digits without a sign stand for: none if they are not a number, none
/// within if it does not fit.
fn magnitude(digits: &str) -> Option<Option<i64>> {
    if let Some(binary) = digits.strip_prefix("0b") {
        return number(binary, 2);
    }
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return number(hexadecimal, 16);
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return number(digits, 8);
    }
    let (first, rest) = digits.split_once(':').map_or((digits, None), |(a, b)| (a, Some(b)));
    if !first.starts_with(|c: char| c.is_ascii_digit()) || (first == "0" && rest.is_some()) {
        return None;
    }
    let mut total = number(first, 10)?;
    for part in rest.into_iter().flat_map(|rest| rest.split(':')) {
        let sixtieths = sexagesimal_part(part)?;
        total = total.and_then(|total| total.checked_mul(60)?.checked_add(sixtieths));
    }
    Some(total)
}

/// 0 to 59, in one or two digits.
fn sexagesimal_part(part: &str) -> Option<i64> {
    let is_short = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    part.parse().ok().filter(|number| is_short && (0..60).contains(number))
}

/// Digits of a base, with underscores between or after them.
fn number(digits: &str, base: u32) -> Option<Option<i64>> {
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    let is_number = !plain.is_empty() && plain.chars().all(|c| c.is_digit(base));
    is_number.then(|| i64::from_str_radix(&plain, base).ok())
}

/// `1.5`, `1.`, `.5`, `1.5e+3`, `12:30.5`, `.inf`, `.nan`. An exponent needs a dot and a sign.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = unsigned.split_once('.') else { return false };
    let (fraction, exponent) =
        rest.split_once(['e', 'E']).map_or((rest, None), |(a, b)| (a, Some(b)));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let starts_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let has_number = match whole.split_once(':') {
        _ if whole.is_empty() => unsigned == text && starts_with_digit(fraction),
        None => starts_with_digit(whole) && are_digits(whole),
        Some((first, rest)) => {
            starts_with_digit(first)
                && are_digits(first)
                && exponent.is_none()
                && rest.split(':').all(|part| sexagesimal_part(part).is_some())
        }
    };
    let is_exponent = |text: &str| {
        text.strip_prefix(['-', '+']).is_some_and(|e| starts_with_digit(e) && !e.contains('_'))
            && are_digits(&text[1..])
    };
    has_number && are_digits(fraction) && exponent.is_none_or(is_exponent)
}

/// `2026-01-31`, with or without a time after it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (day, time) =
        rest.split_once(['T', 't', ' ', '\t']).map_or((rest, None), |(a, b)| (a, Some(b)));
    year.len() == 4
        && [month, day].iter().all(|part| part.len() <= 2)
        && [year, month, day].iter().all(|part| are_digits(part))
        && time.is_none_or(|time| time.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_mean_to_pyyaml() {
        let text = Value::Text;
        let int = Value::Int;
        let cases: &[(&str, Value)] = &[
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("Null", Value::Null),
            ("nULL", text),
            ("yes", Value::Bool(true)),
            ("On", Value::Bool(true)),
            ("TRUE", Value::Bool(true)),
            ("off", Value::Bool(false)),
            ("NO", Value::Bool(false)),
            ("y", text),
            ("n", text),
            ("oN", text),
            ("true / false", text),
            ("...", text),
            ("0", int(0)),
            ("-0", int(0)),
            ("+12", int(12)),
            ("-1", int(-1)),
            ("1_000", int(1000)),
            ("_1", text),
            ("0x10", int(16)),
            ("0xFf", int(255)),
            ("0x", text),
            ("0xg", text),
            ("0b101", int(5)),
            ("017", int(15)),
            ("0_7", int(7)),
            ("08", text),
            ("0o17", text),
            ("12:30", int(750)),
            ("1:1:1", int(3661)),
            ("-12:30", int(-750)),
            ("12:60", text),
            ("0:30", text),
            ("12:", text),
            ("127.0.0.1:1883", text),
            ("localhost:1883", text),
            ("9223372036854775807", int(i64::MAX)),
            ("9223372036854775808", Value::Foreign("a number that is too large")),
            ("1e3", text),
            ("ä", text),
            ("+", text),
            ("-", text),
        ];
        for (word, want) in cases {
            assert_eq!(resolve(word), *want, "{word:?}");
        }
    }

    #[test]
    fn decimal_numbers_and_dates_are_no_text() {
        let text = Value::Text;
        let float = Value::Foreign("a decimal number");
        let date = Value::Foreign("a date");
        let cases: &[(&str, Value)] = &[
            ("1.5", float),
            ("1.", float),
            (".5", float),
            ("-.5", text),
            ("1.5e3", text),
            ("1.5e+3", float),
            ("12:30.5", float),
            (".inf", float),
            ("-.INF", float),
            (".nan", float),
            (".", text),
            ("127.0.0.1", text),
            ("1.2.3", text),
            ("2026-01-31", date),
            ("2026-1-1 10:00:00", date),
            ("2026-01-31T10:00:00Z", date),
            ("2026-01", text),
            ("2026-01-31-a", text),
            ("10.0.0-1", text),
        ];
        for (word, want) in cases {
            assert_eq!(resolve(word), *want, "{word:?}");
        }
    }
}
