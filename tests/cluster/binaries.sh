# Sourced: the paths of the programs that `install` builds. They are outside the clone, so that all clones share them.
# shellcheck shell=bash

cache=${AGENT_CREDS_CACHE:-$HOME/.cache/agent-creds}

built() { # MODULE: prints the path of the program that `install` builds from the module's current source
    local module
    module=$(dirname "${BASH_SOURCE[0]}")/$1
    echo "$cache/$1-$(cat "$module"/go.mod "$module"/go.sum "$module"/*.go 2>/dev/null | sha256sum | cut -c 1-16)"
}
