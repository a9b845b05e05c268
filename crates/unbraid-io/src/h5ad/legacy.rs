//! Forms of files written before AnnData 0.7: tables as records, labels as codes with their
//! categories in `uns`.

use super::model::{AnnData, Categorical, Dict, Elem, Frame, Records};

/// A table from records, of which there is one at least: the first field is the index.
pub(crate) fn frame(records: Records) -> Frame {
    let mut columns = records.fields;
    let (index_name, index) = columns.remove(0);
    Frame { index_name, index: Box::new(index), columns }
}

/// Moves `uns["NAME_categories"]` to the column NAME of `obs` or `var` whose codes they explain.
pub(crate) fn settle_categories(data: &mut AnnData) {
    let AnnData { uns, obs, var, .. } = data;
    settle(uns, &mut [obs, var]);
}

pub(crate) fn settle(uns: &mut Dict, tables: &mut [&mut Frame]) {
    let names: Vec<String> = uns.keys().filter(|k| k.ends_with("_categories")).cloned().collect();
    for key in names {
        let name = key.trim_end_matches("_categories");
        let Some(categories @ Elem::Strings(texts)) = uns.get(&key) else { continue };
        let count = texts.values.len() as i64;
        // One category is stored as a plain text.
        let categories = match texts.shape.len() {
            1 => categories.clone(),
            _ => Elem::texts(texts.values.clone()),
        };
        let mut used = false;
        for table in tables.iter_mut() {
            let Some((_, column)) = table.columns.iter_mut().find(|(n, _)| n == name) else { continue };
            let Elem::Array(codes) = column else { continue };
            let fits = codes.data.to_i64().is_some_and(|c| c.iter().all(|c| (-1..count).contains(c)));
            if fits {
                let codes = codes.data.clone();
                let categories = Box::new(categories.clone());
                *column = Elem::Categorical(Categorical { codes, categories, ordered: false });
                used = true;
            }
        }
        if used {
            uns.remove(&key);
        }
    }
}
