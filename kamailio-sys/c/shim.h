/* Kamailio's function-like macros as functions, so that Rust can call them. No policy: each is one macro call. */
#ifndef KZ_SHIM_H
#define KZ_SHIM_H

#include <stddef.h>

struct run_act_ctx;

/* What the loader compares with its own; built by the preprocessor in version.c. */
extern const char kz_module_version[];
extern const char kz_module_flags[];

/* Shared pool, usable by every process. Zeroed; NULL when the pool is exhausted. */
void *kz_shm_malloc_zeroed(size_t size);
void kz_shm_free(void *block);

/* Pool of the calling process; main thread only, it has no lock. Not zeroed; NULL when exhausted. */
void *kz_pkg_malloc(size_t size);
void kz_pkg_free(void *block);

/* Whether a line of this level (L_ERR, ...) would be written: the core's `debug` or the module's own level. */
int kz_log_enabled(int level);

/* Writes `len` bytes of `text` and a line end; main thread only. `location` is "kazoo [file:line]: ", `function`
 * may be NULL. `text` is data, never a format. */
void kz_log(int level, const char *location, const char *function, const char *text, int len);

/* Takes over run-time configuration changed since the last call; once per turn of a process's own loop. */
void kz_cfg_update(void);

/* Kind of the route being run (REQUEST_ROUTE, EVENT_ROUTE, ...). */
int kz_get_route_type(void);
void kz_set_route_type(int type);

/* Makes `ctx` ready for run_top_route(). */
void kz_init_run_actions_ctx(struct run_act_ctx *ctx);

#endif
