//! What kubectl refuses although our parser, which follows YAML 1.2, reads it: tabs in the indentation, also of a line that is
//! otherwise blank, and some names of anchors.

use granit_parser::{Event, ScalarStyle, Span, StructureStyle};

use super::super::problems::{ANCHOR_NAME, TAB};

/// Follows the events of one document.
pub(super) struct Strict<'a> {
    lines: Vec<&'a str>,
    /// The lines that a tab may begin: they are part of a value, or in brackets.
    free: Vec<bool>,
    /// The lists and maps that are not complete: what they are, and their first line.
    open: Vec<(Kind, usize)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    List,
    Map,
    Brackets,
}

impl<'a> Strict<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let lines: Vec<&str> = text.split('\n').collect();
        Self { free: vec![false; lines.len()], lines, open: Vec::new() }
    }

    /// Returns what is wrong with an event.
    pub(super) fn check(&mut self, event: &Event<'_>, span: &Span) -> Option<&'static str> {
        let (first, last) = (span.start.line(), span.end.line());
        let line = first.checked_sub(1).and_then(|line| self.lines.get(line)).unwrap_or(&"");
        let tab_before = || line.chars().take(span.start.col()).any(|c| c == '\t');
        let in_list = self.open.last().is_some_and(|(kind, _)| *kind == Kind::List);
        match event {
            Event::MappingStart(StructureStyle::Block, ..) if tab_before() => return Some(TAB),
            Event::Scalar(text, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                let from: String = line.chars().skip(span.start.col()).collect();
                let header = from.trim_start_matches(['|', '>', '+', '-']);
                let indicated = header.starts_with(|c: char| c.is_ascii_digit());
                if text.trim_start_matches('\n').starts_with('\t') && !indicated {
                    return Some(TAB);
                }
                self.release(first, last, |_| true);
            }
            Event::Scalar(..) if in_list && tab_before() => return Some(TAB),
            // A plain text continues in a deeper line; a tab is no depth.
            Event::Scalar(_, ScalarStyle::Plain, ..) => {
                self.release(first, last, |line| !line.starts_with('\t'));
            }
            Event::Scalar(..) => self.release(first, last, |_| true),
            Event::SequenceStart(StructureStyle::Block, ..) => self.open.push((Kind::List, first)),
            Event::MappingStart(StructureStyle::Block, ..) => self.open.push((Kind::Map, first)),
            Event::SequenceStart(..) | Event::MappingStart(..) => self.open.push((Kind::Brackets, first)),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((Kind::Brackets, first)) = self.open.pop()
                    && !self.open.iter().any(|(kind, _)| *kind == Kind::Brackets)
                {
                    self.release(first, last, |_| true);
                }
            }
            Event::Anchor(_, name) => {
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
                return (!plain).then_some(ANCHOR_NAME);
            }
            _ => {}
        }
        None
    }

    /// Lets a tab begin the lines after the first one.
    fn release(&mut self, first: usize, last: usize, allowed: impl Fn(&str) -> bool) {
        for line in first..last.min(self.lines.len()) {
            self.free[line] |= allowed(self.lines[line]);
        }
    }

    /// Returns the first of the lines up to `last` that a tab begins or indents. A line of spaces and tabs counts only if a tab
    /// begins it: after spaces, kubectl reads some of them.
    pub(super) fn tab(&self, last: usize) -> Option<usize> {
        let indented = |line: &str| {
            let text = line.trim_start_matches([' ', '\t']);
            let indentation = &line[..line.len() - text.len()];
            if text.is_empty() { line.starts_with('\t') } else { indentation.contains('\t') }
        };
        let mut lines = self.lines.iter().zip(&self.free).take(last);
        lines.position(|(line, free)| !free && indented(line)).map(|at| at + 1)
    }
}
