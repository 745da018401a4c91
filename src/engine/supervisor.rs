//! The supervisor: the child that Kamailio knows, and that never ends by itself.
//!
//! Kamailio stops the server when one of its children exits. The manager talks to the network through a large library
//! and may die; so it is a child of this small process, which forks it again when it dies or gives no sign of life.
//! The rings are made so that a new manager carries on where the dead one stopped.
//!
//! **Signs of life.** The manager leaves the time in shared memory with each turn of its loop. One that has nothing to do
//! makes a turn whenever a heartbeat of a broker wakes it; when it was silent for half of `amqp_hang_timeout_ms`, because
//! there is no broker or heartbeats are rare, it is woken up to make one, and it is killed when it was silent for all of
//! it and another half after that question. To look for the sign is all that wakes this process.
//!
//! Takes no lock of Kamailio and allocates nothing from its pools.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::bus::Shared;
use crate::bus::clock::now_ns;
use crate::bus::layout::Flow;
use crate::config::Config;
use crate::host::process::{self, Forked};
use crate::host::{guard, log, plain};
use crate::manager;
use crate::manager::tls::ClientTls;

/// Pause before the second manager in a row; doubles up to [`PAUSE_MAX`]. The first follows at once.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A manager that lived so long was healthy: the next one follows at once.
const HEALTHY: Duration = Duration::from_secs(10);

/// What the manager needs on top of its drain limit to close its connections.
const CLOSE_TIME: Duration = Duration::from_millis(2500);

struct Supervisor {
    config: &'static Config,
    shared: &'static Shared,
    /// For the manager; `None` without `amqps://` brokers.
    tls: Option<ClientTls>,
    me: Pid,
    /// Row of the manager in Kamailio's process table.
    slot: Option<usize>,
    manager: Option<Pid>,
    /// When the manager was asked for a sign of life that has not come, [`now_ns`].
    asked_ns: Option<u64>,
    started: Instant,
    pause: Duration,
    start_at: Instant,
}

/// Runs the process; does not return.
///
/// `parent`: the process that forked this one.
pub fn run(config: &'static Config, shared: &'static Shared, tls: Option<ClientTls>, parent: Pid) -> ! {
    let ended = guard::entry("supervisor", Err(nix::Error::UnknownErrno), || {
        process::config_init_without_updates();
        plain::block_signals()?;
        let signals = SignalFd::with_flags(&plain::watched(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        if !plain::die_with(parent) {
            return Ok(());
        }
        let now = Instant::now();
        let supervisor = Supervisor {
            config,
            shared,
            tls,
            me: getpid(),
            slot: None,
            manager: None,
            asked_ns: None,
            started: now,
            pause: Duration::ZERO,
            start_at: now,
        };
        supervisor.watch(&signals)
    });
    if let Err(error) = ended {
        log::error!("supervisor of the AMQP manager ends: {error}");
    }
    plain::exit(i32::from(ended.is_err()))
}

impl Supervisor {
    fn watch(mut self, signals: &SignalFd) -> nix::Result<()> {
        loop {
            if self.manager.is_none() && Instant::now() >= self.start_at {
                self.start();
            }
            self.wait(signals)?;
            while let Some(signal) = signals.read_signal()? {
                if [Signal::SIGTERM as u32, Signal::SIGINT as u32].contains(&signal.ssi_signo) {
                    self.stop();
                    return Ok(());
                }
            }
            self.reap();
            self.look_for_a_sign();
        }
    }

    fn wait(&self, signals: &SignalFd) -> nix::Result<()> {
        let limit = match self.manager {
            Some(_) => Duration::from_nanos(self.due_ns(self.shared.heartbeat()).saturating_sub(now_ns())),
            None => self.start_at.saturating_duration_since(Instant::now()),
        };
        // Not a moment too early, to find that it is too early.
        let limit = PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forks a manager. The first one through Kamailio, so that it has a row in the process table; the later ones
    /// take over that row.
    fn start(&mut self) {
        self.shared.beat(now_ns());
        self.asked_ns = None;
        self.started = Instant::now();
        let forked = match self.slot {
            None => process::fork(process::PROC_NOCHLDINIT, c"kazoo manager", false).map_err(|e| e.to_string()),
            Some(_) => plain::fork().map_err(|e| e.to_string()),
        };
        match forked {
            Ok(Forked::Child) => self.become_manager(),
            Ok(Forked::Parent(pid)) => {
                self.manager = Some(Pid::from_raw(pid));
                match self.slot {
                    None => self.slot = process::slot_of(pid),
                    Some(slot) => process::set_slot_pid(slot, pid),
                }
            }
            Err(why) => {
                // The machine is out of processes or memory; the server goes on without a manager until it is not.
                let pause = self.plan_next();
                log::error!("no AMQP manager could be forked ({why}); next attempt in {} ms", pause.as_millis());
            }
        }
    }

    fn become_manager(&self) -> ! {
        if let Some(slot) = self.slot {
            process::adopt_slot(slot);
            process::set_slot_pid(slot, getpid().as_raw());
        }
        let ended = guard::entry("manager", Err("panic".to_owned()), || {
            process::set_title(c"kazoo manager");
            plain::ignore_signals().map_err(|e| format!("signals: {e}"))?;
            if !plain::die_with(self.me) {
                return Ok(());
            }
            if let Err(error) = plain::yield_to_workers() {
                // A sandbox may forbid it: publishing takes longer now and then.
                log::notice!("the AMQP manager keeps the usual scheduling policy: {error}");
            }
            plain::close_descriptors(&self.shared.eventfds());
            manager::run::run(self.config, self.shared, self.tls.clone(), manager::log::Log(manager_line))
        });
        if let Err(error) = &ended {
            log::error!("AMQP manager ends: {error}");
        }
        plain::exit(i32::from(ended.is_err()))
    }

    /// Takes note of a dead manager and plans the next one.
    fn reap(&mut self) {
        let Some(pid) = self.manager else { return };
        let how = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return,
            Ok(WaitStatus::Exited(_, code)) => format!("exited with code {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("was killed by {signal}"),
            Ok(_) => return,
            Err(error) => format!("is gone ({error})"),
        };
        self.manager = None;
        // A row of 0 would be reported as a fault, and the pid may soon be somebody else's.
        if let Some(slot) = self.slot {
            process::set_slot_pid(slot, self.me.as_raw());
        }
        let pause = self.plan_next();
        log::warn!(
            "AMQP manager {how}; the next one starts after {} ms, unconfirmed messages are kept and sent again",
            pause.as_millis()
        );
    }

    /// Plans the next start and returns the pause before it: none after a healthy life, doubling with each death in a row.
    fn plan_next(&mut self) -> Duration {
        if self.started.elapsed() >= HEALTHY {
            self.pause = Duration::ZERO;
        }
        let pause = self.pause;
        if !pause.is_zero() {
            // Longer than workers shall wait; without a pause the next manager is there in time.
            self.shared.set_flow(Flow::Down);
        }
        self.start_at = Instant::now() + pause;
        self.pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        pause
    }

    /// When a manager whose last sign of life came at `sign_ns` is to be asked for one, or killed: see the head of this file.
    fn due_ns(&self, sign_ns: u64) -> u64 {
        let hang_ns = u64::try_from(self.config.hang_timeout.as_nanos()).unwrap_or(u64::MAX / 4);
        match self.asked_ns {
            None => sign_ns + hang_ns / 2,
            Some(asked_ns) => (sign_ns + hang_ns).max(asked_ns + hang_ns / 2),
        }
    }

    /// Asks a silent manager for a sign of life, and kills one that does not answer.
    fn look_for_a_sign(&mut self) {
        let Some(pid) = self.manager else { return };
        let (now, sign_ns) = (now_ns(), self.shared.heartbeat());
        self.asked_ns = self.asked_ns.filter(|asked_ns| sign_ns < *asked_ns);
        if now < self.due_ns(sign_ns) {
            return;
        }
        if self.asked_ns.is_none() {
            self.shared.alarm_manager();
            self.asked_ns = Some(now);
            return;
        }
        log::error!(
            "AMQP manager gives no sign of life for {} ms (amqp_hang_timeout_ms); killed",
            now.saturating_sub(sign_ns) / 1_000_000
        );
        // A stopped process dies of SIGKILL too; `reap` sees it.
        let _ = kill(pid, Signal::SIGKILL);
        self.shared.beat(now);
        self.asked_ns = None;
    }

    /// Server stop: the manager drains its outbox, bounded.
    fn stop(&mut self) {
        let Some(pid) = self.manager else { return };
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + self.config.drain_timeout + CLOSE_TIME;
        while Instant::now() < deadline {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        log::error!("AMQP manager did not stop in time; killed");
        let _ = kill(pid, Signal::SIGKILL);
    }
}

fn manager_line(level: manager::log::Level, text: std::fmt::Arguments<'_>) {
    use manager::log::Level;
    let level = match level {
        Level::Error => log::Level::Error,
        Level::Warn => log::Level::Warn,
        Level::Info => log::Level::Info,
    };
    log::sink(level, text);
}
