#!/usr/bin/env bash
# Goal: a group loses no record, whoever of its members dies, hangs, comes or goes; twice is processed only what the dead or
# the hanging had not committed. Method: real processes at random over TCP, every record on file, a checker afterwards that is
# shown to notice. `make test-groups-chaos` goes on for a minute.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh tcp
. tests/support/bus_groups.sh
checker_is_not_fooled
group_under_chaos
echo "net_groups: ok"
