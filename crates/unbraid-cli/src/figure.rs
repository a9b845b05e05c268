//! Figures as static SVG: panels of lines, bands, dots, bars and intervals, drawn by `plotters`.
//!
//! The SVG backend writes text elements and measures them by their length, so that neither fonts nor C
//! libraries are needed. It places whole pixels only; figures are drawn on a canvas [`FINE`] times as
//! large and shown at their nominal size. Colours are those of Okabe and Ito (2008), which the colour
//! blind tell apart; every method keeps its colour over all figures of a run.

use std::fmt::Display;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::fault::Fault;

/// Canvas pixels per pixel of the figure.
const FINE: i32 = 4;
/// Height of text in pixels of the figure.
const TEXT: f64 = 15.0;
/// Smallest distance of two labels beside lines.
const APART: f64 = 16.0;
static INK: RGBColor = RGBColor(29, 35, 39);
static SOFT: RGBColor = RGBColor(91, 102, 112);
const GRID: RGBColor = RGBColor(228, 231, 233);
/// Okabe and Ito's palette without its yellow, which is too light for lines on white, with grey and brown.
static COLOURS: [RGBColor; 9] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(29, 35, 39),
    RGBColor(130, 138, 145),
    RGBColor(122, 86, 40),
];
/// A tint for what is neither method nor truth.
pub const GREY: usize = 7;

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with the unit.
    pub title: String,
    /// From and to.
    pub range: Range<f64>,
    /// Names at 0, 1, 2, …; empty for numbers.
    pub names: Vec<String>,
    /// Whether coordinates are decimal logarithms of what is written.
    pub log: bool,
}

impl Axis {
    /// An axis of numbers.
    pub fn numbers(title: &str, range: Range<f64>) -> Axis {
        Axis { title: title.into(), range, names: Vec::new(), log: false }
    }
    /// An axis of numbers around `values`, with a little room on both sides.
    pub fn around(title: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let finite = values.into_iter().filter(|v| v.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let range = match high - low {
            width if width > 0.0 => low - 0.04 * width..high + 0.04 * width,
            0.0 => low - 0.5..high + 0.5,
            _ => 0.0..1.0,
        };
        Axis::numbers(title, range)
    }
    /// A logarithmic axis around `values`; coordinates of marks are their decimal logarithms.
    pub fn decades(title: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        Axis { log: true, ..Axis::around(title, values.into_iter().map(f64::log10)) }
    }
    /// Names in order.
    pub fn names(title: &str, names: Vec<String>) -> Axis {
        Axis { title: title.into(), range: -0.6..names.len() as f64 - 0.4, names, log: false }
    }
}

/// What is drawn, in coordinates of the panel.
#[derive(Clone, Debug)]
pub enum Mark {
    /// A line through points.
    Line(Vec<(f64, f64)>),
    /// A line of dashes.
    Dashes(Vec<(f64, f64)>),
    /// The area between two values over x: (x, low, high).
    Band(Vec<(f64, f64, f64)>),
    /// Points; filled ones where `true`.
    Dots(Vec<(f64, f64)>, bool),
    /// Bars along the x axis from 0, at the heights y, of the given thickness.
    Bars(Vec<(f64, f64)>, f64),
    /// A short thick bar between two x at one y, and a point at the x between: (low, middle, high, y).
    Interval(Vec<(f64, f64, f64, f64)>),
    /// Squares of side 1 around points, fainter for a strength nearer to 0 than to 1: (x, y, strength).
    Cells(Vec<(f64, f64, f64)>),
}

/// Marks of one colour under one name.
#[derive(Clone, Debug)]
pub struct Series {
    /// Written beside the end of its line, or above the panels.
    pub name: String,
    /// Number of a colour.
    pub tint: usize,
    /// Drawn in this order.
    pub marks: Vec<Mark>,
}

/// One set of axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// Drawn in this order.
    pub series: Vec<Series>,
}

/// Where the names of series stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nowhere: an axis says what is what.
    None,
    /// At the right end of the lines of the last panel.
    Ends,
    /// At the right end of the lines of every panel, each with its own.
    Each,
    /// In a row above the panels.
    Above,
}

/// The panels side by side as an SVG of `height` pixels; the width follows from their number.
///
/// # Errors
/// A fault of the drawing library, which is a fault of ours.
pub fn draw(panels: &[Panel], names: Names, height: u32) -> Result<String, Fault> {
    let longest = |n: &mut dyn Iterator<Item = &String>| n.map(|n| width(n)).fold(0.0, f64::max);
    let series = || panels.iter().flat_map(|p| &p.series);
    let ends = match names {
        Names::Ends | Names::Each => longest(&mut series().map(|s| &s.name)) + 14.0,
        _ => 0.0,
    };
    let beside = |at: usize| if names == Names::Each || at + 1 == panels.len() { ends } else { 0.0 };
    let left = |p: &Panel| match p.y.names.is_empty() {
        true => 66.0,
        false => longest(&mut p.y.names.iter()) + if p.y.title.is_empty() { 16.0 } else { 40.0 },
    };
    let inner = if panels.len() == 1 { 620.0 } else { 340.0 };
    let widths: Vec<f64> =
        panels.iter().enumerate().map(|(at, p)| left(p) + inner + 24.0 + beside(at)).collect();
    let total = widths.iter().sum::<f64>().ceil() as u32;
    let mut svg = String::new();
    let fine = FINE as u32;
    {
        let root = SVGBackend::with_string(&mut svg, (total * fine, height * fine)).into_drawing_area();
        root.fill(&WHITE).map_err(drawn)?;
        let mut rest = root.clone();
        if names == Names::Above {
            let (above, below) = root.split_vertically(30 * FINE);
            legend(&above, panels)?;
            rest = below;
        }
        for (at, panel) in panels.iter().enumerate() {
            let (here, further) = rest.split_horizontally((widths[at] * f64::from(FINE)) as i32);
            one(&here, panel, left(panel), beside(at))?;
            rest = further;
        }
        root.present().map_err(drawn)?;
    }
    let (from, to) = (
        format!("width=\"{}\" height=\"{}\"", total * fine, height * fine),
        format!("width=\"{total}\" height=\"{height}\""),
    );
    Ok(svg.replacen(&from, &to, 1))
}

/// A fault of the drawing library.
fn drawn(why: impl Display) -> Fault {
    unbraid::Error::Numeric { what: "drawing a figure", why: why.to_string() }.into()
}

/// Width of a text in pixels, about.
fn width(text: &str) -> f64 {
    text.chars().count() as f64 * TEXT * 0.45
}

fn px(v: f64) -> i32 {
    (v * f64::from(FINE)).round() as i32
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn font(size: f64, colour: &'static RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size * f64::from(FINE)).into_font()).color(colour).pos(Pos::new(h, v))
}

/// Names with a sample of their colour.
fn legend(area: &Area<'_>, panels: &[Panel]) -> Result<(), Fault> {
    let mut x = 12.0;
    let mut seen: Vec<&str> = Vec::new();
    for s in panels.iter().flat_map(|p| &p.series).filter(|s| !s.name.is_empty()) {
        if seen.contains(&s.name.as_str()) {
            continue;
        }
        seen.push(&s.name);
        let sample = Rectangle::new([(px(x), px(10.0)), (px(x + 18.0), px(15.0))], colour(s.tint).filled());
        area.draw(&sample).map_err(drawn)?;
        let style = font(TEXT, &INK, HPos::Left, VPos::Center);
        area.draw(&Text::new(s.name.clone(), (px(x + 24.0), px(12.5)), style)).map_err(drawn)?;
        x += 24.0 + width(&s.name) + 22.0;
    }
    Ok(())
}

fn colour(tint: usize) -> &'static RGBColor {
    &COLOURS[tint % COLOURS.len()]
}

fn one(area: &Area<'_>, panel: &Panel, left: f64, ends: f64) -> Result<(), Fault> {
    let title = if panel.title.is_empty() { 10.0 } else { 30.0 };
    let inside = area.margin(px(title), px(8.0), px(4.0), px(20.0 + ends));
    if !panel.title.is_empty() {
        let style = font(TEXT + 1.0, &INK, HPos::Left, VPos::Center);
        area.draw(&Text::new(panel.title.clone(), (px(left + 4.0), px(16.0)), style)).map_err(drawn)?;
    }
    let below = if panel.x.title.is_empty() { 28 } else { 48 };
    let mut chart = ChartBuilder::on(&inside)
        .set_label_area_size(LabelAreaPosition::Left, px(left))
        .set_label_area_size(LabelAreaPosition::Bottom, below * FINE)
        .build_cartesian_2d(panel.x.range.clone(), panel.y.range.clone())
        .map_err(drawn)?;
    let written = |axis: &Axis| {
        let width = (axis.range.end - axis.range.start).abs();
        let places = if width >= 5.0 { 0 } else { 1 + usize::from(width <= 0.6) };
        let (named, log) = (!axis.names.is_empty(), axis.log);
        move |v: &f64| match named {
            true => String::new(),
            false if log => power(*v),
            // Adding 0 makes a zero of a negative one.
            false => format!("{:.places$}", v + 0.0).replace('-', "−"),
        }
    };
    let (fx, fy) = (written(&panel.x), written(&panel.y));
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(GRID.stroke_width(FINE as u32))
        .light_line_style(TRANSPARENT)
        .axis_style(SOFT.stroke_width(FINE as u32))
        .x_labels(if panel.x.names.is_empty() { 6 } else { 2 })
        .y_labels(if panel.y.names.is_empty() { 6 } else { 2 })
        .x_label_formatter(&fx)
        .y_label_formatter(&fy)
        .label_style(font(TEXT - 1.0, &SOFT, HPos::Left, VPos::Top))
        .axis_desc_style(font(TEXT, &INK, HPos::Left, VPos::Top))
        .set_all_tick_mark_size(px(5.0))
        .x_desc(panel.x.title.clone())
        .y_desc(panel.y.title.clone());
    if !panel.y.names.is_empty() {
        mesh.disable_y_mesh();
    }
    if !panel.x.names.is_empty() {
        mesh.disable_x_mesh();
    }
    mesh.draw().map_err(drawn)?;
    for (axis, along) in [(&panel.x, true), (&panel.y, false)] {
        for (at, name) in axis.names.iter().enumerate() {
            let (place, pos) = match along {
                true => ((at as f64, panel.y.range.start), (HPos::Center, VPos::Top)),
                false => ((panel.x.range.start, at as f64), (HPos::Right, VPos::Center)),
            };
            let (x, y) = chart.backend_coord(&place);
            let (x, y) = if along { (x, y + px(7.0)) } else { (x - px(8.0), y) };
            put(area, name, (x, y), font(TEXT - 1.0, &INK, pos.0, pos.1))?;
        }
    }
    for s in &panel.series {
        let c = colour(s.tint);
        for mark in &s.marks {
            match mark {
                Mark::Line(points) => {
                    let line = LineSeries::new(finite(points), c.stroke_width(px(2.0) as u32));
                    chart.draw_series(line).map_err(drawn)?;
                }
                Mark::Dashes(points) => {
                    let style = c.stroke_width(px(2.0) as u32);
                    let line = DashedLineSeries::new(finite(points), px(7.0), px(5.0), style);
                    chart.draw_series(line).map_err(drawn)?;
                }
                Mark::Band(points) => {
                    let low = points.iter().map(|p| (p.0, p.1));
                    let edge: Vec<(f64, f64)> = low.chain(points.iter().rev().map(|p| (p.0, p.2))).collect();
                    let area = Polygon::new(finite(&edge), c.mix(0.16));
                    chart.draw_series(std::iter::once(area)).map_err(drawn)?;
                }
                Mark::Dots(points, true) => {
                    let dots =
                        finite(points).into_iter().map(|p| Circle::new(p, px(3.2), c.mix(0.75).filled()));
                    chart.draw_series(dots).map_err(drawn)?;
                }
                Mark::Dots(points, false) => {
                    let style = c.stroke_width(px(1.4) as u32);
                    let dots = finite(points).into_iter().map(|p| Circle::new(p, px(3.2), style));
                    chart.draw_series(dots).map_err(drawn)?;
                }
                Mark::Bars(points, thick) => {
                    let bars = finite(points).into_iter().map(|(x, y)| {
                        Rectangle::new([(0.0, y - thick / 2.0), (x, y + thick / 2.0)], c.mix(0.85).filled())
                    });
                    chart.draw_series(bars).map_err(drawn)?;
                }
                Mark::Cells(points) => {
                    let good = points.iter().filter(|p| [p.0, p.1, p.2].iter().all(|v| v.is_finite()));
                    let cells = good.map(|&(x, y, strength)| {
                        let colour = c.mix(0.15 + 0.85 * strength.clamp(0.0, 1.0)).filled();
                        Rectangle::new([(x - 0.5, y - 0.5), (x + 0.5, y + 0.5)], colour)
                    });
                    chart.draw_series(cells).map_err(drawn)?;
                }
                Mark::Interval(points) => {
                    let good = points.iter().filter(|p| [p.0, p.1, p.2].iter().all(|v| v.is_finite()));
                    for &(low, middle, high, y) in good {
                        let line =
                            PathElement::new(vec![(low, y), (high, y)], c.stroke_width(px(5.0) as u32));
                        chart.draw_series(std::iter::once(line)).map_err(drawn)?;
                        let dot = Circle::new((middle, y), px(5.0), c.filled());
                        let core = Circle::new((middle, y), px(2.4), WHITE.filled());
                        chart.draw_series([dot, core]).map_err(drawn)?;
                    }
                }
            }
        }
    }
    if ends > 0.0 {
        let ends = panel.series.iter().filter_map(|s| Some((s, last(s)?)));
        let mut at: Vec<(&Series, i32, i32)> = ends
            .map(|(s, end)| {
                let (x, y) = chart.backend_coord(&end);
                (s, x, y)
            })
            .collect();
        at.sort_by_key(|e| e.2);
        let (top, bottom) = (
            chart.backend_coord(&(0.0, panel.y.range.end)).1,
            chart.backend_coord(&(0.0, panel.y.range.start)).1,
        );
        let y = spread(&at.iter().map(|e| e.2).collect::<Vec<_>>(), px(APART), top..bottom);
        let x = at.iter().map(|e| e.1).max().unwrap_or(0) + px(8.0);
        for ((s, _, _), y) in at.iter().zip(y) {
            put(area, &s.name, (x, y), font(TEXT, colour(s.tint), HPos::Left, VPos::Center))?;
        }
    }
    Ok(())
}

/// Ten to a power, to two digits.
fn power(exponent: f64) -> String {
    let value = 10f64.powf(exponent);
    let places = (1.0 - exponent.floor()).max(0.0) as usize;
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A text at a place of the whole canvas.
fn put(area: &Area<'_>, text: &str, at: (i32, i32), style: TextStyle<'_>) -> Result<(), Fault> {
    let (left, top) = area.get_base_pixel();
    area.draw(&Text::new(text.to_owned(), (at.0 - left, at.1 - top), style)).map_err(drawn)
}

fn finite(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite()).collect()
}

/// Right end of a series.
fn last(series: &Series) -> Option<(f64, f64)> {
    let ends = series.marks.iter().filter_map(|mark| match mark {
        Mark::Line(points) | Mark::Dashes(points) | Mark::Dots(points, _) => finite(points).last().copied(),
        _ => None,
    });
    ends.max_by(|a, b| a.0.total_cmp(&b.0))
}

/// Rising places at least `apart` from each other, as near to the wanted ones as pushing allows.
fn spread(wanted: &[i32], apart: i32, within: Range<i32>) -> Vec<i32> {
    let mut at = wanted.to_vec();
    for i in 1..at.len() {
        at[i] = at[i].max(at[i - 1] + apart);
    }
    let mut ceiling = within.end;
    for y in at.iter_mut().rev() {
        *y = (*y).min(ceiling);
        ceiling = *y - apart;
    }
    // What was pushed down leaves a gap above it half of which is given back.
    let moved: i32 = at.iter().zip(wanted).map(|(a, w)| a - w).sum();
    let shift = moved / at.len().max(1) as i32;
    let first = at.first().copied().unwrap_or(0);
    let shift = shift.clamp(0, (first - within.start).max(0)).min(apart);
    at.iter().map(|y| y - shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(name: &str) -> Panel {
        Panel {
            title: "Title".into(),
            x: Axis::numbers("noise", 0.0..1.0),
            y: Axis::numbers("area", 0.0..1.0),
            series: vec![Series {
                name: name.into(),
                tint: 0,
                marks: vec![
                    Mark::Band(vec![(0.0, 0.1, 0.3), (1.0, 0.2, 0.4)]),
                    Mark::Line(vec![(0.0, 0.2), (0.5, f64::NAN), (1.0, 0.3)]),
                    Mark::Dots(vec![(0.5, f64::INFINITY)], true),
                ],
            }],
        }
    }

    #[test]
    fn figures_are_whole_svg_with_escaped_names_and_without_odd_numbers() {
        let svg = draw(&[panel("a"), panel("<b> & \"c\"")], Names::Ends, 300).unwrap();
        assert!(svg.starts_with("<svg width=\"") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("height=\"300\" viewBox=\"0 0 "), "{}", &svg[..120]);
        assert!(svg.contains("&lt;b&gt; &amp; ") && !svg.contains("<b>"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg, draw(&[panel("a"), panel("<b> & \"c\"")], Names::Ends, 300).unwrap());
    }

    #[test]
    fn names_and_empty_panels_are_drawn() {
        let strip = Panel {
            y: Axis::names("", vec!["one".into(), "two".into()]),
            x: Axis::around("value", [1.0, 1.0, f64::NAN]),
            series: vec![Series {
                name: "m".into(),
                tint: 1,
                marks: vec![
                    Mark::Interval(vec![(0.9, 1.0, 1.1, 0.0), (f64::NAN, 1.0, 1.0, 1.0)]),
                    Mark::Bars(vec![(1.0, 1.0)], 0.5),
                    Mark::Dashes(vec![(0.6, 0.0), (1.4, 1.0)]),
                    Mark::Cells(vec![(1.0, 0.0, 0.5), (f64::NAN, 1.0, 1.0)]),
                ],
            }],
            ..panel("")
        };
        let svg = draw(&[strip], Names::Above, 200).unwrap();
        assert!(["one", "two", "value", ">\nm\n"].iter().all(|t| svg.contains(t)), "{svg}");
        let empty = Panel { series: Vec::new(), x: Axis::around("x", []), ..panel("") };
        assert!(draw(&[empty], Names::Ends, 200).unwrap().contains("</svg>"));
    }

    #[test]
    fn powers_are_short() {
        let texts: Vec<String> = [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 3.0].map(power).into();
        assert_eq!(texts, ["0.01", "0.032", "0.1", "0.32", "1", "3.2", "10", "32", "1000"]);
        let axis = Axis::decades("KL", [0.1, 10.0, 0.0]);
        assert!(axis.log && axis.range.start < -1.0 && axis.range.end > 1.0);
    }

    #[test]
    fn labels_are_pushed_apart_and_stay_inside() {
        assert_eq!(spread(&[10, 50], 16, 0..100), [10, 50]);
        let at = spread(&[95, 96, 97], 16, 0..100);
        assert!(at.windows(2).all(|w| w[1] - w[0] >= 16) && at[2] <= 100, "{at:?}");
        let at = spread(&[40, 41], 16, 0..100);
        assert!(at[1] - at[0] >= 16 && at[0] <= 40, "{at:?}");
        assert!(spread(&[], 16, 0..100).is_empty());
    }
}
