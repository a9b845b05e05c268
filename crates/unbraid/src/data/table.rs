//! Named columns of observations or features.

/// Columns over one axis, with the axis' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Name of each row of the table: cells, samples, genes.
    pub names: Vec<String>,
    /// Columns in file order.
    pub columns: Vec<(String, Column)>,
}

/// One column; `None` is a missing entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers; a missing one is NaN.
    Float(Vec<f64>),
    /// Whole numbers.
    Int(Vec<Option<i64>>),
    /// True or false.
    Bool(Vec<Option<bool>>),
    /// Free text.
    Text(Vec<Option<String>>),
    /// Labels: an index into `categories` for each row.
    Categorical {
        /// Which category each row has.
        codes: Vec<Option<u32>>,
        /// The labels, in order.
        categories: Vec<String>,
        /// Whether the order of the categories means something.
        ordered: bool,
    },
}

impl Column {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Column::Float(v) => v.len(),
            Column::Int(v) => v.len(),
            Column::Bool(v) => v.len(),
            Column::Text(v) => v.len(),
            Column::Categorical { codes, .. } => codes.len(),
        }
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The chosen rows.
    pub fn rows(&self, at: &[usize]) -> Column {
        fn pick<T: Clone>(v: &[T], at: &[usize]) -> Vec<T> {
            at.iter().map(|&i| v[i].clone()).collect()
        }
        match self {
            Column::Float(v) => Column::Float(pick(v, at)),
            Column::Int(v) => Column::Int(pick(v, at)),
            Column::Bool(v) => Column::Bool(pick(v, at)),
            Column::Text(v) => Column::Text(pick(v, at)),
            Column::Categorical { codes, categories, ordered } => Column::Categorical {
                codes: pick(codes, at),
                categories: categories.clone(),
                ordered: *ordered,
            },
        }
    }
    /// Labels as texts, `None` where one is missing. `None` for a numeric column.
    pub fn texts(&self) -> Option<Vec<Option<String>>> {
        Some(match self {
            Column::Categorical { codes, categories, .. } => {
                codes.iter().map(|c| c.map(|c| categories[c as usize].clone())).collect()
            }
            Column::Text(v) => v.clone(),
            Column::Bool(v) => v.iter().map(|b| b.map(|b| b.to_string())).collect(),
            Column::Int(v) => v.iter().map(|i| i.map(|i| i.to_string())).collect(),
            Column::Float(_) => return None,
        })
    }
    /// Labels as indices, with the label of each index; missing entries become the label `NA`.
    /// `None` for a numeric column.
    pub fn labels(&self) -> Option<(Vec<usize>, Vec<String>)> {
        let texts = self.texts()?;
        let texts: Vec<String> = texts.into_iter().map(|t| t.unwrap_or_else(|| "NA".into())).collect();
        let names: std::collections::BTreeSet<&String> = texts.iter().collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let codes = texts.iter().map(|t| names.binary_search(t).expect("every text is a name")).collect();
        Some((codes, names))
    }
}

impl Table {
    /// Names `prefix0 … prefix(n-1)` and no columns.
    pub fn numbered(prefix: &str, n: usize) -> Table {
        Table { names: (0..n).map(|i| format!("{prefix}{i}")).collect(), columns: Vec::new() }
    }
    /// Names and no columns.
    pub fn named(names: Vec<String>) -> Table {
        Table { names, columns: Vec::new() }
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.names.len()
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(n, _)| n == name).map(|(_, c)| c)
    }
    /// The chosen rows.
    pub fn rows(&self, at: &[usize]) -> Table {
        Table {
            names: at.iter().map(|&i| self.names[i].clone()).collect(),
            columns: self.columns.iter().map(|(n, c)| (n.clone(), c.rows(at))).collect(),
        }
    }
}
