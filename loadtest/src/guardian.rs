//! Ends what the rig started even when the rig itself is killed.
//!
//! One small shell per rig process, in a process group of its own. It reads the list of process groups and folders
//! from a pipe whose other end only the rig holds. When the rig ends, for whatever reason (Ctrl-C, SIGKILL, a test
//! that aborts), the pipe closes and the guardian kills the groups that are left and removes the folders.
//! `PR_SET_PDEATHSIG` would need `unsafe`, acts when the starting *thread* ends, and reaches no grandchildren.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::error::{Context, Error, Result};

/// Groups and folders are kept in two blank-separated lists; neither holds blanks (pids, names made by `RunDir`). What is
/// not in its list cannot be cut out: the two halves would each be the whole list.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
groups=' ' dirs=' '
while read -r verb what; do
    case $verb in
        +group) groups="$groups$what " ;;
        -group) case $groups in *" $what "*) groups="${groups%% $what *} ${groups#* $what }" ;; esac ;;
        +dir) dirs="$dirs$what " ;;
        -dir) case $dirs in *" $what "*) dirs="${dirs%% $what *} ${dirs#* $what }" ;; esac ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
[ -z "${groups# }" ] || sleep 0.2
for dir in $dirs; do rm -rf -- "$dir"; done
"#;

static PIPE: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

/// Puts a process group under the guardian's care.
pub(crate) fn watch_group(leader: i32) -> Result<()> {
    tell(&format!("+group {leader}\n"))
}

/// Takes a group, whose processes are all gone, out of its care: the number may be used again by others.
pub(crate) fn forget_group(leader: i32) {
    // A guardian that is gone needs not be told.
    let _ = tell(&format!("-group {leader}\n"));
}

/// Has `dir` removed at the end of the rig process.
pub(crate) fn watch_dir(dir: &Path) -> Result<()> {
    tell(&format!("+dir {}\n", dir.display()))
}

/// Takes a folder, removed or to be kept, out of its care.
pub(crate) fn forget_dir(dir: &Path) {
    // See `forget_group`.
    let _ = tell(&format!("-dir {}\n", dir.display()));
}

fn tell(line: &str) -> Result<()> {
    let pipe = PIPE.get_or_init(|| Mutex::new(start().ok()));
    let mut pipe = pipe.lock().map_err(|_| Error::new("the guardian's pipe is poisoned"))?;
    let pipe = pipe.as_mut().ok_or_else(|| Error::new("cannot start the guardian (is there no /bin/sh?)"))?;
    pipe.write_all(line.as_bytes()).context(|| "telling the guardian".into())
}

fn start() -> Result<ChildStdin> {
    let child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "rig-guardian"])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context(|| "starting the guardian".into())?;
    child.stdin.ok_or_else(|| Error::new("the guardian has no pipe"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;
    use crate::process::{entry, wait_until};

    struct Sleeper(std::process::Child);

    impl Sleeper {
        fn start() -> Self {
            let mut command = Command::new("sleep");
            Self(command.arg("1000").process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        }

        fn lives(&self) -> bool {
            entry(self.0.id().cast_signed()).is_some_and(|process| process.state != 'Z')
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            // It may be dead already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_closed_pipe_ends_what_is_watched_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("rig-guardian-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("data")).unwrap();
        let [watched, forgotten, also_watched] = std::array::from_fn(|_| Sleeper::start());
        let mut pipe = start().unwrap();
        for sleeper in [&watched, &forgotten, &also_watched] {
            writeln!(pipe, "+group {}", sleeper.0.id()).unwrap();
        }
        writeln!(pipe, "-group {}\n+dir {}", forgotten.0.id(), dir.display()).unwrap();
        // Forgotten again and again, each time as if it were in the list.
        for _ in 0..64 {
            writeln!(pipe, "-group {}\n-dir /nowhere", forgotten.0.id()).unwrap();
        }
        assert!(watched.lives() && dir.exists());

        drop(pipe);
        assert!(wait_until(Duration::from_secs(5), || !watched.lives() && !also_watched.lives() && !dir.exists()));
        assert!(forgotten.lives());
    }
}
