/* Goal: who says that it had a producer in an earlier run of a broker with a state directory proves
 * it: a stranger with an id and an epoch, which stand in every batch, is refused before anything
 * has changed, and the one who had it goes on. Method: a real leatd that is started again over its
 * folder, and raw peers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/leatd.h"
#include "tests/support/wire.h"

static struct leatd broker;
static char folder[] = "/tmp/leat-test-claims-XXXXXX";

static void set_up(void)
{
    char config[256];
    cr_assert_neq(mkdtemp(folder), NULL);
    snprintf(config, sizeof config,
             "{\"port\": 0, \"data_port\": 0, \"shards\": 1, \"keepalive_ms\": 60000, "
             "\"log_memory_bytes\": \"8MiB\", \"hugepages\": \"off\", \"state_dir\": \"%s\"}",
             folder);
    leatd_start_config(&broker, config);
}

static void tear_down(void)
{
    char command[128];
    cr_assert(leatd_alive(&broker), "the broker died");
    leatd_end(&broker);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(producer_claims, .init = set_up, .fini = tear_down, .timeout = 60);

struct claim {
    const char *name;
    uint64_t id;
    uint32_t epoch;
    uint8_t token[LEAT_RESUME_TOKEN_BYTES];
};

/* Opens it over connections of its own; returns the error, and in *claim what was granted. */
static int open_producer(struct claim *claim, bool *expired)
{
    const int control = wire_control(broker.control);
    uint32_t session = wire_open_session(control, 0).session;
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    open.topic = (char *)"t";
    open.name = (char *)claim->name;
    open.sessions = &session;
    open.n_sessions = 1;
    open.producer_id = claim->id;
    open.producer_epoch = claim->epoch;
    if (claim->id != 0)
        open.resume_token = (ProtobufCBinaryData){ sizeof claim->token, claim->token };
    request.id = 1;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    Leat__Control__Response *r = wire_request(control, &request);
    cr_assert_not_null(r);
    const int error = r->error;
    if (error == 0) {
        claim->id = r->producer->producer_id;
        claim->epoch = r->producer->producer_epoch;
        memcpy(claim->token, r->producer->resume_token.data, sizeof claim->token);
        *expired = r->producer->streams[0]->expired;
    }
    leat__control__response__free_unpacked(r, NULL);
    close(control);
    return error;
}

static void create_topic(void)
{
    const int control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(control, "t", 1 << 20, 1), 0);
    close(control);
}

static void start_again(void)
{
    leatd_kill(&broker);
    leatd_restart(&broker);
}

static void refuse_strangers(const struct claim *mine)
{
    static const uint32_t epochs[] = { 0, 1, UINT32_MAX }; /* 0: the one that was granted */
    for (size_t i = 0; i < sizeof epochs / sizeof epochs[0]; i++) {
        bool expired;
        struct claim forged = *mine;
        forged.epoch = epochs[i] != 0 ? epochs[i] : mine->epoch;
        if (forged.epoch == mine->epoch)
            forged.token[3] ^= 1;
        cr_assert_eq(open_producer(&forged, &expired), LEAT_ERR_FENCED, "epoch %u", forged.epoch);
    }
}

Test(producer_claims, a_name_of_an_earlier_run_goes_to_who_can_prove_it)
{
    bool expired;
    create_topic();
    struct claim older = { .name = "feed" }, mine = { .name = "feed" };
    cr_assert_eq(open_producer(&older, &expired), 0);
    cr_assert_eq(open_producer(&mine, &expired), 0);
    cr_assert_eq(mine.epoch, older.epoch + 1);
    start_again();
    refuse_strangers(&mine);
    struct claim again = older; /* nobody newer has come yet */
    cr_assert_eq(open_producer(&again, &expired), 0);
    cr_assert(expired);
    struct claim now = mine;
    cr_assert_eq(open_producer(&now, &expired), 0, "it had the name last, and says so");
    cr_assert(expired);
    cr_assert_eq(open_producer(&older, &expired), LEAT_ERR_FENCED);
    refuse_strangers(&mine);
    cr_assert_eq(open_producer(&now, &expired), 0, "nobody has taken it");
    cr_assert_not(expired);
}

Test(producer_claims, an_id_of_an_earlier_run_is_exchanged_for_its_token)
{
    bool expired;
    create_topic();
    struct claim mine = { .name = "" };
    cr_assert_eq(open_producer(&mine, &expired), 0);
    start_again();
    start_again();
    refuse_strangers(&mine);
    const uint64_t id = mine.id;
    cr_assert_eq(open_producer(&mine, &expired), 0);
    cr_assert(expired);
    cr_assert_neq(mine.id, id);
}

static void start_again_without(const char *file)
{
    char path[sizeof folder + 16];
    leatd_kill(&broker);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    cr_assert_eq(unlink(path), 0);
    leatd_restart(&broker);
}

/* A catalog that was moved away, as its error text says, begins anew over the old secret. */
Test(producer_claims, no_id_is_given_twice_when_the_catalog_begins_anew)
{
    bool expired;
    create_topic();
    struct claim older = { .name = "" }, mine = { .name = "" };
    cr_assert_eq(open_producer(&older, &expired), 0);
    start_again_without("catalog");
    create_topic();
    cr_assert_eq(open_producer(&mine, &expired), 0);
    cr_assert_neq(mine.id, older.id, "the older one's token would be this one's too");
    cr_assert_eq(open_producer(&older, &expired), 0);
    cr_assert(expired);
    cr_assert_eq(open_producer(&mine, &expired), 0);
    cr_assert_not(expired);
}

static void copy(const char *from, const char *to)
{
    char command[3 * sizeof folder + 32];
    snprintf(command, sizeof command, "cp %s/%s %s/%s", folder, from, folder, to);
    cr_assert_eq(system(command), 0);
}

/* An operator restores the catalog as it was two runs ago: what the lost run gave out is known to
 * be of another run, and who has it goes on under an id of this one. */
Test(producer_claims, who_was_granted_by_a_run_that_a_restored_catalog_lacks_goes_on)
{
    bool expired;
    create_topic();
    start_again();
    copy("catalog", "catalog.old");
    start_again();
    struct claim lost = { .name = "" }, lost_feed = { .name = "feed" }, other = { .name = "" };
    cr_assert_eq(open_producer(&lost, &expired), 0);
    cr_assert_eq(open_producer(&lost_feed, &expired), 0);
    leatd_kill(&broker);
    copy("catalog.old", "catalog");
    leatd_restart(&broker);
    cr_assert_eq(open_producer(&other, &expired), 0);
    cr_assert_eq(other.id >> 32, lost.id >> 32, "the run has the number of the lost one");
    cr_assert_neq(other.id, lost.id);
    refuse_strangers(&lost);
    refuse_strangers(&lost_feed);
    cr_assert_eq(open_producer(&lost, &expired), 0);
    cr_assert(expired);
    cr_assert_eq(open_producer(&lost_feed, &expired), 0);
    cr_assert(expired);
    cr_assert_eq(open_producer(&other, &expired), 0);
    cr_assert_not(expired);
}

/* Nobody can prove anything then: who had a producer goes on as over a restart without a folder. */
Test(producer_claims, without_the_old_secret_an_id_of_an_earlier_run_is_exchanged_by_word)
{
    bool expired;
    create_topic();
    struct claim mine = { .name = "feed" }, of_other_secret;
    cr_assert_eq(open_producer(&mine, &expired), 0);
    start_again_without("secret");
    cr_assert_eq(open_producer(&mine, &expired), 0);
    cr_assert(expired);
    of_other_secret = mine;
    start_again();
    refuse_strangers(&of_other_secret); /* with the new one it is as before */
    cr_assert_eq(open_producer(&mine, &expired), 0);
    cr_assert(expired);
}
