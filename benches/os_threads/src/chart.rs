//! Charts of cost against number, four to a picture.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) numbers: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Number and cost.
    pub(crate) points: Vec<(f64, f64)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (960, 720);
const FONT: &str = "sans-serif";
/// Each line's, in order.
const COLOURS: [RGBColor; 2] = [RGBColor(0x1b, 0x7f, 0x4b), RGBColor(0xc2, 0x41, 0x0c)];

/// Writes them into one SVG file, two beside each other.
pub(crate) fn write(path: &str, charts: &[Chart]) -> Result<(), Box<dyn Error>> {
    let picture = SVGBackend::new(path, SIZE).into_drawing_area();
    picture.fill(&WHITE)?;
    let areas = picture.split_evenly((charts.len().div_ceil(2), 2));
    for (index, (area, chart)) in areas.iter().zip(charts).enumerate() {
        draw(area, chart, index == 0)?;
    }
    picture.present()?;
    Ok(())
}

fn draw(area: &Area, chart: &Chart, names_lines: bool) -> Result<(), Box<dyn Error>> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (least, most) =
            values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
        // Whole decades, so that each begins and ends at a label.
        (10f64.powf(least.log10().floor())..10f64.powf(most.log10().ceil())).log_scale()
    };
    let mut drawn = ChartBuilder::on(area)
        .caption(chart.title, (FONT, 17))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            range(&mut points().map(|point| point.0)),
            range(&mut points().map(|point| point.1)),
        )?;
    drawn
        .configure_mesh()
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .x_desc(chart.numbers)
        .y_desc(chart.unit)
        .x_label_formatter(&|&value| short(value))
        .y_label_formatter(&|&value| short(value))
        .bold_line_style(BLACK.mix(0.15))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (line, colour) in chart.lines.iter().zip(COLOURS) {
        let stroke = colour.stroke_width(2);
        drawn
            .draw_series(LineSeries::new(line.points.iter().copied(), stroke).point_size(3))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
    }
    if !names_lines {
        return Ok(());
    }
    drawn
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 13))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// A number with k or M for its zeros.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}
