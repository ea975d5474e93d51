//! Floats as Go's `strconv` and Prometheus print and read them.

use std::fmt;
use std::ops::RangeInclusive;

/// Appends `value` as the Prometheus HTTP API prints it: the shortest decimal that reads back, with an exponent
/// below 1e-6 and from 1e21 on, and `NaN`, `+Inf`, `-Inf`.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    write_within(out, value, -6..=20);
}

/// Appends `value`, without an exponent if the digits begin at one of the powers of ten in `plain`. Of two shortest decimals that are
/// equally near the value it is the even one, as in Go.
#[inline]
fn write_within(out: &mut Vec<u8>, value: f64, plain: RangeInclusive<i32>) {
    if !value.is_finite() {
        return out.extend_from_slice(special(value).as_bytes());
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    match text.split_once('e') {
        // Only texts of these powers come without an exponent.
        None if (*plain.start() <= -6 && *plain.end() >= 16) || value == 0.0 || plain.contains(&power_of_first(text)) => {
            out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
        }
        None => write_moved(out, text),
        Some((mantissa, exponent)) => {
            let exponent = exponent.parse().unwrap_or(0);
            if plain.contains(&exponent) { write_expanded(out, mantissa, exponent) } else { write_scaled(out, mantissa, exponent) }
        }
    }
}

/// The power of ten of the first digit that is no zero, in a text without exponent.
fn power_of_first(text: &str) -> i32 {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if integer != "0" {
        return integer.len() as i32 - 1;
    }
    -1 - fraction.bytes().take_while(|digit| *digit == b'0').count() as i32
}

/// Appends a text without exponent in the form with one.
fn write_moved(out: &mut Vec<u8>, text: &str) {
    let power = power_of_first(text);
    let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    let mut mantissa = if text.starts_with('-') { "-".to_owned() } else { String::new() };
    let first = mantissa.len() + 1;
    mantissa.extend(digits.map(char::from));
    mantissa.truncate(mantissa.trim_end_matches('0').len());
    if mantissa.len() > first {
        mantissa.insert(first, '.');
    }
    write_scaled(out, &mantissa, power);
}

/// Appends `mantissa` (`d` or `d.ddd`, with a sign) times ten to the power of `exponent` without an exponent.
fn write_expanded(out: &mut Vec<u8>, mantissa: &str, exponent: i32) {
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = if fraction == "0" { "" } else { fraction };
    let places = exponent.unsigned_abs() as usize;
    if exponent < 0 {
        let (sign, digit) = integer.strip_prefix('-').map_or(("", integer), |digit| ("-", digit));
        out.extend_from_slice(sign.as_bytes());
        out.extend_from_slice(b"0.");
        out.resize(out.len() + places - 1, b'0');
        out.extend_from_slice(digit.as_bytes());
        out.extend_from_slice(fraction.as_bytes());
        return;
    }
    let (before, behind) = fraction.split_at(places.min(fraction.len()));
    out.extend_from_slice(integer.as_bytes());
    out.extend_from_slice(before.as_bytes());
    out.resize(out.len() + places - before.len(), b'0');
    if !behind.is_empty() {
        out.push(b'.');
        out.extend_from_slice(behind.as_bytes());
    }
}

/// Appends `mantissa` (`d` or `d.ddd`, with a sign) and the exponent: Go writes its sign and at least two digits.
fn write_scaled(out: &mut Vec<u8>, mantissa: &str, exponent: i32) {
    out.extend_from_slice(mantissa.strip_suffix(".0").unwrap_or(mantissa).as_bytes());
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    let magnitude = exponent.unsigned_abs();
    if magnitude >= 100 {
        out.push(b'0' + (magnitude / 100) as u8);
    }
    out.extend_from_slice(&[b'0' + (magnitude / 10 % 10) as u8, b'0' + (magnitude % 10) as u8]);
}

/// `strconv.FormatFloat(value, 'f', -1, 64)`: the shortest decimal without exponent, and `NaN`, `+Inf`, `-Inf`.
#[must_use]
pub fn format_float(value: f64) -> String {
    DisplayFloat(value).to_string()
}

/// Displays a float as [`format_float`] does.
#[derive(Clone, Copy, Debug)]
pub struct DisplayFloat(pub f64);

impl fmt::Display for DisplayFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_within(f, self.0, i32::MIN..=i32::MAX)
    }
}

/// Displays a float as Go's `%g` and `%v`: the shortest decimal, with an exponent below 1e-4 and from 1e6 on.
#[derive(Clone, Copy, Debug)]
pub struct DisplayGeneral(pub f64);

impl fmt::Display for DisplayGeneral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_within(f, self.0, -4..=5)
    }
}

fn display_within(f: &mut fmt::Formatter<'_>, value: f64, plain: RangeInclusive<i32>) -> fmt::Result {
    let mut out = Vec::with_capacity(24);
    write_within(&mut out, value, plain);
    f.write_str(&String::from_utf8_lossy(&out))
}

fn special(value: f64) -> &'static str {
    match value {
        v if v.is_nan() => "NaN",
        v if v > 0.0 => "+Inf",
        _ => "-Inf",
    }
}

/// Why a text is not a number; the words are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not of the form of a number.
    #[error("strconv.ParseFloat: parsing {}: invalid syntax", crate::labels::quote(.text))]
    Syntax {
        /// The text.
        text: String,
    },
    /// A number beyond the range of a float.
    #[error("strconv.ParseFloat: parsing {}: value out of range", crate::labels::quote(.text))]
    Range {
        /// The text.
        text: String,
    },
}

/// Reads a number of the query language: Go's integer forms first (`0x1f`, `017` is octal, `1_000`), then [`parse_float`].
///
/// # Errors
/// See [`NumberError`].
pub fn parse_number(text: &str) -> Result<f64, NumberError> {
    if let Some(value) = parse_plain(text) {
        return Ok(value);
    }
    match parse_integer(text) {
        Some(value) => Ok(value as f64),
        None => parse_float(text),
    }
}

/// The common case: up to fifteen decimal digits that do not begin with a zero.
fn parse_plain(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > 15 || (bytes[0] == b'0' && bytes.len() > 1) {
        return None;
    }
    let mut value = 0u64;
    for b in bytes {
        value = value * 10 + u64::from(b.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    Some(value as f64)
}

/// `strconv.ParseInt(text, 0, 64)`.
fn parse_integer(text: &str) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    let bytes = digits.as_bytes();
    let (radix, body) = match bytes {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !underscores_separate_digits(digits) {
        return None;
    }
    let mut value = 0u64;
    let mut seen = false;
    for b in body.bytes().filter(|b| *b != b'_') {
        let digit = char::from(b).to_digit(radix)?;
        value = value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))?;
        seen = true;
    }
    if !seen {
        return None;
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// Go's rule: an underscore stands between two digits, or between a base prefix and a digit.
fn underscores_separate_digits(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let bytes = text.as_bytes();
    let prefixed = bytes.len() >= 2 && bytes[0] == b'0' && matches!(bytes[1] | 0x20, b'x' | b'o' | b'b');
    let hex = prefixed && bytes[1] | 0x20 == b'x';
    let mut previous = if prefixed { b'0' } else { b'^' };
    for b in &bytes[if prefixed { 2 } else { 0 }..] {
        let digit = b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
        previous = match (digit, *b) {
            (true, _) => b'0',
            (false, b'_') if previous == b'0' => b'_',
            (false, b'_') => return false,
            (false, _) if previous == b'_' => return false,
            (false, _) => b'!',
        };
    }
    previous != b'_'
}

/// `strconv.ParseFloat(text, 64)`: decimal and hexadecimal floats, underscores, `inf`, `infinity`, `nan` in any case.
///
/// # Errors
/// See [`NumberError`].
pub fn parse_float(text: &str) -> Result<f64, NumberError> {
    let syntax = || NumberError::Syntax { text: text.to_owned() };
    let (negative, body) = split_sign(text);
    let sign = if negative { -1.0 } else { 1.0 };
    if body.eq_ignore_ascii_case("inf") || body.eq_ignore_ascii_case("infinity") {
        return Ok(sign * f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if !underscores_separate_digits(body) {
        return Err(syntax());
    }
    let stripped;
    let plain = if body.contains('_') {
        stripped = body.replace('_', "");
        stripped.as_str()
    } else {
        body
    };
    let value = match plain.as_bytes() {
        [b'0', b'x' | b'X', rest @ ..] => parse_hex_float(rest).ok_or_else(syntax)?,
        [b'0'..=b'9' | b'.', ..] => plain.parse::<f64>().map_err(|_| syntax())?,
        _ => return Err(syntax()),
    };
    if value.is_infinite() {
        return Err(NumberError::Range { text: text.to_owned() });
    }
    Ok(sign * value)
}

/// `1.8p-3` after its `0x`: rounded once, to nearest even.
fn parse_hex_float(bytes: &[u8]) -> Option<f64> {
    let p = bytes.iter().position(|b| matches!(b, b'p' | b'P'))?;
    let exponent: i64 = std::str::from_utf8(&bytes[p + 1..]).ok()?.parse::<i64>().ok()?.clamp(-100_000, 100_000);
    let (mut mantissa, mut shift, mut sticky, mut seen, mut fraction) = (0u64, 0i64, false, false, false);
    for b in &bytes[..p] {
        if *b == b'.' && !fraction {
            fraction = true;
            continue;
        }
        let digit = u64::from(char::from(*b).to_digit(16)?);
        seen = true;
        if mantissa >> 56 == 0 {
            mantissa = mantissa << 4 | digit;
            shift -= if fraction { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            shift += if fraction { 0 } else { 4 };
        }
    }
    if !seen {
        return None;
    }
    Some(scale(mantissa, sticky, exponent + shift))
}

/// `mantissa × 2^exponent`, rounded once; `sticky` says that bits below the mantissa were dropped.
fn scale(mut mantissa: u64, mut sticky: bool, mut exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let up = mantissa.leading_zeros();
    mantissa <<= up;
    exponent -= i64::from(up);
    // The value is mantissa × 2^exponent with the top bit set, so its highest bit weighs 2^(exponent + 63).
    let kept = (exponent + 63 + 1074 + 1).clamp(0, 53);
    let dropped = 64 - kept as u32;
    let (mut bits, rest) = if dropped == 64 { (0, mantissa) } else { (mantissa >> dropped, mantissa << (64 - dropped)) };
    sticky |= rest << 1 != 0;
    if rest >> 63 == 1 && (sticky || bits & 1 == 1) && (dropped < 64 || exponent + 63 == -1075) {
        bits += 1;
    }
    let power = exponent + i64::from(dropped);
    if power > 971 {
        return f64::INFINITY;
    }
    // Both factors are exact and so is the product, unless it overflows.
    let half = power.max(-1074) / 2;
    bits as f64 * 2f64.powi(half as i32) * 2f64.powi((power.max(-1074) - half) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        write_float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_written_as_the_api_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (9.9e-7, "9.9e-07"),
            (1e-7, "1e-07"),
            (-2.5e-100, "-2.5e-100"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.234e22, "1.234e+22"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(value), text);
        }
        for (value, text) in [(0.0, "0"), (123_456.5, "123456.5"), (1e6, "1e+06"), (1e-4, "0.0001"), (9.5e-5, "9.5e-05"), (f64::NAN, "NaN")]
        {
            assert_eq!(DisplayGeneral(value).to_string(), text);
        }
        assert_eq!(format_float(1e21), "1000000000000000000000");
        // Halfway between two shortest decimals.
        for (value, text) in [(1.25e15 + 0.25, "1250000000000000.2"), (-1.25e15 - 0.75, "-1250000000000000.8")] {
            assert_eq!([written(value), format_float(value)], [text, text]);
            let general = DisplayGeneral(value).to_string();
            assert_eq!(general, format!("{}e+15", if value < 0.0 { "-1.2500000000000008" } else { "1.2500000000000002" }));
        }
        assert_eq!(format_float(f64::INFINITY), "+Inf");
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("017", 15.0),
            ("0x1f", 31.0),
            ("1_000", 1000.0),
            ("0x_c", 12.0),
            ("08", 8.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-Inf", f64::NEG_INFINITY),
            ("iNfinity", f64::INFINITY),
            ("0x1p-2", 0.25),
            ("0x1.8p1", 3.0),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", f64::from_bits(1)),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("1_23.50_0_0e+1_2", 1.235e14),
        ] {
            assert_eq!(parse_number(text).unwrap(), value, "{text}");
        }
        assert!(parse_number("NaN").unwrap().is_nan());
        for text in ["", "1__0", "_1", "1_", "0x", "0x1.8", "1e", "abc", "+-1", "--1", "0b2", "1 "] {
            assert_eq!(parse_number(text), Err(NumberError::Syntax { text: text.to_owned() }), "{text}");
        }
        assert_eq!(parse_float("1e400").unwrap_err().to_string(), "strconv.ParseFloat: parsing \"1e400\": value out of range");
        assert_eq!(parse_float("0x1p1024"), Err(NumberError::Range { text: "0x1p1024".to_owned() }));
    }

    /// The same by the standard library's digits, without an exponent from `least` up to below `most`.
    fn expected(value: f64, least: f64, most: f64) -> String {
        if !value.is_finite() {
            return special(value).to_owned();
        }
        let magnitude = value.abs();
        if magnitude == 0.0 || (least..most).contains(&magnitude) {
            return value.to_string();
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap();
        let exponent: i32 = exponent.parse().unwrap();
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }

    /// The layouts: of the API, of text without exponents, and the general one.
    fn all_are_as_expected(value: f64) -> bool {
        is_as_expected(value, &written(value), &expected(value, 1e-6, 1e21))
            && is_as_expected(value, &format_float(value), &expected(value, 0.0, f64::INFINITY))
            && is_as_expected(value, &DisplayGeneral(value).to_string(), &expected(value, 1e-4, 1e6))
    }

    /// Where two shortest texts are equally near the standard library takes the upper one, Go the even one.
    fn is_as_expected(value: f64, written: &str, expected: &str) -> bool {
        if written == expected {
            return true;
        }
        // Digits up to the last that is not a zero in place of a unit.
        let significant = |text: &str| {
            let digits = text.split('e').next().unwrap_or_default();
            if digits.contains('.') { digits.to_owned() } else { digits.trim_end_matches('0').to_owned() }
        };
        let same_length = written.len() == expected.len() && written.split('e').nth(1) == expected.split('e').nth(1);
        let (mut even, mut upper) = (significant(written), significant(expected));
        let is_even = matches!(even.pop(), Some('0' | '2' | '4' | '6' | '8'));
        upper.pop();
        same_length && is_even && even == upper && written.parse::<f64>() == Ok(value)
    }

    #[test]
    fn every_power_of_ten_and_of_two_is_laid_out_as_the_standard_library_has_it() {
        let tens = (-30..40).flat_map(|e| [1.0, 9.999_999_999_999_999, 1.25].map(|m| format!("{m}e{e}").parse::<f64>().unwrap()));
        let twos = (-1074..1024).map(|e| 2f64.powi(e));
        for value in tens.chain(twos).flat_map(|v| [v, -v, f64::from_bits(v.to_bits() + 1), f64::from_bits(v.to_bits() - 1)]) {
            assert!(all_are_as_expected(value), "{} {} {}", written(value), format_float(value), DisplayGeneral(value));
        }
    }

    proptest! {
        #[test]
        fn floats_of_ordinary_size_are_laid_out_as_the_standard_library_has_them(mantissa in -1e9f64..1e9, e in -25i32..25, digits in 0i32..17) {
            let rounded = (mantissa * 10f64.powi(digits)).round() / 10f64.powi(digits);
            for value in [mantissa, rounded, mantissa.round(), mantissa * 10f64.powi(e), rounded * 10f64.powi(e)] {
                prop_assert!(all_are_as_expected(value), "{} {} {}", written(value), format_float(value), DisplayGeneral(value));
            }
        }

        #[test]
        fn what_is_written_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            for text in [written(value), format_float(value)] {
                let read = parse_float(&text).unwrap();
                prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()));
            }
        }

        #[test]
        fn exact_hex_floats_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits & !(1 << 63));
            prop_assume!(value.is_finite());
            let exponent = (value.to_bits() >> 52) as i64;
            let fraction = value.to_bits() & ((1 << 52) - 1);
            let (lead, power) = if exponent == 0 { (0, -1022) } else { (1, exponent - 1023) };
            prop_assert_eq!(parse_float(&format!("0x{lead}.{fraction:013x}p{power}")).unwrap(), value);
        }
    }
}
