//! Memory is a second copy: every replica keeps the furthest document that it saw, and writes it back where the state
//! Secret was emptied, rolled back or overwritten with what is no document. An open claim is part of it: who made it has
//! perhaps sent. That whoever remembers is in time is the settling's part: nobody claims on what has only just changed.

use super::document::{Document, DocumentError, MAX_SPARE, MAX_SPENT, Spare};

/// Whether what was found is an earlier state of what is remembered, or no document at all. A login that memory has
/// never heard of is no earlier state, however low it counts.
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

/// The tokens that are remembered, where what was found has gone on from the same login without ever hearing of them: the
/// state was rolled back, and somebody filed another child of the same parent before whoever remembers came. What was the
/// head is none any more, and it may be the one that lives; so it is the last, which is tried first.
pub fn orphans(found: &Document, memory: &Document) -> Vec<Spare> {
    let (Some(seed), Some(head)) = (&memory.seed, &memory.refresh) else { return Vec::new() };
    let same = found.seed.as_ref().is_some_and(|found| found.token_fp == seed.token_fp);
    // Of what is older than the ring of spent tokens, nothing can be told.
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
    // Where there is no room, those that others keep would be pushed out, and come back, and so on.
    let room = MAX_SPARE.saturating_sub(found.spare.len());
    let of_this_login = memory.spare.iter().filter(|spare| spare.seed.is_none());
    let mut orphans: Vec<_> =
        of_this_login.filter(|spare| !knows(found, &spare.fp)).take(room).cloned().collect();
    orphans.extend(Some(head).filter(|head| !knows(found, &head.fp)));
    orphans
}

/// Whether a refresh token is in the document, or was and has been replaced.
pub fn knows(document: &Document, fp: &str) -> bool {
    document.head_fp() == Some(fp)
        || document.spent.iter().any(|spent| spent == fp)
        || document.spare.iter().any(|spare| spare.fp == fp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::fixtures::{living, login};

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
        assert!(orphans(&other(4, "x3"), &memory).is_empty(), "what fell behind is repaired");
        assert!(orphans(&other(400, "x"), &memory).is_empty(), "too long ago to tell");
        let relogged = Document { r#gen: 6, ..living(&login("n1"), "n2") };
        assert!(orphans(&relogged, &memory).is_empty(), "another login");
    }

    #[test]
    fn so_is_a_spare_while_there_is_room_for_it() {
        let spare = |fp: &str| Spare { fp: fp.to_owned(), ..Spare::default() };
        let with = |spare: Vec<Spare>| Document { r#gen: 5, spare, ..living(&login("r1"), "r4") };
        let memory = with(vec![spare("x")]);
        assert_eq!(
            orphans(&with(vec![]), &memory),
            vec![spare("x")],
            "somebody repaired what was rolled back"
        );
        let full = (0..MAX_SPARE).map(|i| spare(&i.to_string())).collect();
        assert!(orphans(&with(full), &memory).is_empty(), "no round of pushing each other out");
        let before = Spare { seed: Some(memory.seed.clone().expect("a login")), ..spare("x") };
        assert!(
            orphans(&with(vec![]), &with(vec![before])).is_empty(),
            "what a login that worked has replaced"
        );
        let spent = Document { spent: vec!["x".to_owned()], ..with(vec![]) };
        assert!(orphans(&spent, &memory).is_empty(), "it was tried");
    }

    #[test]
    fn what_was_emptied_or_rolled_back_is_repaired_and_what_went_on_is_not() {
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
