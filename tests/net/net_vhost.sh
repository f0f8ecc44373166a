#!/usr/bin/env bash
# Goal: the bus through vhost-user ports and virtio-user clients: what holds over TCP holds here.
# Method: the real programs, each client with a port of its own, through the cases that all transports share.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh vhost
. tests/support/bus_pubsub.sh
. tests/support/bus_lives.sh
echo "net_vhost: ok"
