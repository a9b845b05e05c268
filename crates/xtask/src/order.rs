//! Which module may name which, read from the source of crate `unbraid`.
//!
//! Lower modules never name higher ones, families of methods never name each other, and faer's forms
//! that read its global setting, on which the bits of a result would depend, are not used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The modules of crate `unbraid`; each names only its own line and those above.
const ORDER: &[&[&str]] = &[
    &["error", "fit", "params"],
    &["data"],
    &["linalg", "stats", "graph", "soft", "nn"],
    &["preprocess", "simulate", "metrics"],
    &["methods"],
    &["report"],
];

/// Named upwards on purpose: the contract in `fit` says that a fit fills `data::Annotations`.
const ALLOWED: &[(&str, &str)] = &[("fit", "data")];

/// Forms of faer that read its global setting.
const GLOBAL: &[&str] =
    &[".self_adjoint_eigen(", ".svd()", ".thin_svd()", "get_global_parallelism", "set_global_parallelism"];

/// One line for each fault.
///
/// # Errors
/// When a source file cannot be read.
pub fn faults(root: &Path) -> io::Result<Vec<String>> {
    let src = root.join("crates/unbraid/src");
    let families: BTreeSet<String> = fs::read_dir(src.join("methods"))?
        .filter_map(|f| f.ok().filter(|f| f.path().is_dir()))
        .map(|f| f.file_name().to_string_lossy().into_owned())
        .collect();
    let mut faults = Vec::new();
    for file in sources(&src)? {
        let module = module(file.strip_prefix(&src).unwrap_or(&file));
        let text = fs::read_to_string(&file)?;
        for (line, text) in code(&text) {
            let at = format!("{}:{line}", file.strip_prefix(root).unwrap_or(&file).display());
            faults.extend(named(text, &module).iter().filter_map(|to| {
                let why = wrong(&module, to, &families)?;
                Some(format!("{at}: {why}"))
            }));
        }
        if let Some(top) = module.first()
            && rank(top).is_none()
        {
            faults.push(format!("module {top} has no place in the order of knowledge"));
        }
    }
    for name in ["unbraid", "unbraid-io", "unbraid-cli"] {
        for file in sources(&root.join("crates").join(name).join("src"))? {
            let text = fs::read_to_string(&file)?;
            for (line, text) in code(&text) {
                let at = file.strip_prefix(root).unwrap_or(&file).display();
                let found = GLOBAL.iter().filter(|form| text.contains(**form));
                faults.extend(found.map(|form| format!("{at}:{line}: `{form}` reads faer's global setting")));
            }
        }
    }
    Ok(faults)
}

/// All `.rs` files below a folder.
fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `methods/kronecker/mod.rs` is `[methods, kronecker]`; the root is empty.
fn module(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let mut parts: Vec<String> = parts.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod" || p == "lib") {
        parts.pop();
    }
    parts
}

/// Lines that are not comments, numbered from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Every module path that a line of `module` names by `crate::` or `super::`, first two parts of it.
fn named(line: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for word in ["crate::", "super::"] {
        let mut rest = line;
        while let Some(at) = rest.find(word) {
            let outside = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let (mut tail, mut base) = (&rest[at..], Vec::new());
            if let Some(t) = tail.strip_prefix("crate::") {
                tail = t;
            } else {
                base = module.to_vec();
                while let Some(t) = tail.strip_prefix("super::") {
                    tail = t;
                    base.pop();
                }
            }
            if outside {
                found.extend(heads(tail).into_iter().map(|head| base.iter().cloned().chain(head).collect()));
            }
            rest = &rest[at + word.len()..];
        }
    }
    found
}

/// The first two names of each path in `a::b::c` or `{a::b, c}`.
fn heads(tail: &str) -> Vec<Vec<String>> {
    let names = |path: &str| -> Vec<String> {
        let name = |part: &str| part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        path.trim().split("::").take(2).map(name).filter(|n: &String| !n.is_empty()).collect()
    };
    let Some(list) = tail.strip_prefix('{') else { return vec![names(tail)] };
    let (mut depth, mut all, mut one) = (0, Vec::new(), String::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => all.push(std::mem::take(&mut one)),
            _ => {}
        }
        if !(c == ',' && depth == 0) {
            one.push(c);
        }
    }
    all.push(one);
    all.iter().map(|path| names(path)).collect()
}

fn rank(top: &str) -> Option<usize> {
    ORDER.iter().position(|level| level.contains(&top))
}

/// Why `from` must not name `to`, `None` where it may.
fn wrong(from: &[String], to: &[String], families: &BTreeSet<String>) -> Option<String> {
    let (own, other) = (from.first()?, to.first()?);
    // Macros and items of the crate's root have no rank.
    let (low, high) = (rank(own)?, rank(other)?);
    if high > low && !ALLOWED.contains(&(own.as_str(), other.as_str())) {
        return Some(format!("{own} names {other}, which is higher in the order of knowledge"));
    }
    let (family, kin) = (from.get(1)?, to.get(1)?);
    let stranger = own == "methods" && other == "methods" && families.contains(kin) && family != kin;
    stranger.then(|| format!("family {family} names family {kin}; what both need belongs lower"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn the_order_of_knowledge_holds() {
        assert_eq!(faults(&crate::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_import_is_seen() {
        let families = BTreeSet::from(["kronecker".to_owned(), "factor".to_owned()]);
        let why = |module: &str, line: &str| {
            let module = path(module);
            named(line, &module).iter().find_map(|to| wrong(&module, to, &families))
        };
        for (module, line) in [
            ("graph::knn", "use crate::methods::kronecker::common;"),
            ("linalg", "use crate::{data::Csr, report::{Report, Run}};"),
            ("data::table", "let x = crate::metrics::ari(a, b);"),
            ("methods::kronecker::gmgm", "use super::super::factor::nmf;"),
            ("methods::kronecker::gmgm", "use crate::methods::factor::nmf;"),
        ] {
            assert!(why(module, line).is_some(), "{module}: {line}");
        }
        for (module, line) in [
            ("methods::kronecker::gmgm", "use super::common::Network;"),
            ("methods::factor::nmf", "use crate::{data::Csr, linalg};"),
            ("fit", "use crate::data::Annotations;"),
            ("graph::keep", "crate::serde_as_text!(Keep);"),
        ] {
            assert_eq!(why(module, line), None, "{module}: {line}");
        }
    }
}
