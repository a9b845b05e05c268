//! Gene sets: `.gmt`, plain or gzipped. One set per line: name, description, genes, tab-separated.

use std::collections::BTreeMap;
use std::path::Path;

use unbraid::stats::enrichment::GeneSet;

use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::text::Lines;

/// Reads a GMT file, sets in file order. Empty lines and empty fields at the end of a line are passed
/// over, a gene named twice in a set counts once; symbols are kept as written.
///
/// # Errors
/// [`Error::Input`] with the line: fewer than three fields, no name, a name used before, or no set at
/// all.
pub fn read_gmt(path: &Path) -> Result<Vec<GeneSet>> {
    let name = path.display().to_string();
    let length = std::fs::metadata(path).map_err(|e| Error::unreadable(&name, &e))?.len();
    let mut lines = Lines::open(path, &name, &Budget::new(None, length))?;
    let mut sets: Vec<GeneSet> = Vec::new();
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        let mut genes: Vec<String> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for gene in fields.iter().skip(2).filter(|g| !g.is_empty()) {
            if seen.insert(*gene) {
                genes.push((*gene).to_owned());
            }
        }
        let set = GeneSet {
            name: fields[0].to_owned(),
            description: fields.get(1).map_or_else(String::new, |d| (*d).to_owned()),
            genes,
        };
        let hint = "write name, description and genes with tabs between them";
        if set.genes.is_empty() {
            let found = format!("{} tab-separated fields", fields.len());
            return Err(lines.bad(found, "a set needs a name, a description and a gene or more", hint));
        }
        if set.name.is_empty() {
            return Err(lines.bad("a set without a name", "the first field names the set", hint));
        }
        if let Some(line) = first.insert(set.name.clone(), lines.number) {
            let found = format!("the name {:?} of line {line} again", set.name);
            return Err(lines.bad(found, "names of sets must differ", "rename or drop one of them"));
        }
        sets.push(set);
    }
    if sets.is_empty() {
        return Err(Error::input(
            &name,
            "the file",
            "no gene set",
            "a GMT file holds one set per line",
            "check the path",
        ));
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> Result<Vec<GeneSet>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_gmt(file.path())
    }

    #[test]
    fn plain_and_gzipped_sets_are_read() {
        let text = b"one\thttp://x\tA\tB\tA\t\t\r\n\n two \t\tc \n";
        let sets = read(text).unwrap();
        assert_eq!(sets.len(), 2);
        assert_eq!((sets[0].name.as_str(), sets[0].description.as_str()), ("one", "http://x"));
        assert_eq!(sets[0].genes, ["A", "B"]);
        assert_eq!((sets[1].name.as_str(), sets[1].genes.as_slice()), ("two", &["c".to_owned()][..]));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(text).unwrap();
        assert_eq!(read(&packed.finish().unwrap()).unwrap(), sets);
    }

    #[test]
    fn bad_files_are_refused_with_the_line() {
        for (text, part) in [
            (&b"one\td\tA\ntwo\td\n"[..], "line 2: found 2 tab-separated fields"),
            (b"one A B\n", "line 1: found 1 tab-separated fields"),
            (b"one\td\tA\n\none\td\tB\n", "line 3: found the name \"one\" of line 1 again"),
            (b"\td\tA\n", "without a name"),
            (b"", "no gene set"),
            (b"one\td\t\xff\n", "line 1: found the byte 0xff"),
            (b"\x1f\x8b\x08\x00broken", "the file"),
        ] {
            let why = read(text).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        let why = read_gmt(Path::new("/nowhere.gmt")).unwrap_err().to_string();
        assert!(why.contains("must exist"), "{why}");
    }

    #[test]
    fn shared_sets_are_read_where_they_are() {
        let Some(shared) = std::env::var_os("UNBRAID_SHARED") else {
            eprintln!("skipped: UNBRAID_SHARED is not set");
            return;
        };
        let folder = Path::new(&shared).join("data/gene-sets");
        assert_eq!(read_gmt(&folder.join("hallmark_human_v7.0.gmt")).unwrap().len(), 50);
        let go = read_gmt(&folder.join("go_bp_mouse_15to120.gmt.gz")).unwrap();
        assert!(go.len() > 500 && go.iter().all(|s| s.genes.len() >= 2));
    }
}
