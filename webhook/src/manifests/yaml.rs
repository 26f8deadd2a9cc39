//! Reads one YAML document into what kubectl makes of it: the last of duplicate keys counts, keys are text, `<<` merges, and
//! aliases are followed as far as kubectl follows them (`go.yaml.in/yaml/v2`, `decode.go`).

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle, Tag};
use serde_json::{Map, Number, Value};

use super::path::{Path, Step};
use super::problems::{self, syntax};
use super::scalars::{Scalar, float_key, resolve};

/// Most levels of a document after its aliases are followed. The API server reads more, and no manifest has them.
const MAX_DEPTH: usize = 512;

/// What is wrong, and where in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The line of the document, counted from 1.
    pub(super) line: usize,
    pub(super) field: String,
    pub(super) sentence: &'static str,
}

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) value: Value,
    pub(super) remarks: Vec<Remark>,
}

/// What kubectl reads otherwise than it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// The line of the document, counted from 1.
    pub(super) line: usize,
    pub(super) sentence: String,
}

/// A node of the document. Children, anchors and aliases are indices.
struct Node {
    line: usize,
    content: Content,
}

enum Content {
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

/// Reads the first document of `text`; kubectl does not look at what follows it.
pub(super) fn read(text: &str) -> Result<Read, Problem> {
    let nodes = nodes(text)?;
    let mut remarks: Vec<Remark> = nodes
        .ignored
        .map(|line| Remark {
            line,
            sentence: "kubectl ignores what follows the line \"...\"; write --- there".to_owned(),
        })
        .into_iter()
        .collect();
    let Some(root) = nodes.root else { return Ok(Read { value: Value::Null, remarks }) };
    let mut decoder = Decoder {
        nodes: &nodes.all,
        aliases: Vec::new(),
        path: Path::default(),
        decoded: 0,
        aliased: 0,
        remarks: Vec::new(),
    };
    let value = decoder.value(root).map_err(|(line, sentence)| {
        // Of what an alias leads to, the place of the alias: it is the one to change.
        let line = decoder.aliases.first().map_or(line, |alias| nodes.all[*alias].line);
        Problem { line, field: decoder.path.to_string(), sentence }
    })?;
    remarks.append(&mut decoder.remarks);
    Ok(Read { value, remarks })
}

#[derive(Default)]
struct Nodes {
    all: Vec<Node>,
    root: Option<usize>,
    anchors: HashMap<usize, usize>,
    /// The lists and maps that are not complete.
    open: Vec<usize>,
    /// Whether the innermost of them is a list without brackets.
    block_list: Vec<bool>,
    /// The line from which on the input is ignored.
    ignored: Option<usize>,
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

fn nodes(text: &str) -> Result<Nodes, Problem> {
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

type Failed = (usize, &'static str);

struct Decoder<'a> {
    nodes: &'a [Node],
    /// The aliases that are being followed.
    aliases: Vec<usize>,
    path: Path,
    decoded: u64,
    aliased: u64,
    remarks: Vec<Remark>,
}

impl Decoder<'_> {
    /// Counts a node, and refuses what kubectl refuses: a document that consists of aliases for the most part.
    fn count(&mut self, line: usize) -> Result<(), Failed> {
        self.decoded += 1;
        self.aliased += u64::from(!self.aliases.is_empty());
        let share = self.aliased as f64 / self.decoded as f64;
        match self.aliased > 100 && self.decoded > 1000 && share > allowed_aliases(self.decoded) {
            true => Err((line, problems::TOO_MANY_ALIASES)),
            false => Ok(()),
        }
    }

    /// Follows an alias with `then`.
    fn follow<T>(
        &mut self,
        alias: usize,
        target: usize,
        then: impl FnOnce(&mut Self, usize) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        if self.aliases.contains(&alias) {
            return Err((self.nodes[alias].line, problems::SELF_ALIAS));
        }
        if self.aliases.len() >= MAX_DEPTH {
            return Err((self.nodes[alias].line, problems::TOO_DEEP));
        }
        self.aliases.push(alias);
        let done = then(self, target)?;
        self.aliases.pop();
        Ok(done)
    }

    fn value(&mut self, index: usize) -> Result<Value, Failed> {
        let node = &self.nodes[index];
        let line = node.line;
        self.count(line)?;
        match &node.content {
            Content::Alias(target) => self.follow(index, *target, Self::value),
            Content::Scalar { text, plain, tag } => {
                json(resolve(text.clone(), *plain, tag).map_err(|sentence| (line, sentence))?)
                    .ok_or((line, problems::NOT_FINITE))
            }
            Content::Sequence(children) => {
                let mut list = Vec::with_capacity(children.len());
                for (at, child) in children.iter().enumerate() {
                    self.enter(line, Step::Index(at))?;
                    list.push(self.value(*child)?);
                    self.path.0.pop();
                }
                Ok(Value::Array(list))
            }
            Content::Mapping(children) => {
                let mut map = Map::new();
                self.fill(line, children, &mut map)?;
                Ok(Value::Object(map))
            }
        }
    }

    fn enter(&mut self, line: usize, step: Step) -> Result<(), Failed> {
        self.path.0.push(step);
        if self.path.0.len() > MAX_DEPTH { Err((line, problems::TOO_DEEP)) } else { Ok(()) }
    }

    fn fill(&mut self, line: usize, children: &[usize], map: &mut Map<String, Value>) -> Result<(), Failed> {
        let mut written = HashSet::new();
        for pair in children.chunks_exact(2) {
            if self.merges(pair[0]) {
                self.merge(pair[1], map)?;
                continue;
            }
            let key = self.key(pair[0])?;
            self.enter(line, Step::Key(key.clone()))?;
            if !written.insert(key.clone()) && self.aliases.is_empty() {
                let sentence = format!("{} is written twice; kubectl reads the last", self.path);
                self.remarks.push(Remark { line: self.nodes[pair[0]].line, sentence });
            }
            let value = self.value(pair[1])?;
            self.path.0.pop();
            map.insert(key, value);
        }
        Ok(())
    }

    fn merges(&self, key: usize) -> bool {
        let Content::Scalar { text, plain, tag } = &self.nodes[key].content else { return false };
        text == "<<" && (*plain && tag.is_empty() || tag == "tag:yaml.org,2002:merge")
    }

    /// Copies the keys of a map, or of maps of which the first counts most, over those that the map has so far.
    fn merge(&mut self, index: usize, map: &mut Map<String, Value>) -> Result<(), Failed> {
        let nodes = self.nodes;
        let line = nodes[index].line;
        match &nodes[index].content {
            Content::Sequence(children) => {
                children.iter().rev().try_for_each(|child| self.merge_one(*child, map))
            }
            Content::Mapping(_) | Content::Alias(_) => self.merge_one(index, map),
            Content::Scalar { .. } => Err((line, problems::MERGE)),
        }
    }

    fn merge_one(&mut self, index: usize, map: &mut Map<String, Value>) -> Result<(), Failed> {
        let nodes = self.nodes;
        let line = nodes[index].line;
        self.count(line)?;
        match &nodes[index].content {
            Content::Mapping(children) => self.fill(line, children, map),
            Content::Alias(target) => match &nodes[*target].content {
                Content::Mapping(children) => self.follow(index, *target, |decoder, target| {
                    decoder.count(line)?;
                    decoder.fill(nodes[target].line, children, map)
                }),
                _ => Err((line, problems::MERGE)),
            },
            _ => Err((line, problems::MERGE)),
        }
    }

    fn key(&mut self, index: usize) -> Result<String, Failed> {
        let node = &self.nodes[index];
        let line = node.line;
        self.count(line)?;
        match &node.content {
            Content::Alias(target) => self.follow(index, *target, Self::key),
            Content::Scalar { text, plain, tag } => {
                match resolve(text.clone(), *plain, tag).map_err(|sentence| (line, sentence))? {
                    Scalar::Text(text) => Ok(text),
                    Scalar::Bool(value) => Ok(value.to_string()),
                    Scalar::Int(number) => Ok(number.to_string()),
                    Scalar::Float(number) => Ok(float_key(number)),
                    Scalar::Null | Scalar::Unsigned(_) => Err((line, problems::KEY)),
                }
            }
            Content::Sequence(_) | Content::Mapping(_) => Err((line, problems::KEY)),
        }
    }
}

/// The largest share of a document that may come from aliases, as in `allowedAliasRatio`.
fn allowed_aliases(decoded: u64) -> f64 {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    0.99 - 0.89 * ((decoded as f64 - LOW) / (HIGH - LOW)).clamp(0.0, 1.0)
}

fn json(scalar: Scalar) -> Option<Value> {
    Some(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => value.into(),
        Scalar::Int(number) => number.into(),
        Scalar::Unsigned(number) => number.into(),
        // Go writes a float without a fraction as a whole number.
        Scalar::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => (number as i64).into(),
        Scalar::Float(number) => Value::Number(Number::from_f64(number)?),
        Scalar::Text(text) => text.into(),
    })
}

#[cfg(test)]
mod tests;
