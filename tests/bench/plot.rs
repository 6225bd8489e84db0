//! Curves of a report: sections whose first column is a number and whose second says of whom, as SVG, one file each.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use plotters::prelude::*;
use serde_json::Value;

/// Of a file, in pixels.
const SIZE: (u32, u32) = (760, 420);
const FONT: &str = "sans-serif";
/// What is drawn of each; and once, of what they are beside.
const OF_EACH: &str = "median";
const BESIDE: &str = "load a bucket";

/// A curve's points, from the left.
type Points = Vec<(f64, f64)>;

struct Curves {
    title: String,
    /// What becomes more.
    grows: String,
    curves: BTreeMap<String, Points>,
}

/// Draws what `report` (of `-o json`) has into `folder`, and says where.
pub fn run(report: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let told = || format!("cannot read {}", report.display());
    let text = fs::read_to_string(report).with_context(told)?;
    let whole: Value = serde_json::from_str(&text).with_context(told)?;
    let bench = whole["bench"].as_str().with_context(told)?;
    let sections = whole["sections"].as_array().with_context(told)?;
    let drawn = sections.iter().filter_map(curves).map(|curves| {
        let path = folder.join(format!("{bench}-{}.svg", curves.grows.replace(' ', "-")));
        draw(&curves, &path).with_context(|| format!("cannot draw {}", path.display()))?;
        Ok(path)
    });
    let drawn = drawn.collect::<Result<Vec<_>>>()?;
    if drawn.is_empty() {
        bail!("{} has no curves: `growth` makes some", report.display());
    }
    Ok(drawn)
}

/// None of a section that has none.
fn curves(section: &Value) -> Option<Curves> {
    let columns = section["columns"].as_array()?;
    let (grows, whose) = (columns.first()?.as_str()?, columns.get(1)?.as_str()?);
    let mut curves: BTreeMap<String, Points> = BTreeMap::new();
    for row in section["rows"].as_array()? {
        let at = row[grows].as_f64()?;
        curves.entry(row[whose].as_str()?.to_owned()).or_default().push((at, row[OF_EACH].as_f64()?));
        if let Some(beside) = row[BESIDE].as_f64() {
            let floor = curves.entry(format!("floor: {BESIDE}")).or_default();
            // Measured beside each: the first will do.
            if floor.last().is_none_or(|(last, _)| *last < at) {
                floor.push((at, beside));
            }
        }
    }
    let title = section["title"].as_str()?.to_owned();
    (!curves.is_empty()).then(|| Curves { title, grows: grows.to_owned(), curves })
}

fn draw(curves: &Curves, path: &Path) -> Result<()> {
    let (across, up) = bounds(curves);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}, ns a packet", curves.title), (FONT, 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d(across.log_scale(), up)?;
    chart
        .configure_mesh()
        .x_desc(&curves.grows)
        .y_desc("ns beyond the driver")
        .x_label_formatter(&|number| short(*number))
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 12))
        .light_line_style(WHITE)
        .draw()?;
    for (number, (name, points)) in curves.curves.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        chart
            .draw_series(line)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .label_font((FONT, 13))
        .draw()?;
    area.present()?;
    Ok(())
}

/// Whole powers of ten around the fewest and the most, and from nothing to a little above the dearest.
fn bounds(curves: &Curves) -> (Range<f64>, Range<f64>) {
    let points = || curves.curves.values().flatten();
    let fewest = points().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
    let most = points().map(|(at, _)| *at).fold(1.0, f64::max);
    let across = 10_f64.powf(fewest.log10().floor())..10_f64.powf(most.log10().ceil());
    let top = points().map(|(_, price)| *price).fold(1.0, f64::max);
    (across, 0.0..top * 1.1)
}

/// 1000 as `1 k`.
fn short(number: f64) -> String {
    let (scaled, unit) = match number {
        1e6.. => (number / 1e6, " M"),
        1e3.. => (number / 1e3, " k"),
        _ => (number, ""),
    };
    format!("{}{unit}", (scaled * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_section_becomes_a_curve_each_and_one_of_the_floor() {
        let row = |at: u32, who: &str, price: f64, beside: f64| json!({"services": at, "program": who, "median": price, "load a bucket": beside});
        let rows = vec![row(1, "a", 30.0, 5.0), row(1, "b", 40.0, 6.0), row(900, "a", 31.0, 7.0)];
        let columns = ["services", "program", "median", "load a bucket"];
        let found = curves(&json!({"title": "t", "columns": columns, "rows": rows})).unwrap();
        assert_eq!(found.curves["a"], [(1.0, 30.0), (900.0, 31.0)]);
        assert_eq!(found.curves["b"], [(1.0, 40.0)]);
        assert_eq!(found.curves["floor: load a bucket"], [(1.0, 5.0), (900.0, 7.0)]);
        let (across, up) = bounds(&found);
        assert_eq!((across.start, across.end, up.start), (1.0, 1000.0, 0.0));
        // Whose first column is no number has none.
        assert!(
            curves(&json!({"title": "t", "columns": columns, "rows": [row(1, "a", 1.0, 1.0)["program"]]}))
                .is_none()
        );
    }

    #[test]
    fn labels_are_short() {
        assert_eq!([1.0, 1024.0, 8_388_608.0].map(short), ["1", "1 k", "8.4 M"]);
    }
}
