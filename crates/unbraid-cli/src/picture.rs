//! From a fit to the report a page is drawn from.

use unbraid::data::{Csr, Dataset};
use unbraid::error::Result;
use unbraid::fit::{Seed, Stop};
use unbraid::graph::knn::expression_neighbours;
use unbraid::methods::kronecker::common::Network;
use unbraid::methods::kronecker::stability::StabilityFit;
use unbraid::methods::kronecker::tyler::Side;
use unbraid::report::{
    Alert, BlocksFigure, Comparison, Curve, FactorsFigure, Graph, Input, LineChart, Maps, MapsFigure,
    NetworkFigure, Report, SliceFit, SlicesFigure, StabilityFigure, StudiesFigure, StudyFactors, Trace,
};

use crate::methods::{Picture, axis};

/// Neighbours of the plain graph beside a network that was not made with a number of its own.
const NEIGHBOURS: usize = 10;

/// Name, label of each observation and titles of known labels.
pub type Label = (String, Vec<usize>, Vec<String>);

/// A report being filled.
pub struct Page {
    /// What has been filled.
    pub report: Report,
    /// Known labels.
    pub label: Option<Label>,
    /// For communities.
    pub seed: Seed,
    /// Whether the prepared tables hold logarithms.
    pub logged: bool,
}

impl Page {
    /// Adds traces, networks and the comparison of one fit.
    pub fn draw(&mut self, picture: &Picture<'_>, tables: &[Dataset]) -> Result<()> {
        let report = &mut self.report;
        report.run.stop = match (&picture.how, picture.stop) {
            (Some(how), stop) if stop != Some(Stop::Cancelled) => Some(how.clone()),
            (_, stop) => stop.map(|s| s.name().to_owned()),
        };
        if !picture.objective.is_empty() {
            report.objective.push(Trace::new("objective", picture.objective));
        }
        report
            .objective
            .extend(picture.traces.iter().map(|(name, values)| Trace::new(name.replace('_', " "), values)));
        report.charts.extend(picture.charts.iter().cloned());
        if picture.factors.is_some() || !picture.maps.is_empty() {
            // A factorisation reads joined tables side by side.
            let names: Vec<String> = tables.iter().flat_map(|t| t.var.names.iter().cloned()).collect();
            let label =
                self.label.as_ref().map(|(name, codes, titles)| (name.as_str(), &codes[..], &titles[..]));
            report.factors = picture.factors.as_ref().map(|f| FactorsFigure::new(f, &names, label));
            report.maps.extend(picture.maps.iter().map(|(title, maps)| map_figure(title, maps, &names)));
        }
        if let Some(fit) = picture.blocks {
            let label =
                self.label.as_ref().map(|(name, codes, titles)| (name.as_str(), &codes[..], &titles[..]));
            report.blocks = Some(BlocksFigure::new(fit, &tables[0], label)?);
        }
        for (at, (axis, network)) in picture.networks.iter().enumerate() {
            // Feature networks beyond the first belong to the tables in order.
            let before = picture.networks[..at].iter().filter(|(a, _)| a == axis).count();
            let table = &tables[before.min(tables.len() - 1)];
            let (names, title) = match (*axis, tables.len()) {
                ("observations", _) => (&tables[0].obs.names, "observations".to_owned()),
                (_, 1) => (&table.var.names, "features".to_owned()),
                (_, _) => (&table.var.names, format!("features of {}", table.source)),
            };
            let matrix = signed(network);
            report.networks.push(NetworkFigure::new(title, names, &matrix, self.seed)?);
        }
        if let Some((_, network)) = picture.networks.iter().find(|(axis, _)| *axis == "observations") {
            self.compare(
                &network.connectivities(),
                network.kept.as_ref().map(|_| network.neighbours),
                tables,
            )?;
        }
        Ok(())
    }

    /// Adds factors of studies; `names` are those of the features.
    pub fn draw_studies(&mut self, factors: &StudyFactors<'_>, names: &[String]) {
        let label = self.label.as_ref().map(|(name, codes, titles)| (name.as_str(), &codes[..], &titles[..]));
        self.report.studies = Some(StudiesFigure::new(factors, names, label));
    }

    /// Adds slices of a tissue; `names` are those of the genes.
    pub fn draw_slices(
        &mut self,
        fit: &SliceFit<'_>,
        names: &[String],
        course: Vec<LineChart>,
    ) -> Result<()> {
        let label = self.label.as_ref().map(|(name, codes, titles)| (name.as_str(), &codes[..], &titles[..]));
        let figure = SlicesFigure::new(fit, names, label, self.seed)?;
        self.report.slices = Some(SlicesFigure { course, ..figure });
        Ok(())
    }

    /// Adds how stable the edges of each network are, and the comparison of the stable ones.
    pub fn draw_stability(&mut self, fit: &StabilityFit, table: &Dataset) -> Result<()> {
        self.report.run.stop = Some(fit.stop.name().to_owned());
        for network in &fit.networks {
            let names = if network.side == Side::Obs { &table.obs.names } else { &table.var.names };
            self.report.stability.push(StabilityFigure::new(axis(network.side), names, network));
        }
        if let Some(network) = fit.networks.iter().find(|n| n.side == Side::Obs) {
            self.compare(&network.stable(), None, std::slice::from_ref(table))?;
        }
        Ok(())
    }

    /// A graph of the observations, which joins each to `k` others where that is fixed, beside their
    /// plain neighbours, where there are labels.
    fn compare(&mut self, ours: &Csr, k: Option<usize>, tables: &[Dataset]) -> Result<()> {
        let Some((name, labels, titles)) = &self.label else { return Ok(()) };
        let near = k.unwrap_or(NEIGHBOURS).min(ours.shape().0 - 1);
        let (plain, plain_name) = expression_neighbours(tables[0].values(), near, self.logged)?;
        let graphs = [
            Graph { name: self.report.run.method.clone(), k: k.map(|_| near), matrix: ours.into() },
            Graph { name: plain_name, k: Some(near), matrix: (&plain).into() },
        ];
        self.report.comparison = Some(Comparison::new(name.clone(), labels, titles, &graphs, self.seed)?);
        Ok(())
    }
}

/// Chosen maps under the names of their features.
fn map_figure(title: &str, maps: &Maps<'_>, names: &[String]) -> MapsFigure {
    let curve = |i: usize| {
        let name = names.get(i).cloned().unwrap_or_else(|| format!("feature {i}"));
        Curve { name, stretch: maps.stretch[i], ..(maps.curve)(i) }
    };
    let curves = MapsFigure::choose(&maps.stretch).into_iter().map(curve).collect();
    MapsFigure::new(title, &maps.stretch, curves)
}

/// The kept signed entries, or all of them.
fn signed(network: &Network) -> Csr {
    match &network.kept {
        Some(kept) => kept.clone(),
        None => Csr::from_dense(network.precision.to_dense().view()),
    }
}

/// What a page says of one table.
pub fn input(data: &Dataset, sha256: &str) -> Input {
    let (observations, features) = data.shape();
    Input {
        name: data.source.clone(),
        slot: data.slot.clone(),
        observations,
        features,
        nonzeros: data.x.nonzeros(),
        sha256: sha256.to_owned(),
    }
}

/// Warnings as alerts.
pub fn alerts(warnings: &[String]) -> Vec<Alert> {
    warnings.iter().map(|w| Alert::warning(w.clone())).collect()
}
