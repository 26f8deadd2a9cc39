# Sourced: where the binaries lie that `install` builds. They are kept outside the clone, so that a fresh one builds nothing again.
# shellcheck shell=bash

cache=${AGENT_CREDS_CACHE:-$HOME/.cache/agent-creds}

built() { # MODULE: the file that this module, as it is now, was or will be built into
    local module
    module=$(dirname "${BASH_SOURCE[0]}")/$1
    echo "$cache/$1-$(cat "$module"/go.mod "$module"/go.sum "$module"/*.go 2>/dev/null | sha256sum | cut -c 1-16)"
}
