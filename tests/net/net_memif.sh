#!/usr/bin/env bash
# Goal: the bus through bypass ports in shared memory: what holds over TCP holds over memif, several clients at once, copied or
# by reference.
# Method: the real programs, each client with a port of its own, through the cases that all transports share.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh memif
. tests/support/bus_pubsub.sh
. tests/support/bus_lives.sh
echo "net_memif: ok"
