//! What the benchmarks in `benches/` see of the inside.

use super::AuditRecord;
use super::lines::with_line;

/// How long the line is that is written of a record, once it has been made.
pub fn record_line(record: &AuditRecord) -> usize {
    with_line(record, |line| std::hint::black_box(line).len())
}
