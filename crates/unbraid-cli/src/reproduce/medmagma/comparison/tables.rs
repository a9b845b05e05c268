//! The tables of the comparison: means, paired differences, every data set, every graph.

use unbraid::metrics::network::Score;

use super::{AMI, ASSORTATIVITY, All, CONTENDERS, DEFAULT, FULL, KS, MEASURES, PAPER, SHOWN};
use crate::cells;
use crate::reproduce::section::Table;

impl All<'_> {
    pub(super) fn means(&self) -> Table {
        let columns = ["k", "measure", "method", "data sets", "mean", "low", "high"];
        let caption = "Means over the data sets each method could be run on, with bootstrap intervals (95 %) over data sets. \
                       Means of different numbers of data sets cannot be compared; the paired table can.";
        let mut table = Table::new("comparison_means.csv", caption, &columns);
        for k in KS.into_iter().rev() {
            for measure in MEASURES {
                for (method, c) in CONTENDERS.iter().enumerate() {
                    let values = self.values(method, k, measure);
                    let of = self.interval(&values);
                    table.rows.push(cells![
                        k,
                        measure.name,
                        c.name,
                        values.len(),
                        of.map(|i| i[1]),
                        of.map(|i| i[0]),
                        of.map(|i| i[2])
                    ]);
                }
            }
        }
        table
    }

    pub(super) fn paired(&self) -> Table {
        let columns = [
            "k",
            "measure",
            "method",
            "minus",
            "data sets",
            "mean",
            "low",
            "high",
            "better on",
            "least",
            "least on",
        ];
        let caption = "Paired differences over the data sets both were run on, with bootstrap intervals (95 %) over data sets.";
        let mut table = Table::new("comparison_paired.csv", caption, &columns);
        let ours = CONTENDERS.iter().filter(|c| [DEFAULT, FULL, PAPER].contains(&c.name));
        let pairs: Vec<(&str, &str)> = ours
            .flat_map(|a| CONTENDERS.iter().map(move |b| (a.name, b.name)))
            // Every pair once: the methods of this program in the order of the list.
            .filter(|(a, b)| {
                a != b && ![(PAPER, FULL), (PAPER, DEFAULT), (FULL, DEFAULT)].contains(&(*a, *b))
            })
            .collect();
        for k in KS.into_iter().rev() {
            for measure in MEASURES {
                for (a, b) in &pairs {
                    let differences = self.differences(a, b, k, measure);
                    let values: Vec<f64> = differences.iter().map(|d| d.1).collect();
                    let of = self.interval(&values);
                    let least = differences.iter().min_by(|a, b| a.1.total_cmp(&b.1));
                    table.rows.push(cells![
                        k,
                        measure.name,
                        *a,
                        *b,
                        values.len(),
                        of.map(|i| i[1]),
                        of.map(|i| i[0]),
                        of.map(|i| i[2]),
                        values.iter().filter(|v| **v > 0.0).count(),
                        least.map(|l| l.1),
                        least.map(|l| self.sets[l.0].name.as_str())
                    ]);
                }
            }
        }
        table
    }

    pub(super) fn data_sets(&self) -> Table {
        let columns: Vec<String> = ["data set", "rows", "columns", "non-zero", "labels", "classes"]
            .iter()
            .map(|c| c.to_string())
            .chain(
                CONTENDERS
                    .iter()
                    .flat_map(|c| [ASSORTATIVITY, AMI].map(|m| format!("{}: {}", c.name, m.name))),
            )
            .collect();
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let caption = format!("Every data set at k = {SHOWN}: nominal assortativity and AMI.");
        let mut table = Table::new("comparison_sets.csv", caption, &names);
        for (at, set) in self.sets.iter().enumerate() {
            let (n, m) = set.data.shape();
            let mut used = set.labels.clone();
            used.sort_unstable();
            used.dedup();
            let mut row = cells![
                set.name.as_str(),
                n,
                m,
                set.data.x.nonzeros() as f64 / (n as f64 * m as f64),
                set.column.as_str(),
                used.len()
            ];
            for method in 0..CONTENDERS.len() {
                row.extend([ASSORTATIVITY, AMI].map(|measure| self.value(at, method, SHOWN, measure).into()));
            }
            table.rows.push(row);
        }
        table
    }

    pub(super) fn every(&self) -> Table {
        let columns = [
            "data_set",
            "method",
            "k",
            "edges",
            "assortativity_nominal",
            "assortativity_numeric",
            "ami",
            "ami_resolution",
            "ami_communities",
            "balanced_ami",
            "ari",
            "balanced_ari",
            "stop",
        ];
        let mut table = Table::new("comparison.csv", "Every graph.", &columns);
        table.shown = false;
        for o in self.outcomes {
            let (set, method) = (self.sets[o.set].name.as_str(), CONTENDERS[o.method].name);
            for j in &o.at {
                let best = j.best(Score::Ami);
                table.rows.push(cells![
                    set,
                    method,
                    j.k,
                    j.edges,
                    j.nominal,
                    j.numeric,
                    best.map(|p| p.ami),
                    best.map(|p| p.resolution),
                    best.map(|p| p.communities),
                    j.best(Score::BalancedAmi).map(|p| p.balanced_ami),
                    j.best(Score::Ari).map(|p| p.ari),
                    j.best(Score::BalancedAri).map(|p| p.balanced_ari),
                    o.stop.as_str()
                ]);
            }
            if o.at.is_empty() {
                let none = None::<f64>;
                table.rows.push(cells![
                    set,
                    method,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    o.stop.as_str()
                ]);
            }
        }
        table
    }
}
