/* The two strings that Kamailio's loader compares with its own, byte by byte.
 *
 * Only sr_module.h may be included here: with the allocators' headers in sight the same macro gives other text
 * (6.1), and the module would be refused. */
#include "core/sr_module.h"

const char kz_module_version[] = SER_FULL_VERSION;
const char kz_module_flags[] = SER_COMPILE_FLAGS;
