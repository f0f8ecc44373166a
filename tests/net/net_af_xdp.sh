#!/usr/bin/env bash
# Goal: the bus over af_xdp on a bridge, broker and clients each in a namespace of their own: what holds over TCP holds here.
# Method: the real programs, control over a network of its own, through the cases that all transports share.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh af_xdp
. tests/support/bus_pubsub.sh
. tests/support/bus_lives.sh
echo "net_af_xdp: ok"
