/* call_report.h: how a call to the external API ended, as far as the limit's parts care.
 *
 * adapt_report() is given those that say something about the API, all but FAIL_INTERNAL. FAIL_REJECTED is an answer:
 * the API bore the call, so it is no failure; but how soon it said no is not how long its work takes.
 */
#ifndef RAINCHECK_FLOW_CALL_REPORT_H
#define RAINCHECK_FLOW_CALL_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct call_report {
	bool succeeded;
	int kind;	       /* enum failure_kind, where it did not */
	int64_t started_at_ms; /* when its job was leased */
	int64_t took_ms;       /* what the worker says the call took, or the time since the lease */
	int64_t in_flight;     /* calls of the limit under way just before it ended, itself included */
	bool held_back;	       /* since it started the limit kept jobs waiting: its bound was what held them */
	int64_t now_ms;
};

#endif
