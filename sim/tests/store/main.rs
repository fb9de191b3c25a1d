//! The durable log on a disk that crashes, tears, fails, fills up and rots.

mod damage;
mod failures;
mod life;
mod power;
mod random;
