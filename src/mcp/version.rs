//! Protocol versions and the two eras they fall into.

/// The first version without a handshake: every request carries its own
/// version and capabilities.
const FIRST_MODERN: &str = "2026-07-28";

/// How a message has to be answered. The verdict never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2024-11-05 to 2025-11-25, and every client that names no version.
    Legacy,
    /// 2026-07-28 and later.
    Modern,
}

impl Era {
    /// The era of a version as it stands in a header or in `_meta`. Versions
    /// are dates, so later ones sort behind; whatever is no date is legacy.
    pub(crate) fn of_version(version: &str) -> Self {
        let date_shaped = version.len() == FIRST_MODERN.len()
            && version
                .bytes()
                .zip(FIRST_MODERN.bytes())
                .all(|(byte, model)| match model {
                    b'-' => byte == b'-',
                    _ => byte.is_ascii_digit(),
                });
        if date_shaped && version >= FIRST_MODERN {
            Self::Modern
        } else {
            Self::Legacy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fall_into_eras() {
        for legacy in [
            "2024-11-05",
            "2025-03-26",
            "2025-06-18",
            "2025-11-25",
            "",
            "DRAFT",
            "9",
        ] {
            assert_eq!(Era::of_version(legacy), Era::Legacy, "{legacy}");
        }
        for modern in ["2026-07-28", "2026-07-29", "2030-01-01"] {
            assert_eq!(Era::of_version(modern), Era::Modern, "{modern}");
        }
    }
}
