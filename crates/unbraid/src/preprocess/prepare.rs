//! What happens to a table before any method sees it, in this order: filters by counts, features chosen, empty
//! lines left out, transform, shift, scale.
//!
//! With f the transform, a the `shift` and b the `scale` of a table, a method sees (f(x) − a) / b, where
//!
//! - `shift=min`: a = min(0, smallest f(x) of the table), so that no value is negative;
//! - `scale=max`: b = the largest f(x) − a of the table, so that the largest value is 1;
//! - `auto` is either of these where several tables are put side by side, and 0 and 1 for a table alone
//!   ([`Prepare::among`]).
//!
//! Both are constants of a whole table, not of a feature: tables of different units can then be put side
//! by side (Cantini et al. 2021 prepare omics so for non-negative factors), and new samples are prepared by
//! the constants of the table that was fitted ([`Constants`]).

use super::filters::Filters;
use super::genes::Genes;
use super::totals::to_total;
use crate::data::{Dataset, Matrix, Selection, Values};
use crate::error::{Error, Result};
use crate::fit::Check;
use crate::params::{ParamDoc, Params};

/// What to do with rows and columns that hold no non-zero value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// Leave them to the method, most of which refuse them.
    Error,
    /// Drop them with a warning; they come back as unused in the output.
    Drop,
}

/// Transform of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// As they are.
    None,
    /// log(1 + x).
    Log1p,
    /// log₂(1 + x).
    Log2p1,
    /// log(1 + 10⁴ x / sum of the row), the sum over all features before any is left out: the usual
    /// first step for counts, which takes the sequencing depth out.
    Lognorm,
    /// `lognorm` where no value is negative, else `none`.
    Auto,
}

/// What is subtracted from a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Nothing.
    None,
    /// The smallest value where it is negative, else nothing.
    Min,
    /// `min` where tables are put side by side, else `none`.
    Auto,
}

/// What a table is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 1.
    None,
    /// The largest value, after the shift.
    Max,
    /// `max` where tables are put side by side, else `none`.
    Auto,
}

/// Sum of a row after `lognorm` has scaled it, as wherever counts go into logarithms.
pub const DEPTH: f64 = 1e4;

crate::words!(Empty, "a treatment of empty lines", Error = "error", Drop = "drop");
crate::words!(
    Transform,
    "a transform",
    None = "none",
    Log1p = "log1p",
    Log2p1 = "log2p1",
    Lognorm = "lognorm",
    Auto = "auto"
);
crate::words!(Shift, "a shift", None = "none", Min = "min", Auto = "auto");
crate::words!(Scale, "a scale", None = "none", Max = "max", Auto = "auto");

crate::params! {
    /// Preparation of a table, the same for every method.
    pub struct Prepare {
        /// Smallest total of an observation; 0 or larger. Others are left out with a warning. Default 0.
        pub min_total: f64 = 0.0,
        /// Smallest total of a feature over the observations that are left; 0 or larger. Default 0.
        pub min_count: f64 = 0.0,
        /// Counts per million of an observation's total above which a feature counts as seen; 0 or larger, and
        /// with `min_share` only. Default 0.
        pub min_cpm: f64 = 0.0,
        /// Smallest share of the observations in which a feature must be seen (`min_cpm`); from 0 to 1. Default 0.
        /// The four filters come in this order, before `genes`; the platelet study of the MSSVAE paper has
        /// 268337, 25, 1 and 0.2.
        pub min_share: f64 = 0.0,
        /// Features that take part: `all`, `variable:N` (the N most variable, Seurat's dispersion),
        /// `variance:N` (the N of largest standard deviation after the transform, negative values allowed),
        /// `pearson:N` (the N of largest variance of analytic Pearson residuals, of the values as they are),
        /// `appendix-f` (of the 2000 most variable about as many as there are observations; MED-MAGMA
        /// paper, Appendix F) or `auto` (where no value is negative, the 2000 most variable of those seen in
        /// at least 3 observations; else all). Default all.
        pub genes: Genes = Genes::All,
        /// Rows and columns without a non-zero value, after `genes`: `error` leaves them to the method,
        /// `drop` leaves them out with a warning. Default error.
        pub empty: Empty = Empty::Error,
        /// Transform of the values: `none`, `log1p`, `log2p1` (log2(1 + x)), `lognorm` (every row scaled to a sum of 10 000 over all
        /// features, then log(1 + x)) or `auto` (lognorm where no value is negative, else none). Features
        /// are chosen on the scaled values before the logarithm. Default none.
        pub transform: Transform = Transform::None,
        /// What is subtracted after the transform: `none`, `min` (where the table holds negative values,
        /// its smallest value) or `auto` (`min` where several tables are put side by side, `none` for a
        /// table alone). Of each table by itself. Default none; auto for methods that factorise.
        pub shift: Shift = Shift::None,
        /// What the values are divided by after the shift: `none`, `max` (the largest value of the
        /// table) or `auto` (`max` where several tables are put side by side, `none` for a table alone). Of
        /// each table by itself. Default none; auto for methods that factorise.
        pub scale: Scale = Scale::None,
    }
}

impl Params for Prepare {
    const DOCS: &'static [ParamDoc] = Prepare::FIELDS;
}

impl Prepare {
    /// The preparation of a table that is put beside others (`joined`) or stands alone: `auto` of shift and
    /// scale decided.
    pub fn among(mut self, joined: bool) -> Prepare {
        if self.shift == Shift::Auto {
            self.shift = if joined { Shift::Min } else { Shift::None };
        }
        if self.scale == Scale::Auto {
            self.scale = if joined { Scale::Max } else { Scale::None };
        }
        self
    }

    /// Whether the values that a method sees are logarithms.
    pub fn takes_logs(&self, data: &Dataset) -> bool {
        self.transform_of(&data.x) != Transform::None
    }

    /// `auto` decided.
    fn transform_of(&self, x: &Matrix) -> Transform {
        match self.transform {
            Transform::Auto if nonnegative(x) => Transform::Lognorm,
            Transform::Auto => Transform::None,
            given => given,
        }
    }

    /// The table a method sees, and which rows and columns of `data` it holds. Warnings are whole
    /// sentences.
    ///
    /// # Errors
    /// As [`Prepare::table`].
    pub fn apply(&self, data: &Dataset, warnings: &mut Vec<String>) -> Result<(Dataset, Selection)> {
        let Prepared { data, chosen, .. } = self.table(data, warnings)?;
        Ok((data, chosen))
    }

    /// The same with the constants that were used. Warnings are whole sentences.
    ///
    /// # Errors
    /// [`Error::Value`] where an entry is not finite or a choice or transform is not defined for it,
    /// [`Error::Shape`] when nothing is there or left.
    pub fn table(&self, data: &Dataset, warnings: &mut Vec<String>) -> Result<Prepared> {
        // Before anything is scaled, so that a value that is not finite is named as it stands in the file.
        data.values().check()?;
        self.carry_out(data, warnings)
    }

    /// As [`table`](Self::table) for a table in which NaN is a missing entry. Missing entries stay NaN and count as
    /// no value where empty lines are dropped. Statistics of features and row totals are not defined with them, so a
    /// table that has some is taken with all of its features (`genes=auto`) and untransformed (`transform=auto`).
    ///
    /// # Errors
    /// As [`table`](Self::table) for an infinite entry; [`Error::Value`] at the first missing entry where `genes` or
    /// `transform` needs every value.
    pub fn table_with_missing(&self, data: &Dataset, warnings: &mut Vec<String>) -> Result<Prepared> {
        let (mut infinite, mut missing) = (None, None);
        data.x.for_each_nonzero(|i, j, v| {
            if v.is_nan() {
                missing.get_or_insert((i, j));
            } else if v.is_infinite() {
                infinite.get_or_insert(((i, j), v));
            }
        });
        if let Some((at, found)) = infinite {
            return Err(Error::Value {
                what: data.slot.clone(),
                found,
                at,
                rule: "finite, or NaN if missing",
            });
        }
        let Some(at) = missing else { return self.table(data, warnings) };
        let mut given = self.clone();
        if given.genes == Genes::Auto {
            given.genes = Genes::All;
        }
        if given.transform == Transform::Auto {
            given.transform = Transform::None;
        }
        let rule = match (given.genes == Genes::All, given.transform == Transform::Lognorm) {
            _ if given.filters().any() => {
                "a number where min_total, min_count or min_share is set; leave them out"
            }
            (false, _) => "a number where features are chosen; `--set genes=all` takes missing entries",
            (_, true) => "a number where rows are scaled; use transform=log1p or none",
            _ => return given.carry_out(data, warnings),
        };
        Err(Error::Value { what: data.slot.clone(), found: f64::NAN, at, rule })
    }

    fn filters(&self) -> Filters {
        let Prepare { min_total, min_count, min_cpm, min_share, .. } = *self;
        Filters { min_total, min_count, min_cpm, min_share }
    }

    fn carry_out(&self, data: &Dataset, warnings: &mut Vec<String>) -> Result<Prepared> {
        let transform = self.transform_of(&data.x);
        let left = self.filters().choose(data.values(), warnings)?;
        let scaled = match transform {
            // Over all features, also those that the filters take out.
            Transform::Lognorm => Some(Dataset { x: to_total(data.values(), DEPTH)?, ..data.clone() }),
            _ => None,
        };
        let filtered = |data: &Dataset| (left != Selection::default()).then(|| data.select(&left));
        let counts = filtered(data);
        let counts = counts.as_ref().unwrap_or(data);
        let scaled = scaled.map(|s| filtered(&s).unwrap_or(s));
        let data = scaled.as_ref().unwrap_or(counts);
        not_empty(data)?;
        let var = match self.genes {
            Genes::Variance(_) => {
                let logs = logarithms(transform, data.values())?;
                self.genes.choose(Values { what: &data.slot, matrix: logs.as_ref().unwrap_or(&data.x) })?
            }
            Genes::Pearson(_) => {
                warnings.extend(not_whole(counts));
                self.genes.choose(counts.values())?
            }
            _ => self.genes.choose(data.values())?,
        };
        let within = Selection { obs: None, var };
        let mut out = data.select(&within);
        let mut chosen = inner(left, within);
        if self.empty == Empty::Drop {
            let (n, m) = out.shape();
            let (mut rows, mut columns) = (vec![false; n], vec![false; m]);
            out.x.for_each_nonzero(|i, j, v| {
                if !v.is_nan() {
                    (rows[i], columns[j]) = (true, true);
                }
            });
            let keep = |seen: &[bool]| -> Option<Vec<usize>> {
                seen.contains(&false).then(|| (0..seen.len()).filter(|&i| seen[i]).collect())
            };
            let within = Selection { obs: keep(&rows), var: keep(&columns) };
            for (axis, seen, at) in [("row", n, &within.obs), ("column", m, &within.var)] {
                if let Some(at) = at {
                    let gone = seen - at.len();
                    let (s, were) = if gone == 1 { ("", "was") } else { ("s", "were") };
                    warnings.push(format!("{gone} {axis}{s} without a non-zero value {were} left out."));
                }
            }
            out = out.select(&within);
            chosen = inner(chosen, within);
        }
        not_empty(&out)?;
        if let Some(logs) = logarithms(transform, out.values())? {
            out.x = logs;
        }
        let constants = self.constants(transform, &out, warnings);
        constants.move_and_divide(&mut out.x);
        Ok(Prepared { data: out, chosen, constants })
    }

    /// Shift and scale of a transformed table.
    fn constants(&self, transform: Transform, data: &Dataset, warnings: &mut Vec<String>) -> Constants {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut seen = 0usize;
        data.x.for_each_nonzero(|_, _, v| (low, high, seen) = (low.min(v), high.max(v), seen + 1));
        if seen < data.shape().0 * data.shape().1 {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        let shift = if self.shift == Shift::Min { low.min(0.0) } else { 0.0 };
        let top = high - shift;
        let scale = match self.scale {
            Scale::Max if top > 0.0 => top,
            Scale::Max => {
                let why = "no value is above 0, so that the values were not divided by the largest";
                warnings.push(format!("{}: {why}.", data.source));
                1.0
            }
            Scale::None | Scale::Auto => 1.0,
        };
        Constants { transform, shift, scale }
    }
}

/// A choice within a choice.
fn inner(outer: Selection, within: Selection) -> Selection {
    let both = |outer: Option<Vec<usize>>, within: Option<Vec<usize>>| match (outer, within) {
        (Some(outer), Some(within)) => Some(within.into_iter().map(|i| outer[i]).collect()),
        (outer, within) => outer.or(within),
    };
    Selection { obs: both(outer.obs, within.obs), var: both(outer.var, within.var) }
}

fn not_empty(data: &Dataset) -> Result<()> {
    let (n, m) = data.shape();
    if n == 0 || m == 0 {
        let rule = "at least 1 × 1 after the filters and the choice of genes";
        return Err(Error::Shape { what: data.slot.clone(), found: vec![n, m], rule });
    }
    Ok(())
}

/// A warning where values that should be counts have fractions.
fn not_whole(data: &Dataset) -> Option<String> {
    let mut odd = None;
    data.x.for_each_nonzero(|_, _, v| {
        if odd.is_none() && v.fract() != 0.0 {
            odd = Some(v);
        }
    });
    let slot = &data.slot;
    odd.map(|v| {
        format!(
            "genes=pearson:N is meant for counts, but {slot} of {} holds {v}; name a layer of counts.",
            data.source
        )
    })
}

/// A prepared table.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What a method sees.
    pub data: Dataset,
    /// Which rows and columns of the table it holds.
    pub chosen: Selection,
    /// How its values came about.
    pub constants: Constants,
}

/// How the values of one table were changed: (f(x) − `shift`) / `scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// The transform f; never `auto`.
    pub transform: Transform,
    /// What was subtracted after it; 0 or smaller.
    pub shift: f64,
    /// What was divided by; positive.
    pub scale: f64,
}

impl Constants {
    /// Changes the values of another table in the same way, for example those of new samples. With
    /// `lognorm` the table must hold all features, since rows are scaled by their sums; features are chosen
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::Value`] where an entry is not finite or the transform is not defined for it.
    pub fn apply(&self, values: Values<'_>) -> Result<Matrix> {
        values.check()?;
        self.carry_out(values)
    }

    /// As [`apply`](Self::apply) for a table in which NaN is a missing entry, which stays NaN.
    ///
    /// # Errors
    /// As [`apply`](Self::apply) for an infinite entry, and at the first missing one where rows are scaled by their sums.
    pub fn apply_to_measured(&self, values: Values<'_>) -> Result<Matrix> {
        let rule = match self.transform {
            Transform::Lognorm => "a number, since the fit scaled rows by their sums",
            _ => "finite, or NaN if missing",
        };
        let mut odd = None;
        values.matrix.for_each_nonzero(|i, j, v| {
            if v.is_infinite() || v.is_nan() && self.transform == Transform::Lognorm {
                odd.get_or_insert(((i, j), v));
            }
        });
        match odd {
            Some((at, found)) => Err(Error::Value { what: values.what.to_owned(), found, at, rule }),
            None => self.carry_out(values),
        }
    }

    fn carry_out(&self, values: Values<'_>) -> Result<Matrix> {
        let scaled;
        let values = if self.transform == Transform::Lognorm {
            scaled = to_total(values, DEPTH)?;
            Values { what: values.what, matrix: &scaled }
        } else {
            values
        };
        let mut out = logarithms(self.transform, values)?.unwrap_or_else(|| values.matrix.clone());
        self.move_and_divide(&mut out);
        Ok(out)
    }

    fn move_and_divide(&self, x: &mut Matrix) {
        let Constants { shift, scale, .. } = *self;
        if shift != 0.0 {
            // Zeros become -shift, so that nothing is left of a sparse form.
            *x = Matrix::Dense(x.to_dense().mapv_into(|v| (v - shift) / scale));
        } else if scale != 1.0 {
            *x = x.map(|v| v / scale);
        }
    }
}

/// The logarithms that a transform takes, if it takes any.
fn logarithms(transform: Transform, x: Values<'_>) -> Result<Option<Matrix>> {
    let rule = match transform {
        Transform::None | Transform::Auto => return Ok(None),
        Transform::Log2p1 => "larger than -1 for transform=log2p1",
        Transform::Log1p | Transform::Lognorm => "larger than -1 for transform=log1p",
    };
    let mut low = None;
    x.matrix.for_each_nonzero(|i, j, v| {
        if v <= -1.0 && low.is_none() {
            low = Some(((i, j), v));
        }
    });
    if let Some((at, found)) = low {
        return Err(Error::Value { what: x.what.to_owned(), found, at, rule });
    }
    Ok(Some(match transform {
        Transform::Log2p1 => x.matrix.map(|v| v.ln_1p() / std::f64::consts::LN_2),
        _ => x.matrix.map(f64::ln_1p),
    }))
}

fn nonnegative(x: &Matrix) -> bool {
    let mut all = true;
    x.for_each_nonzero(|_, _, v| all &= v >= 0.0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn lognorm_takes_depth_out_before_features_are_chosen() {
        let x = array![[1.0, 3.0, 0.0], [20.0, 60.0, 0.0], [0.0, 5.0, 5.0]];
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(crate::data::Csr::from_dense(x.view()))] {
            let data = Dataset::from_matrix("t", matrix);
            let prepare = Prepare { transform: Transform::Auto, ..Prepare::default() };
            let (out, _) = prepare.apply(&data, &mut Vec::new()).unwrap();
            let out = out.x.to_dense();
            assert!((out[[0, 1]] - 7501f64.ln()).abs() < 1e-12);
            assert!((&out.row(0) - &out.row(1)).iter().all(|d| d.abs() < 1e-12));
            assert_eq!(out[[2, 0]], 0.0);
        }
        let signed = Dataset::from_matrix("t", Matrix::Dense(array![[1.0, -3.0], [2.0, 1.0]]));
        let auto = Prepare { transform: Transform::Auto, genes: Genes::Auto, ..Prepare::default() };
        let (out, chosen) = auto.apply(&signed, &mut Vec::new()).unwrap();
        assert_eq!((out.x, chosen), (signed.x.clone(), Selection::default()));
        let set = Prepare { transform: Transform::Lognorm, ..Prepare::default() };
        let why = set.apply(&signed, &mut Vec::new()).unwrap_err().to_string();
        assert!(why.contains("-3 at row 0, column 1"), "{why}");
    }

    #[test]
    fn empty_lines_are_dropped_and_positions_refer_to_the_input() {
        let x = array![[0.0, 1.0, 0.0, 2.0], [0.0; 4], [3.0, 0.0, 0.0, 1.0]];
        let data = Dataset::from_matrix("t", Matrix::Dense(x));
        let prepare = Prepare { empty: Empty::Drop, transform: Transform::Log1p, ..Prepare::default() };
        let mut warnings = Vec::new();
        let (out, chosen) = prepare.apply(&data, &mut warnings).unwrap();
        assert_eq!(chosen, Selection { obs: Some(vec![0, 2]), var: Some(vec![0, 1, 3]) });
        assert_eq!(out.x.to_dense()[[1, 0]], 4f64.ln());
        assert_eq!(out.var.names, ["var0", "var1", "var3"]);
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn missing_entries_pass_where_the_method_allows_them() {
        let nan = f64::NAN;
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[nan, 1.0, 0.0], [3.0, 0.0, nan]]));
        let auto = Prepare { transform: Transform::Auto, genes: Genes::Auto, ..Prepare::default() };
        let Prepared { data: out, chosen, .. } = auto.table_with_missing(&data, &mut Vec::new()).unwrap();
        assert!(out.x.to_dense()[[0, 0]].is_nan() && chosen == Selection::default());
        // A column of nothing but zeros and missing entries holds no value.
        let log = Prepare { transform: Transform::Log1p, empty: Empty::Drop, ..Prepare::default() };
        let Prepared { data: out, chosen, .. } = log.table_with_missing(&data, &mut Vec::new()).unwrap();
        assert_eq!((out.x.to_dense()[[1, 0]], chosen.var), (4f64.ln(), Some(vec![0, 1])));
        assert!(log.apply(&data, &mut Vec::new()).unwrap_err().to_string().contains("row 0, column 0"));
        let why = |p: Prepare, d: &Dataset| p.table_with_missing(d, &mut Vec::new()).unwrap_err().to_string();
        let scaled = Prepare { transform: Transform::Lognorm, ..Prepare::default() };
        assert!(why(scaled, &data).contains("transform=log1p or none"));
        let chosen = Prepare { genes: Genes::Variable(2), ..Prepare::default() };
        assert!(why(chosen, &data).contains("genes=all"));
        let endless = Dataset::from_matrix("t", Matrix::Dense(array![[nan, f64::INFINITY]]));
        assert!(why(Prepare::default(), &endless).contains("column 1"));
    }

    #[test]
    fn log1p_below_its_domain_is_located() {
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[1.0, -2.0]]));
        let prepare = Prepare { transform: Transform::Log1p, ..Prepare::default() };
        let why = prepare.apply(&data, &mut Vec::new()).unwrap_err().to_string();
        assert!(why.contains("-2 at row 0, column 1"), "{why}");
    }

    #[test]
    fn tables_are_shifted_and_scaled_as_a_whole_and_new_rows_by_the_same_constants() {
        let x = array![[-2.0, 0.0, 6.0], [1.0, 0.0, 2.0]];
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(crate::data::Csr::from_dense(x.view()))] {
            let data = Dataset::from_matrix("t", matrix);
            let prepare = Prepare { shift: Shift::Min, scale: Scale::Max, ..Prepare::default() };
            let out = prepare.table(&data, &mut Vec::new()).unwrap();
            assert_eq!(out.data.x.to_dense(), array![[0.0, 0.25, 1.0], [0.375, 0.25, 0.5]]);
            assert_eq!(out.constants, Constants { transform: Transform::None, shift: -2.0, scale: 8.0 });
            let new = Matrix::Dense(array![[-10.0, 14.0, 6.0]]);
            let new = out.constants.apply(Values { what: "X", matrix: &new }).unwrap();
            assert_eq!(new.to_dense(), array![[-1.0, 2.0, 1.0]]);
        }
        // Nothing is negative, so nothing is subtracted, and a sparse table stays so.
        let x = array![[3.0, 0.0], [7.0, 1.0]];
        let data = Dataset::from_matrix("t", Matrix::Sparse(crate::data::Csr::from_dense(x.view())));
        let log = Transform::Log2p1;
        let prepare = Prepare { transform: log, shift: Shift::Min, scale: Scale::Max, ..Prepare::default() };
        let out = prepare.table(&data, &mut Vec::new()).unwrap();
        assert_eq!(out.constants.shift, 0.0);
        assert!((out.constants.scale - 3.0).abs() < 1e-15 && matches!(out.data.x, Matrix::Sparse(_)));
        let near = &out.data.x.to_dense() - &array![[2.0 / 3.0, 0.0], [1.0, 1.0 / 3.0]];
        assert!(near.iter().all(|d| d.abs() < 1e-15), "{near}");
        assert_eq!(out.constants.apply(data.values()).unwrap(), out.data.x);
    }

    #[test]
    fn filters_come_first_and_pearson_residuals_read_the_counts() {
        let x = array![
            [900.0, 0.0, 90.0, 10.0],
            [0.0, 1.0, 2.0, 0.0],
            [100.0, 0.0, 890.0, 10.0],
            [500.0, 1.0, 490.0, 9.0]
        ];
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(crate::data::Csr::from_dense(x.view()))] {
            let data = Dataset::from_matrix("t", matrix);
            let prepare = Prepare {
                min_total: 100.0,
                min_count: 2.0,
                genes: Genes::Pearson(2),
                transform: Transform::Lognorm,
                ..Prepare::default()
            };
            let mut warnings = Vec::new();
            let (out, chosen) = prepare.apply(&data, &mut warnings).unwrap();
            assert_eq!(chosen, Selection { obs: Some(vec![0, 2, 3]), var: Some(vec![0, 2]) });
            assert!((out.x.to_dense()[[0, 0]] - 9001f64.ln()).abs() < 1e-12, "scaled over all features");
            assert_eq!((out.obs.names[1].as_str(), warnings.len()), ("obs2", 2));
            let everything = Prepare { min_total: 1e9, ..Prepare::default() };
            let why = everything.apply(&data, &mut Vec::new()).unwrap_err().to_string();
            assert!(why.contains("[0, 4]") && why.contains("filters"), "{why}");
        }
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[1.5, 2.0], [3.0, 1.0]]));
        let mut warnings = Vec::new();
        let prepare = Prepare { genes: Genes::Pearson(1), ..Prepare::default() };
        prepare.apply(&data, &mut warnings).unwrap();
        assert!(warnings[0].contains("holds 1.5"), "{warnings:?}");
        let missing = Dataset::from_matrix("t", Matrix::Dense(array![[f64::NAN, 2.0], [3.0, 1.0]]));
        let prepare = Prepare { min_count: 1.0, ..Prepare::default() };
        let why = prepare.table_with_missing(&missing, &mut Vec::new()).unwrap_err().to_string();
        assert!(why.contains("min_count"), "{why}");
    }

    #[test]
    fn auto_is_decided_by_whether_tables_are_joined() {
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[-2.0, 6.0], [0.0, 2.0]]));
        let auto = Prepare { shift: Shift::Auto, scale: Scale::Auto, ..Prepare::default() };
        let both = Prepare { shift: Shift::Min, scale: Scale::Max, ..Prepare::default() };
        assert_eq!(auto.clone().among(true), both);
        assert_eq!(auto.clone().among(false), Prepare::default());
        assert_eq!(both.clone().among(false), both);
        let alone = auto.table(&data, &mut Vec::new()).unwrap();
        assert_eq!(alone.data.x, data.x, "a table by itself stays as it is");
    }

    #[test]
    fn features_are_chosen_by_the_deviation_of_the_transformed_values() {
        // Before the logarithm the first feature varies most, after it the second.
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[1000.0, 0.0, 5.0], [1200.0, 7.0, 5.0]]));
        let chosen = |transform| {
            let prepare = Prepare { genes: Genes::Variance(1), transform, ..Prepare::default() };
            prepare.apply(&data, &mut Vec::new()).unwrap().1.var
        };
        assert_eq!(chosen(Transform::None), Some(vec![0]));
        assert_eq!(chosen(Transform::Log2p1), Some(vec![1]));
    }

    #[test]
    fn a_table_without_a_positive_value_is_not_scaled() {
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[-1.0, -2.0]]));
        let prepare = Prepare { scale: Scale::Max, ..Prepare::default() };
        let mut warnings = Vec::new();
        let out = prepare.table(&data, &mut warnings).unwrap();
        assert_eq!((out.data.x, out.constants.scale, warnings.len()), (data.x.clone(), 1.0, 1));
    }
}
