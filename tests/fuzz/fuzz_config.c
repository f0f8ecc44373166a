/* Goal: no bytes make reading a configuration crash, hang or go beyond memory; what is accepted is
 * in its ranges and can be shown by --plan; what is refused is explained. Method: libFuzzer. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct config_errors errors;
    struct config config;
    config_init(&config, false);
    const enum leat_error error =
        config_parse(&config, (const char *)bytes, size, "fuzz.json", &errors);
    if (error == LEAT_OK) {
        assert(errors.count == 0);
        assert(config.shards >= 1 && config.shards <= LEAT_SHARDS_MAX);
        for (size_t i = 0; i < config.topic_count; i++)
            assert(config.topics[i].settings.ring_bytes >= LEAT_RING_BYTES_MIN
                   && config.topics[i].settings.partitions >= 1);
        char *plan = config_plan(&config, NULL);
        assert(plan != NULL);
        free(plan);
    } else {
        assert(errors.count > 0 && errors.used == strlen(errors.text) && errors.used > 0);
    }
    config_free(&config);
    return 0;
}
