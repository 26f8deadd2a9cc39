//! Divides an input into documents as kubectl does (`k8s.io/apimachinery/pkg/util/yaml`, `decoder.go`): JSON objects one after
//! another, or YAML documents between lines that begin with `---`. Each is read on its own.

use serde_json::Value;

use super::problems::Unreadable;
use super::yaml::{self, Remark};

/// One document of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its number in the input, counted from 1.
    pub number: usize,
    /// Its content; `null` where it has only comments.
    pub value: Value,
    /// What kubectl reads otherwise than it looks, each with its line.
    pub remarks: Vec<String>,
}

/// Reads all documents of an input.
pub fn read(text: &str) -> Result<Vec<Document>, Unreadable> {
    let mut documents = Vec::new();
    let mut start = 0;
    if text.trim_start().starts_with('{') {
        let (objects, end, complete) = json(text);
        // After two objects it is JSON for certain; before, a map in brackets may be YAML.
        if !complete && objects.len() > 1 {
            return Err(Unreadable {
                document: objects.len() + 1,
                line: line_of(text, end + spaces(&text[end..])),
                field: String::new(),
                sentence:
                    "neither the end of the input nor a JSON object; correct it, or write a line --- between \
                           all documents"
                        .to_owned(),
            });
        }
        documents.extend(objects.into_iter().map(|value| (value, Vec::new())));
        if complete {
            return Ok(numbered(documents));
        }
        let rest = &text[end..];
        start = end + rest.find(|c: char| !c.is_whitespace() || c == '\n').unwrap_or(rest.len());
        start += usize::from(text[start..].starts_with('\n') && end > 0);
    }
    let first = line_of(text, start);
    for chunk in chunks(&text[start..]) {
        let document = documents.len() + 1;
        let at = |line: usize| first + line - 1;
        let Chunk { line, text } = chunk.map_err(|(line, sentence)| Unreadable {
            document,
            line: at(line),
            field: String::new(),
            sentence,
        })?;
        let read = yaml::read(&text).map_err(|problem| Unreadable {
            document,
            line: at(line + problem.line - 1),
            field: problem.field,
            sentence: problem.sentence.to_owned(),
        })?;
        let remark = |remark: Remark| format!("line {}: {}", at(line + remark.line - 1), remark.sentence);
        documents.push((read.value, read.remarks.into_iter().map(remark).collect()));
    }
    Ok(numbered(documents))
}

fn numbered(documents: Vec<(Value, Vec<String>)>) -> Vec<Document> {
    let number = |(at, (value, remarks))| Document { number: at + 1, value, remarks };
    documents.into_iter().enumerate().map(number).collect()
}

/// Reads JSON values one after another. Returns them, where the last one ends, and whether nothing else follows.
fn json(text: &str) -> (Vec<Value>, usize, bool) {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut values = Vec::new();
    let mut end = 0;
    loop {
        match stream.next() {
            Some(Ok(value)) => values.push(value),
            Some(Err(_)) => return (values, end, false),
            None => return (values, end, true),
        }
        end = stream.byte_offset();
    }
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

struct Chunk {
    /// Its first line, counted from 1.
    line: usize,
    text: String,
}

/// Divides YAML at the lines that begin with `---`. One that nothing precedes belongs to the document that it begins.
fn chunks(text: &str) -> impl Iterator<Item = Result<Chunk, (usize, String)>> {
    let mut lines = text.split_terminator('\n').enumerate();
    let mut next = 1;
    std::iter::from_fn(move || {
        let mut chunk = Chunk { line: next, text: String::new() };
        for (at, line) in lines.by_ref() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if let Some(rest) = line.strip_prefix("---").map(str::trim) {
                if !rest.is_empty() && !rest.starts_with('#') {
                    let sentence = "text after the separator ---, which kubectl refuses; begin the document in the next line";
                    return Some(Err((at + 1, sentence.to_owned())));
                }
                if !chunk.text.is_empty() {
                    next = at + 2;
                    return Some(Ok(chunk));
                }
            }
            chunk.text.push_str(line);
            chunk.text.push('\n');
        }
        (!chunk.text.is_empty()).then_some(Ok(chunk))
    })
}

#[cfg(test)]
mod tests;
