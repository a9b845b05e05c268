//! From the plain tables of methods to elements of a file.

use std::collections::BTreeSet;

use unbraid::data::{Column, Table, Value};

use super::model::{Array, Categorical, Elem, Frame, Nullable, NullableStrings, Numbers};

/// A column as an element; the error says what is wrong with its labels.
pub(crate) fn column_elem(column: &Column) -> Result<Elem, String> {
    fn split<T: Clone + Default>(values: &[Option<T>]) -> (Vec<T>, Option<Vec<bool>>) {
        let mask: Vec<bool> = values.iter().map(Option::is_none).collect();
        let some = mask.contains(&true).then_some(mask);
        (values.iter().map(|v| v.clone().unwrap_or_default()).collect(), some)
    }
    Ok(match column {
        Column::Float(v) => Elem::numbers(Numbers::F64(v.clone())),
        Column::Int(v) => match split(v) {
            (v, None) => Elem::numbers(Numbers::I64(v)),
            (v, Some(mask)) => Elem::Nullable(Nullable { values: Numbers::I64(v), mask }),
        },
        Column::Bool(v) => match split(v) {
            (v, None) => Elem::numbers(Numbers::Bool(v)),
            (v, Some(mask)) => Elem::Nullable(Nullable { values: Numbers::Bool(v), mask }),
        },
        Column::Text(v) => match split(v) {
            (v, None) => Elem::texts(v),
            (values, Some(mask)) => Elem::NullableStrings(NullableStrings { values, mask, na_value: None }),
        },
        Column::Categorical { codes, categories, ordered } => {
            if categories.iter().collect::<BTreeSet<_>>().len() < categories.len() {
                return Err("a category occurs twice".into());
            }
            let count = categories.len();
            if let Some(code) = codes.iter().flatten().find(|&&c| c as usize >= count) {
                return Err(format!("the code {code} is beyond the {count} categories"));
            }
            let code = codes.iter().map(|c| c.map_or(-1, i64::from));
            let codes = match count {
                0..=127 => Numbers::I8(code.map(|c| c as i8).collect()),
                128..=32767 => Numbers::I16(code.map(|c| c as i16).collect()),
                _ => Numbers::I32(code.map(|c| c as i32).collect()),
            };
            let categories = Box::new(Elem::texts(categories.clone()));
            Elem::Categorical(Categorical { codes, categories, ordered: *ordered })
        }
    })
}

/// A table as an element.
pub(crate) fn table_frame(table: &Table) -> Result<Frame, String> {
    let columns = table.columns.iter().map(|(name, column)| {
        if column.len() != table.len() {
            return Err(format!("column {name:?} has {} rows, its table {}", column.len(), table.len()));
        }
        Ok((name.clone(), column_elem(column).map_err(|e| format!("column {name:?}: {e}"))?))
    });
    let columns = columns.collect::<Result<_, _>>()?;
    let index = Box::new(Elem::texts(table.names.clone()));
    Ok(Frame { index_name: "_index".into(), index, columns })
}

/// A value of `uns` as an element.
pub(crate) fn value_elem(value: &Value) -> Result<Elem, String> {
    Ok(match value {
        Value::Bool(v) => Elem::scalar(Numbers::Bool(vec![*v])),
        Value::Int(v) => Elem::scalar(Numbers::I64(vec![*v])),
        Value::Float(v) => Elem::scalar(Numbers::F64(vec![*v])),
        Value::Text(v) => Elem::text(v.clone()),
        Value::Ints(v) => Elem::numbers(Numbers::I64(v.clone())),
        Value::Floats(v) => Elem::numbers(Numbers::F64(v.clone())),
        Value::Singles(v) => Elem::numbers(Numbers::F32(v.clone())),
        Value::Texts(v) => Elem::texts(v.clone()),
        Value::Matrix(x) => {
            let data = Numbers::F64(x.iter().copied().collect());
            Elem::Array(Array { shape: x.shape().to_vec(), data })
        }
        Value::Table(table) => Elem::Frame(table_frame(table)?),
        Value::Map(map) => Elem::Dict(
            map.iter().map(|(name, v)| Ok((name.clone(), value_elem(v)?))).collect::<Result<_, String>>()?,
        ),
    })
}
