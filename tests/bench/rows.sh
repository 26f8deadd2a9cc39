# Sourced: functions that write the rows of bench.json and print them as a table.
# shellcheck shell=bash disable=SC2034,SC2154

results=$root/target/results/bench${BENCH_ONLY:+-only}.json
: >"$work/rows"

# row NAME UNIT OURS [GOAL]
row() {
    jq -cn --arg name "$1" --arg unit "$2" --argjson ours "$3" --argjson goal "${4:-null}" \
        '{$name, $ours, reference: null, reference_name: null, $unit, ratio: null, $goal}' >>"$work/rows"
}

# compared NAME UNIT PAIRS REFERENCE_NAME [GOAL]: PAIRS is a file with one [ours, reference] per round. The ratio is the
# median of the ratios of all rounds, because other load on the machine affects both values of a round.
compared() {
    jq -cn --arg name "$1" --arg unit "$2" --slurpfile pairs "$3" --arg reference_name "$4" --argjson goal "${5:-null}" '
        def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
        {$name, ours: ($pairs | map(.[0]) | median), reference: ($pairs | map(.[1]) | median), $reference_name, $unit,
         ratio: ($pairs | map(.[0] / .[1]) | median), $goal}' >>"$work/rows"
    jq -rn --slurpfile pairs "$3" --arg name "$1" '$pairs | map(.[0] / .[1] * 100 | round / 100) | "\($name): ratios of the rounds: \(sort)"'
}

print_table() {
    mkdir -p "${results%/*}"
    jq -s 'def short: if . == null then . else . * 1000 | round / 1000 end;
        map(.ours |= short | .reference |= short | .ratio |= short
            | . + {met: (if .goal == null then null else (.ratio // .ours) as $figure
                | if .unit == "requests/s" then $figure >= .goal else $figure <= .goal end end)})' "$work/rows" >"$work/bench.json"
    # Atomic, so that a reader never sees a partial file.
    cp "$work/bench.json" "$results.new" && mv "$results.new" "$results"
    say "results ($machine)"
    jq -r 'def short: if . == null then "-" elif . >= 1000 then round else . end;
        (["NAME", "OURS", "REFERENCE", "UNIT", "RATIO", "GOAL", "MET", "REFERENCE NAME"], (.[] |
         [.name, (.ours | short), (.reference | short), .unit, (.ratio | short), (.goal | short),
          (if .met == null then "-" elif .met then "yes" else "no" end), .reference_name // "-"])) | map(tostring) | join("\t")' \
        "$results" | while IFS=$'\t' read -r name ours reference unit ratio goal met beside; do
        printf '%-34s %9s %9s  %-11s %6s %5s  %-4s %s\n' "$name" "$ours" "$reference" "$unit" "$ratio" "$goal" "$met" "$beside"
    done
    echo "written: ${results#"$root"/}"
}
