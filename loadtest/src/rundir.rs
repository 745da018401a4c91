//! A private folder for one server: configuration, sockets, logs, data.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Context, Result};
use crate::guardian;

/// A folder under the temporary folder, removed on drop. `RIG_KEEP=1` in the environment keeps it and says where.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes `/tmp/rig-<pid>-<n>-<name>`. Short, because Unix socket paths in it may hold 107 bytes.
    pub(crate) fn new(name: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rig-{}-{number}-{name}", std::process::id()));
        // A leftover of an earlier process with the same id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).context(|| format!("making {}", path.display()))?;
        guardian::watch_dir(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file or folder inside.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.file(name);
        fs::write(&file, text).context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        guardian::forget_dir(&self.path);
        if std::env::var_os("RIG_KEEP").is_some() {
            eprintln!("rig: kept {}", self.path.display());
        } else {
            // Nothing depends on it any more; the system cleans its temporary folder as well.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
