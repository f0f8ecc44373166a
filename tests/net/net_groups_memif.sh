#!/usr/bin/env bash
# Goal: what net_groups.sh shows over TCP holds over bypass ports that lose 1 % of the packets each way at both ends.
# Method: the same, a memif port for each member.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh memif
. tests/support/bus_groups.sh
port_more=", \"inject\": {\"rx_loss_ppm\": 10000, \"tx_loss_ppm\": 10000, \"seed\": $seed}"
url_more="&inject=loss:10000,seed:$((seed + 1))"
group_under_chaos
echo "net_groups_memif: ok"
