# Sourced: measures the size of the images, uncompressed, as a node stores them.
# shellcheck shell=bash disable=SC2034,SC2154

for part in sidecar webhook; do
    row "image_$part" MiB "$(jq -n "$(stat -c %s "$images/$part.tar") / 1048576")"
done
