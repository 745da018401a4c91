/* What bindgen translates: every Kamailio header the module needs, and the shim. Compiled also by cc, because
 * bindgen's wrappers of `static inline` functions include it; so it must be valid C under the host's defines. */
#ifndef KZ_WRAPPER_H
#define KZ_WRAPPER_H

#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/globals.h"
#include "core/config.h"
#include "core/pt.h"
#include "core/mem/mem.h"
#include "core/mem/shm.h"
#include "core/locking.h"

/* Script: variables, functions, routes, the other script languages. */
#include "core/pvar.h"
#include "core/pvapi.h"
#include "core/lvalue.h"
#include "core/usr_avp.h"
#include "core/xavp.h"
#include "core/mod_fix.h"
#include "core/kemi.h"
#include "core/route.h"
#include "core/action.h"
#include "core/script_cb.h"

/* Messages: parsing, building, changing. */
#include "core/fmsg.h"
#include "core/receive.h"
#include "core/socket_info.h"
#include "core/data_lump.h"
#include "core/data_lump_rpl.h"
#include "core/parser/msg_parser.h"
#include "core/parser/parse_uri.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_expires.h"
#include "core/parser/parse_content.h"
#include "core/parser/parse_event.h"
#include "core/parser/parse_body.h"
#include "core/parser/parse_param.h"

/* Operation: remote commands, statistics, run-time configuration, timers, events. */
#include "core/rpc.h"
#include "core/rpc_lookup.h"
#include "core/counters.h"
#include "core/cfg/cfg_struct.h"
#include "core/timer.h"
#include "core/timer_proc.h"
#include "core/events.h"

/* Other modules' interfaces. */
#include "modules/tm/tm_load.h"
#include "lib/srdb1/db.h"
#include "modules/presence/event_list.h"
#include "modules/presence/bind_presence.h"

#include "shim.h"

#endif
