/* schedule.h: which caps a limit has at a moment, and whether caps and spells make sense. Pure; any thread.
 *
 * But for schedule_check() and schedule_sort() the spells are in order and none overlaps another.
 */
#ifndef RAINCHECK_FLOW_SCHEDULE_H
#define RAINCHECK_FLOW_SCHEDULE_H

#include <stdint.h>

#include "proto/error.h"
#include "server/store/limit_record.h"

/* The caps at the moment, each number the spell's where it says one. A rate comes with the burst that holds for it,
 * also where none was set. *ret_until_ms: when they may change next, INT64_MAX for never. */
struct limit_caps schedule_caps(const struct limit_settings *set, int64_t now_ms, int64_t *ret_until_ms);
/* The spell at the moment, NULL where there is none. */
const struct limit_spell *schedule_spell(const struct limit_settings *set, int64_t now_ms);

/* The limit's own caps and the spells, in any order. ERR_BAD_REQUEST; info names the field as limit_settings_check()
 * does. */
int schedule_check(const struct limit_settings *set, int64_t now_ms, struct error_info *info);
void schedule_sort(struct limit_settings *set);
/* Takes out the spells that are over: whoever changes something else in settings that hold already must not be refused
 * for them. */
void schedule_forget(struct limit_settings *set, int64_t now_ms);

#endif
