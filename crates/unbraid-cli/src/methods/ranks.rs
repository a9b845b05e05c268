//! The choice of the number of factors, of the factorisations.

use std::time::Instant;

use serde_json::json;
use unbraid::data::{Annotations, Dataset};
use unbraid::error::Result;
use unbraid::fit::{Annotate, Ctx, Method};
use unbraid::methods::factor::choice::{AtK, Choice, ChoiceFit, ChooseK, Ranked};
use unbraid::params::Params;
use unbraid::preprocess::prepare::Prepare;
use unbraid::report::{LineChart, Parameter, Series};

use super::{Done, Joins, Plan, Shown, factors, preparation};
use crate::fault::Fault;
use crate::picture::Page;
use crate::set::{Settings, listed};

/// A choice that is ready to run.
struct Choosing<M> {
    prepare: Prepare,
    choose: ChooseK<M>,
}

/// Reads the parameters of the method, and how its number of factors is judged.
pub fn plan<M: Shown + Ranked>(mut settings: Settings, choice: Choice) -> Result<Box<dyn Plan>, Fault> {
    for (name, instead) in [("k", "--k"), ("reconstruction", "a fit with the chosen k")] {
        if settings.names(name) {
            return Err(Fault::Usage(format!("`--set {name}` is not read here; use {instead}")));
        }
    }
    let method: M = settings.take(true)?;
    let prepare: Prepare = settings.take_over(method.prepare())?;
    let known: Vec<&str> = M::DOCS.iter().chain(Prepare::DOCS).map(|d| d.name).chain(["preset"]).collect();
    settings.finish(&known)?;
    let choose = ChooseK { choice, method };
    choose.validate()?;
    Ok(Box::new(Choosing { prepare, choose }))
}

impl<M: Shown + Ranked> Plan for Choosing<M> {
    fn name(&self) -> &'static str {
        M::CHOICE
    }
    fn method(&self) -> &'static str {
        <M as Method>::NAME
    }
    fn notes(&self, key: &str) -> String {
        format!("{key}_choice")
    }
    fn words(&self) -> [&'static str; 2] {
        ["fits", "loss"]
    }
    fn joins(&self) -> Joins {
        M::JOINS
    }
    fn prepare(&self) -> &Prepare {
        &self.prepare
    }
    fn allows_missing(&self) -> bool {
        self.choose.method.allows_missing()
    }
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = listed(&self.prepare);
        all.extend(listed(&self.choose.method));
        all.extend(listed(&self.choose.choice));
        all
    }
    fn documented(&self) -> Vec<Parameter> {
        let mut all = Parameter::list(&self.choose.choice);
        let own = |p: &Parameter| p.name != "k" && p.name != "reconstruction";
        all.extend(Parameter::list(&self.choose.method).into_iter().filter(own));
        all.extend(preparation(&self.prepare, &self.choose.method.prepare()));
        all
    }
    fn fit(&self, tables: &[Dataset], key: &str, ctx: &mut Ctx<'_>, page: Option<&mut Page>) -> Result<Done> {
        let begun = Instant::now();
        let fit = self.choose.fit(factors::table(tables, self.choose.method.reads().0), ctx)?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut annotations = Annotations::default();
        fit.annotate(key, &mut annotations);
        if let Some(page) = page {
            page.report.run.stop = Some(fit.stop.name().to_owned());
            page.report.charts.extend(charts(&fit));
        }
        let name = self.method();
        Ok(Done {
            annotations,
            seconds,
            steps: fit.at.len() * (fit.masks + fit.restarts),
            objective: None,
            stop: Some(fit.stop),
            how: None,
            networks: Vec::new(),
            factors: Vec::new(),
            more: more(&fit),
            lines: lines(&fit),
            csv: Some(csv(&fit)),
            next: Some(format!("unbraid fit {name} … --set k={}", fit.k())),
        })
    }
}

/// What `--json` says besides.
fn more(fit: &ChoiceFit) -> serde_json::Map<String, serde_json::Value> {
    let row = |row: &AtK| {
        json!({
            "k": row.k, "held_out": row.mean, "standard_error": row.error, "masks": row.held_out,
            "above_best": row.above.0, "above_best_error": row.above.1,
            "dispersion": row.dispersion, "loss": row.fitted,
        })
    };
    let rows: Vec<_> = fit.at.iter().map(row).collect();
    let all = json!({
        "suggested_k": fit.k(), "best_k": fit.at[fit.best].k, "loss": factors::name(fit.loss), "table": rows,
    });
    if let serde_json::Value::Object(map) = all { map } else { serde_json::Map::new() }
}

/// The table for people.
fn lines(fit: &ChoiceFit) -> Vec<String> {
    let mut out = vec![format!(
        "{:>4}  {:>12}  {:>10}  {:>12}  {:>10}",
        "k", "held-out loss", "s.e.", "above best", "dispersion"
    )];
    for (at, row) in fit.at.iter().enumerate() {
        let dispersion = row.dispersion.map_or("-".into(), |d| format!("{d:.3}"));
        let what = match (at == fit.suggested, at == fit.best) {
            (true, true) => "  least, suggested",
            (true, false) => "  suggested",
            (false, true) => "  least",
            _ => "",
        };
        out.push(format!(
            "{:>4}  {:>13.6}  {:>10.6}  {:>12.6}  {dispersion:>10}{what}",
            row.k, row.mean, row.error, row.above.0
        ));
    }
    out.push(format!(
        "suggested k: {}, the smallest whose held-out loss is within one standard error of the least (k = {})",
        fit.k(),
        fit.at[fit.best].k
    ));
    out
}

/// The table as text, the loss of each mask included.
fn csv(fit: &ChoiceFit) -> String {
    let text = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let mut out =
        String::from("k,held_out,standard_error,above_best,above_best_error,dispersion,loss,suggested");
    (1..=fit.masks).for_each(|r| out += &format!(",mask_{r}"));
    for (at, row) in fit.at.iter().enumerate() {
        let numbers = [
            Some(row.mean),
            Some(row.error),
            Some(row.above.0),
            Some(row.above.1),
            row.dispersion,
            row.fitted,
        ];
        let cells: Vec<String> = numbers.map(text).to_vec();
        out += &format!("\n{},{},{}", row.k, cells.join(","), at == fit.suggested);
        (0..fit.masks).for_each(|r| out += &format!(",{}", text(row.held_out.get(r).copied().flatten())));
    }
    out + "\n"
}

/// The picture: held-out loss and its spread, and the dispersion, with the suggestion marked in both.
fn charts(fit: &ChoiceFit) -> Vec<LineChart> {
    let curve = |name: &str, colour, thin, values: Vec<Option<f64>>| Series {
        name: name.into(),
        colour,
        thin,
        values,
    };
    let over = |f: &dyn Fn(&AtK) -> Option<f64>| fit.at.iter().map(f).collect::<Vec<_>>();
    let x: Vec<f64> = fit.at.iter().map(|row| row.k as f64).collect();
    let (k, best) = (fit.k(), fit.at[fit.best].k);
    let mut series = vec![curve("mean", 0, false, over(&|row| Some(row.mean)))];
    if fit.masks > 1 {
        series.push(curve("mean + s.e.", 0, true, over(&|row| Some(row.mean + row.error))));
        series.push(curve("mean − s.e.", 0, true, over(&|row| Some(row.mean - row.error))));
    }
    if fit.at.iter().any(|row| row.fitted.is_some()) {
        series.push(curve("of the fit itself", 1, false, over(&|row| row.fitted)));
    }
    let mut charts = vec![LineChart {
        title: "Loss of held-out entries".into(),
        x_label: "factors k".into(),
        y_label: format!("mean {} loss", factors::name(fit.loss)),
        x: x.clone(),
        series,
        caption: format!(
            "{} masks, the same for every k. The line marks k = {k}, the smallest whose loss is within one standard error of \
             paired differences of the least, which k = {best} has. The loss of the fit itself falls with every factor and \
             says nothing about their number.",
            fit.masks
        ),
        mark: Some(k as f64),
    }];
    if fit.at.iter().any(|row| row.dispersion.is_some()) {
        charts.push(LineChart {
            title: "Agreement of restarts".into(),
            x_label: "factors k".into(),
            y_label: "dispersion of the consensus".into(),
            x,
            series: vec![curve("dispersion", 2, false, over(&|row| row.dispersion))],
            caption: format!(
                "{} fits of each k to the whole table from other starts; an observation belongs to the factor that \
                 contributes most to it. 1: every pair of observations is always together or always apart.",
                fit.restarts
            ),
            mark: Some(k as f64),
        });
    }
    charts
}
