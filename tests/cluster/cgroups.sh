# Sourced: a cgroup of its own for this node, so that clusters side by side don't share one. `sweep` takes it away.
# shellcheck shell=bash disable=SC2154

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    hierarchies=(/sys/fs/cgroup)
    # A folder gets only the controllers that the one above it hands down.
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
