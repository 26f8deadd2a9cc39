//! Memory is a second copy: every replica keeps the furthest document that it saw, and writes it back where the state
//! Secret was emptied, rolled back or overwritten with what is no document. An open claim is part of it: who made it has
//! perhaps sent. That whoever remembers is in time is the settling's part: nobody claims on what has only just changed.

use super::document::{Document, DocumentError};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::fixtures::{living, login};

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
