# Sourced: builds and loads the sandbox image of all pods, and the image of a test agent with a shell. Both are busybox.
# shellcheck shell=bash disable=SC2154

busybox=$(command -v busybox)
root=/run/test-agent
mkdir -p $root/{bin,tmp}
chmod 1777 $root/tmp
cp "$busybox" $root/bin/busybox
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
# Another user than the sidecar's, because an agent must not run as that user. No entrypoint, so that a pod's arguments
# are its command.
IMAGE_USER=1000 "$here/../../images/archive" localhost/test-agent:1 /run/test-agent.tar "$root:/"
"$here/../../images/archive" localhost/pause:1 /run/pause.tar "$busybox:/busybox" -- /busybox sleep 2147483647
"$here/load" /run/test-agent.tar /run/pause.tar >/dev/null
