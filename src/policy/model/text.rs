//! Numbers, durations and truth values as people write them in options.

use super::INFINITY;

/// `true`, `on`, `yes`, `y`, `1` and their opposites, without regard to case.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "on", "yes", "y", "1"]) {
        Some(true)
    } else if is(&["false", "off", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// A score: a whole number, `INFINITY` with or without sign; saturated at the infinities.
#[must_use]
pub fn parse_score(text: &str) -> Option<i32> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.eq_ignore_ascii_case("infinity") {
        return Some(sign * INFINITY);
    }
    match digits {
        "red" => return Some(-INFINITY),
        "yellow" | "green" => return Some(0),
        _ => {}
    }
    // people write "100.0" and "5min"; the leading digits count
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let leading = &digits[..end];
    if leading.is_empty() {
        return None;
    }
    let value = leading.parse().unwrap_or(i64::MAX).min(i64::from(INFINITY));
    i32::try_from(value).ok().map(|value| sign * value)
}

/// A duration: `10`, `10s`, `500ms`, `2min`, `1h`, or ISO 8601 (`PT10S`). A bare number is seconds.
#[must_use]
pub fn parse_interval_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('P') {
        return parse_iso_duration_ms(rest);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let factor = match text[end..].trim() {
        "" | "s" | "sec" => 1000,
        "ms" | "msec" => 1,
        "us" | "usec" => return Some(number / 1000),
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn parse_iso_duration_ms(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut number: Option<u64> = None;
    let mut time = false;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        if c == 'T' {
            time = true;
            continue;
        }
        let seconds = match (c, time) {
            ('S', _) => 1,
            ('M', true) => 60,
            ('H', _) => 3600,
            ('D', _) => 86_400,
            ('W', _) => 7 * 86_400,
            ('M', false) => 30 * 86_400,
            ('Y', _) => 365 * 86_400,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(seconds * 1000)?)?;
    }
    number.is_none().then_some(total)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
#[must_use]
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (month + 9).rem_euclid(12);
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
#[must_use]
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_in_each_form_that_people_write() {
        for (text, ms) in [
            ("10", 10_000),
            ("500ms", 500),
            ("2min", 120_000),
            ("PT1M5S", 65_000),
            ("P10S", 10_000),
        ] {
            assert_eq!(parse_interval_ms(text), Some(ms), "{text}");
        }
        assert_eq!(parse_interval_ms("soon"), None);
    }

    #[test]
    fn scores_saturate_and_take_signs() {
        for (text, score) in
            [("-INFINITY", -INFINITY), ("+5", 5), ("9999999999", INFINITY), ("-7", -7)]
        {
            assert_eq!(parse_score(text), Some(score), "{text}");
        }
        assert_eq!(parse_score("much"), None);
    }

    #[test]
    fn calendar_days_go_back_and_forth() {
        for days in [-719_468, -1, 0, 59, 11_016, 18_321, 2_932_896] {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
    }
}
