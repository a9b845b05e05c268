//! Golden cases and where their values come from.
//!
//! A case is a folder `testdata/golden/<method>/<case>/` with `origin.json`, or one `.json` file
//! there that carries its `origin` inside.

use std::path::Path;
use std::{fs, io};

/// One case.
pub struct Case {
    /// `<method>/<case>`.
    pub name: String,
    /// What made its values, `None` where nobody says.
    pub origin: Option<String>,
}

/// All cases, by name.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn cases(root: &Path) -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for method in fs::read_dir(root.join("testdata/golden"))? {
        let method = method?;
        for case in fs::read_dir(method.path())? {
            let path = case?.path();
            let note = if path.is_dir() { path.join("origin.json") } else { path.clone() };
            if path.is_file() && path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            cases.push(Case {
                name: format!("{}/{stem}", method.file_name().to_string_lossy()),
                origin: origin(&note),
            });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// The value of `origin`, unless it is empty.
fn origin(note: &Path) -> Option<String> {
    let note: serde_json::Value = serde_json::from_str(&fs::read_to_string(note).ok()?).ok()?;
    let text = match &note["origin"] {
        serde_json::Value::Null => return None,
        serde_json::Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    (!matches!(text.as_str(), "" | "{}" | "[]")).then_some(text)
}

/// One line for each case without an origin.
pub fn faults(cases: &[Case]) -> Vec<String> {
    let bare = cases.iter().filter(|c| c.origin.is_none());
    bare.map(|c| format!("testdata/golden/{} does not say where its values come from", c.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_golden_case_names_its_origin() {
        let cases = cases(&crate::root()).unwrap();
        assert!(cases.len() >= 4);
        assert_eq!(faults(&cases), Vec::<String>::new());
    }
}
