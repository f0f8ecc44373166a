/* The version of this source tree. Broker, library and tool are released together. The Makefile
 * reads it from here, for leat.pc too. */
#ifndef LEAT_SCHEMA_VERSION_H
#define LEAT_SCHEMA_VERSION_H

#define LEAT_VERSION "0.2.0"

#endif
