//! New rows of a table that was clustered: clusters by the stored encoder and mixture of a fit of SVCC.

use serde_json::json;
use unbraid::data::{Annotations, Column, Matrix, Missing, Slot, Value, Values};
use unbraid::error::Error;
use unbraid::fit::Method;
use unbraid::methods::cocluster::svcc::Svcc;
use unbraid::methods::cocluster::svcc::model::Coder;
use unbraid::methods::slots::Slots;
use unbraid_io::Fitted;

use super::told::Applied;
use super::{matched, parts};
use crate::args::{Absent, ApplyArgs, FitArgs};
use crate::fault::Fault;
use crate::fit::{self, Inputs};
use crate::methods::Joins;

/// Whether the fit is one of SVCC.
pub(super) fn wrote(model: &Fitted) -> bool {
    match model.slots.uns.get(&model.key) {
        Some(Value::Map(notes)) => notes.get("method") == Some(&Value::from(Svcc::NAME)),
        _ => false,
    }
}

/// What the arguments ask for that clusters do not have.
fn check(args: &ApplyArgs, key: &str) -> Result<(), Fault> {
    let usage = |text: String| Err(Fault::Usage(text));
    let of = format!("`{key}` is a fit of {}", Svcc::NAME);
    if args.files.len() > 1 {
        return usage(format!("{of}, which is applied to one file"));
    }
    for (given, name) in [
        (args.reconstruction, "--reconstruction"),
        (args.study.is_some(), "--study"),
        (args.report.is_some(), "--report"),
    ] {
        if given {
            return usage(format!("`{name}` is not read here: {of}"));
        }
    }
    if args.missing_features == Absent::Unmeasured {
        let why = "its encoder reads every feature; take `zero` for genes that were never seen";
        return usage(format!(
            "`--missing-features unmeasured` does not go with a fit of {}: {why}",
            Svcc::NAME
        ));
    }
    Ok(())
}

/// Clusters of the new rows, written beside them.
pub(super) fn apply(args: &ApplyArgs, reading: &FitArgs, fitted: &Fitted) -> Result<(), Fault> {
    let key = &fitted.key;
    check(args, key)?;
    let at_model =
        |source| Fault::Core { context: format!("{}: ", args.model.display()), source, place: String::new() };
    let slots = Slots::of(&fitted.slots, key, fitted.var.len()).map_err(at_model)?;
    let coder = Coder::read(&slots).map_err(at_model)?;
    let preparation = slots.preparation().map_err(at_model)?;
    let Inputs { tables, hashes, columns, warnings, .. } = fit::read(reading, Joins::No, None)?;
    let table = &tables[0];
    let (n, wide) = table.shape();
    let mut applied = Applied::begin(args, (key, Svcc::NAME), &hashes, (n, wide), warnings)?;
    let part = &parts(fitted, (&preparation, &slots.used), false)[0];
    let of = matched(part, table, Missing::Error, args.missing_features, &mut applied.found)?;
    // Columns of the model that the new table has, at their places.
    let width = slots.used.len();
    let mut entries = Vec::new();
    of.values.for_each_nonzero(|i, j, v| {
        if let Some(to) = of.rows[j] {
            entries.push((i as u32, to as u32, v));
        }
    });
    if of.absent.1 != 0.0 {
        entries
            .extend(of.absent.0.iter().flat_map(|&j| (0..n).map(move |i| (i as u32, j as u32, of.absent.1))));
    }
    let x = Matrix::Sparse(unbraid::data::Csr::from_triplets((n, width), entries));
    let mut filled = vec![false; n];
    x.for_each_nonzero(|i, _, _| filled[i] = true);
    let rows: Vec<usize> = (0..n).filter(|&i| filled[i]).collect();
    if rows.is_empty() {
        let what = format!("{}: rows with a value in the features of the model", table.source);
        return Err(Error::Missing { what, hint: "all are 0 there and belong to no cluster".into() }.into());
    }
    if rows.len() < n {
        let none = n - rows.len();
        applied.found.warnings.push(format!(
            "{none} of {n} observations hold no value but 0 in the features of the model and have no cluster."
        ));
    }
    let some = x.rows(&rows);
    let found = coder.assign(Values { what: &table.slot, matrix: &some }).map_err(|e| Fault::on(table, e))?;
    applied.end(of.columns.len());

    let mut out = Annotations::default();
    let mut codes = vec![None; n];
    rows.iter().zip(&found.labels).for_each(|(&i, &l)| codes[i] = Some(l as u32));
    let categories: Vec<String> = (0..found.clusters).map(|c| c.to_string()).collect();
    out.obs.insert(key.clone(), Column::Categorical { codes, categories, ordered: false });
    for (name, soft) in
        [(format!("X_{key}"), &found.embedding), (format!("{key}_membership"), &found.membership)]
    {
        if let Some(soft) = soft {
            let mut whole = ndarray::Array2::from_elem((n, soft.ncols()), f64::NAN);
            rows.iter().zip(soft.rows()).for_each(|(&i, row)| whole.row_mut(i).assign(&row));
            out.obsm.insert(name, Slot::F64(whole));
        }
    }
    applied.note(&mut out, of.columns, columns, &[]);
    fit::write(reading, table, false, &out)?;

    let sizes = found.sizes();
    let written: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let next = format!("adata.obs[\"{key}\"], adata.obsm[\"{key}_membership\"]");
    applied.tell(
        json!({ "clusters": found.clusters, "sizes": sizes }),
        &format!("{} clusters of observations: {}", found.clusters, written.join(", ")),
        &next,
    );
    Ok(())
}
