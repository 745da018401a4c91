//! Translates the headers of the installed Kamailio and compiles the C shim with the host's own defines.
//!
//! Inputs, each of which an environment variable can replace (to compile against a release that is not installed):
//!
//! * what the server says about itself: `kamailio -I`; `KAMAILIO_BIN` names another binary, `KAMAILIO_INFO` a file
//!   that holds the text;
//! * its headers: `target/kamailio-headers/<version>` of the workspace, put there by `headers.sh`, wherever cargo's
//!   own target folder is; `KAMAILIO_HEADERS` names another folder.
//!
//! A missing piece ends the build with one line that names it and says what to install or run.

#[path = "build/info.rs"]
mod info;
#[path = "build/layout.rs"]
mod layout;

use info::{Define, Info};
use std::env;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where sbin programs live when an ordinary user's `PATH` lacks sbin.
const SBIN: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];

/// dpkg writes this when it installs or upgrades Kamailio; the binary itself keeps the date of its packaging.
const DPKG_RECORD: &str = "/var/lib/dpkg/info/kamailio.list";

fn main() {
    if let Err(message) = run() {
        println!("cargo::error={}", message.replace('\n', " "));
    }
}

fn run() -> Result<(), String> {
    watch_inputs();
    let info = Info::parse(&host_info()?).map_err(|error| format!("kamailio -I: {error}"))?;
    let host = Host { headers: headers(&info)?, defines: info.defines(), out: env_path("OUT_DIR")? };
    host.require_compiler()?;
    host.require_libclang()?;
    host.check_loader_strings(&info)?;
    host.generate_bindings()?;
    host.compile_shim()?;
    host.compile_layout_table()?;
    announce(&info, &host.headers)
}

/// One Kamailio to build for.
struct Host {
    headers: PathBuf,
    defines: Vec<Define>,
    out: PathBuf,
}

impl Host {
    /// A C compiler run that sees what the server's own compilation saw.
    fn compiler(&self) -> cc::Build {
        let mut build = cc::Build::new();
        build.include(&self.headers).include("c").warnings(false);
        for Define { name, value } in &self.defines {
            build.define(name, value.as_deref());
        }
        // Names the module in log lines and gives it its own log level.
        build.define("MOD_NAME", "\"kazoo\"");
        build
    }

    fn require_compiler(&self) -> Result<(), String> {
        let compiler = self.compiler().try_get_compiler().map_err(|_| no_compiler())?;
        compiler.to_command().arg("--version").output().map(drop).map_err(|_| no_compiler())
    }

    /// bindgen panics when it finds no libclang; that becomes one line.
    fn require_libclang(&self) -> Result<(), String> {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| ()));
        let found = panic::catch_unwind(bindgen::clang_version);
        panic::set_hook(hook);
        found.map(drop).map_err(|_| "libclang not found: apt-get install libclang-dev".into())
    }

    /// Refuses to go on unless the defines give exactly the two strings that the loader will compare.
    fn check_loader_strings(&self, info: &Info) -> Result<(), String> {
        let expanded = self.compiler().file("c/version.c").try_expand().map_err(|_| refused("c/version.c"))?;
        let expanded = String::from_utf8_lossy(&expanded);
        for (symbol, expected) in
            [("kz_module_version", info.loader_version()), ("kz_module_flags", info.loader_flags())]
        {
            let built = string_constant(&expanded, symbol).unwrap_or_default();
            if built != expected {
                return Err(format!("{symbol}: the headers give \"{built}\", but kamailio -I says \"{expected}\""));
            }
        }
        Ok(())
    }

    fn generate_bindings(&self) -> Result<(), String> {
        let bindings = bindgen::Builder::default()
            .header("c/wrapper.h")
            .clang_args(self.defines.iter().map(Define::option))
            .clang_arg("-DMOD_NAME=\"kazoo\"")
            .clang_arg(format!("-I{}", self.headers.display()))
            .allowlist_file(format!("{}/.*", regex_literal(&self.headers)))
            .allowlist_file("c/shim\\.h")
            // System headers' names that Kamailio's own happen to repeat.
            .blocklist_item("IPPORT_.*|FP_.*")
            .use_core()
            .generate_comments(false)
            .derive_debug(false)
            .derive_default(true)
            .wrap_static_fns(true)
            .wrap_static_fns_path(self.statics())
            .generate()
            .map_err(|error| format!("bindgen cannot read {}: {error}", self.headers.display()))?;
        bindings.write_to_file(self.out.join("bindings.rs")).map_err(|error| format!("bindings.rs: {error}"))
    }

    /// The C file in which bindgen wraps `static inline` functions.
    fn statics(&self) -> PathBuf {
        self.out.join("statics.c")
    }

    fn compile_shim(&self) -> Result<(), String> {
        self.compiler()
            .files(["c/shim.c", "c/version.c"])
            .file(self.statics())
            .include(".")
            .try_compile("kz_shim")
            .map_err(|_| refused("the shim"))
    }

    /// A library of its own, with constants only: `tests/layout.rs` links it without the server's symbols.
    fn compile_layout_table(&self) -> Result<(), String> {
        let list = fs::read_to_string("build/layout.list").map_err(|error| format!("build/layout.list: {error}"))?;
        let (c, rust) = layout::tables(&list)?;
        let c_file = self.out.join("layout.c");
        for (file, text) in [(&c_file, c), (&self.out.join("layout.rs"), rust)] {
            fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        self.compiler().file(c_file).try_compile("kz_layout").map_err(|_| refused("the layout table"))
    }
}

fn watch_inputs() {
    for file in ["build.rs", "build", "c"] {
        println!("cargo::rerun-if-changed={file}");
    }
    for variable in ["KAMAILIO_INFO", "KAMAILIO_BIN", "KAMAILIO_HEADERS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}

/// The text of `kamailio -I`, from `KAMAILIO_INFO`, `KAMAILIO_BIN` or the installed server.
fn host_info() -> Result<String, String> {
    if let Some(file) = env::var_os("KAMAILIO_INFO") {
        let file = PathBuf::from(file);
        watch(&file);
        return fs::read_to_string(&file).map_err(|error| format!("KAMAILIO_INFO={}: {error}", file.display()));
    }
    let binary = binary()?;
    watch(&binary);
    watch(Path::new(DPKG_RECORD));
    let output = Command::new(&binary).arg("-I").output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", binary.display()))?;
    if !output.status.success() {
        return Err(format!("{} -I ended with {}", binary.display(), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn binary() -> Result<PathBuf, String> {
    if let Some(binary) = env::var_os("KAMAILIO_BIN") {
        return Ok(binary.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SBIN.map(PathBuf::from))
        .map(|folder| folder.join("kamailio"))
        .find(|file| file.is_file())
        .ok_or_else(|| "kamailio is not installed: apt-get install kamailio".into())
}

/// The folder that holds `core/`, `lib/` and `modules/` of the release.
fn headers(info: &Info) -> Result<PathBuf, String> {
    let folder = match env::var_os("KAMAILIO_HEADERS") {
        Some(folder) => PathBuf::from(folder),
        None => env_path("CARGO_MANIFEST_DIR")?.join("../target/kamailio-headers").join(&info.version),
    };
    if !folder.join("core/sr_module.h").is_file() {
        return Err(format!(
            "no headers of Kamailio {} in {}: run kamailio-sys/headers.sh",
            info.version,
            folder.display()
        ));
    }
    watch(&folder);
    folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))
}

/// Tells the crate (`kam_*`), and the build scripts of those that depend on it (`DEP_KAMAILIO_*`), what was built for.
fn announce(info: &Info, headers: &Path) -> Result<(), String> {
    println!("cargo::rustc-check-cfg=cfg(kam_pv_long)");
    if pv_integer_is_long(headers)? {
        println!("cargo::rustc-cfg=kam_pv_long");
    }
    println!("cargo::metadata=version={}", info.version);
    println!("cargo::metadata=versionval={}", info.number);
    println!("cargo::metadata=headers={}", headers.display());
    Ok(())
}

/// Whether a variable's integer is a `long` (it was an `int` once). The header is asked, not the version.
fn pv_integer_is_long(headers: &Path) -> Result<bool, String> {
    let file = headers.join("core/pvar.h");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.lines().any(|line| line.split_whitespace().take(2).eq(["long", "ri;"])))
}

/// The value of `const char symbol[] = "a" "b";` in preprocessed C.
fn string_constant(source: &str, symbol: &str) -> Option<String> {
    let (_, rest) = source.split_once(&format!("{symbol}[] ="))?;
    let (literals, _) = rest.split_once(';')?;
    Some(literals.split('"').skip(1).step_by(2).collect())
}

/// `path` as a pattern that matches only itself: Debian's version strings contain `+`.
fn regex_literal(path: &Path) -> String {
    let escape = |c: char| if c.is_alphanumeric() || c == '/' { c.to_string() } else { format!("\\{c}") };
    path.to_string_lossy().chars().map(escape).collect()
}

/// Watches a file or folder that exists; cargo would rebuild each time for one that does not.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

fn env_path(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("{variable} is not set: run by cargo only"))
}

fn no_compiler() -> String {
    "no C compiler: apt-get install gcc libc6-dev".into()
}

/// cc has already passed the compiler's own messages on, as warnings.
fn refused(what: &str) -> String {
    format!("the C compiler refused {what}, for the reason above")
}
