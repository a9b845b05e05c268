//! A section in two halves, as if two technologies had measured it: each half lacks some genes, the right one has a batch effect, and both are
//! joined on the genes that they share, as files of slices are.

use std::path::PathBuf;

use serde_json::json;
use unbraid::Seed;
use unbraid::data::{Dataset, Selection};
use unbraid::simulate::batch::Effect;
use unbraid_io::ReadOptions;

use super::sets::{Scale, Set, Source, set};
use crate::fault::Fault;
use crate::join::below;
use crate::methods::SLICE;

/// One gene in so many is missing in the left half, another in the right one.
const LACKS: usize = 8;
/// The effects, what a set is called, and how strong they are.
const EFFECTS: [(Effect, &str, f64); 2] = [(Effect::Adds, "adds", 1.0), (Effect::Scales, "scales", 0.5)];
/// Of the batch effects.
const SEED: Seed = Seed(0);

/// How many sets [`halves`] makes.
pub const COUNT: usize = EFFECTS.len();

/// The sets of a section.
///
/// # Errors
/// A file that cannot be read.
pub fn halves(source: &Source, scale: Scale, genes: usize) -> Result<Vec<Set>, Fault> {
    let mut whole = unbraid_io::read(&source.path, &ReadOptions::default())?;
    whole.obs.columns.retain(|(name, _)| name != SLICE);
    let mut across: Vec<f64> = whole.obsm.get("spatial").map(|p| p.column(0).to_vec()).unwrap_or_default();
    let places = across.clone();
    across.sort_by(f64::total_cmp);
    let middle = across.get(across.len() / 2).copied().unwrap_or(0.0);
    let right: Vec<bool> = places.iter().map(|x| *x >= middle).collect();
    let mut out = Vec::new();
    for (effect, word, strength) in EFFECTS {
        let touched = Dataset { x: effect.put(&whole.x, &right, strength, SEED), ..whole.clone() };
        let part = |side: bool, lacks: usize| {
            let obs = (0..right.len()).filter(|&i| right[i] == side).collect();
            let var = (0..touched.var.len()).filter(|j| j % LACKS != lacks).collect();
            touched.select(&Selection { obs: Some(obs), var: Some(var) })
        };
        let files = ["left", "right"].map(PathBuf::from);
        let joined = below(vec![part(false, 0), part(true, LACKS / 2)], &files, SLICE, &mut Vec::new())?;
        let prepare = scale.prepare(&joined, genes);
        let (data, _) = prepare.apply(&joined, &mut Vec::new())?;
        let identity = json!([source.sha256, "halves", word, strength, prepare]);
        out.push(set(format!("{}, halves, one {word}", source.name), identity, data, false)?);
    }
    Ok(out)
}
