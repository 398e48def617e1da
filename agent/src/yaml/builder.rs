//! The tree, from the parser's events.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, ScalarStyle, Span, Tag};

use super::finding::KEPT;
use super::mapping::OpenMapping;
use super::{Budget, Document, Findings, Node, Oddity, Position, Scalar, Style, Value, quoted};

fn nothing() -> Node {
    Node { at: Position::START, value: Value::Scalar(Scalar { text: String::new(), style: Style::Plain }) }
}

/// Whether there is more to read.
pub(super) enum Next {
    More,
    /// What follows belongs to another document.
    End,
}

/// A mistake after which nothing can be read.
pub(super) struct Fatal {
    pub at: Position,
    pub expected: String,
    pub found: String,
}

pub(super) fn fatal(at: Position, expected: impl Into<String>, found: impl Into<String>) -> Fatal {
    Fatal { at, expected: expected.into(), found: found.into() }
}

pub(super) fn too_deep(at: Position, limit: &Budget) -> Fatal {
    fatal(at, format!("lists and mappings nested at most {} deep", limit.depth), "deeper ones")
}

/// What was built so far.
pub(super) struct Builder {
    limit: Budget,
    left: Budget,
    findings: Findings,
    oddities: Vec<Oddity>,
    /// Lists and mappings that have not ended, outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    documents: usize,
    root: Option<Node>,
}

struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping(OpenMapping),
}

struct Anchored {
    node: Node,
    cost: Budget,
}

impl Builder {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            limit: budget,
            left: budget,
            findings: Findings::default(),
            oddities: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            documents: 0,
            root: None,
        }
    }

    /// What became of a text that was read to its end. Mistakes come before those of the tree.
    pub(super) fn document(self, mut mistakes: Findings, guessed: bool) -> Document {
        mistakes.extend(&self.findings);
        let root = (!guessed).then(|| self.root.unwrap_or_else(nothing));
        Document { root, findings: mistakes, oddities: self.oddities }
    }

    pub(super) fn stopped(self, mut mistakes: Findings, last: Option<Fatal>) -> Document {
        mistakes.extend(&self.findings);
        if let Some(Fatal { at, expected, found }) = last {
            mistakes.add(at, expected, found);
        }
        Document { root: None, findings: mistakes, oddities: self.oddities }
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, event: Event<'_>, span: Span) -> Result<Next, Fatal> {
        let at = position(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.note(Oddity::SecondDocument { at });
                    return Ok(Next::End);
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", at);
                self.begin(Open { at, anchor, content: Content::Sequence(Vec::new()) })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", at);
                self.begin(Open { at, anchor, content: Content::Mapping(OpenMapping::default()) })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(at, &Budget { bytes: text.len(), nodes: 1, depth: 0 })?;
                let style = self.style(style, tag.as_deref(), at);
                let node = Node { at, value: Value::Scalar(Scalar { text: text.into_owned(), style }) };
                self.put(node, anchor)?;
            }
            Event::Alias(id) => self.alias(id, at)?,
        }
        Ok(Next::More)
    }

    /// Keeps what is odd; as with findings, not of each line of a long file.
    fn note(&mut self, oddity: Oddity) {
        if self.oddities.len() < KEPT {
            self.oddities.push(oddity);
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), Fatal> {
        self.check_depth(open.at, 1)?;
        self.spend(open.at, &Budget { bytes: 0, nodes: 1, depth: 0 })?;
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fatal> {
        let Some(Open { at, anchor, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping(mapping) => Value::Mapping(mapping.finish(&mut self.findings)),
        };
        self.put(Node { at, value }, anchor)
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<(), Fatal> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(fatal(at, "an alias for a value that ends before it", "one for a value that contains it"));
        };
        let (node, cost) = (anchored.node.clone(), anchored.cost);
        self.check_depth(at, cost.depth)?;
        self.spend(at, &cost)?;
        self.put(node, 0)
    }

    /// Puts a finished node where it belongs, and keeps it for aliases if it has an anchor.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Fatal> {
        if anchor > 0 {
            let cost = node.cost();
            self.spend(node.at, &cost)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), cost });
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping(mapping)) => {
                if let Some(again) = mapping.put(node, &mut self.findings) {
                    self.note(again);
                }
            }
        }
        Ok(())
    }

    fn check_depth(&self, at: Position, more: usize) -> Result<(), Fatal> {
        if self.open.len() + more > self.limit.depth {
            return Err(too_deep(at, &self.limit));
        }
        Ok(())
    }

    fn spend(&mut self, at: Position, cost: &Budget) -> Result<(), Fatal> {
        let left = (self.left.bytes.checked_sub(cost.bytes), self.left.nodes.checked_sub(cost.nodes));
        let (Some(bytes), Some(nodes)) = left else {
            let expected =
                format!("at most {} values and {} bytes of text, aliases expanded", self.limit.nodes, self.limit.bytes);
            return Err(fatal(at, expected, "more"));
        };
        self.left = Budget { bytes, nodes, ..self.left };
        Ok(())
    }

    /// Tags of the core schema only say what the readers know. Any other means something to another program:
    /// one without a schema of its own is ignored by readers who do not know it.
    fn check_tag(&mut self, tag: Option<&Tag>, own: &str, at: Position) {
        match tag {
            None => {}
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == own => {}
            Some(tag) if is_local(tag) => self.note(Oddity::Tag { at, tag: tag.to_string() }),
            Some(tag) => self.findings.add(at, "a value without a tag", quoted(&tag.to_string())),
        }
    }

    fn style(&mut self, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Style {
        let written = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
        match tag {
            None => written,
            Some(tag) if tag.is_yaml_core_schema() && matches!(&*tag.suffix, "int" | "float" | "bool" | "null") => {
                Style::Plain
            }
            Some(tag) => {
                self.check_tag(Some(tag), "str", at);
                if is_local(tag) { written } else { Style::Quoted }
            }
        }
    }
}

/// Whether a tag is a name such as `!GetAtt`. Ruby's readers make objects of `!ruby/…`.
fn is_local(tag: &Tag) -> bool {
    tag.handle == "!" && !tag.suffix.is_empty() && !tag.suffix.starts_with("ruby/")
}

impl Node {
    /// What a copy takes. Recurses no deeper than the budget's depth.
    fn cost(&self) -> Budget {
        let mut cost = Budget { bytes: 0, nodes: 1, depth: 0 };
        match &self.value {
            Value::Scalar(scalar) => cost.bytes = scalar.text.len(),
            Value::Sequence(items) => items.iter().for_each(|item| cost.add_child(&item.cost())),
            Value::Mapping(entries) => {
                for entry in entries {
                    cost.bytes += entry.key.len();
                    cost.nodes += 1;
                    cost.add_child(&entry.value.cost());
                }
            }
        }
        if !matches!(self.value, Value::Scalar(_)) {
            cost.depth += 1;
        }
        cost
    }
}

impl Budget {
    fn add_child(&mut self, child: &Self) {
        self.bytes += child.bytes;
        self.nodes += child.nodes;
        self.depth = self.depth.max(child.depth);
    }
}

/// A place, as people count.
pub(super) fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}
