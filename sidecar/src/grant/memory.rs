//! Memory is a second copy: every replica keeps the furthest document that it saw, and writes it back where the state
//! Secret was emptied, rolled back or overwritten with what is no document. An open claim is part of it: who made it has
//! perhaps sent. That whoever remembers is in time is the settling's part: nobody claims on what has only just changed.

use super::document::{Document, DocumentError, MAX_SPENT, Spare};

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

/// The head that is remembered, where what was found has gone on from the same login without ever hearing of it: the
/// state was rolled back, and somebody filed another child of the same parent before whoever remembers came. It is no
/// head any more, and it may be the one that lives.
pub fn orphan(found: &Document, memory: &Document) -> Option<Spare> {
    let (seed, head) = (memory.seed.as_ref()?, memory.refresh.as_ref()?);
    found.seed.as_ref().filter(|found| found.token_fp == seed.token_fp)?;
    // Of what is older than the ring of spent tokens, nothing can be told.
    let since = found.r#gen.checked_sub(memory.r#gen);
    since.filter(|since| *since < MAX_SPENT as u64)?;
    let orphan = Spare {
        token: head.token.clone(),
        fp: head.fp.clone(),
        seed_seq: memory.progress().0,
        r#gen: memory.r#gen,
        presented: head.presented,
        binding: seed.binding.clone(),
        ..Spare::default()
    };
    (!knows(found, &orphan.fp)).then_some(orphan)
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
        let found = orphan(&other(5, "x4"), &memory).expect("another child of the same parent");
        assert_eq!(Some(found.fp.as_str()), memory.head_fp());
        assert!(orphan(&other(9, "x9"), &memory).is_some(), "and others since");
        assert!(orphan(&memory, &memory).is_none());
        let mut on = other(6, "r5");
        on.spent.push(found.fp.clone());
        assert!(orphan(&on, &memory).is_none(), "it was replaced");
        let kept = Document { spare: vec![found.clone()], ..other(5, "x4") };
        assert!(orphan(&kept, &memory).is_none(), "it is kept");
        assert!(orphan(&other(4, "x3"), &memory).is_none(), "what fell behind is repaired");
        assert!(orphan(&other(400, "x"), &memory).is_none(), "too long ago to tell");
        let relogged = Document { r#gen: 6, ..living(&login("n1"), "n2") };
        assert!(orphan(&relogged, &memory).is_none(), "another login");
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
