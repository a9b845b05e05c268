//! Graphs without weights: `.graphml`, plain or gzipped, as igraph and NetworkX write them.
//!
//! Only `<node id>` and `<edge source target>` are read. Comments are skipped; entities in ids stay as
//! written, so that an id and its mention agree.

use std::collections::BTreeMap;
use std::path::Path;

use unbraid::data::Csr;

use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::text::Lines;

/// Reads the graph without directions and loops: n × n, symmetric, every edge 1, nodes in file order.
///
/// # Errors
/// [`Error::Input`]: a tag without an end, a node without an id or named twice, an edge to a node that
/// is not there, no node.
pub fn read_graphml(path: &Path) -> Result<Csr> {
    let name = path.display().to_string();
    let length = std::fs::metadata(path).map_err(|e| Error::unreadable(&name, &e))?.len();
    let mut lines = Lines::open(path, &name, &Budget::new(None, length))?;
    let mut text = String::new();
    while let Some(line) = lines.next()? {
        text += line;
        text.push('\n');
    }
    let bad = |at: usize, found: String, rule: &str| {
        let line = text[..at].matches('\n').count() + 1;
        Error::input(&name, format!("line {line}"), found, rule, "write the graph as GraphML again")
    };
    let mut nodes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut edges = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find('<').map(|i| at + i) {
        let comment = text[start..].starts_with("<!--");
        let end = if comment { "-->" } else { ">" };
        let Some(stop) = text[start..].find(end).map(|i| start + i) else {
            return Err(bad(start, "a tag without an end".into(), "tags end with `>`"));
        };
        let tag = &text[start + 1..stop];
        at = stop + end.len();
        if comment {
            continue;
        }
        match tag.split_whitespace().next().map(|t| t.trim_end_matches('/')) {
            Some("node") => {
                let id = attribute(tag, "id")
                    .ok_or_else(|| bad(start, "a node without an id".into(), "nodes have ids"))?;
                let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
                if nodes.insert(id, count).is_some() {
                    return Err(bad(start, format!("node {id:?} again"), "ids of nodes differ"));
                }
            }
            Some("edge") => match (attribute(tag, "source"), attribute(tag, "target")) {
                (Some(from), Some(to)) => edges.push((start, from, to)),
                _ => {
                    return Err(bad(
                        start,
                        "an edge without its ends".into(),
                        "edges have source and target",
                    ));
                }
            },
            _ => {}
        }
    }
    if nodes.is_empty() {
        return Err(bad(0, "no node".into(), "a graph has nodes"));
    }
    let mut both = Vec::with_capacity(2 * edges.len());
    for (place, from, to) in edges {
        let of = |id: &str| {
            nodes.get(id).copied().ok_or_else(|| {
                bad(place, format!("an edge to the unknown node {id:?}"), "edges join nodes of the file")
            })
        };
        let (i, j) = (of(from)?, of(to)?);
        if i != j {
            both.extend([(i, j, 1.0), (j, i, 1.0)]);
        }
    }
    both.sort_by_key(|&(i, j, _)| (i, j));
    both.dedup();
    Ok(Csr::from_triplets((nodes.len(), nodes.len()), both))
}

/// The value of an attribute in either kind of quotes.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag;
    loop {
        let equal = rest.find('=')?;
        let key = rest[..equal].trim_end().rsplit(char::is_whitespace).next()?;
        let after = rest[equal + 1..].trim_start();
        let quote = after.chars().next().filter(|c| ['"', '\''].contains(c))?;
        let (value, more) = after[1..].split_once(quote)?;
        if key == name {
            return Some(value);
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Csr> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_graphml(file.path())
    }

    #[test]
    fn directions_loops_and_repeats_are_dropped() {
        let g = read(
            "<?xml version=\"1.0\"?>\n<graphml>\n<!-- <edge source=\"x\" target=\"y\"/> -->\n<graph edgedefault=\"directed\">\n\
             <node id=\"n0\"/><node id = 'n1'></node>\n<node id=\"n2\">\n</node>\n<edge id=\"e\" target='n0' source=\"n1\"/>\n\
             <edge source=\"n0\" target=\"n1\"></edge>\n<edge source=\"n2\" target=\"n2\"/>\n</graph></graphml>\n",
        );
        let entries: Vec<_> = g.unwrap().entries().collect();
        assert_eq!(entries, [(0, 1, 1.0), (1, 0, 1.0)]);
    }

    #[test]
    fn damaged_files_are_refused_with_the_line() {
        for (text, part) in [
            ("", "no node"),
            ("<graph>\n<node>\n", "line 2"),
            ("<node id=\"a\"/>\n<node id=\"a\"/>", "\"a\" again"),
            ("<node id=\"a\"/>\n<edge source=\"a\" target=\"b\"/>", "unknown node \"b\""),
            ("<node id=\"a\"/>\n<edge source=\"a\"/>", "without its ends"),
            ("<node id=\"a\"/>\n<edge source=\"a\"", "without an end"),
            ("<node id=a/>", "without an id"),
            ("<!-- <node id=\"a\"/>", "without an end"),
        ] {
            let why = read(text).unwrap_err().to_string();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
