//! Parses a YAML document into nodes, with the line of each.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Tag};

use super::super::path::{Path, Step};
use super::super::problems::{self, syntax};
use super::finding::Problem;
use super::strict::Strict;

/// A node of the document. Children, anchors and aliases are indices.
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

/// A scalar, list, map or alias.
pub(super) enum Content {
    Scalar {
        text: String,
        plain: bool,
        tag: String,
    },
    Sequence(Vec<usize>),
    /// Keys and values in turn.
    Mapping(Vec<usize>),
    Alias(usize),
}

/// The nodes of a document.
#[derive(Default)]
pub(super) struct Nodes {
    pub(super) all: Vec<Node>,
    /// `None` for a document without content.
    pub(super) root: Option<usize>,
    anchors: HashMap<usize, usize>,
    /// The lists and maps that are not complete.
    open: Vec<usize>,
    /// The line from which on the input is ignored.
    pub(super) ignored: Option<usize>,
}

impl Nodes {
    fn add(&mut self, line: usize, anchor: usize, content: Content) {
        let index = self.all.len();
        let collection = matches!(content, Content::Sequence(_) | Content::Mapping(_));
        self.all.push(Node { line, content });
        match self.open.last().map(|parent| &mut self.all[*parent].content) {
            Some(Content::Sequence(children) | Content::Mapping(children)) => children.push(index),
            _ => self.root = Some(index),
        }
        if anchor != 0 {
            self.anchors.insert(anchor, index);
        }
        if collection {
            self.open.push(index);
        }
    }

    /// The path of what is being read.
    fn field(&self) -> String {
        let step = |index: &usize| match &self.all[*index].content {
            Content::Sequence(children) => Some(Step::Index(children.len().saturating_sub(1))),
            Content::Mapping(children) => {
                let key = children.len().checked_sub(1).map(|last| children[last - last % 2])?;
                match &self.all[key].content {
                    Content::Scalar { text, .. } => Some(Step::Key(text.clone())),
                    _ => None,
                }
            }
            _ => None,
        };
        Path(self.open.iter().filter_map(step).collect()).to_string()
    }
}

/// Parses the first document of `text`.
pub(super) fn parse(text: &str) -> Result<Nodes, Problem> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_anchor_events = true;
    let mut strict = Strict::new(text);
    let mut nodes = Nodes::default();
    let mut events = Parser::new_from_str_with_options(text, options);
    while let Some(event) = events.next() {
        let (event, span) = event.map_err(|error| Problem {
            line: error.marker().line().max(1),
            field: nodes.field(),
            sentence: syntax(error.kind()),
        })?;
        let line = span.start.line();
        if let Some(sentence) = strict.check(&event, &span) {
            return Err(Problem { line, field: nodes.field(), sentence });
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref().map(Tag::to_string).unwrap_or_default();
                nodes.add(line, anchor, Content::Scalar { text: text.into_owned(), plain, tag });
            }
            Event::SequenceStart(_, anchor, _) => nodes.add(line, anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, _) => nodes.add(line, anchor, Content::Mapping(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => drop(nodes.open.pop()),
            // The parser resolved the name.
            Event::Alias(anchor) => match nodes.anchors.get(&anchor) {
                Some(target) => nodes.add(line, 0, Content::Alias(*target)),
                None => return Err(Problem { line, field: nodes.field(), sentence: problems::ANCHOR }),
            },
            Event::DocumentEnd => {
                if let Some(line) = strict.tab(line) {
                    return Err(Problem { line, field: String::new(), sentence: problems::TAB });
                }
                let more = !matches!(events.next(), None | Some(Ok((Event::StreamEnd, _))));
                nodes.ignored = more.then_some(line);
                return Ok(nodes);
            }
            _ => {}
        }
    }
    Ok(nodes)
}
