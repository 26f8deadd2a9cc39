//! Parses a YAML document into nodes, with the line of each.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle, Tag};

use super::super::path::{Path, Step};
use super::super::problems::{self, syntax};
use super::Problem;

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
    /// Whether the innermost of them is a list without brackets.
    block_list: Vec<bool>,
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
    let lines: Vec<&str> = text.split('\n').collect();
    let mut nodes = Nodes::default();
    let mut events = Parser::new_from_str_with_options(text, options);
    while let Some(event) = events.next() {
        let (event, span) = event.map_err(|error| Problem {
            line: error.marker().line().max(1),
            field: nodes.field(),
            sentence: syntax(error.kind()),
        })?;
        let line = span.start.line();
        if let Some(sentence) = stricter(&event, &span, &lines, nodes.block_list.last() == Some(&true)) {
            return Err(Problem { line, field: nodes.field(), sentence });
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref().map(Tag::to_string).unwrap_or_default();
                nodes.add(line, anchor, Content::Scalar { text: text.into_owned(), plain, tag });
            }
            Event::SequenceStart(style, anchor, _) => {
                nodes.add(line, anchor, Content::Sequence(Vec::new()));
                nodes.block_list.push(style == StructureStyle::Block);
            }
            Event::MappingStart(_, anchor, _) => {
                nodes.add(line, anchor, Content::Mapping(Vec::new()));
                nodes.block_list.push(false);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                nodes.open.pop();
                nodes.block_list.pop();
            }
            // The parser resolved the name.
            Event::Alias(anchor) => match nodes.anchors.get(&anchor) {
                Some(target) => nodes.add(line, 0, Content::Alias(*target)),
                None => return Err(Problem { line, field: nodes.field(), sentence: problems::ANCHOR }),
            },
            Event::DocumentEnd => {
                let more = !matches!(events.next(), None | Some(Ok((Event::StreamEnd, _))));
                nodes.ignored = more.then_some(line);
                return Ok(nodes);
            }
            _ => {}
        }
    }
    Ok(nodes)
}

/// Returns what kubectl refuses although our parser, which follows YAML 1.2, reads it.
fn stricter(event: &Event<'_>, span: &Span, lines: &[&str], in_block_list: bool) -> Option<&'static str> {
    let line = span.start.line().checked_sub(1).and_then(|line| lines.get(line)).unwrap_or(&"");
    let tab_before = || line.chars().take(span.start.col()).any(|c| c == '\t');
    match event {
        Event::MappingStart(StructureStyle::Block, ..) if tab_before() => Some(problems::TAB),
        Event::Scalar(text, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
            let from: String = line.chars().skip(span.start.col()).collect();
            let indicated =
                from.trim_start_matches(['|', '>', '+', '-']).starts_with(|c: char| c.is_ascii_digit());
            (text.trim_start_matches('\n').starts_with('\t') && !indicated).then_some(problems::TAB)
        }
        Event::Scalar(..) if in_block_list && tab_before() => Some(problems::TAB),
        Event::Anchor(_, name) => {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            (!plain).then_some(problems::ANCHOR_NAME)
        }
        _ => None,
    }
}
