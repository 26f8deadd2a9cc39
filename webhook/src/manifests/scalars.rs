//! What a scalar of YAML means to kubectl: the rules of YAML 1.1 as its parser (`go.yaml.in/yaml/v2`, `resolve.go`) has them.
//! `yes` is a boolean, `0777` is octal, and a number that is too large for a float (`7e12345`) is text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Prefix of the tags that YAML defines (`!!int`).
const YAML: &str = "tag:yaml.org,2002:";

/// The meaning of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `yes`, `on`, `y` and their opposites.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Unsigned(u64),
    /// Any other number, also one that JSON does not have.
    Float(f64),
    /// Text.
    Text(String),
}

/// Resolves a scalar. `plain`: it is not quoted and no block. `tag`: its tag in full, empty where it has none.
pub(super) fn resolve(text: String, plain: bool, tag: &str) -> Result<Scalar, &'static str> {
    match tag {
        "" if !plain => Ok(Scalar::Text(text)),
        "" => Ok(implicit(&text).unwrap_or(Scalar::Text(text))),
        _ => match tag.strip_prefix(YAML) {
            Some("binary") => binary(&text),
            Some("null") => tagged(&text, |found| *found == Scalar::Null),
            Some("bool") => tagged(&text, |found| matches!(found, Scalar::Bool(_))),
            Some("int") => tagged(&text, |found| matches!(found, Scalar::Int(_) | Scalar::Unsigned(_))),
            Some("float") => match implicit(&text) {
                Some(Scalar::Int(whole)) => Ok(Scalar::Float(whole as f64)),
                _ => tagged(&text, |found| matches!(found, Scalar::Float(_))),
            },
            // Text, and every tag that kubectl does not know.
            _ => Ok(Scalar::Text(text)),
        },
    }
}

fn tagged(text: &str, fits: impl Fn(&Scalar) -> bool) -> Result<Scalar, &'static str> {
    implicit(text).filter(fits).ok_or("the value is not of the type that its tag (!!…) says; remove the tag")
}

fn binary(text: &str) -> Result<Scalar, &'static str> {
    let compact: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = STANDARD.decode(compact).map_err(|_| "a value with the tag !!binary is not base64")?;
    Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns what a plain scalar means; `None`: text.
fn implicit(text: &str) -> Option<Scalar> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Scalar::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Scalar::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Scalar::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return Some(Scalar::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Scalar::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Scalar::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    match text.as_bytes().first()? {
        b'.' => float(&without_separators(text)?),
        b'+' | b'-' | b'0'..=b'9' => {
            let plain = text.replace('_', "");
            whole(&plain).or_else(|| float(&plain))
        }
        _ => None,
    }
}

/// Removes the underscores between digits; `None` where one stands elsewhere.
fn without_separators(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let separates = |at: usize| digit(at.checked_sub(1)) && digit(at.checked_add(1));
    let all = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || separates(at));
    all.then(|| text.replace('_', ""))
}

/// A whole number as Go writes them: `10`, `0x1f`, `0b11`, `0o17`, and `017`, which is octal too.
fn whole(text: &str) -> Option<Scalar> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("+", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match (lower.get(..2), lower.as_bytes()) {
        (Some("0x"), _) => (16, &lower[2..]),
        (Some("0b"), _) => (2, &lower[2..]),
        (Some("0o"), _) => (8, &lower[2..]),
        (_, [b'0', _, ..]) => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // A second sign would be read as one.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let signed = i64::from_str_radix(&format!("{sign}{digits}"), radix).map(Scalar::Int);
    let unsigned =
        || u64::from_str_radix(digits, radix).ok().filter(|_| sign.is_empty()).map(Scalar::Unsigned);
    signed.ok().or_else(unsigned)
}

/// A decimal number with or without a point and an exponent, if a float can hold it.
fn float(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shape = digits(whole)
        && digits(fraction)
        && (!whole.is_empty() || !fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    let value: f64 = text.parse().ok().filter(|_| shape)?;
    value.is_finite().then_some(Scalar::Float(value))
}

/// Writes a float that is a key, as kubectl turns it into text.
pub(super) fn float_key(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    // Single precision, and an exponent from a million on: `strconv.FormatFloat(v, 'g', -1, 32)`.
    let short = value as f32;
    if short.is_infinite() {
        return if short > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{short:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if short == 0.0 || (-4..6).contains(&exponent) {
        return format!("{short}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
