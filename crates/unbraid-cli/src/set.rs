//! `--set key=value`, `--params FILE.toml` and `preset=NAME`, turned into parameter structs.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use unbraid::params::Params;
use unbraid::preprocess::prepare::Prepare;

use crate::fault::Fault;

/// Assignments in the order given; later ones win.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// From the file first, then from the command line.
    pub fn new(file: Option<&Path>, set: &[String]) -> Result<Settings, Fault> {
        let mut all = Vec::new();
        if let Some(path) = file {
            let at = path.display();
            let text = std::fs::read_to_string(path).map_err(|e| Fault::Usage(format!("{at}: {e}")))?;
            let table: toml::Table = text.parse().map_err(|e| Fault::Usage(format!("{at}: {e}")))?;
            for (key, value) in table {
                let value = match value {
                    toml::Value::String(s) => s,
                    toml::Value::Table(_) => {
                        return Err(Fault::Usage(format!(
                            "{at}: `{key}` must be a single value, as `{key} = 10`"
                        )));
                    }
                    other => other.to_string(),
                };
                all.push((key, value));
            }
        }
        for text in set {
            // The file of `KEY@FILE=VALUE` may hold a `=`, the value of such a parameter does not.
            let named = text.split('=').next().is_some_and(|key| key.contains('@'));
            let parts = if named { text.rsplit_once('=') } else { text.split_once('=') };
            let Some((key, value)) = parts else {
                return Err(Fault::Usage(format!("`--set {text}` has no `=`; write `--set key=value`")));
            };
            all.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Settings(all))
    }

    /// Takes out what belongs to `P`: its preset, if `presets`, then its fields. What is left stays.
    pub fn take<P: Params>(&mut self, presets: bool) -> Result<P, Fault> {
        let mut base = P::default();
        if presets {
            let mut named = None;
            self.0.retain(|(key, value)| {
                if key == "preset" {
                    named = Some(value.clone());
                }
                key != "preset"
            });
            if let Some(name) = named.filter(|n| n != "default") {
                base = P::preset(&name).ok_or_else(|| {
                    Fault::Usage(format!("`preset={name}` is not known here; try `preset=paper`"))
                })?;
            }
        }
        self.take_over(base)
    }

    /// As [`Settings::take`], on top of a given base.
    pub fn take_over<P: Params>(&mut self, base: P) -> Result<P, Fault> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(&base) else {
            return Err(Fault::Usage("these parameters cannot be set by name".into()));
        };
        let mut touched = Vec::new();
        for (key, text) in std::mem::take(&mut self.0) {
            match fields.get(&key) {
                Some(old) => {
                    let new = read_like(old, &key, &text)?;
                    fields.insert(key.clone(), new);
                    touched.push(format!("{key}={text}"));
                }
                None => self.0.push((key, text)),
            }
        }
        serde_json::from_value(Value::Object(fields))
            .map_err(|e| Fault::Usage(format!("`--set {}`: {e}", touched.join(" --set "))))
    }

    /// Takes out the parameters that are set for one table only, as `KEY@FILE=VALUE`.
    pub fn apart(&mut self) -> Apart {
        let (apart, rest) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key.contains('@'));
        self.0 = rest;
        Apart(apart)
    }

    /// Whether a value is given for `key` that nobody has taken yet.
    pub fn names(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// Forgets all but some names.
    pub fn keep(&mut self, names: &[&str]) {
        self.0.retain(|(name, _)| names.contains(&name.as_str()));
    }

    /// Refuses what nobody took, naming what could have been meant.
    pub fn finish(&self, known: &[&str]) -> Result<(), Fault> {
        let Some((key, _)) = self.0.first() else { return Ok(()) };
        let near = known.iter().min_by_key(|k| distance(k, key)).filter(|k| distance(k, key) <= 2);
        let hint = near.map_or_else(String::new, |k| format!(" Did you mean `{k}`?"));
        Err(Fault::Usage(format!(
            "there is no parameter `{key}` here.{hint} Known are: {}",
            known.join(", ")
        )))
    }
}

/// Preparation that differs between tables.
#[derive(Clone, Debug, Default)]
pub struct Apart(Vec<(String, String)>);

impl Apart {
    /// The preparation of each file: `usual`, with what is set for that file on top.
    pub fn prepare(&self, usual: &Prepare, files: &[PathBuf]) -> Result<Vec<Prepare>, Fault> {
        let mut of_file = vec![Settings::default(); files.len()];
        for (whole, value) in &self.0 {
            let (key, file) = whole.split_once('@').unwrap_or((whole, ""));
            let known: Vec<&str> = Prepare::DOCS.iter().map(|d| d.name).collect();
            if !known.contains(&key) {
                return Err(Fault::Usage(format!(
                    "`--set {whole}={value}`: only the preparation can differ between files: {}",
                    known.join(", ")
                )));
            }
            // A whole name goes before one without its endings, which another file may share.
            let meant = [is_named, is_called].map(|same: fn(&Path, &str) -> bool| -> Vec<usize> {
                (0..files.len()).filter(|&i| same(&files[i], file)).collect()
            });
            let meant = meant.into_iter().find(|m| !m.is_empty()).unwrap_or_default();
            let [at] = meant[..] else {
                let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
                let what = if meant.is_empty() { "names none" } else { "names more than one" };
                return Err(Fault::Usage(format!(
                    "`--set {whole}={value}`: `{file}` {what} of the files; they are {}",
                    names.join(", ")
                )));
            };
            of_file[at].0.push((key.to_owned(), value.clone()));
        }
        of_file.into_iter().map(|mut settings| settings.take_over(usual.clone())).collect()
    }
}

/// Whether `name` is the path as typed, or the file's name.
fn is_named(path: &Path, name: &str) -> bool {
    path == Path::new(name) || path.file_name().is_some_and(|file| file == name)
}

/// Whether `name` is the file's name without its endings, or without `.gz`.
fn is_called(path: &Path, name: &str) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = file.strip_suffix(".gz").unwrap_or(&file);
    let stem = plain.rsplit_once('.').map_or(plain, |(stem, _)| stem);
    [plain, stem].contains(&name)
}

/// The text as a value of the kind that the field holds now.
fn read_like(old: &Value, key: &str, text: &str) -> Result<Value, Fault> {
    let wrong = |kind: &str| Fault::Usage(format!("`--set {key}={text}`: `{key}` must be {kind}"));
    match old {
        Value::Bool(_) => text.parse().map(Value::Bool).map_err(|_| wrong("true or false")),
        Value::Number(n) if n.is_f64() => {
            let v: f64 = text.parse().map_err(|_| wrong("a number"))?;
            serde_json::Number::from_f64(v).map(Value::Number).ok_or_else(|| wrong("a finite number"))
        }
        Value::Number(_) => match text.parse::<u64>() {
            Ok(v) => Ok(Value::from(v)),
            Err(_) => Err(wrong("a whole number, 0 or larger")),
        },
        Value::Array(old) => {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
            let kind = format!("{} values, as {}", old.len(), Value::Array(old.clone()));
            if parts.len() != old.len() {
                return Err(wrong(&kind));
            }
            let read = |(old, part): (&Value, &&str)| read_like(old, key, part).map_err(|_| wrong(&kind));
            old.iter().zip(&parts).map(read).collect::<Result<_, _>>().map(Value::Array)
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Edit distance, for hints.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// A parameter struct as name and value texts, in order.
pub fn listed<P: Params>(params: &P) -> Map<String, Value> {
    match serde_json::to_value(params) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unbraid::methods::kronecker::med_magma::{Laplace, MedMagma};

    fn settings(list: &[&str]) -> Settings {
        Settings::new(None, &list.iter().map(|s| s.to_string()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_preset_is_the_base_and_settings_go_on_top() {
        let mut s = settings(&["steps=200", "preset=paper", "keep=fraction:0.1", "nonsense=1"]);
        let p: MedMagma = s.take(true).unwrap();
        assert_eq!((p.steps, p.laplace, p.tol), (200, Laplace::Code, 1e-7));
        assert_eq!(p.keep.to_string(), "fraction:0.1");
        let why = s.finish(&["steps", "nonsens"]).unwrap_err();
        assert!(why.to_string().contains("Did you mean `nonsens`?"), "{why}");
    }

    #[test]
    fn the_preparation_of_one_file_is_set_apart() {
        use unbraid::preprocess::prepare::{Scale, Transform};
        let files = ["a/exp.tsv.gz", "b/exp.tsv", "b/methylation=2.csv"].map(PathBuf::from);
        let mut s = settings(&["scale=max", "transform@methylation=2=none", "transform@a/exp.tsv.gz=log1p"]);
        let apart = s.apart();
        let usual: Prepare =
            s.take_over(Prepare { transform: Transform::Log2p1, ..Prepare::default() }).unwrap();
        let each = apart.prepare(&usual, &files).unwrap();
        let transforms: Vec<Transform> = each.iter().map(|p| p.transform).collect();
        assert_eq!(transforms, [Transform::Log1p, Transform::Log2p1, Transform::None]);
        assert!(each.iter().all(|p| p.scale == Scale::Max));
        for (text, part) in [
            ("scale@exp=max", "names more than one of the files"),
            ("scale@rna=max", "names none of the files; they are a/exp.tsv.gz, b/exp.tsv"),
            (
                "k@exp.tsv=3",
                "only the preparation can differ between files: min_total, min_count, min_cpm, min_share, genes, empty",
            ),
            ("scale@exp.tsv=most", "a scale"),
        ] {
            let why = settings(&[text]).apart().prepare(&usual, &files).unwrap_err();
            assert_eq!(why.exit_code(), 2);
            assert!(why.to_string().contains(part), "{why}");
        }
    }

    #[test]
    fn a_wrong_kind_is_named() {
        for (text, part) in [
            ("steps=many", "whole number"),
            ("steps=-1", "whole number"),
            ("tol=x", "a number"),
            ("em=maybe", "true or false"),
            ("laplace=maybe", "none, code, paper, logcoord"),
            ("preset=nature", "try `preset=paper`"),
        ] {
            let why = settings(&[text]).take::<MedMagma>(true).unwrap_err();
            assert_eq!(why.exit_code(), 2);
            assert!(why.to_string().contains(part), "{why}");
        }
    }
}
