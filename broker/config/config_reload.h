/* The configuration file read again while the broker runs (SIGHUP).
 *
 * Role: tell which settings a running broker can take, and take them. Must not know: signals, who
 * asked, what is done with the settings. Threads: control's. */
#ifndef LEAT_BROKER_CONFIG_CONFIG_RELOAD_H
#define LEAT_BROKER_CONFIG_CONFIG_RELOAD_H

#include "broker/config/config.h"

enum { CONFIG_RELOAD_NAMES_BYTES = 512 };

/* Reads `path` and moves from it into `config` what can change while the broker runs: log_level
 * and quotas (for a name as soon as it opens a session). `loaded` is what the file said when
 * it was last taken; it is replaced. `waiting` gets the names of the settings that differ from
 * `loaded` and take effect at the next start only, separated by commas. On an error (as
 * config_load) nothing is changed and `errors` says why. */
enum leat_error config_reload(struct config *config, struct config *loaded, const char *path,
                              char waiting[CONFIG_RELOAD_NAMES_BYTES],
                              struct config_errors *errors);

#endif
