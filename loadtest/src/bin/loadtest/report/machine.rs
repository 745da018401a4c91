//! On what the numbers were measured.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// The machine and the programs.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processor's name.
    pub processor: String,
    /// How many the system has.
    pub processors: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel.
    pub kernel: String,
    /// Distribution.
    pub system: String,
    /// Kamailio's version line.
    pub kamailio: String,
    /// RabbitMQ's package version.
    pub rabbitmq: String,
    /// Load average when the report was written: 1, 5 and 15 minutes.
    pub load: String,
    /// When, UTC.
    pub date: String,
}

impl Machine {
    /// This one, now.
    pub fn look() -> Self {
        let cpu = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        let release = read("/etc/os-release");
        Self {
            processor: after(&cpu, "model name", ':'),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: after(&memory, "MemTotal", ':').trim_end_matches(" kB").parse().unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            system: after(&release, "PRETTY_NAME", '=').trim_matches('"').into(),
            kamailio: kamailio(),
            rabbitmq: said("dpkg-query", &["-W", "-f", "RabbitMQ ${Version}", "rabbitmq-server"]),
            load: read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).trim().into(),
        }
    }

    /// In one paragraph.
    pub fn text(&self) -> String {
        format!(
            "{}, {} processors of type {}, {} MiB; Linux {}; {}; {}. Everything, the broker and the load generator too, \
             shares these processors.",
            self.system,
            self.processors,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.kamailio.trim_start_matches("version: "),
            self.rabbitmq
        )
    }
}

/// Kamailio's version, and the options that it is given here.
fn kamailio() -> String {
    let version = said("kamailio", &["-v"]);
    let first = version.lines().next().unwrap_or_default();
    format!("{first} {}", rig::kamailio_options()).trim_end().into()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What stands behind `key` and the separator in its first line.
fn after(text: &str, key: &str, separator: char) -> String {
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_once(separator)).map_or_else(|| "unknown".into(), |(_, rest)| rest.trim().into())
}

/// What a program prints; empty when it cannot be run.
fn said(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/local/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
