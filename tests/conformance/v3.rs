//! What is tested of MQTT 3.1.1, and what cannot be.

use crate::table::Coverage;

/// Every statement of 3.1.1.
pub(crate) const COVERAGE: Coverage = Coverage {
    version: "3.1.1",
    opening: "[3.1.1 MQTT-",
    statements: include_str!("../mqtt-3.1.1-ids.txt"),
    sources: &[],
    out_of_reach: &[],
};
