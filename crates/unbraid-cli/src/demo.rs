//! `unbraid demo`: simulate, fit, score, write a file and a page.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use unbraid::Seed;
use unbraid::data::{Annotations, Dataset, Slot};
use unbraid::error::Result;
use unbraid::fit::Ctx;
use unbraid::metrics::ranking::{RankBy, edge_ranking};
use unbraid::report::{Fact, Report};
use unbraid::simulate::kronecker::KroneckerDesign;
use unbraid_io::Input;

use crate::args::DemoArgs;
use crate::fault::Fault;
use crate::methods;
use crate::picture::{self, Page};
use crate::set::Settings;

/// Methods that are scored, with their settings.
const FITTED: [&str; 3] = ["medmagma", "gmgm", "single-axis"];

/// Area under the precision–recall curve of one method, by axis.
struct Score {
    method: &'static str,
    /// Observations and features.
    area: [f64; 2],
    seconds: f64,
}

/// Runs the command.
pub fn run(args: &DemoArgs) -> Result<(), Fault> {
    let pool = crate::fit::pool(None)?;
    pool.install(|| demo(args))
}

fn demo(args: &DemoArgs) -> Result<(), Fault> {
    std::fs::create_dir_all(&args.output).map_err(|e| unbraid_io::Error::Output {
        file: args.output.display().to_string(),
        why: e.to_string(),
    })?;
    let design = KroneckerDesign::default();
    let seed = Seed(args.seed);
    let (data, truth) = design.dataset(seed)?;
    let chance = [&truth.obsp, &truth.varp].map(|p| match &p["truth_precision"] {
        Slot::Csr(psi) => (psi.nnz() - psi.shape().0) as f64 / (psi.shape().0 * (psi.shape().0 - 1)) as f64,
        _ => f64::NAN,
    });
    let (mut scores, mut all) = (Vec::new(), Annotations::default());
    let mut page = None;
    for name in FITTED {
        let (score, annotations, drawn) = fit(name, &data, &truth, seed)?;
        scores.push(score);
        all.obs.extend(annotations.obs);
        all.var.extend(annotations.var);
        all.obsp.extend(annotations.obsp);
        all.varp.extend(annotations.varp);
        all.uns.extend(annotations.uns);
        page = page.or(Some(drawn));
    }
    for (from, to) in [(truth.obs, &mut all.obs), (truth.var, &mut all.var)] {
        to.extend(from);
    }
    for (from, to) in [(truth.obsp, &mut all.obsp), (truth.varp, &mut all.varp)] {
        to.extend(from);
    }
    all.uns.extend(truth.uns);
    let path = |name: &str| -> PathBuf { args.output.join(name) };
    unbraid_io::write_h5ad(&path("demo.h5ad"), Input::Dataset(&data), &all)?;
    if let Some(mut page) = page {
        page.report.title = "medmagma on simulated data".into();
        page.report.run.facts = facts(&scores, chance);
        let html = crate::page::render(&page.report);
        unbraid_io::write_bytes_atomically(&path("demo.html"), html.as_bytes())?;
    }
    if args.json {
        let rows: Vec<_> = scores
            .iter()
            .map(|s| json!({"method": s.method, "aupr_observations": s.area[0], "aupr_features": s.area[1], "seconds": s.seconds}))
            .collect();
        say!(
            "{}",
            json!({"design": design, "seed": args.seed, "scores": rows, "chance": chance, "file": path("demo.h5ad"), "page": path("demo.html")})
        );
        return Ok(());
    }
    let (n, m) = data.shape();
    say!("Simulated {n} cells × {m} genes: a network on each axis, rows and columns each multiplied by");
    say!("chi-square noise. Area under the precision–recall curve of the edges found (1 is perfect):\n");
    say!("  {:<12} {:>8} {:>8} {:>9}", "method", "cells", "genes", "seconds");
    for s in &scores {
        say!("  {:<12} {:>8.3} {:>8.3} {:>9.2}", s.method, s.area[0], s.area[1], s.seconds);
    }
    say!("  {:<12} {:>8.3} {:>8.3}\n", "chance", chance[0], chance[1]);
    say!(
        "wrote {}\nwrote {}; open it in a browser",
        path("demo.h5ad").display(),
        path("demo.html").display()
    );
    say!("next: unbraid fit medmagma YOUR.h5ad -o fit.h5ad --report fit.html");
    Ok(())
}

/// Fits one method with its defaults, and scores all of Ψ against the truth.
fn fit(
    name: &'static str,
    data: &Dataset,
    truth: &Annotations,
    seed: Seed,
) -> Result<(Score, Annotations, Page), Fault> {
    let entry = methods::ALL
        .iter()
        .find(|m| m.name == name)
        .ok_or_else(|| Fault::Usage(format!("no method {name}")))?;
    let tables = std::slice::from_ref(data);
    let run = |set: &[String], page: Option<&mut Page>| -> Result<Annotations, Fault> {
        let plan = (entry.plan)(Settings::new(None, set)?)?;
        let (mut watch, mut ctx) = ((), None);
        let ctx = ctx.insert(Ctx::new(seed, &mut watch));
        Ok(plan.fit(tables, name, ctx, page)?.annotations)
    };
    let begun = Instant::now();
    let dense = run(&["keep=dense".into()], None)?;
    let seconds = begun.elapsed().as_secs_f64();
    let area = |truth: &Slot, found: &Slot| -> Result<f64> {
        match (truth, found) {
            (Slot::Csr(truth), Slot::F64(found)) => Ok(edge_ranking(truth, found, RankBy::Magnitude)?.aupr()),
            _ => Ok(f64::NAN),
        }
    };
    let slot = format!("{name}_precision");
    let area = [
        area(&truth.obsp["truth_precision"], &dense.obsp[&slot])?,
        area(&truth.varp["truth_precision"], &dense.varp[&slot])?,
    ];
    let mut page = Page { report: Report::default(), label: None, seed, logged: false };
    page.report.run.method = name.to_owned();
    page.report.run.about = entry.about.to_owned();
    page.report.run.version = env!("CARGO_PKG_VERSION").to_owned();
    page.report.run.seed = seed.0.to_string();
    page.report.run.seconds = Some(seconds);
    page.report.run.inputs = vec![picture::input(data, "simulated")];
    let kept = run(&[], Some(&mut page))?;
    Ok((Score { method: name, area, seconds }, kept, page))
}

/// The table of scores as facts of the page.
fn facts(scores: &[Score], chance: [f64; 2]) -> Vec<Fact> {
    let mut facts: Vec<Fact> = scores
        .iter()
        .map(|s| Fact {
            name: format!("area under precision–recall, {}", s.method),
            value: format!("cells {:.3}, genes {:.3}", s.area[0], s.area[1]),
        })
        .collect();
    facts.push(Fact {
        name: "the same by chance".into(),
        value: format!("cells {:.3}, genes {:.3}", chance[0], chance[1]),
    });
    facts
}
