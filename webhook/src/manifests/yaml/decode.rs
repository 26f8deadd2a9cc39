//! Turns nodes into a JSON value, as kubectl does.

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

use super::super::path::{Path, Step};
use super::super::problems;
use super::super::scalars::{Scalar, float_key, resolve};
use super::finding::{Problem, Remark};
use super::nodes::{Content, Node};

/// Most levels of a document after its aliases are followed. The API server reads more, and no manifest has them.
const MAX_DEPTH: usize = 512;

/// Returns the value of the node `root`. Adds what kubectl reads otherwise than it looks to `remarks`.
pub(super) fn decode(nodes: &[Node], root: usize, remarks: &mut Vec<Remark>) -> Result<Value, Problem> {
    let (aliases, path) = (Vec::new(), Path::default());
    let mut decoder = Decoder { nodes, aliases, path, decoded: 0, aliased: 0, remarks };
    decoder.value(root).map_err(|(line, sentence)| {
        // The alias is to be changed, not the value that it stands for.
        let line = decoder.aliases.first().map_or(line, |alias| nodes[*alias].line);
        Problem { line, field: decoder.path.to_string(), sentence }
    })
}

/// The line, and what is wrong there.
type Failed = (usize, &'static str);

struct Decoder<'a> {
    nodes: &'a [Node],
    /// The aliases that are being followed.
    aliases: Vec<usize>,
    path: Path,
    decoded: u64,
    aliased: u64,
    remarks: &'a mut Vec<Remark>,
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
