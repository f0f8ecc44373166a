#!/usr/bin/env bash
# Goal: the bus over TCP.
# Method: the real programs on loopback, through the cases that all transports share.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh tcp
. tests/support/bus_pubsub.sh
. tests/support/bus_lives.sh
echo "net_pubsub: ok"
