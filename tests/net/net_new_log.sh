#!/usr/bin/env bash
# Goal: whoever reads with `leat sub`, in a group or not, is told of a log that began anew before the first record of it, in text and
# in JSON: with the range and how many records that is, at least and at most, or that it is unknown.
# Method: real programs over TCP; brokers are killed, stopped and started again, topics deleted and made again.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh tcp
. tests/support/bus_new_log.sh
echo "net_new_log: ok"
