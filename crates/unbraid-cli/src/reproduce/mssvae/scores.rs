//! Figures 2a to c and 3: distributions of scores over data sets, for the method and what it is compared with.

use rayon::prelude::*;

use super::Design;
use super::data::Data;
use super::fits::{Outcome, outcome};
use super::ways::Way;
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Check, Figure, Section, Table};
use crate::reproduce::{Run, mean};

/// Pieces of work.
pub fn pieces(design: &Design, data: Data) -> u64 {
    design.ways(data).iter().map(|(_, seeds)| *seeds as u64).sum()
}

/// The runs of some methods, each on its number of data sets: by method and seed.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn outcomes(
    design: &Design,
    data: Data,
    ways: &[(Way, usize)],
    runs: &Runs,
    run: &Run<'_>,
) -> Result<Vec<Vec<Outcome>>, Fault> {
    let first = run.seed.0;
    let one = |&(at, place): &(usize, usize)| {
        let (way, seed) = (ways[at].0, first.wrapping_add(place as u64));
        let found = outcome(runs, design, data, way, (seed, first))?;
        run.progress.done(1, &format!("{}, seed {seed}, {}", data.name(), way.name()))?;
        Ok((at, found))
    };
    // Data set by data set, so that a series cut short can be compared.
    let most = ways.iter().map(|(_, seeds)| *seeds).max().unwrap_or(0);
    let of_place =
        |place: usize| (0..ways.len()).filter(move |&at| place < ways[at].1).map(move |at| (at, place));
    let jobs: Vec<(usize, usize)> = (0..most).flat_map(of_place).collect();
    // Large fits use the threads themselves, and two of them would need twice the memory.
    let all: Vec<(usize, Outcome)> = match data {
        Data::Gaussian => jobs.par_iter().map(one).collect::<Result<_, Fault>>()?,
        Data::Rna => jobs.iter().map(one).collect::<Result<_, Fault>>()?,
    };
    let mut of = vec![Vec::new(); ways.len()];
    all.into_iter().for_each(|(at, outcome)| of[at].push(outcome));
    Ok(of)
}

/// Runs the part.
///
/// # Errors
/// As [`outcomes`].
pub fn run(design: &Design, data: Data, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let of = outcomes(design, data, &design.ways(data), runs, run)?;
    let (title, number) = match data {
        Data::Gaussian => ("Gaussian studies: figure 2a to c", "2"),
        Data::Rna => ("Counts: figure 3", "3"),
    };
    let figures = [
        ("shared", "shared factors", Outcome::shared as fn(&Outcome) -> [f64; 3]),
        ("specific", "studies' own factors, mean over studies", Outcome::specific),
    ];
    let mut drawn = Vec::new();
    for (word, what, scores) in figures {
        drawn.push(strips(
            format!("figure{number}_{word}.svg"),
            format!("Figure {number}: {what}"),
            &of,
            ["consensus", "relevance", "recovery"]
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, move |o: &Outcome| scores(o)[at]))
                .collect(),
        )?);
    }
    drawn.push(strips(
        format!("figure{number}_disentanglement.svg"),
        format!("Figure {number}: disentanglement"),
        &of,
        vec![("disentanglement", disentangled)],
    )?);
    let mut notes = runs.notes();
    notes.push("The paper shows its scores as plots without numbers.".into());
    Ok(Section {
        title: title.into(),
        about: about(design, data),
        figures: drawn,
        tables: vec![summary(data, &of), every(data, &of)],
        checks: checks(data, &of),
        notes,
    })
}

fn about(design: &Design, data: Data) -> Vec<String> {
    let spread = "Supports are judged: consensus counts every factor once, relevance asks whether the found ones are true, recovery \
                  whether the true ones are found. All lie between 0 and 1.";
    let linear = "The linear model cannot drop columns. Once it is told the true numbers of factors; once it \
                  has as many columns as MSSVAE starts from. A feature belongs to a factor where its loading, after a varimax rotation, \
                  is above 0.3 of the largest.";
    let first = match data {
        Data::Gaussian => format!(
            "{} data sets of 3 studies of {} samples and {} features, 8 shared factors and 2 of each study; seed i is `unbraid \
             simulate multistudy --seed i`. MSSVAE starts from 30 shared and 5 own columns and is trained for {} epochs, as is \
             `preset=paper` (penalty by gradient, W as it is at the end) and one sparse autoencoder per study (35 columns, as many steps), merged. \
             Methods that the table gives fewer data sets have the first of these.",
            design.seeds, design.observations, design.features, design.epochs
        ),
        Data::Rna => {
            let schedule = match design.rna_epochs {
                800 => "the published 800".to_owned(),
                n => format!("{n}, a schedule {:.1} times shorter than the published 800", 800.0 / n as f64),
            };
            let alone = match design.rna_each {
                [0, 0] => "as many steps".to_owned(),
                [epochs, batch] => format!("{epochs} epochs of mini-batches of {batch}"),
            };
            format!(
                "{} data sets of 3 studies, {} samples in all, and {} genes, 20 shared factors and 4 of each study; seed i is `unbraid \
                 simulate multistudy-rna --seed i`. MSSVAE with a negative binomial law starts from 50 shared and 10 own columns, and from the \
                 true numbers where it is told them; epochs: {schedule}, in mini-batches of {}. One autoencoder per study (60 columns) has the same settings and {alone}. The linear model sees log(1 + x) of counts \
                 scaled to 10 000 in each sample. Shared columns of more than a quarter of the genes are left out, as in the paper. \
                 Methods that the table gives fewer data sets have the first of these.",
                design.rna_seeds, design.rna_observations, design.rna_features, design.rna_batch
            )
        }
    };
    vec![first, spread.into(), linear.into()]
}

/// Scores by method as points with median and quartiles.
fn strips<F: Fn(&Outcome) -> f64>(
    file: String,
    title: String,
    of: &[Vec<Outcome>],
    scores: Vec<(&str, F)>,
) -> Result<Figure, Fault> {
    let names: Vec<String> = of.iter().rev().map(|all| all[0].way.name().to_owned()).collect();
    let panels = scores.iter().enumerate().map(|(at, (name, score))| {
        let series = of.iter().rev().enumerate().map(|(y, all)| {
            let values: Vec<f64> = all.iter().map(score).collect();
            // Spread by the golden ratio, so that equal scores do not hide each other.
            let place = |i: usize| y as f64 + 0.5 * ((i as f64 * 0.618_034) % 1.0 - 0.5);
            let dots = values.iter().enumerate().map(|(i, v)| (*v, place(i))).collect();
            let [low, middle, high] = quartiles(&values);
            let marks = vec![Mark::Dots(dots, false), Mark::Interval(vec![(low, middle, high, y as f64)])];
            Series { name: all[0].way.name().into(), tint: all[0].way.tint(), marks }
        });
        // Names stand beside the first panel only.
        let shown = if at == 0 { names.clone() } else { vec![String::new(); names.len()] };
        Panel {
            title: String::new(),
            x: Axis::numbers(name, -0.03..1.03),
            y: Axis::names("", shown),
            series: series.collect(),
        }
    });
    Ok(Figure {
        file,
        title,
        caption: "Rings: data sets. Thick bars: the middle half of them, with the median.".into(),
        svg: figure::draw(&panels.collect::<Vec<_>>(), Names::None, 70 + 62 * of.len() as u32)?,
    })
}

/// Quartiles by linear interpolation.
fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (sorted.len() - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
    };
    [at(0.25), at(0.5), at(0.75)]
}

fn means(all: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    mean(&all.iter().map(of).collect::<Vec<_>>())
}

fn disentangled(o: &Outcome) -> f64 {
    o.truth.disentanglement.unwrap_or(0.0)
}

fn summary(data: Data, of: &[Vec<Outcome>]) -> Table {
    let columns = [
        "method",
        "data sets",
        "shared consensus",
        "smallest",
        "as fitted",
        "specific consensus",
        "smallest",
        "as fitted",
        "disentanglement",
        "seconds",
    ];
    let caption = "Means over data sets, and the smallest; as fitted: the mean for W before columns are merged or dropped. Seconds are of a \
                   fit while others may run beside it.";
    let mut table = Table::new(&format!("{}.csv", data.name()), caption, &columns);
    for all in of {
        let least = |score: fn(&Outcome) -> f64| all.iter().map(score).fold(f64::INFINITY, f64::min);
        let before = |score: fn(&Outcome) -> Option<f64>| {
            let known: Vec<f64> = all.iter().filter_map(score).collect();
            (known.len() == all.len()).then(|| mean(&known))
        };
        table.rows.push(cells![
            all[0].way.name(),
            all.len(),
            means(all, |o| o.shared()[0]),
            least(|o| o.shared()[0]),
            before(|o| Some(o.before.as_ref()?.shared?.consensus)),
            means(all, |o| o.specific()[0]),
            least(|o| o.specific()[0]),
            before(|o| Some(o.before.as_ref()?.mean()?.consensus)),
            means(all, disentangled),
            means(all, |o| o.seconds)
        ]);
    }
    table
}

fn every(data: Data, of: &[Vec<Outcome>]) -> Table {
    let columns = [
        "seed",
        "method",
        "shared_consensus",
        "shared_relevance",
        "shared_recovery",
        "specific_consensus",
        "specific_relevance",
        "specific_recovery",
        "disentanglement",
        "shared_found",
        "specific_found",
        "shared_consensus_as_fitted",
        "specific_consensus_as_fitted",
        "seconds",
    ];
    let mut table = Table::new(&format!("{}_runs.csv", data.name()), "Every run.", &columns);
    for o in of.iter().flatten() {
        let ([sc, sl, sy], [pc, pl, py], (shared, own)) = (o.shared(), o.specific(), o.sizes());
        table.rows.push(cells![
            o.seed as usize,
            o.way.name(),
            sc,
            sl,
            sy,
            pc,
            pl,
            py,
            disentangled(o),
            shared,
            own,
            o.before.as_ref().and_then(|b| b.shared).map(|s| s.consensus),
            o.before.as_ref().and_then(|b| b.mean()).map(|s| s.consensus),
            o.seconds
        ]);
    }
    table.shown = data == Data::Rna;
    table
}

/// One number of a fit.
type Score = fn(&Outcome) -> f64;

fn checks(data: Data, of: &[Vec<Outcome>]) -> Vec<Check> {
    let aim = "aim of this program";
    let by = |way: Way| of.iter().find(|all| all[0].way == way);
    let Some(ours) = by(Way::Mssvae) else { return Vec::new() };
    let mut out = Vec::new();
    if data == Data::Gaussian {
        let aims: [(&str, f64, Score); 3] = [
            ("mean consensus of shared factors", 0.95, |o| o.shared()[0]),
            ("mean consensus of the studies' own factors", 0.92, |o| o.specific()[0]),
            ("mean disentanglement", 0.95, disentangled),
        ];
        for (what, least, score) in aims {
            let claim = format!("{what} of MSSVAE is at least {least}");
            out.push(Check::number(claim, aim, format!("≥ {least}"), Some(means(ours, score)), move |v| {
                v >= least
            }));
        }
    }
    let blocks: [(&str, Score); 2] = [("shared", |o| o.shared()[0]), ("studies' own", |o| o.specific()[0])];
    let pairs = [Way::Each, Way::Linear, Way::Many].map(|way| (Way::Mssvae, way));
    for (way, other) in pairs.into_iter().chain([(Way::Told, Way::Linear)]) {
        let (Some(found), Some(least)) = (by(way), by(other)) else { continue };
        // Both start from the first data set.
        let common = found.len().min(least.len());
        for (what, score) in blocks {
            let [found, least] = [found, least].map(|all| means(&all[..common], score));
            let (way, other) = (way.name(), other.name());
            out.push(Check::number(
                format!(
                    "mean consensus of {what} factors of ‘{way}’ is above that of the baseline ‘{other}’ (data sets: {common})"
                ),
                aim,
                format!("> {least:.4}"),
                Some(found),
                move |v| v > least,
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        assert_eq!(quartiles(&[4.0, 1.0, 2.0, 3.0, 5.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&[1.0, 2.0]), [1.25, 1.5, 1.75]);
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
    }
}
