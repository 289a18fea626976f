//! Instants as people write them: ISO 8601 with calendar, ordinal or week dates, with or without a zone.

/// Seconds since 1970 UTC; `None` for what is no instant. Without a zone, UTC is meant.
#[must_use]
pub fn parse_instant(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > 64 || !text.is_ascii() {
        return None;
    }
    let (date, rest) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let days = parse_date(date)?;
    let (time, offset) = split_zone(rest)?;
    let seconds = if time.is_empty() { 0 } else { parse_time(time)? };
    days.checked_mul(86_400)?.checked_add(seconds)?.checked_sub(offset)
}

fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some((time.trim(), 0));
    }
    let Some(at) = text.find(['+', '-']) else { return Some((text, 0)) };
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    let zone = parse_time(&text[at + 1..])?;
    Some((text[..at].trim(), sign * zone))
}

fn parse_time(text: &str) -> Option<i64> {
    let text = text.split('.').next()?;
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize| digits.get(from..from + 2).map_or(Some(0), |text| text.parse().ok());
    let (hours, minutes, seconds): (i64, i64, i64) = (part(0)?, part(2)?, part(4)?);
    (hours <= 24 && minutes < 60 && seconds <= 60).then_some(hours * 3600 + minutes * 60 + seconds)
}

fn parse_date(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split('-').collect();
    let year: i64 = parts.first()?.parse().ok().filter(|year| (0..=9999).contains(year))?;
    match parts.as_slice() {
        [_, week, rest @ ..] if week.starts_with('W') => {
            let week: i64 = week[1..].parse().ok()?;
            let day: i64 = rest.first().map_or(Some(1), |day| day.parse().ok())?;
            let fourth = policy::model::days_from_civil(year, 1, 4);
            let monday = fourth - (fourth + 3).rem_euclid(7);
            Some(monday + (week - 1) * 7 + day - 1)
        }
        [_, ordinal] if ordinal.len() == 3 => {
            let ordinal: i64 = ordinal.parse().ok()?;
            Some(policy::model::days_from_civil(year, 1, 1) + ordinal - 1)
        }
        [_, month] => Some(policy::model::days_from_civil(year, month.parse().ok()?, 1)),
        [_, month, day] => {
            let (month, day): (i64, i64) = (month.parse().ok()?, day.parse().ok()?);
            let valid = (1..=12).contains(&month) && (1..=31).contains(&day);
            valid.then(|| policy::model::days_from_civil(year, month, day))
        }
        [_] => Some(policy::model::days_from_civil(year, 1, 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_instant;

    #[test]
    fn instants_read_in_each_form_that_people_write() {
        for (text, seconds) in [
            ("1970-01-02", 86_400),
            ("1970-002", 86_400),
            ("2019-09-23 18:00:00 -05:00", 1_569_279_600),
            ("2019-09-23T23:00:00Z", 1_569_279_600),
            ("2009-W53-7", 1_262_476_800),
        ] {
            assert_eq!(parse_instant(text), Some(seconds), "{text}");
        }
        for text in ["", "x", "2019-13-01", "2019-09-23 99:00", "é"] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
