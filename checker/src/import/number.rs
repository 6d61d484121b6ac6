//! Numbers as Clojure writes them, in JSON.

use super::edn::push_text;

/// Appends the number that a token is; none when it is no number. What JSON has no numbers for,
/// ratios and what is written in another base with more than 128 bits, becomes text.
///
/// A number with a point or an exponent is one of 64 bits, which is written in one way: `1e3` and
/// `1000.0` are the same. Those that end in `M` have all of their digits.
pub(super) fn push_number(out: &mut String, token: &str) -> Option<()> {
    let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
    let sign = if token.starts_with('-') { "-" } else { "" };
    if let Some(whole) = decimal(unsigned) {
        out.push_str(if whole == "0" { "" } else { sign });
        out.push_str(whole);
    } else if let Some((radix, digits)) = in_other_base(unsigned) {
        match u128::from_str_radix(digits, radix) {
            Ok(0) => out.push('0'),
            Ok(number) => out.push_str(&format!("{sign}{number}")),
            Err(_) => push_text(out, token),
        }
    } else if is_ratio(unsigned) {
        push_text(out, token.strip_prefix('+').unwrap_or(token));
    } else {
        let fraction = fraction(unsigned)?;
        if unsigned.ends_with('M') {
            out.push_str(sign);
            out.push_str(&fraction);
        } else {
            push_double(out, sign, fraction.parse().ok()?);
        }
    }
    Some(())
}

/// Appends a number that is not negative, with its sign; one that is too large is what Clojure
/// calls `##Inf`.
fn push_double(out: &mut String, sign: &str, number: f64) {
    match serde_json::Number::from_f64(number) {
        Some(number) if number.as_f64() == Some(0.0) => out.push_str(&number.to_string()),
        Some(number) => out.push_str(&format!("{sign}{number}")),
        None => push_text(out, &format!("{sign}Inf")),
    }
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `12` and `12N`.
fn decimal(unsigned: &str) -> Option<&str> {
    let digits = unsigned.strip_suffix('N').unwrap_or(unsigned);
    let is_decimal = are_digits(digits) && (digits == "0" || !digits.starts_with('0'));
    is_decimal.then_some(digits)
}

/// The base and the digits of `0x1F`, `017` and `36rZ`.
fn in_other_base(unsigned: &str) -> Option<(u32, &str)> {
    let plain = unsigned.strip_suffix('N').unwrap_or(unsigned);
    let (radix, digits) = if let Some((radix, digits)) = unsigned.split_once(['r', 'R']) {
        // Here `N` is a digit.
        let radix = decimal(radix).filter(|radix| radix.len() <= 2)?;
        (radix.parse().ok()?, digits)
    } else if let Some(digits) = plain.strip_prefix("0x").or(plain.strip_prefix("0X")) {
        (16, digits)
    } else {
        (8, plain.strip_prefix('0')?)
    };
    let is_known = (2..=36).contains(&radix) && !digits.is_empty();
    let are_digits = is_known && digits.chars().all(|digit| digit.is_digit(radix));
    are_digits.then_some((radix, digits))
}

/// `22/7`.
fn is_ratio(unsigned: &str) -> bool {
    let parts = unsigned.split_once('/');
    parts.is_some_and(|(over, under)| are_digits(over) && are_digits(under))
}

/// `1.5`, `1e3`, `1.` and `5M` as JSON has them: digits on both sides of the point, and no zeros
/// in front.
fn fraction(unsigned: &str) -> Option<String> {
    let plain = unsigned.strip_suffix('M').unwrap_or(unsigned);
    let (mantissa, exponent) = match plain.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (plain, None),
    };
    let (whole, behind) = match mantissa.split_once('.') {
        Some((whole, behind)) => (whole, Some(behind)),
        None => (mantissa, None),
    };
    let is_whole = behind.is_none() && exponent.is_none() && plain.len() == unsigned.len();
    if is_whole || !are_digits(whole) {
        return None;
    }
    let mut json = match whole.trim_start_matches('0') {
        "" => "0".to_owned(),
        whole => whole.to_owned(),
    };
    if let Some(behind) = behind.filter(|behind| !behind.is_empty()) {
        json += ".";
        json += Some(behind).filter(|behind| are_digits(behind))?;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        json += "e";
        json += Some(exponent).filter(|_| are_digits(digits))?;
    }
    Some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_number_has_its_json() {
        for (token, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("+7N", "7"),
            ("-12", "-12"),
            ("0x1F", "31"),
            ("-0XffN", "-255"),
            ("017", "15"),
            ("007N", "7"),
            ("00", "0"),
            ("2r101", "5"),
            ("-36rZ", "-35"),
            ("36RzN", "1283"),
            ("1/2", "\"1/2\""),
            ("-1/2", "\"-1/2\""),
            ("+1/2", "\"1/2\""),
            ("1.5", "1.5"),
            ("1.5M", "1.5"),
            ("5M", "5"),
            ("-1.", "-1.0"),
            ("01.50", "1.5"),
            ("01.50M", "1.50"),
            ("00.5", "0.5"),
            ("1e3", "1000.0"),
            ("1000.0", "1000.0"),
            ("1.0E+3", "1000.0"),
            ("1e300", "1e+300"),
            ("-0.0", "0.0"),
            ("1e400", "\"Inf\""),
            ("-1e400", "\"-Inf\""),
            ("1.E-3M", "1e-3"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            (
                "0xffffffffffffffffffffffffffffffff",
                "340282366920938463463374607431768211455",
            ),
            (
                "0x100000000000000000000000000000000",
                "\"0x100000000000000000000000000000000\"",
            ),
        ] {
            let mut out = String::new();
            assert_eq!(push_number(&mut out, token), Some(()), "{token}");
            assert_eq!(out, expected, "{token}");
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&out);
            assert!(parsed.is_ok(), "{out}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for token in [
            "08",
            "0x",
            "0xg",
            "0x+1",
            "1r0",
            "37r0",
            "2r2",
            "2r101N",
            "02r1",
            "100r1",
            "1/",
            "1/-2",
            "1.2.3",
            "1e",
            "1e+",
            "1.5N",
            "1x",
            "1_000",
            "1.5e1.5",
            "--1",
            "\u{661}",
            "36r\u{e9}",
        ] {
            assert_eq!(push_number(&mut String::new(), token), None, "{token}");
        }
    }
}
