/* The version of this source tree: broker, library and tool are released together. The Makefile and
 * leat.pc read it from here. */
#ifndef LEAT_SCHEMA_VERSION_H
#define LEAT_SCHEMA_VERSION_H

#define LEAT_VERSION "0.2.0"

#endif
