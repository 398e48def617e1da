//! Keys and dashes that are not below those that they belong to.

use super::lines::{Line, Lines};
use super::mend::{Certainty, Mended};
use super::{Finding, Position};

/// A place of the lines above at which a line can begin.
struct Column<'t> {
    at: usize,
    line: usize,
    /// The key there; nothing for a dash.
    key: Option<&'t str>,
}

/// Moves a line, and what belongs to it, below the key or dash above that is nearest to it.
pub(super) fn align(lines: &Lines<'_>, number: usize) -> Option<Mended> {
    let line = lines.get(number).filter(|line| !line.is_blank())?;
    let own = line.key().filter(super::lines::Key::is_whole);
    if !line.has_dash() && own.is_none() {
        return None;
    }
    let columns = columns(lines, number);
    let fitting = columns.iter().filter(|column| column.key.is_none() == line.has_dash());
    let nearest = fitting.min_by_key(|column| column.at.abs_diff(line.indent))?;
    if nearest.at == line.indent {
        return None;
    }
    let (column, found) = (nearest.at + 1, format!("it in column {}", line.indent + 1));
    let expected = match (nearest.key, &own) {
        (Some(other), Some(own)) if !line.has_dash() => {
            format!("`{}` in column {column}, below `{other}` in line {}", own.name, nearest.line)
        }
        _ => format!("this dash in column {column}, below the one in line {}", nearest.line),
    };
    let mistake = Finding { at: Position { line: number, column: line.indent + 1 }, expected, found };
    let text = shifted(lines, line, nearest.at);
    Some(Mended { mistakes: vec![mistake], text, certainty: Certainty::ByLayout })
}

/// Where a line can begin: below the keys and dashes that have not ended, the nearest line's first.
fn columns<'t>(lines: &Lines<'t>, number: usize) -> Vec<Column<'t>> {
    let mut columns: Vec<Column<'t>> = Vec::new();
    for line in lines.above(number) {
        let limit = columns.last().map_or(usize::MAX, |column| column.at);
        if let Some(key) = line.key().filter(super::lines::Key::is_whole)
            && line.start < limit
        {
            columns.push(Column { at: line.start, line: line.number, key: Some(key.name) });
        }
        let limit = columns.last().map_or(usize::MAX, |column| column.at);
        if line.has_dash() && line.indent < limit {
            columns.push(Column { at: line.indent, line: line.number, key: None });
        }
        if columns.last().is_some_and(|column| column.at == 0) {
            break;
        }
    }
    columns
}

/// The text with a line moved to another column, and with it what is indented deeper and its own next keys.
fn shifted(lines: &Lines<'_>, moved: Line<'_>, to: usize) -> String {
    let belongs = |line: Line<'_>| {
        line.is_blank()
            || line.indent > moved.indent
            || (line.indent == moved.indent && !line.has_dash() && !moved.has_dash())
    };
    let below = lines.iter().skip(moved.number).take_while(|line| belongs(*line)).count();
    let range = moved.number..=moved.number + below;
    lines.with(|line| {
        let indent = (line.indent + to).saturating_sub(moved.indent);
        range.contains(&line.number).then(|| format!("{}{}", " ".repeat(indent), &line.text[line.indent..]))
    })
}
