//! Memory as a second copy of the state: every replica keeps the furthest document that it saw, and writes it back where the
//! state Secret was emptied, rolled back or overwritten with something that is no document. An open claim is part of it: its
//! request was perhaps sent. The settle delay gives a replica with a newer copy time to restore it before anyone claims.

use super::document::{Document, DocumentError, MAX_SPARE, MAX_SPENT, Spare};

/// Whether the found document is an earlier state of the remembered one, or no document at all. A document with a login that
/// memory does not know is no earlier state, also where its counters are lower.
pub fn is_behind(found: Result<&Document, DocumentError>, memory: &Document) -> bool {
    let knows = |fp: &String| {
        memory.seed.as_ref().is_some_and(|seed| seed.token_fp == *fp)
            || memory.seeds_seen.iter().any(|seen| seen.fp == *fp)
            || memory.spent.contains(fp)
    };
    match found {
        Ok(found) if !found.may_write() => false,
        Ok(found) => {
            found.seed.as_ref().is_none_or(|seed| knows(&seed.token_fp))
                && (found.progress(), found.rev) < (memory.progress(), memory.rev)
        }
        Err(DocumentError::Newer) => false,
        Err(DocumentError::Malformed | DocumentError::TooLarge) => true,
    }
}

/// Returns the remembered tokens that the found document lacks, although it has gone on from the same login: the state was
/// rolled back, and another replica filed another child of the same parent before this one could repair it. The remembered
/// head may be the valid token; it comes last, since the last spare is tried first.
pub fn orphans(found: &Document, memory: &Document) -> Vec<Spare> {
    let (Some(seed), Some(head)) = (&memory.seed, &memory.refresh) else { return Vec::new() };
    let same = found.seed.as_ref().is_some_and(|found| found.token_fp == seed.token_fp);
    // Nothing is known about tokens older than the ring of spent ones.
    let since = found.r#gen.checked_sub(memory.r#gen).filter(|since| *since < MAX_SPENT as u64);
    if !same || since.is_none() {
        return Vec::new();
    }
    let head = Spare {
        token: head.token.clone(),
        fp: head.fp.clone(),
        seed_seq: memory.progress().0,
        r#gen: memory.r#gen,
        presented: head.presented,
        binding: seed.binding.clone(),
        ..Spare::default()
    };
    // Where there is no room, replicas would push out each other's spares in turn.
    let room = MAX_SPARE.saturating_sub(found.spare.len());
    let of_this_login = memory.spare.iter().filter(|spare| spare.seed.is_none());
    let mut orphans: Vec<_> =
        of_this_login.filter(|spare| !knows(found, &spare.fp)).take(room).cloned().collect();
    orphans.extend(Some(head).filter(|head| !knows(found, &head.fp)));
    orphans
}

/// Whether the document holds a refresh token, or has held and replaced it.
pub fn knows(document: &Document, fp: &str) -> bool {
    document.head_fp() == Some(fp)
        || document.spent.iter().any(|spent| spent == fp)
        || document.spare.iter().any(|spare| spare.fp == fp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{living, login};

    #[test]
    fn a_head_that_the_state_never_heard_of_is_an_orphan() {
        let memory = Document { r#gen: 5, ..living(&login("r1"), "r4") };
        let other = |at: u64, head: &str| Document { r#gen: at, ..living(&login("r1"), head) };
        let found = orphans(&other(5, "x4"), &memory);
        assert_eq!(found.len(), 1, "another child of the same parent");
        assert_eq!(Some(found[0].fp.as_str()), memory.head_fp());
        assert_eq!(orphans(&other(9, "x9"), &memory).len(), 1, "and others since");
        assert!(orphans(&memory, &memory).is_empty());
        let mut on = other(6, "r5");
        on.spent.push(found[0].fp.clone());
        assert!(orphans(&on, &memory).is_empty(), "it was replaced");
        let kept = Document { spare: found, ..other(5, "x4") };
        assert!(orphans(&kept, &memory).is_empty(), "it is kept");
        assert!(orphans(&other(4, "x3"), &memory).is_empty(), "a state that fell behind is repaired");
        assert!(orphans(&other(400, "x"), &memory).is_empty(), "too long ago to tell");
        let relogged = Document { r#gen: 6, ..living(&login("n1"), "n2") };
        assert!(orphans(&relogged, &memory).is_empty(), "another login");
    }

    #[test]
    fn a_missing_spare_is_an_orphan_while_there_is_room_for_it() {
        let spare = |fp: &str| Spare { fp: fp.to_owned(), ..Spare::default() };
        let with = |spare: Vec<Spare>| Document { r#gen: 5, spare, ..living(&login("r1"), "r4") };
        let memory = with(vec![spare("x")]);
        assert_eq!(orphans(&with(vec![]), &memory), vec![spare("x")], "another replica repaired the state");
        let full = (0..MAX_SPARE).map(|i| spare(&i.to_string())).collect();
        assert!(orphans(&with(full), &memory).is_empty(), "no round of pushing each other out");
        let before = Spare { seed: Some(memory.seed.clone().expect("a login")), ..spare("x") };
        assert!(orphans(&with(vec![]), &with(vec![before])).is_empty(), "replaced by a login that worked");
        let spent = Document { spent: vec!["x".to_owned()], ..with(vec![]) };
        assert!(orphans(&spent, &memory).is_empty(), "it was tried");
    }

    #[test]
    fn an_emptied_or_rolled_back_state_is_repaired_and_a_newer_one_is_not() {
        let memory = Document { rev: 9, ..living(&login("r1"), "r4") };
        let behind = |found: Document| is_behind(Ok(&found), &memory);
        assert!(behind(Document::default()), "emptied");
        assert!(behind(Document { rev: 8, ..memory.clone() }), "rolled back");
        assert!(is_behind(Err(DocumentError::Malformed), &memory), "garbage");
        assert!(!is_behind(Err(DocumentError::Newer), &memory), "another version's");
        assert!(!behind(Document { min_writer: 9, ..Document::default() }), "closed to this version");
        assert!(!behind(memory.clone()));
        assert!(!behind(Document { rev: 10, ..memory.clone() }), "went on");
        let other = Document { rev: 1, ..living(&login("n1"), "n1") };
        assert!(!behind(other), "a login that memory does not know is newer");
    }
}
