//! `unbraid inspect`.

use unbraid_io::{Inspection, ValueKind};

use crate::args::InspectArgs;
use crate::fault::Fault;

/// Prints what a file holds; problems do not make it fail.
pub fn run(args: &InspectArgs) -> Result<(), Fault> {
    let found = unbraid_io::inspect(&args.file)?;
    if args.json {
        let text = serde_json::to_string(&found).map_err(|e| Fault::Usage(e.to_string()))?;
        say!("{text}");
    } else {
        show(&found);
    }
    Ok(())
}

fn show(found: &Inspection) {
    let (n, m) = found.shape;
    say!("{} ({}): {n} observations × {m} features\n", found.file, found.format);
    let width = found.slots.iter().map(|s| s.path.chars().count()).max().unwrap_or(0);
    for s in &found.slots {
        let shape = s.shape.as_ref().map_or_else(String::new, |shape| {
            let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
            sides.join(" × ")
        });
        let mut text = format!("  {:width$}  {}", s.path, s.kind);
        for part in [s.dtype.clone().unwrap_or_default(), shape] {
            if !part.is_empty() {
                text += &format!(", {part}");
            }
        }
        if let Some(nnz) = s.nnz {
            text += &format!(", {nnz} stored");
        }
        if s.compressed {
            text += ", compressed";
        }
        say!("{text}");
    }
    for v in &found.values {
        let kind = match v.kind {
            ValueKind::Counts => "counts",
            ValueKind::NonNegative => "numbers, none negative",
            ValueKind::Real => "numbers of both signs",
        };
        say!("\n  {} holds {kind} from {} to {}, {:.1} % zeros", v.slot, v.min, v.max, 100.0 * v.zeros);
        for (count, what) in [
            (v.nan, "missing values (NaN)"),
            (v.infinite, "infinite values"),
            (v.empty_rows, "rows without a non-zero value"),
            (v.empty_columns, "columns without a non-zero value"),
        ] {
            if count > 0 {
                say!("    {count} {what}");
            }
        }
    }
    if found.problems.is_empty() {
        say!("\nNothing here would stop a fit.");
    } else {
        say!("\nWhat a method would stop at:");
        found.problems.iter().for_each(|p| say!("  - {p}"));
    }
}
