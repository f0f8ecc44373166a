/* Goal: what a user may write as a URL is understood, everything else is refused by naming it.
 * Method: tables. */
#include <criterion/criterion.h>
#include <string.h>

#include "client/url.h"

static const struct {
    const char *text;
    uint32_t count;
    const char *host; /* of the last */
    uint16_t port;
} good[] = {
    { "tcp://127.0.0.1:7420", 1, "127.0.0.1", 7420 },
    { "tcp://broker", 1, "broker", 7420 },
    { "tcp://a:1,b:2,c.example.org:65535", 3, "c.example.org", 65535 },
    { "tcp://[::1]:99", 1, "::1", 99 },
    { "tcp://h,[fe80::1%eth0]", 2, "fe80::1%eth0", 7420 },
};

static const struct {
    const char *text;
    enum leat_error error;
    const char *says;
} bad[] = {
    { "", LEAT_ERR_INVALID, "tcp://host:port" },
    { "127.0.0.1:7420", LEAT_ERR_INVALID, "127.0.0.1:7420" },
    { "tcp://", LEAT_ERR_INVALID, "host:port" },
    { "tcp://h:", LEAT_ERR_INVALID, "\"h:\"" },
    { "tcp://h:0", LEAT_ERR_INVALID, "1 to 65535" },
    { "tcp://h:65536", LEAT_ERR_INVALID, "h:65536" },
    { "tcp://h:74a", LEAT_ERR_INVALID, "h:74a" },
    { "tcp://h:1,", LEAT_ERR_INVALID, "host:port" },
    { "tcp://[::1", LEAT_ERR_INVALID, "[::1" },
    { "tcp://::1", LEAT_ERR_INVALID, "brackets" },
    { "tcp://h/x", LEAT_ERR_INVALID, "h/x" },
    { "tcp://h?cores=2", LEAT_ERR_INVALID, "cores=2" },
    { "udp://", LEAT_ERR_INVALID, "host:port" },
    { "udp://h?fallback=udp", LEAT_ERR_INVALID, "fallback=tcp" },
    { "udp://h?fallback", LEAT_ERR_INVALID, "fallback=tcp" },
    { "udp://h?ip=10.0.0.1/8", LEAT_ERR_INVALID, "udp:// takes no \"ip\"" },
    { "udp://h?mtu=511", LEAT_ERR_INVALID, "512 to 65000" },
    { "udp://h?mtu=1e3", LEAT_ERR_INVALID, "mtu=1e3" },
    { "udp://h?mtu=1000&mtu=1000", LEAT_ERR_INVALID, "twice" },
    { "udp://h?&mtu=1000", LEAT_ERR_INVALID, "takes no \"\"" },
    { "dpdk://h", LEAT_ERR_INVALID, "ip=address/bits" },
    { "dpdk://h?device=&ip=10.0.0.2/24", LEAT_ERR_INVALID, "device=" },
    { "dpdk://h?device=x%0g&ip=10.0.0.2/24", LEAT_ERR_INVALID, "device=x%0g" },
    { "dpdk://h?device=x%4&ip=10.0.0.2/24", LEAT_ERR_INVALID, "device=x%4" },
    { "dpdk://h?device=x%00&ip=10.0.0.2/24", LEAT_ERR_INVALID, "device=x%00" },
    { "dpdk://h?ip=10.0.0.2", LEAT_ERR_INVALID, "10.0.0.2/24" },
    { "dpdk://h?ip=10.0.0.256/24", LEAT_ERR_INVALID, "10.0.0.256" },
    { "dpdk://h?ip=10.0.0.2/33", LEAT_ERR_INVALID, "/33" },
    { "dpdk://h?ip=10.0.0.2/24&gateway=10.0.0", LEAT_ERR_INVALID, "IPv4" },
    { "dpdk://h?ip=10.0.0.2/24&vlan=4095", LEAT_ERR_INVALID, "4094" },
    { "dpdk://h?ip=10.0.0.2/24&cores=2", LEAT_ERR_INVALID, "cores=1" },
    { "dpdk://h?ip=10.0.0.2/24&pages=big", LEAT_ERR_INVALID, "auto, huge or normal" },
    { "dpdk://h?ip=10.0.0.2/24&neighbour=10.0.0.1/02:00:00:00:00", LEAT_ERR_INVALID, "mac" },
    { "dpdk://h?ip=10.0.0.2/24&inject=loss", LEAT_ERR_INVALID, "loss" },
    { "dpdk://h?ip=10.0.0.2/24&inject=loss:1000001", LEAT_ERR_INVALID, "parts per million" },
    { "dpdk://h?ip=10.0.0.2/24&inject=noise:1", LEAT_ERR_INVALID, "noise:1" },
    { "dpdk://h?ip=10.0.0.2/24&IP=1", LEAT_ERR_INVALID, "takes no \"IP\"" },
    { "tls://h", LEAT_ERR_UNSUPPORTED, "tls" },
    { "shm://h", LEAT_ERR_UNSUPPORTED, "shm" },
};

Test(url, understands_what_is_documented)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct url url;
        char why[512] = "";
        cr_assert_eq(url_parse(&url, good[i].text, why, sizeof why), LEAT_OK, "%s: %s",
                     good[i].text, why);
        cr_expect_eq(url.count, good[i].count);
        cr_expect_str_eq(url.hosts[url.count - 1].host, good[i].host);
        cr_expect_eq(url.hosts[url.count - 1].port, good[i].port);
    }
}

Test(url, names_what_is_wrong)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct url url = { .count = 99 };
        char why[512] = "";
        cr_expect_eq(url_parse(&url, bad[i].text, why, sizeof why), bad[i].error, "%s",
                     bad[i].text);
        cr_expect_eq(url.count, 99u, "the output is untouched");
        cr_expect_neq(strstr(why, bad[i].says), NULL, "%s: \"%s\"", bad[i].text, why);
    }
}

Test(url, takes_so_many_hosts_and_no_more)
{
    char text[1024] = "tcp://h1";
    struct url url;
    char why[512];
    for (int i = 2; i <= URL_HOSTS_MAX; i++)
        strcat(text, ",h");
    cr_assert_eq(url_parse(&url, text, why, sizeof why), LEAT_OK);
    cr_assert_eq(url.count, (uint32_t)URL_HOSTS_MAX);
    strcat(text, ",h");
    cr_assert_eq(url_parse(&url, text, why, sizeof why), LEAT_ERR_INVALID);
    cr_assert_neq(strstr(why, "16 hosts"), NULL, "%s", why);
}

Test(url, an_endpoint_may_leave_out_the_host_but_not_the_port)
{
    struct url_host host;
    cr_assert_eq(url_host_parse(&host, ":7430", 5, 0), LEAT_OK);
    cr_assert_str_eq(host.host, "");
    cr_assert_eq(host.port, 7430);
    cr_assert_eq(url_host_parse(&host, "h", 1, 0), LEAT_ERR_INVALID);
    cr_assert_eq(url_host_parse(&host, "", 0, 0), LEAT_ERR_INVALID);
}

static struct url parsed(const char *text)
{
    struct url url;
    char why[512] = "";
    cr_assert_eq(url_parse(&url, text, why, sizeof why), LEAT_OK, "%s: %s", text, why);
    return url;
}

Test(url, says_how_data_goes)
{
    cr_assert_eq(parsed("tcp://h").transport, URL_TCP);
    struct url url = parsed("udp://a:1,b:2");
    cr_assert(url.transport == URL_UDP && url.count == 2 && !url.fallback_tcp && url.mtu == 0);
    url = parsed("udp://a?mtu=1472&fallback=tcp");
    cr_assert(url.fallback_tcp && url.mtu == 1472);
    cr_assert_eq(parsed("udp://a?mtu=8%39%352").mtu, 8952u, "values are percent-decoded");
}

Test(url, says_what_a_bypass_port_needs)
{
    const struct url url =
        parsed("dpdk://h:9?device=net_memif0,role=client,socket=/run/a%26b.sock&ip=10.1.2.3/24"
               "&gateway=10.1.2.1&vlan=7&mtu=9000&memory_mb=256&pages=normal&cores=1&fallback=tcp"
               "&neighbour=10.1.2.9/02:00:00:00:00:aB&neighbour=10.1.2.8/ff:0a:00:00:00:01"
               "&inject=loss:1000,rx_loss:5,duplicate:1,reorder:2,corrupt:3,burst:4,seed:99");
    const struct url_dpdk *d = &url.dpdk;
    cr_assert(url.transport == URL_DPDK && url.fallback_tcp && url.mtu == 9000);
    cr_assert_str_eq(d->device, "net_memif0,role=client,socket=/run/a&b.sock");
    cr_assert_eq(d->ip, 0x0A010203u);
    cr_assert_eq(d->prefix_bits, 24);
    cr_assert_eq(d->gateway, 0x0A010201u);
    cr_assert(d->vlan == 7 && d->memory_mb == 256 && d->pages == LINK_DPDK_PAGES_NORMAL);
    cr_assert_eq(d->neighbour_count, 2u);
    cr_assert_eq(d->neighbours[0].ip, 0x0A010209u);
    cr_assert_arr_eq(d->neighbours[0].mac, "\x02\0\0\0\0\xab", 6);
    cr_assert_arr_eq(d->neighbours[1].mac, "\xff\x0a\0\0\0\x01", 6);
    const struct link_dpdk_inject *i = &d->inject;
    cr_assert(i->rx_loss_ppm == 5 && i->tx_loss_ppm == 1000, "the later one counts");
    cr_assert(i->rx_duplicate_ppm == 1 && i->rx_reorder_ppm == 2 && i->rx_corrupt_ppm == 3);
    cr_assert(i->burst == 4 && i->seed == 99);
    cr_assert_str_eq(parsed("dpdk://h?ip=10.0.0.2/24").dpdk.device, "", "the application's port");
}
