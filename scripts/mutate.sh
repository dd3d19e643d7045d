#!/usr/bin/env bash
# Mutation test of one package: changes a condition, a bound or an operator at a time
# and prints the changes that no test of the package notices.
#
#   scripts/mutate.sh ./terms            the whole package
#   scripts/mutate.sh ./terms main       only its files that differ from main
#
#   MUTATE_MINUTES   the limit, default 30; what was found until then is printed
#
# A survivor is a test to write, code to delete, or a change that means the same.
set -euo pipefail

readonly gremlins=github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0

package=${1:?name a package, such as ./exporter/notify}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CC=${CC:-$PWD/scripts/cc.sh}

flags=(--workers=1 --timeout-coefficient=5 --invert-logical --invert-loopctrl --output-statuses=lc)
if [[ -n ${2:-} ]]; then # the tool's own --diff finds no changes in a package that is not the root
  for file in "$package"/*.go; do
    git cat-file -e "$2:$file" 2>/dev/null && git diff --quiet "$2" -- "$file" && flags+=(--exclude-files="(^|/)$(basename "$file")\$")
  done
fi
exec timeout --signal=INT "${MUTATE_MINUTES:-30}m" nice go run "$gremlins" unleash "${flags[@]}" "$package"
