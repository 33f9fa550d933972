//! YAML as a tree that knows its lines, for errors that name them.
//!
//! YAML 1.2, without anchors, aliases and tags: nothing in this file needs them, and who misspells a
//! value so that it becomes one learns of it.

use anyhow::{anyhow, bail, ensure};
use saphyr_parser::{Event, Parser, ScalarStyle};

/// Deeper than anything that the file may have.
const MAX_DEPTH: usize = 8;

/// A value and the line on which it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Null,
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key and its line.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

/// The entries of a mapping with known keys. What is empty counts as absent.
pub(super) struct Fields(Vec<(Key, Node)>);

impl Node {
    /// The one document in `text`; an empty text is an empty document.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut events = Events(Parser::new_from_str(text));
        let mut root = None;
        loop {
            let (event, line) = events.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                _ if root.is_some() => bail!("line {line}: a second document"),
                event => root = Some(events.node(event, line, 0)?),
            }
        }
        Ok(root.unwrap_or(Self {
            line: 1,
            value: Value::Null,
        }))
    }

    fn is_empty(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The entries of a mapping, of whatever keys.
    pub(super) fn entries(self) -> anyhow::Result<Vec<(Key, Node)>> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Mapping(entries) => Ok(entries),
            _ => bail!("line {}: keys with values are expected here", self.line),
        }
    }

    /// The entries of a mapping that may have these keys.
    pub(super) fn fields(self, known: &[&str]) -> anyhow::Result<Fields> {
        Fields::known(self.entries()?, known)
    }

    /// A scalar as text.
    pub(super) fn text(self) -> anyhow::Result<String> {
        match self.value {
            Value::Null => Ok(String::new()),
            Value::Scalar(text) => Ok(text),
            _ => bail!("line {}: a single value is expected here", self.line),
        }
    }

    /// What YAML 1.1 calls a boolean, as the exporters in Go read it.
    pub(super) fn boolean(self) -> anyhow::Result<bool> {
        let line = self.line;
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            other => bail!("line {line}: {other:?} is neither true nor false"),
        }
    }

    /// The items of a sequence.
    pub(super) fn items(self) -> anyhow::Result<Vec<Node>> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Sequence(items) => Ok(items),
            _ => bail!("line {}: a list is expected here", self.line),
        }
    }
}

impl Fields {
    /// Entries that may have these keys.
    pub(super) fn known(entries: Vec<(Key, Node)>, known: &[&str]) -> anyhow::Result<Self> {
        let unknown = entries
            .iter()
            .find(|(key, _)| !known.contains(&key.name.as_str()));
        if let Some((key, _)) = unknown {
            bail!(
                "line {}: unknown key {:?} (known here: {})",
                key.line,
                key.name,
                known.join(", ")
            );
        }
        Ok(Self(entries))
    }

    /// Takes the value of a key, if it has one.
    pub(super) fn take(&mut self, name: &str) -> Option<Node> {
        let index = self.0.iter().position(|(key, _)| key.name == name)?;
        let (_, node) = self.0.swap_remove(index);
        (!node.is_empty()).then_some(node)
    }
}

struct Events<'a>(Parser<'a, saphyr_parser::StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> anyhow::Result<(Event<'a>, usize)> {
        match self.0.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(e)) => bail!("line {}: {}", e.marker().line(), e.info()),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// The node that begins with this event.
    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> anyhow::Result<Node> {
        ensure!(depth < MAX_DEPTH, "line {line}: nested too deeply");
        let value = match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style),
            Event::SequenceStart(0, None) => Value::Sequence(self.sequence(depth)?),
            Event::MappingStart(0, None) => Value::Mapping(self.mapping(depth)?),
            _ => bail!("line {line}: anchors, aliases and tags are not supported"),
        };
        Ok(Node { line, value })
    }

    fn sequence(&mut self, depth: usize) -> anyhow::Result<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> anyhow::Result<Vec<(Key, Node)>> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let name = self.node(event, line, depth + 1)?.text()?;
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.name == name) {
                return Err(anyhow!(
                    "line {line}: {name:?} is already on line {}",
                    first.line
                ));
            }
            let (event, value_line) = self.next()?;
            let value = self.node(event, value_line, depth + 1)?;
            entries.push((Key { line, name }, value));
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let is_plain = matches!(style, ScalarStyle::Plain);
    match text {
        "" | "~" | "null" | "Null" | "NULL" if is_plain => Value::Null,
        text => Value::Scalar(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Node::parse(text).expect_err("it is refused").to_string()
    }

    #[test]
    fn the_empty_file_is_an_empty_mapping() {
        for text in ["", "\n", "# a comment\n", "---\n", "{}", "~"] {
            let entries = Node::parse(text).expect("YAML").entries();
            assert!(entries.expect("a mapping").is_empty(), "{text:?}");
        }
    }

    #[test]
    fn values_know_their_lines() {
        let root =
            Node::parse("a: 1\nb:\n  - yes\n  - |\n    x\n    y\nc: ''\nd:\n").expect("YAML");
        let mut fields = root.fields(&["a", "b", "c", "d"]).expect("known keys");
        assert_eq!(fields.take("a").expect("a").text().expect("text"), "1");
        let items = fields.take("b").expect("b").items().expect("a list");
        assert_eq!(items[0].line, 3);
        let [first, second] = items.try_into().expect("two");
        assert!(first.boolean().expect("a boolean"));
        assert_eq!(second.text().expect("text"), "x\ny\n");
        assert_eq!(fields.take("c").expect("c").text().expect("text"), "");
        assert!(fields.take("d").is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line) in [
            ("a: 1\na: 2\n", "line 2: \"a\" is already on line 1"),
            ("a: &x 1\nb: *x\n", "line 1: anchors"),
            ("a: !!str 1\n", "line 1: anchors"),
            ("a: 1\n---\nb: 1\n", "line 3: a second document"),
            ("[[[[[[[[[1]]]]]]]]]", "line 1: nested too deeply"),
        ] {
            let error = refused(text);
            assert!(error.starts_with(line), "{error}");
        }
        assert!(refused("a: 1\nb: [1,\n").starts_with("line 3: "));
        let unknown = Node::parse("a: 1\n\nb: 2\n").expect("YAML").fields(&["a"]);
        let error = unknown.err().expect("b is unknown").to_string();
        assert_eq!(error, "line 3: unknown key \"b\" (known here: a)");
    }
}
