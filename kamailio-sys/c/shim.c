/* Kamailio's macros, called. Compiled with the host's own defines, on which their expansion depends. */
#include "wrapper.h"

void *kz_shm_malloc_zeroed(size_t size)
{
	return shm_mallocxz(size);
}

void kz_shm_free(void *block)
{
	shm_free(block);
}

void *kz_pkg_malloc(size_t size)
{
	return pkg_malloc(size);
}

void kz_pkg_free(void *block)
{
	pkg_free(block);
}

int kz_log_enabled(int level)
{
	return is_printable(level);
}

void kz_log(int level, const char *location, const char *function, const char *text, int len)
{
	LOG_FX(DEFAULT_FACILITY, level, NULL, location, function, "%.*s\n", len, text);
}

void kz_cfg_update(void)
{
	cfg_update();
}

int kz_get_route_type(void)
{
	return get_route_type();
}

void kz_set_route_type(int type)
{
	set_route_type(type);
}

void kz_init_run_actions_ctx(struct run_act_ctx *ctx)
{
	init_run_actions_ctx(ctx);
}
