//! The tree, from the parser's events.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::mapping::OpenMapping;
use super::{Budget, Findings, Node, Position, Scalar, Style, Value, quoted, text};

/// Reads one document. Mistakes that leave the rest readable are collected; a syntax error or a
/// spent budget ends the reading.
pub fn parse(bytes: &[u8], budget: Budget) -> Result<Node, Findings> {
    if bytes.len() > budget.bytes {
        let mut findings = Findings::default();
        let found = format!("{} bytes", bytes.len());
        findings.add(Position::START, format!("a file of at most {} bytes", budget.bytes), found);
        return Err(findings);
    }
    let text = text::decode(bytes)?;
    let mut builder = Builder::new(budget);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span),
            // Its own limit; it looks ahead, so it can come to it before the builder comes to ours.
            Err(error) if error.info() == "recursion limit exceeded" => {
                Err(too_deep(position(error.marker()), &budget))
            }
            Err(error) => Err(syntax_error(&error, text)),
        };
        if let Err(Fatal { at, expected, found }) = taken {
            builder.findings.add(at, expected, found);
            return Err(builder.findings);
        }
    }
    if builder.findings.is_empty() { Ok(builder.root.unwrap_or_else(nothing)) } else { Err(builder.findings) }
}

fn nothing() -> Node {
    Node { at: Position::START, value: Value::Scalar(Scalar { text: String::new(), style: Style::Plain }) }
}

/// A mistake after which nothing can be read.
struct Fatal {
    at: Position,
    expected: String,
    found: String,
}

fn fatal(at: Position, expected: impl Into<String>, found: impl Into<String>) -> Fatal {
    Fatal { at, expected: expected.into(), found: found.into() }
}

fn too_deep(at: Position, limit: &Budget) -> Fatal {
    fatal(at, format!("lists and mappings nested at most {} deep", limit.depth), "deeper ones")
}

struct Builder {
    limit: Budget,
    left: Budget,
    findings: Findings,
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
    fn new(budget: Budget) -> Self {
        Self {
            limit: budget,
            left: budget,
            findings: Findings::default(),
            open: Vec::new(),
            anchors: HashMap::new(),
            documents: 0,
            root: None,
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        let at = position(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { Err(fatal(at, "one document in the file", "a second one")) } else { Ok(()) }
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", at);
                self.begin(Open { at, anchor, content: Content::Sequence(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", at);
                self.begin(Open { at, anchor, content: Content::Mapping(OpenMapping::default()) })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(at, &Budget { bytes: text.len(), nodes: 1, depth: 0 })?;
                let style = self.style(style, tag.as_deref(), at);
                let node = Node { at, value: Value::Scalar(Scalar { text: text.into_owned(), style }) };
                self.put(node, anchor)
            }
            Event::Alias(id) => self.alias(id, at),
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
            Some(Content::Mapping(mapping)) => mapping.put(node, &mut self.findings),
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

    /// Tags of the core schema only say what the readers know; any other means something to another
    /// program.
    fn check_tag(&mut self, tag: Option<&Tag>, own: &str, at: Position) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == own)
        {
            self.findings.add(at, "a value without a tag", quoted(&tag.to_string()));
        }
    }

    fn style(&mut self, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Style {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && matches!(&*tag.suffix, "int" | "float" | "bool" | "null") => {
                Style::Plain
            }
            Some(tag) => {
                self.check_tag(Some(tag), "str", at);
                Style::Quoted
            }
            None if style == ScalarStyle::Plain => Style::Plain,
            None => Style::Quoted,
        }
    }
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

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// The parser's message, and a better one for the mistakes that people make most.
fn syntax_error(error: &ScanError, text: &str) -> Fatal {
    let at = position(error.marker());
    // The parser places a tab at what follows it, or at the end of the line before.
    for number in [at.line, at.line + 1, at.line.saturating_sub(1)] {
        let line = text.lines().nth(number.wrapping_sub(1)).unwrap_or("");
        let blank = &line[..line.len() - line.trim_start().len()];
        if let Some(index) = blank.find('\t') {
            let at = Position { line: number, column: index + 1 };
            return fatal(at, "spaces for indentation", "a tab");
        }
    }
    let info = error.info();
    let hint = if info.contains("mapping values are not allowed") {
        ": is there a second `: ` in the line (then put the value in quotes), or one space too many before it?"
    } else if info.contains("unknown anchor") {
        ": a text that begins with `*` needs quotes"
    } else if info.contains("unexpected character") {
        ": a text that begins with this character needs quotes"
    } else {
        ""
    };
    fatal(at, "YAML", format!("a mistake in its syntax ({info}){hint}"))
}
