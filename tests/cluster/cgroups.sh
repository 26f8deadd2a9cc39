# Sourced: creates a cgroup for this node, so that clusters that run at the same time do not share one. `sweep` removes
# it.
# shellcheck shell=bash disable=SC2154

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    hierarchies=(/sys/fs/cgroup)
    # A cgroup has only the controllers that its parent enables for it.
    echo "+cpuset +cpu +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
else
    hierarchies=(/sys/fs/cgroup/*/)
fi
for hierarchy in "${hierarchies[@]}"; do
    mkdir "$hierarchy/$(basename "$outside")" || {
        echo "tests/cluster: a node needs a writable /sys/fs/cgroup; a container has to be privileged for that" >&2
        exit 69
    }
done
