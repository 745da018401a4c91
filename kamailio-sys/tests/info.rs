//! How `build.rs` reads `kamailio -I`: pure text, no Kamailio needed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../build/info.rs"]
mod info;

use info::{Define, Info};

const DEBIAN_12: &str = "Print out of kamailio internals
  Version: kamailio 5.6.3 (x86_64/linux) 
  Compile flags: USE_TCP, DBG_SR_MEMORY, FAST_LOCK-ADAPTIVE_WAIT, USE_DNS_FAILOVER, TLS_PTHREAD_MUTEX_SHARED
  BUF_SIZE=65535
  ADAPTIVE_WAIT_LOOPS=1024
  Compiled architecture: x86_64
";

const SID: &str = "  Version: kamailio 6.1.5 (x86_64/Linux)
  Compile flags: USE_TCP, DBG_SR_MEMORY, DBG_QM_MALLOC, DBG_F_MALLOC, DBG_TLSF_MALLOC, USE_FUTEX
";

fn options(text: &str) -> Result<Vec<String>, String> {
    Ok(Info::parse(text)?.defines().iter().map(Define::option).collect())
}

#[test]
fn version_gives_the_text_and_the_number_the_headers_use() -> Result<(), String> {
    let info = Info::parse(DEBIAN_12)?;
    assert_eq!(info.loader_version(), "kamailio 5.6.3 (x86_64/linux)");
    assert_eq!((info.version.as_str(), info.number), ("5.6.3", 5_006_003));
    let options = options(DEBIAN_12)?;
    for option in ["-DNAME=\"kamailio\"", "-DVERSION=\"5.6.3\"", "-DARCH=\"x86_64\"", "-DOS_QUOTED=\"linux\""] {
        assert!(options.iter().any(|o| o == option), "{option} missing in {options:?}");
    }
    for option in ["-DVERSIONVAL=5006003", "-D__CPU_x86_64", "-D__OS_linux", "-DADAPTIVE_WAIT_LOOPS=1024"] {
        assert!(options.iter().any(|o| o == option), "{option} missing in {options:?}");
    }
    Ok(())
}

#[test]
fn flags_printed_under_another_name_become_the_macros_behind_them() -> Result<(), String> {
    let options = options(DEBIAN_12)?;
    for option in ["-DFAST_LOCK", "-DADAPTIVE_WAIT", "-DKSR_PTHREAD_MUTEX_SHARED", "-DUSE_DNS_FAILOVER"] {
        assert!(options.iter().any(|o| o == option), "{option} missing in {options:?}");
    }
    assert!(!options.iter().any(|o| o.contains("FAST_LOCK-ADAPTIVE_WAIT") || o == "-DTLS_PTHREAD_MUTEX_SHARED"));
    Ok(())
}

#[test]
fn defines_that_are_never_printed_are_added() -> Result<(), String> {
    let options = options(DEBIAN_12)?;
    for option in ["-DSTATISTICS", "-DCC_GCC_LIKE_ASM", "-DHAVE_GETHOSTBYNAME2"] {
        assert!(options.iter().any(|o| o == option), "{option} missing in {options:?}");
    }
    Ok(())
}

#[test]
fn allocator_flags_are_printed_by_6_1_but_not_compared_by_its_loader() -> Result<(), String> {
    assert_eq!(Info::parse(SID)?.loader_flags(), "USE_TCP, DBG_SR_MEMORY, USE_FUTEX");
    assert!(!options(SID)?.iter().any(|o| o.ends_with("_MALLOC")));
    Ok(())
}

#[test]
fn operating_system_keeps_its_capital_only_in_the_loaders_text() -> Result<(), String> {
    assert_eq!(Info::parse(SID)?.loader_version(), "kamailio 6.1.5 (x86_64/Linux)");
    assert!(options(SID)?.contains(&"-D__OS_linux".to_owned()));
    Ok(())
}

#[test]
fn release_candidates_count_as_their_release() -> Result<(), String> {
    let text = DEBIAN_12.replace("5.6.3", "6.2.0-rc1");
    assert_eq!(Info::parse(&text)?.number, 6_002_000);
    Ok(())
}

#[test]
fn unreadable_output_is_refused_with_the_line_at_fault() {
    assert_eq!(Info::parse("").unwrap_err(), "no \"Version:\" line");
    assert_eq!(Info::parse("Version: kamailio 5.6.3 (x86_64/linux)").unwrap_err(), "no \"Compile flags:\" line");
    assert_eq!(Info::parse("Version: opensips 3\n").unwrap_err(), "cannot read the version \"opensips 3\"");
    let error = Info::parse("Version: kamailio 5.x (a/b)\nCompile flags: A").unwrap_err();
    assert_eq!(error, "cannot read the release number \"5.x\"");
}
