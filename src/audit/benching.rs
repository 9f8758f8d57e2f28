//! What the benchmarks in `benches/` see of the inside.

use super::AuditRecord;
use super::lines::line_of;

/// How long the line is that is written of a record, once it has been made.
pub fn record_line(record: &AuditRecord) -> usize {
    std::hint::black_box(line_of(record)).len()
}
