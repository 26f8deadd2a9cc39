//! Logins: how the grant Secret's refresh token becomes the head of the lineage, and how the head before it is kept in reserve
//! until the new login has worked.

use jiff::Timestamp;

use super::document::{Document, MAX_SEEDS_SEEN, MAX_SPARE, Presented, Refresh, Seed, SeenSeed, Spare};
use super::login::Login;
use super::safeguards::Safeguards;

/// Returns the document with the grant Secret's login adopted: as the first one or as a new one. Unchanged where the login is
/// the current one, or one that was replaced or refused before.
pub fn adopt(document: &Document, login: &Login, now: Timestamp, safeguards: Safeguards) -> Document {
    let mut document = document.clone();
    let is_bound = !is_unaccepted(&document);
    if let Some(seed) = document.seed.as_mut().filter(|seed| seed.token_fp == login.token_fp) {
        // The annotation may be added later.
        seed.issued_at = login.issued_at.or(seed.issued_at);
        if seed.binding != login.binding && !is_bound {
            seed.binding.clone_from(&login.binding);
            start_anew(&mut document);
        }
        return document;
    }
    if safeguards.spent_stays_spent() && is_stale(&document, login) {
        return document;
    }
    let seq = document.progress().0 + 1;
    if let (Some(seed), Some(head)) = (document.seed.take(), document.refresh.take()) {
        let (fp, verdict) = (seed.token_fp.clone(), "replaced".to_owned());
        remember(&mut document, SeenSeed { fp, verdict, ..SeenSeed::default() });
        // The head of the login before can come back until the new login has worked.
        if seed.proven && safeguards.login_keeps_spare() {
            let spare = Spare {
                token: head.token,
                fp: head.fp,
                seed_seq: seed.seq,
                r#gen: document.r#gen,
                presented: head.presented,
                binding: seed.binding.clone(),
                seed: Some(seed),
                ..Spare::default()
            };
            keep_spare(&mut document, spare);
        }
    }
    document.seeds_seen.retain(|seen| seen.fp != login.token_fp);
    // For the first login in a Secret, the Secret's creation tells when a person logged in.
    let created_at = login.created_at.filter(|_| seq == 1);
    document.seed = Some(Seed {
        seq,
        token_fp: login.token_fp.clone(),
        binding: login.binding.clone(),
        adopted_at: now,
        issued_at: login.issued_at.or(created_at),
        proven: false,
        ..Seed::default()
    });
    document.refresh = Some(Refresh {
        token: login.grant.refresh_token.clone().unwrap_or_default().into(),
        fp: login.token_fp.clone(),
        obtained_at: now,
        presented: Presented::Never,
        ..Refresh::default()
    });
    (document.doubt, document.retry, document.verdict) = (None, None, None);
    document
}

/// Whether the grant Secret holds a login that was replaced before: GitOps or a backup put it back.
pub fn is_stale(document: &Document, login: &Login) -> bool {
    // Without a refresh token there is no lineage: a client secret may come back.
    let current = document.seed.as_ref().is_some_and(|seed| seed.token_fp == login.token_fp)
        || login.grant.refresh_token.is_none();
    let seen = document.seeds_seen.iter().any(|seen| seen.fp == login.token_fp && !is_elsewhere(seen, login));
    !current && (seen || document.spent.contains(&login.token_fp))
}

/// Whether a login was rejected by another server, or as another client's, than it is for now: the settings were corrected.
pub fn is_elsewhere(seen: &SeenSeed, login: &Login) -> bool {
    seen.binding.as_ref().is_some_and(|binding| *binding != login.binding)
}

/// Whether no server can have accepted the document's login. Such a login is bound to none: the settings that it was tried with
/// were wrong. A missing answer may have been an acceptance, and so may a success that could not be read.
fn is_unaccepted(document: &Document) -> bool {
    let (Some(seed), Some(head)) = (&document.seed, &document.refresh) else { return false };
    let doubt = document.doubt.as_ref().filter(|doubt| doubt.parent_fp == head.fp);
    let untouched = match head.presented {
        Presented::Never => doubt.is_none(),
        Presented::InDoubt => doubt.is_some_and(|doubt| doubt.refused),
        Presented::Accepted => false,
    };
    !seed.proven && head.fp == seed.token_fp && untouched
}

/// Removes doubt, backoff and verdict, which other settings caused.
fn start_anew(document: &mut Document) {
    (document.doubt, document.retry, document.verdict) = (None, None, None);
    if let Some(head) = &mut document.refresh {
        head.presented = Presented::Never;
    }
}

/// Adds a login to those that are not adopted again.
pub fn remember(document: &mut Document, seen: SeenSeed) {
    document.seeds_seen.retain(|other| other.fp != seen.fp);
    document.seeds_seen.push(seen);
    let excess = document.seeds_seen.len().saturating_sub(MAX_SEEDS_SEEN);
    document.seeds_seen.drain(..excess);
}

/// Adds a spare token; the oldest is dropped where there are too many, but not the head before a login that is not proven yet.
pub fn keep_spare(document: &mut Document, spare: Spare) {
    document.spare.retain(|other| other.fp != spare.fp);
    document.spare.push(spare);
    while document.spare.len() > MAX_SPARE {
        let oldest = document.spare.iter().position(|spare| spare.seed.is_none()).unwrap_or_default();
        document.spare.remove(oldest);
    }
}

/// Removes and returns the spare to go on with after the head was refused: the head before a login that never worked, else a
/// token that was received and never tried. Only a token that may be presented to the server of `binding`.
pub fn next_best(document: &mut Document, binding: &str) -> Option<Spare> {
    let unproven = document.seed.as_ref().is_some_and(|seed| !seed.proven);
    let before = |spare: &Spare| spare.seed.as_ref().is_some_and(|seed| seed.proven);
    let untried = |spare: &Spare| {
        spare.seed.is_none()
            && spare.presented == Presented::Never
            && spare.binding == binding
            && !document.spent.contains(&spare.fp)
    };
    let lineage = document.spare.iter().rposition(before).filter(|_| unproven);
    let place = lineage.or_else(|| document.spare.iter().rposition(untried))?;
    Some(document.spare.remove(place))
}
