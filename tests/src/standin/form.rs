//! A strict parser of `application/x-www-form-urlencoded`.
//!
//! A tolerant parser would hide the mistakes that this server has to find: a `+` that was not encoded becomes a space
//! here, as at the provider, and an incomplete escape is an error.

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Parses a body; the error names the mistake.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let mut form = Self::default();
        for field in body.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
            let equals = field.iter().position(|byte| *byte == b'=').ok_or("a parameter without =")?;
            let name = decode(&field[..equals])?;
            let value = decode(&field[equals + 1..])?;
            if form.get(&name).is_some() {
                return Err(format!("{name} is there twice"));
            }
            // RFC 6749 §3.2: sent without a value is the same as omitted.
            if !value.is_empty() {
                form.0.push((name, value));
            }
        }
        Ok(form)
    }

    /// Returns the value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first parameter that is not among `expected`.
    pub(super) fn stranger(&self, expected: &[&str]) -> Option<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !expected.contains(name))
    }
}

/// Decodes one name or value.
pub(super) fn decode(encoded: &[u8]) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|hex| char::from(*hex).to_digit(16));
                let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                value.and_then(|value| u8::try_from(value).ok()).ok_or("half an escape after %")?
            }
            b'!'..=b'~' => *byte,
            _ => return Err("a byte that must be percent-encoded".to_owned()),
        });
    }
    String::from_utf8(bytes).map_err(|_| "a parameter that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_percent_escapes_and_spaces() {
        let form = Form::parse(b"a=x+y%2Bz&b=%C3%A9&empty=&c=1%3D2").expect("a good form");
        assert_eq!(form.get("a"), Some("x y+z"));
        assert_eq!(form.get("b"), Some("é"));
        assert_eq!(form.get("c"), Some("1=2"));
        assert_eq!(form.get("empty"), None);
        assert_eq!(form.stranger(&["a", "c"]), Some("b"));
    }

    #[test]
    fn refuses_what_tolerant_parsers_accept() {
        for body in ["a=1&a=2", "a", "a=%2", "a=%zz", "a=%", "a=b c", "a=%FF", "{\"a\":1}", "a=\u{e9}"] {
            Form::parse(body.as_bytes()).expect_err(body);
        }
    }
}
