//! `?rejected=`: the agent names the access token that a provider's API rejected, by its SHA-256.

/// What the query of a token request may be.
const ALLOWED: &str =
    "the only query parameter is rejected=<SHA-256 of the rejected access token, in hex>, given once";

/// Returns the fingerprint that a query names; `None` where there is no query. `Err` is the sentence what to write.
pub fn rejected(query: Option<&str>) -> Result<Option<String>, &'static str> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let fp = query.strip_prefix("rejected=").ok_or(ALLOWED)?;
    let hex = fp.len() == 64 && fp.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(Some(fp.to_ascii_lowercase())) } else { Err(ALLOWED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_fingerprint_or_none() {
        let fp = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(rejected(None), Ok(None));
        assert_eq!(rejected(Some("")), Ok(None));
        assert_eq!(rejected(Some(&format!("rejected={fp}"))), Ok(Some(fp.to_owned())));
        let capitals = format!("rejected={}", fp.to_uppercase());
        assert_eq!(rejected(Some(&capitals)), Ok(Some(fp.to_owned())));
        for wrong in [
            "x=y".to_owned(),
            "rejected".to_owned(),
            "rejected=".to_owned(),
            format!("rejected={}", &fp[1..]),
            format!("rejected={}g", &fp[1..]),
            format!("rejected={fp}0"),
            format!("rejected={fp}&x=y"),
            format!("x=y&rejected={fp}"),
            format!("rejected={fp}&rejected={fp}"),
            format!("Rejected={fp}"),
        ] {
            assert_eq!(rejected(Some(&wrong)), Err(ALLOWED), "{wrong}");
        }
    }
}
