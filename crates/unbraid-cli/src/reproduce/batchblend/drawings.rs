//! Slices and affinities as static SVG, where a figure is neither lines nor bars.

use std::fmt::Write;

use ndarray::Array2;

use crate::page::escape;

/// Side of a slice, gap between two, height of a heading, in pixels.
const SIDE: f64 = 132.0;
const GAP: f64 = 10.0;
const HEAD: f64 = 22.0;
/// From nothing to all, and below 0.
const NOTHING: [f64; 3] = [228.0, 234.0, 239.0];
const ALL: [f64; 3] = [5.0, 78.0, 153.0];
const BELOW: [f64; 3] = [190.0, 66.0, 0.0];
const FONT: &str = "font-family=\"sans-serif\" font-size=\"13\"";

fn colour(from: [f64; 3], to: [f64; 3], part: f64) -> String {
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    let c = |i: usize| (from[i] + part * (to[i] - from[i])).round() as u8;
    format!("#{:02x}{:02x}{:02x}", c(0), c(1), c(2))
}

fn open(width: f64, height: f64) -> String {
    format!(
        "<svg width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    )
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {FONT} fill=\"#1d2327\">{}</text>",
        escape(words)
    );
}

/// One map: a heading and a value from 0 to 1 for each cell.
pub struct Map {
    pub title: String,
    pub values: Vec<f64>,
}

/// Maps of the same cells, each with its slices side by side, `across` maps in a row.
pub fn tissue(maps: &[Map], places: &Array2<f64>, batch: &[usize], slices: usize, across: usize) -> String {
    let wide = slices as f64 * (SIDE + GAP) + GAP;
    let rows = maps.len().div_ceil(across.max(1));
    let mut svg = open(wide * across.min(maps.len()) as f64, rows as f64 * (SIDE + GAP + HEAD));
    let most = (0..slices).map(|t| batch.iter().filter(|b| **b == t).count()).max().unwrap_or(1);
    let radius = (0.5 * SIDE / (most.max(1) as f64).sqrt()).clamp(0.8, 6.0);
    let ends: Vec<[(f64, f64); 2]> = (0..slices)
        .map(|t| {
            let own = || (0..batch.len()).filter(move |&i| batch[i] == t);
            [0, 1].map(|c| {
                own().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), i| {
                    (l.min(places[[i, c]]), h.max(places[[i, c]]))
                })
            })
        })
        .collect();
    for (at, map) in maps.iter().enumerate() {
        let (left, top) = ((at % across) as f64 * wide, (at / across) as f64 * (SIDE + GAP + HEAD));
        text(&mut svg, left + GAP, top + 16.0, "start", &map.title);
        for (i, &t) in batch.iter().enumerate() {
            let [x, y] = ends[t];
            let span = (x.1 - x.0).max(y.1 - y.0).max(f64::MIN_POSITIVE);
            let inner = SIDE - 2.0 * radius;
            let across =
                left + GAP + t as f64 * (SIDE + GAP) + radius + inner * (places[[i, 0]] - x.0) / span;
            let down = top + HEAD + radius + inner * (y.1 - places[[i, 1]]) / span;
            let fill = colour(NOTHING, ALL, map.values[i]);
            let _ = writeln!(
                svg,
                "<circle cx=\"{across:.1}\" cy=\"{down:.1}\" r=\"{radius:.1}\" fill=\"{fill}\"/>"
            );
        }
    }
    svg + "</svg>\n"
}

/// A table with names: of its rows and columns, numbers where there are none.
pub struct Square<'a> {
    pub title: String,
    pub values: &'a Array2<f64>,
    pub rows: Vec<String>,
    pub columns: Vec<String>,
}

impl<'a> Square<'a> {
    /// With numbers for names.
    pub fn numbered(title: String, values: &'a Array2<f64>) -> Square<'a> {
        let names = |count: usize| (1..=count).map(|f| f.to_string()).collect();
        Square { title, values, rows: names(values.nrows()), columns: names(values.ncols()) }
    }
}

/// Tables side by side: blue above 0, orange below, the largest size of each in full colour.
pub fn affinities(tables: &[Square<'_>]) -> String {
    const CELL: f64 = 24.0;
    /// Pixels of a letter, about.
    const LETTER: f64 = 7.0;
    let longest = |names: for<'a> fn(&'a Square<'_>) -> &'a Vec<String>| {
        let letters = tables.iter().flat_map(names).map(|n| n.chars().count()).max().unwrap_or(1);
        LETTER * letters as f64
    };
    let (side, above) = (longest(|t| &t.rows) + 16.0, longest(|t| &t.columns) + 8.0);
    // Names that are longer than a cell stand on end.
    let upright = above > CELL;
    let head = 24.0 + if upright { above } else { 20.0 };
    let most = |of: fn(&Square<'_>) -> usize| tables.iter().map(of).max().unwrap_or(0) as f64;
    let wide = CELL * most(|t| t.values.ncols()) + side + 12.0;
    let mut svg = open(wide * tables.len() as f64, CELL * most(|t| t.values.nrows()) + head + 12.0);
    for (at, table) in tables.iter().enumerate() {
        let left = at as f64 * wide + side;
        text(&mut svg, left, 16.0, "start", &table.title);
        for (f, name) in table.columns.iter().enumerate() {
            let middle = left + CELL * (f as f64 + 0.5);
            if upright {
                let (x, y) = (middle + 4.0, head - 6.0);
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-90 {x:.1} {y:.1})\" {FONT} fill=\"#1d2327\">{}</text>",
                    escape(name)
                );
            } else {
                text(&mut svg, middle, head - 6.0, "middle", name);
            }
        }
        for (f, name) in table.rows.iter().enumerate() {
            text(&mut svg, left - 6.0, head + CELL * (f as f64 + 0.5) + 4.0, "end", name);
        }
        let size = |m: f64, v: &f64| m.max(v.abs());
        let limit = table.values.iter().filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, size);
        for ((i, j), v) in table.values.indexed_iter() {
            let fill = colour([255.0; 3], if *v > 0.0 { ALL } else { BELOW }, (v.abs() / limit).sqrt());
            let (x, y) = (left + CELL * j as f64, head + CELL * i as f64);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"{fill}\" stroke=\"#e4e7e9\"/>"
            );
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_are_whole_and_escape_names() {
        let places = ndarray::array![[0.0, 0.0], [1.0, 2.0], [3.0, 3.0]];
        let maps = [
            Map { title: "<b>".into(), values: vec![0.0, 1.0, f64::NAN] },
            Map { title: "c".into(), values: vec![0.5; 3] },
        ];
        let svg = tissue(&maps, &places, &[0, 0, 1], 2, 2);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("&lt;b&gt;"));
        assert_eq!((svg.matches("<circle").count(), svg.contains("NaN")), (6, false));
        assert!(svg.contains("#054e99") && svg.contains("#e4eaef"));
        let values = ndarray::array![[1.0, -1.0], [-1.0, 0.0]];
        let svg = affinities(&[Square::numbered("Λ".into(), &values)]);
        assert!(svg.matches("<rect").count() == 5 && svg.contains("#be4200") && svg.contains("#ffffff"));
        assert!(!svg.contains("rotate"));
        let named = |names: [&str; 2]| names.map(String::from).to_vec();
        let svg = affinities(&[Square {
            title: "R".into(),
            values: &values,
            rows: named(["a", "b"]),
            columns: named(["a long name", "<b>"]),
        }]);
        assert!(svg.matches("rotate(-90").count() == 2 && svg.contains("&lt;b&gt;"));
    }
}
