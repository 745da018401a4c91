//! Reads what `kamailio -I` prints and derives the defines the installed server was compiled with.
//!
//! Pure text work, shared by `build.rs` and `tests/info.rs`. The loader compares version and flags byte by byte, and
//! several flags change struct layouts, so nothing here may be guessed: what is not printed is listed in `UNPRINTED`.

/// Defines of every Kamailio build that `-I` does not print. `STATISTICS` and `CC_GCC_LIKE_ASM` change layouts and
/// atomics, and the loader does not notice a module built without them.
const UNPRINTED: [&str; 18] = [
    "STATISTICS",
    "USE_CORE_STATS",
    "MALLOC_STATS",
    "MEM_JOIN_FREE",
    "WITH_XAVP",
    "CC_GCC_LIKE_ASM",
    "HAVE_GETHOSTBYNAME2",
    "HAVE_UNION_SEMUN",
    "HAVE_SCHED_YIELD",
    "HAVE_MSG_NOSIGNAL",
    "HAVE_MSGHDR_MSG_CONTROL",
    "HAVE_ALLOCA_H",
    "HAVE_TIMEGM",
    "HAVE_SCHED_SETSCHEDULER",
    "HAVE_IP_MREQN",
    "HAVE_EPOLL",
    "HAVE_SIGIO_RT",
    "HAVE_SELECT",
];

/// Printed by 6.1 because its version file happens to see the allocators' headers; the loader's string lacks them.
const PRINTED_ONLY: [&str; 3] = ["DBG_QM_MALLOC", "DBG_F_MALLOC", "DBG_TLSF_MALLOC"];

/// One `-D` option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Define {
    pub name: String,
    pub value: Option<String>,
}

impl Define {
    fn flag(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }

    fn number(name: &str, value: impl ToString) -> Self {
        Self { name: name.into(), value: Some(value.to_string()) }
    }

    /// A define whose value is a C string literal.
    fn text(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: Some(format!("\"{value}\"")) }
    }

    /// The compiler option, unquoted: it is handed over without a shell.
    pub fn option(&self) -> String {
        match &self.value {
            Some(value) => format!("-D{}={value}", self.name),
            None => format!("-D{}", self.name),
        }
    }
}

/// The lines of `kamailio -I` that decide how a module must be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Release, e.g. `5.6.3`.
    pub version: String,
    /// `5006003` for 5.6.3, the form of the core's own `VERSIONVAL`.
    pub number: u32,
    arch: String,
    /// As printed: `linux`, and `Linux` since 6.1.
    os: String,
    flags: Vec<String>,
    adaptive_wait_loops: Option<String>,
}

impl Info {
    /// Parses the text of `kamailio -I`. The error names the line that is missing or not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let line = value_of(text, "Version:").ok_or("no \"Version:\" line")?;
        let (version, arch, os) = split_version(line).ok_or_else(|| format!("cannot read the version \"{line}\""))?;
        let number = version_number(version).ok_or_else(|| format!("cannot read the release number \"{version}\""))?;
        let flags = value_of(text, "Compile flags:").ok_or("no \"Compile flags:\" line")?;
        Ok(Self {
            version: version.into(),
            number,
            arch: arch.into(),
            os: os.into(),
            flags: flags.split(',').map(|flag| flag.trim().to_owned()).filter(|flag| !flag.is_empty()).collect(),
            adaptive_wait_loops: value_of(text, "ADAPTIVE_WAIT_LOOPS=").map(str::to_owned),
        })
    }

    /// What the loader expects as `module_version`, e.g. `kamailio 5.6.3 (x86_64/linux)`.
    pub fn loader_version(&self) -> String {
        format!("kamailio {} ({}/{})", self.version, self.arch, self.os)
    }

    /// What the loader expects as `module_flags`.
    pub fn loader_flags(&self) -> String {
        let flags: Vec<&str> =
            self.flags.iter().map(String::as_str).filter(|flag| !PRINTED_ONLY.contains(flag)).collect();
        flags.join(", ")
    }

    /// Every define the server was compiled with, as far as a header can see it.
    pub fn defines(&self) -> Vec<Define> {
        let mut defines = vec![
            Define::text("NAME", "kamailio"),
            Define::text("VERSION", &self.version),
            Define::text("ARCH", &self.arch),
            Define::text("OS_QUOTED", &self.os),
            Define::number("VERSIONVAL", self.number),
            Define::flag(format!("__CPU_{}", self.arch)),
            Define::flag(format!("__OS_{}", self.os.to_lowercase())),
        ];
        defines.extend(self.adaptive_wait_loops.iter().map(|loops| Define::number("ADAPTIVE_WAIT_LOOPS", loops)));
        defines.extend(self.flags.iter().flat_map(|flag| macros_behind(flag)).map(Define::flag));
        defines.extend(UNPRINTED.map(Define::flag));
        defines
    }
}

/// The macros behind one printed flag: mostly itself, but some are printed under another name.
fn macros_behind(flag: &str) -> Vec<&str> {
    match flag {
        "FAST_LOCK-ADAPTIVE_WAIT" => vec!["FAST_LOCK", "ADAPTIVE_WAIT"],
        "TLS_PTHREAD_MUTEX_SHARED" => vec!["KSR_PTHREAD_MUTEX_SHARED"],
        flag if PRINTED_ONLY.contains(&flag) => vec![],
        flag => vec![flag],
    }
}

/// The trimmed rest of the first line that starts with `key`.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim)
}

/// `kamailio 5.6.3 (x86_64/linux)` → release, architecture, operating system.
fn split_version(line: &str) -> Option<(&str, &str, &str)> {
    let (release, platform) = line.strip_prefix("kamailio ")?.split_once(" (")?;
    let (arch, os) = platform.split_once(')')?.0.split_once('/')?;
    Some((release, arch, os))
}

/// `5.6.3` → 5006003. A suffix such as `-rc1` does not count.
fn version_number(version: &str) -> Option<u32> {
    let release = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    let parts = release.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok()?;
    let [major, minor, patch] = parts[..] else { return None };
    Some(major * 1_000_000 + minor * 1_000 + patch)
}
