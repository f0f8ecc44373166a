/* Reloads the configuration file while the broker runs (SIGHUP).
 *
 * Role: knows which settings a running broker can change, and changes them.
 * Must not know: signals, how the settings are used.
 * Threads: control. */
#ifndef LEAT_BROKER_CONFIG_CONFIG_RELOAD_H
#define LEAT_BROKER_CONFIG_CONFIG_RELOAD_H

#include "broker/config/config.h"

enum { CONFIG_RELOAD_NAMES_BYTES = 512 };

/* Reads `path` and copies to `config` the settings that can change at run time: log_level and
 * quotas (the quota of a name as soon as it opens a session). `loaded` is the file as last loaded;
 * it is replaced. `waiting` gets the names, separated by commas, of the settings that differ from
 * `loaded` and take effect only at the next start. On an error (as config_load) nothing is changed,
 * and `errors` says why. */
enum leat_error config_reload(struct config *config, struct config *loaded, const char *path,
                              char waiting[CONFIG_RELOAD_NAMES_BYTES],
                              struct config_errors *errors);

#endif
