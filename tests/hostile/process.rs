//! The broker's binary as a process of its own, where the system can say what it uses.
//!
//! Linux only, as /proc is.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use crate::kit::{PATIENCE, Site, now};
use crate::transport::Transport;

/// A running broker. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    config: PathBuf,
    pub(crate) site: Site,
}

impl Process {
    /// With these lines in the section `limits`, below what `ulimit` says in bash.
    pub(crate) fn start(via: Transport, name: &str, ulimit: &str, limits: &[&str]) -> Process {
        let address = free_address();
        let config =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{via:?}.yaml"));
        let mut file = fs::File::create(&config).unwrap();
        let listener = via.yaml();
        writeln!(file, "listeners:\n  default: {{bind: '{address}', {listener}}}").unwrap();
        writeln!(file, "sys_interval: 0\nlimits:\n  connect-timeout: 10").unwrap();
        limits.iter().for_each(|line| writeln!(file, "  {line}").unwrap());
        let child = Command::new("bash")
            .args(["-c", &format!("{ulimit}\nexec \"$0\" --config \"$1\"")])
            .args([env!("CARGO_BIN_EXE_stormpetrel").as_ref(), config.as_os_str()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process { child, config, site: Site::at(address, via) };
        wait_until("the broker listens", || TcpStream::connect(address).is_ok());
        process
    }

    /// Bytes of memory in use.
    pub(crate) fn memory(&self) -> usize {
        let pages = self.proc("statm");
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
    }

    /// Processor time used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = self.proc("stat");
        // After the name, which is in parentheses, the times are the 12th and 13th field.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.config);
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Asks again and again, in vain at most for as long as any answer may take.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !is_so() {
        assert!(now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10)); // between two looks
    }
}
