//! Numbers as people read them.

use jiff::{Span, Zoned};

/// `8278` as `8,278`.
#[must_use]
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 image`, `1,055 images`.
#[must_use]
pub fn count(n: u64, one: &str) -> String {
    format!("{} {one}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// What an error says, as a sentence: its first letter large, a full stop at its end.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let stop = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{first}{}{stop}", letters.as_str())
}

/// `81 MB`, `1.9 GB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    match n as f64 / 1e9 {
        gb if gb < 0.1 => format!("{:.0} MB", gb * 1000.0),
        gb => format!("{gb:.1} GB"),
    }
}

/// A duration in the two units that matter: `42 s`, `4 min`, `1 h 32 min`. Negative and unknown read `0 s`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a saturating cast is what a length of time for people needs"
    )]
    let seconds = seconds.round().max(0.0) as u64;
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=3569 => format!("{} min", (seconds + 30) / 60),
        _ => {
            let minutes = (seconds + 30) / 60;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// The time of day `seconds` after `now`, with the day where it is not today: `14:52`, `tomorrow 03:10`,
/// `Thu 03:10`.
#[must_use]
pub fn clock_after(now: &Zoned, seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a saturating cast; half a year is more than any training takes"
    )]
    let whole = seconds.clamp(0.0, 180.0 * 86_400.0) as i64;
    let then = now.saturating_add(Span::new().seconds(whole));
    let time = then.strftime("%H:%M");
    match (then.date() - now.date()).get_days() {
        0 => time.to_string(),
        1 => format!("tomorrow {time}"),
        _ => format!("{} {time}", then.strftime("%a")),
    }
}

/// A share or a score with three digits: `0.941`; `n/a` for what is not a number.
#[must_use]
pub fn score(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.3}")
    } else {
        "n/a".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_055), "1,055");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!(count(1, "image"), "1 image");
        assert_eq!(count(0, "image"), "0 images");
        assert_eq!(score(f64::NAN), "n/a");
        assert_eq!(bytes(80_700_000), "81 MB");
        assert_eq!(bytes(1_900_000_000), "1.9 GB");
        assert_eq!(sentence("the disk is full"), "The disk is full.");
        assert_eq!(sentence("Écrit."), "Écrit.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn durations_never_say_more_than_two_units() {
        assert_eq!(duration(f64::NAN), "0 s");
        assert_eq!(duration(-3.0), "0 s");
        assert_eq!(duration(89.4), "89 s");
        assert_eq!(duration(90.0), "2 min");
        assert_eq!(duration(3_570.0), "1 h 00 min");
        assert_eq!(duration(5_520.0), "1 h 32 min");
    }

    #[test]
    fn the_day_is_named_when_it_is_another() {
        let now: Zoned = "2026-03-04T13:20:00[UTC]".parse().expect("a time");
        assert_eq!(clock_after(&now, 5_520.0), "14:52");
        assert_eq!(clock_after(&now, 86_400.0), "tomorrow 13:20");
        assert_eq!(clock_after(&now, 2.0 * 86_400.0), "Fri 13:20");
        assert_eq!(clock_after(&now, f64::MAX).len(), "Fri 13:20".len());
    }
}
