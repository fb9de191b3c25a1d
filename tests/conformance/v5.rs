//! What is tested of MQTT 5.0, and what cannot be.

mod connect;

use crate::table::Coverage;

/// Every statement of 5.0.
pub(crate) const COVERAGE: Coverage = Coverage {
    version: "5.0",
    opening: "[MQTT-",
    statements: include_str!("../mqtt-5.0-ids.txt"),
    sources: &[("connect", include_str!("v5/connect.rs"))],
    out_of_reach: &[],
};
