/* Goal: nobody binds all producers of a partition. Who has its share is told which limit it was,
 * and another address finds room. Method: a real leatd with few producers a partition, and raw
 * connections from two addresses. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "schema/error.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum { PRODUCERS = 16, CONNECTIONS = 4 };

static struct leatd broker;

static void set_up(void)
{
    char config[256];
    snprintf(config, sizeof config,
             "{\"port\": 0, \"data_port\": 0, \"producers_max\": %d, \"hugepages\": \"off\"}",
             PRODUCERS);
    leatd_start_config(&broker, config);
    const int control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(control, "t", 65536, 1), 0);
    close(control);
}

static void tear_down(void)
{
    leatd_end(&broker);
}

TestSuite(producer_limits, .init = set_up, .fini = tear_down, .timeout = 60);

/* A connection and its session, which stay to the end of this process. */
static int join(const char *host, uint32_t *session)
{
    int16_t status;
    const int control = wire_control_from(broker.control, host);
    const struct wire_grant grant = wire_open_session(control, 0);
    wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK);
    *session = grant.session;
    return control;
}

/* Its error, and *text. */
static int open_producer(int control, uint32_t session, const char *name, char text[512])
{
    Leat__Control__OpenProducer ask = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    ask.topic = (char *)"t";
    ask.name = (char *)name;
    ask.sessions = &session;
    ask.n_sessions = 1;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 7;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &ask;
    Leat__Control__Response *response = wire_request(control, &request);
    cr_assert_not_null(response, "closed without a word");
    const int error = response->error;
    snprintf(text, 512, "%s", response->error_text);
    leat__control__response__free_unpacked(response, NULL);
    return error;
}

Test(producer_limits, a_connection_has_an_eighth_and_an_address_half)
{
    char text[512];
    uint32_t session;
    for (int i = 0; i < CONNECTIONS; i++) {
        const int control = join("127.0.0.1", &session);
        cr_assert_eq(open_producer(control, session, "", text), LEAT_OK, "%s", text);
        cr_assert_eq(open_producer(control, session, "", text), LEAT_OK, "%s", text);
        cr_assert_eq(open_producer(control, session, "", text), LEAT_ERR_LIMIT);
        cr_assert_not_null(strstr(text, "one connection may have an eighth, 2"), "%s", text);
        cr_assert_not_null(strstr(text, "16 producers"), "%s", text);
        cr_assert_not_null(strstr(text, "producers_max"), "%s", text);
        cr_assert_not_null(strstr(text, "partition 0 of \"t\""), "%s", text);
    }
    const int control = join("127.0.0.1", &session);
    cr_assert_eq(open_producer(control, session, "", text), LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(text, "one address may have half of what others leave, 8"), "%s",
                       text);
    const int other = join("127.0.0.2", &session);
    cr_assert_eq(open_producer(other, session, "", text), LEAT_OK, "%s", text);
    cr_assert_eq(open_producer(other, session, "name", text), LEAT_OK, "%s", text);
}

/* An address that goes and comes back is the same one. */
Test(producer_limits, an_address_does_not_get_another_half_by_coming_back)
{
    char text[512];
    uint32_t session;
    int controls[CONNECTIONS];
    const int other = join("127.0.0.2", &session);
    const uint32_t others = session;
    cr_assert_eq(open_producer(other, others, "honest", text), LEAT_OK, "%s", text);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < CONNECTIONS; i++) {
            controls[i] = join("127.0.0.1", &session);
            for (int n = 0; n < 2; n++)
                open_producer(controls[i], session, "", text);
        }
        for (int i = 0; i < CONNECTIONS; i++)
            close(controls[i]);
    }
    cr_assert_eq(open_producer(other, others, "", text), LEAT_OK, "%s", text);
}
