//! Pictures of numbers, made here: columns beside each other, one for each span of time.

use askama::Template;

/// How high a column can be, in units of the picture.
const HEIGHT: u64 = 100;
/// How wide a column is, and its part that is drawn.
const STEP: usize = 10;
const WIDTH: usize = 8;

/// What is counted, and what its parts of the columns look like.
pub(super) struct Series {
    pub(super) name: &'static str,
    /// A class of the style.
    pub(super) class: &'static str,
}

/// How much there is of each series in a span of time.
pub(super) struct Span {
    /// When that was.
    pub(super) label: String,
    pub(super) counts: Vec<u64>,
}

/// Columns, with the same as a table for who does not see them.
#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    /// What it shows.
    title: String,
    width: usize,
    height: u64,
    series: Vec<Series>,
    columns: Vec<Column>,
    /// The spans in which there was anything.
    rows: Vec<Span>,
    highest: u64,
    /// The beginning, the middle and the end.
    ticks: Vec<String>,
}

/// A column, whose parts stand on each other.
struct Column {
    x: usize,
    width: usize,
    told: String,
    parts: Vec<Part>,
}

struct Part {
    class: &'static str,
    y: u64,
    height: u64,
}

impl Chart {
    /// Of spans that follow each other. The first series is at the bottom.
    pub(super) fn of(title: String, series: Vec<Series>, spans: Vec<Span>) -> Self {
        let highest = spans.iter().map(Span::all).max().unwrap_or(0);
        let columns = spans.iter().enumerate();
        let columns = columns.map(|(place, span)| Column {
            x: place.saturating_mul(STEP),
            width: WIDTH,
            told: span.told(&series),
            parts: parts(span, &series, highest),
        });
        let columns = columns.collect();
        let ticks = [0, spans.len() / 2, spans.len().saturating_sub(1)];
        let ticks = ticks.iter().filter_map(|place| spans.get(*place));
        Self {
            title,
            width: spans.len().saturating_mul(STEP),
            height: HEIGHT,
            ticks: ticks.map(|span| span.label.clone()).collect(),
            columns,
            series,
            rows: spans.into_iter().filter(|span| span.all() > 0).collect(),
            highest,
        }
    }
}

impl Span {
    fn all(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, one| sum.saturating_add(*one))
    }

    fn told(&self, series: &[Series]) -> String {
        let counts = self.counts.iter().zip(series);
        let counts: Vec<_> = counts
            .filter(|(count, _)| **count > 0)
            .map(|(count, series)| format!("{count} {}", series.name))
            .collect();
        match counts.as_slice() {
            [] => format!("{}: nothing", self.label),
            counts => format!("{}: {}", self.label, counts.join(", ")),
        }
    }
}

/// The parts of a column: however few there are of something, they are to be seen.
fn parts(span: &Span, series: &[Series], highest: u64) -> Vec<Part> {
    let mut below = 0_u64;
    let mut parts = Vec::new();
    for (count, series) in span.counts.iter().zip(series) {
        let share = count.saturating_mul(HEIGHT).checked_div(highest);
        let height = match (count, share) {
            (0, _) | (_, None) => continue,
            (_, Some(share)) => share.max(2).min(HEIGHT.saturating_sub(below)),
        };
        below = below.saturating_add(height);
        parts.push(Part {
            class: series.class,
            y: HEIGHT.saturating_sub(below),
            height,
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(counts: &[[u64; 2]]) -> Chart {
        let series = vec![
            Series {
                name: "allowed",
                class: "allowed",
            },
            Series {
                name: "refused",
                class: "refused",
            },
        ];
        let spans = counts.iter().enumerate().map(|(place, counts)| Span {
            label: format!("0{place}:00"),
            counts: counts.to_vec(),
        });
        Chart::of("Calls".to_owned(), series, spans.collect())
    }

    #[test]
    fn the_highest_column_is_as_high_as_the_picture_and_the_others_in_proportion() {
        let chart = chart(&[[3, 1], [0, 0], [2, 0]]);
        let seen: Vec<Vec<_>> = chart
            .columns
            .iter()
            .map(|column| {
                column
                    .parts
                    .iter()
                    .map(|part| (part.y, part.height))
                    .collect()
            })
            .collect();
        assert_eq!(seen, [vec![(25, 75), (0, 25)], vec![], vec![(50, 50)]]);
        assert_eq!(chart.highest, 4);
        assert_eq!(chart.rows.len(), 2);
    }

    #[test]
    fn what_is_rare_is_seen_and_nothing_is_drawn_outside() {
        let chart = chart(&[[u64::MAX, 1], [1, u64::MAX], [0, 1]]);
        for column in &chart.columns {
            let mut top = HEIGHT;
            for part in &column.parts {
                assert_eq!(part.y + part.height, top);
                top = part.y;
            }
        }
        let rare = &chart.columns[2].parts;
        assert_eq!((rare.len(), rare[0].height), (1, 2));
    }

    #[test]
    fn it_is_told_in_words_too() {
        let html = chart(&[[3, 1], [0, 0]]).render().unwrap();
        assert!(
            html.contains("<title>00:00: 3 allowed, 1 refused</title>"),
            "{html}"
        );
        assert!(html.contains("<title>01:00: nothing</title>"), "{html}");
        assert!(
            html.contains("<td data-label=\"refused\" class=\"number\">1</td>"),
            "{html}"
        );
        assert!(!html.contains("style="), "{html}");
        assert!(chart(&[]).render().unwrap().contains("<svg"));
    }
}
