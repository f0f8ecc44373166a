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
    { "udp://h", LEAT_ERR_UNSUPPORTED, "udp" },
    { "dpdk://h?device=x", LEAT_ERR_UNSUPPORTED, "dpdk" },
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
