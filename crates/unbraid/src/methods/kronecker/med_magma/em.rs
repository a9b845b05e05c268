//! The EM iteration: z* under Ψ, expected Gram matrices, eigenvalue kernel, new Ψ.
//!
//! ```text
//! Z := z*(Ψ₁, Ψ₂)                                   balance
//! S₁ := ZZᵀ ∓ C₁/2,   S₂ := ZᵀZ ∓ C₂/2              Laplace term, or none
//! S₁ = V₁ diag(e₁) V₁ᵀ,   S₂ = V₂ diag(e₂) V₂ᵀ
//! (a, b) := kernel(e₁, e₂)                          always from a = b = 1
//! Ψ₁ := V₁ diag(a) V₁ᵀ,   Ψ₂ := V₂ diag(b) V₂ᵀ
//! ```
//!
//! One sweep is three parts, so that a checkpoint never waits for two eigendecompositions.
//!
//! The iteration is a fixed-point map of (S₁, S₂) with a linear rate near 0.15. With `accelerate` it
//! is mixed ([`Anderson`]) before the eigendecompositions, so that every Ψ is still φ(S) of some S, and
//! the first sweep leaves out the Laplace term, which under Ψ = I is a hundred times larger than ZZᵀ
//! and sends the plain iteration on a detour of two sweeps. The fixed point is the same.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::balance::{self, Curvature, Precisions, Scales, Start};
use super::kernel::Strengths;
use super::laplace::{self, Laplace};
use super::{Criterion, Energy, KernelForm, MedMagma};
use crate::error::Result;
use crate::fit::{Iterate, Seed, Step};
use crate::linalg::{self, Eigen, anderson::Anderson};

/// Sweeps are mixed once Ψ changes by less than this, relative.
const MIXES: f64 = 0.3;
/// EM bound to one Y.
pub struct Em<'a> {
    /// Quotient of X, n × m.
    pub y: Array2<f64>,
    /// The parameters.
    pub params: &'a MedMagma,
}

/// All that changes between steps. Matrices that follow from the rest are kept beside it and made
/// anew, to the same bits, when a stored state is taken up again.
#[derive(Serialize, Deserialize)]
pub struct State {
    /// u and v of z* under the last Ψ.
    pub scales: Scales,
    /// Ψ₁ and Ψ₂ by eigenvectors; `None` is the identity of the start.
    pub psi: Option<[Eigen; 2]>,
    /// ‖ΔΨ‖ after each sweep: absolute and relative.
    pub change: Vec<[f64; 2]>,
    /// Eigenvalues of Ψ on a clamp after the last sweep.
    pub clamped: usize,
    /// Mixes S₁ and S₂; their lower triangles one after the other.
    mixed: Anderson,
    /// Where in the sweep the next step begins.
    phase: Phase,
    #[serde(skip)]
    known: Known,
}

/// The parts of a sweep.
#[derive(Serialize, Deserialize)]
enum Phase {
    /// z* comes next.
    Balance,
    /// The eigendecomposition of S₁ comes next.
    Rows,
    /// The eigendecomposition of S₂ and the kernel come next.
    Columns(Eigen),
}

/// What follows from a [`State`].
#[derive(Default)]
struct Known {
    /// Ψ₁ and Ψ₂.
    psi: Option<[Array2<f64>; 2]>,
    /// ZZᵀ and ZᵀZ at the state's scales.
    grams: Option<[Array2<f64>; 2]>,
    /// S₂, when S₁ was made in the step before.
    columns: Option<Array2<f64>>,
}

impl State {
    /// Ψ₁ and Ψ₂; the identity before the first sweep ends.
    pub fn precisions(&mut self) -> [Array2<f64>; 2] {
        self.recall();
        match self.known.psi.take() {
            Some(psi) => psi,
            None => [Array2::eye(self.scales.u.len()), Array2::eye(self.scales.v.len())],
        }
    }

    /// Makes Ψ from its eigenvectors where it is not at hand.
    fn recall(&mut self) {
        if self.known.psi.is_none() {
            self.known.psi = self.psi.as_ref().map(|[a, b]| [a.recompose(&a.values), b.recompose(&b.values)]);
        }
    }
}

impl Em<'_> {
    /// Z at given scales, with the common factor that the parameters ask for.
    pub fn z(&self, scales: &Scales) -> Array2<f64> {
        let mut z = scales.apply(&self.y);
        let norm = |s: &[f64]| s.iter().map(|s| (2.0 * s).exp()).sum::<f64>().sqrt();
        let size = match self.params.energy {
            Energy::Scales => norm(&scales.u) * norm(&scales.v),
            Energy::Unit => z.iter().map(|z| z * z).sum::<f64>().sqrt(),
        };
        z /= size;
        z
    }

    /// ZZᵀ and ZᵀZ.
    fn grams(&self, scales: &Scales) -> [Array2<f64>; 2] {
        let z = self.z(scales);
        [linalg::gram(z.view()), linalg::gram(z.t())]
    }

    /// S₁ and S₂: the Gram matrices with the chosen Laplace term.
    pub fn expected(
        &self,
        state: &State,
        grams: &[Array2<f64>; 2],
        psi: Precisions<'_>,
    ) -> Result<[Array2<f64>; 2]> {
        let sign = match self.params.laplace {
            Laplace::None => return Ok(grams.clone()),
            Laplace::LogCoord => {
                let curvature = Curvature::at(&self.y, psi, &state.scales);
                let expected = laplace::log_coordinates(self.z(&state.scales).view(), &curvature)?;
                return Ok(as_large_as(expected, grams, psi));
            }
            Laplace::Code => -1.0,
            Laplace::Paper => 1.0,
        };
        let identity;
        let eigen = match &state.psi {
            Some(psi) => psi,
            None => {
                let (n, m) = self.y.dim();
                identity = [n, m].map(|d| Eigen { values: vec![1.0; d], vectors: Array2::eye(d) });
                &identity
            }
        };
        let mut terms = laplace::published([&eigen[0], &eigen[1]]);
        for (term, gram) in terms.iter_mut().zip(grams) {
            term.zip_mut_with(gram, |c, g| *c = g + sign * *c);
        }
        Ok(terms)
    }

    /// S₁ and S₂ for the eigendecompositions: as expected, or mixed with what came before.
    fn next(&self, state: &mut State) -> Result<[Array2<f64>; 2]> {
        let grams = self.grams(&state.scales);
        let first = self.params.accelerate && state.psi.is_none();
        let psi = state.known.psi.as_ref().map(|[a, b]| [a, b]);
        let expected = if first { grams.clone() } else { self.expected(state, &grams, psi)? };
        state.known.grams = Some(grams);
        if !self.params.accelerate {
            return Ok(expected);
        }
        if state.change.last().is_none_or(|c| c[1] > MIXES) {
            state.mixed.forget();
        }
        let mut packed = Vec::with_capacity(expected.iter().map(|s| s.nrows() * (s.nrows() + 1) / 2).sum());
        for s in &expected {
            s.rows().into_iter().enumerate().for_each(|(i, row)| packed.extend(row.iter().take(i + 1)));
        }
        state.mixed.next(packed);
        Ok([0, 1].map(|k| self.unpacked(state, k)))
    }

    /// S₁ or S₂ as last mixed; the lower triangle, which is all that the eigendecomposition reads.
    fn unpacked(&self, state: &State, k: usize) -> Array2<f64> {
        let (n, m) = self.y.dim();
        let (d, mut at) = if k == 0 { (n, 0) } else { (m, n * (n + 1) / 2) };
        let mut s = Array2::zeros((d, d));
        for (i, mut row) in s.rows_mut().into_iter().enumerate() {
            row.iter_mut().zip(&state.mixed.point()[at..=at + i]).for_each(|(s, p)| *s = *p);
            at += i + 1;
        }
        s
    }

    fn kernel(&self, spectra: [&[f64]; 2]) -> Strengths {
        let kernel = self.params.kernel();
        match self.params.kernel {
            KernelForm::Nodes => kernel.nodes(spectra),
            KernelForm::Exact => kernel.exact(spectra, None),
        }
    }
}

impl Iterate for Em<'_> {
    type State = State;

    fn start(&self, _: Seed) -> Result<State> {
        // z* is unique under Ψ = I, so the start needs no draw.
        let (n, m) = self.y.dim();
        Ok(State {
            scales: Scales::ones(n, m),
            psi: None,
            change: Vec::new(),
            clamped: 0,
            mixed: Anderson::default(),
            phase: Phase::Balance,
            known: Known::default(),
        })
    }

    fn step(&self, state: &mut State) -> Result<Step> {
        state.recall();
        match std::mem::replace(&mut state.phase, Phase::Balance) {
            Phase::Balance => {
                let start = match state.known.grams.take() {
                    _ if state.psi.is_none() => Start::Cold,
                    Some(grams) => Start::Warm(Some(grams)),
                    None => Start::Warm(Some(self.grams(&state.scales))),
                };
                let psi = state.known.psi.as_ref().map(|[a, b]| [a, b]);
                balance::balance(&self.y, psi, &mut state.scales, start)?;
                state.phase = Phase::Rows;
                Ok(Step::Part)
            }
            Phase::Rows => {
                let [rows, columns] = self.next(state)?;
                state.known.columns = Some(columns);
                state.phase = Phase::Columns(linalg::eigh(rows.view())?);
                Ok(Step::Part)
            }
            Phase::Columns(rows) => {
                let columns = match state.known.columns.take() {
                    Some(s) => s,
                    None if self.params.accelerate => self.unpacked(state, 1),
                    None => {
                        let [_, s] = self.next(state)?;
                        s
                    }
                };
                let columns = linalg::eigh(columns.view())?;
                let strengths = self.kernel([&rows.values, &columns.values]);
                let [a, b] = strengths.values;
                let new = [Eigen { values: a, ..rows }, Eigen { values: b, ..columns }];
                let psi = [new[0].recompose(&new[0].values), new[1].recompose(&new[1].values)];
                state.change.push(change(state.known.psi.as_ref(), &psi));
                state.clamped = strengths.clamped;
                (state.psi, state.known.psi) = (Some(new), Some(psi));
                Ok(Step::Sweep(strengths.objective))
            }
        }
    }

    fn converged(&self, state: &State, tol: f64, _: &[f64]) -> bool {
        let part = match self.params.criterion {
            Criterion::Absolute => 0,
            Criterion::Relative => 1,
        };
        matches!(state.phase, Phase::Balance) && state.change.last().is_some_and(|c| c[part] < tol)
    }
}

/// S rescaled such that ⟨S₁, Ψ₁⟩ + ⟨S₂, Ψ₂⟩ is what it is for the plug-in. The expansion leaves the common
/// scale of Z free, which overstates S by about 1/n + 1/m; that scale is fixed by `energy` here.
fn as_large_as(s: [Array2<f64>; 2], plug_in: &[Array2<f64>; 2], psi: Precisions<'_>) -> [Array2<f64>; 2] {
    let against = |s: &[Array2<f64>; 2]| -> f64 {
        (0..2)
            .map(|k| match psi {
                Some(psi) => (&s[k] * psi[k]).sum(),
                None => s[k].diag().sum(),
            })
            .sum()
    };
    let factor = against(plug_in) / against(&s);
    s.map(|s| s * factor)
}

/// `sqrt(‖ΔΨ₁‖²/n² + ‖ΔΨ₂‖²/m²)`, and the same relative to Ψ.
fn change(old: Option<&[Array2<f64>; 2]>, new: &[Array2<f64>; 2]) -> [f64; 2] {
    let (mut moved, mut size) = (0.0, 0.0);
    for k in 0..2 {
        let entries = new[k].len() as f64;
        let mut square = 0.0;
        match old {
            Some(old) => {
                ndarray::Zip::from(&new[k]).and(&old[k]).for_each(|a, b| square += (a - b) * (a - b))
            }
            None => new[k].indexed_iter().for_each(|((i, j), a)| {
                let d = a - f64::from(u8::from(i == j));
                square += d * d;
            }),
        }
        moved += square / entries;
        size += new[k].iter().map(|a| a * a).sum::<f64>() / entries;
    }
    [moved.sqrt(), (moved / size).sqrt()]
}
