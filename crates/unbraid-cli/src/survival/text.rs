//! What the program prints and writes of the models: tables for people, JSON and comma-separated text.

use serde_json::json;
use unbraid::Error;
use unbraid::report::{CoxRow, CoxTable};

use super::{Survival, p_value};
use crate::args::SurvivalArgs;
use crate::fault::Fault;

/// Columns of both tables.
const HEAD: [&str; 9] =
    ["factor", "coef", "hazard ratio", "95 % interval", "se", "z", "p", "p Bonferroni", "PH p"];

/// Both tables for people.
pub fn show(found: &Survival, args: &SurvivalArgs) {
    let figure = &found.figure;
    let k = figure.single.len();
    say!(
        "Cox proportional hazards ({} ties) of `{}`: {} observations, {} events, {k} factors; coefficients are per \
         standard deviation",
        figure.ties,
        found.key,
        figure.observations,
        figure.events,
    );
    if figure.dropped > 0 {
        say!("  {} observations dropped: no time, no event or no factors", figure.dropped);
    }
    if let Some(joint) = &figure.joint {
        say!("\nAll factors together");
        table(&HEAD, joint.rows.iter().map(cells).collect());
        say!(
            "  likelihood ratio {:.3} on {k} degrees of freedom, p {}; concordance {:.3}",
            joint.lr,
            p_value(joint.lr_p),
            joint.concordance
        );
    }
    say!("\nEach factor alone");
    let head = [&HEAD[..], &["LR p", "concordance", "log-rank p"]].concat();
    let rows = figure.single.iter().map(|fit| {
        let mut all = cells(&fit.rows[0]);
        let curve = figure.curves.iter().find(|c| c.factor == fit.rows[0].factor);
        all.extend([
            p_value(fit.lr_p),
            format!("{:.3}", fit.concordance),
            curve.map_or("-".into(), |c| p_value(c.p)),
        ]);
        all
    });
    table(&head, rows.collect());
    let tables = if figure.joint.is_some() { "both tables" } else { "the table" };
    say!(
        "\nBonferroni: p times the {k} factors, at most 1, in {tables}. PH p: small where the effect changes over time."
    );
    say!("Log-rank p: groups by the {} of a factor, not corrected.", figure.split);
    for path in [&args.csv, &args.report].into_iter().flatten() {
        say!("wrote {}", path.display());
    }
}

fn cells(row: &CoxRow) -> Vec<String> {
    let places = |v: Option<f64>, n: usize| v.map_or("-".to_owned(), |v| format!("{v:.n$}"));
    let p = |v: Option<f64>| v.map_or("-".to_owned(), p_value);
    let interval = match (row.hazard_ratio_low, row.hazard_ratio_high) {
        (Some(low), Some(high)) => format!("{low:.3} to {high:.3}"),
        _ => "-".into(),
    };
    let coef = match row.infinite {
        true => if row.positive { "+infinite" } else { "-infinite" }.to_owned(),
        false => places(row.coef, 4),
    };
    vec![
        row.factor.clone(),
        coef,
        places(row.hazard_ratio, 4),
        interval,
        places(row.se, 4),
        places(row.z, 3),
        p(row.p),
        p(row.p_bonferroni),
        p(row.ph_p),
    ]
}

/// Right-aligned columns.
fn table(head: &[&str], rows: Vec<Vec<String>>) {
    let width = |c: usize| rows.iter().map(|r| r[c].len()).chain([head[c].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line =
        |cells: Vec<&str>| cells.iter().zip(&widths).map(|(c, w)| format!("  {c:>w$}")).collect::<String>();
    say!("{}", line(head.to_vec()));
    rows.iter().for_each(|row| say!("{}", line(row.iter().map(String::as_str).collect())));
}

/// What the machine-readable outputs say of a factor; `None` where the coefficient is infinite.
fn numbers(row: &CoxRow) -> [(&'static str, Option<f64>); 9] {
    [
        ("coef", row.coef),
        ("hazard_ratio", row.hazard_ratio),
        ("hazard_ratio_low", row.hazard_ratio_low),
        ("hazard_ratio_high", row.hazard_ratio_high),
        ("se", row.se),
        ("z", row.z),
        ("p", row.p),
        ("p_bonferroni", row.p_bonferroni),
        ("ph_p", row.ph_p),
    ]
}

/// One JSON object.
pub fn json(found: &Survival, args: &SurvivalArgs) -> serde_json::Value {
    let figure = &found.figure;
    let row = |row: &CoxRow| {
        let mut out: serde_json::Map<String, serde_json::Value> =
            numbers(row).into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        out.insert("factor".into(), row.factor.clone().into());
        out.insert("infinite".into(), row.infinite.into());
        out
    };
    let joint = figure.joint.as_ref().map(|fit| {
        let whole = json!({"log_likelihood": fit.log_likelihood, "null_log_likelihood": fit.null_log_likelihood,
                           "lr": fit.lr, "lr_p": fit.lr_p, "concordance": fit.concordance, "steps": fit.steps});
        json!({"fit": whole, "factors": fit.rows.iter().map(row).collect::<Vec<_>>()})
    });
    let single: Vec<_> = figure
        .single
        .iter()
        .map(|fit| {
            let mut out = row(&fit.rows[0]);
            out.insert("lr_p".into(), fit.lr_p.into());
            out.insert("concordance".into(), fit.concordance.into());
            out
        })
        .collect();
    let curves: Vec<_> = figure
        .curves
        .iter()
        .map(|c| {
            let arms: Vec<_> = c
                .arms
                .iter()
                .map(|a| {
                    json!({"name": a.name, "scores": a.scores, "observations": a.observations,
                           "events": a.events, "median": a.median})
                })
                .collect();
            json!({"factor": c.factor, "chi2": c.chi2, "degrees": c.degrees, "p": c.p, "groups": arms})
        })
        .collect();
    let (inputs, hashes): (Vec<_>, Vec<_>) = found.inputs.iter().map(|(f, h)| (f, h)).unzip();
    json!({
        "file": args.file, "key": found.key, "ties": args.ties, "split": args.split,
        "version": env!("CARGO_PKG_VERSION"), "inputs": inputs, "input_sha256": hashes,
        "observations": figure.observations, "events": figure.events, "dropped": figure.dropped,
        "joint": joint, "univariate": single, "log_rank": curves, "report": args.report,
        "warnings": found.warnings,
    })
}

/// Both tables as comma-separated text.
pub fn csv(found: &Survival) -> Result<String, Fault> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let text = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let internal = |e: &dyn std::fmt::Display| Fault::from(Error::Io(std::io::Error::other(e.to_string())));
    let figure = &found.figure;
    let joint = figure.joint.iter().map(|fit| ("joint", fit));
    let all: Vec<(&str, &CoxTable)> =
        joint.chain(figure.single.iter().map(|fit| ("univariate", fit))).collect();
    let head = numbers(&figure.single[0].rows[0]).map(|(name, _)| name);
    let head = [&["factor", "fit"], &head[..], &["lr_p", "concordance", "infinite"]].concat();
    out.write_record(head).map_err(|e| internal(&e))?;
    for (kind, fit) in all {
        for row in &fit.rows {
            let mut line = vec![row.factor.clone(), kind.to_owned()];
            line.extend(numbers(row).map(|(_, v)| text(v)));
            line.extend([text(Some(fit.lr_p)), text(Some(fit.concordance)), row.infinite.to_string()]);
            out.write_record(line).map_err(|e| internal(&e))?;
        }
    }
    let bytes = out.into_inner().map_err(|e| internal(&e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
