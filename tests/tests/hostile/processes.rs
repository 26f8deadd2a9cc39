//! Attempts on the sidecar's process: memory, environment and life, from the agent's containers and from shared
//! processes.

use std::process::Command;

use agent_creds_tests::cluster::get;

use crate::hostile::agent::{NAMESPACE, in_pod, inside};
use crate::hostile::attempt::{Met, Outcome, all, attempts, control, stopped};
use crate::hostile::pods::{Process, ROOTED};
use crate::hostile::scan::{clean, lasting};

/// Runs a command on the node as this user, in the node's namespaces, as if a container shared the sidecar's processes.
fn as_user(user: u32, group: u32, command: &[&str]) -> Met {
    let ids = [format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()];
    let output = Command::new("setpriv").args(ids).args(command).output().expect("setpriv");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// Returns the agent's first process.
fn agent() -> Process {
    Process::of(&get(&["pod", "agent", "--namespace", NAMESPACE])["status"]["containerStatuses"][0])
}

const SIDECAR_USER: u32 = 54911;

attempts! {
    /// The agent and root in its container look for the sidecar's process in /proc
    processes_seen {
        let look = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done; cat /proc/[0-9]*/environ | tr '\\0' '\\n'";
        for met in [inside(look), in_pod(&ROOTED, "agent", look)] {
            let seen = control(met);
            assert!(seen.contains("sleep 2147483647"), "the control: the container's own processes are listed: {seen}");
            assert!(!seen.contains("agent-creds-sidecar"), "{seen}");
        }
        let cmdline = String::from_utf8_lossy(&Process::sidecar("agent", NAMESPACE).read("cmdline")).into_owned();
        assert!(cmdline.contains("agent-creds-sidecar"), "the control: the node lists it");
        Outcome::Stopped("containers do not share processes".to_owned())
    }
    /// The agent and root in its container send signals to every process that they can name
    signals {
        let before = crate::hostile::pods::sidecar_status(&ROOTED, NAMESPACE);
        let sidecar = Process::sidecar(&ROOTED, NAMESPACE).pid();
        let own = "sleep 99 & kill -9 $!; wait $! 2>/dev/null; echo ended $?";
        assert!(control(in_pod(&ROOTED, "agent", own)).contains("ended 137"), "the control: its own processes can be killed");
        let met = in_pod(&ROOTED, "agent", &format!("kill -9 {sidecar}"));
        let outcome = stopped(met, "No such process");
        control(in_pod(&ROOTED, "agent", "for p in $(seq 2 400); do [ $p = $$ ] || kill -TERM $p 2>/dev/null; done; true"));
        let after = crate::hostile::pods::sidecar_status(&ROOTED, NAMESPACE);
        assert_eq!((&before["containerID"], &before["restartCount"]), (&after["containerID"], &after["restartCount"]));
        outcome
    }
    /// A process of the sidecar's user that shares its processes, which admission also refuses, uses ptrace and /proc
    memory_by_its_own_user {
        let files = ["environ", "mem", "maps", "fd", "root/run/agent-creds-spool", "cwd/run"];
        let pid = Process::sidecar("agent", NAMESPACE).pid();
        let own = agent().pid();
        // The agent's `sleep` is dumpable and has the agent's user.
        control(as_user(1000, 0, &["busybox", "cat", &format!("/proc/{own}/environ")]));
        let reading = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            let command = if file == "mem" || file == "environ" || file == "maps" { "cat" } else { "ls" };
            stopped(as_user(SIDECAR_USER, SIDECAR_USER, &["busybox", command, &path]), "Permission denied")
        };
        all(files.map(reading).into())
    }
    /// The agent wants a core file of the sidecar
    core_dumped {
        let limit = |process: &Process| {
            let text = String::from_utf8(process.read("limits")).expect("text");
            let line = text.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
            line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_ne!(limit(&agent()), ["0", "0"], "the control: another process has no such limit");
        let sidecar = Process::sidecar("agent", NAMESPACE);
        assert_eq!(limit(&sidecar), ["0", "0"]);
        // In /proc, root owns the files of a process that is not dumpable.
        let owner = |process: &Process| std::os::unix::fs::MetadataExt::uid(&process.metadata("environ"));
        assert_eq!((owner(&agent()), owner(&sidecar)), (1000, 0));
        Outcome::Stopped("the limit of core files is 0, and the process is not dumpable".to_owned())
    }
    /// The agent and root in its container enter other namespaces with nsenter
    namespaces_entered {
        control(in_pod(&ROOTED, "agent", "ls -l /proc/1/ns/net"));
        all(vec![
            stopped(inside("nsenter -t 1 -m -n -p ls /"), "Operation not permitted"),
            stopped(in_pod(&ROOTED, "agent", "nsenter -t 1 -m ls /"), "Operation not permitted"),
            stopped(in_pod(&ROOTED, "agent", "unshare -m true"), "Operation not permitted"),
        ])
    }
    /// Root in the container creates the node's devices, with the container runtime's default capabilities
    devices {
        control(in_pod(&ROOTED, "agent", "mknod /tmp/null c 1 3 && echo x >/tmp/null"));
        let device = std::fs::read_to_string("/proc/partitions").expect("the node's disks");
        let (major, minor) = device.lines().skip(2).find_map(|line| { let mut words = line.split_whitespace(); Some((words.next()?.to_owned(), words.next()?.to_owned())) }).expect("a disk");
        all(vec![
            stopped(in_pod(&ROOTED, "agent", &format!("mknod /tmp/disk b {major} {minor} && dd if=/tmp/disk of=/dev/null bs=512 count=1")), "Operation not permitted"),
            stopped(in_pod(&ROOTED, "agent", "mknod /tmp/mem c 1 1 && dd if=/tmp/mem of=/dev/null bs=512 count=1"), "Operation not permitted"),
        ])
    }
    /// Root in the container freezes or starves the sidecar through its cgroup, and changes the node through
    /// core_pattern
    cgroups_and_kernel_settings {
        control(in_pod(&ROOTED, "agent", "ls /sys/fs/cgroup && cat /proc/sys/kernel/core_pattern"));
        let writes = ["mkdir /sys/fs/cgroup/memory/x", "echo '|/tmp/x' >/proc/sys/kernel/core_pattern", "echo 1 >/proc/sys/vm/drop_caches"];
        all(writes.map(|script| stopped(in_pod(&ROOTED, "agent", script), "Read-only file system")).into())
    }
    /// Environment and arguments of every process of the pod are searched for secrets, the sidecar's included
    environment_and_arguments {
        let sidecar = Process::sidecar("agent", NAMESPACE);
        let agent = agent();
        let all = [sidecar.read("environ"), sidecar.read("cmdline"), agent.read("environ"), agent.read("cmdline")].concat();
        let text = String::from_utf8_lossy(&all).into_owned();
        assert!(text.contains("--grant=pagerduty=") && text.contains("AGENT_CREDS_URL="), "the control: both are readable");
        clean(&text, &lasting());
        Outcome::Stopped("configuration only; long-lived credentials are in memory".to_owned())
    }
}
