//! `shrink`: the smallest scenario that fails in the same way, played once more to be sure.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use stormpetrel_sim::shrink::shrink;

use super::{Chosen, Ending, Origin};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Where to write the small scenario.
    #[arg(long, value_name = "FILE.yaml")]
    out: Option<PathBuf>,
}

pub(crate) fn perform(arguments: &Arguments) -> anyhow::Result<Ending> {
    let (ground, mut out) = (arguments.chosen.ground, io::stdout().lock());
    let (_, scenario) = arguments.chosen.scenario()?;
    let Some(violation) = ground.check(&scenario).into_iter().next() else {
        writeln!(out, "all is well: there is nothing to make smaller")?;
        return Ok(Ending::Fine);
    };
    let bar = ProgressBar::new_spinner();
    let (class, mut runs) = (violation.class(), 0);
    let small = shrink(&scenario, &class, &mut |scenario| {
        runs += 1;
        bar.set_message(format!("{runs} runs"));
        bar.tick();
        ground.check(scenario)
    });
    let secs = bar.elapsed().as_secs_f64();
    bar.finish_and_clear();
    writeln!(
        out,
        "{class}: {} operations, {} faults, {} clients; before: {}, {}, {} ({runs} runs, {secs:.1} s)",
        small.ops.len(),
        small.faults.len(),
        small.clients.len(),
        scenario.ops.len(),
        scenario.faults.len(),
        scenario.clients.len(),
    )?;
    match &arguments.out {
        Some(path) => {
            std::fs::write(path, small.to_yaml())?;
            let chosen = Chosen { origin: Origin::File(path.clone()), ground };
            write!(out, "\n{}", chosen.report()?)?;
        }
        None => writeln!(out, "\n{}", small.to_yaml())?,
    }
    let still = ground.check(&small).iter().any(|violation| violation.class() == class);
    anyhow::ensure!(still, "the small scenario does not fail: the simulator is not deterministic");
    Ok(Ending::Violated)
}
